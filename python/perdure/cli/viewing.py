"""`perdure list`, `show`, `history` and `timeline`: what there is, and what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from perdure.cli import document
from perdure.cli.app import app
from perdure.cli.arguments import read_moment, resolve
from perdure.cli.codes import FAILED, OK, USAGE, CommandError
from perdure.cli.command_context import CommandContext, command
from perdure.cli.drawing.chart import chart
from perdure.cli.drawing.listing import listing
from perdure.cli.drawing.log import Log
from perdure.cli.drawing.text import plural
from perdure.cli.drawing.tree import tree
from perdure.cli.follow import Watch, looking
from perdure.cli.pictures import PRINTED, HtmlFile, SvgFile
from perdure.cli.pictures import draw as draw_files
from perdure.cli.price_options import PriceOperations, PriceRetained, PriceWritten, finite, prices_of
from perdure.history.reading import pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from perdure.history.reading import Event
    from perdure.history.tree import Run

STATUSES = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "PAUSING", "PAUSED", "DELETING")
_PAGE = 1000
LOOK = "Look at executions, on AWS or a local service"

Execution = Annotated[str, typer.Argument(metavar="EXECUTION", help="The ARN of an execution, or FUNCTION/NAME.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Look again until the execution ends.")]
Interval = Annotated[
    float | None,
    typer.Option(min=0.05, max=86_400, metavar="SECONDS", callback=finite, help="Between two looks.", show_default="1"),
]
Timeout = Annotated[
    float | None,
    typer.Option(min=0, metavar="SECONDS", callback=finite, help="Give up after so long; exit 3."),
]
NoFold = Annotated[bool, typer.Option("--no-fold", help="Draw idle stretches at their full length.")]


@command(app, "list", panel=LOOK)
def list_executions(
    ctx: CommandContext,
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="A function's name or ARN.")],
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help=f"Only of this status, of {', '.join(STATUSES)}; may be given again."),
    ] = None,
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
    found, more = _listed(ctx.client, asked, limit)
    if ctx.as_json:
        ctx.emit({"executions": [document.summary(one) for one in found], "more": more})
        return
    if not found:
        ctx.note(f"{function} has no such executions." if len(asked) > 1 else f"{function} has no executions.")
        return
    for row in listing(found, ctx.room, ctx.out.encoding):
        ctx.out.print(row, soft_wrap=True)
    if more:
        ctx.note(f"There are more; --limit {limit * 10} shows them.")


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


@command(app, panel=LOOK)
def show(
    ctx: CommandContext,
    execution: Execution,
    follow: Follow = False,
    interval: Interval = None,
    timeout: Timeout = None,
    no_data: Annotated[bool, typer.Option("--no-data", help="Read no payloads: fast, and without sizes.")] = False,
    price_operations: PriceOperations = None,
    price_written: PriceWritten = None,
    price_retained: PriceRetained = None,
) -> None:
    """Show an execution: its operations as a tree, its budget, its outcome. With --follow, exit 1 if it failed."""
    prices = prices_of(price_operations, price_written, price_retained)
    every, at_most = looking("--follow", interval, timeout, wanted=follow)
    watch = Watch(ctx, resolve(ctx.client, execution), data=not no_data)

    def draw(run: Run, most: int) -> Any:
        return Group(*tree(run, most=most, data=not no_data, prices=prices))

    run = watch.follow(draw, every, at_most) if follow else watch.look()
    if ctx.as_json:
        ctx.emit(document.show(run, data=not no_data, prices=prices))
    else:
        for part in tree(run, data=not no_data, prices=prices):
            ctx.out.print(part, soft_wrap=True)  # an id stays in one piece
    _end(run, follow=follow)


@command(app, panel=LOOK)
def timeline(
    ctx: CommandContext,
    execution: Execution,
    svg_file: SvgFile = None,
    html_file: HtmlFile = None,
    no_fold: NoFold = False,
    follow: Follow = False,
    interval: Interval = None,
    timeout: Timeout = None,
) -> None:
    """Draw an execution over time: on the terminal, or as a picture. With --follow, exit 1 if it failed."""
    fold = not no_fold
    every, at_most = looking("--follow", interval, timeout, wanted=follow)
    _check_printed(ctx, {"--svg": svg_file, "--html": html_file})
    watch = Watch(ctx, resolve(ctx.client, execution))

    def draw(run: Run, most: int) -> Any:
        return chart(run, ctx.out.width, fold=fold, most=most, encoding=ctx.out.encoding)

    run = watch.follow(draw, every, at_most) if follow else watch.look()
    for file in draw_files(run, svg_file, html_file, fold=fold):
        ctx.note(f"Wrote {file}.")
    if ctx.as_json:
        ctx.emit(document.timeline(run, fold=fold))
    elif svg_file is None and html_file is None:
        ctx.out.print(chart(run, ctx.out.width, fold=fold, encoding=ctx.out.encoding))
    _end(run, follow=follow)


@command(app, panel=LOOK)
def history(
    ctx: CommandContext,
    execution: Execution,
    data: Annotated[bool, typer.Option("--data", help="With payloads, errors and reasons.")] = False,
    reverse: Annotated[bool, typer.Option("--reverse", help="The newest first.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="The most events to show.")] = None,
) -> None:
    """Print what happened to an execution, event by event."""
    arn = resolve(ctx.client, execution)
    read = _read(ctx, arn, data=data, reverse=reverse, limit=limit)
    if ctx.as_json:
        events = [event for page in read for event in page]
        more = limit is not None and len(events) > limit
        ctx.emit({"arn": arn, "events": events[:limit], "more": more})
        return
    log, count = Log(ctx.out, data=data, room=ctx.room), 0
    for page in read:
        shown = page if limit is None else page[: limit - count]
        if shown:
            ctx.out.print(Text("\n").join(log.lines(shown)), soft_wrap=True)
        count += len(page)
    if limit is not None and count > limit:
        ctx.note(f"There are more; --limit {limit * 10} shows them.")


def _read(ctx: CommandContext, arn: str, *, data: bool, reverse: bool, limit: int | None) -> Iterator[list[Event]]:
    """Give the events page by page: those of a limit, and one more if there is one."""
    size = _PAGE if limit is None else min(_PAGE, limit + 1)
    found, count = pages(ctx.client, arn, data=data, reverse=reverse, size=size), 0
    while limit is None or count <= limit:
        with ctx.progress("Reading the history…" if not count else f"Reading after {plural(count, 'event')}…"):
            page = next(found, None)
        if page is None:
            return
        yield page if limit is None else page[: limit + 1 - count]
        count += len(page)


def _check_printed(ctx: CommandContext, files: dict[str, Path | None]) -> None:
    """Refuse to print two documents one after the other."""
    first, *others = [*(f"{option} -" for option, file in files.items() if str(file) == PRINTED), ""]
    if ctx.as_json:
        others = ["--json"]
    if first and others[0]:
        message = f"{first} and {others[0]} cannot both be printed."
        raise CommandError(message, USAGE, "Usage", f"Give {first.removesuffix(' -')} a file.")


def _end(run: Run, *, follow: bool) -> None:
    """Exit as the execution that was followed did; to look at a failed one is no failure."""
    raise typer.Exit(FAILED if follow and run.ended and run.status != "SUCCEEDED" else OK)
