"""Where branches wait that leave no record of their own (FLAT), when their batch goes on with a record.

Such branches are tried: each runs over what is recorded, up to its end or to its first new operation. What is new must
not begin before all have been tried and the policy has judged, so they wait for that, each with its thread.
"""

from __future__ import annotations

from _thread import allocate_lock
from typing import Any


class Gate:
    """Knows who waits, and whether one more can without leaving nobody to try the others."""

    __slots__ = ("_hands", "_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = allocate_lock()
        # The caller's thread, and those it and they have hired, but for those that wait here.
        self._hands = 1
        self._waiting: list[Any] = []

    def hire(self, count: int) -> None:
        """Take that there are so many threads more."""
        with self._lock:
            self._hands += count

    def queue(self) -> Any:
        """Register one who is about to wait; give the lock to sleep on."""
        waiter = allocate_lock()
        waiter.acquire()
        with self._lock:
            self._waiting.append(waiter)
        return waiter

    def wait(self, waiter: Any) -> bool:
        """Wait until the gate opens; False if there would be no hand left to open it."""
        with self._lock:
            if self._hands == 1:
                return False
            self._hands -= 1
        try:
            waiter.acquire()
        finally:
            self.hire(1)
        return True

    def open(self) -> None:
        """Wake all who wait, for them to ask again."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.release()
