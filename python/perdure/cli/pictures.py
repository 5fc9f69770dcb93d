"""Timelines that commands draw: on the terminal, and into files. Needs the `local` extra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perdure.cli.codes import USAGE, CommandError
from perdure.cli.drawing.picture import html, svg

if TYPE_CHECKING:
    from perdure.history.tree import Run

SvgFile = Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw it into a file; - prints.")]
HtmlFile = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="The same as a web page.")]
PRINTED = "-"
"""The name of a file that means standard output."""


def draw(run: Run, svg_file: Path | None, html_file: Path | None, *, fold: bool = True) -> list[Path]:
    """Draw an execution into the files that were asked for; return those that were written."""
    wanted = ((svg_file, svg), (html_file, html))
    return [file for file, drawn in wanted if file is not None and _write(file, drawn(run, fold=fold))]


def _write(target: Path, content: str) -> bool:
    """Write a picture; tell whether that made a file."""
    if str(target) == PRINTED:
        typer.echo(content.encode(), nl=False)  # as it says of itself, whatever the terminal takes
        return False
    try:
        target.write_text(content, encoding="utf-8")
    except OSError as problem:
        raise CommandError(f"{target} cannot be written: {problem}", USAGE, "Usage") from None
    return True
