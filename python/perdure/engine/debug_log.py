"""perdure's own log at DEBUG: a line for each thing that an invocation does. Below that level none of it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._log import Log
from perdure.engine.hooks import Around, Hooks
from perdure.engine.received import ENDED
from perdure.plugin import DurableInstrumentationPlugin

if TYPE_CHECKING:
    from perdure._core import Scope
    from perdure.engine.invocation import Invocation
    from perdure.plugin import (
        InvocationEndInfo,
        InvocationStartInfo,
        OperationEndInfo,
        OperationInfo,
        OperationStartInfo,
        UserFunctionEndInfo,
    )

logger = Log("perdure")


class DebugLog(DurableInstrumentationPlugin):
    """Logs what a plugin is told."""

    def on_invocation_start(self, info: InvocationStartInfo) -> None:
        """Log how much is recorded."""
        logger.debug(
            "an invocation of %s begins, with %d operations recorded", info.execution_arn, len(info.operations)
        )

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        """Log how it ends, and why."""
        why = "" if info.error is None else f": {info.error.type}: {info.error.message}"
        logger.debug("the invocation ends %s%s", info.status.value, why)

    def on_operation_start(self, info: OperationStartInfo) -> None:
        """Log an operation that begins, or goes on."""
        logger.debug("%s %s", _label(info), "was begun before, and is not over" if info.is_replayed else "begins")

    def on_operation_end(self, info: OperationEndInfo) -> None:
        """Log an operation that is over."""
        logger.debug("%s is over: %s", _label(info), info.status.value)

    def on_user_function_end(self, info: UserFunctionEndInfo) -> None:
        """Log what came of a function, and how long it took."""
        took = 0.0
        if info.start_time is not None and info.end_time is not None:
            took = (info.end_time - info.start_time).total_seconds()
        logger.debug("the function of %s ended after %.3f s: %s", _label(info), took, info.outcome.value)


class _Factory:
    def create_plugin(self, _info: InvocationStartInfo) -> DebugLog:
        return DebugLog()


FACTORY = _Factory()


class Replays(Around):
    """Logs operations that are replayed, of which plugins are not told.

    Args:
        invocation: The one that they are replayed in.

    """

    __slots__ = ("_told", "inner")

    def __init__(self, invocation: Invocation) -> None:
        self.inner = invocation.hooks or Hooks()
        self._told = invocation.told()

    def watches_operations(self) -> bool:
        """Hear of every operation."""
        return True

    def after_operation(self, scope: Scope) -> None:
        """Log an operation that had ended before the invocation began."""
        self.inner.after_operation(scope)
        self._log(scope.latest_id)

    def after_awaited(self, operation_id: str) -> None:
        """Log the same of one that was awaited."""
        self.inner.after_awaited(operation_id)
        self._log(operation_id)

    def _log(self, operation_id: str) -> None:
        self._told.read()
        raw = self._told.at(operation_id, self._told.at_first)
        if raw is not None and raw["Status"] in ENDED:
            named = raw.get("Name") or raw["Id"][:8]
            logger.debug("%s %s is replayed: %s", raw.get("SubType") or raw["Type"], named, raw["Status"])


def _label(info: OperationInfo) -> str:
    return f"{info.sub_type or info.operation_type.value} {info.name or (info.operation_id or '')[:8]}"


def listen(invocation: Invocation, factories: Any) -> list[Any]:
    """Have an invocation logged; give the factories of its plugins, that of the log first."""
    invocation.add(Replays(invocation))
    return [FACTORY, *factories]
