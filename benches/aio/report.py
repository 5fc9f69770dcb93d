"""The page's table, in markdown, and its bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peers.bars import TIMES, Bar
from peers.words import shown_seconds, shown_times, table

if TYPE_CHECKING:
    from peers.results import Results

BEGIN, END = "<!-- async:begin -->", "<!-- async:end -->"


def summary(results: Results) -> str:
    """Give what stands in the README."""
    found = results["async"]
    rows = []
    for work in found["works"].values():
        seconds = work["contenders"]
        rows.append(
            (
                work["title"],
                f"**{shown_seconds(seconds['async'])}**",
                shown_seconds(seconds["sync"]),
                shown_seconds(seconds["peer"]),
                f"**{shown_times(seconds['peer'] / seconds['async'])}**",
            )
        )
    kept = found["bytes"]
    rows.append(
        ("memory of a branch that waits, of 3,000", f"{kept['async'] / 1024:.1f} KB", f"{kept['sync'] / 1024:.1f} KB",
         "", "")
    )  # fmt: skip
    head = ("", "perdure, async def", "perdure, def", found["peer"].replace("==", " "), "faster")
    bars_met = "\n".join(f"* {'met' if bar.met else '**missed**'}: {bar.title}: {bar.shown} ({bar.promise})"
                         for bar in bars(results))  # fmt: skip
    return f"{table(head, rows)}\n\n{bars_met}"


def bars(results: Results) -> list[Bar]:
    """Hold a run against the promises."""
    found = results["async"]

    def of(work: str, who: str) -> float:
        return found["works"][work]["contenders"][who]  # type: ignore[no-any-return]

    def against(title: str, work: str, who: str, limit: float) -> Bar:
        return Bar(title, of(work, who) / of(work, "async"), limit, TIMES, at_least=True)

    def as_long(title: str, work: str, limit: float) -> Bar:
        return Bar(title, of(work, "async") / of(work, "sync"), limit, "times as long as def", at_least=False)

    peer = found["peer"].replace("==", " ")
    return [
        as_long("async: replay of 1,000 awaited steps", "replay", 1.5),
        against(f"async: the same, against {peer}", "replay", "peer", 300),
        against(f"async: a fresh step, against {peer}", "fresh", "peer", 15),
        against(f"async: map of 1,000, 5 ms, against {peer}", "map", "peer", 8),
        as_long("async: map of 1,000, 5 ms", "map", 1.0),
        Bar("async: memory of a branch that waits", found["bytes"]["async"] / 1024, 4, "KB", at_least=False),
        as_long("async: empty invocation", "empty", 3),
    ]
