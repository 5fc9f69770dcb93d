"""`context.state`: what is recorded, for those who look."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.lambda_service import Operation, OperationStatus, OperationType
from perdure.local import LocalService
from support.both_sdks import OFFICIAL, PERDURE, Sdk
from support.invocations import Recorder, invoke, op


def kinds(state: Any) -> list[tuple[str, str]]:
    return [(operation.operation_type.value, operation.status.value) for operation in state.operations.values()]


@pytest.mark.parametrize("sdk", [PERDURE, OFFICIAL], ids=lambda sdk: sdk.name)
def test_it_shows_what_is_recorded_at_each_moment(sdk: Sdk) -> None:
    seen: list[Any] = []

    def handler(_event: Any, context: Any) -> Any:
        before = context.state.operations
        seen.append(kinds(context.state))
        context.step(lambda _: 1, name="a")
        seen.append(kinds(context.state))
        seen.append(len(before))
        context.run_in_child_context(lambda child: seen.append(kinds(child.state)[:2]), name="inner")
        context.wait(sdk.config.Duration.from_seconds(1))
        return len(context.state.operations)

    service = LocalService()
    service.register("f", sdk.durable(handler))
    assert service.run("f", event={}).result == "4"
    root, step = ("EXECUTION", "STARTED"), ("STEP", "SUCCEEDED")
    assert seen[:4] == [[root], [root, step], 1, [root, step]]
    assert seen[4] == [root, step, ("CONTEXT", "SUCCEEDED"), ("WAIT", "SUCCEEDED")]


def test_operations_are_models_with_all_that_is_known_of_them() -> None:
    seen: list[Any] = []

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        context.step(lambda _: "x", name="a")
        seen.append((context.state.durable_execution_arn, context.state.operations))
        context.wait(1)
        seen.append((context.state.durable_execution_arn, context.state.operations))

    service = LocalService()
    service.register("f", handler)
    handle = service.run("f", event={"n": 1})
    for arn, operations in seen:
        root, step = list(operations.values())[:2]
        assert (arn, len(operations)) == (handle.arn, len(list(operations)))
        assert root.execution_details.input_payload == '{"n": 1}'
        assert (step.name, step.operation_type, step.status) == ("a", OperationType.STEP, OperationStatus.SUCCEEDED)
        assert step.step_details.result == '"x"'
        assert isinstance(step.start_timestamp, datetime)
        assert step.start_timestamp.tzinfo is not None
        assert isinstance(operations[step.operation_id], Operation)
        assert step.operation_id in operations
        assert "nothing" not in operations
        assert repr(operations) == repr(dict(operations))


def test_pages_of_the_history_are_in_it() -> None:
    counts = []

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        counts.append(len(context.state.operations))
        for _ in range(20):
            context.step(lambda _: 1)
        context.wait(1)

    service = LocalService(inline_operations=3, state_page=4)
    service.register("f", handler)
    assert service.run("f", event={}).status == "SUCCEEDED"
    assert counts == [1, 22]


def test_what_has_ended_stays_so() -> None:
    older = op("STEP", "STARTED", 1, Name="a")
    ended = op("STEP", "SUCCEEDED", 1, Name="a", details={"Result": "1"})
    seen: list[list[tuple[str, str]]] = []

    def handler(context: DurableContext) -> None:
        context.step(lambda _: 1, name="a")
        context.step(lambda _: 2, name="b")
        seen.append(kinds(context.state))

    client = Recorder(lambda _: [older, op("STEP", "SUCCEEDED", 2, Name="b", details={"Result": "2"})])
    response, _ = invoke(handler, ended, client=client)
    assert response["Status"] == "SUCCEEDED", response
    assert seen == [[("EXECUTION", "STARTED"), ("STEP", "SUCCEEDED"), ("STEP", "SUCCEEDED")]]
