"""Time in a test is virtual: for waits, retries, timeouts of callbacks, heartbeats, and the execution's own."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import CallbackTimeoutError, durable_execution
from perdure.config import JitterStrategy
from perdure.lambda_service import OperationStatus
from perdure.retries import RetryStrategyConfig, create_retry_strategy
from perdure.testing.execution import ExecutionStatus
from perdure.testing.runner import DurableFunctionTestRunner

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EVERY_HOUR = create_retry_strategy(
    RetryStrategyConfig(
        max_attempts=4, initial_delay=HOUR, backoff_rate=1, max_delay=HOUR, jitter_strategy=JitterStrategy.NONE
    )
)


def runner_of(handler: Any, **options: Any) -> DurableFunctionTestRunner:
    return DurableFunctionTestRunner(durable_execution(handler), **options)


def asking(_event: Any, context: Any) -> str:
    try:
        return context.create_callback("ask", timeout=DAY, heartbeat_timeout=HOUR).result()
    except CallbackTimeoutError as error:
        return f"timed out: {error.message}"


def test_waits_take_no_time_and_all_of_theirs() -> None:
    with runner_of(lambda _event, context: context.wait(30 * DAY, "month")) as runner:
        result = runner.run()
        assert result.duration == 30 * DAY
        assert result.get_wait("month").duration == 30 * DAY
        assert runner.now == START + 30 * DAY


def test_virtual_time_begins_where_it_is_told() -> None:
    start = datetime(2031, 5, 6, 7, tzinfo=UTC)
    with runner_of(lambda _event, context: context.wait(60), start_time=start) as runner:
        assert runner.run().facts.started == start


def test_retries_come_at_their_moments() -> None:
    moments = []

    def failing(_step: Any) -> str:
        moments.append(runner.now - START)
        if len(moments) < 4:
            raise ConnectionError("not yet")
        return "done"

    with runner_of(lambda _event, context: context.step(failing, "failing", retry=EVERY_HOUR)) as runner:
        result = runner.run()
    assert (result.value, result.get_step("failing").attempt) == ("done", 4)
    assert moments == [timedelta(0), HOUR, 2 * HOUR, 3 * HOUR]


def test_an_unanswered_callback_times_out_by_its_heartbeat_first() -> None:
    with runner_of(asking) as runner:
        result = runner.run()
        assert result.value == "timed out: Callback timed out on heartbeat"
        assert result.duration == HOUR


def test_heartbeats_keep_a_callback_open_until_its_own_timeout() -> None:
    with runner_of(asking) as runner:
        arn = runner.run_async()
        callback_id = runner.wait_for_callback(arn, "ask")
        for _ in range(26):
            runner.advance(timedelta(minutes=55))
            runner.send_callback_heartbeat(callback_id)
        assert runner.now == START + 26 * timedelta(minutes=55)
        result = runner.wait_for_result(arn)
    assert result.value == "timed out: Callback timed out"
    assert result.get_callback("ask").status is OperationStatus.TIMED_OUT
    assert result.duration == DAY


def test_an_execution_timeout_is_virtual_too() -> None:
    with runner_of(lambda _event, context: context.wait(2 * DAY), execution_timeout=86_400) as runner:
        result = runner.run()
        assert (result.execution_status, result.duration) == (ExecutionStatus.TIMED_OUT, DAY)
        assert runner.run(execution_timeout=3 * 86_400).execution_status is ExecutionStatus.SUCCEEDED


def test_an_open_callback_does_not_outlive_the_execution() -> None:
    with runner_of(lambda _event, context: context.create_callback("ask").result()) as runner:
        result = runner.run(execution_timeout=60)
    assert result.execution_status is ExecutionStatus.TIMED_OUT
    assert result.get_callback("ask").status is OperationStatus.STARTED


def test_without_a_timeout_the_test_is_told_at_once_what_is_missing() -> None:
    before = time.monotonic()
    with runner_of(lambda _event, context: context.create_callback("ask").result()) as runner:
        with pytest.raises(TimeoutError, match="waits for the callback ask") as caught:
            runner.run(timeout=600)
        assert "ask  Callback  STARTED" in str(caught.value)
    assert time.monotonic() - before < 60


def test_advance_moves_time_and_no_further() -> None:
    def handler(_event: Any, context: Any) -> list[str]:
        log = []
        for count in range(5):
            context.wait(HOUR, f"wait-{count}")
            log.append(context.step(lambda _: str(runner.now - START), f"step-{count}"))
        return log

    with runner_of(handler) as runner:
        arn = runner.run_async()
        for hours, done in ((0.5, 0), (0.5, 1), (2.25, 3), (0.75, 4)):
            runner.advance(hours * HOUR)
            assert runner.tree(arn).count("Step") == done
        assert runner.now == START + 4 * HOUR
        result = runner.wait_for_result(arn)
    assert result.value == ["1:00:00", "2:00:00", "3:00:00", "4:00:00", "5:00:00"]


def test_advance_reaches_every_execution() -> None:
    with runner_of(lambda event, context: context.wait(event * HOUR)) as runner:
        arns = [runner.run_async(event=hours) for hours in (1, 2, 3)]
        runner.advance(2 * HOUR)
        states = [runner.service.execution(arn).status for arn in arns]
        assert states == ["SUCCEEDED", "SUCCEEDED", "RUNNING"]
        runner.advance(HOUR)
        assert runner.service.execution(arns[2]).status == "SUCCEEDED"


def test_starting_and_answering_let_no_time_pass() -> None:
    def handler(_event: Any, context: Any) -> Any:
        context.step(lambda _: 1, "before")
        answer = context.create_callback("ask").result()
        context.wait(DAY, "after")
        return answer

    with runner_of(handler) as runner:
        arn = runner.run_async()
        callback_id = runner.wait_for_callback(arn)
        runner.send_callback_success(callback_id, {"yes": True})
        assert runner.now == START
        assert "after   Wait" in runner.tree(arn)
        assert runner.wait_for_result(arn).value == '{"yes": true}'


def test_waiting_for_a_callback_passes_waits_but_no_timeouts() -> None:
    def handler(_event: Any, context: Any) -> Any:
        first = context.create_callback("first", timeout=HOUR)
        context.wait(timedelta(minutes=30), "half")
        second = context.create_callback("second")
        return [first.result(), second.result()]

    with runner_of(handler) as runner:
        arn = runner.run_async()
        second = runner.wait_for_callback(arn, "second")
        assert runner.now == START + HOUR / 2
        with pytest.raises(TimeoutError, match="No callback named 'third' became open"):
            runner.wait_for_callback(arn, "third")
        assert runner.now == START + HOUR / 2
        runner.send_callback_success(runner.wait_for_callback(arn), b"1")
        runner.send_callback_success(second, "2")
        assert runner.wait_for_result(arn).value == ["1", "2"]


def test_a_callback_is_found_by_the_name_of_the_operation_around_it() -> None:
    with runner_of(lambda _event, context: context.wait_for_callback(lambda *_: None, "approval")) as runner:
        arn = runner.run_async()
        assert runner.wait_for_callback(arn, "approval") == runner.wait_for_callback(arn)


def test_threads_of_the_test_may_answer_in_their_own_time() -> None:
    answered = threading.Event()

    def answer(callback_id: str) -> None:
        answered.wait()
        runner.service.client.send_durable_execution_callback_success(CallbackId=callback_id, Result=b"thread")

    def submit(callback_id: str, _context: Any) -> None:
        threading.Thread(target=answer, args=[callback_id]).start()
        threading.Timer(0.05, answered.set).start()

    def handler(_event: Any, context: Any) -> Any:
        return context.wait_for_callback(submit, "ask", timeout=DAY)

    with runner_of(handler) as runner:
        result = runner.run(timeout=30)
    assert (result.value, result.duration) == ("thread", timedelta(0))


def test_advance_needs_virtual_time() -> None:
    with (
        runner_of(lambda _event, _context: 1, skip_time=False) as runner,
        pytest.raises(TypeError, match="skip_time"),
    ):
        runner.advance(HOUR)


def test_on_the_clock_on_the_wall_a_test_gives_up_when_it_said_it_would() -> None:
    with runner_of(lambda _event, context: context.wait(DAY), skip_time=False) as runner:
        arn = runner.run_async()
        with pytest.raises(TimeoutError):
            runner.wait_for_result(arn, timeout=0.01)


def year_long(_event: Any, context: Any) -> dict[str, Any]:
    """Work through a leap year: a visit each day, an inspection each month, and one callback that lives all year."""
    licence = context.create_callback("licence", heartbeat_timeout=31 * DAY)
    inspections = []
    for month in range(12):
        inspections.append(context.step(inspect, f"inspect-{month}", retry=EVERY_HOUR))
        for day in range(30):
            context.wait(DAY, f"day-{month}-{day}")
    context.wait(timedelta(days=4, hours=20), "rest")
    return {"inspections": inspections, "licence": licence.result()}


def inspect(step: Any) -> int:
    if step.attempt < 3:
        raise ConnectionError("the inspector is late")
    return step.attempt


def test_a_year_of_waits_heartbeats_and_retries_takes_less_than_a_second() -> None:
    with runner_of(year_long) as runner:
        runner.run()  # imports, and what else a process does once
    before = time.process_time()
    with runner_of(year_long) as runner:
        arn = runner.run_async()
        callback_id = runner.wait_for_callback(arn, "licence")
        while runner.now < START + timedelta(days=360):
            runner.advance(30 * DAY)
            runner.send_callback_heartbeat(callback_id)
        runner.advance(4 * DAY)
        runner.send_callback_success(callback_id, b"granted")
        result = runner.wait_for_result(arn)
    took = time.process_time() - before
    assert result.value == {"inspections": [3] * 12, "licence": "granted"}
    assert result.duration is not None
    assert timedelta(days=365) < result.duration <= timedelta(days=366)
    assert result.budget.operations == 12 * 31 + 2
    assert took < 1, f"{took:.2f} s of the processor"
