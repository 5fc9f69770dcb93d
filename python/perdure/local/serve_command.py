"""`perdure serve`: the local service on a port, its executions in a file. Needs the `local` extra."""

from __future__ import annotations

import ipaddress
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from perdure.local.clock import RealClock
from perdure.local.command import USAGE, _function_name, _load, app
from perdure.local.reload import Reloader
from perdure.local.runtime import RemoteFunction
from perdure.local.service import LocalService
from perdure.local.sqlite import SqliteStore, StoreError
from perdure.local.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DEFAULT_PORT = 9000


@app.command()
def serve(
    functions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]MODULE:HANDLER|NAME=URL…",
            help="The durable functions: a handler, or the URL of a Lambda Runtime Interface endpoint.",
        ),
    ] = None,
    plain: Annotated[
        list[str] | None, typer.Option(metavar="NAME=MODULE:FUNCTION|NAME=URL", help="A plain function, likewise.")
    ] = None,
    database: Annotated[
        Path, typer.Option("--db", metavar="FILE", help="Where executions are kept.", dir_okay=False)
    ] = Path("perdure.db"),
    in_memory: Annotated[bool, typer.Option("--memory", help="Keep executions in memory only.")] = False,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = DEFAULT_PORT,
    workers: Annotated[int, typer.Option(min=1, help="How many functions run at one time.")] = 64,
    execution_timeout: Annotated[
        int | None, typer.Option(min=1, max=31_622_400, metavar="SECONDS", help="Of every durable function.")
    ] = None,
    retention_days: Annotated[int | None, typer.Option(min=1, max=90, help="How long what has ended is kept.")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Load handlers again when their files change.")] = False,
) -> None:
    """Serve the durable execution API on this machine, for boto3, the AWS CLI and other commands of perdure."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        from perdure.local.http import LocalServer  # noqa: PLC0415 - slow to import, and needs the extra
    except ModuleNotFoundError as problem:
        console.print(f"perdure serve needs {problem.name}: pip install 'perdure\\[local]'")
        raise typer.Exit(USAGE) from None
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - sys.path wants a string
    try:
        store = MemoryStore() if in_memory else SqliteStore(database)
    except StoreError as problem:
        console.print(f"[red]Error:[/] {problem}")
        raise typer.Exit(USAGE) from None
    service = LocalService(store=store, clock=RealClock(), record=False)

    def register() -> None:
        found = [(True, *_binding(entry)) for entry in functions or ()]
        found += [(False, *_binding(entry)) for entry in plain or ()]
        names = [name for _, name, _ in found]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise typer.BadParameter(
                f"two handlers would be called {', '.join(twice)}: tell them apart as NAME=MODULE:HANDLER."
            )
        for durable, name, handler in found:
            service.register(
                name,
                handler,
                durable=durable,
                execution_timeout=execution_timeout if durable else None,
                retention_days=retention_days,
            )

    try:
        _register(register)
        server = LocalServer(service, host, port)
    except OSError as problem:
        service.close()
        console.print(f"[red]Error:[/] {host}:{port} cannot be listened on: {problem.strerror or problem}.")
        raise typer.Exit(USAGE) from None
    except BaseException:
        service.close()
        raise
    service.start_workers(workers)
    if reload:
        sys.dont_write_bytecode = True  # two edits in one second would otherwise look the same
        Reloader(Path.cwd(), register).start()
    _greet(console, service, server.url, None if in_memory else database)
    if not _is_loopback(host):
        console.print(f"[yellow]Warning:[/] {host} can be reached from elsewhere, and nothing here asks who calls.")
    server.run()
    service.close(grace=0)
    console.print("Stopped." if in_memory else f"Stopped. Everything is kept in {database}.")


def _register(register: Callable[[], None]) -> None:
    try:
        register()
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None


def _binding(entry: str) -> tuple[str, Callable[[Any, Any], Any]]:
    """Read `NAME=MODULE:HANDLER`, `MODULE:HANDLER` or `NAME=URL`."""
    name, separator, reference = entry.partition("=")
    if not separator:
        name, reference = _function_name(entry), entry
    if reference.startswith(("http://", "https://")):
        if not separator:
            raise typer.BadParameter(f"{entry!r} needs a name: NAME={entry}.")
        return name, RemoteFunction(reference)
    return name, _load(reference)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _greet(console: Console, service: LocalService, url: str, database: Path | None) -> None:
    kept = "in memory" if database is None else f"in {database}"
    running = len(service.handles)
    console.print(
        f"[bold]perdure[/] serves {url}, executions {kept}{f', {running} of them running' if running else ''}"
    )
    for function in service.functions.values():
        console.print(f"  {'durable' if function.durable else 'plain  '} {function.name}")
    first = next((function.name for function in service.functions.values()), "NAME")
    console.print(f"\n  aws lambda invoke --endpoint-url {url} --function-name {first} /dev/stdout")
    console.print("\nCtrl-C stops it; what runs goes on with the next start." if database else "\nCtrl-C stops it.")
