"""A tree with columns beside it. What has no room behind its row stands below it, so that nothing is cut.

On a narrow terminal columns are left out, the least important first; what the last one says stays readable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, chop_cells
from rich.text import Text

from perdure.cli.drawing.encodings import spelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions

_GAP, _NAME, _PIECE = "  ", 24, 8


class Heading(NamedTuple):
    """The head of a column.

    Args:
        words: What stands there.
        number: It holds numbers.
        always: It stays when it is empty.
        worth: What is worth least is left out first where there is no room; never what is worth most.

    """

    words: str
    number: bool = False
    always: bool = False
    worth: int = 0


class _Used(NamedTuple):
    """A column that is drawn: where its cells are, its head, how wide it is."""

    place: int
    heading: Heading
    width: int


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
        most = options.max_width
        rows = [_spelled(row, options.encoding) for row in self._rows]
        natural = max(len(self._first.words), *(cell_len(row.branch + row.name) for row in rows))
        used = self._used(rows, most - min(natural, _NAME))
        room = max(_PIECE, min(natural, most - _beside(used)))
        head = Text(self._first.words.ljust(room), style="dim")
        for _, heading, width in used:
            head.append(_GAP).append(_set(Text(heading.words), width, heading))
        yield _line(head)
        for row in (_indented(row, room, options.encoding) for row in rows):
            names = chop_cells(row.name, max(_PIECE, room - cell_len(row.branch)))
            line = Text(row.branch + names[0])
            line.pad_right(room - line.cell_len)
            for place, heading, width in used:
                line.append(_GAP).append(_set(row.cells[place], width, heading))
            fits = line.cell_len + len(_GAP) + cell_len(row.remark) <= most
            if row.remark and fits:
                line.append(_GAP).append(row.remark, "dim")
            yield _line(line)
            for name in names[1:]:
                yield _line(Text(row.below + name))
            if row.remark and not fits:
                left = max(_PIECE, most - cell_len(row.below))
                for piece in Text(row.remark, style="dim").wrap(console, left):
                    yield _line(Text(row.below).append(piece))

    def _used(self, rows: Sequence[Row], room: int) -> list[_Used]:
        """Choose the columns that are drawn: those with something in them, as many as there is room for."""
        used = [
            _Used(place, heading, max(cell_len(heading.words), *(row.cells[place].cell_len for row in rows)))
            for place, heading in enumerate(self._headings)
            if heading.always or any(row.cells[place] for row in rows)
        ]
        while len(used) > 1 and _beside(used) > room:
            used.remove(min(used, key=lambda column: column.heading.worth))
        return used


def _beside(used: Sequence[_Used]) -> int:
    """Count the columns of the screen that these take beside the tree."""
    return sum(len(_GAP) + column.width for column in used)


def _indented(row: Row, room: int, encoding: str) -> Row:
    """Shorten the branches of a row that stands so deep that its name had no room."""
    most = room - min(_PIECE, cell_len(row.name))
    return row._replace(branch=_shortened(row.branch, most, encoding), below=_shortened(row.below, most, encoding))


def _shortened(branches: str, most: int, encoding: str) -> str:
    if cell_len(branches) <= most:
        return branches
    mark = spelled("…", encoding)
    return mark + branches[len(branches) - max(0, most - len(mark)) :]


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
