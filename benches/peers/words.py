"""Figures and tables in markdown, and where they go in a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peers.bars import TIMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def written_into(text: str, begin: str, end: str, part: str) -> str:
    """Give a document with what stands between two markers replaced."""
    before, begins, rest = text.partition(begin)
    _, ends, after = rest.partition(end)
    if not begins or not ends:
        raise ValueError(f"the document has no part between {begin} and {end}")
    return f"{before}{begin}\n{part}\n{end}{after}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table whose columns but the first hold figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown_seconds(seconds: float | None) -> str:
    """Give a time in the unit that suits it."""
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= size:
            return f"{_three(seconds / size)} {unit}"
    return f"{_three(seconds / 1e-9)} ns"


def _three(number: float) -> str:
    """Give about three significant digits."""
    size = abs(number)
    return f"{number:,.0f}" if size >= 100 else f"{number:.1f}" if size >= 10 else f"{number:.2f}"


def shown_times(found: float | None) -> str:
    """Give how many times as fast something is."""
    if found is None:
        return ""
    return f"{found:,.0f}{TIMES}" if found >= 10 else f"{found:.1f}{TIMES}"
