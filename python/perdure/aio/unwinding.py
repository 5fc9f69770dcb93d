"""How code is unwound that an invocation leaves where it stands: closed from the inside out, with nothing awaited."""

from __future__ import annotations

import asyncio
import sys
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from perdure._log import Log
from perdure.aio import rest
from perdure.aio.endings import Ends, guarded
from perdure.aio.tasks import Tasks, forget

if TYPE_CHECKING:
    from contextvars import Context

logger = Log("perdure")

_MOST_THROWS = 100
"""How many awaits of one task are refused when it is unwound."""


class Ended(Ends, Protocol):
    """An invocation of which it is decided how it ends."""

    core: Any
    loop: Any
    tasks: Tasks
    generators: list[ref[Any]]
    is_over: bool

    def live_timers(self) -> list[Any]:
        """Give the timers that have not come, nor been cancelled."""
        ...

    def tell_end(self) -> None:
        """Tell that nothing of it goes on any more."""


@guarded
def unwind(ended: Ended) -> None:
    """Close what still runs, innermost first. The response is decided: what it raises is of no consequence."""
    ended.core.root().end()
    generators = [reference() for reference in ended.generators]  # which nobody may have, once tasks are closed
    left = [task for task in ended.tasks if not task.done()]
    for task in reversed(left):
        _close(task, ended.tasks.context_of(task))
    for generator in generators:
        if generator is not None:
            _drop(generator.aclose())
    for timer in ended.live_timers():
        timer.cancel()
    waiters = [waiter for task in left if (waiter := rest.waiter_of(task)) is not None]
    for waiter in waiters:
        if not waiter.done() and type(waiter) is asyncio.Future:
            waiter.cancel()
    ended.loop.soon_untold(ended.loop.soon_untold, _unwound, ended, left, waiters)


@guarded
def _unwound(ended: Ended, *left: list[asyncio.Future[Any]]) -> None:
    for futures in left:
        for future in futures:
            if future.done():
                future._log_traceback = False  # noqa: SLF001  it is of no consequence, and nobody will ask for it
    ended.tell_end()


def break_off(ended: Ended) -> None:
    """Close what still runs at once, for an interrupt that came out of the loop, and the loop."""
    ended.core.root().end()
    for task in reversed([*ended.tasks]):
        if task.done():
            task._log_traceback = False  # noqa: SLF001  it is raised here
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
        if not invocation.is_over and not loop.is_closed():
            loop.call_soon_threadsafe(loop.create_task, generator.aclose())

    sys.set_asyncgen_hooks(begin, end)


def _close(task: asyncio.Task[Any], context: Context) -> None:
    """Unwind a task's code, inside of its own context variables; refuse what it awaits on the way."""
    task.add_done_callback(forget)  # should what it awaited come after all, in a later run of the loop
    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001  it is ended here
    coroutine: Any = task.get_coro()
    for _ in range(_MOST_THROWS):
        try:
            context.run(coroutine.throw, GeneratorExit)
        except (GeneratorExit, StopIteration, CancelledError):
            return
        except BaseException as error:
            if "already executing" not in str(error) and "already awaited" not in str(error):
                logger.debug("code that was unwound raised", exc_info=error)
            return
        logger.debug(
            "an await is refused while code is unwound, in %r: the invocation has ended, and the code runs again "
            "in the next one. Clean up with context.finally_, or a saga",
            coroutine,
        )


def _drop(closing: Any) -> None:
    """Carry out the closing of an asynchronous generator as far as it goes without awaiting."""
    try:
        closing.send(None)
        for _ in range(_MOST_THROWS):
            closing.throw(GeneratorExit)
    except BaseException as error:
        if not isinstance(error, (StopIteration, GeneratorExit)):
            logger.debug("an asynchronous generator that was closed raised", exc_info=error)
