"""What the public vocabulary does, against the official SDK on the same input. Hypothesis chooses the input."""

from __future__ import annotations

import asyncio
import inspect
import random
from unittest import mock

import aws_durable_execution_sdk_python as their_sdk
import pytest
from aws_durable_execution_sdk_python import config as their_config
from aws_durable_execution_sdk_python import logger as their_logger
from aws_durable_execution_sdk_python import retries as their_retries
from aws_durable_execution_sdk_python import types as their_types
from aws_durable_execution_sdk_python import waits as their_waits
from hypothesis import given, settings
from hypothesis import strategies as st

import perdure as our_sdk
from perdure import config as our_config
from perdure import logger as our_logger
from perdure import retries as our_retries
from perdure import types as our_types
from perdure import waits as our_waits

few = settings(max_examples=60, deadline=None)


def outcome(function, *args, **kwargs):
    """What a call gives: its value's repr, or the class of what it raises, either without the package's name."""
    try:
        return repr(function(*args, **kwargs))
    except Exception as error:  # noqa: BLE001  the comparison is the point
        return type(error).__name__


def fields(error):
    """All that an exception says, and the same of its cause."""
    if error is None:
        return None
    return (type(error).__name__, str(error), vars(error), fields(error.__cause__))


texts = st.one_of(st.none(), st.text(max_size=5))
seconds = st.integers(0, 10_000)

# --- durations and configs ----------------------------------------------------------------------------------------


@few
@given(
    st.sampled_from(["from_seconds", "from_minutes", "from_hours", "from_days"]),
    st.one_of(st.integers(-10, 10**6), st.floats(-10, 10**6), st.just(float("nan")), st.just(float("inf"))),
)
def test_durations_round_and_refuse_alike(maker, value):
    theirs = outcome(getattr(their_config.Duration, maker), value)
    assert outcome(getattr(our_config.Duration, maker), value) == theirs


@few
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "min_successful": st.integers(-1, 5),
            "tolerated_failure_count": st.integers(-1, 5),
            "tolerated_failure_percentage": st.one_of(st.integers(-1, 101), st.floats()),
            "should_complete": st.sampled_from([None, len, 5]),
        },
    )
)
def test_completion_configs_are_checked_alike(options):
    theirs = outcome(their_config.CompletionConfig, **options)
    assert outcome(our_config.CompletionConfig, **options) == theirs


@few
@given(st.one_of(st.none(), st.text(max_size=40), st.text("abcXYZ019-_", max_size=40)))
@pytest.mark.parametrize("config", ["StepConfig", "ChildConfig", "CallbackConfig", "WaitForCallbackConfig"])
def test_sub_types_are_checked_alike(config, sub_type):
    theirs = outcome(getattr(their_config, config), sub_type=sub_type)
    assert outcome(getattr(our_config, config), sub_type=sub_type) == theirs


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("result", [None, "SUCCEEDED", "FAILED"])
def test_completion_decisions_are_checked_alike(complete, result):
    def make(config):
        return config.CompletionDecision(complete, result and config.CompletionOutcome(result))

    assert outcome(make, our_config) == outcome(make, their_config)


# --- retries and waits --------------------------------------------------------------------------------------------

strategies = st.fixed_dictionaries(
    {
        "max_attempts": st.integers(0, 8),
        "initial_delay": seconds,
        "max_delay": seconds,
        "jitter_strategy": st.sampled_from(["NONE", "FULL", "HALF"]),
    }
)
rates = st.one_of(st.integers(0, 5), st.floats(0, 5))
randoms = st.floats(0, 1, exclude_max=True)


def build(package_config, cls, options):
    """Make a strategy's config of one package from plain options."""
    durations = {"initial_delay", "max_delay", "increment"}
    values = {key: package_config.Duration(value) if key in durations else value for key, value in options.items()}
    values["jitter_strategy"] = package_config.JitterStrategy(values["jitter_strategy"])
    return cls(**values)


@few
@given(strategies, rates, randoms, st.integers(1, 12))
def test_exponential_retries_decide_alike(options, rate, number, attempt):
    options = {**options, "backoff_rate": rate}
    with mock.patch.object(random, "random", return_value=number):
        theirs = their_retries.create_retry_strategy(build(their_config, their_retries.RetryStrategyConfig, options))(
            ValueError("boom"), attempt
        )
        ours = our_retries.create_retry_strategy(build(our_config, our_retries.RetryStrategyConfig, options))(
            ValueError("boom"), attempt
        )
    assert repr(ours) == repr(theirs)


@few
@given(strategies, seconds, randoms, st.integers(1, 12))
def test_linear_retries_decide_alike(options, increment, number, attempt):
    options = {**options, "increment": increment}
    with mock.patch.object(random, "random", return_value=number):
        theirs = their_retries.create_linear_retry_strategy(
            build(their_config, their_retries.LinearRetryStrategyConfig, options)
        )(ValueError("boom"), attempt)
        ours = our_retries.create_linear_retry_strategy(
            build(our_config, our_retries.LinearRetryStrategyConfig, options)
        )(ValueError("boom"), attempt)
    assert repr(ours) == repr(theirs)


@few
@given(
    st.one_of(st.none(), st.lists(st.sampled_from(["boom", "oo", "", "x", "b.*m"]), max_size=2)),
    st.one_of(st.none(), st.lists(st.sampled_from([ValueError, LookupError, Exception]), max_size=2)),
    st.sampled_from([ValueError("boom"), KeyError("boom"), OSError("other"), ValueError()]),
)
def test_the_same_errors_are_retried(errors, types, error):
    options = {"retryable_errors": errors, "retryable_error_types": types}
    theirs = their_retries.create_retry_strategy(their_retries.RetryStrategyConfig(**options))(error, 1)
    ours = our_retries.create_retry_strategy(our_retries.RetryStrategyConfig(**options))(error, 1)
    assert ours.should_retry == theirs.should_retry


@pytest.mark.parametrize(
    "preset", ["none", "default", "transient", "resource_availability", "critical", "linear", "fixed"]
)
@pytest.mark.parametrize("number", [0.0, 0.37, 0.99])
def test_presets_decide_alike(preset, number):
    with mock.patch.object(random, "random", return_value=number):
        theirs = [getattr(their_retries.RetryPresets, preset)()(ValueError(), attempt) for attempt in range(1, 12)]
        ours = [getattr(our_retries.RetryPresets, preset)()(ValueError(), attempt) for attempt in range(1, 12)]
    assert repr(ours) == repr(theirs)


@few
@given(strategies, rates, randoms, st.integers(1, 12), st.booleans())
def test_wait_strategies_decide_alike(options, rate, number, attempt, unmet):
    options = {**options, "backoff_rate": rate, "should_continue_polling": lambda state: state}

    def decide(config, waits):
        return waits.create_wait_strategy(build(config, waits.WaitStrategyConfig, options))(unmet, attempt)

    with mock.patch.object(random, "random", return_value=number):
        assert outcome(decide, our_config, our_waits) == outcome(decide, their_config, their_waits)


class RecordingContext:
    """Stands for a DurableContext, and writes down what `with_retry` asks of it."""

    def __init__(self, calls):
        self.calls = calls

    def run_in_child_context(self, func, name=None, config=None):
        self.calls.append(("child", name, repr(config)))
        return func(RecordingContext(self.calls))

    def wait(self, duration, name=None):
        self.calls.append(("wait", repr(duration), name))


@few
@given(st.integers(0, 4), st.booleans(), texts, st.booleans(), st.sampled_from([ValueError, KeyError]))
def test_with_retry_asks_the_same_of_its_context(failures, wrap, name, custom, error):
    def run(retries, config):
        calls = []

        def body(context, attempt):
            calls.append(("attempt", attempt))
            if attempt <= failures:
                raise error(f"x{attempt}")
            return attempt

        def strategy(raised, attempt):
            calls.append(("asked", repr(raised), attempt))
            return retries.RetryDecision(attempt < 3, config.Duration(attempt))

        settings_ = retries.WithRetryConfig(strategy if custom else None, wrap)
        result = outcome(retries.with_retry, RecordingContext(calls), body, settings_, name)
        return calls, result

    with mock.patch.object(random, "random", return_value=0.5):
        assert run(our_retries, our_config) == run(their_retries, their_config)


# --- logging and ARNs ---------------------------------------------------------------------------------------------


class RecordingLogger:
    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        return lambda msg, *args, extra=None: self.lines.append((level, msg, args, extra))


class State:
    durable_execution_arn = "arn"


@few
@given(st.tuples(texts, texts, texts, st.one_of(st.none(), st.integers(0, 3))), st.booleans(), st.booleans())
def test_loggers_write_the_same_lines(place, replaying, nested):
    state = State()

    def lines(logger_module):
        sink = RecordingLogger()
        info = logger_module.LogInfo(state, *place)
        logger = logger_module.Logger.from_log_info(sink, info, lambda: replaying)
        if nested:
            logger = logger.with_log_info(info.with_parent_id("other"))
        for level in ("debug", "info", "warning", "error", "exception"):
            getattr(logger, level)("text %s", 1, extra={"attempt": 9, "own": True})
            getattr(logger, level)("text")
        logger.with_is_replaying(lambda: not replaying).info("other way round")
        return sink.lines, logger.get_logger() is sink

    assert lines(our_logger) == lines(their_logger)


@few
@given(
    st.one_of(
        st.text(max_size=20),
        st.from_regex(r"arn:a?:lambda:r?:\d?:function:[a/:]{1,2}:[v/]?/durable-execution/[e/]{1,2}/[i/]{1,2}"),
        st.just("arn:aws:lambda:us-east-1:1:function:f:$LATEST/durable-execution/name/id"),
    )
)
def test_arns_are_taken_apart_alike(arn):
    theirs = their_types.DurableExecutionArn.from_arn(arn)
    assert repr(our_types.DurableExecutionArn.from_arn(arn)) == repr(theirs)


# --- what a unit test takes a handler apart with ------------------------------------------------------------------


@pytest.mark.parametrize("sdk", [their_sdk, our_sdk])
def test_the_function_of_a_handler_can_be_called_with_a_context_of_ones_own(sdk):
    @sdk.durable_step
    def double(step, number):
        return number * 2, step.attempt

    def handler(event, context):
        """Says what it does."""
        return context.step(double(event["n"]))

    made = sdk.durable_execution(handler)
    context = mock.create_autospec(sdk.DurableContext, instance=True)
    context.step.side_effect = lambda func: func(sdk.StepContext(logger=mock.Mock(), attempt=3))
    assert made.__wrapped__({"n": 4}, context) == (8, 3)
    assert (made.__wrapped__, made.__name__, made.__doc__) == (handler, "handler", "Says what it does.")
    assert list(inspect.signature(made).parameters) == ["event", "context"]


@pytest.mark.parametrize("sdk", [their_sdk, our_sdk])
@pytest.mark.parametrize("kind", ["durable_step", "durable_with_child_context", "durable_parallel_branch"])
def test_a_mock_of_the_signature_of_a_decorated_function_is_called_as_that_is(sdk, kind):
    """As by ``patch("app.charge", autospec=True)``."""

    def charge(context, amount, currency="EUR"):
        return amount, currency

    decorator = getattr(sdk, kind)
    made = decorator(name="n")(charge) if kind == "durable_parallel_branch" else decorator(charge)
    mocked = mock.create_autospec(made, return_value="mocked")
    assert (mocked(5), mocked(5, currency="USD")) == ("mocked", "mocked")
    assert list(inspect.signature(made).parameters) == ["args", "kwargs"]


def test_the_function_of_an_async_handler_can_be_called_with_a_context_of_ones_own():
    @our_sdk.durable_execution
    async def handler(event, context):
        return await context.step(lambda _: event)

    context = mock.create_autospec(our_sdk.AsyncDurableContext, instance=True)
    context.step = mock.AsyncMock(return_value=7)
    assert asyncio.run(handler.__wrapped__(5, context)) == 7
    assert not inspect.iscoroutinefunction(handler)
