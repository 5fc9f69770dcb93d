"""Libraries by which tasks wait for one another, and that make futures of their own for that: anyio.

What it has for tasks (groups, locks, semaphores) is resolved by other code of the loop, as asyncio's own. Its sockets
wait for an event of asyncio's, which the network sets; most clients of HTTP use those.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from perdure.aio.closing import awaiting

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

_ANYIO = "anyio._backends._asyncio"
_WAIT_FOR_TASKS = frozenset({"TaskGroup.__aexit__", "TaskGroup.start", "Lock.acquire", "Semaphore.acquire"})
"""Functions that await a future of anyio's own that other tasks resolve."""

_EVENTS_OF_TASKS = frozenset({"wait", "acquire_on_behalf_of"})
"""Functions that await an event which other tasks set: those of Event and CapacityLimiter. The others are sockets'."""


def waits_for_tasks(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task awaits a library's own future that other code of the loop resolves."""
    for awaited in reversed(awaiting(task.get_coro())):
        frame = getattr(awaited, "cr_frame", None)
        if frame is not None:
            return frame.f_globals.get("__name__") == _ANYIO and frame.f_code.co_qualname in _WAIT_FOR_TASKS
    return False


def end_threads(task: asyncio.Task[Any]) -> None:
    """Have a library's threads end with a task that is unwound, and never done: else no process could end."""
    if _ANYIO in sys.modules:
        for callback, _context in getattr(task, "_callbacks", None) or ():
            if type(getattr(callback, "__self__", None)).__module__ == _ANYIO:
                callback(task)


def waits_for_the_network(frame: FrameType) -> bool:
    """Tell whether what asyncio is asked to wait for, in this frame of it, is an event that the network sets."""
    outer = frame.f_back
    return (
        outer is not None
        and outer.f_globals.get("__name__") == _ANYIO
        and frame.f_code.co_name == "wait"
        and outer.f_code.co_name not in _EVENTS_OF_TASKS
    )
