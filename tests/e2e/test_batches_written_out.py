"""What parallel and map record, written out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from perdure.config import NestingType
from support.invocations import PENDING, invoke, op, op_id, poll, succeeded, update

if TYPE_CHECKING:
    from perdure import DurableContext


NESTED = [
    update("CONTEXT", "START", SubType="Parallel", Name="p"),
    update("CONTEXT", "START", 1, 0, SubType="ParallelBranch", Name="parallel-branch-0"),
    update("STEP", "START", 1, 0, 1, Name="s"),
    update("STEP", "SUCCEED", 1, 0, 1, Name="s", Payload="10"),
]


def ten(context: DurableContext) -> int:
    return context.step(lambda _: 10, "s")


def test_a_nested_parallel_records_its_branches() -> None:
    got, client = invoke(lambda c: c.parallel([ten, ten], "p", max_concurrency=1).get_results())
    assert got == succeeded("[10, 10]")
    assert client.summary == [
        ["CONTEXT START p", "CONTEXT START parallel-branch-0", "STEP START s", "STEP SUCCEED s"],
        ["CONTEXT SUCCEED parallel-branch-0"],
        ["CONTEXT START parallel-branch-1", "STEP START s", "STEP SUCCEED s"],
        ["CONTEXT SUCCEED parallel-branch-1"],
        ["CONTEXT SUCCEED p"],
    ]
    assert client.batches[0] == NESTED


def test_a_flat_parallel_records_only_what_its_branches_do() -> None:
    got, client = invoke(
        lambda c: c.parallel([ten, ten], "p", max_concurrency=1, nesting_type=NestingType.FLAT).get_results()
    )
    assert got == succeeded("[10, 10]")
    assert client.summary == [
        ["CONTEXT START p", "STEP START s", "STEP SUCCEED s"],
        ["STEP START s", "STEP SUCCEED s"],
        ["CONTEXT SUCCEED p"],
    ]
    steps = [each for each in client.updates if each["Type"] == "STEP"]
    assert [each["Id"] for each in steps] == [op_id(1, 0, 1)] * 2 + [op_id(1, 1, 1)] * 2
    assert {each["ParentId"] for each in steps} == {op_id(1)}


@pytest.mark.parametrize("flat", [False, True])
def test_the_branches_that_suspend_suspend_the_whole(flat: bool) -> None:
    kind = NestingType.FLAT if flat else NestingType.NESTED
    got, client = invoke(lambda c: c.map([1, 2, 3], lambda k, *_: k.wait(5), nesting_type=kind))
    assert got == PENDING
    waits = [each for each in client.updates if each["Type"] == "WAIT"]
    assert {each["Id"] for each in waits} == {op_id(1, n, 1) for n in range(3)}
    assert not [each for each in client.updates if each["Action"] == "SUCCEED"]


def test_a_large_result_is_replaced_by_its_summary_and_rebuilt() -> None:
    def handler(context: DurableContext) -> list[int]:
        result = context.map([1, 2], lambda _c, item, *_: "x" * 200_000 * item, "big")
        return [len(item) for item in result.get_results()]

    got, client = invoke(handler)
    assert got == succeeded("[200000, 400000]")
    last = client.updates[-1]
    assert last["ContextOptions"] == {"ReplayChildren": True}
    assert json.loads(last["Payload"]) == {
        "type": "MapResult",
        "totalCount": 2,
        "completionReason": "ALL_COMPLETED",
        "startedIndexes": [],
        "startedCount": 0,
        "successCount": 2,
        "failureCount": 0,
        "status": "SUCCEEDED",
    }
    history = [
        op(
            "CONTEXT",
            "SUCCEEDED",
            SubType="Map",
            Name="big",
            details={"Result": last["Payload"], "ReplayChildren": True},
        ),
        op(
            "CONTEXT",
            "SUCCEEDED",
            1,
            0,
            SubType="MapIteration",
            Name="map-item-0",
            details={"Result": json.dumps("x" * 200_000)},
        ),
        op(
            "CONTEXT",
            "SUCCEEDED",
            1,
            1,
            SubType="MapIteration",
            Name="map-item-1",
            details={"Result": "", "ReplayChildren": True},
        ),
    ]
    again, client = invoke(handler, *history)
    assert again == got
    assert client.calls == []


def test_the_same_value_comes_first_and_again() -> None:
    """A tuple key, a date, a set of numbers: what replay cannot give, the first run does not give either."""
    seen: list[Any] = []

    def handler(context: DurableContext) -> None:
        seen.append(context.step(lambda _: {"t": (1, b"x")}))
        seen.append(context.run_in_child_context(lambda _: (1, 2)))
        seen.append(context.wait_for_condition(lambda s, _: s, wait_strategy=poll, initial_state=(9,)[0]))

    _, client = invoke(handler)
    results = [each["Payload"] for each in client.updates if each["Action"] == "SUCCEED"]
    history = [
        op("STEP", "SUCCEEDED", 1, details={"Result": results[0]}),
        op("CONTEXT", "SUCCEEDED", 2, details={"Result": results[1]}),
        op("STEP", "SUCCEEDED", 3, SubType="WaitForCondition", details={"Result": results[2]}),
    ]
    invoke(handler, *history)
    assert seen[:3] == seen[3:] == [{"t": (1, b"x")}, (1, 2), 9]
