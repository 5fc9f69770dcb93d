"""Every exception that perdure raises, and what each becomes on the wire.

Three families, and the family decides what happens to the invocation:

* **Operation failures** (`DurableOperationError`, `SerDesError`, `ValidationError`): ordinary exceptions for user code
  to catch.
* **Unrecoverable errors**: an `ExecutionError` ends the execution as FAILED; an `InvocationError` leaves the Lambda
  invocation, so that the service runs it again.
* **Control flow** (`SuspendExecution`, `OrphanedChildException`, `BackgroundThreadError`): derived from
  `BaseException`, so that ``except Exception`` in user code does not swallow them.

This module is imported on every cold start: it imports nothing heavier than `enum` and `typing`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from perdure._unrecoverable import (
    BAD_REQUEST_ERROR,
    INVALID_CHECKPOINT_TOKEN_PREFIX,
    INVALID_PARAMETER_VALUE_EXCEPTION,
    SERVICE_ERROR,
    TOO_MANY_REQUESTS_ERROR,
    AwsErrorMetadata,
    AwsErrorObj,
    BotoClientError,
    CheckpointError,
    CheckpointErrorCategory,
    DurableApiErrorCategory,
    DurableExecutionsError,
    ExecutionError,
    GetExecutionStateError,
    InvocationError,
    NonDeterministicExecutionError,
    RetryableSerDesError,
    StepInterruptedError,
    TerminationReason,
    UnrecoverableError,
    WrongContextError,
)

if TYPE_CHECKING:
    import datetime as dt

__all__ = [
    "BAD_REQUEST_ERROR",
    "INVALID_CHECKPOINT_TOKEN_PREFIX",
    "INVALID_PARAMETER_VALUE_EXCEPTION",
    "SERVICE_ERROR",
    "TOO_MANY_REQUESTS_ERROR",
    "AwsErrorMetadata",
    "AwsErrorObj",
    "BackgroundThreadError",
    "BotoClientError",
    "CallbackError",
    "CallbackExternalError",
    "CallbackSubmitterError",
    "CallbackTimeoutError",
    "CheckpointError",
    "CheckpointErrorCategory",
    "ChildContextError",
    "DurableApiErrorCategory",
    "DurableExecutionsError",
    "DurableOperationError",
    "ErrorMappingError",
    "ExecutionError",
    "GetExecutionStateError",
    "InvalidStateError",
    "InvocationError",
    "InvokeError",
    "NonDeterministicExecutionError",
    "OrderedLockError",
    "OrphanedChildException",
    "PluginLoadError",
    "RetryableSerDesError",
    "SerDesError",
    "StepError",
    "StepInterruptedError",
    "StepTimedOutError",
    "StepTimeoutError",
    "SuspendExecution",
    "TerminationReason",
    "TimedSuspendExecution",
    "UnrecoverableError",
    "ValidationError",
    "WaitForConditionError",
    "WrongContextError",
    "operation_error",
    "register_operation_error",
    "wire_error_fields",
    "wire_error_type",
]

# SDK-owned classes carry the official SDK's module names on the wire, so that either SDK rebuilds what the other
# recorded.
_OFFICIAL_PREFIX: Final = "aws_durable_execution_sdk_python."
_OWN_PREFIX: Final = "perdure."
_SERDES_ERROR_TYPE: Final = _OFFICIAL_PREFIX + "exceptions.SerDesError"
_STEP_TIMEOUT_TYPE: Final = _OFFICIAL_PREFIX + "exceptions.StepTimeoutError"

for _moved in (
    AwsErrorMetadata,
    AwsErrorObj,
    BotoClientError,
    CheckpointError,
    DurableApiErrorCategory,
    DurableExecutionsError,
    ExecutionError,
    GetExecutionStateError,
    InvocationError,
    NonDeterministicExecutionError,
    RetryableSerDesError,
    StepInterruptedError,
    TerminationReason,
    UnrecoverableError,
    WrongContextError,
):
    _moved.__module__ = __name__  # where users import it from
del _moved


class PluginLoadError(DurableExecutionsError):
    """A plugin named in the configuration could not be imported or started."""


class ValidationError(DurableExecutionsError):
    """An argument that the operation cannot work with. Raised before anything is sent: correct the call."""


class InvalidStateError(DurableExecutionsError):
    """A call that the object's present state does not allow, such as asking for a failed result."""


class DurableOperationError(DurableExecutionsError):
    """An operation failed. The class says which kind; the fields say what went wrong inside it.

    ``__cause__`` is the recorded inner error, rebuilt from these fields on the first run as on replay; it is never the
    original object, which replay could not have. In the invocation in which it happened, the traceback shows the
    original, too, down to the line that raised it.

    Args:
        message: The inner error's message.
        error_type: The inner error's class as recorded, such as ``"ValueError"`` or ``"shop.OutOfStock"``; by default
            this class.
        data: Data that the failing side attached, if any.
        stack_trace: Its stack trace, line by line, if it was recorded.

    Example:
        >>> try:
        ...     context.step(charge_card)
        ... except StepError as error:
        ...     if error.error_type == "shop.CardDeclined":
        ...         return "declined"
        ...     raise

    """

    def __init__(
        self,
        message: str | None = None,
        error_type: str | None = None,
        data: str | None = None,
        stack_trace: list[str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type or _class_name(type(self))
        self.data = data
        self.stack_trace = stack_trace

    @classmethod
    def from_error_fields(
        cls, error_type: str | None, message: str | None, data: str | None, stack_trace: list[str] | None
    ) -> DurableOperationError:
        """Rebuild an operation error from the fields that were recorded.

        Names of operation errors give that class, whether written by this package or by the official SDK; every other
        name gives a plain `DurableOperationError`, whichever class this is called on.

        Args:
            error_type: The recorded ``ErrorType``.
            message: The recorded ``ErrorMessage``.
            data: The recorded ``ErrorData``.
            stack_trace: The recorded ``StackTrace``.

        """
        error_cls = _operation_error_class(error_type) if error_type else None
        return (error_cls or DurableOperationError)(
            message=message, error_type=error_type, data=data, stack_trace=stack_trace
        )


class StepError(DurableOperationError):
    """A step failed, and its retry strategy gave up."""


class StepTimeoutError(DurableExecutionsError, TimeoutError):
    """An attempt of a step took longer than the step's ``timeout=``.

    It goes to the step's retry strategy and is recorded as any other error. So the handler sees a `StepError`; it is a
    `TimeoutError`, too (`StepTimedOutError`).
    """


class StepTimedOutError(StepError, TimeoutError):
    """A step failed, and what its last attempt failed of is that it took too long (`StepTimeoutError`).

    On the wire it is a `StepError`.
    """


class InvokeError(DurableOperationError):
    """The invoked function failed, timed out or was stopped."""


class ChildContextError(DurableOperationError):
    """A child context, map or parallel failed."""


class WaitForConditionError(DurableOperationError):
    """The check of a ``wait_for_condition`` raised, or its wait strategy gave up."""


class CallbackError(DurableOperationError):
    """Base of the callback failures: ``except CallbackError`` catches all three."""


class CallbackExternalError(CallbackError):
    """The other side reported failure (``SendDurableExecutionCallbackFailure``)."""


class CallbackTimeoutError(CallbackError):
    """The callback's time ran out, or its heartbeats stopped."""


class CallbackSubmitterError(CallbackError):
    """The submitter of a ``wait_for_callback`` failed, so nobody will ever answer."""


class SerDesError(DurableExecutionsError):
    """A value could not be serialised, or its recorded text could not be read back. Never retried.

    Args:
        message: What is wrong with the value.
        error_type: The class as recorded; by default this class.
        data: Recorded data, if any.
        stack_trace: Recorded stack trace, if any.

    """

    def __init__(
        self,
        message: str | None = None,
        error_type: str | None = None,
        data: str | None = None,
        stack_trace: list[str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type or _class_name(type(self))
        self.data = data
        self.stack_trace = stack_trace


class ErrorMappingError(DurableExecutionsError):
    """A ``map_error`` raised, or gave no exception; the message tells of that and of the error that it was asked about.

    Its ``__cause__`` is the error that it was asked about.
    """


class BackgroundThreadError(BaseException):
    """The checkpoint system is broken: what the code does now can no longer be recorded, so it must unwind.

    Args:
        message: What happened.
        source_exception: The error that broke it.

    """

    def __init__(self, message: str, source_exception: Exception) -> None:
        super().__init__(message)
        self.source_exception = source_exception


class SuspendExecution(BaseException):
    """Unwinds the handler so that the invocation can end as PENDING; the service invokes again when there is news.

    Args:
        message: What is being waited for.

    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


class TimedSuspendExecution(SuspendExecution):
    """A suspension that is known to end at a certain time.

    Args:
        message: What is being waited for.
        scheduled_timestamp: When to go on, in Unix seconds.

    """

    def __init__(self, message: str, scheduled_timestamp: float) -> None:
        super().__init__(message)
        self.scheduled_timestamp = scheduled_timestamp

    @classmethod
    def from_delay(cls, message: str, delay_seconds: int) -> TimedSuspendExecution:
        """Suspend for ``delay_seconds`` seconds from now."""
        return cls(message, scheduled_timestamp=time.time() + delay_seconds)

    @classmethod
    def from_datetime(cls, message: str, datetime_timestamp: dt.datetime) -> TimedSuspendExecution:
        """Suspend until ``datetime_timestamp``; without a time zone it means local time."""
        return cls(message, scheduled_timestamp=datetime_timestamp.timestamp())


class OrderedLockError(DurableExecutionsError):
    """An ordered lock is broken, because somebody ahead in its queue failed.

    Args:
        message: What happened.
        source_exception: The failure that broke the lock.

    """

    def __init__(self, message: str, source_exception: Exception | None = None) -> None:
        if source_exception is not None:
            message = f"{message} {type(source_exception).__name__}: {source_exception}"
        super().__init__(message)
        self.source_exception = source_exception


class OrphanedChildException(BaseException):
    """A branch goes on after its map or parallel has completed: its next operation raises this, and its code unwinds.

    Args:
        message: What happened.
        operation_id: The id of the operation that was refused.

    """

    def __init__(self, message: str, operation_id: str) -> None:
        super().__init__(message)
        self.operation_id = operation_id


_OPERATION_ERRORS: Final[dict[str, type[DurableOperationError]]] = {}


def register_operation_error(error_cls: type[DurableOperationError]) -> None:
    """Let `DurableOperationError.from_error_fields` rebuild ``error_cls`` from its recorded name.

    Args:
        error_cls: A subclass of `DurableOperationError` whose constructor takes ``message``, ``error_type``, ``data``
            and ``stack_trace`` as keywords.

    """
    _OPERATION_ERRORS[_class_name(error_cls)] = error_cls


def wire_error_type(exc: BaseException) -> str:
    """Give the ``ErrorType`` under which an exception is recorded.

    The qualified class name; builtins bare (``ValueError``); classes of this package under the official SDK's module
    names, and every subclass of `SerDesError` as `SerDesError`, so that either SDK reads the other's histories.

    Args:
        exc: Any exception.

    """
    if isinstance(exc, SerDesError):
        return _SERDES_ERROR_TYPE
    return well_formed(_class_name(type(exc)))


def wire_error_fields(exc: BaseException) -> tuple[str | None, str, str | None, list[str] | None]:
    """Give ``(ErrorMessage, ErrorType, ErrorData, StackTrace)`` under which an exception is recorded.

    Only operation and serialisation errors carry data and a stack trace. An exception whose ``str()`` raises is
    recorded with a message that says so, where the official SDK lets the second error escape. All of it is text that
    can be written as UTF-8, whatever the exception was given.

    Args:
        exc: Any exception.

    """
    if not isinstance(exc, (DurableOperationError, SerDesError)):
        return wire_text(exc), wire_error_type(exc), None, None
    message, data, trace = exc.message, exc.data, exc.stack_trace
    if trace is not None:
        trace = [wire_text(line) for line in (trace if isinstance(trace, (list, tuple)) else [trace])]
    return (
        None if message is None else wire_text(message),
        wire_error_type(exc),
        None if data is None else wire_text(data),
        trace,
    )


def wire_text(value: object) -> str:
    """Give what stands for an object in a record: its ``str()``, or why there is none, as well-formed text."""
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001  whatever the user's __str__ raises
        text = f"(no message: str() of this exception raised {type(error).__name__})"
    return well_formed(text)


def well_formed(text: str) -> str:
    r"""Give a text without lone surrogates, which no UTF-8 has: ``\udce9`` for each, as `repr` shows it.

    They come out of `os.fsdecode` for file names that are no UTF-8, and out of JSON that escapes half a character.
    Lambda's runtime dies of them in a response. Two that are a pair become the character that they stand for.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return text.encode(errors="backslashreplace").decode()
    return text


def operation_error(
    error_cls: type[DurableOperationError],
    error_type: str | None,
    message: str | None,
    data: str | None,
    stack_trace: list[str] | None,
) -> DurableOperationError | SerDesError:
    """Build the exception that a recorded failure surfaces as, with its ``__cause__``; the caller raises it.

    Args:
        error_cls: The kind of operation that failed.
        error_type: The recorded ``ErrorType``. That of a `SerDesError` gives a `SerDesError`, whatever the operation.
        message: The recorded ``ErrorMessage``.
        data: The recorded ``ErrorData``.
        stack_trace: The recorded ``StackTrace``.

    """
    recorded = None if error_type is None else _official_name(error_type)
    surfaced: type[DurableOperationError | SerDesError] = error_cls
    if recorded == _SERDES_ERROR_TYPE:
        surfaced = SerDesError
    elif recorded == _STEP_TIMEOUT_TYPE and error_cls is StepError:
        surfaced = StepTimedOutError
    error = surfaced(message=message, error_type=error_type, data=data, stack_trace=stack_trace)
    error.__cause__ = DurableOperationError.from_error_fields(error_type, message, data, stack_trace)
    return error


def _class_name(cls: type) -> str:
    """Give the wire name of a class."""
    if cls is StepTimedOutError:
        cls = StepError
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else _official_name(f"{module}.{cls.__qualname__}")


def _official_name(name: str) -> str:
    """``name`` with this package's prefix replaced by the official SDK's."""
    return _OFFICIAL_PREFIX + name[len(_OWN_PREFIX) :] if name.startswith(_OWN_PREFIX) else name


def _operation_error_class(error_type: str) -> type[DurableOperationError] | None:
    """Find the registered class of a recorded name."""
    name = _official_name(error_type)
    if name == _OFFICIAL_PREFIX + "concurrency.models.BatchCompletionError" and name not in _OPERATION_ERRORS:
        from importlib import import_module  # noqa: PLC0415  only when a history names it

        import_module("perdure.concurrency.models")  # above this module, and registers the class
    return _OPERATION_ERRORS.get(name)


for _error_cls in (
    StepError,
    InvokeError,
    ChildContextError,
    WaitForConditionError,
    CallbackError,
    CallbackExternalError,
    CallbackTimeoutError,
    CallbackSubmitterError,
):
    register_operation_error(_error_cls)
del _error_cls
