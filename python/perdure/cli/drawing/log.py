"""The history of an execution as lines, written as they come: nothing is measured that has not been read yet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.text import Text

from perdure.cli.drawing.encodings import spelled
from perdure.cli.drawing.text import clean, clock, line, stamp, zone
from perdure.history.kinds import split

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rich.console import Console

    from perdure.history.reading import Event

_GAP, _NAME, _PIECE = "  ", 32, 24
_STYLES = {"Succeeded": "green", "Failed": "red", "TimedOut": "red", "Stopped": "red"}
# What the line of an invocation need not repeat: its end is the moment of the event.
_REPEATED = {"InvocationCompleted": frozenset({"StartTimestamp", "EndTimestamp", "RequestId"})}
_HEADINGS = ("#", "event", "operation")


class Log:
    """Writes events in columns, which get wider when a later event needs it, and never narrower.

    Args:
        console: Where it is written to.
        data: Show payloads, errors, and what is repeated elsewhere.
        room: How many columns there are, so that details without room get a line of their own; None for as many as
            it takes.

    """

    def __init__(self, console: Console, *, data: bool, room: int | None) -> None:
        self._console = console
        self._data = data
        self._room = room
        self._first: datetime | None = None
        self._widths = [0, 0, 0, 0]

    def lines(self, events: list[Event]) -> Iterator[Text]:
        """Write a page of events, and the headings above the first."""
        rows = [self._row(event) for event in events]
        if rows and self._first is None:
            first = self._first = events[0]["EventTimestamp"]
            number, event, operation = _HEADINGS
            rows.insert(0, ((number, f"when ({zone(first)})", event, operation), "dim", ""))
        for place, width in enumerate(self._widths):
            widest = max((cell_len(row[0][place]) for row in rows), default=0)
            most = _NAME if place == len(_HEADINGS) else widest
            self._widths[place] = max(width, min(widest, most))
        for cells, style, details in rows:
            yield from self._lines(cells, style, details)

    def _row(self, event: Event) -> tuple[tuple[str, str, str, str], str, str]:
        kind = event["EventType"]
        encoding = self._console.encoding
        cells = (
            str(event["EventId"]),
            clock(event["EventTimestamp"], self._first, exact=True),
            spelled(clean(kind), encoding),
            spelled(clean(event.get("Name") or event.get("Id", "")[:8]), encoding),
        )
        return cells, _STYLES.get(split(kind)[1], ""), _facts(event, data=self._data)

    def _lines(self, cells: tuple[str, str, str, str], style: str, details: str) -> Iterator[Text]:
        number, when, kind, operation = self._widths
        text = Text(no_wrap=True, overflow="ignore")
        head = style == "dim"
        text.append(f"{cells[0].rjust(number)}{_GAP}{cells[1].ljust(when)}{_GAP}", "dim" if head else "")
        text.append(cells[2], style).append(" " * (kind - cell_len(cells[2])) + _GAP)
        text.append(cells[3], "dim" if head else "")
        behind = _GAP + " " * max(0, operation - cell_len(cells[3]))
        room = self._room
        fits = room is None or text.cell_len + len(behind) + cell_len(details) <= room
        if details and fits:
            text.append(behind).append(details, "dim")
        text.rstrip()
        yield text
        if details and room is not None and not fits:
            indent = " " * (number + len(_GAP))
            for piece in Text(details, "dim").wrap(self._console, max(_PIECE, room - len(indent))):
                yield Text(indent, no_wrap=True, overflow="ignore").append_text(piece)


def _facts(event: Event, *, data: bool) -> str:
    """Write the details of an event: `Duration=5 ScheduledEndTimestamp=…`."""
    facts = []
    left_out = frozenset() if data else _REPEATED.get(event["EventType"], frozenset())
    for member, value in (event.get(f"{event['EventType']}Details") or {}).items():
        shown: Any = value
        if member in left_out:
            continue
        if member == "RetryDetails":
            facts += [f"{key}={number}" for key, number in value.items()]
            continue
        if isinstance(value, dict):
            if not data or "Payload" not in value:
                continue
            cut = " (truncated)" if value.get("Truncated") else ""
            payload = value["Payload"]
            shown = f"{payload if isinstance(payload, str) else json.dumps(payload)}{cut}"
        elif hasattr(value, "isoformat"):
            shown = stamp(value)
        facts.append(f"{member}={shown}")
    text = " ".join(facts)
    return clean(" ".join(text.split())) if data else line(text, 200)
