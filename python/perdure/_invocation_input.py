"""The event of an invocation as models, for tools that build events or bring a client along."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perdure.lambda_service import Operation

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from perdure.lambda_service import DurableServiceClient


@dataclass(frozen=True)
class InitialExecutionState:
    """The first page of the recorded operations.

    Args:
        operations: The operations.
        next_marker: Where the next page begins; empty if there is none.

    """

    operations: list[Operation]
    next_marker: str

    @staticmethod
    def from_dict(input_dict: MutableMapping[str, Any]) -> InitialExecutionState:
        """Read the wire's dict, with moments as datetimes."""
        return _state(input_dict, Operation.from_dict)

    @staticmethod
    def from_json_dict(input_dict: MutableMapping[str, Any]) -> InitialExecutionState:
        """Read the wire's dict, with moments as Unix milliseconds."""
        return _state(input_dict, Operation.from_json_dict)

    def to_dict(self) -> MutableMapping[str, Any]:
        """Write the wire's dict, with moments as datetimes."""
        return {"Operations": [operation.to_dict() for operation in self.operations], "NextMarker": self.next_marker}

    def to_json_dict(self) -> MutableMapping[str, Any]:
        """Write the wire's dict, with moments as Unix milliseconds."""
        operations = [operation.to_json_dict() for operation in self.operations]
        return {"Operations": operations, "NextMarker": self.next_marker}


def _state(input_dict: MutableMapping[str, Any], read: Any) -> InitialExecutionState:
    operations = [read(operation) for operation in input_dict.get("Operations") or []]
    return InitialExecutionState(operations, input_dict.get("NextMarker") or "")


@dataclass(frozen=True)
class DurableExecutionInvocationInput:
    """What the service sends with an invocation.

    Args:
        durable_execution_arn: The execution.
        checkpoint_token: For the first checkpoint.
        initial_execution_state: The first page of the recorded operations.
        updated_operation_ids: What has changed since the last invocation.

    """

    durable_execution_arn: str
    checkpoint_token: str
    initial_execution_state: InitialExecutionState
    updated_operation_ids: list[str] = field(default_factory=list, kw_only=True)

    @staticmethod
    def from_dict(input_dict: MutableMapping[str, Any]) -> DurableExecutionInvocationInput:
        """Read the wire's dict, with moments as datetimes."""
        return _input(input_dict, InitialExecutionState.from_dict)

    @staticmethod
    def from_json_dict(input_dict: MutableMapping[str, Any]) -> DurableExecutionInvocationInput:
        """Read the wire's dict, with moments as Unix milliseconds."""
        return _input(input_dict, InitialExecutionState.from_json_dict)

    def to_dict(self) -> MutableMapping[str, Any]:
        """Write the wire's dict, with moments as datetimes."""
        return self._wire(self.initial_execution_state.to_dict())

    def to_json_dict(self) -> MutableMapping[str, Any]:
        """Write the wire's dict, with moments as Unix milliseconds."""
        return self._wire(self.initial_execution_state.to_json_dict())

    def _wire(self, state: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        wire: dict[str, Any] = {
            "DurableExecutionArn": self.durable_execution_arn,
            "CheckpointToken": self.checkpoint_token,
            "InitialExecutionState": state,
        }
        if self.updated_operation_ids:
            wire["UpdatedOperationIds"] = list(self.updated_operation_ids)
        return wire


def _input(input_dict: MutableMapping[str, Any], read: Any) -> DurableExecutionInvocationInput:
    return DurableExecutionInvocationInput(
        input_dict["DurableExecutionArn"],
        input_dict["CheckpointToken"],
        read(input_dict.get("InitialExecutionState") or {}),
        updated_operation_ids=list(input_dict.get("UpdatedOperationIds") or []),
    )


@dataclass(frozen=True)
class DurableExecutionInvocationInputWithClient(DurableExecutionInvocationInput):
    """An invocation's input together with the client that the engine is to call: the seam for test tools.

    Args:
        durable_execution_arn: The execution.
        checkpoint_token: For the first checkpoint.
        initial_execution_state: The first page of the recorded operations.
        service_client: Any blocking `DurableServiceClient`.
        updated_operation_ids: What has changed since the last invocation.

    """

    service_client: DurableServiceClient

    @staticmethod
    def from_durable_execution_invocation_input(
        invocation_input: DurableExecutionInvocationInput, service_client: DurableServiceClient
    ) -> DurableExecutionInvocationInputWithClient:
        """Add a client to an input."""
        return DurableExecutionInvocationInputWithClient(
            invocation_input.durable_execution_arn,
            invocation_input.checkpoint_token,
            invocation_input.initial_execution_state,
            service_client,
            updated_operation_ids=invocation_input.updated_operation_ids,
        )


for _class in (InitialExecutionState, DurableExecutionInvocationInput, DurableExecutionInvocationInputWithClient):
    _class.__module__ = "perdure.execution"  # where users import them from
