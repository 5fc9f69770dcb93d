"""Event loops that are kept warm, and tell a conductor what goes on in them.

A loop of ours is a loop of asyncio's, or of whoever else's (uvloop), with the public methods overridden by which code
asks to be called back: nobody looks into it. While no invocation runs in it, it is as it would be without.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
from asyncio import events
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol, Self

from perdure.aio import unrecorded
from perdure.aio.libraries import waits_for_the_network
from perdure.exceptions import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

WITHIN = frozenset(
    f"asyncio.{module}" for module in ("locks", "queues", "taskgroups", "tasks", "timeouts", "staggered", "runners")
)
"""The modules whose futures are resolved by other code of the same loop, and not by the world."""


class Listener(Protocol):
    """Who is told what goes on in a loop."""

    is_over: bool
    """Whether it is decided how the invocation ends, and what still runs is unwound."""

    def stir(self) -> None:
        """Hear that something goes on."""

    def note_unwound(self, context: dict[str, Any]) -> None:
        """Hear of what has gone wrong in the loop since it was decided how the invocation ends."""

    def note_limit(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Give what is to be called when a time limit of asyncio's is over."""
        ...

    def note_timer(self, handle: Any) -> None:
        """Hear of a timer."""

    def note_task(self, create: Callable[..., Any], coroutine: Any, options: dict[str, Any]) -> Any:
        """Make a task, and hear of it."""

    def note_call(self, callback: Any, context: Any) -> Any:
        """Hear of what is to be called soon; give what is to be called instead."""

    def note_thread(self, future: asyncio.Future[Any]) -> None:
        """Hear of a thread at work, until it is done."""

    def watch_generators(self) -> None:
        """Note asynchronous generators that begin."""


class InnerFuture(asyncio.Future[Any]):
    """A future that other code of the loop resolves: a lock's, a queue's, a task group's."""

    __slots__ = ()


def mark_unwound(task: asyncio.Task[Any]) -> None:
    """Note that a task's code was closed: it comes to nothing more, should it be woken in a later run of the loop.

    The mark is asyncio's own, for tasks whose loss is none. Noted apart, each branch that waits would take more memory.
    """
    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001  asyncio itself says so in this way


def _was_unwound(task: Any) -> bool:
    return not getattr(task, "_log_destroy_pending", True)


class Watched:
    """What is added to a loop: it tells its conductor of callbacks, timers, tasks and threads."""

    conductor: Listener | None
    as_made: tuple[Any, Any] = (None, None)
    """The task factory and the handler of exceptions that it came with."""
    is_as_made = True
    """Whether it still has these."""
    is_entered: bool

    def __new__(cls, *given: Any, **named: Any) -> Self:
        """Make one that nobody uses."""
        made = super().__new__(cls, *given, **named)
        made.lead_by_nobody()
        return made

    def lead_by_nobody(self) -> None:
        """Set what is no attribute of the class, since Python is slow to find what hides one."""
        self.conductor = None
        self.is_entered = self.are_hooks_due = False

    def set_task_factory(self, factory: Any) -> None:
        """Note that it is another."""
        self.is_as_made = False
        super().set_task_factory(factory)  # type: ignore[misc]

    def set_exception_handler(self, handler: Any) -> None:
        """Note that it is another."""
        self.is_as_made = False
        super().set_exception_handler(handler)  # type: ignore[misc]

    def is_running(self) -> bool:
        """Whether the loop runs, or a first step is made in its name before it does (`enter`)."""
        return self.is_entered or super().is_running()  # type: ignore[misc]

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        """Tell that something goes on: once it is due, so that who looks whether all is at rest comes behind it."""
        conductor = self.conductor
        if conductor is None:
            return super().call_soon(callback, *args, context=context)  # type: ignore[misc]
        handle = super().call_soon(conductor.note_call(callback, context), *args, context=context)  # type: ignore[misc]
        conductor.stir()
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        """Tell, in the loop's thread, that something goes on."""
        handle = super().call_soon_threadsafe(callback, *args, context=context)  # type: ignore[misc]
        conductor = self.conductor
        if conductor is not None:
            super().call_soon_threadsafe(conductor.stir)  # type: ignore[misc]
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        """Note a timer."""
        handle = super().call_later(delay, callback, *args, context=context)  # type: ignore[misc]
        conductor = self.conductor
        if conductor is not None:
            conductor.note_timer(handle)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        """Note a timer."""
        conductor = self.conductor
        if conductor is not None and type(getattr(callback, "__self__", None)) is asyncio.Timeout:
            callback = conductor.note_limit(callback)
        handle = super().call_at(when, callback, *args, context=context)  # type: ignore[misc]
        if conductor is not None:
            conductor.note_timer(handle)
        return handle

    def create_task(self, coro: Any, **options: Any) -> Any:
        """Note a task."""
        conductor = self.conductor
        if conductor is None:
            return super().create_task(coro, **options)  # type: ignore[misc]
        return conductor.note_task(super().create_task, coro, options)  # type: ignore[misc]

    def create_future(self) -> Any:
        """Make a future, and remember whether the world resolves it or other code of this loop."""
        conductor, caller = self.conductor, sys._getframe(1)  # noqa: SLF001  documented
        if conductor is not None and caller.f_globals.get("__name__") in WITHIN:
            name, outer = caller.f_code.co_name, caller.f_back
            if name == "_wait":
                unrecorded.note_wait(caller)
            elif name == "get" and outer is not None and outer.f_code.co_name == "_wait_for_one":
                unrecorded.note_first(outer)
            elif waits_for_the_network(caller):
                return super().create_future()  # type: ignore[misc]
            made = InnerFuture(loop=self)  # type: ignore[arg-type]
            if name == "shield":
                unrecorded.note_shield(caller, made)
            return made
        return super().create_future()  # type: ignore[misc]

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Note that a thread is at work."""
        future = super().run_in_executor(executor, func, *args)  # type: ignore[misc]
        conductor = self.conductor
        if conductor is not None:
            conductor.note_thread(future)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell of what went wrong, but for interrupts, which are raised out of the loop, and for what was unwound."""
        conductor = self.conductor
        if conductor is not None and conductor.is_over:
            conductor.note_unwound(context)
        elif _was_unwound(context.get("task")):
            pass  # it was of an earlier invocation, and wakes up only now
        elif not isinstance(context.get("exception"), (KeyboardInterrupt, SystemExit)):
            super().call_exception_handler(context)  # type: ignore[misc]

    # ---- for the conductor's own use, untold

    are_hooks_due: bool

    def watch_generators_first(self) -> None:
        """Have generators watched before all else in the next run of the loop, which sets hooks of its own."""
        if not self.are_hooks_due:  # else it is still to come: what ends in its first step has no run
            self.are_hooks_due = True
            super().call_soon(self._watch_generators, context=Context())  # type: ignore[misc]

    def _watch_generators(self) -> None:
        self.are_hooks_due = False
        if self.conductor is not None:
            self.conductor.watch_generators()

    def begin(self, coroutine: Any, variables: Any) -> Any:
        """Make a task, and its first step at once: what never waits for anything needs no turn of the loop."""
        if sys.version_info < (3, 12):
            return self.create_task(coroutine, context=variables)
        events._set_running_loop(self)  # noqa: SLF001  documented, for implementers of loops
        self.is_entered = True
        try:
            return asyncio.Task(coroutine, loop=self, eager_start=True, context=variables)
        finally:
            self.is_entered = False
            events._set_running_loop(None)  # noqa: SLF001

    def soon_untold(self, callback: Callable[..., Any], *args: Any) -> Any:
        """`call_soon`, without telling of it."""
        return super().call_soon(callback, *args)  # type: ignore[misc]

    def later_untold(self, delay: float, callback: Callable[..., Any], *args: Any) -> Any:
        """`call_later`, without noting it."""
        before, self.conductor = self.conductor, None  # some loops make the one call by the other
        try:
            return super().call_later(delay, callback, *args)  # type: ignore[misc]
        finally:
            self.conductor = before


_calling = threading.local()


def call_for(loop: Any) -> None:
    """Note that this thread makes calls to the service for a loop."""
    _calling.loop = loop


def called_for() -> Any:
    """Give the loop that this thread makes calls for; None for none."""
    return getattr(_calling, "loop", None)


class Loop(Watched, asyncio.SelectorEventLoop):  # type: ignore[misc] # as loops take what these pass on
    """A loop of asyncio's that is watched."""


_kinds: dict[type[Any], type[Any]] = {}
_idle: dict[Any, list[Any]] = {}


def take(factory: Callable[[], asyncio.AbstractEventLoop] | None) -> Any:
    """Give a loop that nobody uses: one that is warm, if there is one.

    Raises:
        ValidationError: If the factory makes no loop.

    """
    kept = _idle.get(factory)
    while kept:
        loop = kept.pop()
        if not loop.is_closed():
            return loop
    loop = Loop() if factory is None else _watched(factory())
    loop.as_made = loop.get_task_factory(), loop.get_exception_handler()
    return loop


def give_back(factory: Any, loop: Any) -> None:
    """Keep a loop for the next invocation."""
    loop.conductor = None
    if not loop.is_running():  # (one that was closed is dropped when it is taken)
        if not loop.is_as_made:
            tasks, errors = loop.as_made
            loop.set_task_factory(tasks)
            loop.set_exception_handler(errors)
            loop.is_as_made = True
        _idle.setdefault(factory, []).append(loop)


def _watched(loop: Any) -> Any:
    """Have a loop of the user's watched: itself, or where its class does not allow that, another one of that class."""
    if not isinstance(loop, asyncio.AbstractEventLoop):
        raise ValidationError(f"loop_factory must make an event loop, as asyncio.new_event_loop does, not {loop!r:.80}")
    own = type(loop)
    kind = _kinds.get(own)
    if kind is None:
        kind = _kinds[own] = type(f"Watched{own.__name__}", (Watched, own), {})
    try:
        loop.__class__ = kind
        watched: Any = loop
        watched.lead_by_nobody()
    except TypeError:  # one that is not written in Python, as uvloop's
        loop.close()
        return kind()
    return loop


def close_idle() -> None:
    """Close the loops that are kept: after a fork they are the parent's, and at exit Python would complain of them."""
    for kept in _idle.values():
        while kept:
            kept.pop().close()


_lost: list[Any] = []


def _forget_idle() -> None:
    """Leave the parent's loops alone: their descriptors are shared with it."""
    for kept in _idle.values():
        _lost.extend(kept)
        kept.clear()


atexit.register(close_idle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_idle)
