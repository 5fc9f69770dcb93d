"""The executions of a function as lines. On a narrow terminal columns are left out, but never what one copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from perdure.cli.drawing.encodings import spelled
from perdure.cli.drawing.text import clean, clock, duration, style_of, zone

if TYPE_CHECKING:
    from collections.abc import Iterator

_GAP = "  "


class _Column(NamedTuple):
    heading: str
    cells: list[Text]
    worth: int  # what is worth least goes first

    @property
    def width(self) -> int:
        return max(cell_len(self.heading), *(cell.cell_len for cell in self.cells))


def listing(found: list[dict[str, Any]], room: int | None, encoding: str = "utf-8") -> Iterator[Text]:
    """Write a heading and a line for each execution.

    Args:
        found: The executions, at least one, as the service describes them.
        room: How many columns there are; None for as many as it takes.
        encoding: Of the output.

    """
    start = found[0]["StartTimestamp"]
    names, versions, statuses, starts, times = zip(*(_cells(one, start, encoding) for one in found), strict=True)
    columns = [
        _Column("execution", list(names), 5),
        _Column("version", list(versions), 1),
        _Column("status", list(statuses), 4),
        _Column(f"started ({zone(start)})", list(starts), 3),
        _Column("time", list(times), 2),
    ]
    while room is not None and len(columns) > 1 and sum(column.width + len(_GAP) for column in columns) > room + 2:
        columns.remove(min(columns, key=lambda column: column.worth))
    yield _line([Text(column.heading, "dim") for column in columns], columns)
    for number in range(len(found)):
        yield _line([column.cells[number] for column in columns], columns)


def _cells(one: dict[str, Any], beside: Any, encoding: str) -> tuple[Text, ...]:
    function, _, version = one["FunctionArn"].partition(":function:")[2].partition(":")
    start, end = one["StartTimestamp"], one.get("EndTimestamp")
    return (
        Text(spelled(clean(f"{function}/{one['DurableExecutionName']}"), encoding)),
        Text(spelled(clean(version), encoding), "dim"),
        Text(spelled(clean(one["Status"]), encoding), style_of(one["Status"])),
        Text(clock(start, beside)),
        Text("" if end is None else duration(end - start)),
    )


def _line(cells: list[Text], columns: list[_Column]) -> Text:
    line = Text(no_wrap=True, overflow="ignore")
    for cell, column in zip(cells, columns, strict=True):
        line.append(_GAP if line else "").append_text(cell)
        line.pad_right(column.width - cell.cell_len)
    line.rstrip()
    return line
