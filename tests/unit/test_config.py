"""Durations and configs: what is accepted, normalised and refused."""

from __future__ import annotations

import datetime as dt
import math

import pytest

from perdure.config import (
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    CompletionDecision,
    CompletionOutcome,
    Duration,
    JitterStrategy,
    MapConfig,
    ParallelBranch,
    ParallelConfig,
    StepConfig,
    WaitForCallbackConfig,
    complete_batch,
    continue_batch,
    duration_seconds,
)
from perdure.exceptions import ValidationError


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (Duration(7), 7),
        (dt.timedelta(minutes=2), 120),
        (dt.timedelta(milliseconds=1), 1),
        (0, 0),
        (3, 3),
        (0.2, 1),
        (2.0, 2),
        (2.1, 3),
    ],
)
def test_lengths_of_time_round_up_to_whole_seconds(value: object, seconds: int) -> None:
    assert duration_seconds(value, "the wait") == seconds  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, dt.timedelta(seconds=-1), math.inf, math.nan, "5", None])
def test_what_is_no_length_of_time_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValidationError, match="the wait 'nap'"):
        duration_seconds(value, "the wait 'nap'")  # type: ignore[arg-type]


def test_from_seconds_cuts_fractions_off_like_the_official_sdk() -> None:
    assert Duration.from_seconds(1.9).to_seconds() == 1


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValidationError, match="negative"):
        Duration(-1)


@pytest.mark.parametrize("timeout", [90, 89.5, dt.timedelta(seconds=90), Duration(90)])
@pytest.mark.parametrize("config", [CallbackConfig, WaitForCallbackConfig])
def test_configs_take_any_length_of_time(config: type[CallbackConfig], timeout: object) -> None:
    made = config(timeout=timeout)  # type: ignore[arg-type]
    assert made.timeout == Duration(90)
    assert made.timeout_seconds == 90
    assert made == config(Duration(90))


def test_a_config_names_the_field_that_it_refuses() -> None:
    with pytest.raises(ValidationError, match=r"CallbackConfig\.heartbeat_timeout"):
        CallbackConfig(heartbeat_timeout="soon")  # type: ignore[arg-type]


@pytest.mark.parametrize("config", [StepConfig, ChildConfig, CallbackConfig, WaitForCallbackConfig])
@pytest.mark.parametrize("sub_type", ["a b", "é", "a" * 33, "a\n", "٣", 5])
def test_sub_types_the_service_refuses_are_refused(config: type, sub_type: object) -> None:
    with pytest.raises(ValidationError, match="sub_type"):
        config(sub_type=sub_type)


@pytest.mark.parametrize("sub_type", [None, "", "a" * 32, "Az09-_"])
def test_other_sub_types_are_kept(sub_type: str | None) -> None:
    assert StepConfig(sub_type=sub_type).sub_type == sub_type


@pytest.mark.parametrize("config", [MapConfig, ParallelConfig])
def test_concurrency_is_at_least_one(config: type) -> None:
    assert config(max_concurrency=1).max_concurrency == 1
    with pytest.raises(ValidationError, match="max_concurrency"):
        config(max_concurrency=0)


def test_a_threshold_above_the_number_of_branches_is_refused() -> None:
    CompletionConfig(min_successful=2).validate_for_total(2)
    with pytest.raises(ValidationError, match="min_successful"):
        CompletionConfig(min_successful=2).validate_for_total(1)


def test_a_predicate_excludes_thresholds() -> None:
    with pytest.raises(ValidationError, match="either"):
        CompletionConfig(min_successful=1, should_complete=lambda _status: continue_batch())


def test_decisions() -> None:
    assert continue_batch() == CompletionDecision(complete=False)
    assert complete_batch().outcome is CompletionOutcome.SUCCEEDED
    with pytest.raises(ValidationError):
        CompletionDecision(complete=True)


def test_a_branch_calls_its_function() -> None:
    assert ParallelBranch(lambda *args, **kwargs: (args, kwargs), "name")(1, a=2) == ((1,), {"a": 2})


@pytest.mark.parametrize(("jitter", "low", "high"), [("NONE", 10, 10), ("FULL", 1, 10), ("HALF", 5, 10)])
def test_jitter_stays_within_its_band(jitter: str, low: int, high: int) -> None:
    delays = [JitterStrategy(jitter).finalize_delay(10) for _ in range(50)]
    assert all(low <= delay <= high for delay in delays)
