"""A history of an execution as AWS may tell it, written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from perdure.history.tree import build

if TYPE_CHECKING:
    from perdure.history.tree import Run

START = datetime(2026, 1, 1, tzinfo=UTC)


class Story:
    """Events, written down one after the other."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.tell(0, "ExecutionStarted", Id="root", Input={"Payload": "{}"})

    @staticmethod
    def at(seconds: float) -> datetime:
        """Return a moment after the start."""
        return START + timedelta(seconds=seconds)

    def tell(self, seconds: float, kind: str, **members: Any) -> Story:
        """Write down an event."""
        event = {"EventId": len(self.events) + 1, "EventType": kind, "EventTimestamp": self.at(seconds)}
        for name in ("Id", "Name", "SubType", "ParentId"):
            if name in members:
                event[name] = members.pop(name)
        self.events.append({**event, f"{kind}Details": members})
        return self

    def run(self, status: str = "RUNNING", end: float | None = None, now: float = 0) -> Run:
        """Read what was written down, as it is known at a moment."""
        described: dict[str, Any] = {
            "DurableExecutionArn": "arn:aws:lambda:us-east-1:1:function:f:1/durable-execution/n/root",
            "DurableExecutionName": "n",
            "FunctionArn": "arn:aws:lambda:us-east-1:1:function:f:1",
            "Status": status,
            "StartTimestamp": START,
        }
        if end is not None:
            described["EndTimestamp"] = self.at(end)
        return build(described, self.events, self.at(now))


def retry(attempt: int, delay: int | None = None) -> dict[str, Any]:
    """Give the RetryDetails of an attempt."""
    return {"CurrentAttempt": attempt, **({} if delay is None else {"NextAttemptDelaySeconds": delay})}
