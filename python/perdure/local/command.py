"""`perdure run`: a durable handler on a local service, in front of the user's eyes. Needs the `local` extra."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
import traceback
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.text import Text

from perdure.cli import version
from perdure.commands.arguments import loads, read_json
from perdure.commands.codes import BLOCKED, FAILED, INTERRUPTED, USAGE, CommandError
from perdure.commands.codes import OK as SUCCEEDED
from perdure.commands.outputs import forgive_stdout
from perdure.commands.text import clean
from perdure.commands.usage import Command, Group, print_document, reserve_stdout
from perdure.commands.writer import Writer, write
from perdure.local.budget import budget_of
from perdure.local.clock import RealClock, VirtualClock
from perdure.local.display import Display, as_document, show_blocked, show_interrupted, show_outcome
from perdure.local.log_option import Level, LogLevel, log_to_stderr
from perdure.local.outside import at_rest
from perdure.local.price_options import PriceOperations, PriceRetained, PriceWritten, prices_of
from perdure.local.service import LocalService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from perdure.local.handle import ExecutionHandle

_GLANCE = 0.05
HandlerName = Annotated[str, typer.Argument(metavar="MODULE:HANDLER", help="The durable handler, from here.")]
Event = Annotated[str, typer.Option(metavar="FILE|JSON", help="The event: JSON, a file of it, or - .")]
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
        typer.echo(f"perdure {version()}")
        raise typer.Exit


@app.callback()
def perdure(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """AWS Lambda durable functions, on this machine and on AWS: run, serve, explore and bench run handlers here.

    The others work on AWS as boto3 finds it, or with --endpoint on a local service, as `serve` starts it.
    """


@app.command(cls=Command, rich_help_panel=HERE)
def run(
    context: typer.Context,
    handler: HandlerName,
    event: Event = "{}",
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
    price_operations: PriceOperations = None,
    price_written: PriceWritten = None,
    price_retained: PriceRetained = None,
) -> None:
    """Run a durable handler from its start to its end, and show every operation."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - sys.path wants a string
    if as_json:
        reserve_stdout(context)
    else:
        forgive_stdout()
    log_to_stderr(log_level)
    console = Writer(stderr=as_json, soft_wrap=True, emoji=False)
    service = LocalService(clock=VirtualClock() if skip_time else RealClock())
    payload = read_json(event, "--event")
    function_name = _function_name(handler)
    checked_register(service, function_name, handler)
    _register_more(service, True, function or ())
    _register_more(service, False, plain or ())
    display = Display(console, quiet=as_json)
    service.observers.append(display)
    branches = service.log_branches()
    others = set(threading.enumerate())
    try:
        handle = service.start(function_name, payload, name)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--name") from None
    interrupted = False
    with display:
        try:
            _bring_home(service, handle, display, others, callback_wait)
        except KeyboardInterrupt:
            interrupted = True
    budget = budget_of(handle, prices_of(price_operations, price_written, price_retained))
    if as_json:
        print_document(context, as_document(handle, budget, branches.failed, interrupted=interrupted))
    elif interrupted:
        show_interrupted(console, handle)
    elif handle.terminal:
        show_outcome(console, handle, budget, branches.failed)
    else:
        show_blocked(console, handle)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(BLOCKED if not handle.terminal else SUCCEEDED if handle.status == "SUCCEEDED" else FAILED)


def _register_more(service: LocalService, durable: bool, entries: Iterable[str]) -> None:
    for alias, reference in named_entries(entries, None, "NAME=MODULE:HANDLER"):
        if alias in service.functions:
            raise typer.BadParameter(f"{alias!r} is the name of another function here; give this one another.")
        checked_register(service, alias, reference, durable=durable)


def named_entries(given: Iterable[str] | None, option: str | None, form: str) -> list[tuple[str, str]]:
    """Read `NAME=…`, as often as an option was given."""
    pairs = []
    for entry in given or ():
        name, separator, rest = entry.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{entry!r} is not {form}.", param_hint=option)
        pairs.append((name, rest))
    return pairs


def checked_register(service: LocalService, name: str, reference: str, *, durable: bool = True) -> None:
    """Load a function and register it; a name that is none is a wrong option."""
    function = _load(reference)
    try:
        service.register(name, function, durable=durable)
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None


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


def _function_name(reference: str) -> str:
    return reference.rpartition(":")[2].rpartition(".")[2]


def _load(reference: str) -> Callable[[Any, Any], Any]:
    """Import `module:attribute`, or `path/to/file.py:attribute`."""
    module_name, separator, attribute = reference.rpartition(":")
    if not separator or not module_name or not attribute:
        raise typer.BadParameter(f"{reference!r} is not MODULE:HANDLER, as in app:handler.")
    found = _import(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise typer.BadParameter(f"{module_name} has no {attribute!r}.{_instead(found, part)}")
        found = getattr(found, part)
    if not callable(found):
        raise typer.BadParameter(f"{reference} is no function, but of type {type(found).__name__}.")
    return found  # type: ignore[no-any-return]


def _instead(found: Any, name: str) -> str:
    """Name what may have been meant."""
    functions = [known for known, value in vars(found).items() if callable(value) and not known.startswith("_")]
    near = get_close_matches(name, functions, 1)
    return f" Is {near[0]!r} meant?" if near else ""


def _import(module_name: str) -> Any:
    from_file = module_name.endswith(".py")
    if from_file and not Path(module_name).is_file():
        raise typer.BadParameter(f"There is no file {module_name}.")
    try:
        return _import_file(Path(module_name)) if from_file else importlib.import_module(module_name)
    except ModuleNotFoundError as problem:
        if from_file or problem.name is None or not f"{module_name}.".startswith(f"{problem.name}."):
            _fail_import(module_name)
        raise typer.BadParameter(f"There is no module {module_name!r} here ({Path.cwd()}).") from None
    except (Exception, SystemExit):  # noqa: BLE001 - whatever the user's module does at import
        _fail_import(module_name)


def _import_file(path: Path) -> Any:
    """Import a file as a script would be: its folder first on the path, its stem as the module name."""
    sys.path.insert(0, str(path.parent.resolve()))
    return importlib.import_module(path.stem)


def _fail_import(module_name: str) -> NoReturn:
    write(traceback.format_exc(), err=True)
    message = f"{module_name} could not be imported."
    raise CommandError(message, USAGE, "Import", "See the traceback on standard error.")
