"""`perdure serve`: the local service on a port, its executions in a file. Needs the `local` extra."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.text import Text

from perdure.cli.app import HERE, app
from perdure.cli.codes import INTERRUPTED, USAGE, CommandError
from perdure.cli.drawing.text import clean
from perdure.cli.loading import function_name, load, look_here_first
from perdure.cli.log_option import Level, LogLevel, log_to_stderr
from perdure.cli.outputs import lead_nowhere
from perdure.cli.usage import Command
from perdure.cli.writer import Writer
from perdure.local.durations import span
from perdure.local.invoking import LONGEST_SYNC_SECONDS
from perdure.local.logs import FailureLog
from perdure.local.machine.clock import RealClock, SkippingClock
from perdure.local.machine.errors import Fault
from perdure.local.server.boto_environment import lead_boto3_to
from perdure.local.server.reload import Reloader
from perdure.local.server.runtime import RemoteFunction
from perdure.local.service import LocalService
from perdure.local.store import StoreError
from perdure.local.store.memory import MemoryStore
from perdure.local.store.sqlite import SqliteStore
from perdure.local.traces import traceback_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from rich.console import Console

    from perdure.local.handle import ExecutionHandle, Invocation
    from perdure.local.machine.clock import Clock
    from perdure.local.machine.transitions import Operation
    from perdure.local.server.http import LocalServer

DEFAULT_PORT = 9000
_GRACE = 5.0


@dataclass(frozen=True, slots=True)
class _Binding:
    """A handler, and what it is served as."""

    name: str
    version: str | None
    handler: Callable[[Any, Any], Any]
    durable: bool

    @property
    def called(self) -> str:
        """The name, and the version if it is one."""
        return self.name if self.version is None else f"{self.name}:{self.version}"


class _Console(Writer):
    """A console that a server does without when nobody reads it any more."""

    def on_broken_pipe(self) -> None:
        """Go on serving, and print into nothing."""
        lead_nowhere(sys.stderr)


@app.command(cls=Command, rich_help_panel=HERE)
def serve(
    functions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME[:VERSION]=]MODULE:HANDLER|NAME[:VERSION]=URL…",
            help="The durable functions: a handler, or the URL of a Lambda Runtime Interface endpoint. With versions, "
            "executions stay on the one that they began with.",
        ),
    ] = None,
    plain: Annotated[
        list[str] | None, typer.Option(metavar="NAME=MODULE:FUNCTION|NAME=URL", help="A plain function, likewise.")
    ] = None,
    alias: Annotated[
        list[str] | None, typer.Option(metavar="NAME:ALIAS=VERSION", help="Another name for a version.")
    ] = None,
    database: Annotated[
        Path | None,
        typer.Option("--db", metavar="FILE", help="Where executions are kept; perdure.db by default.", dir_okay=False),
    ] = None,
    in_memory: Annotated[bool, typer.Option("--memory", help="Keep executions in memory only.")] = False,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = DEFAULT_PORT,
    workers: Annotated[int, typer.Option(min=1, help="How many functions run at one time.")] = 64,
    timeout: Annotated[
        int, typer.Option(min=1, max=900, metavar="SECONDS", help="Of every invocation; one that takes longer fails.")
    ] = 900,
    execution_timeout: Annotated[
        int | None, typer.Option(min=1, max=31_622_400, metavar="SECONDS", help="Of every durable function.")
    ] = None,
    retention_days: Annotated[int | None, typer.Option(min=1, max=90, help="How long what has ended is kept.")] = None,
    skip_time: Annotated[
        bool,
        typer.Option(
            "--skip-time", help="Skip waits and pauses between attempts; callbacks keep their real time to be answered."
        ),
    ] = False,
    reload: Annotated[bool, typer.Option("--reload", help="Load handlers again when their files change.")] = False,
    log_level: LogLevel = Level.INFO,
) -> None:
    """Serve the durable execution API on this machine, for boto3, the AWS CLI and other commands of perdure."""
    console = _Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
    try:
        from perdure.local.server.http import LocalServer, listen  # noqa: PLC0415 - slow to import, and needs the extra
    except ModuleNotFoundError as problem:
        console.print(f"perdure serve needs {problem.name}: pip install 'perdure[local]'")
        raise typer.Exit(USAGE) from None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if in_memory and database is not None:
        raise typer.BadParameter("--memory keeps executions in no file: leave one of the two away.", param_hint="--db")
    kept_in = None if in_memory else _file(database or Path("perdure.db"))
    log_to_stderr(log_level)
    look_here_first()
    options = {"timeout_seconds": timeout, "execution_timeout": execution_timeout, "retention_days": retention_days}
    with ExitStack() as opened:
        try:
            listening = opened.enter_context(listen(host, port))
        except OSError as problem:
            why = f"{host}:{port} cannot be listened on: {problem.strerror or problem}."
            _refuse(console, f"{why} Give another --port, or 0 for one that is free.")
        service = opened.enter_context(_open(kept_in, console, SkippingClock() if skip_time else RealClock()))
        if skip_time:
            service.observers.append(_Skips(console))
        server = LocalServer(service, host, listening=listening)
        try:
            lead_boto3_to(server.url)  # before the handlers are loaded, which may make clients
        except ValueError as problem:
            _refuse(console, f"boto3 cannot be used: {problem}.")
        register = partial(_register, service, functions or (), plain or (), alias or (), options)
        register()
        opened.pop_all()  # from here on they are closed in their turn
    try:
        service.start_workers(workers)
        if reload:
            sys.dont_write_bytecode = True  # two edits in one second would otherwise look the same
            Reloader(Path.cwd(), register, _why).start()
        status, idle = _run(server, console, kept_in)
        left = len(service.handles)
    finally:
        listening.close()
        service.close(grace=0)
    goes_on = f", {left} of them unfinished" if left else ""
    console.print("Stopped." if in_memory else f"Stopped. All executions are kept in {kept_in}{goes_on}.")
    if not idle:
        sys.stdout.flush()
        os._exit(status)  # what still runs may have threads that the interpreter would wait for
    raise typer.Exit(status)


def _file(database: Path) -> Path:
    """Return the name of a file; SQLite would take some names for no file, and keep nothing."""
    if str(database).startswith((":", "file:")):
        raise typer.BadParameter(
            f"{database} is not the name of a file for SQLite. Give another, or --memory to keep executions nowhere.",
            param_hint="--db",
        )
    if database.exists() and not database.is_file():
        raise typer.BadParameter(f"{database} is no file. Give one that is, or is not there yet.", param_hint="--db")
    return database


def _refuse(console: Console, why: str) -> NoReturn:
    """Say why nothing is served; what is told may hold anything, so that no markup is read in it."""
    console.print(Text.assemble(("Error:", "red"), " ", clean(why)))
    raise typer.Exit(USAGE)


def _warn(console: Console, what: str) -> None:
    console.print(Text.assemble(("Warning:", "yellow"), " ", what))


class _Skips:
    """Says what time is skipped."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def operation(self, handle: ExecutionHandle, operation: Operation) -> None:
        """Pass over an operation."""

    def invocation(self, handle: ExecutionHandle, invocation: Invocation) -> None:
        """Pass over an invocation."""

    def waiting(self, seconds: float, *, skipped: bool) -> None:
        """Take time that passes in which nothing happens."""
        if skipped:
            self._console.print(f"skipping {span(seconds)}")


def _open(database: Path | None, console: Console, clock: Clock) -> LocalService:
    """Open the service on a file, or in memory."""
    try:
        store = MemoryStore() if database is None else SqliteStore(database)
        try:
            service = LocalService(
                store=store, clock=clock, record=False, sync_timeout=LONGEST_SYNC_SECONDS, failure_log=FailureLog()
            )
        except BaseException:
            store.close()
            raise
    except StoreError as problem:
        _refuse(console, str(problem))
    except sqlite3.DatabaseError as problem:  # what is damaged may be found late
        _refuse(console, f"{database} is damaged: {problem}. Restore it from a copy, or give another file.")
    service.log_branches()
    return service


def _register(
    service: LocalService,
    functions: Sequence[str],
    plain: Sequence[str],
    aliases: Sequence[str],
    options: dict[str, Any],
) -> None:
    """Load all functions and register them, or none."""
    try:
        found = [_binding(entry, durable=True) for entry in functions]
        found += [_binding(entry, durable=False) for entry in plain]
        called = Counter(binding.called for binding in found)
        twice = sorted(name for name, count in called.items() if count > 1)
        if twice:
            raise typer.BadParameter(
                f"two handlers would be called {', '.join(twice)}: tell them apart as NAME=MODULE:HANDLER."
            )
        newest = sorted((b for b in found if b.version is not None), key=lambda b: int(b.version or 0))
        latest = {binding.name: replace(binding, version=None) for binding in newest}
        found += [binding for binding in latest.values() if binding.called not in called]
        for binding in found:
            own = options if binding.durable else {**options, "execution_timeout": None}
            service.register(binding.name, binding.handler, durable=binding.durable, version=binding.version, **own)
        for entry in aliases:
            _alias(service, entry)
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None


def _alias(service: LocalService, entry: str) -> None:
    """Read `NAME:ALIAS=VERSION`, and let the alias stand for the version."""
    match = re.fullmatch(r"([^:=]+):([^:=]+)=([0-9]+)", entry)
    if match is None:
        raise typer.BadParameter(f"{entry!r} is not NAME:ALIAS=VERSION, as in order:live=2.", param_hint="--alias")
    try:
        service.functions.alias(*match.groups())
    except Fault as fault:
        raise typer.BadParameter(fault.message, param_hint="--alias") from None


def _why(problem: BaseException) -> str:
    """Tell why handlers could not be loaded anew."""
    if isinstance(problem, CommandError):
        return "The traceback is above."
    return problem.message if isinstance(problem, typer.BadParameter) else traceback_text(problem)


def _run(server: LocalServer, console: Console, database: Path | None) -> tuple[int, bool]:
    """Serve until a signal, then wait for what runs or for another; return the status, and whether all has ended."""
    try:
        with suppress(KeyboardInterrupt):
            server.start()
            _greet(console, server, database)
            server.wait()
        workers = server.service.workers
        if workers is not None and workers.busy:
            console.print(f"Waiting up to {_GRACE:g} seconds for what runs; Ctrl-C again stops at once.")
        return 0, server.stop(_GRACE)
    except KeyboardInterrupt:
        return INTERRUPTED, False


def _binding(entry: str, *, durable: bool) -> _Binding:
    """Read `NAME=MODULE:HANDLER`, `MODULE:HANDLER` or `NAME=URL`, where a name may have a version."""
    name, separator, reference = entry.partition("=")
    if not separator:
        name, reference = function_name(entry), entry
    name, qualified, version = name.partition(":")
    if qualified and not version.isdecimal():
        raise typer.BadParameter(
            f"{entry!r}: {version!r} is no version, which is a number, as in order:2=order:handler."
        )
    if reference.startswith(("http://", "https://")):
        if not separator:
            raise typer.BadParameter(f"{entry!r} needs a name: NAME={entry}.")
        handler: Callable[[Any, Any], Any] = RemoteFunction(reference)
    else:
        handler = load(reference)
    return _Binding(name, version or None, handler, durable)


def _greet(console: Console, server: LocalServer, database: Path | None) -> None:
    service, url = server.service, server.url
    kept = "in memory" if database is None else f"in {database}"
    running = len(service.handles)
    going_on = f", {running} of them running" if running else ""
    console.print(Text.assemble(("perdure", "bold"), f" serves {url}, executions {clean(kept)}{going_on}"))
    for function in service.functions.values():
        qualifiers = ", ".join(service.functions.qualifiers(function.name))
        versions = f" (versions: {qualifiers})" if qualifiers else ""
        console.print(f"  {'durable' if function.durable else 'plain  '} {function.name}{versions}")
    first = next((function.name for function in service.functions.values()), None)
    if service.clock.virtual:
        console.print(
            "\nTime is skipped: waits and pauses between attempts pass at once, and dates run ahead. "
            "Callbacks, and timeouts while one is open, keep their real time."
        )
    if first is None:
        _warn(
            console,
            "no function is served, so nothing can be invoked. Give one as MODULE:HANDLER, "
            "such as app:handler for the handler in app.py, or as NAME=URL.",
        )
    else:
        console.print(
            f"\n  export AWS_ENDPOINT_URL_LAMBDA={url} AWS_DEFAULT_REGION=us-east-1 "
            "AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any\n"
            f"  aws lambda invoke --function-name {first} out.json\n"
            f"  perdure invoke {first}"
        )
    if not server.of_this_machine:
        _warn(console, f"{server.host} can be reached from elsewhere, and nothing here asks who calls.")
    console.print("\nCtrl-C stops it; what runs goes on with the next start." if database else "\nCtrl-C stops it.")
