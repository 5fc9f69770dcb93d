"""From the events of a history to the operations they tell of, and to those that Lambda sends to the next invocation.

A history does not say of a finished context whether a replay runs it again, which it does where the result was too
large to be recorded. It is seen by what stands in the place of the result: nothing, or the summary that a map or
parallel makes. A summary that the user makes of a context of their own looks like a result, and is taken for one.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure.concurrency.models import CompletionRecord
from perdure.history.events import Event
from perdure.history.kinds import ENDED, KINDS, STATUSES, split
from perdure.lambda_service import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    Wire = dict[str, Any]

_BATCHES = frozenset({"Map", "Parallel"})


class HistoryError(ValueError):
    """Something is no history, or only a part of one; the message says what to do."""


def events_to_operations(events: Iterable[Event]) -> list[Operation]:
    """Give the operations that a history tells of, in the order they were started, each as its last event left it.

    Only with execution data do they carry results and errors. The execution itself is not among them.
    """
    operations: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.operation_id is None:
            continue
        kind, happened = split(event.event_type)
        if not kind or kind == "Execution":
            continue
        member = f"{kind}Details"
        begun: dict[str, Any] = {"Id": event.operation_id, "Type": KINDS[kind], "Name": event.name, member: {}}
        begun |= {"ParentId": event.parent_id, "SubType": event.sub_type, "StartTimestamp": event.event_timestamp}
        operation = operations.setdefault(event.operation_id, begun)
        _apply(operation, operation[member], event, STATUSES[happened])
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


def operations_for_replay(document: Wire) -> list[Wire]:
    """Give the operations that a history tells of, that of the execution first.

    Args:
        document: What `perdure history --json --data` prints, or ``GetDurableExecutionHistory`` answers.

    Raises:
        HistoryError: If it lacks events, or their data.

    """
    if document.get("more") or document.get("NextMarker"):
        raise HistoryError("it has only a part of the history; print it without --limit")
    events: Any = document.get("events", document.get("Events"))
    try:
        events = sorted(events, key=lambda event: int(event["EventId"]))
        begin = next((event for event in events if event["EventType"] == "ExecutionStarted"), None)
        if begin is None:
            raise HistoryError("it lacks the event ExecutionStarted, which carries the handler's input")
        own = [event for event in events if "Id" in event and not event["EventType"].startswith("Execution")]
        _check_data([begin, *own])
        operations = [dict(one.to_json_dict()) for one in events_to_operations(map(Event.from_json, own))]
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        why = f"{type(problem).__name__}: {problem}"
        raise HistoryError(f"its events are not those of a history ({why})") from None
    return [_execution(begin, document), *_visible(operations)]


def _execution(begin: Wire, document: Wire) -> Wire:
    given = (begin.get("ExecutionStartedDetails") or {}).get("Input") or {}
    operation = {
        "Id": begin.get("Id") or str(document.get("arn") or "").rpartition("/")[2] or "execution",
        "Type": "EXECUTION",
        "Status": "STARTED",
        "StartTimestamp": begin["EventTimestamp"],
        "ExecutionDetails": {"InputPayload": given["Payload"]} if "Payload" in given else {},
    }
    return {**operation, "Name": begin["Name"]} if begin.get("Name") else operation


def _check_data(events: list[Wire]) -> None:
    """Refuse a history without its data, or in which the service has cut what a replay would read."""
    for event in events:
        details = event.get(f"{event['EventType']}Details") or {}
        for member in ("Result", "Error", *(["Input"] if event["EventType"] == "ExecutionStarted" else [])):
            found = details.get(member) or {}
            if not found.get("Truncated"):
                continue
            if "Payload" not in found:
                raise HistoryError("it has no payloads; print it with `perdure history EXECUTION --json --data`")
            what = event.get("Name") or event.get("Id") or "the execution"
            raise HistoryError(
                f"the service has cut a payload in it, that of {what!r}, so that it cannot be read again"
            )


def _visible(operations: list[Wire]) -> list[Wire]:
    """Leave out what Lambda leaves out: what is in a context that has ended, unless a replay runs that again."""
    for operation in operations:
        if operation["Type"] == "CONTEXT" and _runs_again(operation):
            operation["ContextDetails"]["ReplayChildren"] = True
    seen = visible_ids(operations)
    return [operation for operation in operations if operation["Id"] in seen]


def _runs_again(context: Wire) -> bool:
    """Tell whether a context has ended whose result was too large to be recorded."""
    if context["Status"] != "SUCCEEDED":
        return False
    result = context["ContextDetails"].get("Result")
    batch = context.get("SubType") in _BATCHES
    return not result or (batch and CompletionRecord.from_summary_payload(result) is not None)


def visible_ids(operations: Iterable[Wire]) -> set[str]:
    """Return the ids a replay needs: not those below a finished context that does not replay its children."""
    visible: set[str] = set()
    open_below: set[str | None] = {None}
    for operation in operations:
        if operation.get("ParentId") not in open_below:
            continue
        visible.add(operation["Id"])
        if operation["Type"] == "CONTEXT" and (
            operation["Status"] not in ENDED or operation["ContextDetails"].get("ReplayChildren")
        ):
            open_below.add(operation["Id"])
    return visible
