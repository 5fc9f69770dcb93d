"""`perdure bench`: how long a handler of the user's takes to replay a history of the user's."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from perdure.bench import FRESH_WORK, BenchError, Measurement, measure
from perdure.cli.app import HERE, AsJson, HandlerName, app
from perdure.cli.codes import FAILED, USAGE, CommandError
from perdure.cli.codes import OK as SUCCEEDED
from perdure.cli.drawing.text import clean, clean_lines
from perdure.cli.loading import load, look_here_first
from perdure.cli.usage import Command, prepare_stdout, print_document
from perdure.cli.writer import Writer

if TYPE_CHECKING:
    from rich.console import Console

_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
_NO_SHARE = 1e-12


@app.command(cls=Command, rich_help_panel=HERE)
def bench(
    context: typer.Context,
    handler: HandlerName,
    event: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="What `perdure history EXECUTION --json --data` prints, or Lambda sent to a durable invocation; "
            "- for standard input.",
        ),
    ],
    rounds: Annotated[int, typer.Option(min=1, help="How often to replay it.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Measure the replay of a recorded history: nothing is sent, and no step runs again."""
    look_here_first()
    prepare_stdout(context, as_json)
    target = load(handler)
    try:
        found = measure(target, sys.stdin.read() if str(event) == "-" else event.read_text(encoding="utf-8"), rounds)
    except (OSError, UnicodeDecodeError) as problem:
        raise typer.BadParameter(f"{event} cannot be read: {problem}", param_hint="--event") from None
    except BenchError as problem:
        what = "standard input" if str(event) == "-" else event
        raise CommandError(f"{what} cannot be replayed: {problem}", USAGE, "Bench") from None
    if as_json:
        print_document(context, found.to_dict())
    else:
        show(Writer(soft_wrap=True, highlight=False, emoji=False), found)
    raise typer.Exit(FAILED if found.outcome == "FAILED" else SUCCEEDED)


def show(console: Console, found: Measurement) -> None:
    """Print a measurement for people."""
    recorded = ", ".join(f"{count:,} {clean(kind)}" for kind, count in sorted(found.recorded.items()))
    head = (f"{found.operations:,} operations", "bold")
    console.print(Text.assemble(head, f" recorded{f': {recorded}' if recorded else ''}"))
    console.print(f"event {_size(found.event_bytes)}, payloads in it {_size(found.payload_bytes)}")
    console.print(_outcome(found))
    console.print()
    total = found.engine + found.decoding + found.your_code
    if found.kinds:
        console.print(_kinds(found, total))
        console.print()
    console.print(_split(found, total))
    replay, parse = found.replay, found.parse
    each = f", {_time(replay.median / found.operations)} an operation" if found.operations else ""
    console.print(
        f"\n[bold]Replay {_time(replay.median)}[/] (fastest {_time(replay.minimum)}){each}; "
        f"parsing the event {_time(parse.median)} before it. Medians of {len(replay.samples)} rounds."
    )
    if found.threads:
        console.print("Branches ran in threads: the times above overlap, and add up to more than the replay.")


def _outcome(found: Measurement) -> Text:
    """Tell what came of the replay; the details are the user's, and no markup."""
    detail = clean_lines(found.detail or "")
    match found.outcome:
        case "SUCCEEDED":
            return Text("The handler ran to its end on the record alone; no API calls.")
        case "PENDING":
            return Text("The handler ran until it waits for something, on the record alone; no API calls.")
        case outcome if outcome == FRESH_WORK:
            where = ("The replay was stopped where the record ends:", "yellow")
            return Text.assemble(where, f" {detail}. Nothing was sent.")
        case _:
            return Text.assemble(("The invocation failed:", "red"), f" {detail}")


def _kinds(found: Measurement, total: float) -> Table:
    table = Table("operation", box=None, header_style="bold", pad_edge=False)
    for heading in ("calls", "each", "together", "decoding", "payloads", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.columns[0].no_wrap = True
    for kind in found.kinds:
        table.add_row(
            kind.name,
            f"{kind.calls:,}",
            _time(kind.seconds / kind.calls),
            _time(kind.seconds),
            _time(kind.decoding) if kind.decoding else "",
            _size(kind.payload_bytes) if kind.payload_bytes else "",
            _share(kind.seconds, total),
        )
    return table


def _split(found: Measurement, total: float) -> Table:
    table = Table("where the time goes", box=None, header_style="bold", pad_edge=False)
    table.add_column("together", justify="right")
    table.add_column("share", justify="right")
    rows = (
        ("loading the history, answering", found.history),
        ("operations", found.engine - found.history),
        ("decoding payloads", found.decoding),
        ("your code", found.your_code),
    )
    for name, seconds in rows:
        table.add_row(name, _time(seconds), _share(seconds, total))
    return table


def _share(seconds: float, total: float) -> str:
    return f"{seconds / max(total, _NO_SHARE):.0%}"


def _time(seconds: float) -> str:
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def _size(count: int) -> str:
    for unit, size in (("MB", 1_000_000), ("KB", 1_000)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
