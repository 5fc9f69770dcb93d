"""Looking at an execution until it ends."""

from __future__ import annotations

from contextlib import nullcontext
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from perdure.cli.codes import BLOCKED, USAGE, CommandError
from perdure.cli.drawing.text import plural
from perdure.cli.faults import throttled
from perdure.history.reading import History
from perdure.history.tree import build, has_ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from perdure.cli.command_context import CommandContext
    from perdure.history.tree import Run

    Draw = Callable[[Run, int], RenderableType]

_PATIENCE, _SLOWEST = 5, 30.0
_INTERVAL = 1.0


class Watch:
    """One execution, looked at again and again.

    Args:
        ctx: Where the command works.
        arn: The execution.
        data: Read payloads, too.

    """

    def __init__(self, ctx: CommandContext, arn: str, *, data: bool = True) -> None:
        self._desk = ctx
        self._arn = arn
        self._history = History(ctx.client, arn, data=data)
        self._data = data

    def look(self, *, silent: bool = False) -> Run:
        """Read the execution as it is now; silently where something is drawn already, which a word would tear."""
        # The status comes first: of an execution that has ended by then, the history is complete.
        described = describe(self._desk.client, self._arn, data=self._data)
        if silent:
            self._history.refresh()
        else:
            with self._desk.progress("Reading the history…") as progress:
                self._history.refresh(lambda count: progress.update(f"Reading the history: {plural(count, 'event')}"))
        return build(described, self._history.events)

    def follow(self, draw: Draw, interval: float, timeout: float | None) -> Run:
        """Look until the execution ends, and show it meanwhile on a terminal."""
        with self._desk.awaiting(self._arn):
            run = self.look()
            return run if run.ended else self._follow(run, draw, interval, timeout)

    def _follow(self, run: Run, draw: Draw, interval: float, timeout: float | None) -> Run:
        ctx = self._desk
        shown = ctx.out.is_terminal and not ctx.as_json
        live = Live(console=ctx.out, auto_refresh=False, transient=True) if shown else None

        def step() -> bool:
            nonlocal run
            run = self.look(silent=live is not None)
            if live is not None:
                live.update(fitting(draw, run, ctx.out), refresh=True)
            return run.ended

        with live or nullcontext():
            if live is not None:
                live.update(fitting(draw, run, ctx.out), refresh=True)
            try:
                poll(step, interval, timeout, self._arn, ctx)
            except BaseException:
                if live is not None:
                    live.transient = False  # what was seen last stays
                raise
        return run


def fitting(draw: Draw, run: Run, console: Console) -> RenderableType:
    """Draw with as many operations as there is room for on a terminal, whose last line is the cursor's."""
    room = max(1, console.height - 1)

    def fits(drawing: RenderableType) -> bool:
        return len(console.render_lines(drawing, pad=False)) <= room

    most = min(len(run.nodes), room)
    drawing = draw(run, most)
    if fits(drawing):
        return drawing
    least, drawing = 0, draw(run, 0)
    while most - least > 1:
        middle = (least + most) // 2
        larger = draw(run, middle)
        if fits(larger):
            least, drawing = middle, larger
        else:
            most = middle
    return drawing if least or fits(drawing) else _Begin(drawing, room)


class _Begin:
    """The first lines of a drawing that no terminal so small can hold."""

    def __init__(self, drawing: RenderableType, room: int) -> None:
        self._drawing = drawing
        self._room = room

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._drawing, options, pad=False)
        for line in lines[: self._room - 1]:
            yield from line
            yield Segment.line()
        yield Text("…", style="dim")


def looking(switch: str, interval: float | None, timeout: float | None, *, wanted: bool) -> tuple[float, float | None]:
    """Return how often to look, and how long; refuse to be told so where nothing is looked at again."""
    for option, value in (("--timeout", timeout), ("--interval", interval)):
        if value is not None and not wanted:
            raise CommandError(f"{option} goes with {switch} only.", USAGE, "Usage", f"Add {switch}, or leave it away.")
    return _INTERVAL if interval is None else interval, timeout


def describe(client: Any, arn: str, *, data: bool = True) -> dict[str, Any]:
    """Ask what an execution is, and how it stands."""
    described: dict[str, Any] = client.get_durable_execution(DurableExecutionArn=arn, IncludeExecutionData=data)
    return described


def wait_for_end(ctx: CommandContext, client: Any, arn: str, interval: float, timeout: float | None) -> dict[str, Any]:
    """Wait until an execution ends, and return what it is then."""
    described = describe(client, arn)
    if has_ended(described):
        return described
    with ctx.progress(f"Waiting for {described['DurableExecutionName']}…"):

        def step() -> bool:
            nonlocal described
            described = describe(client, arn)
            return has_ended(described)

        poll(step, interval, timeout, arn, ctx)
    return described


def poll(step: Callable[[], bool], interval: float, timeout: float | None, arn: str, ctx: CommandContext) -> None:
    """Call `step` again and again until it says that there is an end; slower while the service throttles."""
    deadline = None if timeout is None else monotonic() + timeout
    pause, refusals = interval, 0
    while True:
        if deadline is not None and monotonic() + pause > deadline:
            message = f"The execution has not ended within {timeout:g} s; it runs on: {arn}"
            raise CommandError(message, BLOCKED, "Timeout", f"{ctx.back(arn)} goes on waiting.", arn)
        sleep(pause)
        try:
            if step():
                return
            pause, refusals = interval, 0
        except Exception as problem:
            refusals += 1
            if not throttled(problem) or refusals > _PATIENCE:
                raise
            pause = min(_SLOWEST, pause * 2)
