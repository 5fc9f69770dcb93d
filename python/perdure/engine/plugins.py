"""The plugins of one invocation: made, told of its beginning and of its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._core import moment
from perdure._log import Log
from perdure.engine.operations.common import wire_error
from perdure.engine.plugin_hooks import OF_OPERATIONS, BesideATool, PluginHooks
from perdure.engine.plugin_listeners import listeners_of
from perdure.engine.told import View
from perdure.lambda_service import ErrorObject
from perdure.plugin import DurableInstrumentationPlugin, InvocationEndInfo, InvocationStartInfo, InvocationStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.engine.invocation import Invocation
    from perdure.plugin import DurableInstrumentationPluginFactory

logger = Log("perdure")


class Plugins:
    """Of one invocation, which is about to call its handler.

    Args:
        invocation: It.
        factories: Make the plugins. One that fails, or gives something else, is left out of this invocation.
        event: What the service sent.
        user_event: What the handler is called with.

    """

    __slots__ = ("_begun", "_hooks", "_invocation", "_listeners", "_told")

    def __init__(
        self,
        invocation: Invocation,
        factories: Sequence[DurableInstrumentationPluginFactory],
        event: Any,
        user_event: Any,
    ) -> None:
        self._invocation = invocation
        self._told = told = invocation.told()
        self._hooks: PluginHooks | None = None
        parts = told.size()
        named = event.get("UpdatedOperationIds")
        updated = dict.fromkeys(filter(_is_text, named if isinstance(named, (list, tuple)) else ()))
        self._begun = InvocationStartInfo(
            request_id=getattr(invocation.lambda_context, "aws_request_id", None),
            execution_arn=invocation.durable_execution_arn,
            is_first_invocation=invocation.checkpoints.used <= 1,
            execution_start_time=moment((told.execution() or {}).get("StartTimestamp")),
            execution_input=user_event,
            operations=View(told, parts),
            updated_operations=View(told, parts, updated),
        )
        self._listeners = listeners_of(_made(factories, self._begun))
        if self._listeners.any_of(*OF_OPERATIONS):
            self._hooks = self._listen(list(updated))

    def _listen(self, updated: list[str]) -> PluginHooks:
        """Give what hears of operations."""
        invocation, tool = self._invocation, self._invocation.hooks
        kind = PluginHooks if tool is None else BesideATool
        hooks = kind(self._told, self._listeners, invocation.clock.time, invocation.core.is_optimistic)
        if isinstance(hooks, BesideATool) and tool is not None:
            hooks.inner = tool
        hooks.prepare(invocation, updated)
        return hooks

    def around(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Carry out the invocation, and tell of its beginning and of its end.

        Args:
            run: Gives the response to the invocation, or raises to have it repeated.

        """
        try:
            self._listeners.tell("on_invocation_start", self._begun)
            if self._hooks is not None:
                self._hooks.begin()
            response = run()
        except BaseException as raised:
            self._end(InvocationStatus.RETRY, wire_error(raised), None)
            raise
        self._end(InvocationStatus(response["Status"]), response.get("Error"), response.get("Result"))
        return response

    def _end(self, status: InvocationStatus, error: dict[str, Any] | None, result: str | None) -> None:
        """Tell what is left to be told, and of the end; then raise what a hook has raised that is no `Exception`."""
        last = None
        if self._hooks is not None:
            last = self._hooks.end()
        if self._listeners.any_of("on_invocation_end"):
            begun, told = self._begun, self._told
            info = InvocationEndInfo(
                request_id=begun.request_id,
                execution_arn=begun.execution_arn,
                is_first_invocation=begun.is_first_invocation,
                execution_start_time=begun.execution_start_time,
                execution_input=begun.execution_input,
                operations=View(told, told.size()),
                status=status,
                error=None if error is None else ErrorObject.from_dict(error),
                execution_result=result,
            )
            last = self._listeners.tell_all("on_invocation_end", info) or last
        if last is not None:
            raise last


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _made(
    factories: Sequence[DurableInstrumentationPluginFactory], info: InvocationStartInfo
) -> list[DurableInstrumentationPlugin]:
    made: list[DurableInstrumentationPlugin] = []
    for factory in factories:
        try:
            plugin: Any = factory.create_plugin(info)
        except Exception:
            logger.exception("a plugin factory failed: the invocation goes on without its plugin (%r)", factory)
            continue
        if isinstance(plugin, DurableInstrumentationPlugin):
            made.append(plugin)
        else:
            logger.error(
                "the plugin factory %r gave %r, which is no DurableInstrumentationPlugin of perdure's: the invocation "
                "goes on without it. A plugin written for the official SDK needs perdure.compat.",
                factory,
                plugin,
            )
    return made
