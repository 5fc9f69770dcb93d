"""The thread that makes an invocation's calls to the service while its loop goes on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from perdure.aio.loop import call_for
from perdure.engine import threads as _threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.engine.checkpoint import Checkpointer
    from perdure.engine.invocation import Invocation


class Caller(Protocol):
    """Who has calls made: what leads the tasks of an invocation."""

    invocation: Invocation
    checkpoints: Checkpointer
    loop: Any
    is_over: bool

    @property
    def sent(self) -> Callable[[BaseException | None], None]:
        """Hear that a call has ended, in the loop's thread."""
        ...


def failure_of(call: Callable[[], None]) -> BaseException | None:
    """Make a call to the service; give what it raises."""
    try:
        call()
    except BaseException as raised:  # noqa: BLE001  told of in the loop's thread
        return raised
    return None


class Sender:
    """A thread that makes the calls to the service for which the loop must not wait, one after the other."""

    __slots__ = ("_bell", "_call", "_conductor")

    def __init__(self, conductor: Caller) -> None:
        hooks = conductor.invocation.hooks
        self._conductor = conductor
        if hooks is None:
            from _thread import allocate_lock as lock  # noqa: PLC0415

            start = _threads.start
        else:
            lock, start = hooks.lock, hooks.start_thread
        self._bell = lock()
        self._bell.acquire()
        self._call: Callable[[], None] | None = None
        start(conductor.checkpoints.threads, self._serve)

    def send(self, call: Callable[[], None]) -> None:
        """Have a call made; its conductor is told when it has ended."""
        self._call = call
        self._bell.release()

    def end(self) -> None:
        """Have the thread end."""
        if self._call is None:
            self._bell.release()
        # else it is at a call, and ends after that

    def _serve(self) -> None:
        conductor = self._conductor
        call_for(conductor.loop)
        while True:
            self._bell.acquire()
            call = self._call
            if call is None or conductor.is_over:
                return
            error = failure_of(call)
            self._call = None
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                conductor.loop.call_soon_threadsafe(conductor.sent, error)
            del error
            if conductor.is_over:
                return
