"""From the events of a history to the operations they tell of."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure.lambda_service import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.testing._events import Event

_TYPES = (
    ("ChainedInvoke", "CHAINED_INVOKE", "ChainedInvokeDetails"),
    ("Callback", "CALLBACK", "CallbackDetails"),
    ("Context", "CONTEXT", "ContextDetails"),
    ("Step", "STEP", "StepDetails"),
    ("Wait", "WAIT", "WaitDetails"),
)
_STATUS = {
    "Started": "STARTED",
    "Succeeded": "SUCCEEDED",
    "Failed": "FAILED",
    "TimedOut": "TIMED_OUT",
    "Stopped": "STOPPED",
    "Cancelled": "CANCELLED",
}


def events_to_operations(events: Iterable[Event]) -> list[Operation]:
    """Give the operations that a history tells of, in the order they were started, each as its last event left it.

    Only with execution data do they carry results and errors. The execution itself is not among them.
    """
    operations: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.operation_id is None:
            continue
        for prefix, kind, member in _TYPES:
            if event.event_type.startswith(prefix):
                begun: dict[str, Any] = {"Id": event.operation_id, "Type": kind, "Name": event.name, member: {}}
                begun |= {
                    "ParentId": event.parent_id,
                    "SubType": event.sub_type,
                    "StartTimestamp": event.event_timestamp,
                }
                operation = operations.setdefault(event.operation_id, begun)
                _apply(operation, operation[member], event, _STATUS[event.event_type[len(prefix) :]])
    return [
        Operation.from_dict({name: value for name, value in operation.items() if value is not None})
        for operation in operations.values()
    ]


def _apply(operation: dict[str, Any], details: dict[str, Any], event: Event, status: str) -> None:
    told = event.details
    operation["Status"] = status
    details.pop("NextAttemptTimestamp", None)
    for name in ("callback_id", "scheduled_end_timestamp"):
        if (value := getattr(told, name, None)) is not None:
            details["".join(word.capitalize() for word in name.split("_"))] = value
    if operation["Type"] == "STEP":
        details.setdefault("Attempt", 0)
    if status == "STARTED":
        return
    result, error = getattr(told, "result", None), getattr(told, "error", None)
    if result is not None and result.payload is not None:
        details["Result"] = result.payload
    if error is not None and error.payload is not None:
        details["Error"] = error.payload.to_dict()
    elif status == "SUCCEEDED":
        details.pop("Error", None)
    retry = getattr(told, "retry_details", None)
    if retry is not None:
        details["Attempt"] = retry.current_attempt
        if retry.next_attempt_delay_seconds:
            operation["Status"] = "PENDING"
            details["NextAttemptTimestamp"] = event.event_timestamp + timedelta(
                seconds=retry.next_attempt_delay_seconds
            )
            return
    operation["EndTimestamp"] = event.event_timestamp
