"""What the local service answers when it refuses a call.

Inside the service a refusal is a `Fault`: a code of the service model and a message. At the door it becomes the
`botocore.exceptions.ClientError` subclass that boto3 would have raised, with the same `response`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NoReturn

from perdure.local.machine.ids import fresh_id

INVALID_PARAMETER = "InvalidParameterValueException"
NOT_FOUND = "ResourceNotFoundException"
CONFLICT = "ResourceConflictException"
CALLBACK_CLOSED = "CallbackTimeoutException"
ALREADY_STARTED = "DurableExecutionAlreadyStartedException"
THROTTLED = "TooManyRequestsException"
SERVICE = "ServiceException"
BAD_CONTENT = "InvalidRequestContentException"
TOO_LARGE = "RequestTooLargeException"
ACCESS_DENIED = "AccessDeniedException"
REQUEST_TIMEOUT = "RequestTimeoutException"
INVALID_TOKEN = "Invalid checkpoint token"  # noqa: S105 - the words of a message

# The HTTP status of each error, and how the service model spells its message field.
_SHAPES: dict[str, tuple[int, str]] = {
    INVALID_PARAMETER: (400, "message"),
    NOT_FOUND: (404, "Message"),
    CONFLICT: (409, "message"),
    CALLBACK_CLOSED: (400, "Message"),
    ALREADY_STARTED: (409, "Message"),
    THROTTLED: (429, "message"),
    SERVICE: (500, "Message"),
    BAD_CONTENT: (400, "message"),
    TOO_LARGE: (413, "message"),
    REQUEST_TIMEOUT: (408, "message"),
    ACCESS_DENIED: (403, "Message"),
    "KMSAccessDeniedException": (502, "Message"),
    "KMSDisabledException": (502, "Message"),
    "KMSInvalidStateException": (502, "Message"),
    "KMSNotFoundException": (502, "Message"),
}
_SERVER_ERRORS = 500


class Fault(Exception):  # noqa: N818 - a refusal, not an error of ours
    """A refused call, before it takes the shape of a boto3 error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class InvocationCut(Exception):  # noqa: N818 - a command, not an error
    """Raised by a test's `on_api_call` hook to end the invocation that makes the call, as a crash would.

    Whatever the handler still returns is thrown away and the invocation is repeated. What is left of the old one
    finds its token stale, in this call and in every other.
    """


def refuse(message: str) -> NoReturn:
    """Refuse a call because of what it asks for."""
    raise Fault(INVALID_PARAMETER, message)


def http_shape(code: str) -> tuple[int, str]:
    """Return the HTTP status of an error, and how the service model spells its message field."""
    return _SHAPES.get(code, (400, "message"))


@cache
def error_class(code: str) -> type[Exception]:
    """Return the exception class that stands for an error code, as `client.exceptions` has it."""
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # noqa: PLC0415 - slow to import

    if code == "ClientError":
        base: type[Exception] = ClientError
        return base
    return type(code, (ClientError,), {"__module__": "botocore.errorfactory"})


def client_error(code: str, message: str, operation_name: str) -> Exception:
    """Build the error that boto3 raises when the service answers `code` to `operation_name`.

    Use it in tests, too, for answers the local service never gives by itself, such as throttling.
    """
    status, field = http_shape(code)
    request_id = fresh_id()
    response: dict[str, Any] = {
        "Error": {"Message": message, "Code": code},
        "ResponseMetadata": {
            "RequestId": request_id,
            "HTTPStatusCode": status,
            "HTTPHeaders": {"x-amzn-requestid": request_id, "x-amzn-errortype": code},
            "RetryAttempts": 0,
        },
        "Type": "Service" if status >= _SERVER_ERRORS else "User",
        field: message,
    }
    return error_class(code)(response, operation_name)


class Exceptions:
    """The `exceptions` namespace of a boto3 client: error classes by name."""

    @property
    def ClientError(self) -> type[Exception]:  # noqa: N802 - boto3's name
        """The base of every error of a client."""
        return error_class("ClientError")

    def __getattr__(self, code: str) -> type[Exception]:
        if code not in _SHAPES:
            raise AttributeError(f"The durable execution API knows no error {code!r}.")
        return error_class(code)


class RemoteError(Exception):
    """What a function that runs elsewhere has raised, or what kept it from being called."""

    def __init__(self, message: str, kind: str, stack_trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_object: dict[str, Any] = {"ErrorMessage": message, "ErrorType": kind}
        """The error as the service records it."""
        if stack_trace:
            self.error_object["StackTrace"] = stack_trace
