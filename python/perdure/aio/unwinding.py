"""How code is unwound that an invocation leaves where it stands: closed from the inside out, with nothing awaited."""

from __future__ import annotations

import asyncio
import sys
from asyncio import events
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from perdure._log import Log
from perdure.aio import rest
from perdure.aio.closing import close
from perdure.aio.endings import Ends, guarded
from perdure.aio.libraries import end_threads
from perdure.aio.loop import mark_unwound
from perdure.aio.tasks import Tasks, forget

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

logger = Log("perdure")


class Ended(Ends, Protocol):
    """An invocation of which it is decided how it ends."""

    core: Any
    loop: Any
    tasks: Tasks
    generators: list[ref[Any]]
    is_over: bool
    was_halted: bool

    def live_timers(self) -> list[Any]:
        """Give the timers that have not come, nor been cancelled."""
        ...

    def tell_end(self) -> None:
        """Tell that nothing of it goes on any more."""


@guarded
def unwind(ended: Ended) -> None:
    """Close what still runs, innermost first. The response is decided: what it raises is of no consequence."""
    ended.core.root().end()
    if ended.was_halted:
        ended.tasks.hush_failures()  # of this last turn of the loop
    generators = [reference() for reference in ended.generators]  # which nobody may have, once tasks are closed
    left = [task for task in ended.tasks if not task.done()]
    if left and not ended.was_halted:
        ended.tasks.note_left(left)
    for task in reversed(left):
        _close(task, ended.tasks.context_of(task))
    for generator in generators:
        if generator is not None:
            _close_generator(generator)
    for timer in ended.live_timers():
        timer.cancel()
    waiters = [waiter for task in left if (waiter := rest.waiter_of(task)) is not None]
    for waiter in waiters:
        if not waiter.done() and type(waiter) is asyncio.Future:
            waiter.cancel()
    # A task that is about to go on ends in the next turn, and those who wait for it, by `asyncio.gather` say, later.
    is_any_ready = any(rest.waiter_of(task) is None for task in left)
    ended.loop.soon_untold(_unwound, ended, _TURNS_IF_READY if is_any_ready else 1, left, waiters)


_TURNS_IF_READY = 4


@guarded
def _unwound(ended: Ended, turns: int, *left: list[asyncio.Future[Any]]) -> None:
    if turns:
        ended.loop.soon_untold(_unwound, ended, turns - 1, *left)
        return
    for futures in left:
        for future in futures:
            if future.done():
                forget(future)  # it is of no consequence, and nobody will ask for it
    ended.tell_end()


def break_off(ended: Ended) -> None:
    """Close what still runs at once, for an interrupt that came out of the loop, and the loop."""
    ended.core.root().end()
    for task in reversed([*ended.tasks]):
        if task.done():
            forget(task)  # it is raised here
        else:
            _close(task, ended.tasks.context_of(task))
    for timer in ended.live_timers():
        timer.cancel()
    ended.loop.close()


def note_error(context: dict[str, Any]) -> None:
    """Hear of what has gone wrong while code was unwound, such as in callbacks of tasks that were ended so."""
    logger.debug("while code was unwound: %s", context.get("message"), exc_info=context.get("exception"))


def watch_generators(invocation: Ended) -> None:
    """Note asynchronous generators that begin, so that none outlives the invocation."""
    loop, known = invocation.loop, invocation.generators

    def begin(generator: Any) -> None:
        known.append(ref(generator, known.remove))

    def end(generator: Any) -> None:
        if invocation.is_over or loop.is_closed():
            return
        if loop is events._get_running_loop():  # noqa: SLF001  documented
            invocation.loop.create_task(_ended(generator))  # begun before another operation is called, as all tasks
        else:
            loop.call_soon_threadsafe(loop.create_task, generator.aclose())

    sys.set_asyncgen_hooks(begin, end)


async def _ended(generator: Any) -> None:
    await generator.aclose()


def _close(task: asyncio.Task[Any], context: Context) -> None:
    """Unwind a task's code, inside of its own context variables; refuse what it awaits on the way."""
    task.add_done_callback(forget)  # should what it awaited come after all, in a later run of the loop
    mark_unwound(task)
    asyncio.tasks._unregister_task(task)  # noqa: SLF001  documented, for implementers: `all_tasks` gives it no more
    close(task.get_coro(), context.run)
    end_threads(task)


def _close_generator(generator: Any) -> None:
    """Carry out the closing of an asynchronous generator as far as it goes without awaiting."""
    closing = generator.aclose()
    try:
        closing.send(None)
    except (StopIteration, GeneratorExit):
        return
    except BaseException as error:
        logger.debug("an asynchronous generator that was closed raised", exc_info=error)
        return
    close(closing, _called)


def _called(function: Callable[..., Any], *given: Any) -> Any:
    return function(*given)
