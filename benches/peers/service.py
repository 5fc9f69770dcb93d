"""The least service that is correct: boto3-shaped, in memory, with a latency if wanted.

It is the same for every contender, so what it costs is in every figure. It answers a checkpoint with the operations
that changed, checks nothing, and counts.
"""

from __future__ import annotations

import json
import time
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

Wire = dict[str, Any]

EXECUTION_ID = "5c1f0a52-8a5c-4e39-9d1c-7f1b4a3b2c1d"
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:bench:1/durable-execution/bench/" + EXECUTION_ID
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
TOKEN = "token"  # noqa: S105  nobody checks it
PAGE = 1000

_DETAILS = {"STEP": "StepDetails", "CONTEXT": "ContextDetails", "EXECUTION": "ExecutionDetails"}
_STATUS = {"START": "STARTED", "SUCCEED": "SUCCEEDED", "FAIL": "FAILED"}


class LambdaContext:
    """What Lambda hands to a handler."""

    function_name = "bench"
    function_version = "1"
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:bench:1"
    memory_limit_in_mb = 1024
    aws_request_id = "4b6c0c64-7d3c-4d0a-9a3f-0d9a2f0d4b11"
    log_group_name = "/aws/lambda/bench"
    log_stream_name = "bench"
    identity = None
    client_context = None
    tenant_id = None

    def get_remaining_time_in_millis(self) -> int:
        """Give the time that is left."""
        return 900_000


class Service:
    """A client with the two calls that a durable function makes.

    Args:
        latency: Seconds that each call takes.

    """

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self.reset()

    def reset(self, operations: list[Wire] | None = None, pages: list[list[Wire]] | None = None) -> None:
        """Begin a new execution, or go on with one that has operations."""
        self.operations: dict[str, Wire] = {operation["Id"]: operation for operation in operations or ()}
        self.pages = pages or []
        self.calls = 0
        self.updates = 0

    def checkpoint_durable_execution(self, **request: Any) -> Wire:
        """Record updates, and give back what changed."""
        updates: list[Wire] = request["Updates"]
        self.calls += 1
        self.updates += len(updates)
        if self.latency:
            time.sleep(self.latency)
        changed: dict[str, Wire] = {}
        for update in updates:
            key = update["Id"]
            kind = update["Type"]
            operation = self.operations.get(key)
            if operation is None:
                operation = {"Id": key, "Type": kind, "StartTimestamp": NOW}
                for member in ("SubType", "Name", "ParentId"):
                    if member in update:
                        operation[member] = update[member]
                self.operations[key] = operation
            action = update["Action"]
            operation["Status"] = _STATUS[action]
            if action != "START":
                operation["EndTimestamp"] = NOW
                details: Wire = {"Attempt": 1} if kind == "STEP" else {}
                if "Payload" in update:
                    details["Result"] = update["Payload"]
                if "Error" in update:
                    details["Error"] = update["Error"]
                if kind == "CONTEXT" and update.get("ContextOptions"):
                    details.update(update["ContextOptions"])
                operation[_DETAILS[kind]] = details
            changed[key] = operation
        return {"CheckpointToken": TOKEN, "NewExecutionState": {"Operations": list(changed.values())}}

    def get_durable_execution_state(self, **request: Any) -> Wire:
        """Give a further page."""
        self.calls += 1
        if self.latency:
            time.sleep(self.latency)
        number = int(request["Marker"])
        page: Wire = {"Operations": self.pages[number]}
        if number + 1 < len(self.pages):
            page["NextMarker"] = str(number + 1)
        return page


def execution(payload: str = "{}") -> Wire:
    """Give the operation that stands for the execution itself."""
    return {
        "Id": EXECUTION_ID,
        "Name": "bench",
        "Type": "EXECUTION",
        "Status": "STARTED",
        "StartTimestamp": NOW,
        "ExecutionDetails": {"InputPayload": payload},
    }


def event_of(operations: list[Wire], marker: str | None = None) -> Wire:
    """Give the event that Lambda would send with these operations."""
    state: Wire = {"Operations": [on_the_wire(operation) for operation in [execution(), *operations]]}
    if marker:
        state["NextMarker"] = marker
    return {"DurableExecutionArn": ARN, "CheckpointToken": TOKEN, "InitialExecutionState": state}


def on_the_wire(operation: Wire) -> Wire:
    """Give an operation as it stands in an event: with timestamps as milliseconds."""
    return {key: NOW_MS if value is NOW else value for key, value in deepcopy_but(operation).items()}


def deepcopy_but(operation: Wire) -> Wire:
    """Copy an operation, but not its one shared timestamp."""
    return deepcopy(operation, {id(NOW): NOW})


def text_of(event: Wire) -> str:
    """Give an event as the text that Lambda's runtime parses."""
    return json.dumps(event)
