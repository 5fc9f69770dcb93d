"""What is given wrong is refused where it is given, in words that say what to give; what can be meant is taken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_durable_execution_sdk_python.lambda_service import ErrorObject as OfficialErrorObject

from perdure import durable_execution
from perdure.lambda_service import ErrorObject
from perdure.local import LocalService
from perdure.testing.exceptions import (
    DurableFunctionsTestError,
    InvalidParameterValueException,
    ResourceNotFoundException,
)
from perdure.testing.operations import CallbackOperation
from perdure.testing.runner import (
    DurableChildContextTestRunner,
    DurableFunctionCloudTestRunner,
    DurableFunctionTestRunner,
)

LOST = ErrorObject("lost", "LookupError", None, None)

ERRORS: list[tuple[Any, ErrorObject]] = [
    ("lost", ErrorObject("lost", None, None, None)),
    (LookupError("lost"), LOST),
    (LookupError, ErrorObject("", "LookupError", None, None)),
    (LOST, LOST),
    (OfficialErrorObject("lost", "LookupError", None, None), LOST),
    ({"ErrorMessage": "lost", "ErrorType": "LookupError"}, LOST),
    ({"ErrorMessage": "lost", "ErrorData": None}, ErrorObject("lost", None, None, None)),
    (
        {"ErrorMessage": "m", "ErrorData": "d", "StackTrace": ["a", "b"], "ErrorType": "T"},
        ErrorObject("m", "T", "d", ["a", "b"]),
    ),
]
NO_ERRORS: list[Any] = [
    5,
    True,
    b"lost",
    ["lost"],
    object(),
    int,
    {"message": "lost"},
    {"ErrorMessage": 5},
    {"StackTrace": "no list"},
    ErrorObject(5, None, None, None),  # type: ignore[arg-type]
]

errors = pytest.mark.parametrize(("error", "sent"), ERRORS, ids=lambda value: type(value).__name__)
no_errors = pytest.mark.parametrize("wrong", NO_ERRORS)


def asks(_event: Any, context: Any) -> Any:
    return context.create_callback("ask").result()


def invokes(event: Any, context: Any) -> Any:
    return context.invoke("f", event, name="call")


def runner_of(handler: Any = asks, **options: Any) -> DurableFunctionTestRunner:
    return DurableFunctionTestRunner(durable_execution(handler), **options)


# -- errors --------------------------------------------------------------------------------------------------------


@errors
def test_an_error_is_sent_whatever_it_is_given_as(error: Any, sent: ErrorObject) -> None:
    with runner_of() as runner:
        arn = runner.run_async()
        runner.send_callback_failure(runner.wait_for_callback(arn), error)
        assert runner.wait_for_result(arn).get_callback("ask").error == sent
        runner.answer_callback("ask", error=error)
        assert runner.run().get_callback("ask").error == sent


@errors
def test_an_execution_is_stopped_with_any_error(error: Any, sent: ErrorObject) -> None:
    with runner_of() as runner:
        arn = runner.run_async()
        runner.stop_execution(arn, error)
        assert runner.wait_for_result(arn).error == sent


@errors
def test_a_mock_raises_any_error(error: Any, sent: ErrorObject) -> None:
    with runner_of(invokes) as runner:
        runner.mock_invoke("f", raises=error)
        assert runner.run().get_invoke("call").error == sent


def test_an_error_object_that_a_mock_returns_is_raised() -> None:
    with runner_of(invokes) as runner:
        runner.mock_invoke("f", returns=LOST)
        assert runner.run().get_invoke("call").error == LOST


@no_errors
def test_what_is_no_error_is_refused(wrong: Any) -> None:
    with runner_of() as runner:
        arn = runner.run_async()
        callback_id = runner.wait_for_callback(arn)
        for call in (
            lambda: runner.send_callback_failure(callback_id, wrong),
            lambda: runner.stop_execution(arn, wrong),
            lambda: runner.answer_callback("ask", error=wrong),
            lambda: runner.mock_invoke("f", raises=wrong),
        ):
            with pytest.raises(TypeError, match=r"(?i)error|raises="):
                call()
        assert runner.wait_for_callback(arn) == callback_id


def test_the_cloud_runner_takes_and_refuses_the_same_errors() -> None:
    service = LocalService().register("f", durable_execution(asks))
    runner = DurableFunctionCloudTestRunner("f", poll_interval=0, client=service.client)
    for error, sent in ERRORS:
        arn = runner.run_async()
        handle = service.drive(service.execution(arn), stop_at_callback=True)
        runner.send_callback_failure(runner.wait_for_callback(arn), error)
        service.drive(handle)
        assert runner.wait_for_result(arn).get_callback("ask").error == sent
        arn = runner.run_async()
        runner.stop_execution(arn, error)
        assert runner.wait_for_result(arn).error == sent
    for wrong in NO_ERRORS:
        with pytest.raises(TypeError):
            runner.send_callback_failure("some-id", wrong)
        with pytest.raises(TypeError):
            runner.stop_execution(arn, wrong)


# -- results and events --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, datetime(2026, 1, 1, tzinfo=UTC), [b"x"]], ids=lambda value: type(value).__name__
)
def test_what_json_cannot_hold_is_refused_with_its_name(value: Any) -> None:
    with runner_of(invokes) as runner:
        for what, call in {
            "the event": lambda: runner.run(event=value),
            "the input": lambda: runner.run(value),
            "what the mock of 'f' returns": lambda: runner.mock_invoke("f", value),
            "the result of a callback": lambda: runner.answer_callback("ask", value),
        }.items():
            with pytest.raises(TypeError, match=f"{what} cannot be written as JSON: .* is not JSON serializable"):
                call()
        assert not runner.service.handles


def test_an_event_is_given_in_one_way() -> None:
    with runner_of() as runner, pytest.raises(TypeError, match="give an input, as JSON, or an event, as an object"):
        runner.run("{}", event={})


def test_an_answer_is_given_in_one_way() -> None:
    with runner_of() as runner:
        with pytest.raises(TypeError, match="give reply=, or a result or an error, not both"):
            runner.answer_callback("ask", "yes", reply=lambda _: "no")
        with pytest.raises(TypeError, match="as reply= of answer_callback"):
            runner.answer_callback("ask", lambda _: "yes")
        with pytest.raises(TypeError, match="reply= must be a function, not 5"):
            runner.answer_callback("ask", reply=5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="name must be the name of a callback, or None"):
            runner.answer_callback(5, "yes")  # type: ignore[arg-type]
        callback_id = runner.wait_for_callback(runner.run_async())
        with pytest.raises(TypeError, match=r"is an error: answer with send_callback_failure\(\)"):
            runner.send_callback_success(callback_id, LookupError("lost"))


def test_answers_for_other_names_are_told_to_whoever_waits_in_vain() -> None:
    with runner_of() as runner:
        runner.answer_callback("aks", "yes")
        with pytest.raises(TimeoutError, match=r"waits for the callback ask\. .*, which has answers for 'aks'\."):
            runner.run()


# -- functions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [None, 5, "handler", {}], ids=repr)
def test_what_is_no_function_is_refused(wrong: Any) -> None:
    with runner_of() as runner:
        for what, call in {
            "the handler": lambda: DurableFunctionTestRunner(wrong),
            "the function of a child context": lambda: DurableChildContextTestRunner(wrong),
            "the function f": lambda: runner.register_function("f", wrong),
            "the function g": lambda: runner.register_durable_function("g", wrong),
        }.items():
            with pytest.raises(TypeError, match=f"{what} must be a function, not "):
                call()


def test_a_durable_function_is_not_taken_for_a_plain_one() -> None:
    with runner_of(invokes) as runner:
        with pytest.raises(TypeError, match=r"f is a durable function: register it with register_durable_function\(\)"):
            runner.register_function("f", durable_execution(asks))
        runner.register_function("f", lambda event, _context: event)
        assert runner.run(event=3).value == 3


def test_a_function_without_a_name_is_refused() -> None:
    with runner_of() as runner:
        for call in (
            lambda: runner.mock_invoke(asks),  # type: ignore[arg-type]
            lambda: runner.register_function(5, asks),  # type: ignore[arg-type]
            lambda: runner.register_durable_function(None, asks),  # type: ignore[arg-type]
            lambda: runner.run(function_name=5),  # type: ignore[arg-type]
        ):
            with pytest.raises(TypeError, match="a function is known by its name or ARN, not by"):
                call()


# -- the rest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("start_time", "2026"),
        ("start_time", timedelta(days=1)),
        ("limits", 3000),
        ("prices", 0.1),
        ("store", "executions.db"),
        ("max_invocation_page_bytes", "1 MB"),
    ],
)
def test_an_option_of_another_kind_is_refused(option: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"{option} must be .*, not "):
        runner_of(**{option: wrong})


@pytest.mark.parametrize("region", ["mars", "", 5, None])
def test_a_region_that_cannot_be_is_refused(region: Any) -> None:
    with pytest.raises(ValueError, match="region must be one of AWS's"):
        runner_of(region=region)


@pytest.mark.parametrize("account_id", ["", "12", 123456789012 * 10, "x" * 12])
def test_an_account_that_cannot_be_is_refused(account_id: Any) -> None:
    with runner_of() as runner, pytest.raises(ValueError, match="account_id must be twelve digits"):
        runner.run(account_id=account_id)


@pytest.mark.parametrize("name", [5, "", b"x"])
def test_a_name_of_an_execution_that_is_none_is_refused(name: Any) -> None:
    with runner_of() as runner, pytest.raises(InvalidParameterValueException, match="is no name of an execution"):
        runner.run(execution_name=name)


def test_days_of_retention_are_a_number() -> None:
    with runner_of() as runner, pytest.raises(TypeError, match="retention_period_days must be a number of days"):
        runner.register_durable_function("f", durable_execution(asks), retention_period_days="7")  # type: ignore[arg-type]


@pytest.mark.parametrize("arn", [None, "", 5, "nobody"])
def test_an_execution_that_is_not_there_is_not_stopped(arn: Any) -> None:
    with runner_of() as runner, pytest.raises(ResourceNotFoundException, match="no execution with the ARN"):
        runner.stop_execution(arn)


@pytest.mark.parametrize("send", ["success", "failure", "heartbeat"])
def test_an_id_of_a_callback_is_a_text(send: str) -> None:
    with runner_of() as runner, pytest.raises(TypeError, match="the id of a callback is a text"):
        getattr(runner, f"send_callback_{send}")(5)


# -- names ---------------------------------------------------------------------------------------------------------


def nests(_event: Any, context: Any) -> None:
    context.step(lambda _: 1, "charge")
    context.map([1], lambda inner, *_: inner.step(lambda _: 1, "weigh"), "parcels")
    context.wait_for_callback(lambda *_: None, "approval")


def test_a_name_that_is_misspelt_is_guessed() -> None:
    with runner_of(nests) as runner:
        runner.answer_callback("approval", "yes")
        result = runner.run()
    with pytest.raises(DurableFunctionsTestError, match=r"'chrage' not found; here are: .*; did you mean 'charge'\?$"):
        result.get_step("chrage")
    with pytest.raises(DurableFunctionsTestError, match=r"'5' not found; here are: approval, charge, parcels$"):
        result.get_step("5")


def test_a_name_that_is_further_inside_is_found_for_whoever_asked() -> None:
    with runner_of(nests) as runner:
        runner.answer_callback("approval", "yes")
        result = runner.run()
    with pytest.raises(DurableFunctionsTestError) as caught:
        result.get_step("weigh")
    assert str(caught.value).endswith("; one is inside: get_context('parcels').get_context('map-item-0')")
    assert result.get_context("parcels").get_context("map-item-0").get_step("weigh").value == 1


def test_of_very_many_names_some_are_told() -> None:
    with runner_of(lambda _event, context: [context.step(lambda _: 1, f"s{n:02}") for n in range(30)]) as runner:
        result = runner.run()
    with pytest.raises(DurableFunctionsTestError, match="s19 and 10 more"):
        result.get_wait("other")


def test_a_callback_is_found_by_the_name_around_it() -> None:
    with runner_of(nests) as runner:
        runner.answer_callback("approval", "yes")
        result = runner.run()
    callback = result.get_callback("approval")
    assert isinstance(callback, CallbackOperation)
    assert callback.callback_id
    assert callback.value == "yes"
    assert callback is result.get_context("approval").child_operations[0]
