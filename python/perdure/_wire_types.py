"""The small shapes of the Lambda API: enums, errors, and the details and options of each kind of operation.

Users import them from `perdure.lambda_service`. Field names on the wire are botocore's (``lambda/2015-03-31``).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from perdure.exceptions import DurableOperationError, operation_error, wire_error_fields

if TYPE_CHECKING:
    import builtins
    from collections.abc import MutableMapping

ReplayChildren: TypeAlias = bool
OperationPayload: TypeAlias = str
TimeoutSeconds: TypeAlias = int


class OperationAction(Enum):
    """What an update does to its operation."""

    START = "START"
    SUCCEED = "SUCCEED"
    FAIL = "FAIL"
    RETRY = "RETRY"
    CANCEL = "CANCEL"


class OperationStatus(Enum):
    """Where a recorded operation stands."""

    STARTED = "STARTED"
    PENDING = "PENDING"
    READY = "READY"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"


class OperationType(Enum):
    """The service's kinds of operation."""

    EXECUTION = "EXECUTION"
    CONTEXT = "CONTEXT"
    STEP = "STEP"
    WAIT = "WAIT"
    CALLBACK = "CALLBACK"
    CHAINED_INVOKE = "CHAINED_INVOKE"


class OperationSubType(StrEnum):
    """The subtypes that an SDK records; users may record their own for steps, callbacks and child contexts."""

    STEP = "Step"
    WAIT = "Wait"
    CALLBACK = "Callback"
    RUN_IN_CHILD_CONTEXT = "RunInChildContext"
    MAP = "Map"
    MAP_ITERATION = "MapIteration"
    PARALLEL = "Parallel"
    PARALLEL_BRANCH = "ParallelBranch"
    WAIT_FOR_CALLBACK = "WaitForCallback"
    WAIT_FOR_CONDITION = "WaitForCondition"
    CHAINED_INVOKE = "ChainedInvoke"


class InvocationStatus(Enum):
    """How an invocation ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    PENDING = "PENDING"
    RETRY = "RETRY"


class CallbackTimeoutType(Enum):
    """Which of a callback's two limits ran out."""

    TIMEOUT = "Callback.Timeout"
    HEARTBEAT = "Callback.Heartbeat"


class TimestampConverter:
    """Between `datetime.datetime` and the Unix milliseconds of the Lambda event."""

    @staticmethod
    def to_unix_millis(dt: dt.datetime | None) -> int | None:
        """Give ``dt`` in milliseconds, fractions cut off; without a time zone it means local time."""
        return None if dt is None else int(dt.timestamp() * 1000)

    @staticmethod
    def from_unix_millis(ms: int | None) -> dt.datetime | None:
        """Give the moment of ``ms`` milliseconds, in UTC."""
        return None if ms is None else dt.datetime.fromtimestamp(ms / 1000, tz=dt.UTC)


@dataclass(frozen=True)
class ErrorObject:
    """An error as it is recorded.

    Args:
        message: ``ErrorMessage``.
        type: ``ErrorType``; see `perdure.exceptions.wire_error_type`.
        data: ``ErrorData``.
        stack_trace: ``StackTrace``.

    """

    message: str | None
    type: str | None
    data: str | None
    stack_trace: list[str] | None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> ErrorObject:
        """Read the API's form."""
        return cls(data.get("ErrorMessage"), data.get("ErrorType"), data.get("ErrorData"), data.get("StackTrace"))

    @classmethod
    def from_exception(cls, exception: BaseException) -> ErrorObject:
        """Record an exception, as `perdure.exceptions.wire_error_fields` describes."""
        return cls(*wire_error_fields(exception))

    @classmethod
    def from_message(cls, message: str) -> ErrorObject:
        """Record a message without a class."""
        return cls(message, None, None, None)

    def to_dict(self) -> MutableMapping[str, Any]:
        """Give the API's form; what is None is left out."""
        fields = {
            "ErrorMessage": self.message,
            "ErrorType": self.type,
            "ErrorData": self.data,
            "StackTrace": self.stack_trace,
        }
        return {key: value for key, value in fields.items() if value is not None}

    def to_durable_operation_error(self) -> DurableOperationError:
        """Rebuild the error, for use as a ``__cause__``."""
        return DurableOperationError.from_error_fields(self.type, self.message, self.data, self.stack_trace)

    def raise_as_operation_error(self, operation_error_cls: builtins.type[DurableOperationError]) -> NoReturn:
        """Raise it as the failure of an operation.

        Args:
            operation_error_cls: The kind of operation that failed.

        Raises:
            DurableOperationError: ``operation_error_cls``, with the rebuilt error as ``__cause__``.
            SerDesError: Instead, when that is what was recorded.

        """
        raise operation_error(operation_error_cls, self.type, self.message, self.data, self.stack_trace)


def read_error(data: MutableMapping[str, Any]) -> ErrorObject | None:
    """Read the ``Error`` of details or of an update, if there is one."""
    error = data.get("Error")
    return ErrorObject.from_dict(error) if error else None


@dataclass(frozen=True)
class ExecutionDetails:
    """What is recorded of the execution itself: the user's event as JSON."""

    input_payload: str | None = None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> ExecutionDetails:
        """Read the API's form."""
        return cls(data.get("InputPayload"))


@dataclass(frozen=True)
class ContextDetails:
    """What is recorded of a child context, map or parallel."""

    replay_children: ReplayChildren = False
    result: OperationPayload | None = None
    error: ErrorObject | None = None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> ContextDetails:
        """Read the API's form."""
        return cls(data.get("ReplayChildren", False), data.get("Result"), read_error(data))


@dataclass(frozen=True)
class StepDetails:
    """What is recorded of a step or a wait_for_condition: attempts made, when the next is due, and the outcome."""

    attempt: int = 0
    next_attempt_timestamp: dt.datetime | None = None
    result: OperationPayload | None = None
    error: ErrorObject | None = None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> StepDetails:
        """Read the API's form."""
        return cls(data.get("Attempt", 0), data.get("NextAttemptTimestamp"), data.get("Result"), read_error(data))


@dataclass(frozen=True)
class WaitDetails:
    """What is recorded of a wait: when it ends."""

    scheduled_end_timestamp: dt.datetime | None = None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> WaitDetails:
        """Read the API's form."""
        return cls(data.get("ScheduledEndTimestamp"))


@dataclass(frozen=True)
class CallbackDetails:
    """What is recorded of a callback: the id that the service gave it, and the answer."""

    callback_id: str
    result: str | None = None
    error: ErrorObject | None = None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> CallbackDetails:
        """Read the API's form."""
        return cls(data["CallbackId"], data.get("Result"), read_error(data))


@dataclass(frozen=True)
class ChainedInvokeDetails:
    """What is recorded of an invoke: what came back."""

    result: str | None = None
    error: ErrorObject | None = None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> ChainedInvokeDetails:
        """Read the API's form."""
        return cls(data.get("Result"), read_error(data))


@dataclass(frozen=True)
class ContextOptions:
    """Sent with a context's SUCCEED: whether replay must run the children again, because the result was too large."""

    replay_children: ReplayChildren = False

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> ContextOptions:
        """Read the API's form."""
        return cls(data.get("ReplayChildren", False))

    def to_dict(self) -> MutableMapping[str, Any]:
        """Give the API's form."""
        return {"ReplayChildren": self.replay_children}


@dataclass(frozen=True)
class StepOptions:
    """Sent with a RETRY: seconds until the next attempt."""

    next_attempt_delay_seconds: int = 0

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> StepOptions:
        """Read the API's form."""
        return cls(data.get("NextAttemptDelaySeconds", 0))

    def to_dict(self) -> MutableMapping[str, Any]:
        """Give the API's form."""
        return {"NextAttemptDelaySeconds": self.next_attempt_delay_seconds}


@dataclass(frozen=True)
class WaitOptions:
    """Sent with a wait's START: its seconds."""

    wait_seconds: int = 1

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> WaitOptions:
        """Read the API's form."""
        return cls(data.get("WaitSeconds", 1))

    def to_dict(self) -> MutableMapping[str, Any]:
        """Give the API's form."""
        return {"WaitSeconds": self.wait_seconds}


@dataclass(frozen=True)
class CallbackOptions:
    """Sent with a callback's START: its limits in seconds, 0 for none."""

    timeout_seconds: TimeoutSeconds = 0
    heartbeat_timeout_seconds: int = 0

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> CallbackOptions:
        """Read the API's form."""
        return cls(data.get("TimeoutSeconds", 0), data.get("HeartbeatTimeoutSeconds", 0))

    def to_dict(self) -> MutableMapping[str, Any]:
        """Give the API's form."""
        return {
            "TimeoutSeconds": self.timeout_seconds,
            "HeartbeatTimeoutSeconds": self.heartbeat_timeout_seconds,
        }


@dataclass(frozen=True)
class ChainedInvokeOptions:
    """Sent with an invoke's START: which function, for which tenant, under which trace."""

    function_name: str
    tenant_id: str | None = None
    x_amzn_trace_id: str | None = None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> ChainedInvokeOptions:
        """Read the API's form."""
        return cls(data["FunctionName"], data.get("TenantId"), data.get("XAmznTraceId"))

    def to_dict(self) -> MutableMapping[str, Any]:
        """Give the API's form; what is None is left out."""
        fields = {
            "FunctionName": self.function_name,
            "TenantId": self.tenant_id,
            "XAmznTraceId": self.x_amzn_trace_id,
        }
        return {key: value for key, value in fields.items() if value is not None}
