"""The engine's view of the service: two calls, over boto3 or over any blocking `DurableServiceClient`.

Updates and operations are the wire's dicts on both sides. boto3 is imported with the first call that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

Wire = dict[str, Any]

# What the service answers a checkpoint with: the next token, the changed operations, where their next page begins.
Checkpoint = tuple[str | None, list[Wire], str | None]

if TYPE_CHECKING:
    from typing import Protocol

    from perdure.lambda_service import DurableServiceClient

    class Client(Protocol):
        """What the engine asks of the service."""

        def checkpoint(self, arn: str, token: str, updates: list[Wire], client_token: str) -> Checkpoint:
            """Record updates; repeating a call with the same ``client_token`` records them once."""
            ...

        def state(self, arn: str, token: str, marker: str) -> tuple[list[Wire], str | None]:
            """Read a further page of the recorded operations."""
            ...


class BotoClient:
    """The service behind a boto3 Lambda client, or behind anything with its two methods."""

    __slots__ = ("_client",)

    def __init__(self, client: Any) -> None:
        self._client = client

    def checkpoint(self, arn: str, token: str, updates: list[Wire], client_token: str) -> Checkpoint:
        """Record updates."""
        response = self._client.checkpoint_durable_execution(
            DurableExecutionArn=arn, CheckpointToken=token, Updates=updates, ClientToken=client_token
        )
        state = response.get("NewExecutionState") or {}
        return response.get("CheckpointToken"), state.get("Operations") or [], state.get("NextMarker")

    def state(self, arn: str, token: str, marker: str) -> tuple[list[Wire], str | None]:
        """Read a further page."""
        response = self._client.get_durable_execution_state(
            DurableExecutionArn=arn, CheckpointToken=token, Marker=marker, MaxItems=PAGE
        )
        return response.get("Operations") or [], response.get("NextMarker")


class ModelClient:
    """The service behind a `DurableServiceClient`, which speaks in the models of `perdure.lambda_service`."""

    __slots__ = ("_client", "_update")

    def __init__(self, client: DurableServiceClient) -> None:
        from perdure.lambda_service import OperationUpdate  # noqa: PLC0415  only for injected clients

        self._client = client
        self._update = OperationUpdate.from_dict

    def checkpoint(self, arn: str, token: str, updates: list[Wire], client_token: str) -> Checkpoint:
        """Record updates."""
        output = self._client.checkpoint(arn, token, [self._update(update) for update in updates], client_token)
        state = output.new_execution_state
        operations = [dict(operation.to_dict()) for operation in state.operations]
        return output.checkpoint_token, operations, state.next_marker

    def state(self, arn: str, token: str, marker: str) -> tuple[list[Wire], str | None]:
        """Read a further page."""
        output = self._client.get_execution_state(arn, token, marker, PAGE)
        return [dict(operation.to_dict()) for operation in output.operations], output.next_marker


PAGE = 1000
"""How many operations one page may hold, the most the service gives."""

_default: BotoClient | None = None


def default_client() -> BotoClient:
    """Give the process's client, made with the first call and reused by warm invocations."""
    global _default  # noqa: PLW0603  one client a process is the point
    if _default is None:
        from perdure.lambda_service import LambdaClient  # noqa: PLC0415  brings boto3 along

        _default = BotoClient(LambdaClient.initialize_client().client)
    return _default
