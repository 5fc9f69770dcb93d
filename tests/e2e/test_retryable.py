"""`retry_if=` and `retryable_errors=` of a step: which errors its retry strategy is asked about."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, ExecutionError, StepContext, StepError, ValidationError
from perdure.config import StepConfig, StepSemantics
from perdure.retries import RetryDecision, RetryPresets
from support.invocations import PENDING, invoke, op, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

ONCE_A_SECOND = RetryPresets.fixed(1)


def gave(value: Any) -> dict[str, Any]:
    return succeeded(json.dumps(value))


class SpeechlessError(Exception):
    """An error of which nobody can have a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def failing(problem: BaseException) -> Callable[[StepContext], Any]:
    def body(_step: StepContext) -> None:
        raise problem

    return body


def action(problem: BaseException, **options: Any) -> str:
    """Give what is recorded of a step that fails with an error."""

    def handler(context: DurableContext) -> str:
        with pytest.raises(StepError):
            context.step(failing(problem), "s", **options)
        return "failed"

    response, client = invoke(handler)
    last = client.updates[-1]["Action"]
    assert (response == PENDING) == (last == "RETRY")
    return str(last)


@pytest.mark.parametrize(
    ("errors", "problem", "expected"),
    [
        ((OSError,), ConnectionError("x"), "RETRY"),
        ((OSError, KeyError), ValueError("x"), "FAIL"),
        (OSError, OSError("x"), "RETRY"),
        (["slow down"], ValueError("please slow down a bit"), "RETRY"),
        ("slow down", ValueError("please slow down a bit"), "RETRY"),
        (["slow down"], ValueError("no"), "FAIL"),
        ([re.compile(r"5\d\d")], ValueError("status 503"), "RETRY"),
        ([re.compile(r"5\d\d"), KeyError], ValueError("status 403"), "FAIL"),
        ((), ValueError("x"), "FAIL"),
        (iter([OSError]), OSError("x"), "RETRY"),
        (["x", re.compile("x")], SpeechlessError(), "FAIL"),
        (["x", SpeechlessError], SpeechlessError(), "RETRY"),
    ],
)
def test_the_strategy_is_asked_about_these_errors_alone(errors: Any, problem: Exception, expected: str) -> None:
    assert action(problem, retryable_errors=errors, retry=ONCE_A_SECOND) == expected


def test_a_predicate_sees_the_error() -> None:
    seen: list[Exception] = []

    def retry_if(error: Exception) -> bool:
        seen.append(error)
        return "again" in str(error)

    problems = [ValueError("again"), ValueError("no")]
    assert [action(problem, retry_if=retry_if, retry=ONCE_A_SECOND) for problem in problems] == ["RETRY", "FAIL"]
    assert seen == problems


def test_each_narrows_and_the_strategy_has_the_last_word() -> None:
    asked: list[int] = []

    def strategy(_error: Exception, attempts: int) -> RetryDecision:
        asked.append(attempts)
        return RetryDecision.no_retry()

    def no(_error: Exception) -> bool:
        return False

    assert action(OSError("x"), retryable_errors=(OSError,), retry_if=no, retry=strategy) == "FAIL"
    assert action(OSError("x"), retryable_errors=(KeyError,), retry_if=lambda _: True, retry=strategy) == "FAIL"
    assert asked == []
    assert action(OSError("x"), retryable_errors=(OSError,), retry_if=lambda _: True, retry=strategy) == "FAIL"
    assert asked == [1]


def test_without_a_strategy_they_narrow_the_default_one() -> None:
    assert action(OSError("x"), retryable_errors=(OSError,)) == "RETRY"
    assert action(ValueError("x"), retryable_errors=(OSError,)) == "FAIL"
    config = StepConfig(retryable_errors=(OSError,), retry_if=lambda error: str(error) == "x")
    assert [action(OSError(text), config=config) for text in ("x", "y")] == ["RETRY", "FAIL"]
    assert action(ValueError("x"), config=config, retryable_errors=(ValueError,)) == "RETRY"


def test_an_interrupted_attempt_is_an_error_as_others() -> None:
    started = op("STEP", "STARTED", Name="s")
    once = StepSemantics.AT_MOST_ONCE_PER_RETRY

    def handler(context: DurableContext) -> str:
        with pytest.raises(StepError):
            context.step(lambda _: 1, "s", step_semantics=once, retryable_errors=(OSError,))
        return "failed"

    response, client = invoke(handler, started)
    assert response == gave("failed")
    assert [each["Action"] for each in client.updates] == ["FAIL"]


def test_on_replay_nobody_is_asked() -> None:
    def handler(context: DurableContext) -> Any:
        return context.step(failing(ValueError()), "s", retry_if=pytest.fail, retryable_errors=3)  # type: ignore[arg-type]

    response, _ = invoke(handler, op("STEP", "SUCCEEDED", Name="s", details={"Result": "1"}))
    assert response == gave(1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retry_if": 3}, "retry_if of step s must be a function of the error, not 3"),
        ({"retry_if": lambda _: None}, "retry_if of step s must return True or False, not None"),
        ({"retry_if": lambda _: 1 / 0}, "retry_if of step s raised ZeroDivisionError.* asked about ValueError"),
        ({"retryable_errors": 3}, "retryable_errors of step s must be exception classes, texts .*, not 3"),
        ({"retryable_errors": [OSError, int]}, "retryable_errors of step s must be .*, not <class 'int'>"),
        ({"retryable_errors": [re.compile(b"x")]}, "retryable_errors of step s must be .*, not re.compile"),
        ({"retryable_errors": (OSError,), "retry": 3}, "the retry strategy of step s must be a function"),
    ],
)
def test_mistakes_are_refused_in_words(options: dict[str, Any], words: str) -> None:
    def handler(context: DurableContext) -> str:
        with pytest.raises(ValidationError, match=words):
            context.step(failing(ValueError("mine")), "s", **options)
        return "refused"

    assert invoke(handler)[0] == gave("refused")


def test_a_predicate_may_end_the_execution() -> None:
    def retry_if(_error: Exception) -> bool:
        raise ExecutionError("enough")

    response, _ = invoke(lambda context: context.step(failing(ValueError("mine")), retry_if=retry_if))
    assert response["Status"] == "FAILED"
    assert response["Error"]["ErrorMessage"] == "enough"


def test_an_option_that_there_is_not_is_refused_as_by_any_function() -> None:
    def handler(context: DurableContext) -> str:
        with pytest.raises(TypeError, match=r"step\(\) got an unexpected keyword argument 'timeouts'"):
            context.step(lambda _: 1, timeouts=3)  # type: ignore[call-arg]
        return "refused"

    response, client = invoke(handler)
    assert (response, client.calls) == (gave("refused"), [])
