"""Warnings where a handler goes by what its operations have come to by then, and asyncio records nothing of that."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure._functions import is_operation
from perdure._log import Log
from perdure.aio.eager import inside
from perdure.aio.tasks import LEFT

if TYPE_CHECKING:
    from asyncio import Future
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


def note_shield(frame: FrameType, outer: Future[Any]) -> None:
    """Hear that code waits for something by `asyncio.shield`, in this frame of it, which gives this future."""
    inner: Any = frame.f_locals.get("inner")
    if _is_of_operation(inner):
        outer.add_done_callback(partial(_note_shielded, inner, _place(frame)))


def _note_shielded(inner: Future[Any], place: tuple[str, int] | None, outer: Future[Any]) -> None:
    """Say once a place that an operation was given up waiting for, which goes on."""
    if not outer.cancelled() or inner.done() or place is None or place in _warned:
        return
    try:
        outer.exception()
    except CancelledError as cancelled:
        if cancelled.args == (LEFT,):
            return  # by what is recorded
    _warned.add(place)
    logger.warning(
        "asyncio.shield at %s:%d: its operation was given up before it had ended. It goes on, and the handler ends "
        "after it; whether it has ended by then on replay, too, depends on real time. Use context.timeout or "
        "context.race, which record that.",
        *place,
    )


def _place(frame: FrameType) -> tuple[str, int] | None:
    """Give the line that has called asyncio; None if it is one of ours, where what is decided is recorded."""
    around: FrameType | None = frame
    while around is not None and around.f_globals.get("__name__", "").startswith("asyncio."):
        around = around.f_back
    if around is not None and around.f_globals.get("__name__", "").startswith("perdure."):
        return None
    return ("?", 0) if around is None else (around.f_code.co_filename, around.f_lineno)


def _warn(function: str, frame: FrameType, futures: Iterable[Any]) -> None:
    """Say once a place that what code does depends on which of its operations are done first."""
    place = _place(frame)
    if place is not None and place not in _warned and any(map(_is_of_operation, futures)):
        _warned.add(place)
        logger.warning(
            "asyncio.%s at %s:%d: which of its operations are done first may be others on replay. Use context.race, "
            "context.any, context.as_completed or context.select, which record that.",
            function,
            *place,
        )


def _is_of_operation(future: Any) -> bool:
    return isinstance(future, asyncio.Task) and is_operation(inside(future.get_coro()))
