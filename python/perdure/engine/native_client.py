"""The service over the client of our own, in Rust: no boto3, no urllib3, one kept connection.

What goes over the wire is written and read by the core, without an object of Python's. An answer that is not usual is
left to the readers here, which know what it is worth. What they raise has the shape of what botocore raises, and is
classified by the same code.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from perdure._core import NativeClient as Core
from perdure._core import __version__, decode_json
from perdure.engine.received import in_milliseconds, read_checkpoint, read_page
from perdure.engine.time_left import MARGIN_SECONDS, MARGIN_SHARE, remaining_seconds

if TYPE_CHECKING:
    from perdure._core import Updates
    from perdure.engine.received import Checkpoint, Operations

PAGE = 1000
"""How many operations one page may hold, the most the service gives."""

_OK = 200
_SERVER_ERROR = 500


class ServiceError(Exception):
    """The service refused a call.

    Args:
        operation: The API action.
        response: As botocore gives it: ``Error`` and ``ResponseMetadata``.

    """

    def __init__(self, operation: str, response: dict[str, Any]) -> None:
        error = response["Error"]
        super().__init__(
            f"An error occurred ({error['Code']}) when calling the {operation} operation: {error['Message']}"
        )
        self.operation_name = operation
        self.response = response


class UnreadableAnswerError(ConnectionError):
    """The service answered a call with something that is no answer to it."""


class NativeClient:
    """The service behind the client of our own.

    Args:
        core: The process's client, which keeps its connection.
        lambda_context: Tells how much of the invocation's time is left, asked at each call.

    """

    __slots__ = ("_core", "_lambda_context")

    def __init__(self, core: Core, lambda_context: Any) -> None:
        self._core = core
        self._lambda_context = lambda_context

    def _seconds(self) -> float | None:
        """Give the seconds that a call may take: what is left, less a little to return in; None if nobody knows."""
        left = remaining_seconds(self._lambda_context)
        return None if left is None else left - min(MARGIN_SECONDS, left * MARGIN_SHARE)

    def checkpoint(self, arn: str, token: str, updates: Updates, client_token: str) -> Checkpoint:
        """Record updates."""
        answer = self._core.checkpoint(arn, token, updates, client_token, self._seconds())
        if not isinstance(answer, tuple):
            return answer.token, answer, answer.marker
        next_token, operations, marker = read_checkpoint(_read("CheckpointDurableExecution", answer))
        return next_token, in_milliseconds(operations), marker

    def state(self, arn: str, token: str, marker: str) -> tuple[Operations, str | None]:
        """Read a further page."""
        answer = self._core.state(arn, token, marker, PAGE, self._seconds())
        if not isinstance(answer, tuple):
            return answer, answer.marker
        operations, following = read_page(_read("GetDurableExecutionState", answer))
        return in_milliseconds(operations), following

    def begin(self) -> None:
        """Begin to connect."""
        self.prepare()

    def prepare(self) -> bool:
        """Begin to connect, beside whatever the caller does; tell whether it began."""
        return self._core.prepare(self._seconds())

    def settle(self) -> None:
        """Return when nothing is being connected any more; nobody waits for it."""
        self._core.withdraw()

    def most_calls(self) -> int | None:
        """Give what ``AWS_MAX_ATTEMPTS`` says, since nothing else of this client repeats calls."""
        return self._core.max_attempts


def find() -> tuple[Core | None, str | None]:
    """Make the process's client; or say why the environment is left to boto3."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Core.find(f"perdure/{__version__} md/client#native lang/python#{version}")


def _read(operation: str, answer: tuple[int, bytes, list[tuple[str, str]]]) -> dict[str, Any]:
    status, body, headers = answer
    if status != _OK:
        raise ServiceError(operation, _error(status, body, dict(headers)))
    found = _json(body)
    if found is None:
        raise UnreadableAnswerError(f"the answer to {operation} is no JSON object: {body[:100]!r}")
    return found


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        found = decode_json(body.decode())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _error(status: int, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    """Give a refusal the shape that botocore gives it."""
    metadata: dict[str, Any] = {"HTTPStatusCode": status, "HTTPHeaders": headers, "RetryAttempts": 0}
    if "x-amzn-requestid" in headers:
        metadata["RequestId"] = headers["x-amzn-requestid"]
    return {"Error": _code_and_message(status, body, headers), "ResponseMetadata": metadata}


def _code_and_message(status: int, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    found = _json(body)
    if found is None:  # whatever stands between us and the service may answer by text, too
        found = {"message": _text(status, body)}
    code = headers.get("x-amzn-errortype") or found.get("code") or found.get("Code") or found.get("__type") or status
    return {
        "Code": str(code).partition(":")[0].rpartition("#")[2],
        "Message": found.get("message", found.get("Message", "")),
    }


def _text(status: int, body: bytes) -> str:
    """Give what a refusal says that is no JSON object; a page in HTML says no more than its status does."""
    text = body.decode(errors="replace")
    if status >= _SERVER_ERROR and (not text.strip() or text.lstrip().startswith("<html>")):
        from http import HTTPStatus  # noqa: PLC0415  hardly ever

        return {known.value: known.phrase for known in HTTPStatus}.get(status, "")
    return text
