"""What the test runners raise.

The classes bear the official testing package's names, so that ``pytest.raises`` keeps working with a changed import.
What the service refuses comes as an `AwsApiException`, whether the service is the local one or Lambda's.
"""

from __future__ import annotations

from typing import Any


class DurableFunctionsTestError(Exception):
    """A test asked for something that is not there, such as an operation of another name."""


class DurableFunctionsLocalRunnerError(Exception):
    """The base of what the service refuses."""


class UnknownRouteError(DurableFunctionsLocalRunnerError):
    """A request that no action of the service answers; kept for its name, the runner sends no requests.

    Args:
        method: Of HTTP.
        path: What was asked for.

    """

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"no action of the service answers {method} {path}")
        self.method = method
        self.path = path


class SerializationError(DurableFunctionsLocalRunnerError):
    """A request that cannot be read or written; kept for its name."""


class InvalidInvocationOutputError(DurableFunctionsTestError):
    """A handler returned what no durable function returns; kept for its name: here the execution fails, as on AWS.

    Args:
        message: What is wrong.
        request_id: Of the invocation.

    """

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class AwsApiException(DurableFunctionsLocalRunnerError, DurableFunctionsTestError):  # noqa: N818  the official name
    """A call that the service refused. For the official cloud runner that is a `DurableFunctionsTestError`.

    Args:
        message: What the service said.
        code: The service's name for the error; by default that of the class.

    """

    http_status_code = 400

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).__name__


class InvalidParameterValueException(AwsApiException):
    """The call asks for what cannot be."""


class ResourceNotFoundException(AwsApiException):
    """There is no such execution, callback or function, or it has ended."""

    http_status_code = 404


class CallbackTimeoutException(AwsApiException):
    """The callback has been answered already, or has timed out."""


class ExecutionAlreadyStartedException(AwsApiException):
    """An execution of this name was started with another payload."""

    http_status_code = 409


class ExecutionConflictException(AwsApiException):
    """The execution is in a state in which the call cannot be."""

    http_status_code = 409


class TooManyRequestsException(AwsApiException):
    """The service throttles."""

    http_status_code = 429


class ServiceException(AwsApiException):
    """The service's own trouble."""

    http_status_code = 500


class IllegalStateException(AwsApiException):
    """The service is not in a state in which it can do this; kept for its name."""

    http_status_code = 500


class IllegalArgumentException(AwsApiException):
    """The service cannot be asked this; kept for its name."""


class RuntimeException(AwsApiException):
    """The service's own trouble; kept for its name."""

    http_status_code = 500


_BY_CODE: dict[str, type[AwsApiException]] = {
    "InvalidParameterValueException": InvalidParameterValueException,
    "ValidationException": InvalidParameterValueException,
    "ResourceNotFoundException": ResourceNotFoundException,
    # The local runner of the official package calls a callback that is closed not found, and so do its users' tests.
    "CallbackTimeoutException": ResourceNotFoundException,
    "DurableExecutionAlreadyStartedException": ExecutionAlreadyStartedException,
    "ResourceConflictException": ExecutionConflictException,
    "TooManyRequestsException": TooManyRequestsException,
    "ServiceException": ServiceException,
}


def from_client_error(error: Exception) -> AwsApiException:
    """Give the exception for what boto3, or the local service in its stead, has raised."""
    response: Any = getattr(error, "response", None) or {}
    told = response.get("Error") or {}
    code = str(told.get("Code") or type(error).__name__)
    return _BY_CODE.get(code, AwsApiException)(str(told.get("Message") or error), code)
