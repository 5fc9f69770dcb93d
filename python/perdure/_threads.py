"""Threads that cost little to start and leave nothing behind.

`threading.Thread` waits for its thread to come up and keeps books on it: four times the cost, for the sake of names and
joins that a branch does not need.
"""

from __future__ import annotations

import threading
from _thread import allocate_lock, get_ident, start_new_thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def start(function: Callable[..., None], *args: Any) -> Any:
    """Run a function in a thread of its own.

    Args:
        function: Must not raise.
        *args: What to call it with.

    Returns:
        A lock that is released when the thread has ended.

    Raises:
        RuntimeError: If the system has no more threads.

    """
    done = allocate_lock()
    done.acquire()
    start_new_thread(_run, (function, args, done))
    return done


def _run(function: Callable[..., None], args: tuple[Any, ...], done: Any) -> None:
    try:
        function(*args)
    finally:
        _forget()
        done.release()


def _forget() -> None:
    """Drop what `threading` has noted about this thread, if user code asked it for the current thread (logging does).

    Before Python 3.13 such notes are kept until another thread happens to get the same identity.
    """
    active = getattr(threading, "_active", None)
    dummy = getattr(threading, "_DummyThread", None)
    if active is not None and dummy is not None and isinstance(active.get(get_ident()), dummy):
        active.pop(get_ident(), None)
