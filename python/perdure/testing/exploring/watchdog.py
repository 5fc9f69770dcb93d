"""A thread for what may never return: whoever waits for it waits so long, then learns where it is stuck."""

from __future__ import annotations

import traceback
from contextlib import suppress
from contextvars import copy_context
from ctypes import c_ulong, py_object, pythonapi
from queue import Empty, SimpleQueue
from threading import Lock, Thread, get_ident
from time import sleep
from typing import TYPE_CHECKING, Any

from perdure.engine.time_left import steady
from perdure.local.foreign_threads import frame_of
from perdure.local.traces import is_ours

if TYPE_CHECKING:
    from collections.abc import Callable

_GRACE = 0.2  # seconds for a thread that was told to end
_GLANCE = 0.1  # seconds in which a signal that another thread was given is noticed
_CHECKS = 100  # calls, after the first of which an interrupt that was sent is raised


class StuckError(Exception):
    """Something did not return in time.

    Args:
        seconds: How long it was waited for.
        where: The stack of the thread, formatted; the user's frames and what they call.

    """

    def __init__(self, seconds: float, where: str) -> None:
        super().__init__(seconds, where)
        self.seconds = seconds
        self.where = where


class Worker:
    """One thread that does one task after another: what one of them leaves to a thread, the next will find."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._ending = Lock()
        self._is_interrupted = self._has_ended = False
        self._thread = Thread(target=copy_context().run, args=(self._work,), name="perdure explorer", daemon=True)
        self._thread.start()

    def do(self, task: Callable[[], Any], limit: float, at_work: Callable[[], int] | None = None) -> Any:
        """Have something done, and give what it returns or raise what it raises.

        Args:
            task: What to do.
            limit: How many seconds it may take.
            at_work: Tells which thread is at work on it; the worker's own if not given.

        Raises:
            StuckError: If it takes longer than so many seconds. The worker is of no more use then.

        """
        self._tasks.put(task)
        try:
            result, error = self._wait(limit)
        except Empty:
            where = self._where(at_work() if at_work is not None else self._thread.ident)
            self.give_up()
            raise StuckError(limit, where) from None
        except BaseException:
            self.give_up()
            raise
        if error is not None:
            raise error
        return result

    def _wait(self, limit: float) -> tuple[Any, BaseException | None]:
        deadline = steady() + limit
        while (left := deadline - steady()) > _GLANCE:
            with suppress(Empty):
                return self._outcomes.get(timeout=_GLANCE)
        return self._outcomes.get(timeout=max(0.0, left))

    def close(self) -> None:
        """Let the thread end once it has nothing to do."""
        self._tasks.put(None)

    def give_up(self) -> None:
        """Have the thread end wherever it is: at once if it runs Python, when it wakes if it waits."""
        self.close()
        with self._ending:  # until then the thread's number is nobody else's
            if not (self._is_interrupted or self._has_ended):
                self._is_interrupted = True
                pythonapi.PyThreadState_SetAsyncExc(c_ulong(self._thread.ident or 0), py_object(KeyboardInterrupt))
        self._thread.join(_GRACE)

    def _work(self) -> None:
        try:
            while (task := self._tasks.get()) is not None:
                try:
                    outcome: tuple[Any, BaseException | None] = task(), None
                except BaseException as error:  # noqa: BLE001  raised again where it is waited for
                    outcome = None, error
                self._outcomes.put(outcome)
            self._end()
        except KeyboardInterrupt:  # of `give_up`, when the task was over; it does not come twice
            self._end()

    def _end(self) -> None:
        """Let nobody interrupt this thread any more, and take back what is on its way.

        CPython 3.11 looks for interrupts in every thread, for ever, until each that was sent has been raised; and a
        thread that is traced then never comes past its first instruction. So none is sent in vain, nor taken back by
        sending nothing: it is raised here.
        """
        with self._ending:
            self._has_ended = True
        if self._is_interrupted:
            with suppress(KeyboardInterrupt):
                pythonapi.PyThreadState_SetAsyncExc(c_ulong(get_ident()), py_object(KeyboardInterrupt))
                for _ in range(_CHECKS):
                    sleep(0)

    def _where(self, ident: int | None) -> str:
        stack = traceback.extract_stack(frame_of(ident))
        ours = [is_ours(frame.filename) for frame in stack]
        below = stack[ours.index(True) :] if True in ours else stack
        users = [frame for frame in below if not is_ours(frame.filename)]
        return "".join(traceback.format_list(users or below)).rstrip()
