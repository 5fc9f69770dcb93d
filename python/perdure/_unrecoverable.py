"""The errors that end an invocation or an execution, not one operation. Users import them from `perdure.exceptions`."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing import Self, TypedDict

# HTTP statuses and error codes by which the Lambda API tells transient trouble from permanent trouble.
BAD_REQUEST_ERROR: int = 400
TOO_MANY_REQUESTS_ERROR: int = 429
SERVICE_ERROR: int = 500
INVALID_PARAMETER_VALUE_EXCEPTION: str = "InvalidParameterValueException"
INVALID_CHECKPOINT_TOKEN_PREFIX: str = "Invalid checkpoint token"  # noqa: S105  a message, not a secret

# The service reports these as HTTP 502, yet only the owner of the key can mend them.
_KEY_ERROR_CODES: Final = frozenset(
    {"KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException"}
)


if TYPE_CHECKING:

    class AwsErrorObj(TypedDict):
        """The ``Error`` part of a botocore error response."""

        Code: str | None
        Message: str | None

    class AwsErrorMetadata(TypedDict):
        """The ``ResponseMetadata`` part of a botocore error response."""

        RequestId: str | None
        HostId: str | None
        HTTPStatusCode: int | None
        HTTPHeaders: str | None
        RetryAttempts: str | None

else:
    # Making typed dicts takes longer than importing the rest of this module, and no first invocation needs them.

    class AwsErrorObj(dict):
        """The ``Error`` part of a botocore error response."""

    class AwsErrorMetadata(dict):
        """The ``ResponseMetadata`` part of a botocore error response."""


class TerminationReason(Enum):
    """Why an execution or an invocation was ended."""

    UNHANDLED_ERROR = "UNHANDLED_ERROR"
    INVOCATION_ERROR = "INVOCATION_ERROR"
    EXECUTION_ERROR = "EXECUTION_ERROR"
    CHECKPOINT_FAILED = "CHECKPOINT_FAILED"
    NON_DETERMINISTIC_EXECUTION = "NON_DETERMINISTIC_EXECUTION"
    STEP_INTERRUPTED = "STEP_INTERRUPTED"
    SERIALIZATION_ERROR = "SERIALIZATION_ERROR"


class DurableApiErrorCategory(Enum):
    """What a failed API call means: INVOCATION, try the invocation again; EXECUTION, trying again cannot help."""

    INVOCATION = "INVOCATION"
    EXECUTION = "EXECUTION"


CheckpointErrorCategory = DurableApiErrorCategory


class DurableExecutionsError(Exception):
    """The root of all ordinary exceptions of this package: catching it catches every one of them."""


class UnrecoverableError(DurableExecutionsError):
    """Base of the errors that end the invocation rather than one operation.

    Args:
        message: What happened.
        termination_reason: The reason under which the ending is reported.

    """

    def __init__(self, message: str, termination_reason: TerminationReason) -> None:
        super().__init__(message)
        self.termination_reason = termination_reason


class ExecutionError(UnrecoverableError):
    """Ends the execution as FAILED at once; nothing is retried and nothing more is recorded.

    Raise it from user code when going on is pointless whatever the retry strategy says.
    """

    def __init__(self, message: str, termination_reason: TerminationReason = TerminationReason.EXECUTION_ERROR) -> None:
        super().__init__(message, termination_reason)


class InvocationError(UnrecoverableError):
    """Leaves the Lambda invocation as an error, so that the service invokes the function again and replays.

    Raise it for trouble that a fresh sandbox may not have. Inside a step it goes to the step's retry strategy instead.
    """

    def __init__(
        self, message: str, termination_reason: TerminationReason = TerminationReason.INVOCATION_ERROR
    ) -> None:
        super().__init__(message, termination_reason)

    def is_retryable(self) -> bool:
        """Whether another invocation may succeed; subclasses that know better say no."""
        return True


class BotoClientError(InvocationError):
    """A call of the Lambda API failed.

    Args:
        message: What boto3 said.
        error_category: Whether another invocation may help.
        error: The response's ``Error``, when there was a response.
        response_metadata: The response's ``ResponseMetadata``, when there was one.
        termination_reason: The reason under which the ending is reported.

    """

    def __init__(
        self,
        message: str,
        error_category: DurableApiErrorCategory = DurableApiErrorCategory.INVOCATION,
        error: AwsErrorObj | None = None,
        response_metadata: AwsErrorMetadata | None = None,
        termination_reason: TerminationReason = TerminationReason.INVOCATION_ERROR,
    ) -> None:
        super().__init__(message, termination_reason)
        self.error = error
        self.response_metadata = response_metadata
        self.error_category = error_category

    @classmethod
    def from_exception(cls, exception: Exception) -> Self:
        """Classify what boto3 raised (`docs/protocol.md` §1).

        Permanent: 4xx, and the four KMS errors for which the key's owner must act, whatever their status. Transient:
            5xx, 429, a stale
        checkpoint token (``InvalidParameterValueException`` whose message begins "Invalid checkpoint token"), and
        everything that never had a response, such as a broken connection.

        Args:
            exception: A ``botocore.exceptions.ClientError``, or any other exception of the call.

        """
        response = getattr(exception, "response", None)
        if not isinstance(response, dict):
            response = {}
        error: Any = response.get("Error")
        metadata: Any = response.get("ResponseMetadata")
        error = error if isinstance(error, dict) else None
        metadata = metadata if isinstance(metadata, dict) else None
        return cls(
            message=_said(exception),
            error_category=_classify(error or {}, metadata or {}),
            error=error,
            response_metadata=metadata,
        )

    def is_retryable(self) -> bool:
        """Whether another invocation may succeed."""
        return self.error_category is DurableApiErrorCategory.INVOCATION

    def is_retriable(self) -> bool:
        """Do as `is_retryable`, in the other spelling."""
        return self.is_retryable()

    def build_logger_extras(self) -> dict[str, Any]:
        """Pick what is worth logging: ``Error`` and ``ResponseMetadata``, each only when it says something."""
        extras: dict[str, Any] = {}
        if self.error:
            extras["Error"] = self.error
        if self.response_metadata:
            extras["ResponseMetadata"] = self.response_metadata
        return extras


def _said(exception: Exception) -> str:
    try:
        return str(exception)
    except Exception as raised:  # noqa: BLE001  whatever is in it
        return f"{type(exception).__name__} (its str() raised {type(raised).__name__})"


def _classify(error: dict[str, Any], metadata: dict[str, Any]) -> DurableApiErrorCategory:
    """Tell the category of a response: see `BotoClientError.from_exception`."""
    code = error.get("Code")
    if isinstance(code, str) and code in _KEY_ERROR_CODES:
        return DurableApiErrorCategory.EXECUTION
    status = metadata.get("HTTPStatusCode")
    if not error or not isinstance(status, (int, float)) or not BAD_REQUEST_ERROR <= status < SERVICE_ERROR:
        return DurableApiErrorCategory.INVOCATION
    message = error.get("Message")
    is_invalid = isinstance(code, str) and code == INVALID_PARAMETER_VALUE_EXCEPTION
    is_stale = is_invalid and isinstance(message, str) and message.startswith(INVALID_CHECKPOINT_TOKEN_PREFIX)
    if is_stale or status == TOO_MANY_REQUESTS_ERROR:
        return DurableApiErrorCategory.INVOCATION
    return DurableApiErrorCategory.EXECUTION


class CheckpointError(BotoClientError):
    """Progress could not be recorded: ``CheckpointDurableExecution`` failed."""

    def __init__(
        self,
        message: str,
        error_category: DurableApiErrorCategory = DurableApiErrorCategory.INVOCATION,
        error: AwsErrorObj | None = None,
        response_metadata: AwsErrorMetadata | None = None,
    ) -> None:
        super().__init__(message, error_category, error, response_metadata, TerminationReason.CHECKPOINT_FAILED)


class GetExecutionStateError(BotoClientError):
    """The history could not be read: ``GetDurableExecutionState`` failed."""

    def __init__(
        self,
        message: str,
        error_category: DurableApiErrorCategory = DurableApiErrorCategory.INVOCATION,
        error: AwsErrorObj | None = None,
        response_metadata: AwsErrorMetadata | None = None,
    ) -> None:
        super().__init__(message, error_category, error, response_metadata)


class NonDeterministicExecutionError(ExecutionError):
    """The code asks for another operation than the history recorded at this position.

    Args:
        message: Both sides, and the line that called.
        step_id: The id of the operation that differs.

    """

    def __init__(self, message: str, step_id: str | None = None) -> None:
        super().__init__(message, TerminationReason.NON_DETERMINISTIC_EXECUTION)
        self.step_id = step_id


class WrongContextError(ExecutionError):
    """An operation was called on a context that was not the caller's to use: see "Contexts" in the guide.

    Args:
        message: The operation and the line that called it, what is at work, and which context to use instead.

    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


class StepInterruptedError(InvocationError):
    """An at-most-once step was started, and no outcome was recorded. Its retry strategy is asked with this error.

    Args:
        message: What happened.
        step_id: The step's operation id.

    """

    def __init__(self, message: str, step_id: str | None = None) -> None:
        super().__init__(message, TerminationReason.STEP_INTERRUPTED)
        self.step_id = step_id


class RetryableSerDesError(InvocationError):
    """A serialiser failed for a passing reason (say, its storage timed out): the invocation is run again.

    User code never sees it; a permanent failure is a `SerDesError`.
    """

    def __init__(
        self, message: str, termination_reason: TerminationReason = TerminationReason.SERIALIZATION_ERROR
    ) -> None:
        super().__init__(message, termination_reason)
