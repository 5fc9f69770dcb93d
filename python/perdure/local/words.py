"""Lengths of time the way one says them."""

from __future__ import annotations

from datetime import timedelta

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


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
