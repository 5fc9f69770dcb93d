"""What `perdure run` shows: operations as they happen, the time that passes, and how it ended.

On a terminal a tree is redrawn in place; elsewhere every change is a line of its own.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group
from rich.live import Live
from rich.text import Text

from perdure.cli.drawing.columns import Columns, Row
from perdure.cli.drawing.text import clean, clean_lines, iso, parsed, pretty, style_of, told, told_whole
from perdure.cli.drawing.tree import HEADINGS, below, branch
from perdure.local.durations import span
from perdure.local.machine.clock import to_millis
from perdure.local.traces import traceback_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from perdure.local.handle import ExecutionHandle, Invocation
    from perdure.local.machine.budget import Budget
    from perdure.local.machine.transitions import Operation

    Key = tuple[str, str]
    """An operation: the ARN of its execution, and its id."""
    Place = tuple[Key, tuple[bool, ...]]
    """An operation in the tree: and whether it, and each above it, is the last of its level."""

_HEADINGS = HEADINGS[:5]  # sizes are for those who look later
_FRAME = 4  # lines of a drawing that are no operations
_PER_SECOND = 8


def _milliseconds(operation: Operation) -> int | None:
    end = operation.get("EndTimestamp")
    return None if end is None else to_millis(end) - to_millis(operation["StartTimestamp"])


def _error_of(operation: Operation) -> dict[str, Any] | None:
    """Return the error an operation has failed with, or the last attempt of it, until the next one is due."""
    if operation["Status"] == "READY":
        return None
    details: dict[str, Any] = next((value for key, value in operation.items() if key.endswith("Details")), {})
    error: dict[str, Any] | None = details.get("Error")
    return error


def _kind(operation: Operation) -> str:
    subtype = operation.get("SubType")
    return str(subtype or operation["Type"].title())


class Display:
    """Watches a service, and draws."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self.interactive = console.is_terminal and not quiet
        self._live: Live | None = None
        self._rows: dict[Key, tuple[ExecutionHandle, Operation]] = {}
        self._clock: dict[Key, tuple[float, float]] = {}
        self._note = ""

    def __enter__(self) -> Self:
        if self.interactive:
            self._draw()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._live is not None:
            self._note = ""
            live, self._live = self._live, None
            live.stop()

    @contextmanager
    def paused(self) -> Iterator[Console]:
        """Stand still, so that the user can type."""
        if self._live is not None:
            self._live.stop()
        try:
            yield self._console
        finally:
            if self._live is not None:
                self._draw()

    def _draw(self) -> None:
        """Begin a drawing below whatever has been printed so far."""
        self._live = Live(get_renderable=self._tree, console=self._console, refresh_per_second=_PER_SECOND)
        self._live.start()

    # -- what the service tells ------------------------------------------------------------------------------------

    def operation(self, handle: ExecutionHandle, operation: Operation) -> None:
        """Take an operation that was started or has moved on."""
        if self._quiet or operation["Type"] == "EXECUTION":
            return
        key = (handle.arn, operation["Id"])
        now = time.monotonic()
        self._clock[key] = (self._clock.get(key, (now, now))[0], now)
        self._rows[key] = (handle, operation)
        if self._live is None:
            kind, status, attempts, duration = self._cells(key)
            detail = ", ".join(part for part in (f"attempt {attempts}" if attempts else "", duration) if part)
            line = f"{'  ' * self._depth(key)}{kind} {operation.get('Name') or '-'} {status}"
            why = told(_error_of(operation))
            self._say(f"{line}{f' ({detail})' if detail else ''}{f': {why}' if why else ''}")

    def invocation(self, handle: ExecutionHandle, invocation: Invocation) -> None:  # noqa: ARG002 - of the Observer
        """Take an invocation that began or ended."""
        if invocation.outcome == "RUNNING":
            self._note = f"invocation {invocation.number}"
        elif invocation.outcome in ("RAISED", "INVALID") and not isinstance(invocation.exception, KeyboardInterrupt):
            self._say(f"invocation {invocation.number} {invocation.outcome.lower()}: {invocation.exception!r}")

    def waiting(self, seconds: float, *, skipped: bool) -> None:
        """Take time that passes in which nothing happens."""
        if self._live is None:
            self._say(f"{'skipping' if skipped else 'waiting'} {span(seconds)}")
        else:
            self._note = f"{'skipped' if skipped else 'waiting'} {span(seconds)}"

    # -- drawing ---------------------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(clean_lines(line), highlight=False, markup=False)

    def _above(self, key: Key) -> Key | None:
        """Return what an operation is below: its context, or the invoke that its execution comes from."""
        handle, operation = self._rows[key]
        parent = operation.get("ParentId")
        return (handle.arn, parent) if parent is not None else handle.parent

    def _depth(self, key: Key) -> int:
        depth, above = 0, self._above(key)
        while above is not None:
            depth, above = depth + 1, self._above(above)
        return depth

    def _cells(self, key: Key) -> tuple[str, str, str, str]:
        """Give the kind of an operation, its status, its attempts and its time."""
        operation = self._rows[key][1]
        attempt = operation.get("StepDetails", {}).get("Attempt", 0)
        first, last = self._clock[key]
        seconds = max(last - first, (_milliseconds(operation) or 0) / 1000)
        ended = "EndTimestamp" in operation
        duration = span(seconds) if ended else ""
        if operation["Type"] == "WAIT":
            due = to_millis(operation["WaitDetails"]["ScheduledEndTimestamp"])
            duration = span((due - to_millis(operation["StartTimestamp"])) / 1000)
            if ended and last - first < seconds / 2:
                duration += ", skipped"
        retried = attempt > 1 or operation["Status"] in ("PENDING", "READY")
        return _kind(operation), operation["Status"], str(attempt) if retried else "", duration

    def _tree(self) -> Group:
        keys = self._walk()
        shown = keys if self._live is None else self._newest(keys, max(1, self._console.height - _FRAME))
        parts: list[RenderableType] = []
        if len(shown) < len(keys):
            parts.append(Text(f"… {len(keys) - len(shown):,} more operations", style="dim"))
        if shown:
            parts.append(Columns(_HEADINGS, [self._row(key, lasts) for key, lasts in shown]))
        return Group(*parts, *([Text(self._note, style="dim")] if self._note else ()))

    def _newest(self, keys: list[Place], most: int) -> list[Place]:
        """Leave out what has long ended, so that the rest fits in so many lines; an error may take one of its own."""
        wrong = sum(_error_of(self._rows[key][1]) is not None for key, _ in keys)
        if len(keys) + wrong <= most:
            return keys
        most = max(most - wrong, most // 2)
        ended = {key: "EndTimestamp" in self._rows[key][1] for key, _ in keys}
        kept = {key for key, _ in sorted(keys, key=lambda place: (ended[place[0]], -self._clock[place[0]][1]))[:most]}
        return [place for place in keys if place[0] in kept]

    def _row(self, key: Key, lasts: tuple[bool, ...]) -> Row:
        kind, status, attempts, duration = self._cells(key)
        operation = self._rows[key][1]
        cells = (Text(kind), Text(status, style=style_of(status)), Text(attempts), Text(duration))
        name = clean(operation.get("Name") or f"({operation['Id'][:8]})")
        return Row(branch(lasts), below(lasts), name, cells, told(_error_of(operation)))

    def _walk(self) -> list[Place]:
        """Return the rows as a tree: an operation, then what is below it, each level in the order it came."""
        under: dict[Key | None, list[Key]] = {}
        for key in list(self._rows):
            under.setdefault(self._above(key), []).append(key)
        places: list[Place] = []
        stack: list[Place] = []

        def push(level: list[Key], lasts: tuple[bool, ...]) -> None:
            stack.extend((key, (*lasts, key is level[-1])) for key in reversed(level))

        push(under.get(None, []), ())
        while stack:
            key, lasts = stack.pop()
            places.append((key, lasts))
            push(under.get(key, []), lasts)
        return places


def show_outcome(console: Console, handle: ExecutionHandle, budget: Budget, failed_branches: int = 0) -> None:
    """Show what it took, and the result, or the error and the traceback that leads to it."""
    style = "green" if handle.status == "SUCCEEDED" else "red"
    console.print(f"[bold {style}]{handle.status}[/] ({_calls(handle)})", highlight=False)
    if failed_branches:
        what = "1 branch" if failed_branches == 1 else f"{failed_branches:,} branches"
        console.print(f"{what} of map and parallel failed; the log says where.", highlight=False, style="yellow")
    console.print(f"Budget: {budget.use}\nPrice: {budget.cost}", highlight=False, style="dim")
    if handle.status == "SUCCEEDED":
        if handle.result:
            console.print(pretty(handle.result, console.encoding), markup=False)
        return
    error = handle.error or {}
    trace = _trace(handle) or "\n".join(error.get("StackTrace") or ())
    if trace:
        console.print(clean_lines(trace.rstrip()), markup=False, highlight=False)
    if error:
        console.print(told_whole(error), markup=False, highlight=False, style="bold")


def show_interrupted(console: Console, handle: ExecutionHandle) -> None:
    """Show how far an execution has come that was cut off with Ctrl-C."""
    console.print(
        f"[bold yellow]INTERRUPTED[/] ({_calls(handle)}): it was {handle.status}, and nothing of it is kept.",
        highlight=False,
    )


def _calls(handle: ExecutionHandle) -> str:
    counts = ((len(handle.invocations), "invocation"), (len(handle.operations), "operation"))
    return ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts)


def _trace(handle: ExecutionHandle) -> str:
    """Format the last exception of the user's code, without the frames of this package."""
    return traceback_text(handle.invocations[-1].failure) if handle.invocations else ""


def show_blocked(console: Console, handle: ExecutionHandle) -> None:
    """Show what the execution waits for, and how to give it that."""
    console.print("[bold yellow]BLOCKED[/]: only an answer from outside can move this execution on.", highlight=False)
    service = handle.service
    for other in list(service.handles.values()):
        for callback in other.open_callbacks if not other.terminal else ():
            name, key = clean(callback.get("Name") or "unnamed"), callback["CallbackDetails"]["CallbackId"]
            console.print(Text(f'callback "{name}": {key}'), soft_wrap=True)
    console.print(
        "Answer it where the handler hands the id out (from a thread, or a timer):\n"
        "    from perdure.local import current_service\n"
        "    current_service().client.send_durable_execution_callback_success(CallbackId=..., Result=b'...')\n"
        "or run this on a terminal, and type the answer.",
        markup=False,
        highlight=False,
    )


def as_document(
    handle: ExecutionHandle, budget: Budget, failed_branches: int = 0, *, interrupted: bool = False
) -> dict[str, Any]:
    """Return everything about an execution as one JSON document; one that cannot move on by itself is BLOCKED."""
    operations = [
        {
            "id": operation["Id"],
            "parentId": operation.get("ParentId"),
            "type": operation["Type"],
            "subType": operation.get("SubType"),
            "name": operation.get("Name"),
            "status": operation["Status"],
            "attempts": operation.get("StepDetails", {}).get("Attempt"),
            "startedAt": iso(operation["StartTimestamp"]),
            "endedAt": iso(operation.get("EndTimestamp")),
            "milliseconds": _milliseconds(operation),
            "error": _error_of(operation),
        }
        for operation in handle.operations
    ]
    return {
        "arn": handle.arn,
        "status": handle.status if handle.terminal or interrupted else "BLOCKED",
        "result": parsed(handle.result),
        "error": handle.error,
        "traceback": None if interrupted else _trace(handle) or None,
        "invocations": len(handle.invocations),
        "failedBranches": failed_branches,
        "budget": budget.to_dict(),
        "openCallbacks": [
            callback["CallbackDetails"]["CallbackId"]
            for other in list(handle.service.handles.values())
            if not other.terminal
            for callback in other.open_callbacks
        ],
        "operations": operations,
    }
