"""The threads in which the plain functions of steps and checks run, beside the loop."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol

from perdure._core import MAX_THREADS
from perdure._functions import drop
from perdure.aio.endings import Ends, guarded
from perdure.aio.loop import InnerFuture
from perdure.engine import threads as _threads

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Generator

    from perdure.engine.invocation import Invocation


class Stopped(Exception):  # noqa: N818  no error of its own
    """A function's own `StopIteration`, which a generator cannot raise: who drives the flow unwraps it."""


class Owner(Ends, Protocol):
    """Whose functions they run: who leads the tasks of an invocation."""

    invocation: Invocation
    loop: Any
    is_over: bool


class Hands:
    """The threads of one invocation, of which there are as many as are at work."""

    __slots__ = ("_busy", "_queued")

    def __init__(self) -> None:
        self._busy = 0
        # Functions that wait for a thread.
        self._queued: list[Callable[[], None]] = []

    def call(self, owner: Owner, function: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, None, Any]:
        """Run a plain function in a thread; give what it returns, or raise what it raises."""
        future = InnerFuture(loop=owner.loop)
        variables = copy_context()

        def run() -> None:
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = variables.run(function, *args), None
            except BaseException as error:  # noqa: BLE001  raised again where it is awaited
                outcome = None, error
            if owner.is_over:
                drop(outcome[0])
                return
            try:
                owner.loop.call_soon_threadsafe(_returned, owner, self, future, outcome)
            except RuntimeError:  # the loop was closed meanwhile
                drop(outcome[0])

        if self._busy < MAX_THREADS:
            self._start(owner, run)
        else:
            self._queued.append(run)
        try:
            result, error = yield from future
        except BaseException:
            if not future.cancel() and not future.cancelled():  # it had returned, and was cancelled before it went on
                drop(future.result()[0])
            raise
        try:
            if isinstance(error, StopIteration):
                raise Stopped(error)
            if error is not None:
                raise error
            return result
        finally:
            del error, result

    def _start(self, owner: Owner, run: Callable[[], None]) -> None:
        hooks = owner.invocation.hooks
        self._busy += 1
        try:
            (_threads.start if hooks is None else hooks.start_thread)(owner.invocation.threads, run)
        except RuntimeError:  # the system has no more threads
            if self._busy > 1:
                self._busy -= 1
                self._queued.append(run)
            else:
                run()

    def has_returned(self) -> None:
        """Hear that a thread has ended."""
        self._busy -= 1

    def start_next(self, owner: Owner) -> None:
        """Have run what waits for a thread, now that there is one."""
        if self._queued:
            self._start(owner, self._queued.pop(0))


@guarded
def _returned(owner: Owner, hands: Hands, future: Future[Any], outcome: Any) -> None:
    hands.has_returned()
    if owner.is_over or future.done():  # nobody waits for it any more
        drop(outcome[0])
    else:
        future.set_result(outcome)
    if not owner.is_over:
        hands.start_next(owner)
