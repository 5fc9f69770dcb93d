"""A timeline in characters, for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Group
from rich.text import Text

from perdure.cli.drawing import bars
from perdure.cli.drawing.encodings import spelled
from perdure.cli.drawing.scale import Scale
from perdure.cli.drawing.text import clean, clock, duration, plural, style_of, zone

if TYPE_CHECKING:
    from rich.console import RenderableType

    from perdure.cli.drawing.bars import Bar, Row
    from perdure.history.tree import Run

_SIGNS = {
    bars.CONTEXT: ("─", "dim"),
    bars.WAITING: ("░", "yellow"),
    bars.PAUSED: ("·", "yellow"),
    bars.WORK: ("█", "green"),
    bars.FAILED: ("▓", "red"),
}
_PRIORITY = {kind: number for number, kind in enumerate(_SIGNS)}
_OPEN = ("▶", "cyan")
_WORDS = (bars.WORK, bars.FAILED, bars.WAITING, bars.CONTEXT)
_LABEL, _LENGTH, _LEAST, _ROOM = 38, 12, 20, 10
_SHORT_LABEL, _SMALL, _SMALLEST = 8, 10, 6  # on a terminal so narrow that one looks for each column


def chart(
    run: Run, width: int, *, fold: bool = True, most: int | None = None, encoding: str = "utf-8"
) -> RenderableType:
    """Draw an execution: a line an operation.

    Args:
        run: The execution.
        width: How wide the drawing may be.
        fold: Fold long idle stretches.
        most: Draw only the last operations, where there is no room for all.
        encoding: Of the output: what it has no sign for is written as it will stand there.

    """
    scale = Scale(run, fold=fold)
    lines = bars.rows(run)
    above = 0 if most is None else max(0, len(lines) - 1 - most)
    shown = [lines[0], *lines[1 + above :]]
    labels = [spelled(label(row, run), encoding) for row in shown]
    lengths = [_length(row, run) for row in shown]
    room, columns, told = _widths(labels, lengths, width)
    drawn = [
        _cropped(
            Text.assemble(
                _fit(text, room, encoding), " ", _draw(row.bars, scale, columns), (f" {length}" if told else "", "dim")
            )
        )
        for text, row, length in zip(labels, shown, lengths, strict=True)
    ]
    if above:
        drawn.insert(1, Text(f"… {plural(above, 'operation')} above these", style="dim"))
    return Group(_title(run), _cropped(_axis(scale, room, columns)), *drawn, _legend(scale, shown))


def label(row: Row, run: Run) -> str:
    """Write the name of a line, behind the branches of the tree."""
    if row.node is None:
        return clean(run.name)
    guides = "".join("   " if last else "│  " for last in row.lasts[1:-1])
    branch = "" if len(row.lasts) == 1 else "└─ " if row.lasts[-1] else "├─ "
    return f"{guides}{branch}{clean(row.node.label)}"


def _widths(labels: list[str], lengths: list[str], width: int) -> tuple[int, int, bool]:
    """Share out the columns of the screen: to the names, and to the drawing; and tell whether lengths of time fit, too.

    They are left out rather than cut: one would read `3 min` for 3 min 59 s.
    """
    room = min(max(cell_len(text) for text in labels), _LABEL, max(12, width // 3))
    longest = max(len(text) for text in lengths)
    columns = width - room - _LENGTH - 2
    if columns >= _LEAST:
        return room, columns, True
    columns = width - room - longest - 2
    if columns < _SMALL:
        shorter = max(min(room, _SHORT_LABEL), room - (_SMALL - columns))
        room, columns = shorter, columns + room - shorter
    if columns < _SMALLEST:
        return room, max(1, width - room - 1), False
    return room, columns, True


def _title(run: Run) -> Text:
    calls = f", {plural(len(run.invocations), 'invocation')}" if run.invocations else ""
    return Text.assemble(
        (clean(run.name), "bold"),
        f" of {clean(run.function)}: ",
        (clean(run.status), style_of(run.status)),
        f", {duration(run.lasted)} from {clock(run.started_at)} ({zone(run.started_at)}){calls}",
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
        if bar.open and bar.kind != bars.CONTEXT:
            style = _OPEN[1]
        signs[first:last] = [(sign, style)] * (last - first)
        if bar.open:
            signs[last - 1] = _OPEN
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


def _fit(text: str, room: int, encoding: str) -> Text:
    if cell_len(text) > room:
        end = spelled("…", encoding)
        text = set_cell_size(text, room - len(end)).rstrip() + end
    return Text(set_cell_size(text, room))


def _legend(scale: Scale, shown: list[Row]) -> Text:
    kinds = {bar.kind for row in shown for bar in row.bars}
    words = [f"{_SIGNS[kind][0]} {kind}" for kind in _WORDS]
    if bars.PAUSED in kinds:
        words.append(f"{_SIGNS[bars.PAUSED][0]} {bars.PAUSED}")
    words.append(f"{_OPEN[0]} going on")
    if scale.folds:
        words.append("≈ folded, since nothing worked then")
    return Text("  ").join(_entry(entry) for entry in words)


def _entry(words: str) -> Text:
    sign = words[0]
    style = next((style for known, style in (*_SIGNS.values(), _OPEN) if known == sign), "dim")
    return Text.assemble((sign, style), (words[1:], "dim"))


def _cropped(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "crop"
    return text
