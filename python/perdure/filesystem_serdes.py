"""Values kept in files on a shared file system, and only pointers to them in the history.

For a file system that every environment of the function sees: Amazon EFS, or an S3 bucket that is mounted (Amazon S3
Files). Not for ``/tmp``: the next invocation may run in another environment and find nothing there. Without a file
system `perdure.s3_serdes.S3SerDes` does the same with a bucket.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from perdure._offload import FileSystemSerDesMode, GeneratePreview, OffloadingSerDes
from perdure.constants import CHECKPOINT_SIZE_LIMIT_BYTES
from perdure.exceptions import RetryableSerDesError, SerDesError
from perdure.serdes import EXTENDED_TYPES_SERDES, SerDes, SerDesContext
from perdure.types import DurableExecutionArn

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CHECKPOINT_SIZE_LIMIT_BYTES",
    "EXTENDED_TYPES_SERDES",
    "DurableExecutionArn",
    "FileSystemPathEncoding",
    "FileSystemSerDes",
    "FileSystemSerDesConfig",
    "FileSystemSerDesMode",
    "GeneratePreview",
    "SerDes",
    "SerDesContext",
]

_LONGEST_NAME = 255  # bytes, of most file systems
_PASSING = {
    getattr(errno, name)
    for name in ("EAGAIN", "EBUSY", "EDQUOT", "EINTR", "EIO", "EMFILE", "ENFILE", "ENOSPC", "ESTALE", "ETIMEDOUT")
    if hasattr(errno, name)
}


class FileSystemPathEncoding(StrEnum):
    """How an execution and an operation name their directory and file."""

    URI = "URI"
    """``function/execution/invocation/operation``: to be read by people."""
    HASH = "HASH"
    """The SHA-256 of the ARN and of the operation's id: 64 characters each, whatever they hold."""


@dataclass(frozen=True)
class FileSystemSerDesConfig:
    """How a `FileSystemSerDes` works.

    Args:
        storage_mode: Which values go into files.
        path_encoding: How directories and files are called.
        generate_preview: Makes what is to be seen of a value beside the pointer. Without one there is no preview. One
            that raises, or makes too much, is left out, with a warning.
        serdes: Writes the values in the files.

    """

    storage_mode: FileSystemSerDesMode = FileSystemSerDesMode.ALWAYS
    path_encoding: FileSystemPathEncoding = FileSystemPathEncoding.URI
    generate_preview: GeneratePreview | None = None
    serdes: SerDes[Any] = EXTENDED_TYPES_SERDES


class FileSystemSerDes(OffloadingSerDes):
    """Keeps values in files below a directory, one for each time a value is written.

    A file appears whole or not at all, and is never written again: what another run of the same step writes stands in
    a file of its own, beside it. Nothing removes files; give the directory a lifecycle longer than your executions.

    Args:
        base_path: The directory. It must outlive an environment, and be the same in all of them.
        config: How it works.
        readable: Other directories that may be read from: where earlier deployments had ``base_path``. A pointer to
            anywhere else is refused.

    Example:
        >>> from perdure.config import StepConfig
        >>> stored = StepConfig(serdes=FileSystemSerDes("/mnt/efs/orders"))

    """

    def __init__(
        self,
        base_path: str | os.PathLike[str],
        config: FileSystemSerDesConfig | None = None,
        *,
        readable: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        config = config or FileSystemSerDesConfig()
        super().__init__(config.storage_mode, config.serdes, config.generate_preview)
        self._base = Path(base_path)
        self._readable = (self._base, *map(Path, readable))
        self._encoding = FileSystemPathEncoding(config.path_encoding)

    def _store(self, text: str, context: SerDesContext) -> str:
        directory = self._base.joinpath(*self._directory(context.durable_execution_arn))
        target = directory / self._file_name(context.operation_id)
        try:
            _write(target, text.encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise _failed("write", target, context, error) from error
        return str(target)

    def _directory(self, arn: str) -> list[str]:
        if self._encoding is FileSystemPathEncoding.HASH:
            return [_digest(arn)]
        parts = DurableExecutionArn.from_arn(arn)
        names = [quote(arn, safe="~")]
        if parts is not None:
            names = [parts.function_name, parts.execution_name, parts.invocation_id]
        if any(name in ("", ".", "..") or "\0" in name for name in names):
            names = [quote(arn, safe="~").replace(".", "%2E")]
        return [name if _fits(name) else _digest(name) for name in names]

    def _file_name(self, operation_id: str) -> str:
        unique = f".{uuid4().hex}.json"
        name = _digest(operation_id) if self._encoding is FileSystemPathEncoding.HASH else quote(operation_id, safe="~")
        return (name if _fits(name + unique) else _digest(operation_id)) + unique

    def _load(self, pointer: str, context: SerDesContext) -> str:
        path = Path(pointer)
        try:
            real = path.resolve()
            if not any(real.is_relative_to(root.resolve()) for root in self._readable):
                raise SerDesError(
                    f"Operation {context.operation_id} points to {pointer}, which is not below {self._base}: a "
                    f"FileSystemSerDes reads only there, and below the directories of readable=."
                )
            return real.read_bytes().decode("utf-8", "surrogatepass")
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
            raise _failed("read", path, context, error) from error
        except ValueError as error:
            raise SerDesError(
                f"What operation {context.operation_id} stored in {pointer} cannot be read: {error}"
            ) from error


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _fits(name: str) -> bool:
    return len(os.fsencode(name)) <= _LONGEST_NAME


def _write(target: Path, content: bytes) -> None:
    """Make a file with this content, which is there for good, or leave nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    started = target.with_name(f".{target.name[-37:]}.part")
    try:
        with started.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        started.replace(target)
    except BaseException:
        started.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def _sync_directory(directory: Path) -> None:
    """Have the file's name outlive a crash as well, where the system can."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except OSError:  # a system that opens no directories
        return
    try:
        os.fsync(handle)
    except OSError:  # a file system that has nothing to sync there
        pass
    finally:
        os.close(handle)


def _failed(what: str, path: Path, context: SerDesContext, error: Exception) -> SerDesError | RetryableSerDesError:
    number = getattr(error, "errno", None)
    kind = RetryableSerDesError if number in _PASSING else SerDesError
    hint = ""
    if number == errno.ENOENT and what == "read":
        hint = " Is it on a file system that all environments share? /tmp is not."
    return kind(f"Operation {context.operation_id} cannot {what} its value in {path}: {error}.{hint}")
