"""What `--json` prints. The names of members stay as they are; new ones may be added.

Moments are ISO 8601 in UTC with milliseconds, lengths of time milliseconds, sizes bytes; null is "none, or not known".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.cli.drawing import bars
from perdure.cli.drawing.scale import Scale
from perdure.cli.drawing.text import iso, milliseconds, parsed
from perdure.cli.drawing.tree import budget_of

if TYPE_CHECKING:
    from perdure.cli.drawing.bars import Bar
    from perdure.history.tree import Node, Period, Run
    from perdure.local.machine.budget import Prices


def summary(described: dict[str, Any]) -> dict[str, Any]:
    """Describe an execution as `list` does."""
    start, end = described["StartTimestamp"], described.get("EndTimestamp")
    return {
        "arn": described["DurableExecutionArn"],
        "name": described["DurableExecutionName"],
        "functionArn": described.get("FunctionArn"),
        "status": described["Status"],
        "startedAt": iso(start),
        "endedAt": iso(end),
        "milliseconds": None if end is None else milliseconds(end - start),
    }


def outcome(described: dict[str, Any]) -> dict[str, Any]:
    """Describe an execution and what came of it, as `invoke --wait` does."""
    return {
        **summary(described),
        "version": described.get("Version"),
        "result": parsed(described.get("Result")),
        "error": described.get("Error"),
    }


def show(run: Run, *, data: bool, prices: Prices | None = None) -> dict[str, Any]:
    """Describe an execution with its operations, each after the one it is in."""
    described = run.described
    pause = described.get("PauseDetails")
    budget = budget_of(run, prices).to_dict()
    if not data:
        budget["writtenBytes"] = budget["price"] = None
    return {
        **outcome(described),
        "input": parsed(described.get("InputPayload")),
        "pause": pause
        and {
            "requestedAt": iso(pause["PauseRequestTimestamp"]),
            "reason": pause.get("Reason"),
            "timeoutPaused": pause.get("ExecutionTimeoutPaused"),
        },
        "invocations": len(run.invocations),
        "failedInvocations": len(run.failures),
        "invocationError": (run.failures[-1] or None) if run.failures else None,
        "budget": budget,
        "openCallbacks": [
            node.callback_id for node in run.nodes.values() if node.callback_id and node.status == "STARTED"
        ],
        "operations": [_operation(node, len(lasts) - 1, run) for node, lasts in run.walk()],
    }


def timeline(run: Run, *, fold: bool) -> dict[str, Any]:
    """Describe an execution as its timeline is drawn."""
    first, *others = bars.rows(run)
    scale = Scale(run, fold=fold)
    return {
        **summary(run.described),
        "lastedMilliseconds": milliseconds(run.lasted),
        "bars": [_bar(bar, scale) for bar in first.bars],
        "invocations": [_period(period) for period in run.invocations],
        "rows": [
            {**_names(row.node, len(row.lasts) - 1), "bars": [_bar(bar, scale) for bar in row.bars]}
            for row in others
            if row.node is not None
        ],
    }


def _names(node: Node, depth: int) -> dict[str, Any]:
    return {
        "id": node.id,
        "parentId": node.parent_id,
        "depth": depth,
        "type": node.type,
        "subType": node.sub_type,
        "name": node.name,
        "status": node.status,
    }


def _operation(node: Node, depth: int, run: Run) -> dict[str, Any]:
    return {
        **_names(node, depth),
        "attempts": node.attempt_count if node.type == "STEP" else None,
        "startedAt": iso(node.started_at),
        "endedAt": iso(node.ended_at),
        "milliseconds": milliseconds(node.duration),
        "dueAt": None if run.ended else iso(node.deadline(run.now)),
        "heartbeatMilliseconds": milliseconds(node.heartbeat),
        "inputBytes": node.input_bytes,
        "resultBytes": node.result_bytes,
        "truncated": node.truncated,
        "error": node.error,
        "callbackId": node.callback_id,
        "functionName": node.target,
        "childArn": node.child_arn,
    }


def _bar(bar: Bar, scale: Scale) -> dict[str, Any]:
    return {
        "kind": bar.kind,
        "startedAt": iso(bar.start),
        "endedAt": None if bar.open else iso(bar.end),
        "from": round(scale.at(bar.start), 6),
        "to": round(scale.at(bar.end), 6),
    }


def _period(period: Period) -> dict[str, Any]:
    return {"startedAt": iso(period.started_at), "endedAt": iso(period.ended_at), "failed": period.failed}
