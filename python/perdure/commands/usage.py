"""Commands whose errors of usage are JSON where JSON was asked for, and whose help any output can write."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from perdure.commands.codes import USAGE, CommandError
from perdure.commands.encodings import prepare
from perdure.commands.text import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator

# The base of what typer raises for a wrong command line. It has no public name since typer brings its own click.
_UsageError: Any = typer.BadParameter.__base__


class Command(TyperCommand):
    """A command with `--json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options and arguments."""
        for stream in (sys.stdout, sys.stderr):
            prepare(stream)  # before the help is printed, too
        with _told(ctx, args):
            return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """Give the parameters; that a switch is a `<bool>` helps nobody."""
        parameters: list[Any] = super().get_params(ctx)
        for parameter in parameters:
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""
        return parameters


class Group(TyperGroup):
    """A group of such commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options."""
        for stream in (sys.stdout, sys.stderr):
            prepare(stream)
        with _told(ctx, args):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is meant."""
        with _told(ctx, args):
            return super().resolve_command(ctx, args)


def error_document(end: CommandError) -> dict[str, Any]:
    """Describe how a command failed, as `--json` does."""
    known = {} if end.arn is None else {"arn": end.arn}
    return {**known, "error": {"type": end.kind, "message": end.message, "hint": end.hint, "exitCode": end.code}}


@contextmanager
def _told(ctx: Any, args: list[str]) -> Iterator[None]:
    as_json = "--json" in args  # before they are read, which takes them from the list
    try:
        yield
    except _UsageError as problem:
        if not as_json:
            raise
        hint = f"`{ctx.command_path} --help` tells the options."
        typer.echo(dumps(error_document(CommandError(problem.format_message(), USAGE, "Usage", hint))))
        raise typer.Exit(USAGE) from None
