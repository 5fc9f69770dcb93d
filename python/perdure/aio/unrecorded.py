"""Warnings where a handler goes by which of its operations is done first, in ways of asyncio's that record nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from perdure._functions import is_operation
from perdure._log import Log
from perdure.aio.eager import inside

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

logger = Log("perdure")

_warned: set[tuple[str, int]] = set()
"""Where was warned."""


def note_wait(frame: FrameType) -> None:
    """Hear that code waits by `asyncio.wait`, in this frame of it."""
    named = frame.f_locals
    if named.get("return_when") != asyncio.ALL_COMPLETED or named.get("timeout") is not None:
        _warn("wait", frame, named.get("fs", ()))


def note_first(frame: FrameType) -> None:
    """Hear that code waits for the next of `asyncio.as_completed`, in this frame of it."""
    left = getattr(frame.f_locals.get("self"), "_todo", ())  # before CPython 3.13 nobody can tell
    if len(left) > 1:
        _warn("as_completed", frame, left)


def _warn(function: str, frame: FrameType, futures: Iterable[Any]) -> None:
    """Say once a place that what code does depends on which of its operations are done first."""
    around: FrameType | None = frame
    while around is not None and around.f_globals.get("__name__", "").startswith("asyncio."):
        around = around.f_back
    if around is not None and around.f_globals.get("__name__", "").startswith("perdure."):
        return  # what it decides is recorded
    place = ("?", 0) if around is None else (around.f_code.co_filename, around.f_lineno)
    if place not in _warned and any(map(_is_of_operation, futures)):
        _warned.add(place)
        logger.warning(
            "asyncio.%s at %s:%d: which of its operations are done first may be others on replay. Use context.race, "
            "context.any, context.as_completed or context.select, which record that.",
            function,
            *place,
        )


def _is_of_operation(future: Any) -> bool:
    return isinstance(future, asyncio.Task) and is_operation(inside(future.get_coro()))
