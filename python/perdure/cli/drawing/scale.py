"""The time axis of a timeline, on which long idle stretches are folded.

A durable execution works for seconds and waits for days; drawn to scale, the work would not be seen. Where nothing
works (only waits, callbacks and pauses between attempts are open), a stretch much longer than its share of the work is
folded to that share: all folds together are no wider than the work.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from perdure.cli.drawing.text import duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.history.tree import Node, Run

_MUCH, _FEW = 3.0, 3
_NICE = (1, 2, 5)
_TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
_DAY = 86_400


class Fold(NamedTuple):
    """A folded stretch: where it is drawn, 0 to 1, and how long it is."""

    start: float
    end: float
    length: timedelta


class Tick(NamedTuple):
    """A mark on the axis: where, and what to write."""

    position: float
    label: str


@dataclass(frozen=True, slots=True)
class _Stretch:
    start: float
    end: float
    left: float
    right: float
    folded: bool


class Scale:
    """Places moments between 0 and 1.

    Args:
        run: The execution.
        fold: Fold long idle stretches; else the axis is plain.

    """

    def __init__(self, run: Run, *, fold: bool = True) -> None:
        self._zero = run.started_at
        end = max(run.ended_at or run.now, run.now, run.started_at)
        self._total = self._offset(end)
        pieces = self._pieces(run) if fold else [(0.0, self._total, False)]
        idle = [stop - start for start, stop, busy in pieces if not busy]
        work = self._total - sum(idle)
        share = work / max(len(idle), _FEW) if work > 0 else 0.0
        self._stretches: list[_Stretch] = []
        left = 0.0
        for start, stop, busy in pieces:
            folded = not busy and share > 0 and stop - start > _MUCH * share
            right = left + (share if folded else stop - start)
            self._stretches.append(_Stretch(start, stop, left, right, folded))
            left = right
        self._width = left or 1.0
        self._starts = [stretch.start for stretch in self._stretches]

    @property
    def folds(self) -> list[Fold]:
        """The folded stretches."""
        return [
            Fold(one.left / self._width, one.right / self._width, timedelta(seconds=one.end - one.start))
            for one in self._stretches
            if one.folded
        ]

    def at(self, moment: datetime) -> float:
        """Return where a moment is; what is outside is at the edge."""
        return self._at(min(max(0.0, self._offset(moment)), self._total))

    def ticks(self, width: float, room: float) -> list[Tick]:
        """Return marks for an axis of a width on which a label needs some room."""
        if self._total <= 0:
            return [Tick(0.0, "0")]
        visible = sum(one.end - one.start for one in self._stretches if not one.folded) or self._total
        step = _nice(visible * room / width)
        ticks = [Tick(0.0, "0")]
        for offset in self._candidates(step):
            position = self._at(offset)
            label = duration(timedelta(seconds=offset))
            far = (position - ticks[-1].position) * width >= room
            if far and (1 - position) * width >= room / 2 and label != ticks[-1].label:
                ticks.append(Tick(position, label))
        return ticks

    def _candidates(self, step: float) -> Iterable[float]:
        for one in self._stretches:
            if one.folded:
                continue
            if one.left > 0:
                yield one.start
            number = int(one.start / step) + 1
            while (offset := number * step) < one.end:
                yield offset
                number += 1

    def _offset(self, moment: datetime) -> float:
        return (moment - self._zero).total_seconds()

    def _at(self, offset: float) -> float:
        if self._total <= 0:
            return 0.0
        one = self._stretches[max(0, bisect_right(self._starts, offset) - 1)]
        length = one.end - one.start
        share = (offset - one.start) / length if length > 0 else 0.0
        return (one.left + share * (one.right - one.left)) / self._width

    def _pieces(self, run: Run) -> list[tuple[float, float, bool]]:
        """Cut the time into (start, end, busy), without gaps."""
        pieces: list[tuple[float, float, bool]] = []
        reached = 0.0
        for start, end in sorted(self._work(run)):
            begin, stop = max(start, reached), min(end, self._total)
            if begin > reached:
                pieces.append((reached, begin, False))
            if stop > begin:
                pieces.append((begin, stop, True))
            reached = max(reached, begin, stop)
        if reached < self._total or not pieces:
            pieces.append((reached, self._total, False))
        return pieces

    def _work(self, run: Run) -> Iterable[tuple[float, float]]:
        for period in run.invocations:
            yield self._offset(period.started_at), self._offset(period.ended_at or run.now)
        for node in run.nodes.values():
            for start, end in working(node):
                yield self._offset(start), self._offset(end or run.now)


def working(node: Node) -> Iterable[tuple[datetime, datetime | None]]:
    """Give the stretches in which an operation does something rather than wait."""
    if node.type == "STEP":
        yield from ((attempt.started_at, attempt.ended_at) for attempt in node.attempts)
    elif node.type == "CHAINED_INVOKE":
        yield node.started_at, node.ended_at


def _nice(seconds: float) -> float:
    """Return the next round number of seconds, minutes, hours or days."""
    if seconds > _TIMES[-1]:
        return _power(seconds / _DAY) * _DAY
    if seconds >= 1:
        return float(next(time for time in _TIMES if time >= seconds))
    return _power(seconds)


def _power(value: float) -> float:
    base = 1e-3
    while base * 10 <= value:
        base *= 10
    return next((base * nice for nice in _NICE if base * nice >= value), base * 10)
