"""What a result tells: values, the tree, what is found by name, histories, and the shapes they come in."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import perdure.testing
from perdure import InvocationError, durable_execution
from perdure.history.shapes import Shape
from perdure.lambda_service import ErrorObject, InvocationStatus, OperationType
from perdure.lambda_service import Operation as SvcOperation
from perdure.local import Limits
from perdure.retries import RetryPresets
from perdure.testing import model
from perdure.testing.exceptions import (
    AwsApiException,
    DurableFunctionsTestError,
    ExecutionAlreadyStartedException,
    InvalidParameterValueException,
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
from perdure.testing.tree import render, shorten

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
        "└─ child     RunInChildContext  FAILED  0 ms  StepError: no luck at all",
        "   └─ inner  Step               FAILED  0 ms  ValueError: no luck at all",
    ]
    assert result.tree() in repr(result)


def test_a_very_large_tree_is_cut() -> None:
    result = run(lambda event, context: [context.step(lambda _: 1) for _ in range(event)], event=210)
    assert render(result.operations).endswith("… and 10 more")
    assert len(list(result.walk())) == 210


def test_long_texts_are_shortened() -> None:
    assert shorten("a" * 200, 10) == "a" * 9 + "…"


def test_results_are_equal_when_the_executions_did_the_same() -> None:
    parts = {"status": InvocationStatus.SUCCEEDED, "operations": [], "result": "1"}
    one, other = DurableFunctionTestResult(**parts), DurableFunctionTestResult(**parts)
    assert one == other
    assert (one.duration, one.history, one.invocations) == (None, (), None)


def test_the_invocations_are_a_number_and_a_list() -> None:
    tries: list[int] = []

    def handler(_event: Any, context: Any) -> str:
        tries.append(1)
        context.wait(90)
        if len(tries) == 2:
            raise InvocationError("again, please")
        return "done"

    invocations = run(handler).invocations
    assert invocations is not None
    assert (invocations, len(invocations), str(invocations), json.dumps([invocations])) == (3, 3, "3", "[3]")
    assert (invocations > 2, invocations + 1, hash(invocations), invocations == 2) == (True, 4, hash(3), False)
    assert [each.end_timestamp - NOW for each in invocations] == [
        timedelta(),
        timedelta(seconds=90),
        timedelta(seconds=91),
    ]
    assert [each.error is not None for each in invocations] == [False, True, False]
    second = invocations[1]
    assert second.error is not None
    assert second.error.payload is not None
    assert second.error.payload.message == "again, please"
    assert (invocations[-1], invocations[1:], second in invocations) == (
        list(invocations)[2],
        tuple(invocations)[1:],
        True,
    )
    assert (pickle.loads(pickle.dumps(invocations)), list(pickle.loads(pickle.dumps(invocations)))) == (  # noqa: S301
        invocations,
        list(invocations),
    )
    with pytest.raises(IndexError):
        invocations[3]


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


@pytest.mark.parametrize("name", ["a/b", "a b", "x" * 65, "é", "a|b"])
def test_a_name_that_aws_refuses_is_refused(name: str) -> None:
    with (
        runner_of(lambda event, _context: event) as runner,
        pytest.raises(InvalidParameterValueException, match="AWS takes letters, digits"),
    ):
        runner.run(execution_name=name)


@pytest.mark.parametrize("given", [{"a": 1}, [1, "x"], 5, True, None, b'{"a": 2}', '{"a": 3}', "text"])
def test_an_input_may_be_an_object(given: Any) -> None:
    expected = {b'{"a": 2}': {"a": 2}, '{"a": 3}': {"a": 3}}.get(given if isinstance(given, bytes | str) else "", given)
    assert run(lambda event, _context: {"got": event}, input=given).value == {"got": expected}


ARN = "arn:aws:lambda:us-west-2:123456789012:function:f"


@pytest.mark.parametrize("registered", ["f", "f:live", "f:3", ARN, f"{ARN}:live"])
@pytest.mark.parametrize("invoked", ["f", "f:live", "f:other", "f:3", ARN, f"{ARN}:other"])
def test_a_function_serves_all_qualifiers(registered: str, invoked: str) -> None:
    with runner_of(lambda event, context: context.invoke(invoked, event)) as runner:
        mocked = runner.mock_invoke(registered, returns=8)
        assert runner.run(event=4).value == 8
        assert mocked.calls == [4]


def test_aliases_of_a_function_may_stand_beside_each_other() -> None:
    def handler(_event: Any, context: Any) -> Any:
        return [context.invoke(name, 1) for name in ("f:live", "d", "f:beta", "f:live")]

    durable = durable_execution(lambda _event, context: context.step(lambda _: "durable"))
    with runner_of(handler) as runner:
        runner.register_function("f:live", lambda _payload, _context: "live")
        runner.register_function("f:beta", lambda _payload, _context: "beta")
        runner.register_durable_function("d:live", durable)
        assert runner.run().value == ["live", "durable", "beta", "live"]
        runner.mock_invoke(f"{ARN}:live", returns="new")
        assert runner.run().value == ["new", "durable", "beta", "new"]
        with pytest.raises(ValueError, match="f is registered as live, beta, 7: beside each other only aliases"):
            runner.mock_invoke("f:7")


@pytest.mark.parametrize(
    ("name", "arn"),
    [("f", f"{ARN}:$LATEST"), ("f:live", f"{ARN}:$LATEST"), ("f:7", f"{ARN}:7"), (ARN, f"{ARN}:$LATEST")],
)
def test_the_function_under_test_may_be_called_by_a_qualified_name(name: str, arn: str) -> None:
    def handler(_event: Any, context: Any) -> Any:
        return [context.lambda_context.function_name, context.lambda_context.invoked_function_arn]

    assert run(handler, function_name=name).value == ["f", arn]


def test_a_missing_function_is_asked_for_in_the_words_of_the_runner() -> None:
    error = run(lambda _event, context: context.invoke("nobody", 1)).error
    assert error is not None
    assert "mock_invoke('nobody', returns=...), register_function()" in (error.message or "")
    assert "LocalService" not in (error.message or "")


def test_an_async_function_is_refused() -> None:
    async def later(_event: Any, _context: Any) -> None: ...

    with runner_of(lambda _event, _context: 1) as runner:
        for register in (runner.register_function, runner.register_durable_function):
            with pytest.raises(TypeError, match="the function later is an async function"):
                register("later", later)
    with pytest.raises(TypeError, match="the handler is an async function"):
        DurableFunctionTestRunner(later)


@pytest.mark.parametrize("send", ["success", "failure", "heartbeat"])
def test_an_empty_id_of_a_callback_is_refused(send: str) -> None:
    with (
        runner_of(lambda _event, _context: 1) as runner,
        pytest.raises(InvalidParameterValueException, match="missing"),
    ):
        getattr(runner, f"send_callback_{send}")("")


def test_a_callback_that_fails_without_a_reason_has_an_empty_error() -> None:
    with runner_of(lambda _event, context: context.create_callback("ask").result()) as runner:
        arn = runner.run_async()
        runner.send_callback_failure(runner.wait_for_callback(arn))
        result = runner.wait_for_result(arn)
    assert result.get_callback("ask").error == ErrorObject(None, None, None, None)
    assert result.tree().splitlines()[1] == "└─ ask  Callback  FAILED  0 ms"


LOST = ErrorObject("lost", "LookupError", None, None)


@pytest.mark.parametrize("outcome", [LookupError("lost"), lambda _payload: LookupError("lost")])
def test_an_exception_that_a_mock_returns_is_raised(outcome: Any) -> None:
    with runner_of(lambda _event, context: context.invoke("f", 1, "call")) as runner:
        runner.mock_invoke("f", returns=outcome)
        assert runner.run().get_invoke("call").error == LOST


@pytest.mark.parametrize(
    "given",
    [
        {"result": LookupError("lost")},
        {"result": LOST},
        {"error": LookupError("lost")},
        {"reply": lambda _callback_id: LookupError("lost")},
    ],
)
def test_an_exception_as_an_answer_fails_the_callback(given: dict[str, Any]) -> None:
    with runner_of(lambda _event, context: context.create_callback("ask").result()) as runner:
        runner.answer_callback("ask", **given)
        assert runner.run().get_callback("ask").error == LOST


def test_a_class_of_exceptions_is_raised_and_fails_a_callback() -> None:
    def handler(event: Any, context: Any) -> Any:
        return context.invoke("f", 1, "call") if event else context.create_callback("call").result()

    with runner_of(handler) as runner:
        runner.mock_invoke("f", returns=LookupError)
        runner.answer_callback("call", LookupError)
        errors = [runner.run(event=event).get_operation_by_name("call").error for event in (True, False)]
    assert errors == [ErrorObject("", "LookupError", None, None)] * 2


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
            with pytest.raises(ValueError, match="timeout must be"):
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
    made = [name for name in perdure.testing.__all__ if name != "__version__"]
    assert [getattr(perdure.testing, name).__name__ for name in made] == made
    assert perdure.testing.__version__ == perdure.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        perdure.testing.nothing  # noqa: B018
