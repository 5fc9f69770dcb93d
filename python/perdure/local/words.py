"""Lengths of time the way one says them."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def span(seconds: float) -> str:
    """Write a duration the way one says it."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < _MINUTE:
        return f"{seconds:.3g} s"
    parts = []
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1, "s")):
        count, seconds = divmod(round(seconds), size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
