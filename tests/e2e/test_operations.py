"""Each operation fresh, replayed and still pending: its value, what it sends, and what it does not send."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from perdure import (
    CallbackExternalError,
    CallbackTimeoutError,
    ChildContextError,
    DurableContext,
    DurableOperationError,
    InvokeError,
    StepError,
    WaitForConditionError,
)
from perdure.concurrency.models import BatchItem, BatchItemStatus, BatchResult, CompletionReason
from perdure.config import CallbackConfig, CompletionConfig, NestingType, StepSemantics
from perdure.exceptions import StepInterruptedError
from perdure.retries import RetryDecision, WithRetryConfig, with_retry
from perdure.serdes import serialize
from support.invocations import PENDING, Recorder, error, invoke, op, op_id, poll, succeeded, update

AT_MOST_ONCE = StepSemantics.AT_MOST_ONCE_PER_RETRY
Handler = Callable[[DurableContext], Any]

RECORDED = error("broken", "ValueError", ErrorData="data", StackTrace=["line 1"])
LATER = 4_102_444_800_000  # the year 2100
DUE = {"NextAttemptTimestamp": LATER}


def once_more(_error: Exception, _attempt: int) -> RetryDecision:
    return RetryDecision.retry(7)


def give_up(_error: Exception, _attempt: int) -> RetryDecision:
    return RetryDecision.no_retry()


def fail(*_: Any) -> Any:
    raise ValueError("broken")


def context_options(replay: bool = False) -> dict[str, Any]:
    return {"ContextOptions": {"ReplayChildren": replay}}


RETRY_7 = {"StepOptions": {"NextAttemptDelaySeconds": 7}}


class Json:
    """A serdes of a user's."""

    def serialize(self, value: Any, _context: Any) -> str:
        return json.dumps(value)

    def deserialize(self, data: str, _context: Any) -> Any:
        return json.loads(data)


JSON: Any = Json()


def branch(status: str, n: int, **members: Any) -> dict[str, Any]:
    """Build the recorded branch ``n`` of a parallel at the first position."""
    return op("CONTEXT", status, 1, n, SubType="ParallelBranch", Name=f"parallel-branch-{n}", **members)


def summary(**members: Any) -> str:
    """Build what is recorded of a parallel whose result is too large."""
    fixed = {"type": "ParallelResult", "completionReason": "ALL_COMPLETED", "status": "SUCCEEDED"}
    return json.dumps({**fixed, **members})


OFFICIAL = "aws_durable_execution_sdk_python.exceptions."
BROKEN = {"ErrorMessage": "broken", "ErrorType": "ValueError"}
CALLBACK_OPTIONS = {"CallbackOptions": {"TimeoutSeconds": 0, "HeartbeatTimeoutSeconds": 0}}


# ---- fresh

FRESH: dict[str, tuple[Handler, dict[str, Any], list[list[dict[str, Any]]]]] = {
    "nothing": (lambda _: "done", succeeded('"done"'), []),
    "step": (
        lambda c: c.step(lambda _: (1, 2), "s"),
        succeeded("[1, 2]"),
        [
            [
                update("STEP", "START", Name="s"),
                update("STEP", "SUCCEED", Name="s", Payload='{"t":"t","v":[{"t":"i","v":1},{"t":"i","v":2}]}'),
            ]
        ],
    ),
    "step that retries": (
        lambda c: c.step(fail, "s", retry=once_more),
        PENDING,
        [[update("STEP", "START", Name="s"), update("STEP", "RETRY", Name="s", Error=BROKEN, **RETRY_7)]],
    ),
    "step that fails": (
        lambda c: c.step(fail, retry=give_up),
        {"Status": "FAILED", "Error": {**BROKEN, "ErrorType": OFFICIAL + "StepError"}},
        [[update("STEP", "START"), update("STEP", "FAIL", Error=BROKEN)]],
    ),
    "at-most-once step": (
        lambda c: c.step(lambda _: 1, step_semantics=AT_MOST_ONCE),
        succeeded("1"),
        [[update("STEP", "START")], [update("STEP", "SUCCEED", Payload="1")]],
    ),
    "at-most-once step that retries": (
        lambda c: c.step(fail, step_semantics=AT_MOST_ONCE, retry=once_more),
        PENDING,
        [[update("STEP", "START")], [update("STEP", "RETRY", Error=BROKEN, **RETRY_7)]],
    ),
    "step with a subtype": (
        lambda c: c.step(lambda _: None, sub_type="Mine"),
        succeeded("null"),
        [[update("STEP", "START", SubType="Mine"), update("STEP", "SUCCEED", SubType="Mine", Payload="null")]],
    ),
    "wait": (
        lambda c: c.wait(5, "w"),
        PENDING,
        [[update("WAIT", "START", Name="w", WaitOptions={"WaitSeconds": 5})]],
    ),
    "callback": (
        lambda c: c.create_callback("c").callback_id,
        succeeded(f'"cb-{op_id(1)[:6]}"'),
        [[update("CALLBACK", "START", Name="c", **CALLBACK_OPTIONS)]],
    ),
    "callback's result": (
        lambda c: c.create_callback(timeout=60, heartbeat_timeout=9).result(),
        PENDING,
        [
            [
                update(
                    "CALLBACK",
                    "START",
                    CallbackOptions={"TimeoutSeconds": 60, "HeartbeatTimeoutSeconds": 9},
                )
            ]
        ],
    ),
    "invoke": (
        lambda c: c.invoke("fn:1", {"a": (1, "é")}, "i", tenant_id="t"),
        PENDING,
        [
            [
                update(
                    "CHAINED_INVOKE",
                    "START",
                    Name="i",
                    Payload='{"a": [1, "\\u00e9"]}',
                    ChainedInvokeOptions={"FunctionName": "fn:1", "TenantId": "t"},
                )
            ]
        ],
    ),
    "child": (
        lambda c: c.run_in_child_context(lambda _: "x", "k"),
        succeeded('"x"'),
        [
            [
                update("CONTEXT", "START", Name="k"),
                update("CONTEXT", "SUCCEED", Name="k", Payload='"x"', **context_options()),
            ]
        ],
    ),
    "child that fails": (
        lambda c: c.run_in_child_context(fail),
        {
            "Status": "FAILED",
            "Error": {**BROKEN, "ErrorType": OFFICIAL + "ChildContextError"},
        },
        [[update("CONTEXT", "START"), update("CONTEXT", "FAIL", Error=BROKEN)]],
    ),
    "child with a step": (
        lambda c: c.run_in_child_context(lambda k: k.step(lambda _: 1)),
        succeeded("1"),
        [
            [
                update("CONTEXT", "START"),
                update("STEP", "START", 1, 1),
                update("STEP", "SUCCEED", 1, 1, Payload="1"),
            ],
            [update("CONTEXT", "SUCCEED", Payload="1", **context_options())],
        ],
    ),
    "child with a wait": (
        lambda c: c.run_in_child_context(lambda k: k.wait(2)),
        PENDING,
        [[update("CONTEXT", "START"), update("WAIT", "START", 1, 1, WaitOptions={"WaitSeconds": 2})]],
    ),
    "virtual child": (
        lambda c: c.run_in_child_context(lambda k: k.step(lambda _: 1), is_virtual=True),
        succeeded("1"),
        [
            [
                update("STEP", "START", 1, 1, ParentId=None),
                update("STEP", "SUCCEED", 1, 1, ParentId=None, Payload="1"),
            ]
        ],
    ),
    "virtual child inside a child": (
        lambda c: c.run_in_child_context(lambda k: k.run_in_child_context(lambda v: v.wait(3), is_virtual=True)),
        PENDING,
        [
            [
                update("CONTEXT", "START"),
                update("WAIT", "START", 1, 1, 1, ParentId=op_id(1), WaitOptions={"WaitSeconds": 3}),
            ]
        ],
    ),
    "condition that is met at once": (
        lambda c: c.wait_for_condition(lambda s, _: s + 3, wait_strategy=poll, initial_state=0),
        succeeded("3"),
        [
            [
                update("STEP", "START", SubType="WaitForCondition"),
                update("STEP", "SUCCEED", SubType="WaitForCondition", Payload="3"),
            ]
        ],
    ),
    "condition that is not met": (
        lambda c: c.wait_for_condition(lambda s, _: s + 1, wait_strategy=poll, initial_state=0),
        PENDING,
        [
            [
                update("STEP", "START", SubType="WaitForCondition"),
                update(
                    "STEP",
                    "RETRY",
                    SubType="WaitForCondition",
                    Payload="1",
                    StepOptions={"NextAttemptDelaySeconds": 4},
                ),
            ]
        ],
    ),
    "condition whose check raises": (
        lambda c: c.wait_for_condition(fail, wait_strategy=poll, initial_state=0),
        {
            "Status": "FAILED",
            "Error": {**BROKEN, "ErrorType": OFFICIAL + "WaitForConditionError"},
        },
        [
            [
                update("STEP", "START", SubType="WaitForCondition"),
                update("STEP", "FAIL", SubType="WaitForCondition", Error=BROKEN),
            ]
        ],
    ),
    "wait for callback": (
        lambda c: c.wait_for_callback(lambda _id, _c: None, "ask"),
        PENDING,
        [
            [
                update("CONTEXT", "START", SubType="WaitForCallback", Name="ask"),
                update("CALLBACK", "START", 1, 1, Name="ask create callback id", **CALLBACK_OPTIONS),
            ],
            [
                update("STEP", "START", 1, 2, Name="ask submitter"),
                update("STEP", "SUCCEED", 1, 2, Name="ask submitter", Payload="null"),
            ],
        ],
    ),
    "map of nothing": (
        lambda c: c.map([], fail).get_results(),
        succeeded("[]"),
        [
            [
                update("CONTEXT", "START", SubType="Map"),
                update(
                    "CONTEXT",
                    "SUCCEED",
                    SubType="Map",
                    Payload='{"t":"br","v":{"all":{"t":"l","v":[]},"completionReason":{"t":"s","v":"ALL_COMPLETED"}}}',
                    **context_options(),
                ),
            ]
        ],
    ),
}


@pytest.mark.parametrize("case", FRESH)
def test_fresh(case: str) -> None:
    handler, response, batches = FRESH[case]
    got, client = invoke(handler)
    assert client.batches == batches
    assert got == response


# ---- replayed: the value, and nothing sent

STEP = {"Result": '{"t":"t","v":[{"t":"i","v":1},{"t":"i","v":2}]}', "Attempt": 1}
BATCH = serialize(
    None,
    BatchResult([BatchItem(0, BatchItemStatus.SUCCEEDED, 1)], CompletionReason.ALL_COMPLETED),
    "",
    "",
)

REPLAYED: dict[str, tuple[Handler, list[dict[str, Any]], str]] = {
    "step": (lambda c: c.step(fail, "s"), [op("STEP", "SUCCEEDED", Name="s", details=STEP)], "[1, 2]"),
    "at-most-once step": (
        lambda c: c.step(fail, step_semantics=AT_MOST_ONCE),
        [op("STEP", "SUCCEEDED", details=STEP)],
        "[1, 2]",
    ),
    "step without a payload": (lambda c: c.step(fail), [op("STEP", "SUCCEEDED", details={"Attempt": 1})], "null"),
    "wait": (lambda c: c.wait(5), [op("WAIT", "SUCCEEDED", details={})], "null"),
    "wait that was cancelled": (lambda c: c.wait(5), [op("WAIT", "CANCELLED", details={})], "null"),
    "callback": (
        lambda c: c.create_callback().result(),
        [op("CALLBACK", "SUCCEEDED", details={"CallbackId": "x", "Result": "raw {"})],
        '"raw {"',
    ),
    "callback without a result": (
        lambda c: c.create_callback().result(),
        [op("CALLBACK", "SUCCEEDED", details={"CallbackId": "x"})],
        "null",
    ),
    "callback with a serdes": (
        lambda c: c.create_callback(config=CallbackConfig(serdes=JSON)).result(),
        [op("CALLBACK", "SUCCEEDED", details={"CallbackId": "x", "Result": "[1]"})],
        "[1]",
    ),
    "failed callback that nobody asks": (
        lambda c: c.create_callback().callback_id,
        [op("CALLBACK", "FAILED", details={"CallbackId": "x", "Error": RECORDED})],
        '"x"',
    ),
    "invoke": (
        lambda c: c.invoke("fn", 1),
        [op("CHAINED_INVOKE", "SUCCEEDED", details={"Result": '{"a": 1}'})],
        '{"a": 1}',
    ),
    "invoke without a result": (
        lambda c: c.invoke("fn", 1),
        [op("CHAINED_INVOKE", "SUCCEEDED", details={})],
        "null",
    ),
    "child": (
        lambda c: c.run_in_child_context(fail, "k"),
        [op("CONTEXT", "SUCCEEDED", Name="k", details={"Result": '"x"'})],
        '"x"',
    ),
    "child whose children are replayed": (
        lambda c: c.run_in_child_context(lambda k: k.step(fail) + "!"),
        [
            op("CONTEXT", "SUCCEEDED", details={"Result": "", "ReplayChildren": True}),
            op("STEP", "SUCCEEDED", 1, 1, details={"Result": '"x"'}),
        ],
        '"x!"',
    ),
    "virtual child": (
        lambda c: c.run_in_child_context(lambda k: k.step(fail), is_virtual=True),
        [op("STEP", "SUCCEEDED", 1, 1, ParentId=None, details={"Result": "1"})],
        "1",
    ),
    "condition": (
        lambda c: c.wait_for_condition(fail, wait_strategy=poll, initial_state=0),
        [op("STEP", "SUCCEEDED", SubType="WaitForCondition", details={"Result": "9"})],
        "9",
    ),
    "wait for callback": (
        lambda c: c.wait_for_callback(fail, "ask"),
        [op("CONTEXT", "SUCCEEDED", SubType="WaitForCallback", Name="ask", details={"Result": '"yes"'})],
        '"yes"',
    ),
    "map": (
        lambda c: c.map([1], fail).get_results(),
        [op("CONTEXT", "SUCCEEDED", SubType="Map", details={"Result": BATCH})],
        "[1]",
    ),
    "parallel": (
        lambda c: c.parallel([fail], "p").get_results(),
        [op("CONTEXT", "SUCCEEDED", SubType="Parallel", Name="p", details={"Result": BATCH})],
        "[1]",
    ),
    "parallel whose branches are recorded": (
        lambda c: c.parallel([fail, fail], completion_config=CompletionConfig.all_completed()).to_dict()["all"],
        [
            op(
                "CONTEXT",
                "SUCCEEDED",
                SubType="Parallel",
                details={"Result": summary(startedIndexes=[], totalCount=2), "ReplayChildren": True},
            ),
            branch("SUCCEEDED", 0, details={"Result": '"x"'}),
            branch("FAILED", 1, details={"Error": BROKEN}),
        ],
        json.dumps(
            [
                {"index": 0, "status": "SUCCEEDED", "result": "x", "error": None},
                {"index": 1, "status": "FAILED", "result": None, "error": BROKEN},
            ]
        ),
    ),
    "parallel that ended before a branch": (
        lambda c: [item.status.value for item in c.parallel([fail, fail, fail]).all],
        [
            op(
                "CONTEXT",
                "SUCCEEDED",
                SubType="Parallel",
                details={"Result": summary(startedIndexes=[1], totalCount=2), "ReplayChildren": True},
            ),
            branch("SUCCEEDED", 0, details={"Result": '"x"'}),
            branch("STARTED", 1),
        ],
        '["SUCCEEDED", "STARTED"]',
    ),
    "flat parallel": (
        lambda c: c.parallel([lambda b: b.step(fail)], nesting_type=NestingType.FLAT).get_results(),
        [
            op(
                "CONTEXT",
                "SUCCEEDED",
                SubType="Parallel",
                details={"Result": summary(startedIndexes=[], totalCount=1), "ReplayChildren": True},
            ),
            op("STEP", "SUCCEEDED", 1, 0, 1, ParentId=op_id(1), details={"Result": "5"}),
        ],
        "[5]",
    ),
    "with_retry": (
        lambda c: with_retry(c, fail, WithRetryConfig(), "again"),
        [op("CONTEXT", "SUCCEEDED", Name="again", details={"Result": "1"})],
        "1",
    ),
}


@pytest.mark.parametrize("case", REPLAYED)
def test_replayed(case: str, caplog: pytest.LogCaptureFixture) -> None:
    handler, history, result = REPLAYED[case]
    got, client = invoke(handler, *history)
    assert got == succeeded(result)
    assert client.calls == []
    assert "without coming to" not in caplog.text


# ---- still pending: suspended, and nothing sent

PENDING_CASES: dict[str, tuple[Handler, list[dict[str, Any]]]] = {
    "step": (lambda c: c.step(fail), [op("STEP", "PENDING", details={"Attempt": 1, **DUE})]),
    "at-most-once step": (
        lambda c: c.step(fail, step_semantics=AT_MOST_ONCE),
        [op("STEP", "PENDING", details={"Attempt": 1, **DUE})],
    ),
    **{
        f"wait, {status}": (
            lambda c: c.wait(5),
            [op("WAIT", status, details={"ScheduledEndTimestamp": LATER})],
        )
        for status in ("STARTED", "PENDING", "READY")
    },
    **{
        f"callback, {status}": (
            lambda c: c.create_callback().result(),
            [op("CALLBACK", status, details={"CallbackId": "x"})],
        )
        for status in ("STARTED", "PENDING", "READY")
    },
    **{
        f"invoke, {status}": (lambda c: c.invoke("fn", 1), [op("CHAINED_INVOKE", status, details={})])
        for status in ("STARTED", "PENDING", "READY")
    },
    "child": (
        lambda c: c.run_in_child_context(lambda k: k.wait(5)),
        [op("CONTEXT", "STARTED"), op("WAIT", "STARTED", 1, 1, details={"ScheduledEndTimestamp": LATER})],
    ),
    "virtual child": (
        lambda c: c.run_in_child_context(lambda k: k.wait(5), is_virtual=True),
        [op("WAIT", "STARTED", 1, 1, ParentId=None, details={"ScheduledEndTimestamp": LATER})],
    ),
    "condition": (
        lambda c: c.wait_for_condition(fail, wait_strategy=poll, initial_state=0),
        [op("STEP", "PENDING", SubType="WaitForCondition", details={"Attempt": 1, "Result": "1", **DUE})],
    ),
    "wait for callback": (
        lambda c: c.wait_for_callback(fail),
        [
            op("CONTEXT", "STARTED", SubType="WaitForCallback"),
            op("CALLBACK", "STARTED", 1, 1, Name="create callback id", details={"CallbackId": "x"}),
            op("STEP", "SUCCEEDED", 1, 2, Name="submitter", details={"Result": "null"}),
        ],
    ),
    "map": (
        lambda c: c.map([1, 2], lambda k, *_: k.wait(5)),
        [
            op("CONTEXT", "STARTED", SubType="Map"),
            *(
                operation
                for n in range(2)
                for operation in (
                    op("CONTEXT", "STARTED", 1, n, SubType="MapIteration", Name=f"map-item-{n}"),
                    op("WAIT", "STARTED", 1, n, 1, details={"ScheduledEndTimestamp": LATER}),
                )
            ),
        ],
    ),
    "flat parallel": (
        lambda c: c.parallel([lambda k: k.wait(5)] * 2, nesting_type=NestingType.FLAT),
        [
            op("CONTEXT", "STARTED", SubType="Parallel"),
            *(
                op("WAIT", "STARTED", 1, n, 1, ParentId=op_id(1), details={"ScheduledEndTimestamp": LATER})
                for n in range(2)
            ),
        ],
    ),
    "with_retry": (
        lambda c: with_retry(c, fail, WithRetryConfig(), "again"),
        [
            op("CONTEXT", "STARTED", Name="again"),
            op("WAIT", "STARTED", 1, 1, Name="again-backoff-1", details={"ScheduledEndTimestamp": LATER}),
        ],
    ),
}


@pytest.mark.parametrize("case", PENDING_CASES)
def test_pending(case: str) -> None:
    handler, history = PENDING_CASES[case]
    got, client = invoke(handler, *history)
    assert got == PENDING
    assert client.calls == []


# ---- the other cells of the table

CONTINUED: dict[str, tuple[Handler, list[dict[str, Any]], dict[str, Any], list[list[str]]]] = {
    "step, STARTED": (
        lambda c: c.step(lambda s: s.attempt),
        [op("STEP", "STARTED", details={"Attempt": 2})],
        succeeded("3"),
        [["STEP SUCCEED"]],
    ),
    "step, READY": (
        lambda c: c.step(lambda s: s.attempt),
        [op("STEP", "READY", details={"Attempt": 2})],
        succeeded("3"),
        [["STEP START", "STEP SUCCEED"]],
    ),
    "at-most-once step, READY": (
        lambda c: c.step(lambda s: s.attempt, step_semantics=AT_MOST_ONCE),
        [op("STEP", "READY", details={"Attempt": 2})],
        succeeded("3"),
        [["STEP START"], ["STEP SUCCEED"]],
    ),
    "at-most-once step, STARTED, to be repeated": (
        lambda c: c.step(fail, step_semantics=AT_MOST_ONCE, retry=once_more),
        [op("STEP", "STARTED", details={"Attempt": 2})],
        PENDING,
        [["STEP RETRY"]],
    ),
    **{
        f"child, {status}": (
            lambda c: c.run_in_child_context(lambda _: 1),
            [op("CONTEXT", status)],
            succeeded("1"),
            [["CONTEXT SUCCEED"]],
        )
        for status in ("STARTED", "PENDING", "READY")
    },
    "condition, STARTED": (
        lambda c: c.wait_for_condition(lambda s, k: s + k.attempt, wait_strategy=poll, initial_state=0),
        [op("STEP", "STARTED", SubType="WaitForCondition", details={"Attempt": 1, "Result": "1"})],
        succeeded("3"),
        [["STEP SUCCEED"]],
    ),
    "condition, READY": (
        lambda c: c.wait_for_condition(lambda s, k: s + k.attempt, wait_strategy=poll, initial_state=0),
        [op("STEP", "READY", SubType="WaitForCondition", details={"Attempt": 1, "Result": "1"})],
        succeeded("3"),
        [["STEP START", "STEP SUCCEED"]],
    ),
    "condition, STARTED without a state": (
        lambda c: c.wait_for_condition(lambda s, k: s + k.attempt, wait_strategy=poll, initial_state=2),
        [op("STEP", "STARTED", SubType="WaitForCondition", details={})],
        succeeded("3"),
        [["STEP SUCCEED"]],
    ),
    "parallel with a branch to do": (
        lambda c: c.parallel([fail, lambda k: k.step(lambda _: 2)]).get_results(),
        [op("CONTEXT", "STARTED", SubType="Parallel"), branch("SUCCEEDED", 0, details={"Result": "1"})],
        succeeded("[1, 2]"),
        [
            ["CONTEXT START parallel-branch-1", "STEP START", "STEP SUCCEED"],
            ["CONTEXT SUCCEED parallel-branch-1"],
            ["CONTEXT SUCCEED"],
        ],
    ),
    "wait for callback that was answered": (
        lambda c: c.wait_for_callback(fail, "a"),
        [
            op("CONTEXT", "STARTED", SubType="WaitForCallback", Name="a"),
            op(
                "CALLBACK",
                "SUCCEEDED",
                1,
                1,
                Name="a create callback id",
                details={"CallbackId": "x", "Result": "yes"},
            ),
            op("STEP", "SUCCEEDED", 1, 2, Name="a submitter", details={"Result": "null"}),
        ],
        succeeded('"yes"'),
        [["CONTEXT SUCCEED a"]],
    ),
    "with_retry after its first wait": (
        lambda c: with_retry(c, lambda _, n: n if n > 1 else fail(), WithRetryConfig(), "r"),
        [
            op("CONTEXT", "STARTED", Name="r"),
            op("WAIT", "SUCCEEDED", 1, 1, Name="r-backoff-1", details={}),
        ],
        succeeded("2"),
        [["CONTEXT SUCCEED r"]],
    ),
}


@pytest.mark.parametrize("case", CONTINUED)
def test_continued(case: str) -> None:
    handler, history, response, batches = CONTINUED[case]
    got, client = invoke(handler, *history)
    assert client.summary == batches
    assert got == response


def test_an_interrupted_step_asks_its_strategy_about_the_interruption() -> None:
    asked: list[Any] = []

    def strategy(problem: Exception, attempt: int) -> RetryDecision:
        asked.append((type(problem), getattr(problem, "step_id", None), attempt))
        return RetryDecision.no_retry()

    def handler(context: DurableContext) -> str:
        with pytest.raises(StepError) as caught:
            context.step(fail, "charge", step_semantics=AT_MOST_ONCE, retry=strategy)
        return str(caught.value.error_type)

    got, client = invoke(handler, op("STEP", "STARTED", Name="charge", details={"Attempt": 0}))
    assert got == succeeded(f'"{OFFICIAL}StepInterruptedError"')
    assert asked == [(StepInterruptedError, op_id(1), 1)]
    assert client.summary == [["STEP FAIL charge"]]
    assert "charge" in client.updates[0]["Error"]["ErrorMessage"]


# ---- failures, terminal statuses that are not expected among them

FAILURES: dict[str, tuple[Handler, Callable[..., dict[str, Any]], type[Exception], tuple[str, ...]]] = {
    "step": (
        lambda c: c.step(fail),
        lambda status, **details: op("STEP", status, details=details),
        StepError,
        ("FAILED", "CANCELLED", "TIMED_OUT", "STOPPED"),
    ),
    "at-most-once step": (
        lambda c: c.step(fail, step_semantics=AT_MOST_ONCE),
        lambda status, **details: op("STEP", status, details=details),
        StepError,
        ("FAILED", "CANCELLED", "TIMED_OUT", "STOPPED"),
    ),
    "wait": (
        lambda c: c.wait(5),
        lambda status, **_: op("WAIT", status, details={}),
        DurableOperationError,
        ("FAILED", "TIMED_OUT", "STOPPED"),
    ),
    "invoke": (
        lambda c: c.invoke("fn", 1),
        lambda status, **details: op("CHAINED_INVOKE", status, details=details),
        InvokeError,
        ("FAILED", "TIMED_OUT", "STOPPED", "CANCELLED"),
    ),
    "child": (
        lambda c: c.run_in_child_context(fail),
        lambda status, **details: op("CONTEXT", status, details=details),
        ChildContextError,
        ("FAILED", "CANCELLED", "TIMED_OUT", "STOPPED"),
    ),
    "map": (
        lambda c: c.map([1], fail),
        lambda status, **details: op("CONTEXT", status, SubType="Map", details=details),
        ChildContextError,
        ("FAILED", "CANCELLED", "TIMED_OUT", "STOPPED"),
    ),
    "condition": (
        lambda c: c.wait_for_condition(fail, wait_strategy=poll, initial_state=0),
        lambda status, **details: op("STEP", status, SubType="WaitForCondition", details=details),
        WaitForConditionError,
        ("FAILED", "CANCELLED", "TIMED_OUT", "STOPPED"),
    ),
}


@pytest.mark.parametrize(
    ("case", "status"), [(case, status) for case, (*_, statuses) in FAILURES.items() for status in statuses]
)
def test_a_recorded_failure_is_raised_again(case: str, status: str) -> None:
    handler, recorded, cls, _ = FAILURES[case]
    caught: list[Any] = []

    def catching(context: DurableContext) -> None:
        try:
            handler(context)
        except DurableOperationError as problem:
            caught.append(problem)

    got, client = invoke(catching, recorded(status, Error=RECORDED))
    assert got == succeeded("null")
    assert client.calls == []
    (problem,) = caught
    assert type(problem) is cls
    if case != "wait":
        assert (problem.message, problem.error_type, problem.data, problem.stack_trace) == (
            "broken",
            "ValueError",
            "data",
            ["line 1"],
        )
        cause = problem.__cause__
        assert type(cause) is DurableOperationError
        assert (cause.message, cause.error_type, cause.data) == ("broken", "ValueError", "data")


@pytest.mark.parametrize(
    ("case", "status"),
    [(case, status) for case, (*_, statuses) in FAILURES.items() for status in statuses if status != "FAILED"],
)
def test_a_failure_without_an_error_names_its_status(case: str, status: str) -> None:
    handler, recorded, cls, _ = FAILURES[case]
    got, _ = invoke(handler, recorded(status))
    assert got["Status"] == "FAILED"
    assert status in got["Error"]["ErrorMessage"]
    assert got["Error"]["ErrorType"] == OFFICIAL + f"{cls.__name__}"


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        ("FAILED", CallbackExternalError),
        ("CANCELLED", CallbackExternalError),
        ("STOPPED", CallbackExternalError),
        ("TIMED_OUT", CallbackTimeoutError),
    ],
)
@pytest.mark.parametrize("recorded", [RECORDED, None])
def test_a_failed_callback_fails_its_result(
    status: str, cls: type[CallbackExternalError], recorded: dict[str, Any] | None
) -> None:
    caught: list[Any] = []

    def handler(context: DurableContext) -> None:
        callback = context.create_callback()
        try:
            callback.result()
        except cls as problem:
            caught.append(problem)

    details = {"CallbackId": "x"} | ({} if recorded is None else {"Error": recorded})
    got, client = invoke(handler, op("CALLBACK", status, details=details))
    assert got == succeeded("null")
    assert client.calls == []
    (problem,) = caught
    assert problem.error_type == OFFICIAL + f"{cls.__name__}"
    assert problem.__cause__ is None
    assert problem.__notes__ == [f"(callback {op_id(1)[:8]} ended with {status})"]
    if recorded is None:  # the words of the official SDK
        assert problem.message == ("Callback timed out" if status == "TIMED_OUT" else "Callback failed")
    else:
        assert (problem.message, problem.data, problem.stack_trace) == ("broken", "data", ["line 1"])


# ---- news in the response to a START

NEWS: dict[str, tuple[Handler, dict[str, Any], dict[str, Any]]] = {
    "invoke that came back": (
        lambda c: c.invoke("fn", 1),
        op("CHAINED_INVOKE", "SUCCEEDED", details={"Result": "7"}),
        succeeded("7"),
    ),
    "invoke that failed": (
        lambda c: c.invoke("fn", 1),
        op("CHAINED_INVOKE", "FAILED", details={"Error": BROKEN}),
        {"Status": "FAILED", "Error": {**BROKEN, "ErrorType": OFFICIAL + "InvokeError"}},
    ),
    "wait that is over": (lambda c: c.wait(1), op("WAIT", "SUCCEEDED", details={}), succeeded("null")),
    "callback that was answered": (
        lambda c: c.create_callback().result(),
        op("CALLBACK", "SUCCEEDED", details={"CallbackId": "x", "Result": "yes"}),
        succeeded('"yes"'),
    ),
}


@pytest.mark.parametrize("case", NEWS)
def test_the_response_to_a_start_is_looked_at(case: str) -> None:
    handler, news, response = NEWS[case]
    got, client = invoke(handler, client=Recorder(lambda _: [news]))
    assert got == response
    assert len(client.calls) == 1
