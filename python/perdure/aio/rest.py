"""When an invocation with tasks is at rest: the one rule by which it suspends.

It suspends when nothing can move any more. That is so if, at one moment,

1. no callback is ready to run in the loop;
2. nothing of ours is under way: no function of a step or a check is awaited or has a thread, no call to the service is
   being made or due;
3. no thread that the loop was given work for is at it (``run_in_executor``, ``asyncio.to_thread``, looking up hosts);
4. no timer is set (``asyncio.sleep``, ``asyncio.timeout``, ``loop.call_later``), but for those that functions of steps
   have left behind, as clients do for connections that they keep;
5. no task awaits a future that the world resolves: a reply over the network, or whatever else the user made one for;
6. at least one durable operation is parked.

Proof that nothing is lost by it: a loop runs a callback only if it was called soon (1), or if a timer (4), another
thread (2, 3) or a descriptor has it called. A descriptor's callbacks matter if they have a task go on, and a task goes
on when the future that it awaits is resolved. By 5 each such future is one of ours, which resolves when an operation
goes on (2 and what is parked), a task, which ends when its own code goes on, or one that other code of this very loop
resolves: that of a lock, a queue, an event, a group of tasks. None of that code runs (1). So only what is parked can
have anything go on, and the service invokes the execution again for that. Threads that the user's code has started by
itself are not seen: what they would bring comes again in the next invocation, in which that code runs again.

A timer that the function of a step has set counts while that is at work (2). What it would bring later, the handler
cannot count on: on replay the function does not run, and the timer is not set.

Proof that it suspends if it can: each of 1 to 5 ends by a callback of the loop, or by a timer that is looked for here;
after each of these is looked again.

Point 5 is judged by who made the future: the modules of asyncio in which code waits for other code of the loop make
theirs by ``loop.create_future``, which notes it (`perdure.aio.loop.WITHIN`). So does anyio, or its functions that do so
are known by name (`perdure.aio.libraries`). A protocol of the user's, whose callbacks the network calls, is not seen if
it has tasks go on by an event or a queue of asyncio's.

Point 1 holds where this is called (`look`): in the loop, behind whatever had it called, and once more if anything was
called since. Of what a timer calls the loop tells nobody before it does; so it is called twice more after a timer has
come: the loop looks for timers once a turn, before this, and has those called last that have come.

Before it suspends, what waits for nothing else to move is done: batches hear of their branches, and blocks are cut of
which it is recorded that their time was over (`perdure.aio.timeouts`). What is queued is sent: the answer may tell of
what is parked, and the service does not tell it twice.

If 6 alone fails, the handler waits for something that never comes, of which the durable service knows nothing: it goes
on waiting, until the invocation's time is up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from perdure.aio.libraries import waits_for_tasks
from perdure.aio.loop import InnerFuture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perdure._control import OutOfTime


class Live(Protocol):
    """An invocation with tasks, as far as it counts here."""

    loop: Any
    at_work: int
    outside: int
    parked: Any
    is_drained: bool
    timers_came: int
    late: OutOfTime | None

    @property
    def tasks(self) -> Iterable[asyncio.Task[Any]]:
        """Those of the invocation."""
        ...

    @property
    def is_sending(self) -> bool:
        """Whether a call to the service is under way or due."""
        ...

    @property
    def runs_unawaited(self) -> bool:
        """Whether operations that nobody awaits may still go on by themselves."""
        ...

    def stir(self) -> None:
        """Hear that something goes on."""

    def live_timers(self) -> list[Any]:
        """Give the timers that have not come, nor been cancelled."""
        ...

    def waits_for_time(self) -> None:
        """Something else is at work: what is due meanwhile goes on."""

    def told(self) -> bool:
        """Let go on what has changed by what the service has told; tell whether anything does."""
        ...

    def settle_batches(self) -> bool:
        """Have batches hear of their branches that are at rest; tell whether that has changed anything."""
        ...

    def cut_blocks(self) -> bool:
        """Cut the blocks whose time is known to have been over; tell whether there were any."""
        ...

    def sends_rest(self) -> bool:
        """Have sent what is queued, since the answer may have what is parked go on; tell whether there is anything."""
        ...

    def suspend(self) -> None:
        """End the invocation: all is at rest."""

    def halt(self, error: BaseException) -> None:
        """End the invocation by an error."""

    def end(self) -> None:
        """End: what the handler has left behind is over, or is no operation."""


def look(conductor: Live) -> None:
    """See whether all is at rest, and do what is then to be done. Called when no callback is ready (1)."""
    timers = conductor.live_timers()
    if conductor.timers_came:
        conductor.timers_came -= 1
        conductor.stir()  # what they call may be ready behind this, or in the next turn behind what is ready now
    elif conductor.late is not None:
        conductor.halt(conductor.late)  # which it does once nothing of ours is under way
    elif conductor.at_work or conductor.is_sending or conductor.outside:
        conductor.waits_for_time()
    elif conductor.is_drained and not conductor.runs_unawaited:
        # Tasks that a handler has left behind, and that sleep or await the world, are not waited for.
        _rest(conductor)
    elif _awaits_the_world(conductor):
        conductor.waits_for_time()
    elif timers:
        conductor.waits_for_time()
        _look_again_after(conductor, timers)
    else:
        _rest(conductor)


def _rest(conductor: Live) -> None:
    if conductor.settle_batches() or conductor.cut_blocks():
        conductor.stir()
    elif conductor.is_drained and not any(parked.is_wanted() for parked in conductor.parked):
        conductor.end()
    elif conductor.parked and not conductor.sends_rest():
        if conductor.told():  # by the thread that lets nothing lie, which tells nobody
            conductor.stir()
        else:
            conductor.suspend()


def goes_on(conductor: Live) -> bool:
    """Tell whether anything is under way besides what is ready to run, and what is parked."""
    is_at_work = conductor.at_work or conductor.is_sending or conductor.outside
    return bool(is_at_work or conductor.live_timers() or conductor.timers_came or _awaits_the_world(conductor))


def _look_again_after(conductor: Live, timers: Sequence[Any]) -> None:
    """Look again when timers have come: what they call need not have anything go on."""
    loop = conductor.loop
    loop.later_untold(max(0.0, max(timer.when() for timer in timers) - loop.time()), conductor.stir)


def waiter_of(task: asyncio.Task[Any]) -> asyncio.Future[Any] | None:
    """Give the future that a task awaits; None while it is about to go on."""
    # No public way leads to it; all tasks have had it under this name since there are any.
    return getattr(task, "_fut_waiter", None)


def _awaits_the_world(conductor: Live) -> bool:
    return any(_waits_outside(task) for task in conductor.tasks)


def _waits_outside(task: asyncio.Task[Any]) -> bool:
    return not task.done() and _is_of_the_world(waiter_of(task)) and not waits_for_tasks(task)


def _is_of_the_world(waiter: Any) -> bool:
    """Whether the world resolves a future, or one of those that `asyncio.gather` has gathered in it."""
    if waiter is None or waiter.done() or isinstance(waiter, (InnerFuture, asyncio.Task)):
        return False
    children = getattr(waiter, "_children", None)  # else it is whoever's: loops have futures of classes of their own
    return children is None or any(_is_of_the_world(child) for child in children)


_NOT_USERS = ("perdure.", "asyncio.")


def _place(task: asyncio.Task[Any]) -> Any:
    """Give the innermost frame of the user's that a task waits in; else the outermost of ours, or of asyncio's."""
    found = None
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and (found is None or not frame.f_globals.get("__name__", "").startswith(_NOT_USERS)):
            found = frame
        coroutine = getattr(coroutine, "cr_await", None)
    return found


def in_words(conductor: Live) -> str:
    """Say what the tasks of an invocation wait for."""
    told = []
    for task in conductor.tasks:
        frame = None if task.done() else _place(task)
        if frame is not None:
            told.append(
                f"{task.get_name()} at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name} "
                f"({'the world' if _waits_outside(task) else 'other tasks, or an operation'})"
            )
    shown = 5
    more = f" and {len(told) - shown} more" if len(told) > shown else ""
    return ("; ".join(told[:shown]) + more) or "no task"
