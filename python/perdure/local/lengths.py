"""Lengths of time as users give them, in exact seconds.

Operations count in whole seconds, as the service does, and so does `perdure.config.duration_seconds`. How long a test
may take, or how far a virtual clock is to move, has fractions.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from perdure._duration import exact_seconds

if TYPE_CHECKING:
    from perdure._duration import DurationLike

_LONGEST = timedelta.max.total_seconds()


def seconds_of(value: DurationLike, what: str, *, endless: bool = False) -> float:
    """Give a length of time in seconds.

    Args:
        value: A `Duration`, a `datetime.timedelta`, or a number of seconds.
        what: How to call it in an error.
        endless: Whether infinity will do.

    Raises:
        TypeError: If it is no length of time.
        ValueError: If it is negative, not a number or, where that will not do, infinite.

    """
    seconds = None if isinstance(value, bool) else exact_seconds(value)  # True is a slip, not a second
    if seconds is None:
        raise TypeError(
            f"{what} must be a Duration, a datetime.timedelta or a number of seconds, not {value!r}: "
            f"write for example timedelta(minutes=5)"
        )
    if not 0 <= seconds <= (math.inf if endless else _LONGEST):  # which nan is not either
        raise ValueError(f"{what} must be 0 or more seconds{'' if endless else ', and finite'}, not {value!r}")
    return seconds


def optional_seconds(value: DurationLike | None, what: str) -> float | None:
    """Give a length of time in seconds, None for none; see `seconds_of`."""
    return None if value is None else seconds_of(value, what)
