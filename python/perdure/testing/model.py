"""The shapes of the API around an execution: what a test reads from histories, and what the runners exchange.

The names are those of the official testing package's `model`. ``from_dict`` and ``to_dict`` speak boto3's form.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003  the shapes read the hints
from dataclasses import dataclass, field

from perdure.history import events as _events
from perdure.history.events import (
    CallbackFailedDetails,
    CallbackStartedDetails,
    CallbackSucceededDetails,
    CallbackTimedOutDetails,
    ChainedInvokeFailedDetails,
    ChainedInvokeStartedDetails,
    ChainedInvokeStoppedDetails,
    ChainedInvokeSucceededDetails,
    ChainedInvokeTimedOutDetails,
    ContextFailedDetails,
    ContextStartedDetails,
    ContextSucceededDetails,
    Event,
    EventError,
    EventInput,
    EventReason,
    EventResult,
    EventType,
    ExecutionFailedDetails,
    ExecutionPausedDetails,
    ExecutionResumedDetails,
    ExecutionStartedDetails,
    ExecutionStoppedDetails,
    ExecutionSucceededDetails,
    ExecutionTimedOutDetails,
    InvocationCompletedDetails,
    RetryDetails,
    StepFailedDetails,
    StepStartedDetails,
    StepSucceededDetails,
    WaitCancelledDetails,
    WaitStartedDetails,
    WaitSucceededDetails,
)
from perdure.history.operations import events_to_operations
from perdure.history.shapes import Shape
from perdure.lambda_service import (
    CallbackDetails,
    CallbackOptions,
    ChainedInvokeDetails,
    CheckpointUpdatedExecutionState,
    ContextDetails,
    DurableExecutionInvocationOutput,
    ErrorObject,
    ExecutionDetails,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StepDetails,
    TimestampConverter,
    WaitDetails,
)
from perdure.testing import _exchanges
from perdure.testing._exchanges import (
    CheckpointDurableExecutionRequest,
    CheckpointDurableExecutionResponse,
    GetDurableExecutionStateRequest,
    GetDurableExecutionStateResponse,
    ListDurableExecutionsRequest,
    SendDurableExecutionCallbackFailureRequest,
    SendDurableExecutionCallbackFailureResponse,
    SendDurableExecutionCallbackHeartbeatRequest,
    SendDurableExecutionCallbackHeartbeatResponse,
    SendDurableExecutionCallbackSuccessRequest,
    SendDurableExecutionCallbackSuccessResponse,
)
from perdure.testing.exceptions import InvalidParameterValueException
from perdure.testing.invoker import LATEST_PUBLISHED_QUALIFIER, LambdaContext, executed_version
from perdure.types import LambdaContext as LambdaContextProtocol

__all__ = [
    "LATEST_PUBLISHED_QUALIFIER",
    "TERMINAL_STATUSES",
    "CallbackDetails",
    "CallbackFailedDetails",
    "CallbackOptions",
    "CallbackStartedDetails",
    "CallbackSucceededDetails",
    "CallbackTimedOutDetails",
    "ChainedInvokeDetails",
    "ChainedInvokeFailedDetails",
    "ChainedInvokeStartedDetails",
    "ChainedInvokeStoppedDetails",
    "ChainedInvokeSucceededDetails",
    "ChainedInvokeTimedOutDetails",
    "CheckpointDurableExecutionRequest",
    "CheckpointDurableExecutionResponse",
    "CheckpointUpdatedExecutionState",
    "ContextDetails",
    "ContextFailedDetails",
    "ContextStartedDetails",
    "ContextSucceededDetails",
    "DurableConfig",
    "DurableExecutionInvocationOutput",
    "ErrorObject",
    "Event",
    "EventError",
    "EventInput",
    "EventReason",
    "EventResult",
    "EventType",
    "Execution",
    "ExecutionDetails",
    "ExecutionFailedDetails",
    "ExecutionPausedDetails",
    "ExecutionResumedDetails",
    "ExecutionStartedDetails",
    "ExecutionStoppedDetails",
    "ExecutionSucceededDetails",
    "ExecutionTimedOutDetails",
    "GetDurableExecutionHistoryRequest",
    "GetDurableExecutionHistoryResponse",
    "GetDurableExecutionRequest",
    "GetDurableExecutionResponse",
    "GetDurableExecutionStateRequest",
    "GetDurableExecutionStateResponse",
    "InvalidParameterValueException",
    "InvocationCompletedDetails",
    "LambdaContext",
    "LambdaContextProtocol",
    "ListDurableExecutionsByFunctionRequest",
    "ListDurableExecutionsByFunctionResponse",
    "ListDurableExecutionsRequest",
    "ListDurableExecutionsResponse",
    "Operation",
    "OperationAction",
    "OperationStatus",
    "OperationType",
    "OperationUpdate",
    "RetryDetails",
    "SendDurableExecutionCallbackFailureRequest",
    "SendDurableExecutionCallbackFailureResponse",
    "SendDurableExecutionCallbackHeartbeatRequest",
    "SendDurableExecutionCallbackHeartbeatResponse",
    "SendDurableExecutionCallbackSuccessRequest",
    "SendDurableExecutionCallbackSuccessResponse",
    "StartDurableExecutionInput",
    "StartDurableExecutionOutput",
    "StepDetails",
    "StepFailedDetails",
    "StepStartedDetails",
    "StepSucceededDetails",
    "StopDurableExecutionRequest",
    "StopDurableExecutionResponse",
    "TimestampConverter",
    "WaitCancelledDetails",
    "WaitDetails",
    "WaitStartedDetails",
    "WaitSucceededDetails",
    "events_to_operations",
    "executed_version",
]

LambdaContext.__module__ = __name__  # where users import it from
_shape: object = None
for _made in (_events, _exchanges):
    for _shape in vars(_made).copy().values():
        if isinstance(_shape, type) and _shape.__module__ == _made.__name__:
            _shape.__module__ = __name__
del _shape, _made

TERMINAL_STATUSES = frozenset(
    {
        OperationStatus.SUCCEEDED,
        OperationStatus.FAILED,
        OperationStatus.CANCELLED,
        OperationStatus.TIMED_OUT,
        OperationStatus.STOPPED,
    }
)
"""What an operation ends as."""


@dataclass(frozen=True)
class Execution(Shape):
    """An execution in a list of them."""

    durable_execution_arn: str
    durable_execution_name: str
    function_arn: str
    status: str
    start_timestamp: dt.datetime
    end_timestamp: dt.datetime | None = None


@dataclass(frozen=True)
class StartDurableExecutionInput(Shape):
    """How an execution was started; the timeout in seconds, the retention in days."""

    account_id: str
    function_name: str
    function_qualifier: str
    execution_name: str
    execution_timeout_seconds: int
    execution_retention_period_days: int
    invocation_id: str | None = None
    trace_fields: dict[str, str] | None = None
    tenant_id: str | None = None
    input: str | None = None
    lambda_endpoint: str | None = None


@dataclass(frozen=True)
class StartDurableExecutionOutput(Shape):
    """The ARN of an execution that was started."""

    execution_arn: str | None = None


@dataclass(frozen=True)
class GetDurableExecutionRequest(Shape):
    """Of ``GetDurableExecution``."""

    durable_execution_arn: str


@dataclass(frozen=True)
class DurableConfig(Shape):
    """How an execution is kept; of ``GetDurableExecution``."""

    retention_period_in_days: int | None = None
    execution_timeout: int | None = None


@dataclass(frozen=True)
class GetDurableExecutionResponse(Shape):
    """What ``GetDurableExecution`` answers."""

    durable_execution_arn: str
    durable_execution_name: str
    function_arn: str
    status: str
    start_timestamp: dt.datetime
    input_payload: str | None = None
    result: str | None = None
    error: ErrorObject | None = None
    end_timestamp: dt.datetime | None = None
    version: str | None = None
    durable_config: DurableConfig | None = None


@dataclass(frozen=True)
class GetDurableExecutionHistoryRequest(Shape):
    """Of ``GetDurableExecutionHistory``."""

    durable_execution_arn: str
    include_execution_data: bool | None = None
    reverse_order: bool | None = None
    marker: str | None = None
    max_items: int = 0


@dataclass(frozen=True)
class GetDurableExecutionHistoryResponse(Shape):
    """What ``GetDurableExecutionHistory`` answers: events in the order they happened."""

    events: list[Event] = field(default_factory=list)
    next_marker: str | None = None


@dataclass(frozen=True)
class ListDurableExecutionsByFunctionRequest(Shape):
    """Of ``ListDurableExecutionsByFunction``."""

    function_name: str
    qualifier: str | None = None
    durable_execution_name: str | None = None
    status_filter: list[str] | None = None
    started_after: str | None = None
    started_before: str | None = None
    marker: str | None = None
    max_items: int = 0
    reverse_order: bool | None = None


@dataclass(frozen=True)
class ListDurableExecutionsByFunctionResponse(Shape):
    """What ``ListDurableExecutionsByFunction`` answers."""

    durable_executions: list[Execution] = field(default_factory=list)
    next_marker: str | None = None


@dataclass(frozen=True)
class ListDurableExecutionsResponse(Shape):
    """The answer to `ListDurableExecutionsRequest`."""

    durable_executions: list[Execution]
    next_marker: str | None = None


@dataclass(frozen=True)
class StopDurableExecutionRequest(Shape):
    """Of ``StopDurableExecution``."""

    durable_execution_arn: str
    error: ErrorObject | None = None


@dataclass(frozen=True)
class StopDurableExecutionResponse(Shape):
    """What ``StopDurableExecution`` answers."""

    stop_timestamp: dt.datetime
