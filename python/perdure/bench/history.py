"""From the history of an execution to the operations that Lambda would send to its next invocation.

A history does not say of a finished context whether a replay runs it again, which it does where the result was too
large to be recorded. It is seen by what stands in the place of the result: nothing, or the summary that a map or
parallel makes. A summary that the user makes of a context of their own looks like a result, and is taken for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.bench.record import to_moment
from perdure.bench.replay import BenchError
from perdure.concurrency.models import CompletionRecord
from perdure.local.transitions import visible_ids
from perdure.testing.model import Event, events_to_operations

if TYPE_CHECKING:
    from perdure.bench.replay import Wire

_BATCHES = frozenset({"Map", "Parallel"})


def operations_of(document: Wire) -> list[Wire]:
    """Give the operations that a history tells of, that of the execution first.

    Args:
        document: What `perdure history --json --data` prints, or ``GetDurableExecutionHistory`` answers.

    Raises:
        BenchError: If it lacks events, or their data.

    """
    if document.get("more") or document.get("NextMarker"):
        raise BenchError("it has only a part of the history; print it without --limit")
    events: Any = document.get("events", document.get("Events"))
    try:
        events = sorted(events, key=lambda event: int(event["EventId"]))
        begin = next((event for event in events if event["EventType"] == "ExecutionStarted"), None)
        if begin is None:
            raise BenchError("it lacks the event ExecutionStarted, which carries the handler's input")
        own = [_dated(event) for event in events if "Id" in event and not event["EventType"].startswith("Execution")]
        _check_data([begin, *own])
        operations = [dict(one.to_json_dict()) for one in events_to_operations(map(Event.from_dict, own))]
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        why = f"{type(problem).__name__}: {problem}"
        raise BenchError(f"its events are not those of a history ({why})") from None
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


def _dated(value: Any) -> Any:
    """Copy a part of an event with moments in place of what stands for them in JSON."""
    if not isinstance(value, dict):
        return value
    return {
        key: to_moment(part) if key.endswith("Timestamp") and part is not None else _dated(part)
        for key, part in value.items()
    }


def _check_data(events: list[Wire]) -> None:
    """Refuse a history without its data, or in which the service has cut what a replay would read."""
    for event in events:
        details = event.get(f"{event['EventType']}Details") or {}
        for member in ("Result", "Error", *(["Input"] if event["EventType"] == "ExecutionStarted" else [])):
            found = details.get(member) or {}
            if not found.get("Truncated"):
                continue
            if "Payload" not in found:
                raise BenchError("it has no payloads; print it with `perdure history EXECUTION --json --data`")
            what = event.get("Name") or event.get("Id") or "the execution"
            raise BenchError(f"the service has cut a payload in it, that of {what!r}, so that it cannot be read again")


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
