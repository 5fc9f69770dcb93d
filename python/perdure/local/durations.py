"""Lengths of time: as users give them, in exact seconds, and as one says them.

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
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


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


def span(length: float | timedelta) -> str:
    """Write a length of time, given in seconds or as such, the way one says it: in three digits, or in two units."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if (millis := round(seconds * 1000)) < 1000:  # noqa: PLR2004  a second
        return f"{millis} ms"
    if (rounded := float(f"{seconds:.3g}")) < _MINUTE:
        return f"{rounded:g} s"
    parts = []
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1, "s")):
        count, seconds = divmod(round(seconds), size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
