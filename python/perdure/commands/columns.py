"""A tree with columns beside it. What has no room behind its row stands below it, so that nothing is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, chop_cells
from rich.text import Text

from perdure.commands.encodings import spelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions

_GAP, _NAME, _PIECE = "  ", 24, 8


class Heading(NamedTuple):
    """The head of a column: its words, whether it holds numbers, and whether it stays when it is empty."""

    words: str
    number: bool = False
    always: bool = False


class Row(NamedTuple):
    """A line of the tree: the branch that leads to it and the one that goes on below, its name, cells and remark."""

    branch: str
    below: str
    name: str
    cells: tuple[Text, ...]
    remark: str


class Columns:
    """Rows under their headings, as wide as the console allows.

    Args:
        headings: Of the tree, and of each cell.
        rows: The rows.

    """

    def __init__(self, headings: Sequence[Heading], rows: Sequence[Row]) -> None:
        self._first, *self._headings = headings
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        rows = [_spelled(row, options.encoding) for row in self._rows]
        used = [
            (index, heading, max(cell_len(heading.words), *(row.cells[index].cell_len for row in rows)))
            for index, heading in enumerate(self._headings)
            if heading.always or any(row.cells[index] for row in rows)
        ]
        fixed = sum(len(_GAP) + width for _, _, width in used)
        natural = max(len(self._first.words), *(cell_len(row.branch + row.name) for row in rows))
        room = min(natural, max(_NAME, options.max_width - fixed))
        head = Text(self._first.words.ljust(room), style="dim")
        for _, heading, width in used:
            head.append(_GAP).append(_set(Text(heading.words), width, heading))
        yield _line(head)
        for row in rows:
            names = chop_cells(row.name, max(_PIECE, room - cell_len(row.branch)))
            line = Text(row.branch + names[0])
            line.pad_right(room - line.cell_len)
            for index, heading, width in used:
                line.append(_GAP).append(_set(row.cells[index], width, heading))
            fits = line.cell_len + len(_GAP) + cell_len(row.remark) <= options.max_width
            if row.remark and fits:
                line.append(_GAP).append(row.remark, "dim")
            yield _line(line)
            for name in names[1:]:
                yield _line(Text(row.below + name))
            if row.remark and not fits:
                left = max(_NAME, options.max_width - cell_len(row.below))
                for piece in Text(row.remark, style="dim").wrap(console, left):
                    yield _line(Text(row.below).append(piece))


def _spelled(row: Row, encoding: str) -> Row:
    """Write a row as the output can, before it is measured."""
    cells = tuple(Text(spelled(cell.plain, encoding), cell.style) for cell in row.cells)
    branch, below, name, remark = (spelled(text, encoding) for text in (row.branch, row.below, row.name, row.remark))
    return Row(branch, below, name, cells, remark)


def _set(cell: Text, width: int, heading: Heading) -> Text:
    text = cell.copy()
    missing = width - text.cell_len
    if heading.number:
        text.pad_left(missing)
    else:
        text.pad_right(missing)
    return text


def _line(text: Text) -> Text:
    text.rstrip()
    text.no_wrap, text.overflow = True, "ignore"
    return text
