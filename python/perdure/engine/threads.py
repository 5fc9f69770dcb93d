"""Threads that cost little to start and leave nothing behind.

`threading.Thread` waits for its thread to come up and keeps books on it: four times the cost, for the sake of names and
joins that a branch does not need.
"""

from __future__ import annotations

import threading
from _thread import get_ident
from typing import TYPE_CHECKING, Any

from perdure._core import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable


def start(threads: list[Any], function: Callable[..., None], *args: Any) -> None:
    """Run a function in a thread of its own.

    Args:
        threads: Gets a lock that is released when the thread has ended.
        function: Must not raise.
        *args: What to call it with.

    Raises:
        RuntimeError: If the system has no more threads.

    """
    start_thread(threads, forget, function, *args)


def forget() -> None:
    """Drop what `threading` has noted about this thread, if user code asked it for the current thread (logging does).

    Before Python 3.13 such notes are kept until another thread happens to get the same identity.
    """
    active = getattr(threading, "_active", None)
    dummy = getattr(threading, "_DummyThread", None)
    if active is not None and dummy is not None and isinstance(active.get(get_ident()), dummy):
        active.pop(get_ident(), None)
