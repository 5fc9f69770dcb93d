"""An event of whoever carries out executions in this process: a local service, a bench, a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.engine.time_left import WALL_CLOCK

if TYPE_CHECKING:
    from perdure.engine.hooks import Hooks


class HostedEvent(dict[str, Any]):
    """A plain Lambda event that brings along what stands in for AWS and the time of the world.

    It wins over what a handler was decorated with: a handler made for AWS must not call AWS from here.

    Args:
        content: The event.
        client: Has the two methods of a boto3 Lambda client that the engine calls.
        clock: As an `Invocation` takes it.
        hooks: See and steer the invocation.

    """

    __slots__ = ("client", "clock", "failures", "hooks")

    def __init__(
        self, content: dict[str, Any], client: Any, clock: Any = WALL_CLOCK, hooks: Hooks | None = None
    ) -> None:
        super().__init__(content)
        self.client = client
        self.clock = clock
        self.hooks = hooks
        self.failures: list[BaseException] = []
        """What the handler raised, for whoever wants its traceback, which the response has no room for."""
