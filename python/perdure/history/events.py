"""The events of an execution's history, as ``GetDurableExecutionHistory`` gives them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Self

from perdure.history.shapes import Shape, wired
from perdure.lambda_service import ErrorObject  # noqa: TC001  the shapes read the hints


class EventType(Enum):
    """What happened."""

    EXECUTION_STARTED = "ExecutionStarted"
    EXECUTION_SUCCEEDED = "ExecutionSucceeded"
    EXECUTION_FAILED = "ExecutionFailed"
    EXECUTION_TIMED_OUT = "ExecutionTimedOut"
    EXECUTION_STOPPED = "ExecutionStopped"
    EXECUTION_PAUSED = "ExecutionPaused"
    EXECUTION_RESUMED = "ExecutionResumed"
    CONTEXT_STARTED = "ContextStarted"
    CONTEXT_SUCCEEDED = "ContextSucceeded"
    CONTEXT_FAILED = "ContextFailed"
    WAIT_STARTED = "WaitStarted"
    WAIT_SUCCEEDED = "WaitSucceeded"
    WAIT_CANCELLED = "WaitCancelled"
    STEP_STARTED = "StepStarted"
    STEP_SUCCEEDED = "StepSucceeded"
    STEP_FAILED = "StepFailed"
    CHAINED_INVOKE_STARTED = "ChainedInvokeStarted"
    CHAINED_INVOKE_SUCCEEDED = "ChainedInvokeSucceeded"
    CHAINED_INVOKE_FAILED = "ChainedInvokeFailed"
    CHAINED_INVOKE_TIMED_OUT = "ChainedInvokeTimedOut"
    CHAINED_INVOKE_STOPPED = "ChainedInvokeStopped"
    CALLBACK_STARTED = "CallbackStarted"
    CALLBACK_SUCCEEDED = "CallbackSucceeded"
    CALLBACK_FAILED = "CallbackFailed"
    CALLBACK_TIMED_OUT = "CallbackTimedOut"
    INVOCATION_COMPLETED = "InvocationCompleted"


@dataclass(frozen=True)
class EventInput(Shape):
    """An input; ``truncated`` when the history was asked for without data."""

    payload: str | None = None
    truncated: bool = False


@dataclass(frozen=True)
class EventResult(Shape):
    """A result; ``truncated`` when the history was asked for without data."""

    payload: str | None = None
    truncated: bool = False


@dataclass(frozen=True)
class EventError(Shape):
    """An error; ``truncated`` when the history was asked for without data."""

    payload: ErrorObject | None = None
    truncated: bool = False


@dataclass(frozen=True)
class EventReason(Shape):
    """Why an execution was paused or resumed."""

    payload: str | None = None
    truncated: bool = False


@dataclass(frozen=True)
class RetryDetails(Shape):
    """Which attempt ended, and in how many seconds the next one begins."""

    current_attempt: int = 0
    next_attempt_delay_seconds: int | None = None


@dataclass(frozen=True)
class _Empty(Shape):
    pass


@dataclass(frozen=True)
class _WithResult(Shape):
    result: EventResult | None = None


@dataclass(frozen=True)
class _Failure(Shape):
    error: EventError | None = None


@dataclass(frozen=True)
class ExecutionStartedDetails(Shape):
    """Of ``ExecutionStarted``; the timeout in seconds."""

    input: EventInput | None = None
    execution_timeout: int | None = None


@dataclass(frozen=True)
class ExecutionSucceededDetails(_WithResult):
    """Of ``ExecutionSucceeded``."""


@dataclass(frozen=True)
class ExecutionFailedDetails(_Failure):
    """Of ``ExecutionFailed``."""


@dataclass(frozen=True)
class ExecutionTimedOutDetails(_Failure):
    """Of ``ExecutionTimedOut``."""


@dataclass(frozen=True)
class ExecutionStoppedDetails(_Failure):
    """Of ``ExecutionStopped``."""


@dataclass(frozen=True)
class ExecutionPausedDetails(Shape):
    """Of ``ExecutionPaused``."""

    pause_request_timestamp: dt.datetime | None = None
    reason: EventReason | None = None
    execution_timeout_paused: bool | None = None


@dataclass(frozen=True)
class ExecutionResumedDetails(Shape):
    """Of ``ExecutionResumed``."""

    resume_request_timestamp: dt.datetime | None = None
    reason: EventReason | None = None


@dataclass(frozen=True)
class ContextStartedDetails(_Empty):
    """Of ``ContextStarted``."""


@dataclass(frozen=True)
class ContextSucceededDetails(_WithResult):
    """Of ``ContextSucceeded``."""


@dataclass(frozen=True)
class ContextFailedDetails(_Failure):
    """Of ``ContextFailed``."""


@dataclass(frozen=True)
class WaitStartedDetails(Shape):
    """Of ``WaitStarted``; the duration in seconds."""

    duration: int | None = None
    scheduled_end_timestamp: dt.datetime | None = None


@dataclass(frozen=True)
class WaitSucceededDetails(Shape):
    """Of ``WaitSucceeded``; the duration in seconds."""

    duration: int | None = None


@dataclass(frozen=True)
class WaitCancelledDetails(_Failure):
    """Of ``WaitCancelled``."""


@dataclass(frozen=True)
class StepStartedDetails(_Empty):
    """Of ``StepStarted``."""


@dataclass(frozen=True)
class StepSucceededDetails(Shape):
    """Of ``StepSucceeded``."""

    result: EventResult | None = None
    retry_details: RetryDetails | None = None


@dataclass(frozen=True)
class StepFailedDetails(Shape):
    """Of ``StepFailed``."""

    error: EventError | None = None
    retry_details: RetryDetails | None = None


@dataclass(frozen=True)
class ChainedInvokeStartedDetails(Shape):
    """Of ``ChainedInvokeStarted``; ``durable_execution_arn`` is that of the function that was called."""

    function_name: str | None = None
    tenant_id: str | None = None
    input: EventInput | None = None
    durable_execution_arn: str | None = None


@dataclass(frozen=True)
class ChainedInvokeSucceededDetails(_WithResult):
    """Of ``ChainedInvokeSucceeded``."""


@dataclass(frozen=True)
class ChainedInvokeFailedDetails(_Failure):
    """Of ``ChainedInvokeFailed``."""


@dataclass(frozen=True)
class ChainedInvokeTimedOutDetails(_Failure):
    """Of ``ChainedInvokeTimedOut``."""


@dataclass(frozen=True)
class ChainedInvokeStoppedDetails(_Failure):
    """Of ``ChainedInvokeStopped``."""


@dataclass(frozen=True)
class CallbackStartedDetails(Shape):
    """Of ``CallbackStarted``; the timeouts in seconds."""

    callback_id: str | None = None
    heartbeat_timeout: int | None = None
    timeout: int | None = None


@dataclass(frozen=True)
class CallbackSucceededDetails(_WithResult):
    """Of ``CallbackSucceeded``."""


@dataclass(frozen=True)
class CallbackFailedDetails(_Failure):
    """Of ``CallbackFailed``."""


@dataclass(frozen=True)
class CallbackTimedOutDetails(_Failure):
    """Of ``CallbackTimedOut``."""


@dataclass(frozen=True)
class InvocationCompletedDetails(Shape):
    """Of ``InvocationCompleted``: one call of the handler."""

    start_timestamp: dt.datetime
    end_timestamp: dt.datetime
    request_id: str
    error: EventError | None = None


@dataclass(frozen=True)
class Event(Shape):
    """One event. The details that fit its type are set, the others are None."""

    event_type: str
    event_timestamp: dt.datetime
    sub_type: str | None = None
    event_id: int = 1
    operation_id: str | None = wired("Id", default=None)
    name: str | None = None
    parent_id: str | None = None
    execution_started_details: ExecutionStartedDetails | None = None
    execution_succeeded_details: ExecutionSucceededDetails | None = None
    execution_failed_details: ExecutionFailedDetails | None = None
    execution_timed_out_details: ExecutionTimedOutDetails | None = None
    execution_stopped_details: ExecutionStoppedDetails | None = None
    context_started_details: ContextStartedDetails | None = None
    context_succeeded_details: ContextSucceededDetails | None = None
    context_failed_details: ContextFailedDetails | None = None
    wait_started_details: WaitStartedDetails | None = None
    wait_succeeded_details: WaitSucceededDetails | None = None
    wait_cancelled_details: WaitCancelledDetails | None = None
    step_started_details: StepStartedDetails | None = None
    step_succeeded_details: StepSucceededDetails | None = None
    step_failed_details: StepFailedDetails | None = None
    chained_invoke_started_details: ChainedInvokeStartedDetails | None = None
    chained_invoke_succeeded_details: ChainedInvokeSucceededDetails | None = None
    chained_invoke_failed_details: ChainedInvokeFailedDetails | None = None
    chained_invoke_timed_out_details: ChainedInvokeTimedOutDetails | None = None
    chained_invoke_stopped_details: ChainedInvokeStoppedDetails | None = None
    callback_started_details: CallbackStartedDetails | None = None
    callback_succeeded_details: CallbackSucceededDetails | None = None
    callback_failed_details: CallbackFailedDetails | None = None
    callback_timed_out_details: CallbackTimedOutDetails | None = None
    invocation_completed_details: InvocationCompletedDetails | None = None
    execution_paused_details: ExecutionPausedDetails | None = None
    execution_resumed_details: ExecutionResumedDetails | None = None

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Read an event in which moments are ISO text or numbers, as JSON has them."""
        return cls.from_dict(_dated(document))

    @classmethod
    def from_event_with_id(cls, event: Event, event_id: int) -> Event:
        """Copy an event under another number."""
        return replace(event, event_id=event_id)

    @property
    def details(self) -> Any:
        """The details that fit the event's type; None when there are none."""
        words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in self.event_type)
        return getattr(self, f"{words.lstrip('_')}_details", None)


_SECONDS_END = 100_000_000_000
"""A timestamp below this is in seconds (until the year 5138), one above it in milliseconds (since 1973)."""


def to_moment(value: Any) -> dt.datetime:
    """Read a timestamp: a moment, ISO text, or seconds or milliseconds since 1970."""
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, str):
        return dt.datetime.fromisoformat(value)
    return dt.datetime.fromtimestamp(value if value < _SECONDS_END else value / 1000, dt.UTC)


def _dated(value: Any) -> Any:
    """Copy a part of an event with moments in place of what stands for them in JSON."""
    if not isinstance(value, dict):
        return value
    return {
        key: to_moment(part) if key.endswith("Timestamp") and part is not None else _dated(part)
        for key, part in value.items()
    }
