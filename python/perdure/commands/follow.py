"""Looking at an execution until it ends."""

from __future__ import annotations

from contextlib import nullcontext
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from rich.live import Live

from perdure.commands.codes import BLOCKED, CommandError
from perdure.commands.events import History
from perdure.commands.faults import throttled
from perdure.commands.model import build, has_ended
from perdure.commands.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from perdure.commands.desk import Desk
    from perdure.commands.model import Run

    Draw = Callable[[Run, int], RenderableType]

_PATIENCE, _SLOWEST = 5, 30.0
_FRAME = 12  # lines of a drawing that are no operations


class Watch:
    """One execution, looked at again and again.

    Args:
        desk: Where the command works.
        arn: The execution.
        data: Read payloads, too.

    """

    def __init__(self, desk: Desk, arn: str, *, data: bool = True) -> None:
        self._desk = desk
        self._arn = arn
        self._history = History(desk.client, arn, data=data)
        self._data = data

    def look(self) -> Run:
        """Read the execution as it is now."""
        # The status comes first: of an execution that has ended by then, the history is complete.
        described = describe(self._desk.client, self._arn, data=self._data)
        with self._desk.progress("Reading the history…") as progress:
            self._history.refresh(lambda count: progress.update(f"Reading the history: {plural(count, 'event')}"))
        return build(described, self._history.events)

    def follow(self, draw: Draw, interval: float, timeout: float | None) -> Run:
        """Look until the execution ends, and show it meanwhile on a terminal."""
        desk = self._desk
        run = self.look()
        if run.ended:
            return run
        shown = desk.out.is_terminal and not desk.as_json
        live = Live(console=desk.out, auto_refresh=False, transient=True) if shown else None
        with live or nullcontext():

            def step() -> bool:
                nonlocal run
                run = self.look()
                if live is not None:
                    live.update(draw(run, max(1, desk.out.height - _FRAME)), refresh=True)
                return run.ended

            if live is not None:
                live.update(draw(run, max(1, desk.out.height - _FRAME)), refresh=True)
            poll(step, interval, timeout, self._arn)
        return run


def describe(client: Any, arn: str, *, data: bool = True) -> dict[str, Any]:
    """Ask what an execution is, and how it stands."""
    described: dict[str, Any] = client.get_durable_execution(DurableExecutionArn=arn, IncludeExecutionData=data)
    return described


def wait_for_end(desk: Desk, client: Any, arn: str, interval: float, timeout: float | None) -> dict[str, Any]:
    """Wait until an execution ends, and return what it is then."""
    described = describe(client, arn)
    if has_ended(described):
        return described
    with desk.progress(f"Waiting for {described['DurableExecutionName']}…"):

        def step() -> bool:
            nonlocal described
            described = describe(client, arn)
            return has_ended(described)

        poll(step, interval, timeout, arn)
    return described


def poll(step: Callable[[], bool], interval: float, timeout: float | None, arn: str) -> None:
    """Call `step` again and again until it says that there is an end; slower while the service throttles."""
    deadline = None if timeout is None else monotonic() + timeout
    pause, refusals = interval, 0
    while True:
        if deadline is not None and monotonic() + pause > deadline:
            message = f"The execution has not ended within {timeout:g} s; it runs on: {arn}"
            raise CommandError(message, BLOCKED, "Timeout", "`perdure show --follow` goes on waiting.")
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
