"""The contexts and the conductor of an ``async def`` handler whose invocation somebody looks into.

See `perdure.engine.hooks`, and `perdure._watched_context` for the contexts of plain handlers.
"""

from __future__ import annotations

from asyncio import CancelledError
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar

from perdure.aio.calls import Due
from perdure.aio.conductor import Conductor
from perdure.aio.context import AsyncCallback, AsyncDurableContext, awaited
from perdure.aio.job import Held, Job
from perdure.context import DurableContext
from perdure.engine.operations.common import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from perdure.aio.parking import Parked
    from perdure.engine.hooks import Hooks
    from perdure.engine.invocation import Invocation


_GLANCE = 0.1
"""Seconds in which an interrupt of the loop's thread is noticed."""


def kind_of_context(hooks: Hooks) -> type[AsyncDurableContext]:
    """Give the class of the contexts of an invocation with hooks: a plain one, unless they hear of each call."""
    if not hooks.watches_operations():
        return AsyncDurableContext
    return WatchedAsyncContext if hooks.watches_replays() else AwaitingAsyncContext


def kind_of_conductor(hooks: Hooks) -> Callable[[Invocation, Any], Conductor]:
    """Give what leads the tasks of an invocation with hooks."""
    return Conductor if hooks.has_loop_threads() else SoleConductor


def _announced(method: Callable[..., Any]) -> Callable[..., Any]:
    """Tell the hooks of an operation before it begins and after it, and give what is awaited for it."""
    name = method.__name__

    @wraps(method)
    def begin(context: AsyncDurableContext, *given: Any, **named: Any) -> Any:
        hooks = context.invocation.hooks
        if hooks is None:
            return method(context, *given, **named)
        hooks.before_operation(name)
        before = context.scope.position
        try:
            found = method(context, *given, **named)
        except Exception as error:
            if not isinstance(error, (*REFUSALS, Held)) and context.scope.position != before:  # else it was refused
                hooks.after_awaited(context.scope.latest_id)
            raise
        _tell_end(hooks, context.scope.latest_id, found)
        return found

    return awaited(begin)


def _tell_end(hooks: Hooks, operation_id: str, found: Any) -> None:
    """Tell of the end of an operation, now or when it has one."""
    if isinstance(found, Job):
        found.course.on_end = partial(_ended, hooks, operation_id)
    else:
        hooks.after_awaited(operation_id)


def _ended(hooks: Hooks, operation_id: str, _result: Any, error: BaseException | None) -> None:
    if error is None or (isinstance(error, Exception) and not isinstance(error, REFUSALS)):
        hooks.after_awaited(operation_id)


class _WatchedCallback(AsyncCallback[Any]):
    __slots__ = ()

    def _result(self) -> Any:
        found = super()._result()
        hooks = self._context.invocation.hooks
        if hooks is not None:
            _tell_end(hooks, self.operation_id, found)
        return found


class AwaitingAsyncContext(AsyncDurableContext):
    """A context that tells of operations alone that end from outside."""

    __slots__ = ()

    callback_kind: ClassVar[type[Any]] = _WatchedCallback

    if not TYPE_CHECKING:
        wait = _announced(DurableContext.wait)
        create_callback = _announced(DurableContext.create_callback)
        invoke = _announced(DurableContext.invoke)


class WatchedAsyncContext(AwaitingAsyncContext):
    """A context whose operations are told of before they begin and after they have ended."""

    __slots__ = ()

    if not TYPE_CHECKING:
        step = _announced(DurableContext.step)
        wait_for_callback = _announced(DurableContext.wait_for_callback)
        wait_for_condition = _announced(DurableContext.wait_for_condition)
        run_in_child_context = _announced(DurableContext.run_in_child_context)
        map = _announced(DurableContext.map)
        parallel = _announced(DurableContext.parallel)


class SoleConductor(Conductor):
    """Leads tasks with no thread besides the loop's, so that what goes on next is a choice of the hooks, and no chance.

    Calls to the service and plain functions hold the loop up. What has come for a task is kept from it for as many
    turns of the loop as the hooks say, in which others go on.
    """

    def set_deadline(self) -> None:
        """Leave the end of the invocation's time to the hooks: a clock would make it a chance what had ended by then.

        What waits for ever is looked after now and then, so that it may be interrupted: else its thread would sleep.
        """
        if not self.is_over:
            self.loop.later_untold(_GLANCE, self.set_deadline)

    def durable(self, ticket: int) -> Generator[Any, None, None]:
        """Have an update become durable."""
        return self._durable(super().durable(ticket))

    def _durable(self, found: Generator[Any, None, None] | Due | None) -> Generator[Any, None, None]:
        if isinstance(found, Due):
            try:
                failure = yield from found
            except CancelledError as cancelled:
                yield from self.still(found, cancelled)
            else:
                if failure is not None:
                    raise failure
        elif found is not None:
            yield from found
        for _ in range(self._turns()):
            yield

    def wake(self, parked: Parked) -> None:
        """Let an operation go on."""
        self.parked.pop(parked, None)
        self._resolve(parked, self._turns())

    def _resolve(self, future: Any, turns: int) -> None:
        if future.done():
            return
        if turns:
            self.loop.call_soon(self._resolve, future, turns - 1)
        else:
            future.set_result(None)

    def in_thread(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, None, Any]:
        """Call a plain function where it stands."""
        return function(*args)
        yield  # a generator, as the other is

    def send(self, call: Callable[[], None]) -> None:
        """Make a call to the service where it stands."""
        error: BaseException | None = None
        try:
            call()
        except BaseException as raised:  # noqa: BLE001  whoever waits for it hears of it
            error = raised
        self.sent(error)
        del error  # whose traceback holds this frame

    def _turns(self) -> int:
        hooks = self.invocation.hooks
        return 0 if hooks is None or self.is_alone() else hooks.turns()
