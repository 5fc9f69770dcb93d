"""Operations, and calls to the service, of an invocation that has hooks."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from perdure._jitter import chance
from perdure.exceptions import DurableOperationError, SerDesError

if TYPE_CHECKING:
    from perdure._core import Operation, Updates
    from perdure.engine.client import Client
    from perdure.engine.flows import Flow
    from perdure.engine.hooks import Hooks
    from perdure.engine.received import Checkpoint, Operations

T = TypeVar("T")


def seen(hooks: Hooks, operation: Operation, flow: Flow[T], *, by_default: bool) -> Flow[T]:
    """Show what the flow of an operation gives, or what it fails with."""
    try:
        value = yield from flow
    except (DurableOperationError, SerDesError) as error:
        hooks.operation_raised(operation, error, by_default=by_default)
        raise
    hooks.operation_gave(operation, value, by_default=by_default)
    return value


def strategy_of(hooks: Hooks, operation: Operation, strategy: Any) -> Any:
    """Give a strategy that draws its numbers from the hooks, and that they may put another one around."""
    if not callable(strategy):
        return strategy  # a mistake, which is refused in words where it is asked

    @wraps(strategy)
    def decide(*about: Any) -> Any:
        drawn = chance.set(hooks.random)
        try:
            return strategy(*about)
        finally:
            chance.reset(drawn)

    return hooks.strategy(operation, decide)


class WatchedClient:
    """A client whose calls are shown before and after."""

    __slots__ = ("_client", "_hooks", "begin", "most_calls", "prepare", "settle")

    def __init__(self, client: Client, hooks: Hooks) -> None:
        self._client = client
        self._hooks = hooks
        self.begin, self.prepare, self.settle = client.begin, client.prepare, client.settle
        self.most_calls = client.most_calls

    def checkpoint(self, arn: str, token: str, updates: Updates, client_token: str) -> Checkpoint:
        """Record updates."""
        self._hooks.before_call(updates)
        answer = self._client.checkpoint(arn, token, updates, client_token)
        self._hooks.after_call(updates)
        return answer

    def state(self, arn: str, token: str, marker: str) -> tuple[Operations, str | None]:
        """Read a further page of the recorded operations."""
        self._hooks.before_call(None)
        page = self._client.state(arn, token, marker)
        self._hooks.after_call(None)
        return page
