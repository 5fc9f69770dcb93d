"""Where an execution stands, told to whoever waited for it in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.local.validation import function_parts
from perdure.testing.result import operations_of
from perdure.testing.tree import render

if TYPE_CHECKING:
    from perdure.local import ExecutionHandle
    from perdure.local.transitions import Operation

_OPEN = frozenset({"STARTED", "PENDING", "READY"})


def standing_of(handle: ExecutionHandle) -> str:
    """Say how an execution is, what it waits for and how to help it, and draw it with those that it invoked."""
    invoked = _invoked_by(handle)
    trees = [render(operations_of(handle))]
    trees += [f"{_function_of(part)} is {part.status}.\n{render(operations_of(part))}" for part in invoked]
    return "\n".join([f"{handle.name} is {handle.status}.{_obstacle(handle, invoked)}", *trees])


def _obstacle(handle: ExecutionHandle, invoked: list[ExecutionHandle]) -> str:
    """Say what holds an execution up, and what to do about it; nothing when nothing does."""
    if handle.status in ("PAUSED", "PAUSING"):
        return " It is paused. Go on with resume_execution()."
    callbacks = [_called(handle, operation) for operation in handle.open_callbacks]
    callbacks += [
        f"{_called(part, operation)} of {_function_of(part)}" for part in invoked for operation in part.open_callbacks
    ]
    if callbacks:
        waits = f" It waits for the callback{'s'[: len(callbacks) > 1]} {', '.join(callbacks)}."
        return f"{waits} Answer with send_callback_success() or answer_callback()."
    if handle.terminal or not handle.operations:
        return ""
    still = [operation for operation in handle.operations if operation["Status"] in _OPEN]
    last = (still or handle.operations)[-1]
    attempts = last.get("StepDetails", {}).get("Attempt", 0)
    tried = f", after {attempts} attempts" if attempts > 1 else ""
    return f" It is at {_called(handle, last)}, a {last.get('SubType') or last['Type']}{tried}."


def _invoked_by(handle: ExecutionHandle) -> list[ExecutionHandle]:
    """Give the executions that an execution waits for, directly and by way of others."""
    found: list[ExecutionHandle] = []
    for operation in handle.open_invokes:
        arn = handle.machine.notes.get(operation["Id"], {}).get("child")
        if arn is not None:
            child = handle.service.execution(arn)
            found += [child, *_invoked_by(child)]
    return found


def _called(handle: ExecutionHandle, operation: Operation) -> str:
    """Give the name that users know an operation by."""
    return str(next(filter(None, handle.names_of(operation)), operation["Id"][:8]))


def _function_of(handle: ExecutionHandle) -> str:
    return function_parts(handle.machine.function_arn)[0]
