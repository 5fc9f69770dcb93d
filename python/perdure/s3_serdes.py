"""Values kept as objects in an S3 bucket, and only pointers to them in the history.

For functions without a file system; see `perdure.filesystem_serdes` for those with one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from perdure._offload import FileSystemSerDesMode, GeneratePreview, OffloadingSerDes
from perdure.exceptions import RetryableSerDesError, SerDesError, ValidationError
from perdure.serdes import EXTENDED_TYPES_SERDES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perdure.serdes import SerDes, SerDesContext

__all__ = ["FileSystemSerDesMode", "GeneratePreview", "S3SerDes", "S3SerDesConfig"]

_DIGEST = 64
_SUFFIX = ".json"
_PASSING = {"InternalError", "RequestTimeout", "RequestTimeTooSkewed", "ServiceUnavailable", "SlowDown"}
_TOO_MANY, _SERVER_ERROR = 429, 500


@dataclass(frozen=True)
class S3SerDesConfig:
    """How an `S3SerDes` works.

    Args:
        storage_mode: Which values go into objects.
        generate_preview: Makes what is to be seen of a value beside the pointer. Without one there is no preview. One
            that raises, or makes too much, is left out, with a warning.
        serdes: Writes the values in the objects.
        put_options: More of ``put_object``, such as ``ServerSideEncryption`` and ``SSEKMSKeyId``.

    """

    storage_mode: FileSystemSerDesMode = FileSystemSerDesMode.ALWAYS
    generate_preview: GeneratePreview | None = None
    serdes: SerDes[Any] = EXTENDED_TYPES_SERDES
    put_options: Mapping[str, Any] = field(default_factory=dict)


class S3SerDes(OffloadingSerDes):
    """Keeps values in an S3 bucket, each under the SHA-256 of what is written.

    A value that is written again, by another run of a step, is the same object. What is read is checked against its
    key. Nothing removes objects; give the prefix a lifecycle rule longer than your executions.

    The function's role needs ``s3:PutObject`` and ``s3:GetObject`` for what is below the prefix.

    Args:
        bucket: The bucket's name.
        prefix: What keys begin with. A pointer to another bucket or prefix is refused.
        config: How it works.
        client: boto3's client for S3; by default it is made when the first value is stored or read.

    Raises:
        ValidationError: If the bucket or the prefix is no text, as of a variable that the environment lacks.

    Example:
        >>> from perdure.config import StepConfig
        >>> stored = StepConfig(serdes=S3SerDes("my-orders", "perdure/"))

    """

    def __init__(
        self, bucket: str, prefix: str = "", config: S3SerDesConfig | None = None, *, client: Any = None
    ) -> None:
        for what, text in (("bucket", bucket), ("prefix", prefix)):
            if not isinstance(text, str) or (what == "bucket" and not text):
                raise ValidationError(f"an S3SerDes needs the {what} as text, not {text!r}")
        config = config or S3SerDesConfig()
        super().__init__(config.storage_mode, config.serdes, config.generate_preview)
        self._root = f"s3://{bucket}/"
        self._bucket = bucket
        self._prefix = prefix
        self._options = dict(config.put_options)
        self._made = client
        self._making = threading.Lock()

    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                import boto3  # type: ignore[import-untyped]  # noqa: PLC0415  slow to import, and most invocations store nothing

                self._made = boto3.client("s3")
            return self._made

    def _store(self, text: str, context: SerDesContext) -> str:
        content = text.encode("utf-8", "surrogatepass")
        key = f"{self._prefix}{sha256(content).hexdigest()}{_SUFFIX}"
        pointer = self._root + key
        given = {"ContentType": "application/json", **self._options, "Bucket": self._bucket, "Key": key}
        try:
            self._client().put_object(**given, Body=content)
        except Exception as error:
            raise _failed("write", pointer, context, error) from error
        return pointer

    def _load(self, pointer: str, context: SerDesContext) -> str:
        start = self._root + self._prefix
        if not pointer.startswith(start):
            raise SerDesError(
                f"Operation {context.operation_id} points to {pointer}, which does not begin with {start}: an S3SerDes "
                f"reads only there."
            )
        try:
            body = self._client().get_object(Bucket=self._bucket, Key=pointer.removeprefix(self._root))["Body"]
            content: bytes = body.read()
        except Exception as error:
            raise _failed("read", pointer, context, error) from error
        if sha256(content).hexdigest() != pointer.removesuffix(_SUFFIX)[-_DIGEST:]:
            raise SerDesError(
                f"What operation {context.operation_id} stored in {pointer} is not what was written there: its key is "
                f"the SHA-256 of another content."
            )
        return content.decode("utf-8", "surrogatepass")


def _failed(what: str, pointer: str, context: SerDesContext, error: Exception) -> SerDesError | RetryableSerDesError:
    kind = RetryableSerDesError if _is_passing(error) else SerDesError
    return kind(f"Operation {context.operation_id} cannot {what} its value in {pointer}: {error}")


def _is_passing(error: Exception) -> bool:
    """Whether a later invocation may not meet this: no connection, a timeout, a throttled or failing service."""
    from botocore import exceptions as boto  # type: ignore[import-untyped]  # noqa: PLC0415  only on an error

    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code")
        return code in _PASSING or status == _TOO_MANY or status >= _SERVER_ERROR
    return isinstance(error, (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, OSError))
