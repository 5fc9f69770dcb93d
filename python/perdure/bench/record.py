"""What can be replayed: an invocation's event, exported operations, or the history of an execution."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from perdure.bench.replay import ARN, BenchError

if TYPE_CHECKING:
    from perdure.bench.replay import Wire

_SECONDS_END = 100_000_000_000
"""A timestamp below this is in seconds (until the year 5138), one above it in milliseconds (since 1973)."""
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
        BenchError: If it is none of these, or has only a part of the history.

    """
    document = _read(text)
    if "InitialExecutionState" in document:
        _check(document["InitialExecutionState"])
        return text
    if isinstance(document.get("events", document.get("Events")), list):
        from perdure.bench.history import operations_of  # noqa: PLC0415 - only for those who need it

        document = {"DurableExecutionArn": document.get("arn"), "Operations": operations_of(document)}
    execution = _check(document)
    for operation in document["Operations"]:
        _use_milliseconds(operation)
    event = {
        "DurableExecutionArn": document.get("DurableExecutionArn") or ARN + execution["Id"],
        "CheckpointToken": "bench",
        "InitialExecutionState": {"Operations": document["Operations"]},
    }
    return json.dumps(event)


def to_moment(value: Any) -> datetime:
    """Read a timestamp: ISO text, or seconds or milliseconds since 1970."""
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    return datetime.fromtimestamp(value if value < _SECONDS_END else value / 1000, UTC)


def _read(text: str) -> Wire:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BenchError(_NEITHER)
    if "arn" in document and ("operations" in document or "rows" in document):  # what `show` and `timeline` print
        raise BenchError(f"it tells of operations without what they returned; {_PRINTED} prints that, too")
    return document


def _check(state: Any) -> Wire:
    """Check that operations are there, all of them; give that of the execution."""
    if not isinstance(state, dict) or not isinstance(state.get("Operations"), list):
        raise BenchError(_NEITHER)
    if state.get("NextMarker"):
        raise BenchError(
            "it has a NextMarker, so the history goes on elsewhere: read the further pages "
            "(GetDurableExecutionState), and put all operations into one file under Operations"
        )
    execution = next((operation for operation in state["Operations"] if operation.get("Type") == "EXECUTION"), None)
    if execution is None:
        raise BenchError("it lacks the operation of type EXECUTION, which carries the handler's input")
    return dict(execution)


def _use_milliseconds(members: Wire) -> None:
    """Bring exported timestamps (ISO text, seconds) into the form that an event has."""
    for key, value in members.items():
        if isinstance(value, dict):
            _use_milliseconds(value)
        elif key.endswith("Timestamp") and (
            isinstance(value, str) or (isinstance(value, (int, float)) and value < _SECONDS_END)
        ):
            members[key] = round(to_moment(value).timestamp() * 1000)
