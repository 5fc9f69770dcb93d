"""What operations need of the context that they are called on, whichever driver it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Operation, Scope
    from perdure.engine.flows import Flow
    from perdure.engine.invocation import Invocation
    from perdure.types import LoggerInterface, StepContext, WaitForConditionCheckContext


class Context(Protocol):
    """A context, as its operations see it."""

    invocation: Invocation
    scope: Scope
    takes_async: bool
    """Whether its driver awaits what functions return, so that they may be asynchronous."""

    callback_kind: ClassVar[type[Any]]
    """What its callbacks are."""

    @property
    def logger(self) -> LoggerInterface:
        """Logs with what is known of the operation around it."""
        ...

    def child(self, scope: Scope, *, is_virtual: bool = False) -> Any:
        """Make the context inside an operation of this one."""
        ...

    def step_context(self, operation: Operation) -> StepContext:
        """Make what the function of a step is handed."""
        ...

    def check_context(self, operation: Operation) -> WaitForConditionCheckContext:
        """Make what a check is handed."""
        ...

    @property
    def drive(self) -> Callable[[Flow[Any]], Any]:
        """Run a flow by this context's driver: what it gives, or what that comes of when it is awaited."""
        ...

    def branches(self) -> Any:
        """Give the class of this context's driver that runs the branches of a map or parallel."""
        ...

    @property
    def step(self) -> Callable[..., Any]:
        """Run a step: ``step(func, name, retry=…, serdes=…)``."""
        ...
