"""What every command has: a client, a place to print, the options about both, and one way to end."""

from __future__ import annotations

import functools
import inspect
import os
import shlex
import sys
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from rich.text import Text

from perdure.cli.codes import INTERRUPTED, REFUSED, CommandError
from perdure.cli.connection import Connection
from perdure.cli.drawing.encodings import prepare
from perdure.cli.drawing.text import clean, clean_lines, dumps, pretty
from perdure.cli.faults import explain
from perdure.cli.outputs import lead_nowhere, unwritable
from perdure.cli.usage import Command, error_document
from perdure.cli.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

F = TypeVar("F", bound="Callable[..., None]")
_WIDTH_OF_A_PIPE = 160

_Endpoint = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="URL", help="A local service, as `perdure serve` starts it; else AWS."),
]
_Region = Annotated[str | None, typer.Option("--region", help="The AWS region; else as boto3 finds it.")]
_Profile = Annotated[str | None, typer.Option("--profile", help="The AWS profile; else as boto3 finds it.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


class CommandContext:
    """What a command works with.

    Args:
        connection: Where its requests go.
        client: A client to use instead, for tests and for programs that have one.
        as_json: Print one JSON document, and nothing else, on standard output.

    """

    def __init__(self, connection: Connection, *, client: Any = None, as_json: bool = False) -> None:
        self._connection = connection
        self._given = client
        self._client = client
        self._opened: list[Any] = []
        self._patient = False
        self.as_json = as_json
        self.out = console(stderr=False)
        self.err = console(stderr=True)

    @property
    def client(self) -> Any:
        """The client."""
        if self._client is None:
            self._client = self._connection.open()
            self._opened.append(self._client)
        return self._client

    def patient_client(self) -> Any:
        """Return a client that waits as long as a synchronous invoke may take."""
        self._patient = True
        if self._given is not None:
            return self._given
        client = self._connection.open(patient=True)
        self._opened.append(client)
        return client

    def emit(self, document: Any) -> None:
        """Print a JSON document."""
        typer.echo(dumps(document))

    def say(self, text: str) -> None:
        """Print a line for people, as it is; it may hold foreign text."""
        self.out.print(clean_lines(text), markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a remark beside the output."""
        self.err.print(clean_lines(text), markup=False, soft_wrap=True, style="dim")

    def result(self, payload: str) -> None:
        """Print what a function returned: for people on a terminal, else as it is."""
        text = pretty(payload, self.out.encoding)
        typer.echo(clean_lines(text) if self.out.is_terminal else text)

    def failure(self, text: str) -> None:
        """Print what went wrong."""
        self.err.print(clean_lines(text), markup=False, soft_wrap=True, style="red")

    @property
    def interactive(self) -> bool:
        """Whether there is somebody to be asked."""
        return sys.stdin.isatty()

    @property
    def room(self) -> int | None:
        """How many columns there are; None in a pipe, whose lines may have any length."""
        return self.out.width if self.out.is_terminal or "COLUMNS" in os.environ else None

    def back(self, reference: str) -> str:
        """Write the command that gets back to an execution that runs on."""
        return self.written("show", reference, "--follow")

    def written(self, *words: str) -> str:
        """Write a command to be copied, that goes where this one goes."""
        return f"`{shlex.join(['perdure', *words, *self._connection.options()])}`"

    @contextmanager
    def awaiting(self, arn: str) -> Iterator[None]:
        """Tell who presses Ctrl-C meanwhile that the execution runs on, and how to get back to it.

        Tell that too when the service is no longer heard: the execution does not end for it.
        """
        back = f"{self.back(arn)} gets back to it."
        with (
            self.adding(f"The execution does not end for that; {back}", arn=arn),
            self.interruptible(f"The execution runs on; {back}", arn),
        ):
            yield

    @contextmanager
    def interruptible(self, hint: str, arn: str | None = None) -> Iterator[None]:
        """Give a hint to who presses Ctrl-C meanwhile."""
        try:
            yield
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", INTERRUPTED, "Interrupted", hint, arn) from None

    @contextmanager
    def adding(
        self, hint: str, *, when: Callable[[Exception], bool] = lambda _: True, arn: str | None = None
    ) -> Iterator[None]:
        """Add a hint, and the execution that is meant, to what the service refuses meanwhile, or why it is not heard.

        Args:
            hint: What to do next, besides what is told anyway.
            when: Whether it fits what was raised.
            arn: The execution, if it is known.

        """
        try:
            yield
        except Exception as problem:
            end = explain(problem, patient=self._patient)
            if end is None or end.code != REFUSED or not when(problem):
                raise
            raise CommandError(end.message, end.code, end.kind, f"{end.hint} {hint}".lstrip(), arn) from None

    def progress(self, text: str) -> AbstractContextManager[Any]:
        """Show on a terminal that something takes its time; `.update(text)` tells how far it is."""
        if self.err.is_terminal:
            return self.err.status(Text(clean(text)), spinner="line" if self.err.options.ascii_only else "dots")
        return nullcontext(_Silence())

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Turn whatever ends the command into an exit code."""
        try:
            yield
        except (KeyboardInterrupt, typer.Abort):
            self._tell(CommandError("Interrupted.", INTERRUPTED, "Interrupted"))
            raise typer.Exit(INTERRUPTED) from None
        except Exception as problem:
            if why := unwritable(problem):
                lead_nowhere(sys.stdout)
                with suppress(OSError):
                    self.failure(why)
                raise typer.Exit(REFUSED) from None
            if isinstance(problem, typer.Exit) or (end := explain(problem, patient=self._patient)) is None:
                raise
            self._tell(end)
            raise typer.Exit(end.code) from None
        finally:
            for client in self._opened:
                client.close()

    def _tell(self, end: CommandError) -> None:
        if self.as_json:
            self.emit(error_document(end))
            return
        self.failure(end.message)
        if end.hint:
            self.err.print(clean_lines(end.hint), markup=False, soft_wrap=True)


class _Silence:
    def update(self, _text: str) -> None:
        """Show nothing."""


def console(*, stderr: bool) -> Console:
    """Make a console for what standard output or standard error is now; a pipe gets long lines."""
    prepare(sys.stderr if stderr else sys.stdout)
    made = Writer(stderr=stderr, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in made._environ:  # noqa: SLF001 - what rich itself looks at
        made.width = _WIDTH_OF_A_PIPE
    return made


def command(app: typer.Typer, name: str | None = None, *, panel: str | None = None) -> Callable[[F], F]:
    """Add a function that takes a `CommandContext` to an app, with the options about that behind its own.

    Args:
        app: The app.
        name: The name of the command; else that of the function.
        panel: The heading below which the help of the app lists it.

    """

    def add(function: F) -> F:
        @functools.wraps(function)
        def called(**given: Any) -> None:
            context = given.pop("context")
            connection = Connection(given.pop("endpoint"), given.pop("region"), given.pop("profile"))
            ctx = CommandContext(connection, client=context.find_root().obj, as_json=given.pop("as_json"))
            with ctx.closing():
                function(ctx, **given)

        hints = get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter("context", kind, annotation=typer.Context),
            *(parameter.replace(kind=kind, annotation=hints[parameter.name]) for parameter in own),
            inspect.Parameter("endpoint", kind, default=None, annotation=_Endpoint),
            inspect.Parameter("region", kind, default=None, annotation=_Region),
            inspect.Parameter("profile", kind, default=None, annotation=_Profile),
            inspect.Parameter("as_json", kind, default=False, annotation=_AsJson),
        ]
        del called.__wrapped__  # typer would read the function's own signature
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, cls=Command, rich_help_panel=panel)(called)
        return function

    return add
