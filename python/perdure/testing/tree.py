"""An execution in text: a line an operation, what is inside it below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.local.durations import span
from perdure.testing.operations import ContextOperation, StepOperation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.lambda_service import ErrorObject
    from perdure.testing.operations import Operation

_LONGEST = 100
_MANY = 200


def shorten(text: str, most: int = _LONGEST) -> str:
    """Cut a long text in one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def told(error: ErrorObject) -> str:
    """Write an error in one line, under the bare name of its class; a long one is cut."""
    return shorten(in_full(error))


def in_full(error: ErrorObject) -> str:
    """Write an error under the bare name of its class. What it says may be just the end of it, so nothing is cut."""
    kind = (error.type or "").rpartition(".")[2]
    return ": ".join(part for part in (kind, error.message) if part)


def render(operations: Iterable[Operation]) -> str:
    """Draw operations and what is below them; of very many, the last are left out, and counted."""
    rows = list(_rows(list(operations), ""))
    left_out = len(rows) - _MANY
    rows = rows[:_MANY]
    width = max((len(row[0]) for row in rows), default=0)
    kinds = max((len(row[1]) for row in rows), default=0)
    lines = [f"{name:<{width}}  {kind:<{kinds}}  {rest}".rstrip() for name, kind, rest in rows]
    if left_out > 0:
        lines.append(f"… and {left_out} more")
    return "\n".join(lines)


def _rows(operations: list[Operation], indent: str) -> Iterable[tuple[str, str, str]]:
    for index, operation in enumerate(operations):
        last = index == len(operations) - 1
        name = operation.name or f"({operation.operation_id[:8]})"
        kind = operation.sub_type or operation.operation_type.value
        yield f"{indent}{'└─ ' if last else '├─ '}{name}", kind, "  ".join(_facts(operation))
        if isinstance(operation, ContextOperation):
            yield from _rows(operation.child_operations, f"{indent}{'   ' if last else '│  '}")


def _facts(operation: Operation) -> Iterable[str]:
    yield operation.status.value
    if isinstance(operation, StepOperation) and operation.attempt > 1:
        yield f"{operation.attempt} attempts"
    if operation.duration is not None:
        yield span(operation.duration)
    error: ErrorObject | None = getattr(operation, "error", None)
    if error is not None and (words := told(error)):
        yield words
