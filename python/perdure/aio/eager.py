"""Tasks that begin where they are made (`asyncio.eager_task_factory`): one that fails there does so a turn later.

A group of tasks takes no more tasks once one has failed. A failure that is recorded comes at once on replay: whoever
makes the tasks would not come to the operations that it had come to at first. A task that begins in its turn fails no
sooner than whoever made it has had the loop go on, either. The same goes for the operations of a branch that nobody
waits for any more, which are refused at once.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from perdure.exceptions import OrphanedChildException

if TYPE_CHECKING:
    from collections.abc import Callable


def failing_later(create: Callable[..., Any]) -> Callable[..., Any]:
    """Give what makes tasks as a function does that may have them begin at once, but that none fails in that."""

    def made(coroutine: Any, **options: Any) -> Any:
        begun: list[None] = []
        around: Any = _failing_later(coroutine, begun)
        around.__name__ = getattr(coroutine, "__name__", around.__name__)
        around.__qualname__ = getattr(coroutine, "__qualname__", around.__qualname__)
        task = create(around, **options)
        begun.append(None)
        return task

    return made


async def _failing_later(coroutine: Any, begun: list[None]) -> Any:
    try:
        return await coroutine
    except (Exception, OrphanedChildException):
        if not begun:
            with suppress(asyncio.CancelledError):  # it has failed already
                await asyncio.sleep(0)
        raise


def inside(coroutine: Any) -> Any:
    """Give what a task was made of, if something was put around that."""
    frame = getattr(coroutine, "cr_frame", None)
    return frame.f_locals["coroutine"] if frame is not None and frame.f_code is _CODE else coroutine


_CODE = _failing_later.__code__
