"""What answers of the service changed, told to plugins in a thread of its own, so that no call to the service waits."""

from __future__ import annotations

import contextlib
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any

from perdure._log import Log
from perdure.engine import threads as _threads
from perdure.engine.told import View
from perdure.plugin import OperationChangeInfo

if TYPE_CHECKING:
    from perdure._core import Listeners, Told
    from perdure.engine.invocation import Invocation

logger = Log("perdure")

_HOOK = "on_operation_change"


class Changes:
    """Tells what has changed. What comes while the plugins are being told is told with the next call.

    Args:
        invocation: Whose answers they are.
        told: What was told.
        listeners: Are told.

    """

    __slots__ = ("_bell", "_invocation", "_is_over", "_listeners", "_seen", "_threads", "_told")

    def __init__(self, invocation: Invocation, told: Told, listeners: Listeners) -> None:
        self._invocation = invocation
        self._told = told
        self._listeners = listeners
        self._seen = told.at_first
        self._is_over = False
        self._threads: list[Any] | None = None
        # Rung when there is something to tell: a binary semaphore, silent at first.
        self._bell = allocate_lock()
        self._bell.acquire()

    def ring(self) -> Any:
        """Say that an answer has come; give what does so, by being released if it is held."""
        if self._threads is None:
            self._threads = []
            try:
                _threads.start(self._threads, self._work)
            except RuntimeError:
                logger.warning("the system has no thread for on_operation_change: it is called at the invocation's end")
        if self._bell.locked():
            with contextlib.suppress(RuntimeError):  # another thread has rung it
                self._bell.release()
        return self._bell

    def close(self) -> BaseException | None:
        """Tell what is left to be told; return when that is done, and the thread has ended.

        Without a thread it is told here, and what a plugin raises that is no `Exception` is given.
        """
        self._is_over = True
        if self._threads:
            self.ring()
            self._invocation.join(
                self._threads,
                "on_operation_change had not returned in %d thread(s) when the invocation ran out of time: plugins "
                "must not hold up the invocation.",
            )
            return None
        return None if self._threads is None else self._tell()

    def _work(self) -> None:
        is_over = False
        while not is_over:
            self._bell.acquire()
            is_over = self._is_over  # looked at first, so that what came before the end is told
            try:
                self._tell()
            except Exception:
                logger.exception("what answers of the service changed could not be told to the plugins")

    def _tell(self) -> BaseException | None:
        since, parts = self._seen, self._told.read()
        self._seen = parts
        changed = self._told.changed(since, parts)
        if not changed:
            return None
        arn, told = self._invocation.durable_execution_arn, self._told
        return self._listeners.tell_all(_HOOK, OperationChangeInfo(arn, View(told, parts, changed), View(told, parts)))
