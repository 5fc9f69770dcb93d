"""Commands whose errors of usage are JSON where JSON was asked for, and whose help any output can write."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from perdure.cli.codes import INTERRUPTED, REFUSED, USAGE, CommandError
from perdure.cli.drawing.encodings import prepare
from perdure.cli.drawing.text import clean_lines, dumps
from perdure.cli.outputs import forgive_stdout, forgiving, lead_nowhere, unwritable
from perdure.cli.writer import write

if TYPE_CHECKING:
    from collections.abc import Iterator

# The base of what typer raises for a wrong command line. It has no public name since typer brings its own click.
_UsageError: Any = typer.BadParameter.__base__
_RESERVED = "perdure.stdout"


class Command(TyperCommand):
    """A command with `--json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options and arguments."""
        for stream in (sys.stdout, sys.stderr):
            prepare(stream)  # before the help is printed, too
        with _told(ctx, as_json="--json" in args):  # before they are read, which takes them from the list
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Carry it out; however it ends, say so."""
        as_json = bool(ctx.params.get("as_json"))
        try:
            with _told(ctx, as_json=as_json):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            end = CommandError("Interrupted.", INTERRUPTED, "Interrupted")
        except CommandError as problem:
            end = problem
        except OSError as problem:
            if (why := unwritable(problem)) is None:
                raise
            lead_nowhere(ctx.meta.get(_RESERVED, sys.stdout))
            end, as_json = CommandError(why, REFUSED, "Output"), False
        if as_json:
            print_document(ctx, error_document(end))
        else:
            write("\n".join(part for part in (end.message, end.hint) if part), err=True)
        raise typer.Exit(end.code)

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
        with _told(ctx, as_json="--json" in args):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is meant."""
        with _told(ctx, as_json="--json" in args):
            return super().resolve_command(ctx, args)


def reserve_stdout(ctx: Any) -> None:
    """Keep standard output for a document: what else is printed, in threads and subprocesses too, becomes an error's.

    For as long as the process lives: a thread of the handler's may print after the document. The document takes it that
    nobody reads it: what came of the handler is in the exit code, too.
    """
    out, sys.stdout = sys.stdout, sys.stderr
    ctx.meta[_RESERVED] = out
    try:
        number, beside = out.fileno(), sys.stderr.fileno()
    except (OSError, ValueError):  # no files, but a test's buffers
        return
    out.flush()
    ctx.meta[_RESERVED] = forgiving(os.dup(number), out, closefd=True)
    os.dup2(beside, number)


def prepare_stdout(ctx: Any, as_json: bool) -> None:
    """Keep standard output for a document, or let what runs here print on it whoever reads."""
    if as_json:
        reserve_stdout(ctx)
    else:
        forgive_stdout()


def print_document(ctx: Any, document: Any) -> None:
    """Print the one document of a command."""
    print(dumps(document), file=ctx.meta.get(_RESERVED, sys.stdout), flush=True)


def error_document(end: CommandError) -> dict[str, Any]:
    """Describe how a command failed, as `--json` does."""
    known = {} if end.arn is None else {"arn": end.arn}
    return {**known, "error": {"type": end.kind, "message": end.message, "hint": end.hint, "exitCode": end.code}}


@contextmanager
def _told(ctx: Any, *, as_json: bool) -> Iterator[None]:
    try:
        yield
    except _UsageError as problem:
        if not as_json:
            problem.message = clean_lines(problem.message)
            raise
        hint = f"`{ctx.command_path} --help` tells the options."
        print_document(ctx, error_document(CommandError(problem.format_message(), USAGE, "Usage", hint)))
        raise typer.Exit(USAGE) from None
