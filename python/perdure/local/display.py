"""What `perdure run` shows: operations as they happen, the time that passes, and how it ended.

On a terminal a tree is redrawn in place; elsewhere every change is a line of its own.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from perdure.local.clock import to_millis
from perdure.local.traces import traceback_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from perdure.local.budget import Budget
    from perdure.local.handle import ExecutionHandle, Invocation
    from perdure.local.transitions import Operation

_STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "STOPPED": "red",
    "CANCELLED": "yellow",
    "PENDING": "yellow",
    "READY": "cyan",
    "STARTED": "cyan",
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_ROWS = 200  # a tree in motion shows its newest rows; the final one shows all


def span(seconds: float) -> str:
    """Write a duration the way one says it."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < _MINUTE:
        return f"{seconds:.3g} s"
    parts = []
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1, "s")):
        count, seconds = divmod(round(seconds), size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def _milliseconds(operation: Operation) -> int | None:
    end = operation.get("EndTimestamp")
    return None if end is None else to_millis(end) - to_millis(operation["StartTimestamp"])


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
        self._rows: dict[tuple[str, str], tuple[ExecutionHandle, Operation]] = {}
        self._clock: dict[tuple[str, str], tuple[float, float]] = {}
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
        self._live = Live(get_renderable=self._tree, console=self._console, refresh_per_second=8)
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
            kind, name, status, attempt, duration = self._cells(key)
            detail = ", ".join(part for part in (attempt, duration) if part)
            line = f"{'  ' * self._depth(*self._rows[key])}{kind} {name} {status}"
            self._say(f"{line} ({detail})" if detail else line)

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
            self._console.print(line, highlight=False, markup=False)

    def _depth(self, handle: ExecutionHandle, operation: Operation) -> int:
        depth, parent = 0, operation.get("ParentId")
        while parent is not None:
            depth, parent = depth + 1, handle.machine.operations[parent].get("ParentId")
        while handle.parent is not None:
            caller, invoke = handle.parent
            handle = handle.service.execution(caller)
            depth += 1 + self._depth(handle, handle.machine.operations[invoke])
            break
        return depth

    def _cells(self, key: tuple[str, str]) -> tuple[str, str, str, str, str]:
        _, operation = self._rows[key]
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
        return (
            _kind(operation),
            str(operation.get("Name") or "-"),
            operation["Status"],
            f"attempt {attempt}" if retried else "",
            duration,
        )

    def _tree(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("operation", "name", "status", "attempt", "time"):
            table.add_column(column, overflow="fold" if column == "name" else "ellipsis")
        ordered = self._ordered()
        for key in ordered if self._live is None else ordered[-_ROWS:]:
            kind, name, status, attempt, duration = self._cells(key)
            indent = "  " * self._depth(*self._rows[key])
            style = _STYLES.get(status, "")
            table.add_row(
                Text(indent + kind), Text(name), Text(status, style=style), attempt.removeprefix("attempt "), duration
            )
        return Group(table, Text(self._note, style="dim")) if self._note else Group(table)

    def _ordered(self) -> list[tuple[str, str]]:
        """Return the rows as a tree: an operation, then what is below it, each level in the order it came."""
        below: dict[tuple[str, str] | None, list[tuple[str, str]]] = {}
        for key, (handle, operation) in list(self._rows.items()):
            parent = operation.get("ParentId")
            above = (handle.arn, parent) if parent is not None else handle.parent
            below.setdefault(above, []).append(key)
        ordered: list[tuple[str, str]] = []
        stack = list(reversed(below.get(None, [])))
        while stack:
            key = stack.pop()
            ordered.append(key)
            stack.extend(reversed(below.get(key, [])))
        return ordered


def show_outcome(console: Console, handle: ExecutionHandle, budget: Budget) -> None:
    """Show what it took, and the result, or the error and the traceback that leads to it."""
    style = "green" if handle.status == "SUCCEEDED" else "red"
    console.print(f"[bold {style}]{handle.status}[/] ({_calls(handle)})", highlight=False)
    console.print(f"Budget: {budget.use}\nPrice: {budget.cost}", highlight=False, style="dim")
    if handle.status == "SUCCEEDED":
        if handle.result:
            _show_json(console, handle.result)
        return
    error = handle.error or {}
    trace = _trace(handle)
    if trace:
        console.print(trace.rstrip(), markup=False, highlight=False)
    elif error.get("StackTrace"):
        console.print("\n".join(error["StackTrace"]), markup=False, highlight=False)
    if error:
        kind, message = escape(str(error.get("ErrorType", "Error"))), escape(str(error.get("ErrorMessage", "")))
        console.print(f"[bold]{kind}[/]: {message}", highlight=False)


def show_interrupted(console: Console, handle: ExecutionHandle) -> None:
    """Show how far an execution has come that was cut off with Ctrl-C."""
    console.print(
        f"[bold yellow]INTERRUPTED[/] ({_calls(handle)}): it was {handle.status}, and nothing of it is kept.",
        highlight=False,
    )


def _calls(handle: ExecutionHandle) -> str:
    counts = ((len(handle.invocations), "invocation"), (len(handle.operations), "operation"))
    return ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts)


def _show_json(console: Console, text: str) -> None:
    try:
        shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        shown = text
    console.print(shown, markup=False)


def _trace(handle: ExecutionHandle) -> str:
    """Format the last exception of the user's code, without the frames of this package."""
    return traceback_text(handle.invocations[-1].failure) if handle.invocations else ""


def show_blocked(console: Console, handle: ExecutionHandle) -> None:
    """Show what the execution waits for, and how to give it that."""
    console.print("[bold yellow]BLOCKED[/]: only an answer from outside can move this execution on.", highlight=False)
    service = handle.service
    for other in list(service.handles.values()):
        for callback in other.open_callbacks if not other.terminal else ():
            name = escape(str(callback.get("Name") or "unnamed"))
            console.print(
                f'callback "{name}": {callback["CallbackDetails"]["CallbackId"]}', highlight=False, soft_wrap=True
            )
    console.print(
        "Answer it where the handler hands the id out (from a thread, or a timer):\n"
        "    from perdure.local import current_service\n"
        "    current_service().client.send_durable_execution_callback_success(CallbackId=..., Result=b'...')\n"
        "or run this on a terminal, and type the answer.",
        markup=False,
        highlight=False,
    )


def as_document(handle: ExecutionHandle, budget: Budget, *, interrupted: bool = False) -> dict[str, Any]:
    """Return everything about an execution as one JSON document; one that cannot move on by itself is BLOCKED."""
    try:
        result = handle.value
    except ValueError:
        result = handle.result
    operations = [
        {
            "id": operation["Id"],
            "parentId": operation.get("ParentId"),
            "type": operation["Type"],
            "subType": operation.get("SubType"),
            "name": operation.get("Name"),
            "status": operation["Status"],
            "attempt": operation.get("StepDetails", {}).get("Attempt"),
            "milliseconds": _milliseconds(operation),
        }
        for operation in handle.operations
    ]
    return {
        "arn": handle.arn,
        "status": handle.status if handle.terminal or interrupted else "BLOCKED",
        "result": result,
        "error": handle.error,
        "traceback": None if interrupted else _trace(handle) or None,
        "invocations": len(handle.invocations),
        "budget": budget.to_dict(),
        "openCallbacks": [callback["CallbackDetails"]["CallbackId"] for callback in handle.open_callbacks],
        "operations": operations,
    }
