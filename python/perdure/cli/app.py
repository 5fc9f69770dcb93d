"""The application that commands add themselves to, and the options that several of them share. Needs the `local` extra.

It imports no command: commands import it.
"""

from __future__ import annotations

from typing import Annotated

import typer

from perdure._core import __version__
from perdure.cli.usage import Group

HandlerName = Annotated[str, typer.Argument(metavar="MODULE:HANDLER", help="The durable handler, from here.")]
MeantHandler = Annotated[
    str | None,
    typer.Argument(metavar="MODULE:HANDLER", help="The durable handler, from here; else that of pyproject.toml."),
]
MeantEvent = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|JSON",
        help="The event: JSON, a file of it, or - ; else {}, or that of the handler in pyproject.toml.",
    ),
]
DurableFunctions = Annotated[
    list[str] | None, typer.Option(metavar="NAME=MODULE:HANDLER", help="A durable function it may invoke.")
]
PlainFunctions = Annotated[
    list[str] | None, typer.Option(metavar="NAME=MODULE:FUNCTION", help="A plain function it may invoke.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
HERE = "Run handlers here"
"""The heading of these commands in the help."""

app = typer.Typer(cls=Group, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"perdure {__version__}")
        raise typer.Exit


@app.callback()
def perdure(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """AWS Lambda durable functions, on this machine and on AWS.

    new makes a project; run, serve, explore and bench run handlers here.
    The others work on AWS as boto3 finds it, or with --endpoint on a local service, as serve starts it.
    """
