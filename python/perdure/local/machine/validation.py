"""What an update must look like, whatever the state of the execution: the shapes of the service model, and sizes.

Refusals carry `InvalidParameterValueException` and name the operation.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from perdure.local.machine.errors import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perdure.local.machine.limits import Limits

Update = dict[str, Any]
"""An `OperationUpdate` of the service model, as boto3 takes it."""

ACTIONS: Mapping[str, frozenset[str]] = {
    "EXECUTION": frozenset({"SUCCEED", "FAIL"}),
    "CONTEXT": frozenset({"START", "SUCCEED", "FAIL"}),
    "STEP": frozenset({"START", "SUCCEED", "FAIL", "RETRY"}),
    "WAIT": frozenset({"START", "CANCEL"}),
    "CALLBACK": frozenset({"START"}),
    "CHAINED_INVOKE": frozenset({"START"}),
}

# Member name -> (longest, pattern) of the strings of an OperationUpdate.
_STRINGS = {
    "Id": (64, re.compile(r"[a-zA-Z0-9\-_]+")),
    "ParentId": (64, re.compile(r"[a-zA-Z0-9\-_]+")),
    "Name": (256, re.compile(r"[\x20-\x7E]+")),
    "SubType": (32, re.compile(r"[a-zA-Z0-9\-_]+")),
}
_FUNCTION_NAME = re.compile(
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"(?P<name>[a-zA-Z0-9\-_\.]+)(:(?P<qualifier>\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9\-_]+))?"
)
EXECUTION_NAME = re.compile(r"[a-zA-Z0-9\-_]{1,64}")
_TENANT = re.compile(r"[a-zA-Z0-9\._:\/=+\-@ ]+")
_SECONDS_IN_A_YEAR = 31_622_400  # 366 days
_CALLBACK_SECONDS = 99_999_999
_FUNCTION_NAME_LENGTH = 256
_TRACE_LENGTH = 8192
# Options member -> (the operation it belongs to, integer members with their range).
_OPTIONS: Mapping[str, tuple[str, Mapping[str, tuple[int, int]]]] = {
    "ContextOptions": ("CONTEXT", {}),
    "StepOptions": ("STEP", {"NextAttemptDelaySeconds": (1, _SECONDS_IN_A_YEAR)}),
    "WaitOptions": ("WAIT", {"WaitSeconds": (1, _SECONDS_IN_A_YEAR)}),
    "CallbackOptions": (
        "CALLBACK",
        {"TimeoutSeconds": (0, _CALLBACK_SECONDS), "HeartbeatTimeoutSeconds": (0, _CALLBACK_SECONDS)},
    ),
    "ChainedInvokeOptions": ("CHAINED_INVOKE", {}),
}
_BOOLEANS = {"ContextOptions": "ReplayChildren"}
_STRING_OPTIONS = {"ChainedInvokeOptions": frozenset({"FunctionName", "TenantId", "XAmznTraceId"})}
_MEMBERS = frozenset({*_STRINGS, "Type", "Action", "Payload", "Error", *_OPTIONS})
_ERROR_MEMBERS = frozenset({"ErrorMessage", "ErrorType", "ErrorData", "StackTrace"})
_OPENING = frozenset({"START"})
_CLOSING = frozenset({"SUCCEED", "FAIL", "RETRY"})


def label(update: Mapping[str, Any]) -> str:
    """Name an operation for a message: type, name and id."""
    name = update.get("Name")
    shown = f' "{name}"' if name else ""
    return f"{update.get('Type')}{shown} ({update.get('Id')})"


def function_base_name(reference: str) -> str:
    """Return the bare function name of a name, a partial ARN or an ARN, with or without qualifier."""
    match = _FUNCTION_NAME.fullmatch(reference)
    return match["name"] if match else reference


def function_parts(reference: str) -> tuple[str, str | None]:
    """Return the bare function name of a name or an ARN, and its qualifier."""
    match = _FUNCTION_NAME.fullmatch(reference)
    return (match["name"], match["qualifier"]) if match else (reference, None)


def read_text(given: Any, what: str) -> str | None:
    """Return what a client gives as text, as bytes or as a file of them; None for nothing. Refuse what is no UTF-8."""
    if hasattr(given, "read"):
        given = given.read()
    try:
        text = bytes(given).decode() if isinstance(given, bytes | bytearray) else given
    except UnicodeDecodeError:
        refuse(f"The {what} must be text in UTF-8.")
    return text or None


def text_bytes(text: str) -> int:
    """Return the size of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def error_bytes(error: Mapping[str, Any]) -> int:
    """Return the size of an error object, as the service measures it."""
    return len(json.dumps(error))


def update_bytes(update: Update) -> int:
    """Return what an update weighs at the least: its payload and its error."""
    payload = update.get("Payload")
    size = text_bytes(payload) if payload else 0
    error = update.get("Error")
    return size + error_bytes(error) if error else size


def check_batch(updates: Sequence[Update], limits: Limits) -> int:
    """Check the shape and the make-up of a batch; return its weight in bytes (0 when nobody asks)."""
    weigh = limits.batch_bytes is not None or limits.written_bytes is not None
    if limits.batch_updates is not None and len(updates) > limits.batch_updates:
        refuse(f"A checkpoint takes at most {limits.batch_updates} updates, not {len(updates)}.")
    total = 0
    for update in updates:
        check_update(update, limits)
        if weigh:
            total += update_bytes(update)
    if limits.batch_bytes is not None and len(updates) > 1 and total > limits.batch_bytes:
        refuse(f"A checkpoint takes at most {limits.batch_bytes} bytes, not {total}.")
    check_order(updates)
    return total


def check_order(updates: Sequence[Update]) -> None:
    """Check what a batch may hold: one update an id (START with its completion for two types), EXECUTION once, last."""
    if len(updates) == 1:
        return
    seen: dict[str, Update] = {}
    executions = 0
    for update in updates:
        if update["Type"] == "EXECUTION":
            executions += 1
            continue
        earlier = seen.get(update["Id"])
        if earlier is None:
            seen[update["Id"]] = update
            continue
        pair = earlier["Action"] in _OPENING and update["Action"] in _CLOSING and update["Type"] in ("STEP", "CONTEXT")
        if not pair:
            refuse(f"Cannot checkpoint multiple operations with the same ID: {label(update)}.")
        seen[update["Id"]] = update  # a third one finds a closing action, and is refused
    if executions > 1:
        refuse("Cannot checkpoint multiple EXECUTION updates.")
    if executions and updates[-1]["Type"] != "EXECUTION":
        refuse("EXECUTION checkpoint must be the last update.")


def check_update(update: Update, limits: Limits) -> None:
    """Check one update by itself."""
    for required in ("Id", "Type", "Action"):
        if not update.get(required):
            refuse(f"An operation update needs {required}: {label(update)}.")
    actions = ACTIONS.get(update["Type"])
    if actions is None:
        refuse(f"Invalid operation type: {label(update)}.")
    if update["Action"] not in actions:
        refuse(f"Invalid action for the given operation type: {update['Action']} of {label(update)}.")
    payload, error = update.get("Payload"), update.get("Error")
    if payload is not None or error is not None:
        _check_outcome(update, limits)
    if limits.shapes:
        _check_shape(update)


def _check_outcome(update: Update, limits: Limits) -> None:
    payload, error, action = update.get("Payload"), update.get("Error"), update["Action"]
    if payload is not None:
        if action == "FAIL":
            refuse(f"Cannot provide a Payload for FAIL action: {label(update)}.")
        most = limits.response_bytes if update["Type"] == "EXECUTION" else limits.payload_bytes
        if most is not None and (size := text_bytes(payload)) > most:
            refuse(f"Payload size must not exceed {most} bytes, and that of {label(update)} has {size}.")
    if error is not None:
        if action == "SUCCEED":
            refuse(f"Cannot provide an Error for SUCCEED action: {label(update)}.")
        if action == "RETRY" and payload is not None:
            refuse(f"Cannot provide both error and payload to RETRY a STEP: {label(update)}.")
        if limits.error_bytes is not None and error_bytes(error) > limits.error_bytes:
            refuse(f"Error object size must not exceed {limits.error_bytes} bytes: {label(update)}.")


def _check_shape(update: Update) -> None:
    if not _MEMBERS.issuperset(update):
        unknown = ", ".join(sorted(update.keys() - _MEMBERS))
        refuse(f"Unknown members of an operation update: {unknown} in {label(update)}.")
    for member, (longest, pattern) in _STRINGS.items():
        value = update.get(member)
        if value is None:
            continue
        if not isinstance(value, str) or len(value) > longest or pattern.fullmatch(value) is None:
            refuse(f"{member} must be 1 to {longest} characters that match {pattern.pattern}: {label(update)}.")
    payload, error = update.get("Payload"), update.get("Error")
    if payload is not None and not isinstance(payload, str):
        refuse(f"Payload must be a string: {label(update)}.")
    if error is not None:
        check_error_object(error, label(update))
    for member, (kind, integers) in _OPTIONS.items():
        options = update.get(member)
        if options is not None:
            if kind != update["Type"]:
                refuse(f"{member} do not belong to {label(update)}.")
            _check_options(update, member, options, integers)


def check_error_object(error: Any, where: str) -> None:
    """Check the shape of an error object."""
    if not isinstance(error, dict) or not _ERROR_MEMBERS.issuperset(error):
        refuse(f"Error must be an object of {', '.join(sorted(_ERROR_MEMBERS))}: {where}.")
    for member, value in error.items():
        good = isinstance(value, list) and all(isinstance(line, str) for line in value)
        if not (good if member == "StackTrace" else isinstance(value, str)):
            refuse(f"{member} of Error has the wrong type: {where}.")


def _check_options(update: Update, member: str, options: Any, integers: Mapping[str, tuple[int, int]]) -> None:
    allowed = {*integers, _BOOLEANS.get(member), *_STRING_OPTIONS.get(member, ())}
    if not isinstance(options, dict) or not allowed.issuperset(options):
        refuse(f"Invalid {member} for the given action: {label(update)}.")
    for name, value in options.items():
        if name in integers:
            low, high = integers[name]
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                refuse(f"{name} must be a whole number from {low} to {high}: {label(update)}.")
        elif name == _BOOLEANS.get(member):
            if not isinstance(value, bool):
                refuse(f"{name} must be a boolean: {label(update)}.")
        elif not isinstance(value, str):
            refuse(f"{name} must be a string: {label(update)}.")
    if member == "ChainedInvokeOptions":
        _check_invoke(update, options)


def _check_invoke(update: Update, options: Mapping[str, str]) -> None:
    name, tenant = options.get("FunctionName", ""), options.get("TenantId")
    if len(name) > _FUNCTION_NAME_LENGTH or _FUNCTION_NAME.fullmatch(name) is None:
        refuse(f"FunctionName must be a function name or ARN: {label(update)}.")
    if tenant is not None and (len(tenant) > _FUNCTION_NAME_LENGTH or _TENANT.fullmatch(tenant) is None):
        refuse(f"TenantId must match {_TENANT.pattern}: {label(update)}.")
    if len(options.get("XAmznTraceId", "")) > _TRACE_LENGTH:
        refuse(f"XAmznTraceId must be at most {_TRACE_LENGTH} characters: {label(update)}.")
