"""Executions whose code has changed since they were recorded: what is said, and where."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from perdure import (
    DurableContext,
    run_durable_handler,
)
from perdure.config import (
    CompletionConfig,
)
from support.invocations import PENDING, LambdaContext, Recorder, event, invoke, op, op_id, succeeded

Operate = Callable[[DurableContext], Any]


def plain(*_: Any) -> int:
    return 1


def fail(*_: Any) -> Any:
    raise OSError("broken")


def test_operations_that_nobody_came_to_are_named_in_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    history = [
        op("STEP", "SUCCEEDED", 1, Name="kept", details={"Result": "1"}),
        op("STEP", "SUCCEEDED", 2, Name="dropped", details={"Result": "1"}),
        op("WAIT", "SUCCEEDED", 3, details={}),
    ]
    got, _ = invoke(lambda c: c.step(fail, "kept"), *history)
    assert got == succeeded("1")
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "2 recorded operation(s)" in record.getMessage()
    assert 'Step "dropped"' in record.getMessage()
    assert "Wait" in record.getMessage()


def test_what_an_orphaned_branch_did_not_come_to_is_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    history = [
        op("CONTEXT", "STARTED", SubType="Parallel"),
        *(
            operation
            for n in range(2)
            for operation in (
                op("CONTEXT", "STARTED", 1, n, SubType="ParallelBranch", Name=f"parallel-branch-{n}"),
                op("WAIT", "STARTED", 1, n, 1, details={"ScheduledEndTimestamp": 4_000_000_000_000}),
                op("STEP", "SUCCEEDED", 1, n, 2, details={"Result": "1"}),
            )
        ),
    ]
    quick: Callable[[DurableContext], Any] = lambda _: 1  # noqa: E731
    history = [operation for operation in history if operation.get("ParentId") != op_id(1, 1)]
    got, _ = invoke(
        lambda c: (
            c.parallel(
                [lambda k: (k.wait(5), k.step(plain)), quick],
                completion_config=CompletionConfig(min_successful=1),
                max_concurrency=2,
            ).success_count
        ),
        *history,
    )
    assert got == succeeded("1")
    assert "recorded operation" not in caplog.text


def test_many_operations_that_nobody_came_to_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    invoke(lambda _: None, *(op("STEP", "SUCCEEDED", n, Name=f"s{n}", details={}) for n in range(1, 15)))
    assert "14 recorded operation(s)" in caplog.text
    assert "and 4 more" in caplog.text


def test_a_suspended_execution_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    history = [op("WAIT", "STARTED", 1, details={}), op("STEP", "SUCCEEDED", 2, details={})]
    got, _ = invoke(lambda c: c.wait(5), *history)
    assert got == PENDING
    assert "recorded operation" not in caplog.text


DIFFERENT: dict[str, tuple[Operate, dict[str, Any], tuple[str, ...]]] = {
    "type": (lambda c: c.step(fail, "a"), op("WAIT", "STARTED", Name="a"), ("WAIT of subtype Wait", "STEP of subtype")),
    "subtype": (
        lambda c: c.step(fail, "a", sub_type="B"),
        op("STEP", "STARTED", Name="a"),
        ("subtype Step", "subtype B"),
    ),
    "name": (lambda c: c.step(fail, "new"), op("STEP", "STARTED", Name="old"), ('"old"', '"new"')),
    "name gone": (lambda c: c.step(fail), op("STEP", "STARTED", Name="old"), ('"old"', "without a name")),
    "parent": (
        lambda c: c.step(fail, "a"),
        op("STEP", "STARTED", Name="a", ParentId=op_id(9)),
        ("inside context " + op_id(9), "at the root"),
    ),
    "virtual": (
        lambda c: c.run_in_child_context(fail, is_virtual=True),
        op("CONTEXT", "STARTED", Name="real"),
        ('"real"', "a virtual context"),
    ),
    "parallel instead of map": (
        lambda c: c.parallel([]),
        op("CONTEXT", "STARTED", SubType="Map"),
        ("subtype Map", "subtype Parallel"),
    ),
}


@pytest.mark.parametrize("difference", DIFFERENT)
def test_a_difference_names_both_sides_and_the_users_line(difference: str) -> None:
    operate, recorded, words = DIFFERENT[difference]

    def handler(context: DurableContext) -> None:
        operate(context)

    got, client = invoke(handler, recorded)
    assert got["Status"] == "FAILED"
    message = got["Error"]["ErrorMessage"]
    for word in words:
        assert word in message
    assert f"{__file__}:{operate.__code__.co_firstlineno}" in message
    assert client.calls == []


def test_the_place_of_a_difference_is_counted_in_its_context() -> None:
    def handler(c: DurableContext) -> None:
        c.run_in_child_context(lambda k: [k.step(plain), k.step(plain, "second")])

    history = [
        op("CONTEXT", "STARTED", 1),
        op("STEP", "SUCCEEDED", 1, 1, details={"Result": "1"}),
        op("STEP", "SUCCEEDED", 1, 2, Name="other", details={"Result": "1"}),
    ]
    got, _ = invoke(handler, *history)
    assert got["Error"]["ErrorMessage"].startswith("operation 2 of its context is STEP")


def test_the_handler_gets_its_event_and_may_be_run_undecorated() -> None:
    seen: list[Any] = []

    def handler(given: Any, context: DurableContext) -> Any:
        seen.append(given)
        return context.step(lambda _: given["a"])

    assert run_durable_handler(
        event(payload='{"a": 1}'), LambdaContext(), handler, boto3_client=Recorder()
    ) == succeeded("1")
    assert seen == [{"a": 1}]
