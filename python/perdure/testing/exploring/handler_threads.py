"""The threads that handlers start: they are waited for, since they may answer, and must not reach into the next run."""

from __future__ import annotations

import threading
from contextlib import suppress
from threading import Thread, Timer
from time import sleep
from typing import TYPE_CHECKING
from weakref import WeakSet

from perdure.engine.time_left import steady
from perdure.local.foreign_threads import at_rest
from perdure.testing._driver import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_GLANCE = 0.02  # seconds between two looks at whether they are at rest; one that ends is noticed at once
_BLINK = 0.001  # seconds for a thread that was given work to begin it: until then it looks as if it rested
_LINGER = 3.0  # seconds for what a run leaves behind


class HandlerThreads:
    """The threads that came of an exploration's runs, and the idle ones that runs may give work to.

    Those of the test's own do not count, nor do the explorer's.
    """

    def __init__(self) -> None:
        self._ours: WeakSet[Thread] = WeakSet()
        self._strays: WeakSet[Thread] = WeakSet()
        self._patience = _LINGER

    def begin(self) -> list[str]:
        """Let a run begin; name the threads that earlier ones left behind, and that are still at work."""
        self._ours.update(thread for thread in threading.enumerate() if at_rest(thread))
        self._strays = WeakSet(self._lively())
        return _named(self._strays)

    def starting(self, start: Callable[[Thread], None], is_ours: Callable[[], bool]) -> Callable[[Thread], None]:
        """Give what starts a thread, and takes it in if the run starts it, or another thread of ours.

        Args:
            start: What starts a thread.
            is_ours: Whether the calling thread is the one that makes the run.

        """

        def started(thread: Thread) -> None:
            parent = threading.current_thread()
            if is_ours() or parent in self._ours:
                self._ours.add(thread)
            if parent in self._strays:
                self._strays.add(thread)
            start(thread)

        return started

    def may_act(self) -> bool | None:
        """Tell whether one of them may do something; None when there are none."""
        alive = [thread for thread in threading.enumerate() if thread in self._ours]
        return any(not at_rest(thread) for thread in alive) if alive else None

    def settle(self, limit: float) -> None:
        """Give the threads that the run has started a while to end, or to come to rest.

        Each time that one does not, the next get half as long: hundreds of runs must not add up.

        Args:
            limit: Seconds that it may take at most.

        """
        seconds = min(self._patience, limit)
        if not self._wait(self._of_this_run, seconds):
            self._patience = seconds / 2
        else:
            self._patience = _LINGER

    def clear(self) -> None:
        """Give those a while that runs have left behind, and those of runs to come their full time."""
        self._patience = _LINGER
        self._wait(self._lively, PATIENCE)

    def _wait(self, some: Callable[[], list[Thread]], seconds: float) -> bool:
        """Wait so long until none of some threads may do anything; tell whether it came to that."""
        deadline = steady() + seconds
        looked = False
        while (busy := some()) or not looked:
            looked = not busy
            if looked:
                if self.may_act() is None:
                    return True
                sleep(_BLINK)
            elif steady() >= deadline:
                return False
            else:
                with suppress(RuntimeError):  # it is about to start
                    busy[0].join(_GLANCE)
        return True

    def _lively(self) -> list[Thread]:
        return [thread for thread in threading.enumerate() if thread in self._ours and not at_rest(thread)]

    def _of_this_run(self) -> list[Thread]:
        return [thread for thread in self._lively() if thread not in self._strays]


def _named(threads: Iterable[Thread]) -> list[str]:
    """Name threads by what they run, since their numbers differ from run to run."""
    return sorted({_name(thread) for thread in threads})


def _name(thread: Thread) -> str:
    if isinstance(thread, Timer):
        return f"a timer for {getattr(thread.function, '__qualname__', thread.function)}"
    number, _, target = thread.name.partition(" (")
    return target.removesuffix(")") if number.startswith("Thread-") and target else thread.name
