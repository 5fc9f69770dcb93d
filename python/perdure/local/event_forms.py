"""What goes into an event of what a service knows: operations, and the errors of functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.local.machine.clock import to_millis
from perdure.local.machine.errors import RemoteError
from perdure.local.machine.validation import error_bytes, text_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.local.machine.transitions import Operation

_FRAME_BYTES = 400  # what an operation weighs in an event besides its payloads, generously

_DETAIL_MOMENTS = (("StepDetails", "NextAttemptTimestamp"), ("WaitDetails", "ScheduledEndTimestamp"))


def to_event_operation(operation: Operation) -> Operation:
    """Turn an operation into what an event carries: timestamps as Unix milliseconds."""
    wire = dict(operation)
    wire["StartTimestamp"] = to_millis(operation["StartTimestamp"])
    if "EndTimestamp" in operation:
        wire["EndTimestamp"] = to_millis(operation["EndTimestamp"])
    for kind, member in _DETAIL_MOMENTS:
        details = operation.get(kind)
        if details is not None and member in details:
            wire[kind] = {**details, member: to_millis(details[member])}
    return wire


class EventForms:
    """What an execution's operations look like in events: made once for each state that an operation was in."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, tuple[Operation, Operation, int]] = {}

    def of(self, operations: Iterable[Operation], limit: int | None) -> list[Operation]:
        """Give the forms of as many operations, from the front, as fit into `limit` bytes."""
        known, forms, room = self._known, [], 0
        for operation in operations:
            key = operation["Id"]
            found = known.get(key)
            if found is None or found[0] is not operation:
                found = known[key] = (operation, to_event_operation(operation), _bytes_of(operation))
            room += found[2]
            if limit is not None and room > limit:
                break
            forms.append(found[1])
        return forms

    def count(self, operations: Iterable[Operation], limit: int | None) -> int:
        """Count how many operations, from the front, fit into `limit` bytes."""
        return len(self.of(operations, limit))


def _bytes_of(operation: Operation) -> int:
    details = [part for part in operation.values() if isinstance(part, dict)]
    return _FRAME_BYTES + sum(_weight(value) for part in details for value in part.values())


def _weight(value: Any) -> int:
    if isinstance(value, str):
        return text_bytes(value)
    return error_bytes(value) if isinstance(value, dict) else 0


def error_object(error: BaseException) -> dict[str, Any]:
    """Describe an exception that came out of a function, as Lambda does; one from elsewhere brings its description."""
    if isinstance(error, RemoteError):
        return error.error_object
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception as problem:  # noqa: BLE001 - whatever the user's class does
        message = f"(its message cannot be told: {type(problem).__name__})"
    return {"ErrorMessage": message, "ErrorType": name}
