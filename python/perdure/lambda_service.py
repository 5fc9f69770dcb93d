"""The Lambda API of durable executions: its shapes as frozen dataclasses, and a client for it.

``from_dict`` and ``to_dict`` speak botocore's form, ``…_json_dict`` that of the Lambda event (timestamps in Unix
milliseconds). The engine does not go through these classes; they are for clients, tests and tools.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from perdure._core import __version__
from perdure._log import Log
from perdure._wire_operations import Operation, OperationUpdate
from perdure._wire_types import (
    CallbackDetails,
    CallbackOptions,
    CallbackTimeoutType,
    ChainedInvokeDetails,
    ChainedInvokeOptions,
    ContextDetails,
    ContextOptions,
    ErrorObject,
    ExecutionDetails,
    InvocationStatus,
    OperationAction,
    OperationPayload,
    OperationStatus,
    OperationSubType,
    OperationType,
    ReplayChildren,
    StepDetails,
    StepOptions,
    TimeoutSeconds,
    TimestampConverter,
    WaitDetails,
    WaitOptions,
    read_error,
)
from perdure.exceptions import CheckpointError, DurableOperationError, GetExecutionStateError, SerDesError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = [
    "CallbackDetails",
    "CallbackOptions",
    "CallbackTimeoutType",
    "ChainedInvokeDetails",
    "ChainedInvokeOptions",
    "CheckpointError",
    "CheckpointOutput",
    "CheckpointUpdatedExecutionState",
    "ContextDetails",
    "ContextOptions",
    "DurableExecutionInvocationOutput",
    "DurableOperationError",
    "DurableServiceClient",
    "ErrorObject",
    "ExecutionDetails",
    "GetExecutionStateError",
    "InvocationStatus",
    "LambdaClient",
    "Operation",
    "OperationAction",
    "OperationPayload",
    "OperationStatus",
    "OperationSubType",
    "OperationType",
    "OperationUpdate",
    "ReplayChildren",
    "SerDesError",
    "StateOutput",
    "StepDetails",
    "StepOptions",
    "TimeoutSeconds",
    "TimestampConverter",
    "WaitDetails",
    "WaitOptions",
]

logger = Log(__name__)

for _shape in (
    CallbackDetails,
    CallbackOptions,
    CallbackTimeoutType,
    ChainedInvokeDetails,
    ChainedInvokeOptions,
    ContextDetails,
    ContextOptions,
    ErrorObject,
    ExecutionDetails,
    InvocationStatus,
    Operation,
    OperationAction,
    OperationStatus,
    OperationSubType,
    OperationType,
    OperationUpdate,
    StepDetails,
    StepOptions,
    TimestampConverter,
    WaitDetails,
    WaitOptions,
):
    _shape.__module__ = __name__  # where users import it from
del _shape


def _read_operations(data: MutableMapping[str, Any]) -> list[Operation]:
    return [Operation.from_dict(operation) for operation in data.get("Operations") or ()]


@dataclass(frozen=True)
class CheckpointUpdatedExecutionState:
    """The operations that changed with a checkpoint; ``next_marker`` leads to more of them."""

    operations: list[Operation] = field(default_factory=list)
    next_marker: str | None = None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> CheckpointUpdatedExecutionState:
        """Read the API's form."""
        return cls(_read_operations(data), data.get("NextMarker"))


@dataclass(frozen=True)
class CheckpointOutput:
    """The response to a checkpoint.

    Args:
        checkpoint_token: For the next call; None when the invocation may record nothing more.
        new_execution_state: What changed.

    """

    checkpoint_token: str | None
    new_execution_state: CheckpointUpdatedExecutionState

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> CheckpointOutput:
        """Read the API's form."""
        state = data.get("NewExecutionState")
        return cls(data.get("CheckpointToken"), CheckpointUpdatedExecutionState.from_dict(state or {}))


@dataclass(frozen=True)
class StateOutput:
    """One page of the history; ``next_marker`` leads to the next."""

    operations: list[Operation] = field(default_factory=list)
    next_marker: str | None = None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> StateOutput:
        """Read the API's form."""
        return cls(_read_operations(data), data.get("NextMarker"))


@dataclass(frozen=True)
class DurableExecutionInvocationOutput:
    """What an invocation of a durable function returns to the service.

    Args:
        status: How it ended.
        result: The handler's result as JSON, for SUCCEEDED.
        error: For FAILED.

    """

    status: InvocationStatus
    result: str | None = None
    error: ErrorObject | None = None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> DurableExecutionInvocationOutput:
        """Read the form that the handler returns.

        Raises:
            ValueError: For a status that is not known.

        """
        return cls(InvocationStatus(data.get("Status")), data.get("Result"), read_error(data))

    def to_dict(self) -> MutableMapping[str, Any]:
        """Give the form that the handler returns; what is None is left out."""
        result: dict[str, Any] = {"Status": self.status.value}
        if self.result is not None:
            result["Result"] = self.result
        if self.error is not None:
            result["Error"] = self.error.to_dict()
        return result

    @classmethod
    def create_succeeded(cls, result: str) -> DurableExecutionInvocationOutput:
        """Say that the handler returned."""
        return cls(InvocationStatus.SUCCEEDED, result=result)

    @classmethod
    def create_retry(cls, error: ErrorObject) -> DurableExecutionInvocationOutput:
        """Say that the invocation should be run again."""
        return cls(InvocationStatus.RETRY, error=error)

    @classmethod
    def create_pending(cls) -> DurableExecutionInvocationOutput:
        """Say that the execution waits for something."""
        return cls(InvocationStatus.PENDING)


class DurableServiceClient(Protocol):
    """The two calls of the service that an invocation makes. Any object with these methods will do."""

    def checkpoint(
        self,
        durable_execution_arn: str,
        checkpoint_token: str,
        updates: list[OperationUpdate],
        client_token: str | None,
    ) -> CheckpointOutput:
        """Record updates, and learn what changed (``CheckpointDurableExecution``).

        Args:
            durable_execution_arn: The execution.
            checkpoint_token: The token of the previous response.
            updates: What to record, in order; none to ask for news.
            client_token: Makes repeating the call harmless; None for no such protection.

        Raises:
            CheckpointError: When the call fails.

        """
        ...

    def get_execution_state(
        self, durable_execution_arn: str, checkpoint_token: str, next_marker: str, max_items: int = 1000
    ) -> StateOutput:
        """Read a page of the history (``GetDurableExecutionState``).

        Args:
            durable_execution_arn: The execution.
            checkpoint_token: The token of the previous response.
            next_marker: Where the page begins.
            max_items: At most so many operations, up to 1,000 (the service's limit).

        Raises:
            GetExecutionStateError: When the call fails.

        """
        ...


class LambdaClient(DurableServiceClient):
    """The service through a boto3 Lambda client.

    Args:
        client: What ``boto3.client("lambda")`` gives, or an object with the same two methods.

    """

    _shared: Any = None
    _lock = threading.Lock()

    def __init__(self, client: Any) -> None:
        self.client = client

    @classmethod
    def initialize_client(cls) -> LambdaClient:
        """Wrap the process's one boto3 client, which is made on the first call.

        Credentials, region and endpoint are boto3's, so ``AWS_ENDPOINT_URL_LAMBDA`` points it at a local service.
        """
        with LambdaClient._lock:
            if LambdaClient._shared is None:
                LambdaClient._shared = _create_boto3_client()
            return cls(LambdaClient._shared)

    def checkpoint(
        self,
        durable_execution_arn: str,
        checkpoint_token: str,
        updates: list[OperationUpdate],
        client_token: str | None,
    ) -> CheckpointOutput:
        """Record updates; see `DurableServiceClient.checkpoint`."""
        request: dict[str, Any] = {
            "DurableExecutionArn": durable_execution_arn,
            "CheckpointToken": checkpoint_token,
            "Updates": [update.to_dict() for update in updates],
        }
        if client_token is not None:
            request["ClientToken"] = client_token
        try:
            return CheckpointOutput.from_dict(self.client.checkpoint_durable_execution(**request))
        except Exception as error:
            failure = CheckpointError.from_exception(error)
            logger.warning("CheckpointDurableExecution failed: %s", failure, extra=failure.build_logger_extras())
            raise failure from error

    def get_execution_state(
        self, durable_execution_arn: str, checkpoint_token: str, next_marker: str, max_items: int = 1000
    ) -> StateOutput:
        """Read a page of the history; see `DurableServiceClient.get_execution_state`."""
        try:
            return StateOutput.from_dict(
                self.client.get_durable_execution_state(
                    DurableExecutionArn=durable_execution_arn,
                    CheckpointToken=checkpoint_token,
                    Marker=next_marker,
                    MaxItems=max_items,
                )
            )
        except Exception as error:
            failure = GetExecutionStateError.from_exception(error)
            logger.warning("GetDurableExecutionState failed: %s", failure, extra=failure.build_logger_extras())
            raise failure from error


def _create_boto3_client() -> Any:
    """Make a boto3 Lambda client with the official SDK's timeouts and retries, under our own user agent."""
    import boto3  # type: ignore[import-untyped]  # noqa: PLC0415  the same
    from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415  the same

    config = Config(
        retries={"mode": "standard"},
        connect_timeout=5,
        read_timeout=50,
        user_agent_extra=f"perdure/{__version__}",
    )
    return boto3.client("lambda", config=config)
