"""Where an execution stands, told to whoever waited for it in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.lambda_service import ErrorObject
from perdure.local.machine.validation import function_parts
from perdure.testing._failures import failure_of, places_of
from perdure.testing.result import operations_of
from perdure.testing.tree import in_full, render

if TYPE_CHECKING:
    from collections.abc import Collection

    from perdure.local import ExecutionHandle
    from perdure.local.machine.transitions import Operation

_OPEN = frozenset({"STARTED", "PENDING", "READY"})


def standing_of(handle: ExecutionHandle, answers: Collection[str | None] = ()) -> str:
    """Say how an execution is, what it waits for and how to help it, and draw it with those that it invoked.

    Args:
        handle: The execution.
        answers: The names of the callbacks that there are answers for.

    """
    invoked = _invoked_by(handle)
    trees = [render(operations_of(handle))]
    trees += [f"{_function_of(part)} is {part.status}.\n{render(operations_of(part))}" for part in invoked]
    standing = f"{handle.name} is {handle.status}.{_obstacle(handle, invoked, answers)}{_error(handle)}"
    return "\n".join(part for part in [standing, *places_of(obstacle_of(handle)), *trees] if part)


def obstacle_of(handle: ExecutionHandle) -> BaseException | None:
    """Give the exception that holds an execution up, or has ended it: its own, or that of one it invoked."""
    parts = [handle, *_invoked_by(handle)][::-1]
    return next((failure for part in parts if (failure := failure_of(part)) is not None), None)


def _error(handle: ExecutionHandle) -> str:
    """Say what an execution has ended with, or its last invocation."""
    if handle.error is not None:
        return f" {in_full(ErrorObject.from_dict(handle.error))}"
    failure = obstacle_of(handle)
    return "" if failure is None else f" The last invocation failed: {in_full(ErrorObject.from_exception(failure))}"


def _obstacle(handle: ExecutionHandle, invoked: list[ExecutionHandle], answers: Collection[str | None]) -> str:
    """Say what holds an execution up, and what to do about it; nothing when nothing does."""
    if handle.status in ("PAUSED", "PAUSING"):
        return " It is paused. Go on with resume_execution()."
    callbacks = [_called(handle, operation) for operation in handle.open_callbacks]
    callbacks += [
        f"{_called(part, operation)} of {_function_of(part)}" for part in invoked for operation in part.open_callbacks
    ]
    if callbacks:
        waits = f" It waits for the callback{'s'[: len(callbacks) > 1]} {', '.join(callbacks)}."
        only = f", which has answers for {', '.join(sorted(map(repr, answers)))}" if answers else ""
        return f"{waits} Answer with send_callback_success() or answer_callback(){only}."
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
