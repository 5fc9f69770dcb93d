"""An ``async def`` handler as Lambda calls it: a plain function that runs it in an event loop of the process's own."""

from __future__ import annotations

import asyncio
import functools
from asyncio import events
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from perdure._functions import coroutine_function_in, drop
from perdure._log import Log
from perdure.aio import loop as _loops
from perdure.aio.conductor import Conductor
from perdure.aio.context import AsyncDurableContext
from perdure.exceptions import ExecutionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.context import DurableContext
    from perdure.engine.invocation import Invocation
    from perdure.types import LambdaContext

    Factory = Callable[[], asyncio.AbstractEventLoop] | None

logger = Log("perdure")

_TAKEN_FOR_ASYNCHRONOUS = (
    "The handler failed (%s). It is async def, and so it is called in an event loop, with its decorator. If that runs "
    "it in a loop of its own, annotate the context of the handler as DurableContext: it is a plain handler then"
)

_HANDED_ON = (
    "the decorator of an async def handler hands on its coroutine, and its context is annotated as DurableContext, as "
    "those of plain handlers are. Annotate it as AsyncDurableContext"
)


def asynchronous(
    function: Callable[[Any, Any], Any],
    inner: Callable[[Any, Any], Any],
    factory: Factory,
    invoke: Callable[[Any, Any, Any], dict[str, Any]],
    *,
    needs_loop: bool = False,
) -> Callable[[Any, LambdaContext], dict[str, Any]]:
    """Make a handler for Lambda.

    Args:
        function: The user's.
        inner: That, with what it was decorated with.
        factory: Makes event loops; None for asyncio's own.
        invoke: Runs an invocation of a plain handler.
        needs_loop: Whether the client of the service is asynchronous.

    """
    plain = called(function, inner, factory, needs_loop=needs_loop)

    @functools.wraps(function)
    def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
        return invoke(event, context, plain)

    async def run(event: Any, context: LambdaContext) -> dict[str, Any]:
        """Run one invocation from a running event loop, in a thread and a loop of its own."""
        return await asyncio.to_thread(handler, event, context)

    handler.run = run  # type: ignore[attr-defined]
    return handler


def called(
    function: Callable[[Any, Any], Any],
    inner: Callable[[Any, Any], Any],
    factory: Factory,
    *,
    needs_loop: bool = False,
) -> Callable[[Any, DurableContext], Any]:
    """Give what calls an asynchronous handler as if it were a plain one.

    A decorator around an ``async def`` function hands on its coroutine, or runs it in a loop of its own: then it is a
    plain handler. Which of the two is nowhere to be seen. But if the function is annotated to take a plain context, it
    is tried without a loop first.
    """
    plain = within_loop(function, inner, factory, needs_loop=needs_loop)
    decorated = coroutine_function_in(function)
    if decorated is None or factory is not None or needs_loop:
        return plain
    from perdure._annotations import takes_plain_context  # noqa: PLC0415  only for handlers that are decorated

    if not takes_plain_context(decorated):
        return plain
    return _either_way(decorated, inner, plain)


def _either_way(
    decorated: Any, inner: Callable[[Any, Any], Any], within: Callable[[Any, DurableContext], Any]
) -> Callable[[Any, DurableContext], Any]:
    """Give what calls a handler whose decorator may run it by itself, or hand on its coroutine.

    Args:
        decorated: The ``async def`` function.
        inner: The handler, with what it was decorated with.
        within: Calls it in a loop.

    """
    is_handed_on = False

    def plain(user_event: Any, context: DurableContext) -> Any:
        nonlocal is_handed_on
        if is_handed_on:
            return within(user_event, context)
        result = inner(user_event, context)
        if type(result) is not CoroutineType or result.cr_code is not decorated.__code__:
            return result
        drop(result)
        if context.scope.position:
            raise ExecutionError(f"{_HANDED_ON}: it has called operations before that in no event loop")
        is_handed_on = True
        logger.warning("%s. It is called again, in an event loop", _HANDED_ON)
        return within(user_event, context)

    return plain


def within_loop(
    function: Callable[[Any, Any], Any],
    inner: Callable[[Any, Any], Any],
    factory: Factory,
    *,
    needs_loop: bool = False,
) -> Callable[[Any, DurableContext], Any]:
    """Give what runs an asynchronous handler as if it were a plain one."""

    def plain(user_event: Any, context: DurableContext) -> Any:
        _refuse_running(function)
        loop = _loops.take(factory)
        try:
            invocation = context.invocation
            invocation.is_asynchronous = True
            lead, kind = _kinds(invocation)
            conductor = lead(invocation, loop)
            conductor.needs_loop = needs_loop
            return conductor.run(inner, user_event, kind(invocation, context.scope, conductor=conductor))
        except RuntimeError as error:
            if "event loop" in str(error) and coroutine_function_in(function) is not None:
                logger.warning(_TAKEN_FOR_ASYNCHRONOUS, error)
            raise
        finally:
            _loops.give_back(factory, loop)

    return plain


def _kinds(
    invocation: Invocation,
) -> tuple[Callable[[Invocation, Any], Conductor], type[AsyncDurableContext]]:
    """Give what leads the tasks of an invocation, and the class of its contexts."""
    hooks = invocation.hooks
    if hooks is None:
        return Conductor, AsyncDurableContext
    from perdure.aio.watched import kind_of_conductor, kind_of_context  # noqa: PLC0415  only for those who look inside

    return kind_of_conductor(hooks), kind_of_context(hooks)


def _refuse_running(function: Any) -> None:
    if events._get_running_loop() is None:  # noqa: SLF001  documented; the public one raises if there is none
        return
    name = getattr(function, "__name__", "handler")
    raise RuntimeError(
        f"{name} was called where an event loop is running already: it has one of its own. "
        f"Use `await {name}.run(event, context)` there"
    )
