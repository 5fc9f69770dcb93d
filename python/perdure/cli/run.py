"""`perdure run`: a durable handler on a local service, in front of the user's eyes. Needs the `local` extra."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from perdure.cli import document
from perdure.cli.app import HERE, AsJson, DurableFunctions, MeantEvent, MeantHandler, PlainFunctions, app
from perdure.cli.arguments import loads
from perdure.cli.codes import BLOCKED, FAILED, INTERRUPTED, CommandError
from perdure.cli.codes import OK as SUCCEEDED
from perdure.cli.drawing.chart import chart
from perdure.cli.drawing.text import clean
from perdure.cli.follow import describe
from perdure.cli.live import Display, as_document, show_blocked, show_interrupted, show_outcome
from perdure.cli.loading import checked_register, function_name, look_here_first, named_entries
from perdure.cli.log_option import Level, LogLevel, log_to_stderr
from perdure.cli.pictures import PRINTED, HtmlFile, SvgFile, draw
from perdure.cli.price_options import PriceOperations, PriceRetained, PriceWritten, prices_of
from perdure.cli.project import meant
from perdure.cli.usage import Command, prepare_stdout, print_document
from perdure.cli.writer import Writer, write
from perdure.history.reading import pages
from perdure.history.tree import build
from perdure.local.foreign_threads import at_rest
from perdure.local.machine.budget import budget_of
from perdure.local.machine.clock import RealClock, VirtualClock
from perdure.local.service import LocalService

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from perdure.history.tree import Run
    from perdure.local.handle import ExecutionHandle

_GLANCE = 0.05


@app.command(cls=Command, rich_help_panel=HERE)
def run(
    context: typer.Context,
    handler: MeantHandler = None,
    event: MeantEvent = None,
    name: Annotated[str | None, typer.Option(help="The name of the execution.")] = None,
    skip_time: Annotated[
        bool,
        typer.Option(
            "--skip-time", help="Skip waits, pauses and timeouts of callbacks; without it they take their real time."
        ),
    ] = False,
    as_json: AsJson = False,
    function: DurableFunctions = None,
    plain: PlainFunctions = None,
    callback_wait: Annotated[
        float, typer.Option(min=0, help="Longest real seconds to wait for a thread of yours to answer a callback.")
    ] = 60.0,
    log_level: LogLevel = Level.INFO,
    timeline: Annotated[bool, typer.Option("--timeline", help="Draw the timeline in the end.")] = False,
    svg_file: SvgFile = None,
    html_file: HtmlFile = None,
    price_operations: PriceOperations = None,
    price_written: PriceWritten = None,
    price_retained: PriceRetained = None,
) -> None:
    """Run a durable handler from its start to its end, and show every operation."""
    _check_files({"--svg": svg_file, "--html": html_file})
    look_here_first()
    prepare_stdout(context, as_json)
    log_to_stderr(log_level)
    console = Writer(stderr=as_json, soft_wrap=True, emoji=False)
    service = LocalService(clock=VirtualClock() if skip_time else RealClock())
    chosen = meant(handler, event)
    called = function_name(chosen.handler)
    checked_register(service, called, chosen.handler)
    _register_more(service, True, function or ())
    _register_more(service, False, plain or ())
    display = Display(console, quiet=as_json)
    service.observers.append(display)
    branches = service.log_branches()
    others = set(threading.enumerate())
    try:
        handle = service.start(called, chosen.payload, name)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--name") from None
    interrupted = False
    with display:
        try:
            _bring_home(service, handle, display, others, callback_wait)
        except KeyboardInterrupt:
            interrupted = True
    budget = budget_of(handle.machine, prices_of(price_operations, price_written, price_retained))
    drawn = _look(service, handle.arn) if timeline or svg_file or html_file else None
    if as_json:
        shown = {"timeline": document.timeline(drawn, fold=True)} if timeline and drawn is not None else {}
        print_document(context, {**as_document(handle, budget, branches.failed, interrupted=interrupted), **shown})
    elif interrupted:
        show_interrupted(console, handle)
    elif handle.terminal:
        show_outcome(console, handle, budget, branches.failed)
    else:
        show_blocked(console, handle)
    if drawn is not None:
        if timeline and not as_json:
            console.print(chart(drawn, console.width, encoding=console.encoding))
        _draw(drawn, svg_file, html_file)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(BLOCKED if not handle.terminal else SUCCEEDED if handle.status == "SUCCEEDED" else FAILED)


def _check_files(files: dict[str, Path | None]) -> None:
    """Refuse at once what could not be drawn into after a long run."""
    for option, file in files.items():
        if file is None:
            continue
        if str(file) == PRINTED:
            raise typer.BadParameter("standard output has the operations; give it a file.", param_hint=option)
        if file.is_dir() or not file.parent.is_dir():
            why = "is a folder" if file.is_dir() else "is in no folder that is there"
            raise typer.BadParameter(f"{file} {why}.", param_hint=option)


def _look(service: LocalService, arn: str) -> Run:
    """Look at an execution as `perdure timeline` does."""
    events = [event for page in pages(service.client, arn, data=True) for event in page]
    return build(describe(service.client, arn), events, service.clock.now())


def _draw(run: Run, svg_file: Path | None, html_file: Path | None) -> None:
    """Draw into files, when the outcome has been told, which what goes wrong here takes from nobody."""
    try:
        for file in draw(run, svg_file, html_file):
            write(f"Wrote {file}.", err=True)
    except CommandError as problem:
        write(problem.message, err=True)
        raise typer.Exit(problem.code) from None


def _register_more(service: LocalService, durable: bool, entries: Iterable[str]) -> None:
    for alias, reference in named_entries(entries, None, "NAME=MODULE:HANDLER"):
        if alias in service.functions:
            raise typer.BadParameter(f"{alias!r} is the name of another function here; give this one another.")
        checked_register(service, alias, reference, durable=durable)


def _bring_home(
    service: LocalService,
    handle: ExecutionHandle,
    display: Display,
    others: set[threading.Thread],
    callback_wait: float,
) -> None:
    """Drive the execution, and get its callbacks answered: by threads of the handler, by the user, or by time."""
    while True:
        service.drive(handle, stop_at_callback=True)
        if handle.terminal:
            return
        before = _open(service)
        deadline = time.monotonic() + callback_wait
        while _open(service) == before and time.monotonic() < deadline and _own_threads(others):
            service.drive(handle, stop_at_callback=True, wait=_GLANCE)
        if _open(service) != before or _prompt(service, display):
            continue
        service.drive(handle)  # what is left is the callback's own timeout
        if handle.terminal or _open(service) == before:
            return


def _open(service: LocalService) -> list[str]:
    """Return the ids of all open callbacks."""
    return [
        callback["CallbackDetails"]["CallbackId"]
        for handle in list(service.handles.values())
        if not handle.terminal
        for callback in handle.open_callbacks
    ]


def _own_threads(others: set[threading.Thread]) -> bool:
    """Tell whether a thread of the handler's lives on; the one that redraws the screen is not."""
    return any(
        not type(thread).__module__.startswith("rich.") and not at_rest(thread)
        for thread in threading.enumerate()
        if thread not in others
    )


def _prompt(service: LocalService, display: Display) -> bool:
    """Ask the user for the answer to the first open callback; tell whether there was one."""
    callbacks = _open(service)
    if not callbacks or not (sys.stdin.isatty() and display.interactive):
        return False
    with display.paused() as console:
        console.print(Text.assemble("\n", ("Waiting for an answer to", "bold"), " ", _named(service, callbacks[0])))
        console.print("Type its result as JSON, [bold]!message[/] to fail it, or nothing to leave it open.")
        while True:
            try:
                answer = console.input("result> ").strip()
            except EOFError:
                return False
            if not answer:
                return False
            if answer.startswith("!"):
                error = {"ErrorMessage": answer[1:].strip(), "ErrorType": "CallbackFailed"}
                service.client.send_durable_execution_callback_failure(CallbackId=callbacks[0], Error=error)
                return True
            try:
                loads(answer)
            except ValueError as problem:
                console.print(Text.assemble(("That is not JSON:", "red"), f" {problem}"))
                continue
            service.client.send_durable_execution_callback_success(CallbackId=callbacks[0], Result=answer.encode())
            return True


def _named(service: LocalService, callback_id: str) -> str:
    """Name an open callback as the handler does."""
    for handle in list(service.handles.values()):
        for operation in handle.open_callbacks:
            if operation["CallbackDetails"]["CallbackId"] == callback_id:
                return clean(handle.names_of(operation)[0] or callback_id)
    return callback_id
