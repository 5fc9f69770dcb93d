"""The kinds of operations and what happens to them, as event types name them: ``StepFailed`` is of `Step`, `Failed`."""

from __future__ import annotations

KINDS = {
    "ChainedInvoke": "CHAINED_INVOKE",
    "Execution": "EXECUTION",
    "Context": "CONTEXT",
    "Callback": "CALLBACK",
    "Step": "STEP",
    "Wait": "WAIT",
}
"""The type of an operation by the first part of an event's type."""
STATUSES = {
    "Started": "STARTED",
    "Succeeded": "SUCCEEDED",
    "Failed": "FAILED",
    "TimedOut": "TIMED_OUT",
    "Stopped": "STOPPED",
    "Cancelled": "CANCELLED",
}
"""The status of an operation by the rest of an event's type."""
ENDED = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "CANCELLED"})
"""The statuses after which nothing more happens to an operation, or to an execution."""


def split(event_type: str) -> tuple[str, str]:
    """Split `StepFailed` into `Step` and `Failed`; the first is empty for what is of no operation."""
    kind = next((kind for kind in KINDS if event_type.startswith(kind)), "")
    return kind, event_type.removeprefix(kind)
