"""What a test learns of an execution that failed: the exception of its code, the line, and the whole message, once."""

from __future__ import annotations

import copy
import gc
import pickle
import traceback
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perdure import InvokeError, StepError, durable_execution
from perdure.exceptions import InvocationError
from perdure.lambda_service import ErrorObject, InvocationStatus
from perdure.local import LocalService, SqliteStore
from perdure.local.traces import chain_of, place_of, traceback_text, trimmed
from perdure.retries import RetryPresets
from perdure.testing import _recent
from perdure.testing.exceptions import DurableFunctionsTestError
from perdure.testing.result import DurableFunctionTestResult, Facts
from perdure.testing.runner import DurableFunctionTestRunner

LONG = "a word of many, " * 30 + "and the help at its end"


def runner_of(handler: Any, **options: Any) -> DurableFunctionTestRunner:
    return DurableFunctionTestRunner(durable_execution(handler), **options)


def asks_for_a_sku(event: Any, context: Any) -> Any:
    context.wait(5)
    return event["sku"]


def no_value(result: Any) -> DurableFunctionsTestError:
    with pytest.raises(DurableFunctionsTestError) as caught:
        _ = result.value
    return caught.value


def files_of(error: BaseException) -> set[str]:
    return {Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)}


@pytest.mark.parametrize("way", ["run", "wait_for_result"])
def test_what_the_handler_raised_is_the_cause_and_leads_to_its_line(way: str) -> None:
    with runner_of(asks_for_a_sku) as runner:
        result = runner.run(event={}) if way == "run" else runner.wait_for_result(runner.run_async(event={}))
    error = no_value(result)
    assert isinstance(error.__cause__, KeyError)
    assert error.__cause__ is result.failure
    assert files_of(error.__cause__) == {"test_failures.py"}
    lines = str(error).splitlines()
    assert lines[0] == "the execution has no value, it FAILED: KeyError: 'sku'"
    assert lines[1].startswith("raised at ")
    assert lines[1].endswith("in asks_for_a_sku")
    assert lines[2] == "execution-name FAILED after 5 s in 2 invocations"


def test_an_execution_that_succeeds_has_no_failure() -> None:
    with runner_of(asks_for_a_sku) as runner:
        assert runner.run(event={"sku": 1}).failure is None


def invokes(_event: Any, context: Any) -> Any:
    return context.invoke("other", {}, name="call")


def children() -> list[Any]:
    def durable(runner: Any) -> Any:
        runner.register_durable_function("other", durable_execution(asks_for_a_sku))

    def plain(runner: Any) -> Any:
        runner.register_function("other", lambda event, _context: event["sku"])

    def mocked(runner: Any) -> Any:
        runner.mock_invoke("other", returns=lambda payload: payload["sku"])

    def further(runner: Any) -> Any:
        runner.register_durable_function(
            "other", durable_execution(lambda _event, context: context.invoke("last", {}, name="further"))
        )
        runner.register_function("last", lambda event, _context: event["sku"])

    return [durable, plain, mocked, further]


@pytest.mark.parametrize("stored", [False, True], ids=["in memory", "in a file"])
@pytest.mark.parametrize("register", children(), ids=lambda register: register.__name__)
def test_what_an_invoked_function_raised_is_in_the_chain(register: Any, stored: bool, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db") if stored else None
    with runner_of(invokes, store=store) as runner:
        register(runner)
        error = no_value(runner.run())
    assert isinstance(error.__cause__, InvokeError)
    [inner] = [link for link in chain_of(error) if isinstance(link, KeyError)]
    assert "test_failures.py" in files_of(inner)
    assert "\nbecause of KeyError, raised at " in str(error)
    assert "KeyError: 'sku'" in "".join(traceback.format_exception(error))


def test_each_of_several_calls_has_its_own_failure() -> None:
    def first(_event: Any, _context: Any) -> None:
        raise LookupError("same")

    def second(_event: Any, _context: Any) -> None:
        raise LookupError("same")

    def handler(event: Any, context: Any) -> Any:
        for name in ("first", "second"):
            try:
                context.invoke(name, {}, name=name)
            except InvokeError:
                if name == event:
                    raise

    with runner_of(handler) as runner:
        runner.register_durable_function("first", durable_execution(first))
        runner.register_durable_function("second", durable_execution(second))
        for name in ("first", "second"):
            assert str(no_value(runner.run(event=name))).splitlines()[2].endswith(f" in {name}")


def test_a_mock_that_is_to_raise_shows_no_lines_of_the_package() -> None:
    with runner_of(invokes) as runner:
        runner.mock_invoke("other", raises=LookupError("no such thing"))
        error = no_value(runner.run())
    assert not any(isinstance(link, LookupError) for link in chain_of(error))
    assert "because" not in str(error)


def test_an_error_that_the_handler_makes_of_another_shows_both() -> None:
    def handler(_event: Any, context: Any) -> Any:
        try:
            return context.run_in_child_context(lambda inner: inner.invoke("other", {}, name="call"), "kid")
        except Exception as error:
            raise RuntimeError("no luck") from error

    with runner_of(handler) as runner:
        runner.register_function("other", lambda event, _context: event["sku"])
        error = no_value(runner.run())
    assert isinstance(error.__cause__, RuntimeError)
    assert any(isinstance(link, KeyError) for link in chain_of(error))


def test_the_result_of_another_execution_does_not_show_this_one() -> None:
    with runner_of(asks_for_a_sku) as runner:
        first, second = runner.run(event={}), runner.run(event={"sku": 1})
    assert first.failure is not None
    assert second.failure is None
    assert first.status is not second.status


# -- the message ---------------------------------------------------------------------------------------------------


def raises(message: str) -> Any:
    def handler(_event: Any, _context: Any) -> None:
        raise ValueError(message)

    return handler


def test_the_error_of_an_execution_is_told_in_full_and_once() -> None:
    with runner_of(raises(LONG)) as runner:
        result = runner.run()
    error = no_value(result)
    assert str(error).count(LONG) == 1
    assert str(error).count("a word of many") == 30
    assert result.tree().endswith(f"with ValueError: {LONG}")


def test_an_error_of_several_lines_keeps_them_but_the_headline_is_one() -> None:
    with runner_of(raises("one\n  two")) as runner:
        result = runner.run()
    assert "FAILED: ValueError: one\n  two\nraised at" in str(no_value(result))
    assert result.tree() == "execution-name FAILED after 0 ms in 1 invocation with ValueError: one two"


def test_the_lines_of_the_operations_stay_short() -> None:
    def failing(_step: Any) -> None:
        raise ValueError(LONG)

    with runner_of(lambda _event, context: context.step(failing, "charge", retry=RetryPresets.none())) as runner:
        error = no_value(runner.run())
    assert isinstance(error.__cause__, StepError)
    assert str(error).count(LONG) == 1
    assert len(str(error).splitlines()[-1]) < 160


def test_a_function_that_is_missing_is_told_with_what_helps() -> None:
    with runner_of(lambda _event, context: context.invoke("tax", {}, name="tax")) as runner:
        error = no_value(runner.run())
    assert "mock_invoke('tax', returns=...), register_function() or register_durable_function()." in str(error)


def test_a_replay_that_differs_is_told_with_the_line_and_what_to_do() -> None:
    names = iter("abc")

    def handler(_event: Any, context: Any) -> None:
        context.step(lambda _: 1, name=next(names))
        context.wait(60)

    with runner_of(handler) as runner:
        error = no_value(runner.run())
    assert "test_failures.py:" in str(error).splitlines()[0]
    assert "let running executions finish before changing operations they have passed." in str(error)


def test_an_operation_that_a_failed_execution_never_came_to_says_why() -> None:
    with runner_of(asks_for_a_sku) as runner:
        result = runner.run(event={})
    with pytest.raises(
        DurableFunctionsTestError, match=r"'charge' not found.* FAILED: KeyError: 'sku'\nraised at"
    ) as e:
        result.get_step("charge")
    assert isinstance(e.value.__cause__, KeyError)


# -- timeouts ------------------------------------------------------------------------------------------------------


def sick(_event: Any, _context: Any) -> None:
    raise InvocationError("the service is sick")


@pytest.mark.parametrize("invoked", [False, True], ids=["itself", "a function it invokes"])
def test_a_test_that_times_out_shows_what_keeps_failing(invoked: bool) -> None:
    with runner_of(invokes if invoked else sick, skip_time=False) as runner:
        runner.register_durable_function("other", durable_execution(sick))
        with pytest.raises(TimeoutError, match="The last invocation failed: InvocationError: the service is") as caught:
            runner.run(timeout=0.2)
    assert isinstance(caught.value.__cause__, InvocationError)
    assert "test_failures.py" in files_of(caught.value.__cause__)


def test_a_callback_that_never_opens_since_the_handler_failed_says_so() -> None:
    with runner_of(asks_for_a_sku) as runner:
        arn = runner.run_async(event={})
        with pytest.raises(
            TimeoutError, match=r"execution-name is FAILED\. KeyError: 'sku'\nraised at .* in asks"
        ) as e:
            runner.wait_for_callback(arn, "ask")
    assert isinstance(e.value.__cause__, KeyError)


def test_a_test_that_waits_for_the_outside_has_no_cause() -> None:
    waits = runner_of(lambda _event, context: context.create_callback("ask").result())
    with waits as runner, pytest.raises(TimeoutError) as caught:
        runner.run()
    assert caught.value.__cause__ is None


# -- handlers that are not decorated -------------------------------------------------------------------------------


@pytest.mark.parametrize("output", [{"total": 3}, {"Status": "shipped"}, {}, None, 5])
def test_a_handler_that_is_not_decorated_is_asked_about(output: Any) -> None:
    with DurableFunctionTestRunner(lambda _event, _context: output) as runner:
        error = no_value(runner.run())
    assert "Is the handler decorated with @durable_execution?" in str(error)


@pytest.mark.parametrize("name", ["step", "wait", "map", "run_in_child_context", "logger", "execution_context"])
def test_lambdas_context_says_that_it_is_not_a_durable_one(name: str) -> None:
    def handler(_event: Any, context: Any) -> None:
        assert not hasattr(context, name)
        getattr(context, name)

    with DurableFunctionTestRunner(handler) as runner:
        error = no_value(runner.run())
    assert isinstance(error.__cause__, AttributeError)
    assert f"no attribute '{name}': this is Lambda's context" in str(error)
    assert "@durable_execution" in str(error)


def test_other_names_that_lambdas_context_has_not_are_told_as_ever() -> None:
    seen: list[Any] = []
    LocalService().register("f", lambda _event, context: seen.append(context), durable=False).client.invoke(
        FunctionName="f"
    )
    [context] = seen
    with pytest.raises(AttributeError, match=r"^'LocalLambdaContext' object has no attribute 'stepp'$"):
        _ = context.stepp
    assert copy.copy(context).function_name == "f"
    assert pickle.loads(pickle.dumps(context)).function_name == "f"  # noqa: S301  made here


# -- results stay what they were -----------------------------------------------------------------------------------


def test_results_compare_without_their_failures() -> None:
    parts: dict[str, Any] = {
        "status": InvocationStatus.FAILED,
        "operations": [],
        "error": ErrorObject("m", "T", None, None),
    }
    one = DurableFunctionTestResult[Any](**parts, facts=Facts(failure=KeyError("a")))
    other = DurableFunctionTestResult[Any](**parts, facts=Facts(failure=KeyError("b")))
    assert one == other
    assert Facts(failure=KeyError("a")) == Facts(failure=KeyError("b"))
    assert "KeyError" not in repr(one) + repr(one.facts)


def test_results_that_were_copied_and_pickled_still_are() -> None:
    with runner_of(asks_for_a_sku) as runner:
        result = runner.run(event={})
        assert copy.copy(result) == result
    made = DurableFunctionTestResult[Any](InvocationStatus.FAILED, [], error=ErrorObject("m", "T", None, None))
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made  # noqa: S301  made here


def test_a_failure_holds_no_frames_of_the_package() -> None:
    runner = runner_of(asks_for_a_sku)
    result = runner.run(event={})
    assert result.failure is not None
    frames = [frame for frame, _ in traceback.walk_tb(result.failure.__traceback__)]
    assert [frame.f_code.co_name for frame in frames] == ["asks_for_a_sku"]


def test_a_runner_that_is_let_go_goes_with_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recent, "started", None)  # what the plugin keeps for the report of this very test

    def fail() -> weakref.ref[LocalService]:
        with runner_of(invokes) as runner:
            runner.register_function("other", lambda event, _context: event["sku"])
            with pytest.raises(DurableFunctionsTestError):
                _ = runner.run().value
            return weakref.ref(runner.service)

    service = fail()
    LocalService().register("f", durable_execution(lambda _event, _context: 1)).run(
        "f"
    )  # the one that ran last is kept
    gc.collect()
    assert service() is None


# -- tracebacks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FrozenError(Exception):
    why: str


def test_an_exception_that_cannot_be_changed_is_trimmed_too() -> None:
    def handler(_event: Any, _context: Any) -> None:
        raise FrozenError("as it is")

    with runner_of(handler) as runner:
        failure = runner.run().failure
    assert failure is not None
    assert files_of(failure) == {"test_failures.py"}


def test_an_exception_without_lines_of_the_users_is_left_as_it_is() -> None:
    problem = ValueError("never raised")
    assert trimmed(problem) is problem
    assert place_of(problem) is None
    assert traceback_text(None) == ""


def test_a_chain_that_comes_back_to_itself_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__cause__ = other, one
    assert list(chain_of(one)) == [one, other]


def test_the_place_is_the_users_line_and_not_that_of_a_library() -> None:
    def handler(_event: Any, _context: Any) -> Any:
        import json  # noqa: PLC0415  a library of the handler's

        return json.loads("no json")

    with runner_of(handler) as runner:
        failure = runner.run().failure
    assert failure is not None
    assert "decoder.py" in files_of(failure)
    assert (place_of(failure) or "").endswith(" in handler")


def test_a_traceback_tells_the_original_and_not_what_was_recorded_of_it() -> None:
    def handler(_event: Any, context: Any) -> Any:
        return context.run_in_child_context(lambda inner: inner.step(lambda _: {}["sku"], retry=RetryPresets.none()))

    with runner_of(handler) as runner:
        told = traceback_text(runner.run().failure)
    assert told.count("KeyError: 'sku'\n") == 1
    assert told.count("StepError: 'sku'\n") == 1
    assert "DurableOperationError" not in told
    assert "During handling" not in told
