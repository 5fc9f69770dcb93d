"""An execution as plain JSON and back, for stores that outlive the process. Pure, like the machine."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from perdure.local.machine.clock import from_millis, to_millis
from perdure.local.machine.execution import Execution, Origin, Pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from perdure.local.machine.limits import Limits
    from perdure.local.machine.transitions import Operation

State = dict[str, Any]
_MOMENTS = frozenset(
    {
        "StartTimestamp",
        "EndTimestamp",
        "NextAttemptTimestamp",
        "ScheduledEndTimestamp",
        "EventTimestamp",
        "PauseRequestTimestamp",
        "ResumeRequestTimestamp",
    }
)
_PLAIN = (
    "status",
    "result",
    "error",
    "deleting",
    "invocations",
    "revoked",
    "wanted",
    "explicit_timeout",
    "timeout_seconds",
    "failures",
    "deaths",
    "idle_returns",
    "written_bytes",
    "event_count",
    "requests",
)


def to_plain(value: dict[str, Any]) -> dict[str, Any]:
    """Turn the moments in an operation or an event into Unix milliseconds."""
    return {
        key: to_millis(item) if isinstance(item, datetime) else to_plain(item) if isinstance(item, dict) else item
        for key, item in value.items()
    }


def from_plain(value: dict[str, Any]) -> dict[str, Any]:
    """Turn the Unix milliseconds in an operation or an event into moments."""
    return {
        key: from_millis(item)
        if key in _MOMENTS and isinstance(item, int)
        else from_plain(item)
        if isinstance(item, dict)
        else item
        for key, item in value.items()
    }


def dump(execution: Execution) -> State:
    """Return everything about an execution but its operations, their notes, and its history."""
    pause = execution.pause
    return {
        **{name: getattr(execution, name) for name in _PLAIN},
        "journal": execution.dump(),
        "origin": _origin(execution.origin),
        "started_at": to_millis(execution.started_at),
        "ended_at": _millis(execution.ended_at),
        "expires_at": _millis(execution.expires_at),
        "retry_at": _millis(execution.retry_at),
        "due_at": _millis(execution.due_at),
        "latest": to_millis(execution.latest),
        "invoking": execution.invoking,
        "pause": None
        if pause is None
        else [to_millis(pause.requested_at), pause.reason, pause.stops_timeout, _millis(pause.since)],
    }


def load(
    arn: str,
    state: State,
    operations: Iterable[tuple[Operation, dict[str, Any] | None]],
    limits: Limits,
    retry_delay: Callable[[int], float],
) -> Execution:
    """Make an execution out of what `dump` returned and its operations, ready to go on.

    An invocation that was under way is lost with the process that ran it; `abandon_invocation` takes note of that.
    """
    origin = dict(state["origin"])
    origin["parent"] = tuple(origin["parent"]) if origin["parent"] else None
    execution = Execution(
        arn, None, from_millis(state["started_at"]), limits, retry_delay=retry_delay, origin=Origin(**origin)
    )
    for name in _PLAIN:
        if name in state:  # what an earlier version did not know is as it is in a new execution
            setattr(execution, name, state[name])
    execution.operations.clear()
    for operation, note in operations:
        execution.operations[operation["Id"]] = operation
        if note is not None:
            execution.notes[operation["Id"]] = note
    execution.log.clear()
    execution.unsaved.clear()
    execution.ended_at, execution.retry_at = _moment(state["ended_at"]), _moment(state["retry_at"])
    if execution.ended_at is not None:
        execution.expires_at = _moment(state.get("expires_at"))
        execution.notice_end(execution.ended_at)  # which an earlier version did not write down
    execution.due_at = _moment(state["due_at"])
    execution.latest = _moment(state.get("latest")) or execution.started_at
    if state["pause"] is not None:
        requested_at, reason, stops_timeout, since = state["pause"]
        execution.pause = Pause(from_millis(requested_at), reason, stops_timeout, _moment(since))
    execution.restore(state["journal"])
    execution.invoking = state["invoking"] and not execution.terminal
    return execution


@cache
def _origin(origin: Origin) -> dict[str, Any]:
    return {name: getattr(origin, name) for name in Origin.__slots__}


def _millis(moment: datetime | None) -> int | None:
    return None if moment is None else to_millis(moment)


def _moment(millis: int | None) -> datetime | None:
    return None if millis is None else from_millis(millis)
