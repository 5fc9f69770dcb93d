"""Files of what can be replayed: an invocation's event, exported operations, or the history of an execution."""

from __future__ import annotations

import json
from typing import Any

from perdure.history.events import to_moment
from perdure.history.operations import HistoryError, operations_for_replay

Wire = dict[str, Any]

FUNCTION_ARN = "arn:aws:lambda:us-east-1:000000000000:function:bench:$LATEST"
"""The function of executions whose own is not known."""
_ARN = f"{FUNCTION_ARN}/durable-execution/bench/"
_PRINTED = "`perdure history EXECUTION --json --data`"
_NEITHER = (
    f'it is neither the event of a durable invocation nor {{"Operations": […]}} nor a history, as {_PRINTED} prints it'
)


def event_text(text: str) -> str:
    """Make the text of an invocation's event from a file's.

    Args:
        text: Such an event, ``{"Operations": […]}``, or a history with its data: what `perdure history --json --data`
            prints, or ``{"Events": […]}`` of ``GetDurableExecutionHistory``.

    Raises:
        HistoryError: If it is none of these, or has only a part of the history.

    """
    document = _read(text)
    if "InitialExecutionState" in document:
        _check(document["InitialExecutionState"])
        return text
    if isinstance(document.get("events", document.get("Events")), list):
        document = {"DurableExecutionArn": document.get("arn"), "Operations": operations_for_replay(document)}
    execution = _check(document)
    for operation in document["Operations"]:
        _use_milliseconds(operation)
    event = {
        "DurableExecutionArn": document.get("DurableExecutionArn") or _ARN + execution["Id"],
        "CheckpointToken": "bench",
        "InitialExecutionState": {"Operations": document["Operations"]},
    }
    return json.dumps(event)


def _read(text: str) -> Wire:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HistoryError(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise HistoryError(_NEITHER)
    if "arn" in document and ("operations" in document or "rows" in document):  # what `show` and `timeline` print
        raise HistoryError(f"it tells of operations without what they returned; {_PRINTED} prints that, too")
    return document


def _check(state: Any) -> Wire:
    """Check that operations are there, all of them; give that of the execution."""
    if not isinstance(state, dict) or not isinstance(state.get("Operations"), list):
        raise HistoryError(_NEITHER)
    if state.get("NextMarker"):
        raise HistoryError(
            "it has a NextMarker, so the history goes on elsewhere: read the further pages "
            "(GetDurableExecutionState), and put all operations into one file under Operations"
        )
    execution = next((operation for operation in state["Operations"] if operation.get("Type") == "EXECUTION"), None)
    if execution is None:
        raise HistoryError("it lacks the operation of type EXECUTION, which carries the handler's input")
    return dict(execution)


def _use_milliseconds(members: Wire) -> None:
    """Bring exported timestamps (ISO text, seconds) into the form that an event has."""
    for key, value in members.items():
        if isinstance(value, dict):
            _use_milliseconds(value)
        elif key.endswith("Timestamp") and isinstance(value, (str, int, float)):
            members[key] = round(to_moment(value).timestamp() * 1000)
