"""`perdure list`, `show`, `history` and `timeline`: what there is, and what happened."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from perdure.commands import document
from perdure.commands.arguments import read_moment, resolve
from perdure.commands.chart import chart
from perdure.commands.codes import FAILED, OK, USAGE, CommandError
from perdure.commands.desk import Desk, command
from perdure.commands.events import pages
from perdure.commands.follow import Watch
from perdure.commands.model import split
from perdure.commands.picture import html, svg
from perdure.commands.text import clean, clock, duration, iso, line, plural, style_of
from perdure.commands.tree import tree
from perdure.local.command import app
from perdure.local.price_options import (
    PriceOperations,
    PriceRetained,
    PriceWritten,
    prices_of,
)

if TYPE_CHECKING:
    from perdure.commands.model import Run

STATUSES = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "PAUSING", "PAUSED", "DELETING")
_PAGE = 1000

Execution = Annotated[str, typer.Argument(metavar="EXECUTION", help="The ARN of an execution, or FUNCTION/NAME.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Look again until the execution ends.")]
Interval = Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")]
Timeout = Annotated[float | None, typer.Option(min=0, help="Give up after so many seconds; exit 3.")]
NoFold = Annotated[bool, typer.Option("--no-fold", help="Draw idle stretches at their full length.")]


@command(app, "list")
def list_executions(
    desk: Desk,
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="A function's name or ARN.")],
    status: Annotated[list[str] | None, typer.Option(help="Only of this status; may be given again.")] = None,
    name: Annotated[str | None, typer.Option(help="Only of this name.")] = None,
    after: Annotated[str | None, typer.Option(metavar="WHEN", help="Started after: ISO 8601, or 2h, 7d ago.")] = None,
    before: Annotated[str | None, typer.Option(metavar="WHEN", help="Started before.")] = None,
    qualifier: Annotated[str | None, typer.Option(help="Only of this version.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most executions to show.")] = 100,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Else the newest are first.")] = False,
) -> None:
    """List the executions of a function."""
    statuses = [one.upper().replace("-", "_") for one in status or ()]
    if unknown := [one for one in statuses if one not in STATUSES]:
        raise CommandError(f"--status: {unknown[0]!r} is none of {', '.join(STATUSES)}.", USAGE, "Usage")
    asked: dict[str, Any] = {
        "FunctionName": function,
        "Qualifier": qualifier,
        "DurableExecutionName": name,
        "Statuses": statuses or None,
        "StartedAfter": None if after is None else read_moment(after, "--after"),
        "StartedBefore": None if before is None else read_moment(before, "--before"),
        "ReverseOrder": oldest_first or None,
    }
    asked = {key: value for key, value in asked.items() if value is not None}
    found, more = _listed(desk.client, asked, limit)
    if desk.as_json:
        desk.emit({"executions": [document.summary(one) for one in found], "more": more})
        return
    if not found:
        desk.note(f"{function} has no such executions." if len(asked) > 1 else f"{function} has no executions.")
        return
    desk.out.print(_list_table(found))
    if more:
        desk.note(f"There are more; --limit {limit * 10} shows them.")


def _listed(client: Any, asked: dict[str, Any], limit: int) -> tuple[list[dict[str, Any]], bool]:
    found: list[dict[str, Any]] = []
    marker: str | None = None
    while True:
        paging: dict[str, Any] = {"MaxItems": min(_PAGE, limit - len(found))}
        if marker:
            paging["Marker"] = marker
        page = client.list_durable_executions_by_function(**asked, **paging)
        found += page.get("DurableExecutions") or ()
        marker = page.get("NextMarker")
        if not marker or len(found) >= limit:
            return found[:limit], bool(marker) or len(found) > limit


def _list_table(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("execution", overflow="fold")
    for heading in ("version", "status", "started", "time"):
        table.add_column(heading, no_wrap=True)
    for one in found:
        end = one.get("EndTimestamp")
        function, _, version = one["FunctionArn"].partition(":function:")[2].partition(":")
        table.add_row(
            Text(clean(f"{function}/{one['DurableExecutionName']}")),
            Text(clean(version), style="dim"),
            Text(clean(one["Status"]), style=style_of(one["Status"])),
            clock(one["StartTimestamp"]),
            "" if end is None else duration(end - one["StartTimestamp"]),
        )
    return table


@command(app)
def show(
    desk: Desk,
    execution: Execution,
    follow: Follow = False,
    interval: Interval = 1.0,
    timeout: Timeout = None,
    no_data: Annotated[bool, typer.Option("--no-data", help="Read no payloads: fast, and without sizes.")] = False,
    price_operations: PriceOperations = None,
    price_written: PriceWritten = None,
    price_retained: PriceRetained = None,
) -> None:
    """Show an execution: its operations as a tree, its budget, its outcome. With --follow, exit 1 if it failed."""
    prices = prices_of(price_operations, price_written, price_retained)
    watch = Watch(desk, resolve(desk.client, execution), data=not no_data)

    def draw(run: Run, most: int) -> Any:
        return Group(*tree(run, most=most, data=not no_data, prices=prices))

    run = watch.follow(draw, interval, timeout) if follow else watch.look()
    if desk.as_json:
        desk.emit(document.show(run, data=not no_data, prices=prices))
    else:
        for part in tree(run, data=not no_data, prices=prices):
            desk.out.print(part, soft_wrap=True)  # an id stays in one piece
    _end(run, follow=follow)


@command(app)
def timeline(
    desk: Desk,
    execution: Execution,
    svg_file: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Draw it into a file; - prints.")
    ] = None,
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="The same as a web page.")] = None,
    no_fold: NoFold = False,
    follow: Follow = False,
    interval: Interval = 1.0,
    timeout: Timeout = None,
) -> None:
    """Draw an execution over time: on the terminal, or as a picture. With --follow, exit 1 if it failed."""
    fold = not no_fold
    watch = Watch(desk, resolve(desk.client, execution))

    def draw(run: Run, most: int) -> Any:
        return chart(run, desk.out.width, fold=fold, most=most)

    run = watch.follow(draw, interval, timeout) if follow else watch.look()
    if svg_file is not None:
        _write(desk, svg_file, svg(run, fold=fold))
    if html_file is not None:
        _write(desk, html_file, html(run, fold=fold))
    if desk.as_json:
        desk.emit(document.timeline(run, fold=fold))
    elif svg_file is None and html_file is None:
        desk.out.print(chart(run, desk.out.width, fold=fold))
    _end(run, follow=follow)


@command(app)
def history(
    desk: Desk,
    execution: Execution,
    data: Annotated[bool, typer.Option("--data", help="With payloads, errors and reasons.")] = False,
    reverse: Annotated[bool, typer.Option("--reverse", help="The newest first.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="The most events to show.")] = None,
) -> None:
    """Print what happened to an execution, event by event."""
    arn = resolve(desk.client, execution)
    events: list[dict[str, Any]] = []
    size = _PAGE if limit is None else min(_PAGE, limit)
    with desk.progress("Reading the history…") as progress:
        for page in pages(desk.client, arn, data=data, reverse=reverse, size=size):
            events += page
            progress.update(f"Reading the history: {plural(len(events), 'event')}")
            if limit is not None and len(events) >= limit:
                del events[limit:]
                break
    if desk.as_json:
        desk.emit({"arn": arn, "events": events})
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("#", justify="right", no_wrap=True)
    for heading in ("when", "event", "operation"):
        table.add_column(heading, no_wrap=heading != "operation", overflow="fold")
    table.add_column("", overflow="fold", ratio=1)
    for event in events:
        table.add_row(
            str(event["EventId"]),
            (iso(event["EventTimestamp"]) or "").replace("T", " "),
            Text(clean(event["EventType"]), style=_event_style(event["EventType"])),
            Text(clean(event.get("Name") or event.get("Id", "")[:8])),
            Text(_facts(event, data=data), style="dim"),
        )
    desk.out.print(table)


def _event_style(event_type: str) -> str:
    return {"Succeeded": "green", "Failed": "red", "TimedOut": "red", "Stopped": "red"}.get(split(event_type)[1], "")


def _facts(event: dict[str, Any], *, data: bool) -> str:
    """Write the details of an event: `Duration=5 ScheduledEndTimestamp=…`."""
    facts = []
    for member, value in (event.get(f"{event['EventType']}Details") or {}).items():
        shown: Any = value
        if isinstance(value, dict):
            if member != "RetryDetails":
                if not data or "Payload" not in value:
                    continue
                cut = " (truncated)" if value.get("Truncated") else ""
                payload = value["Payload"]
                shown = f"{payload if isinstance(payload, str) else json.dumps(payload)}{cut}"
            else:
                shown = " ".join(f"{key}={number}" for key, number in value.items())
                facts.append(shown)
                continue
        elif hasattr(value, "isoformat"):
            shown = iso(value)
        facts.append(f"{member}={shown}")
    text = " ".join(facts)
    return clean(" ".join(text.split())) if data else line(text, 200)


def _write(desk: Desk, target: Path, content: str) -> None:
    if str(target) == "-":
        typer.echo(content, nl=False)
        return
    try:
        target.write_text(content, encoding="utf-8")
    except OSError as problem:
        raise CommandError(f"{target} cannot be written: {problem}", USAGE, "Usage") from None
    desk.note(f"Wrote {target}.")


def _end(run: Run, *, follow: bool) -> None:
    """Exit as the execution that was followed did; to look at a failed one is no failure."""
    raise typer.Exit(FAILED if follow and run.ended and run.status != "SUCCEEDED" else OK)
