"""`perdure explore`: the explorer on the command line."""

from __future__ import annotations

import logging
import shlex
import sys
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perdure.cli.app import HERE, AsJson, DurableFunctions, MeantEvent, MeantHandler, PlainFunctions, app
from perdure.cli.arguments import loads
from perdure.cli.codes import BLOCKED, FAILED
from perdure.cli.codes import OK as SUCCEEDED
from perdure.cli.loading import load, look_here_first, named_entries
from perdure.cli.project import meant
from perdure.cli.usage import Command, print_document, reserve_stdout
from perdure.cli.writer import Writer, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perdure.testing.explorer import Report

    Handler = Callable[[Any, Any], Any]

_SHOWN = 3
"""How many exceptions of threads are shown."""


@app.command(cls=Command, rich_help_panel=HERE)
def explore(
    context: typer.Context,
    handler: MeantHandler = None,
    event: MeantEvent = None,
    schedule: Annotated[
        str | None, typer.Option(metavar="SCHEDULE", help="Run this schedule only, such as crash-after:3.")
    ] = None,
    function: DurableFunctions = None,
    plain: PlainFunctions = None,
    mock: Annotated[
        list[str] | None, typer.Option(metavar="NAME=JSON", help="What a function returns that it invokes.")
    ] = None,
    answer: Annotated[
        list[str] | None, typer.Option(metavar="NAME=JSON", help="What a callback is answered with.")
    ] = None,
    orders: Annotated[int, typer.Option(min=0, help="How many orders of branches to try.")] = 20,
    time_limit: Annotated[float, typer.Option(min=0, help="Seconds after which no further run begins.")] = 60.0,
    trial_limit: Annotated[float, typer.Option(min=0.1, help="Seconds after which a run counts as stuck.")] = 30.0,
    max_schedules: Annotated[int, typer.Option(min=1, help="How many runs there are at most.")] = 2_000,
    as_json: AsJson = False,
) -> None:
    """Run a handler with everything going wrong that may, one thing at a time; report what makes a difference.

    What the handler prints and logs is shown with --schedule only.
    """
    from perdure.testing.explorer import Schedule  # noqa: PLC0415 - imported when it is used
    from perdure.testing.explorer import explore as search  # noqa: PLC0415 - the same
    from perdure.testing.exploring.progress import bar  # noqa: PLC0415 - the same

    look_here_first()
    if as_json:
        reserve_stdout(context)
    chosen = meant(handler, event)
    target = load(chosen.handler)
    try:
        only = None if schedule is None else Schedule.parse(schedule)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--schedule") from None
    around: dict[str, Any] = {
        "functions": {name: load(given) for name, given in named_entries(plain, "--plain", "NAME=MODULE:FUNCTION")},
        "durable_functions": {
            name: load(given) for name, given in named_entries(function, "--function", "NAME=MODULE:HANDLER")
        },
        "mocks": {name: _json(given, "--mock") for name, given in named_entries(mock, "--mock", "NAME=JSON")},
        "answers": {
            name: _checked(given, "--answer") for name, given in named_entries(answer, "--answer", "NAME=JSON")
        },
    }
    console = Writer(stderr=True)
    raised: Counter[str] = Counter()
    with ExitStack() as around_it:
        told = around_it.enter_context(bar(console)) if console.is_terminal and only is None else None
        if only is None:  # what hundreds of runs print and log would hide what was found
            around_it.enter_context(redirect_stdout(StringIO()))
            around_it.enter_context(_no_log())
            around_it.enter_context(_no_tracebacks(raised))
        report = search(
            target,
            input=chosen.payload,
            schedule=only,
            **around,
            orders=orders,
            time_limit=time_limit,
            trial_limit=trial_limit,
            max_schedules=max_schedules,
            on_progress=told,
        )
    recipe = _recipe(report)
    if as_json:
        print_document(context, _document(report, recipe, list(raised)))
    else:
        write("\n".join([report.text([recipe]), *_of_threads(raised)]))
    raise typer.Exit(FAILED if report.schedule is not None else BLOCKED if report.unfit else SUCCEEDED)


@contextmanager
def _no_log() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _no_tracebacks(raised: Counter[str]) -> Iterator[None]:
    """Count what threads of the handler's end with; the traceback of each would hide what was found, too."""

    def count(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            raised[" ".join(f"{args.exc_type.__name__}: {args.exc_value}".split())] += 1

    before, threading.excepthook = threading.excepthook, count
    try:
        yield
    finally:
        threading.excepthook = before


def _of_threads(raised: Counter[str]) -> list[str]:
    from perdure.testing.tree import shorten  # noqa: PLC0415 - imported when it is used

    if not raised:
        return []
    told = [f"  * {shorten(error)} ({times} time{'s'[: times > 1]})" for error, times in raised.most_common(_SHOWN)]
    return ["threads ended with exceptions that nobody caught (--schedule shows where):", *told]


def _json(text: str, option: str) -> Any:
    try:
        return loads(text)
    except ValueError as problem:
        raise typer.BadParameter(f"{text!r} is not JSON ({problem}).", param_hint=option) from None


def _checked(text: str, option: str) -> str:
    """Return JSON as it is given: so it is sent, as by `perdure callback succeed --result`."""
    _json(text, option)
    return text


def _recipe(report: Report) -> str:
    """Give the command line that runs the schedule that was found, and no other."""
    words, skip = ["perdure"], False
    for word in sys.argv[1:]:
        if skip or word == "--schedule":
            skip = not skip
        elif not word.startswith("--schedule=") and word != "--json":
            words.append(word)
    return shlex.join([*words, "--schedule", str(report.schedule or "undisturbed")])


def _document(report: Report, recipe: str, raised: list[str]) -> dict[str, Any]:
    expected, got = report.expected, report.got
    return {
        "ok": report.ok,
        "schedule": None if report.schedule is None else str(report.schedule),
        "differences": report.differences,
        "unfit": report.unfit,
        "tried": report.tried,
        "planned": report.planned,
        "complete": report.complete,
        "seconds": round(report.seconds, 3),
        "expected": {"status": expected.status, "result": expected.result, "error": expected.error},
        "got": None if got is None else {"status": got.status, "result": got.result, "error": got.error},
        "unanswered": expected.unanswered,
        "left_behind": report.left_behind,
        "raised_in_threads": raised,
        "recipe": recipe,
    }
