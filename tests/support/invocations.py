"""Invocations by hand: a history of event dicts, one invocation, and a client that writes down its calls."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from perdure import DurableContext, run_durable_handler
from perdure.engine.client import PAGE
from perdure.waits import WaitForConditionDecision

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/name/execution-id"
NOW = 1_767_225_600_000
"""Unix milliseconds at which everything in a handmade history began."""

Update = dict[str, Any]
Answer = Callable[[list[Update]], list[dict[str, Any]]]

_DETAILS = {
    "STEP": "StepDetails",
    "CONTEXT": "ContextDetails",
    "WAIT": "WaitDetails",
    "CALLBACK": "CallbackDetails",
    "CHAINED_INVOKE": "ChainedInvokeDetails",
}
_SUB_TYPES = {
    "STEP": "Step",
    "CONTEXT": "RunInChildContext",
    "WAIT": "Wait",
    "CALLBACK": "Callback",
    "CHAINED_INVOKE": "ChainedInvoke",
}


def op_id(*path: int) -> str:
    """Give the id at a position: ``op_id(2, 1)`` is the first operation inside the root's second."""
    prefix = ""
    for n in path:
        position = f"{prefix}-{n}" if prefix else str(n)
        prefix = hashlib.blake2b(position.encode()).hexdigest()[:64]
    return prefix


def op(kind: str, status: str, *path: int, **members: Any) -> dict[str, Any]:
    """Build a recorded operation at a position; ``details`` go where its type keeps them."""
    path = path or (1,)
    details = members.pop("details", None)
    operation = {
        "Id": op_id(*path),
        "Type": kind,
        "SubType": _SUB_TYPES[kind],
        "Status": status,
        "StartTimestamp": NOW,
    }
    if len(path) > 1:
        operation["ParentId"] = op_id(*path[:-1])
    if details is not None:
        operation[_DETAILS[kind]] = details
    return {key: value for key, value in {**operation, **members}.items() if value is not None}


def update(kind: str, action: str, *path: int, **members: Any) -> dict[str, Any]:
    """Build the update that is expected at a position."""
    path = path or (1,)
    shape = {key: value for key, value in op(kind, "", *path).items() if key not in ("Status", "StartTimestamp")}
    return {key: value for key, value in {**shape, "Action": action, **members}.items() if value is not None}


def poll(state: int, _attempt: int) -> WaitForConditionDecision:
    """Ask again after 4 s, until there are three."""
    if state >= 3:
        return WaitForConditionDecision.stop_polling()
    return WaitForConditionDecision.continue_waiting(4)


def execution(payload: str | None = "{}") -> dict[str, Any]:
    """Build the EXECUTION operation."""
    details = {} if payload is None else {"InputPayload": payload}
    return {
        "Id": "execution-id",
        "Type": "EXECUTION",
        "Status": "STARTED",
        "StartTimestamp": NOW,
        "ExecutionDetails": details,
    }


def error(message: str = "broken", kind: str = "ValueError", **members: Any) -> dict[str, Any]:
    return {"ErrorMessage": message, "ErrorType": kind, **members}


class Recorder:
    """A client that accepts everything, and gives each callback an id.

    Args:
        answer: Gives the operations of each response, from the updates.
        script: What happens instead of the first calls: an exception is raised, a dict is the response, None is as
            usual.
        pages: What `get_durable_execution_state` gives, by marker.

    """

    def __init__(
        self,
        answer: Answer | None = None,
        script: list[Any] | None = None,
        pages: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self.answer = answer or (lambda _updates: [])
        self.script: Iterator[Any] = iter(script or [])
        self.pages = pages or {}
        self.calls: list[dict[str, Any]] = []
        self.state_calls: list[dict[str, Any]] = []

    def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
        self.calls.append(call)
        scripted = next(self.script, None)
        if isinstance(scripted, BaseException):
            raise scripted
        if scripted is not None:
            return scripted
        updates = call["Updates"]
        operations = [
            op("CALLBACK", "STARTED", details={"CallbackId": "cb-" + update["Id"][:6]})
            | {key: update[key] for key in ("Id", "SubType", "Name", "ParentId") if key in update}
            for update in updates
            if update["Type"] == "CALLBACK"
        ]
        return {
            "CheckpointToken": f"token-{len(self.calls)}",
            "NewExecutionState": {"Operations": operations + self.answer(updates)},
        }

    def get_durable_execution_state(self, **call: Any) -> dict[str, Any]:
        self.state_calls.append(call)
        page = self.pages[call["Marker"]]
        if isinstance(page, BaseException):
            raise page
        return page

    @property
    def batches(self) -> list[list[Update]]:
        return [call["Updates"] for call in self.calls]

    @property
    def updates(self) -> list[Update]:
        return [update for batch in self.batches for update in batch]

    @property
    def summary(self) -> list[list[str]]:
        """Each batch as ``TYPE ACTION [name]``."""
        return [
            [" ".join(filter(None, (update["Type"], update["Action"], update.get("Name")))) for update in batch]
            for batch in self.batches
        ]


class LambdaContext:
    """A Lambda context with as much time as a test wants."""

    aws_request_id = "request"
    function_name = "f"

    def __init__(self, *remaining: float) -> None:
        self.remaining = list(remaining) or [900.0]

    def get_remaining_time_in_millis(self) -> int:
        """Give the next of the times; the last one stays."""
        return int(1000 * (self.remaining.pop(0) if len(self.remaining) > 1 else self.remaining[0]))


def event(*operations: dict[str, Any], payload: str | None = "{}", marker: str | None = None) -> dict[str, Any]:
    """Build a Lambda event with a history."""
    state: dict[str, Any] = {"Operations": [execution(payload), *operations]}
    if marker is not None:
        state["NextMarker"] = marker
    return {"DurableExecutionArn": ARN, "CheckpointToken": "token-0", "InitialExecutionState": state}


def invoke(
    handler: Callable[[DurableContext], Any],
    *operations: dict[str, Any],
    client: Any = None,
    context: Any = None,
    **options: Any,
) -> tuple[dict[str, Any], Recorder]:
    """Run one invocation of a handler on a history; give its response and the client with what it was sent."""
    client = client or Recorder()
    response = run_durable_handler(
        event(*operations),
        context or LambdaContext(),
        lambda _event, durable: handler(durable),
        boto3_client=client,
        **options,
    )
    return response, client


def succeeded(result: str) -> dict[str, Any]:
    return {"Status": "SUCCEEDED", "Result": result}


PENDING = {"Status": "PENDING"}

__all__ = [
    "ARN",
    "NOW",
    "PAGE",
    "PENDING",
    "LambdaContext",
    "Recorder",
    "error",
    "event",
    "execution",
    "invoke",
    "op",
    "op_id",
    "succeeded",
]
