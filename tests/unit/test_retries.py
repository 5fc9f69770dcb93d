"""Retry strategies, and what `with_retry` does around a block."""

from __future__ import annotations

import datetime as dt
import re
from functools import partial
from typing import Any

import pytest

from perdure.config import Duration, JitterStrategy
from perdure.exceptions import NonDeterministicExecutionError, SuspendExecution, ValidationError
from perdure.retries import (
    LinearRetryStrategyConfig,
    RetryDecision,
    RetryPresets,
    RetryStrategyConfig,
    WithRetryConfig,
    create_linear_retry_strategy,
    create_retry_strategy,
    with_retry,
)
from perdure.waits import WaitStrategyConfig

PLAIN = JitterStrategy.NONE


def delays(strategy: Any, attempts: int = 12) -> list[int]:
    """The delays until the strategy gives up."""
    decisions = [strategy(ValueError("boom"), attempt) for attempt in range(1, attempts + 1)]
    return [decision.delay_seconds for decision in decisions if decision.should_retry]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (create_retry_strategy(RetryStrategyConfig(jitter_strategy=PLAIN)), [5, 10]),
        (create_retry_strategy(RetryStrategyConfig(6, 1, 4, 3, PLAIN)), [1, 3, 4, 4, 4]),
        (create_retry_strategy(RetryStrategyConfig(4, dt.timedelta(seconds=2), 60.0, 1, PLAIN)), [2, 2, 2]),
        (create_linear_retry_strategy(LinearRetryStrategyConfig(jitter_strategy=PLAIN)), [1, 2, 3, 4, 5]),
        (create_linear_retry_strategy(LinearRetryStrategyConfig(4, 5, 5, 12, PLAIN)), [5, 10, 12]),
        (RetryPresets.none(), []),
        (RetryPresets.critical(), [1, 2, 3, 4, 6, 8, 12, 18, 26]),
        (RetryPresets.linear(), [1, 2, 3, 4, 5]),
        (RetryPresets.fixed(), [5, 5, 5, 5]),
        (RetryPresets.fixed(dt.timedelta(seconds=7)), [7, 7, 7, 7]),
    ],
)
def test_delays(strategy: Any, expected: list[int]) -> None:
    assert delays(strategy) == expected


def test_one_text_pattern_or_class_is_as_good_as_a_list_of_one() -> None:
    """A text was taken for a list of its letters, of which almost every message has one."""
    for option, matching, other in (
        ({"retryable_errors": "time"}, ValueError("timed"), ValueError("emit")),
        ({"retryable_errors": re.compile("^t")}, ValueError("timed"), ValueError("emit")),
        ({"retryable_error_types": KeyError}, KeyError(), ValueError()),
    ):
        for strategy in (
            create_retry_strategy(RetryStrategyConfig(**option)),  # type: ignore[arg-type]
            create_linear_retry_strategy(LinearRetryStrategyConfig(**option)),  # type: ignore[arg-type]
        ):
            assert strategy(matching, 1).should_retry
            assert not strategy(other, 1).should_retry


@pytest.mark.parametrize("kind", [RetryStrategyConfig, LinearRetryStrategyConfig, partial(WaitStrategyConfig, bool)])
def test_jitter_may_be_named_and_is_checked_where_it_is_given(kind: Any) -> None:
    assert kind(jitter_strategy="NONE").jitter_strategy is PLAIN
    with pytest.raises(ValidationError, match="must be a JitterStrategy, not 'none'"):
        kind(jitter_strategy="none")


def test_a_late_attempt_does_not_overflow() -> None:
    strategy = create_retry_strategy(RetryStrategyConfig(10**9, jitter_strategy=PLAIN))
    assert strategy(ValueError(), 100_000).delay_seconds == 300


@pytest.mark.parametrize(
    ("errors", "types", "expected"),
    [
        (None, None, True),
        ([], None, False),
        (["oo"], None, True),
        (["o+"], None, False),
        ([re.compile("o+")], None, True),
        (None, [LookupError], False),
        (["zz"], [ValueError], True),
    ],
)
def test_which_errors_are_retried(errors: Any, types: Any, expected: bool) -> None:
    config = RetryStrategyConfig(retryable_errors=errors, retryable_error_types=types)
    assert create_retry_strategy(config)(ValueError("boom"), 1).should_retry is expected


def test_an_error_without_a_text_is_retried_by_its_class_alone() -> None:
    class SpeechlessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    by_text = create_retry_strategy(RetryStrategyConfig(retryable_errors=["oo", re.compile("o+")]))
    assert not by_text(SpeechlessError(), 1).should_retry
    by_class = create_retry_strategy(
        RetryStrategyConfig(retryable_errors=["oo"], retryable_error_types=[SpeechlessError])
    )
    assert by_class(SpeechlessError(), 1).should_retry


def test_a_decision_takes_any_length_of_time() -> None:
    assert RetryDecision.retry(2.5) == RetryDecision.retry(dt.timedelta(seconds=3)) == RetryDecision.retry(Duration(3))
    with pytest.raises(ValidationError):
        RetryDecision.retry("soon")  # type: ignore[arg-type]


class Context:
    """Records what is asked of a DurableContext."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def run_in_child_context(self, func: Any, name: Any = None, config: Any = None) -> Any:
        self.calls.append(("child", name, config))
        return func(self)

    def wait(self, duration: Duration, name: str | None = None) -> None:
        self.calls.append(("wait", duration.to_seconds(), name))


def failing(*errors: BaseException) -> Any:
    remaining = list(errors)

    def body(_context: Any, attempt: int) -> int:
        if remaining:
            raise remaining.pop(0)
        return attempt

    return body


def test_a_block_is_retried_with_named_waits() -> None:
    context = Context()
    config: Any = WithRetryConfig(lambda _error, attempt: RetryDecision.retry(attempt * 10))
    assert with_retry(context, failing(ValueError(), ValueError()), config, "trip") == 3  # type: ignore[arg-type]
    assert context.calls == [("child", "trip", None), ("wait", 10, "trip-backoff-1"), ("wait", 20, "trip-backoff-2")]


def test_a_block_need_not_have_a_context_of_its_own() -> None:
    context = Context()
    config: Any = WithRetryConfig(lambda _e, _a: RetryDecision.retry(0), wrap_with_run_in_child_context=False)
    with_retry(context, failing(ValueError()), config)  # type: ignore[arg-type]
    assert context.calls == [("wait", 1, None)]


@pytest.mark.parametrize("error", [SuspendExecution("m"), NonDeterministicExecutionError("m"), KeyboardInterrupt()])
def test_what_no_attempt_can_mend_passes_through(error: BaseException) -> None:
    context = Context()
    with pytest.raises(type(error)):
        with_retry(context, failing(error), WithRetryConfig())  # type: ignore[arg-type]
    assert [call[0] for call in context.calls] == ["child"]


def test_the_last_error_is_raised_as_it_is() -> None:
    last = ValueError("last")
    with pytest.raises(ValueError, match="last") as caught:
        with_retry(Context(), failing(last), WithRetryConfig(lambda _e, _a: RetryDecision.no_retry()))  # type: ignore[arg-type]
    assert caught.value is last
