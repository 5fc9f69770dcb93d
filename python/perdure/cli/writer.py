"""The one way to a terminal: what passes here holds nothing that a terminal would obey.

Payloads, messages and names are foreign. A sign of theirs that moves the cursor, hides, colours, or turns a line around
is shown as one that cannot be shown. Every command prints through a `Writer` or `write`, and logs through a
`CleanFormatter`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.segment import Segment

from perdure.cli.drawing.text import clean, clean_lines

if TYPE_CHECKING:
    from collections.abc import Iterator


class Writer(Console):
    """A console that cleans what it is given, in whatever table, tree or line it stands; colours are its own."""

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        """Give the pieces of what is to be printed."""
        for piece in super().render(renderable, options):
            if piece.control or piece.text == "\n":
                yield piece
            else:
                yield Segment("\n".join(map(clean, piece.text.split("\n"))), piece.style)


def write(text: str, *, err: bool = False) -> None:
    """Print lines."""
    typer.echo(clean_lines(text), err=err)


class CleanFormatter(logging.Formatter):
    """Formats what is logged, messages and tracebacks; several lines stay several lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return clean_lines(super().format(record))
