"""Lengths of time, wherever a test gives one: a `Duration`, a `timedelta` or a number of seconds, and nothing else."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import durable_execution
from perdure.config import Duration
from perdure.local import LocalService
from perdure.local.durations import seconds_of
from perdure.testing import cloud
from perdure.testing.execution import ExecutionStatus
from perdure.testing.runner import DurableFunctionCloudTestRunner, DurableFunctionTestRunner
from support.handlers import good

if TYPE_CHECKING:
    from collections.abc import Callable

START = datetime(2026, 1, 1, tzinfo=UTC)
HALF_A_MINUTE = (30, 30.0, timedelta(seconds=30), Duration.from_seconds(30))
ODD: dict[Any, type[Exception]] = {
    "30": TypeError,
    True: TypeError,
    START: TypeError,
    -1: ValueError,
    math.nan: ValueError,
    timedelta(seconds=-1): ValueError,
}

half_a_minute = pytest.mark.parametrize("length", HALF_A_MINUTE, ids=lambda length: type(length).__name__)
odd = pytest.mark.parametrize(("length", "error"), ODD.items(), ids=lambda value: str(value)[:12])


def waits(event: Any, context: Any) -> str:
    context.wait(event or 60)
    return "waited"


def asks(_event: Any, context: Any) -> Any:
    return context.create_callback("ask").result()


def runner_of(handler: Any = waits, **options: Any) -> DurableFunctionTestRunner:
    return DurableFunctionTestRunner(durable_execution(handler), **options)


@half_a_minute
def test_time_is_advanced_by_any_length(length: Any) -> None:
    with runner_of() as runner:
        runner.advance(length)
        assert runner.now == START + timedelta(seconds=30)


@half_a_minute
def test_an_execution_times_out_after_any_length(length: Any) -> None:
    with runner_of() as runner:
        assert runner.run(execution_timeout=length).execution_status is ExecutionStatus.TIMED_OUT
        arn = runner.run_async(execution_timeout=length)
        assert runner.wait_for_result(arn).duration == timedelta(seconds=30)
    with runner_of(execution_timeout=length) as runner:
        assert runner.run().execution_status is ExecutionStatus.TIMED_OUT


@half_a_minute
def test_a_function_that_is_invoked_times_out_after_any_length(length: Any) -> None:
    with runner_of(lambda _event, context: context.invoke("child", 0)) as runner:
        runner.register_durable_function("child", durable_execution(waits), execution_timeout=length)
        result = runner.run()
    assert (result.execution_status, result.duration) == (ExecutionStatus.FAILED, timedelta(seconds=30))


@half_a_minute
def test_an_invocation_has_any_length(length: Any) -> None:
    with runner_of(
        lambda _event, context: context.lambda_context.get_remaining_time_in_millis(), invocation_timeout=length
    ) as runner:
        assert 20_000 < runner.run().value <= 30_000


@pytest.mark.parametrize("length", [0.2, timedelta(seconds=0.2)])
def test_real_time_has_fractions(length: Any) -> None:
    with runner_of(lambda _event, context: context.wait(3600), skip_time=False) as runner:
        arn = runner.run_async()
        waiting: list[Callable[[], Any]] = [
            lambda: runner.run(timeout=length),
            lambda: runner.wait_for_result(arn, timeout=length),
        ]
        for wait in waiting:
            with pytest.raises(TimeoutError, match=r"within 0\.2 seconds"):
                wait()
        with pytest.raises(TimeoutError, match="No callback became open"):
            runner.wait_for_callback(arn, timeout=length)


@half_a_minute
def test_all_that_waits_takes_any_length(length: Any) -> None:
    with runner_of(asks, patience=length) as runner:
        arn = runner.run_async(timeout=length)
        callback_id = runner.wait_for_callback(arn, timeout=length)
        runner.pause_execution(arn, timeout=length)
        runner.resume_execution(arn)
        runner.send_callback_success(callback_id, b"yes")
        assert runner.wait_for_result(arn, timeout=length).value == "yes"
        runner.answer_callback("ask", "no")
        assert runner.run(timeout=length).value == "no"


def test_a_test_may_take_as_long_as_it_takes() -> None:
    with runner_of() as runner:
        assert runner.run(timeout=math.inf).value == "waited"
        with pytest.raises(ValueError, match="and finite, not inf"):
            runner.advance(math.inf)


@odd
def test_whatever_else_is_refused_with_the_name_of_what_it_was_given_for(length: Any, error: type[Exception]) -> None:
    child = durable_execution(waits)
    with runner_of(asks) as runner:
        arn = runner.run_async()
        refused: dict[str, list[Callable[[], Any]]] = {
            "execution_timeout": [
                lambda: runner_of(execution_timeout=length),
                lambda: runner.run(execution_timeout=length),
                lambda: runner.run_async(execution_timeout=length),
                lambda: runner.register_durable_function("child", child, execution_timeout=length),
                lambda: LocalService().register("f", good, execution_timeout=length),
                lambda: LocalService().register("f", good).start("f", execution_timeout=length),
                lambda: LocalService().register("f", good).run("f", execution_timeout=length),
            ],
            "invocation_timeout": [lambda: runner_of(invocation_timeout=length)],
            "patience": [lambda: runner_of(patience=length)],
            "duration of advance": [lambda: runner.advance(length)],
            "timeout": [
                lambda: runner.run(timeout=length),
                lambda: runner.wait_for_result(arn, timeout=length),
                lambda: runner.wait_for_callback(arn, timeout=length),
                lambda: runner.pause_execution(arn, timeout=length),
            ],
        }
        for what, calls in refused.items():
            for call in calls:
                with pytest.raises(error, match=f"{what}.* must be "):
                    call()
        assert len(runner.service.handles) == 1


@pytest.mark.parametrize("length", [0, timedelta(0), timedelta(days=367), 1e12])
def test_an_execution_lasts_as_long_as_aws_lets_it(length: Any) -> None:
    with runner_of() as runner, pytest.raises(ValueError, match="execution_timeout must be above 0 seconds, and at mo"):
        runner.run(execution_timeout=length)


def test_an_invocation_lasts_as_long_as_lambda_lets_it() -> None:
    with pytest.raises(ValueError, match="invocation_timeout must be above 0 seconds, and at most 15 min"):
        runner_of(invocation_timeout=timedelta(minutes=16))


@half_a_minute
def test_the_local_service_takes_any_length(length: Any) -> None:
    service = LocalService().register("f", durable_execution(waits), execution_timeout=length)
    assert service.run("f").status == "TIMED_OUT"
    assert service.run("f", execution_timeout=timedelta(hours=1)).status == "SUCCEEDED"
    assert service.drive(service.start("f", execution_timeout=length)).status == "TIMED_OUT"


@half_a_minute
def test_the_cloud_runner_takes_any_length(length: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = LocalService().register("f", durable_execution(asks))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        for handle in list(service.handles.values()):
            service.drive(handle, stop_at_callback=True)

    monkeypatch.setattr(cloud, "sleep", sleep)
    runner = DurableFunctionCloudTestRunner("f", poll_interval=timedelta(seconds=0.5), client=service.client)
    arn = runner.run_async(timeout=length)
    callback_id = runner.wait_for_callback(arn, "ask", timeout=length)
    runner.pause_execution(arn, timeout=length)
    runner.resume_execution(arn)
    runner.send_callback_success(callback_id, "yes")
    assert runner.wait_for_result(arn, timeout=length).value == "yes"
    assert set(slept) == {0.5}
    with pytest.raises(TimeoutError, match=r"RUNNING after 0 seconds\."):
        runner.run(timeout=timedelta(0))


@odd
def test_the_cloud_runner_refuses_whatever_else(length: Any, error: type[Exception]) -> None:
    client = LocalService().register("f", durable_execution(asks)).client
    runner = DurableFunctionCloudTestRunner("f", client=client)
    arn = runner.run_async()
    with pytest.raises(error, match="poll_interval must be "):
        DurableFunctionCloudTestRunner("f", poll_interval=length, client=client)
    for call in (
        lambda: runner.run(timeout=length),
        lambda: runner.wait_for_result(arn, timeout=length),
        lambda: runner.wait_for_callback(arn, timeout=length),
        lambda: runner.pause_execution(arn, timeout=length),
    ):
        with pytest.raises(error, match="timeout must be "):
            call()


def test_a_length_is_not_rounded() -> None:
    assert seconds_of(timedelta(milliseconds=1500), "it") == 1.5
    assert seconds_of(0.25, "it") == 0.25
    assert seconds_of(Duration(3), "it") == 3
