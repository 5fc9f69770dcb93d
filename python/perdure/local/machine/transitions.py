"""What an update does to the operation it names: state rules, and the operation that results.

Operations are boto3-shaped dicts that are never changed once they are made: a transition builds a new one, so that
responses, events and records share them without copying.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure.history.kinds import ENDED
from perdure.local.machine.errors import refuse
from perdure.local.machine.validation import label

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from perdure.local.machine.validation import Update

Operation = dict[str, Any]
"""An `Operation` of the service model, as boto3 returns it."""

DETAILS = {
    "CONTEXT": "ContextDetails",
    "STEP": "StepDetails",
    "WAIT": "WaitDetails",
    "CALLBACK": "CallbackDetails",
    "CHAINED_INVOKE": "ChainedInvokeDetails",
}
_STATUS = {"SUCCEED": "SUCCEEDED", "FAIL": "FAILED"}
_IDENTITY = (("SubType", "subtype"), ("Name", "name"), ("ParentId", "parent"))


def is_pending(operation: Operation) -> bool:
    """Tell whether something outside the invocation will move this operation on."""
    status = operation["Status"]
    if status == "PENDING":
        return True
    return status == "STARTED" and operation["Type"] in ("WAIT", "CALLBACK", "CHAINED_INVOKE")


def check_same(operation: Operation, update: Update) -> None:
    """Refuse an update that calls a recorded operation by another type, subtype, name or parent.

    A member the update leaves out is not compared; the service only refuses a contradiction.
    """
    if operation["Type"] != update["Type"]:
        refuse(f"Inconsistent operation type: {label(update)} is a {operation['Type']}.")
    for member, noun in _IDENTITY:
        value = update.get(member)
        if value is not None and value != operation.get(member):
            refuse(f"Inconsistent operation {noun}: {label(update)} was recorded with {operation.get(member)!r}.")


def begin(update: Update, now: datetime, **details: Any) -> Operation:
    """Make a fresh, STARTED operation out of its first update."""
    operation: Operation = {"Id": update["Id"], "Type": update["Type"], "Status": "STARTED", "StartTimestamp": now}
    for member in ("ParentId", "Name", "SubType"):
        value = update.get(member)
        if value:
            operation[member] = value
    operation[DETAILS[update["Type"]]] = details
    return operation


def finish(operation: Operation, status: str, now: datetime, **details: Any) -> Operation:
    """Close an operation: its status, its end, and its details with Result or Error added where they are not None."""
    kind = DETAILS[operation["Type"]]
    kept = {**operation[kind], **{name: value for name, value in details.items() if value is not None}}
    return {**operation, "Status": status, "EndTimestamp": now, kind: kept}


def step(operation: Operation | None, update: Update, now: datetime, *, strict: bool) -> Operation:
    """Apply an update to a STEP: attempts are counted when one ends, so a first attempt under way shows 0."""
    action = update["Action"]
    if action == "START":
        if operation is None:
            return begin(update, now, Attempt=0)
        if operation["Status"] != "READY":
            refuse(f"Invalid current STEP state to start: {label(update)} is {operation['Status']}.")
        # The state of a condition stays, so that a crash in the middle of a check does not lose it.
        kept = {k: v for k, v in operation["StepDetails"].items() if k in ("Attempt", "Result")}
        return {**operation, "Status": "STARTED", "StepDetails": kept}
    current = _open(operation, update, now, strict=strict, statuses=("STARTED", "READY"), Attempt=0)
    details: dict[str, Any] = {"Attempt": current["StepDetails"]["Attempt"] + 1}
    if update.get("Payload") is not None:
        details["Result"] = update["Payload"]
    if update.get("Error") is not None:
        details["Error"] = update["Error"]
    if action != "RETRY":
        return {**current, "Status": _STATUS[action], "EndTimestamp": now, "StepDetails": details}
    options = update.get("StepOptions") or {}
    if "NextAttemptDelaySeconds" not in options:
        refuse(f"Invalid StepOptions for the given action: {label(update)} needs NextAttemptDelaySeconds to RETRY.")
    delay = options["NextAttemptDelaySeconds"]
    if delay <= 0:
        return {**current, "Status": "READY", "StepDetails": details}
    details["NextAttemptTimestamp"] = now + timedelta(seconds=delay)
    return {**current, "Status": "PENDING", "StepDetails": details}


def context(operation: Operation | None, update: Update, now: datetime, *, strict: bool) -> Operation:
    """Apply an update to a CONTEXT."""
    if update["Action"] == "START":
        _absent(operation, update)
        return begin(update, now)
    current = _open(operation, update, now, strict=strict, statuses=("STARTED",))
    replay = (update.get("ContextOptions") or {}).get("ReplayChildren")
    return finish(
        current,
        _STATUS[update["Action"]],
        now,
        Result=update.get("Payload"),
        Error=update.get("Error"),
        ReplayChildren=replay,
    )


def wait(operation: Operation | None, update: Update, now: datetime) -> Operation:
    """Apply an update to a WAIT."""
    if update["Action"] == "CANCEL":
        if operation is None or operation["Status"] in ENDED:
            refuse(f"Cannot cancel a WAIT that does not exist or has already completed: {label(update)}.")
        return finish(operation, "CANCELLED", now)
    _absent(operation, update)
    seconds = (update.get("WaitOptions") or {}).get("WaitSeconds")
    if seconds is None:
        refuse(f"Invalid WaitOptions for the given action: {label(update)} needs WaitSeconds to START.")
    started = begin(update, now, ScheduledEndTimestamp=now + timedelta(seconds=seconds))
    return started if seconds > 0 else finish(started, "SUCCEEDED", now)


def callback(operation: Operation | None, update: Update, now: datetime, callback_id: str) -> Operation:
    """Apply an update to a CALLBACK."""
    _absent(operation, update)
    return begin(update, now, CallbackId=callback_id)


def chained_invoke(
    operation: Operation | None,
    update: Update,
    now: datetime,
    preflight: Callable[[str], dict[str, Any] | None],
) -> Operation:
    """Apply an update to a CHAINED_INVOKE; `preflight` gives the error of a function that cannot be called."""
    _absent(operation, update)
    name = (update.get("ChainedInvokeOptions") or {}).get("FunctionName")
    if not name:
        refuse(f"Update for CHAINED_INVOKE operation requires ChainedInvokeOptions: {label(update)}.")
    started = begin(update, now)
    error = preflight(name)
    return started if error is None else finish(started, "FAILED", now, Error=error)


def _absent(operation: Operation | None, update: Update) -> None:
    if operation is not None:
        refuse(f"Cannot start a {update['Type']} that already exists: {label(update)}.")


def _open(
    operation: Operation | None,
    update: Update,
    now: datetime,
    *,
    strict: bool,
    statuses: tuple[str, ...],
    **details: Any,
) -> Operation:
    if operation is None:
        if strict:
            refuse(f"Cannot {update['Action']} an operation that was never started: {label(update)}.")
        return begin(update, now, **details)
    if operation["Status"] not in statuses:
        refuse(f"Invalid current {update['Type']} state to close: {label(update)} is {operation['Status']}.")
    return operation
