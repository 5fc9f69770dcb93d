"""What a result tells: values, the tree, what is found by name, histories, and the shapes they come in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import perdure.testing
from perdure import durable_execution
from perdure.lambda_service import ErrorObject, InvocationStatus, OperationType
from perdure.lambda_service import Operation as SvcOperation
from perdure.local import Limits
from perdure.retries import RetryPresets
from perdure.testing import model
from perdure.testing._shapes import Shape
from perdure.testing.exceptions import (
    AwsApiException,
    DurableFunctionsTestError,
    ExecutionAlreadyStartedException,
    from_client_error,
)
from perdure.testing.execution import ExecutionStatus
from perdure.testing.operations import create_operation, walk
from perdure.testing.runner import (
    CallbackOperation,
    DurableChildContextTestRunner,
    DurableFunctionTestResult,
    DurableFunctionTestRunner,
    InvokeOperation,
    StepOperation,
    WaitOperation,
)
from perdure.testing.tree import render, shorten, span

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def runner_of(handler: Any, **options: Any) -> DurableFunctionTestRunner:
    return DurableFunctionTestRunner(durable_execution(handler), **options)


def run(handler: Any, **options: Any) -> DurableFunctionTestResult:
    with runner_of(handler) as runner:
        return runner.run(**options)


def test_values_are_what_user_code_sees() -> None:
    def handler(_event: Any, context: Any) -> Any:
        context.step(lambda _: NOW, "moment")
        context.invoke("double", 4, "double")
        context.create_callback("ask").result()
        context.map([1], lambda inner, *_: inner.step(lambda _: (1, 2)), "map")
        context.wait(1, "wait")
        return {"done": True}

    with runner_of(handler) as runner:
        runner.mock_invoke("double", returns=lambda payload: payload * 2)
        runner.answer_callback("ask", {"answer": 42})
        result = runner.run()
    assert result.value == {"done": True}
    assert result.get_step("moment").value == NOW
    assert result.get_invoke("double").value == 8
    assert result.get_callback("ask").value == '{"answer": 42}'
    assert result.get_context("map").value.get_results() == [(1, 2)]
    assert result.get_wait("wait").value is None
    kinds = [type(operation) for operation in result.operations]
    assert (kinds[0], kinds[1], kinds[2], kinds[4]) == (
        StepOperation,
        InvokeOperation,
        CallbackOperation,
        WaitOperation,
    )


def test_without_a_result_the_value_is_none() -> None:
    assert run(lambda _event, _context: None).value is None


def test_a_name_finds_the_operation_of_the_kind_that_is_asked_for() -> None:
    def handler(_event: Any, context: Any) -> None:
        context.wait(1, "same")
        context.step(lambda _: 1, "same")

    result = run(handler)
    assert isinstance(result.get_step("same"), StepOperation)
    assert isinstance(result.get_operation_by_name("same"), WaitOperation)
    with pytest.raises(DurableFunctionsTestError, match="'other' not found; here are: same"):
        result.get_step("other")
    with pytest.raises(DurableFunctionsTestError, match="nothing here has a name"):
        run(lambda _event, _context: None).get_step("any")


def test_the_tree_tells_status_attempts_durations_and_errors() -> None:
    def failing(_step: Any) -> None:
        raise ValueError("no luck\nat all")

    def handler(_event: Any, context: Any) -> None:
        context.wait(90, "rest")
        context.run_in_child_context(lambda inner: inner.step(failing, "inner", retry=RetryPresets.none()), "child")

    result = run(handler)
    assert result.tree().splitlines()[0].startswith("execution-name FAILED after 1 min 30 s in 2 invocations with ")
    assert result.tree().splitlines()[1:] == [
        "├─ rest      Wait               SUCCEEDED  1 min 30 s",
        "└─ child     RunInChildContext  FAILED  0 s  StepError: no luck at all",
        "   └─ inner  Step               FAILED  0 s  ValueError: no luck at all",
    ]
    assert result.tree() in repr(result)


def test_a_very_large_tree_is_cut() -> None:
    result = run(lambda event, context: [context.step(lambda _: 1) for _ in range(event)], event=210)
    assert render(result.operations).endswith("… and 10 more")
    assert len(list(result.walk())) == 210


@pytest.mark.parametrize(
    ("duration", "written"),
    [
        (timedelta(0), "0 s"),
        (timedelta(milliseconds=5), "5 ms"),
        (timedelta(seconds=61), "1 min 1 s"),
        (timedelta(days=2, hours=3, minutes=4), "2 d 3 h"),
    ],
)
def test_durations_are_written_as_one_says_them(duration: timedelta, written: str) -> None:
    assert span(duration) == written


def test_long_texts_are_shortened() -> None:
    assert shorten("a" * 200, 10) == "a" * 9 + "…"


def test_results_are_equal_when_the_executions_did_the_same() -> None:
    parts = {"status": InvocationStatus.SUCCEEDED, "operations": [], "result": "1"}
    one, other = DurableFunctionTestResult(**parts), DurableFunctionTestResult(**parts)
    assert one == other
    assert (one.duration, one.history, one.invocations) == (None, (), None)


def test_the_history_tells_of_invoked_executions_too() -> None:
    with runner_of(lambda event, context: context.invoke("child", event)) as runner:
        runner.register_durable_function(
            "child", durable_execution(lambda event, context: context.step(lambda _: event))
        )
        result = runner.run(event=3)
        [started] = [event for event in result.history if event.event_type == "ChainedInvokeStarted"]
        arn = started.chained_invoke_started_details.durable_execution_arn
        child = runner.get_execution_history(arn, include_execution_data=True).events
    assert child[-1].execution_succeeded_details.result.payload == "3"
    assert started.details is started.chained_invoke_started_details
    assert result.history[0].event_id == 1


def test_events_are_read_and_written_in_the_form_of_the_api() -> None:
    told = {
        "EventType": "StepFailed",
        "EventTimestamp": NOW,
        "EventId": 7,
        "Id": "op",
        "StepFailedDetails": {
            "Error": {"Payload": {"ErrorMessage": "m", "ErrorType": "T"}, "Truncated": False},
            "RetryDetails": {"CurrentAttempt": 2, "NextAttemptDelaySeconds": 5},
        },
    }
    event = model.Event.from_dict(told)
    assert event.to_dict() == told
    assert event.details.error.payload == ErrorObject("m", "T", None, None)
    assert model.Event.from_event_with_id(event, 9).event_id == 9
    [operation] = model.events_to_operations([event])
    assert operation.step_details is not None
    assert operation.step_details.next_attempt_timestamp == NOW + timedelta(seconds=5)


@pytest.mark.parametrize("name", sorted(model.__all__))
def test_every_shape_knows_its_members(name: str) -> None:
    shape = getattr(model, name)
    if isinstance(shape, type) and issubclass(shape, Shape):
        assert shape.__module__ == "perdure.testing.model"
        with pytest.raises((KeyError, AssertionError)):
            assert shape.from_dict({}) != shape.from_dict({})


def test_an_operation_of_the_service_is_refused_by_the_wrong_class() -> None:
    svc = SvcOperation.from_dict({"Id": "a", "Type": "WAIT", "Status": "STARTED", "Name": "nap"})
    with pytest.raises(DurableFunctionsTestError, match="nap is a WAIT, not a STEP"):
        StepOperation.from_svc_operation(svc)
    execution = SvcOperation.from_dict(
        {"Id": "e", "Type": "EXECUTION", "Status": "STARTED", "ExecutionDetails": {"InputPayload": "{}"}}
    )
    made = create_operation(execution)
    assert (made.operation_type, getattr(made, "input_payload", None)) == (OperationType.EXECUTION, "{}")
    assert list(walk([made])) == [made]


def test_mocks_may_raise_and_tell_their_calls() -> None:
    def handler(event: Any, context: Any) -> Any:
        try:
            return context.invoke("pricing", event)
        except perdure.InvokeError as error:
            return [error.error_type, error.message]

    with runner_of(handler) as runner:
        mocked = runner.mock_invoke("pricing", raises=LookupError("no price"))
        assert not mocked.called
        assert runner.run(event={"sku": 1}).value == ["LookupError", "no price"]
        assert mocked.calls == [{"sku": 1}]
        runner.mock_invoke("pricing", returns=7)
        assert runner.run(event={}).value == 7


def test_callbacks_may_be_answered_by_a_function_or_with_an_error() -> None:
    def handler(_event: Any, context: Any) -> Any:
        first = context.create_callback("first").result()
        try:
            context.create_callback("second").result()
        except perdure.CallbackError as error:
            return [first, error.message]

    with runner_of(handler) as runner:
        runner.answer_callback("first", reply=lambda callback_id: {"length": len(callback_id) > 10})
        runner.answer_callback("second", error=ValueError("refused"))
        assert runner.run().value == ['{"length": true}', "refused"]


def test_the_lambda_context_shows_what_the_test_says() -> None:
    def handler(_event: Any, context: Any) -> Any:
        lambda_context = context.lambda_context
        return [
            lambda_context.function_name,
            lambda_context.tenant_id,
            lambda_context.invoked_function_arn,
            lambda_context.get_remaining_time_in_millis() <= 60_000,
        ]

    with runner_of(handler, invocation_timeout=60, region="eu-west-1") as runner:
        result = runner.run(function_name="orders", account_id="111122223333", tenant_id="blue")
    arn = "arn:aws:lambda:eu-west-1:111122223333:function:orders:$LATEST"
    assert result.value == ["orders", "blue", arn, True]


def test_names_of_executions_are_those_of_the_service() -> None:
    with runner_of(lambda event, _context: event) as runner:
        names = [runner.run(event=number).facts.name for number in range(3)]
        assert names == ["execution-name", "execution-name-2", "execution-name-3"]
        first = runner.run_async(event=1, execution_name="mine")
        assert runner.run_async(event=1, execution_name="mine") == first
        with pytest.raises(ExecutionAlreadyStartedException):
            runner.run(event=2, execution_name="mine")


def test_an_execution_may_be_stopped() -> None:
    with runner_of(lambda _event, context: context.create_callback("ask").result()) as runner:
        arn = runner.run_async()
        runner.stop_execution(arn, ValueError("enough"))
        result = runner.wait_for_result(arn)
    assert (result.status, result.execution_status) == (InvocationStatus.FAILED, ExecutionStatus.STOPPED)
    assert result.error is not None
    assert result.error.message == "enough"


def test_a_paused_execution_says_so() -> None:
    with runner_of(lambda _event, context: context.create_callback("ask").result()) as runner:
        arn = runner.run_async()
        runner.pause_execution(arn)
        with pytest.raises(TimeoutError, match=r"It is paused\. Go on with resume_execution"):
            runner.wait_for_result(arn)
        for timeout in (0, float("inf"), -1):
            with pytest.raises(ValueError, match="finite number of seconds"):
                runner.pause_execution(arn, timeout=timeout)


def test_small_events_leave_the_rest_of_the_history_to_pages() -> None:
    def handler(_event: Any, context: Any) -> Any:
        values = [context.step(lambda _, n=n: n) for n in range(20)]
        context.wait(1)
        return values

    with runner_of(handler, max_invocation_page_bytes=2_000) as runner:
        assert runner.run().value == list(range(20))
        assert runner.service.calls["get_durable_execution_state"] == 1


def test_the_service_may_be_told_other_limits() -> None:
    def handler(_event: Any, context: Any) -> Any:
        return [context.step(lambda _: 1) for _ in range(4)]

    with runner_of(handler, limits=Limits(operations=3)) as runner:
        assert runner.run().execution_status is ExecutionStatus.FAILED


def test_a_block_must_be_a_function_of_the_context() -> None:
    with DurableChildContextTestRunner(lambda number: number, 3) as runner:
        result = runner.run()
    assert result.error is not None
    assert "decorate it with @durable_with_child_context" in (result.error.message or "")


def test_other_refusals_keep_their_code() -> None:
    error = from_client_error(RuntimeError("odd"))
    assert (type(error), error.code, str(error)) == (AwsApiException, "RuntimeError", "odd")


def test_the_package_knows_its_names() -> None:
    assert [getattr(perdure.testing, name).__name__ for name in perdure.testing.__all__] == perdure.testing.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        perdure.testing.nothing  # noqa: B018
