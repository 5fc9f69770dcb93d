"""Threads that are not the service's: which of them may do something yet."""

from __future__ import annotations

import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

# Where a thread stands that waits for somebody to give it work: the function, its module, and what holds the queue.
_AT_REST = {("_worker", "concurrent.futures.thread"): "work_queue", ("get", "queue"): "self"}


# Only one thread at a time turns garbage collection off, and on again.
_looking = threading.Lock()


def frames() -> list[FrameType]:
    """Give the frames in which threads are now; see `frame_of`."""
    return list(_frames().values())


def frame_of(thread_id: int | None) -> FrameType | None:
    """Give the frame in which a thread is now; None if there is no such thread.

    Without garbage collection meanwhile: up to CPython 3.11 the interpreter's lock of all threads is held while frames
    are made, and to collect a `threading.local` takes that lock, too, so that the process would stand still for ever
    (CPython's issue 106883).
    """
    return _frames().get(thread_id or 0)


def _frames() -> dict[int, FrameType]:
    with _looking:
        collects = gc.isenabled()
        gc.disable()
        try:
            return sys._current_frames()  # noqa: SLF001  documented, and all there is
        finally:
            if collects:
                gc.enable()


def at_rest(thread: threading.Thread) -> bool:
    """Tell whether a thread waits for work that nobody has given it, as the idle ones of a pool do."""
    frame = frame_of(thread.ident)
    while frame is not None and frame.f_globals.get("__name__") == threading.__name__:
        frame = frame.f_back
    if frame is None:
        return False
    holder = _AT_REST.get((frame.f_code.co_name, frame.f_globals.get("__name__", "")))
    if holder is None or frame.f_locals.get("timeout") is not None:  # it may act when nothing comes
        return False
    queue: Any = frame.f_locals.get(holder)
    return queue is not None and bool(queue.empty())
