"""The time of the world, and how much of it Lambda leaves an invocation."""

from __future__ import annotations

import time
from _thread import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MARGIN_SECONDS, MARGIN_SHARE = 1.0, 0.05
"""What is left to return in when threads are given up or calls no longer repeated: so many seconds, or this share."""


def steady(clock: Callable[[], float] = time.monotonic) -> float:
    """Give the seconds of a clock that only goes on: the real one, even while a test freezes those of `time`.

    Locks, threads and the client keep real time whatever Python's clocks say; what is measured for them must, too.
    """
    return clock()


class WallClock:
    """The time of the world."""

    time = staticmethod(time.time)

    @staticmethod
    def timeout(until: float) -> float:
        """Give the seconds to block until a moment, or as many as a lock takes."""
        return min(max(0.0, until - time.time()), TIMEOUT_MAX)


WALL_CLOCK = WallClock()


def remaining_seconds(lambda_context: Any) -> float | None:
    """Give the seconds that Lambda leaves an invocation; None if its context does not say."""
    try:
        remaining = lambda_context.get_remaining_time_in_millis()
    except AttributeError:
        return None
    return remaining / 1000 if isinstance(remaining, (int, float)) else None
