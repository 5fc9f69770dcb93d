"""What the API's further actions are asked and answer; users import the shapes from `perdure.testing.model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from perdure.history.shapes import Shape
from perdure.lambda_service import (  # noqa: TC001  the shapes read the hints
    CheckpointUpdatedExecutionState,
    ErrorObject,
    Operation,
    OperationUpdate,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ListDurableExecutionsRequest(Shape):
    """A list of executions of whatever function, which the official emulator gives and the service does not."""

    function_name: str | None = None
    function_version: str | None = None
    durable_execution_name: str | None = None
    status_filter: list[str] | None = None
    started_after: str | None = None
    started_before: str | None = None
    marker: str | None = None
    max_items: int = 0
    reverse_order: bool | None = None


@dataclass(frozen=True)
class GetDurableExecutionStateRequest(Shape):
    """Of ``GetDurableExecutionState``."""

    durable_execution_arn: str
    checkpoint_token: str
    marker: str | None = None
    max_items: int = 0


@dataclass(frozen=True)
class GetDurableExecutionStateResponse(Shape):
    """What ``GetDurableExecutionState`` answers."""

    operations: list[Operation]
    next_marker: str | None = None


@dataclass(frozen=True)
class CheckpointDurableExecutionRequest(Shape):
    """Of ``CheckpointDurableExecution``."""

    durable_execution_arn: str
    checkpoint_token: str
    updates: list[OperationUpdate] | None = None
    client_token: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], durable_execution_arn: str | None = None) -> Self:
        """Read the body of a request, whose path has the ARN."""
        return super().from_dict(_with(data, "DurableExecutionArn", durable_execution_arn))


@dataclass(frozen=True)
class CheckpointDurableExecutionResponse(Shape):
    """What ``CheckpointDurableExecution`` answers."""

    checkpoint_token: str | None
    new_execution_state: CheckpointUpdatedExecutionState | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the API's form."""
        return super().from_dict({"CheckpointToken": None, **data})


@dataclass(frozen=True)
class SendDurableExecutionCallbackSuccessRequest(Shape):
    """Of ``SendDurableExecutionCallbackSuccess``."""

    callback_id: str
    result: bytes | None = None


@dataclass(frozen=True)
class SendDurableExecutionCallbackSuccessResponse(Shape):
    """What ``SendDurableExecutionCallbackSuccess`` answers: nothing."""


@dataclass(frozen=True)
class SendDurableExecutionCallbackFailureRequest(Shape):
    """Of ``SendDurableExecutionCallbackFailure``."""

    callback_id: str
    error: ErrorObject | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], callback_id: str | None = None) -> Self:
        """Read the body of a request, whose path has the id."""
        return super().from_dict(_with(data, "CallbackId", callback_id))


@dataclass(frozen=True)
class SendDurableExecutionCallbackFailureResponse(Shape):
    """What ``SendDurableExecutionCallbackFailure`` answers: nothing."""


@dataclass(frozen=True)
class SendDurableExecutionCallbackHeartbeatRequest(Shape):
    """Of ``SendDurableExecutionCallbackHeartbeat``."""

    callback_id: str


@dataclass(frozen=True)
class SendDurableExecutionCallbackHeartbeatResponse(Shape):
    """What ``SendDurableExecutionCallbackHeartbeat`` answers: nothing."""


def _with(data: Mapping[str, Any], member: str, value: str | None) -> Mapping[str, Any]:
    """Add what a request has in its path."""
    return data if value is None else {**data, member: value}
