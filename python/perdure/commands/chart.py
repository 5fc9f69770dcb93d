"""A timeline in characters, for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from perdure.commands import bars
from perdure.commands.scale import Scale
from perdure.commands.text import clean, clock, duration, plural, style_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from perdure.commands.bars import Bar, Row
    from perdure.commands.model import Run

_SIGNS = {
    bars.CONTEXT: ("─", "dim"),
    bars.WAITING: ("░", "yellow"),
    bars.PAUSED: ("·", "yellow"),
    bars.WORK: ("█", "green"),
    bars.FAILED: ("▓", "red"),
}
_PRIORITY = {kind: number for number, kind in enumerate(_SIGNS)}
_OPEN = "cyan"
_LABEL, _LENGTH, _LEAST, _ROOM = 38, 12, 20, 10


def chart(run: Run, width: int, *, fold: bool = True, most: int | None = None) -> RenderableType:
    """Draw an execution: a line an operation; only the last `most` of them where there is no room for all."""
    scale = Scale(run, fold=fold)
    lines = bars.rows(run)
    shown = lines if most is None or len(lines) <= most else [lines[0], *lines[1 - most :]]
    labels = [label(row, run) for row in shown]
    room = min(max(len(text) for text in labels), _LABEL, max(12, width // 3))
    columns = max(_LEAST, width - room - _LENGTH - 2)
    drawn = [_title(run), _axis(scale, room, columns)]
    drawn += [
        Text.assemble(
            _fit(text, room), " ", _draw(row.bars, scale, columns), " ", (_length(row, run), "dim"), overflow="crop"
        )
        for text, row in zip(labels, shown, strict=True)
    ]
    if len(shown) < len(lines):
        drawn.append(Text(f"… {plural(len(lines) - len(shown), 'operation')} above these", style="dim"))
    drawn.append(_legend(scale))
    return Group(*(_cropped(line) for line in drawn))


def label(row: Row, run: Run) -> str:
    """Write the name of a line, behind the branches of the tree."""
    if row.node is None:
        return clean(run.name)
    guides = "".join("   " if last else "│  " for last in row.lasts[1:-1])
    branch = "" if len(row.lasts) == 1 else "└─ " if row.lasts[-1] else "├─ "
    return f"{guides}{branch}{clean(row.node.label)}"


def _title(run: Run) -> Text:
    calls = f", {plural(len(run.invocations), 'invocation')}" if run.invocations else ""
    return Text.assemble(
        (clean(run.name), "bold"),
        f" of {clean(run.function)}: ",
        (clean(run.status), style_of(run.status)),
        f", {duration(run.lasted)} from {clock(run.started_at)}{calls}",
    )


def _axis(scale: Scale, room: int, columns: int) -> Text:
    cells = [" "] * columns
    for fold in scale.folds:
        first, last = _cells(fold.start, fold.end, columns)
        cells[first:last] = "≈" * (last - first)
        text = duration(fold.length)
        if len(text) <= last - first:
            middle = (first + last - len(text)) // 2
            cells[middle : middle + len(text)] = text
    for tick in scale.ticks(columns, _ROOM):
        place = min(columns - 1, round(tick.position * columns))
        text = f"│{tick.label}"
        if place + len(text) <= columns and all(cell == " " for cell in cells[place : place + len(text)]):
            cells[place : place + len(text)] = text
    return Text(" " * (room + 1) + "".join(cells), style="dim")


def _draw(stretches: list[Bar], scale: Scale, columns: int) -> Text:
    signs: list[tuple[str, str]] = [(" ", "")] * columns
    for bar in sorted(stretches, key=lambda bar: _PRIORITY[bar.kind]):
        sign, style = _SIGNS[bar.kind]
        first, last = _cells(scale.at(bar.start), scale.at(bar.end), columns)
        painted = (sign, _OPEN if bar.open and bar.kind != bars.CONTEXT else style)
        signs[first:last] = [painted] * (last - first)
    text = Text()
    for sign, style in signs:
        text.append(sign, style)
    return text


def _cells(start: float, end: float, columns: int) -> tuple[int, int]:
    """Return the first cell of a stretch and the one behind it; it has one at least."""
    first = min(columns - 1, math.floor(start * columns + 1e-9))
    return first, min(columns, max(first + 1, math.ceil(end * columns - 1e-9)))


def _length(row: Row, run: Run) -> str:
    if row.node is None:
        return duration(run.lasted)
    return duration(row.node.duration) or row.node.status.lower()


def _fit(text: str, room: int) -> Text:
    cut = text if len(text) <= room else f"{text[: room - 1]}…"
    return Text(cut.ljust(room))


def _legend(scale: Scale) -> Text:
    legend = Text("")
    for kind in (bars.WORK, bars.FAILED, bars.WAITING):
        sign, style = _SIGNS[kind]
        legend.append(f"{sign} ", style).append(f"{kind}  ", "dim")
    legend.append("█ ", _OPEN).append("going on", "dim")
    if scale.folds:
        legend.append("  ≈ folded, since nothing worked then", "dim")
    return legend


def _cropped(text: Text) -> Text:
    text.no_wrap = True
    return text
