"""What a timeline draws for each operation, before anybody decides in characters or in pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from perdure.cli.drawing.text import BROKEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from perdure.history.tree import Node, Run

WORK, WAITING, CONTEXT, FAILED, PAUSED = "work", "waiting", "context", "failed", "paused"


class Bar(NamedTuple):
    """A stretch of time and what was done in it; `open` is still going on."""

    kind: str
    start: datetime
    end: datetime
    open: bool = False


class Row(NamedTuple):
    """A line of the timeline; the first is the execution itself, without a node."""

    node: Node | None
    lasts: tuple[bool, ...]
    bars: list[Bar]


def rows(run: Run) -> list[Row]:
    """Give the lines of a timeline, as a tree."""
    lines = [Row(None, (), list(_of_run(run)))]
    ends: list[datetime] = []
    for node, lasts in run.walk():
        above = ends[len(lasts) - 2] if len(lasts) > 1 else run.ended_at or run.now
        del ends[len(lasts) - 1 :]
        ends.append(node.ended_at or above)
        lines.append(Row(node, lasts, [*_of_node(node, above)]))
    return lines


def _of_run(run: Run) -> Iterator[Bar]:
    end = run.ended_at or run.now
    yield Bar(CONTEXT, run.started_at, end, open=not run.ended)
    for pause in run.pauses:
        yield Bar(PAUSED, pause.started_at, pause.ended_at or end, open=pause.ended_at is None)
    for period in run.invocations:
        yield Bar(FAILED if period.failed else WORK, period.started_at, period.ended_at or end)


def _of_node(node: Node, limit: datetime) -> Iterator[Bar]:
    """Give the bars of an operation; what has no end of its own lasts as long as what it is in."""
    limit = max(limit, node.started_at)
    end, is_open = node.ended_at or limit, node.ended_at is None
    if node.type == "STEP":
        for attempt, following in pairwise(node.attempts):
            yield Bar(WAITING, attempt.ended_at or attempt.started_at, following.started_at)
        if node.attempts and node.attempts[-1].ended_at is not None and is_open:
            yield Bar(WAITING, node.attempts[-1].ended_at, limit, open=True)
        for attempt in node.attempts:
            ongoing = attempt.ended_at is None
            yield Bar(FAILED if attempt.failed else WORK, attempt.started_at, attempt.ended_at or end, open=ongoing)
        return
    kind = {"CONTEXT": CONTEXT, "CHAINED_INVOKE": WORK}.get(node.type, WAITING)
    yield Bar(FAILED if node.status in BROKEN else kind, node.started_at, end, open=is_open)
