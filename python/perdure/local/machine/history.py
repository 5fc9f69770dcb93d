"""The history of an execution: what happened to it, one numbered record each, and the events of the API made of them.

A record is cheap: it shares the operation as it was at that moment. The event is rendered when somebody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from perdure.local.machine.transitions import Operation
    from perdure.local.machine.validation import Update

Event = dict[str, Any]
"""An `Event` of the service model, as boto3 returns it."""

_PREFIX = {
    "EXECUTION": "Execution",
    "CONTEXT": "Context",
    "STEP": "Step",
    "WAIT": "Wait",
    "CALLBACK": "Callback",
    "CHAINED_INVOKE": "ChainedInvoke",
}
_ACTION = {"START": "Started", "SUCCEED": "Succeeded", "FAIL": "Failed", "CANCEL": "Cancelled"}
_STATUS = {
    "SUCCEEDED": "Succeeded",
    "FAILED": "Failed",
    "TIMED_OUT": "TimedOut",
    "STOPPED": "Stopped",
    "CANCELLED": "Cancelled",
}
_DETAILS = {
    "CONTEXT": "ContextDetails",
    "STEP": "StepDetails",
    "CALLBACK": "CallbackDetails",
    "CHAINED_INVOKE": "ChainedInvokeDetails",
}
_DATA = ("Input", "Result", "Error", "Reason")


class Record(NamedTuple):
    """One thing that happened: its number, its name, its moment, what it happened to, and what else is to be told."""

    number: int
    kind: str
    moment: datetime
    operation: Operation | None
    extra: dict[str, Any]


def name_of_update(update: Update) -> str:
    """Name the event that an update brings about."""
    action = update["Action"]
    if action == "RETRY":
        action = "SUCCEED" if update.get("Error") is None else "FAIL"
    return _PREFIX[update["Type"]] + _ACTION[action]


def name_of_end(operation: Operation) -> str | None:
    """Name the event of an operation that the service has ended, None when it has not."""
    ending = _STATUS.get(operation["Status"])
    return None if ending is None else _PREFIX[operation["Type"]] + ending


def render(record: Record) -> Event:
    """Make the event of a record, with all its data."""
    event: Event = {"EventType": record.kind, "EventId": record.number, "EventTimestamp": record.moment}
    operation = record.operation
    if operation is None:
        event[f"{record.kind}Details"] = record.extra
        return event
    event["Id"] = operation["Id"]
    for member in ("Name", "SubType", "ParentId"):
        if member in operation:
            event[member] = operation[member]
    event[f"{record.kind}Details"] = _details(record, operation)
    return event


def without_data(event: Event) -> Event:
    """Return the event without payloads, errors and reasons; what was left out is marked as truncated."""
    key = f"{event['EventType']}Details"
    details = event.get(key)
    if not details:
        return event
    stripped = {member: {"Truncated": True} if member in _DATA else value for member, value in details.items()}
    return {**event, key: stripped}


def payload(value: Any) -> dict[str, Any]:
    """Wrap a payload, an error or a reason as events carry it."""
    return {"Truncated": False} if value is None else {"Payload": value, "Truncated": False}


def _details(record: Record, operation: Operation) -> dict[str, Any]:
    kind, extra = record.kind, record.extra
    recorded = operation.get(_DETAILS.get(operation["Type"], ""), {})
    if operation["Type"] == "WAIT":
        return _wait(kind, operation)
    if kind.endswith("Started"):
        return _started(operation, extra, recorded)
    if operation["Type"] == "EXECUTION":
        return extra
    details: dict[str, Any] = {}
    if kind.endswith("Succeeded"):
        details["Result"] = payload(recorded.get("Result"))
    else:
        details["Error"] = payload(recorded.get("Error"))
    if operation["Type"] == "STEP":
        retry = {"CurrentAttempt": recorded["Attempt"]}
        if "delay" in extra:
            retry["NextAttemptDelaySeconds"] = extra["delay"]
        details["RetryDetails"] = retry
    return details


def _wait(kind: str, operation: Operation) -> dict[str, Any]:
    end = operation["WaitDetails"]["ScheduledEndTimestamp"]
    duration = round((end - operation["StartTimestamp"]).total_seconds())
    if kind == "WaitStarted":
        return {"Duration": duration, "ScheduledEndTimestamp": end}
    return {"Duration": duration} if kind == "WaitSucceeded" else {}


def _started(operation: Operation, extra: dict[str, Any], recorded: dict[str, Any]) -> dict[str, Any]:
    kind = operation["Type"]
    if kind == "CALLBACK":
        details = {"CallbackId": recorded["CallbackId"]}
        if timeout := extra.get("timeout"):
            details["Timeout"] = timeout
        if heartbeat := extra.get("heartbeat"):
            details["HeartbeatTimeout"] = heartbeat
        return details
    if kind == "CHAINED_INVOKE":
        details = {"FunctionName": extra["function"], "Input": payload(extra.get("payload"))}
        for member, note in (("TenantId", "tenant"), ("ExecutedVersion", "version"), ("DurableExecutionArn", "child")):
            if extra.get(note):
                details[member] = extra[note]
        return details
    return extra if kind == "EXECUTION" else {}
