"""Time in a test is virtual: for waits, retries, timeouts of callbacks, heartbeats, and the execution's own."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from inspect import signature as inspect_signature
from typing import Any

import pytest
from aws_durable_execution_sdk_python_testing.runner import DurableFunctionTestRunner as OfficialRunner

from perdure import CallbackTimeoutError, InvokeError, durable_execution
from perdure.config import JitterStrategy
from perdure.lambda_service import OperationStatus
from perdure.retries import RetryDecision, RetryPresets, RetryStrategyConfig, create_retry_strategy
from perdure.testing import runner as runner_module
from perdure.testing.exceptions import ResourceNotFoundException
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


@pytest.mark.parametrize("moved_while_it_runs", [False, True])
def test_clocks_that_a_test_has_frozen_or_moved_change_nothing(
    monkeypatch: pytest.MonkeyPatch, moved_while_it_runs: bool
) -> None:
    let_go = threading.Event()

    def freeze(seconds: float) -> None:
        for name in ("time", "monotonic", "perf_counter"):
            monkeypatch.setattr(time, name, lambda: seconds)

    def handler(_event: Any, context: Any) -> Any:
        if moved_while_it_runs:
            freeze(4e9)
        context.wait(DAY)
        late = context.step(lambda step: step.attempt if step.attempt > 2 else never(step), "late", retry=EVERY_HOUR)
        batch = context.map([1, 2], lambda inner, item, *_: inner.step(lambda _: item))
        try:
            context.step(lambda _: let_go.wait(), timeout=0.1, retry=RetryPresets.none())
        except TimeoutError:
            let_go.set()
            return [late, batch.get_results(), context.create_callback("ask").result()]
        return "no timeout"

    if not moved_while_it_runs:
        freeze(1.7e9)
    with runner_of(handler) as runner:
        arn = runner.run_async()
        runner.send_callback_success(runner.wait_for_callback(arn, "ask"), "yes")
        assert runner.wait_for_result(arn).value == [3, [1, 2], "yes"]


def test_an_execution_timeout_is_virtual_too() -> None:
    with runner_of(lambda _event, context: context.wait(2 * DAY), execution_timeout=86_400) as runner:
        result = runner.run()
        assert (result.execution_status, result.duration) == (ExecutionStatus.TIMED_OUT, DAY)
        assert runner.run(execution_timeout=3 * 86_400).execution_status is ExecutionStatus.SUCCEEDED


def test_an_invoked_function_that_times_out_says_so() -> None:
    def handler(_event: Any, context: Any) -> Any:
        try:
            return context.invoke("child", 1)
        except InvokeError as error:
            return error.error_type

    with runner_of(handler) as runner:
        child = durable_execution(lambda _event, context: context.create_callback("ask").result())
        runner.register_durable_function("child", child, execution_timeout=2)
        result = runner.run()
    assert (result.value, result.duration) == ("Execution.Timeout", timedelta(seconds=2))


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


def test_time_that_passes_the_longest_life_ends_what_is_left_open() -> None:
    with runner_of(lambda _event, context: context.create_callback("ask").result()) as runner:
        arn = runner.run_async()
        runner.advance(400 * DAY)
        assert runner.now == START + 400 * DAY
        result = runner.wait_for_result(arn)
    assert (result.execution_status, result.duration) == (ExecutionStatus.TIMED_OUT, 366 * DAY)


def test_waits_beyond_the_longest_life_end_with_it() -> None:
    with runner_of(lambda _event, context: [context.wait(300 * DAY) for _ in range(2)]) as runner:
        result = runner.run()
    assert (result.execution_status, result.duration) == (ExecutionStatus.TIMED_OUT, 366 * DAY)


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
        assert runner.wait_for_callback(arn) == second  # the last that was opened
        runner.send_callback_success(second, "2")
        runner.send_callback_success(runner.wait_for_callback(arn), b"1")
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


def always(_error: Exception, _attempt: int) -> RetryDecision:
    return RetryDecision.retry(timedelta(seconds=1))


def never(_step: Any) -> None:
    raise ConnectionError("not now")


def retrying(_event: Any, context: Any) -> None:
    context.step(never, "stubborn", retry=always)


def polling(_event: Any, context: Any) -> None:
    while True:
        context.wait(1, "nap")


@pytest.mark.parametrize(
    ("handler", "where"),
    [
        (retrying, r"It is at stubborn, a Step, after \d+ attempts.*stubborn +Step +(PENDING|READY)"),
        (polling, r"It is at nap, a Wait"),
        (
            lambda _event, context: context.invoke("child", 1, name="call"),
            r"It is at call, a ChainedInvoke.*child is RUN",
        ),
    ],
    ids=["a step that is retried", "a wait in a loop", "an invoked function"],
)
@pytest.mark.parametrize("way", ["run", "wait_for_result", "wait_for_callback"])
def test_real_time_is_bounded_whatever_virtual_time_passes(handler: Any, where: str, way: str) -> None:
    with runner_of(handler) as runner:
        runner.register_durable_function("child", durable_execution(retrying))
        arn = runner.run_async()
        before = time.monotonic()
        with pytest.raises(TimeoutError, match=rf"(?s){where}") as caught:
            _ = runner.run(timeout=0.3) if way == "run" else getattr(runner, way)(arn, timeout=0.3)
        assert time.monotonic() - before < 60
        assert way == "wait_for_callback" or "within 0.3 seconds, in which" in str(caught.value)
        assert runner.now > START


def test_by_default_a_run_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    official = inspect_signature(OfficialRunner).parameters["execution_timeout"].default
    assert runner_module._LONGEST == official == 300
    monkeypatch.setattr(runner_module, "_LONGEST", 0.1)
    with runner_of(retrying) as runner, pytest.raises(TimeoutError, match=r"within 0\.1 seconds"):
        runner.run()


def test_after_a_timeout_one_may_go_on() -> None:
    def handler(_event: Any, context: Any) -> Any:
        return context.step(lambda step: step.attempt if step.attempt > 400 else never(step), "late", retry=always)

    with runner_of(handler) as runner:
        arn = runner.run_async()
        with pytest.raises(TimeoutError):
            runner.wait_for_result(arn, timeout=0.01)
        assert runner.wait_for_result(arn).value == 401


@pytest.mark.parametrize("rest", [0, 60])
def test_code_that_runs_is_not_cut_off(rest: int) -> None:
    def handler(_event: Any, context: Any) -> str:
        context.step(lambda _: time.sleep(0.3), "slow")
        if rest:
            context.wait(rest, "rest")
        return "done"

    with runner_of(handler) as runner:
        if rest:
            with pytest.raises(TimeoutError, match="It is at rest, a Wait"):
                runner.run(timeout=0.2)
        else:
            assert runner.run(timeout=0.2).value == "done"


def two_callbacks(submit: Any) -> Any:
    def handler(_event: Any, context: Any) -> list[str]:
        log = []
        for name in ("first", "second"):
            try:
                log.append(context.wait_for_callback(submit, name, timeout=HOUR))
            except CallbackTimeoutError:
                log.append(f"{name} timed out")
        return log

    return handler


def idle_pool() -> tuple[Any, Any]:
    pool = ThreadPoolExecutor(2)
    return lambda: pool.submit(int).result(), pool.shutdown


def idle_queue() -> tuple[Any, Any]:
    jobs: queue.Queue[int] = queue.Queue()

    def serve() -> None:
        while not jobs.get():
            pass

    thread = threading.Thread(target=serve)

    def work() -> None:
        if not thread.is_alive():
            thread.start()
        jobs.put(0)

    return work, lambda: (jobs.put(1), thread.join())


@pytest.mark.parametrize("make", [idle_pool, idle_queue])
def test_idle_threads_are_not_waited_for(make: Any) -> None:
    work, end = make()
    try:
        for _ in range(2):  # the threads are there before the second runner is
            before = time.monotonic()
            with runner_of(two_callbacks(lambda *_: work()), patience=60) as runner:
                result = runner.run()
            assert (result.value, result.duration) == (["first timed out", "second timed out"], 2 * HOUR)
            assert time.monotonic() - before < 30
    finally:
        end()


def test_a_pool_that_was_there_before_answers() -> None:
    gate = threading.Event()

    def answer(callback_id: str) -> None:
        gate.wait()
        runner.send_callback_success(callback_id, "pool")

    def submit(callback_id: str, _context: Any) -> None:
        gate.clear()
        pool.submit(answer, callback_id)
        threading.Timer(0.05, gate.set).start()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        for _ in range(2):
            with runner_of(two_callbacks(submit)) as runner:
                assert runner.run(timeout=30).value == ["pool", "pool"]


@pytest.mark.parametrize(("options", "timeout"), [({"patience": 0.1}, None), ({}, 6)])
def test_threads_that_live_hold_virtual_time_up_for_a_while_only(
    options: dict[str, float], timeout: float | None
) -> None:
    gate = threading.Event()
    threads: list[threading.Thread] = []

    def submit(*_: Any) -> None:
        threads.append(threading.Thread(target=gate.wait))
        threads[-1].start()

    before = time.monotonic()
    try:
        with runner_of(two_callbacks(submit), **options) as runner:
            assert runner.run(timeout=timeout).value == ["first timed out", "second timed out"]
    finally:
        gate.set()
        for thread in threads:
            thread.join()
    assert 0.15 <= time.monotonic() - before < 7  # without either, 7.5 seconds and what the rest takes


def test_what_answers_from_within_lets_no_time_pass() -> None:
    def handler(_event: Any, context: Any) -> Any:
        answer = context.wait_for_callback(lambda callback_id, _: runner.send_callback_success(callback_id, "at once"))
        context.wait(DAY, "after")
        return answer

    with runner_of(handler) as runner:
        arn = runner.run_async()
        assert runner.now == START
        assert runner.wait_for_result(arn).value == "at once"


def test_callbacks_of_invoked_functions_are_named_as_users_know_them() -> None:
    def child(_event: Any, context: Any) -> Any:
        return context.wait_for_callback(lambda *_: None, "ok")

    def middle(_event: Any, context: Any) -> Any:
        return context.invoke("child", 1)

    def handler(_event: Any, context: Any) -> Any:
        callback = context.create_callback("own")
        return [context.invoke("middle", 1), callback.result()]

    with runner_of(handler) as runner:
        runner.register_durable_function("child", durable_execution(child))
        runner.register_durable_function("middle", durable_execution(middle))
        with pytest.raises(TimeoutError, match="waits for the callbacks own, ok of child") as caught:
            runner.run()
    assert "child is RUNNING.\n└─ ok" in str(caught.value)


def test_an_answer_in_an_invoked_function_is_noticed() -> None:
    over = threading.Event()

    def answer(callback_id: str) -> None:
        client = runner.service.client
        client.send_durable_execution_callback_success(CallbackId=callback_id, Result=b"thread")
        over.wait()

    def submit(callback_id: str, _context: Any) -> None:
        threading.Timer(0.05, answer, [callback_id]).start()

    with runner_of(lambda _event, context: context.invoke("child", 1), patience=60) as runner:
        runner.register_durable_function(
            "child", durable_execution(lambda _event, context: context.wait_for_callback(submit, "ok"))
        )
        before = time.monotonic()
        try:
            assert runner.run(timeout=240).value == "thread"
        finally:
            over.set()
    assert time.monotonic() - before < 30


def test_without_a_name_the_callback_that_was_opened_last_is_given() -> None:
    def handler(_event: Any, context: Any) -> Any:
        return [callback.result() for callback in [context.create_callback(name) for name in "abc"]]

    with runner_of(handler) as runner:
        arn = runner.run_async()
        names = {runner.wait_for_callback(arn, name): name for name in "abc"}
        seen = []
        for _ in range(3):
            seen.append(names[runner.wait_for_callback(arn)])
            runner.send_callback_success(runner.wait_for_callback(arn), seen[-1])
        assert seen == ["c", "b", "a"]
        assert runner.wait_for_result(arn).value == ["a", "b", "c"]


def test_an_execution_that_is_not_there_has_no_callbacks() -> None:
    with runner_of(lambda _event, _context: 1) as runner, pytest.raises(ResourceNotFoundException):
        runner.wait_for_callback("nobody")


def test_advance_goes_forward_only() -> None:
    with runner_of(lambda _event, _context: 1) as runner:
        with pytest.raises(ValueError, match=r"the duration of advance\(\) must be 0 or more seconds"):
            runner.advance(-DAY)
        assert runner.now == START


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


def test_a_year_of_waits_heartbeats_and_retries_takes_no_time() -> None:
    with runner_of(year_long) as runner:
        arn = runner.run_async()
        callback_id = runner.wait_for_callback(arn, "licence")
        while runner.now < START + timedelta(days=360):
            runner.advance(30 * DAY)
            runner.send_callback_heartbeat(callback_id)
        runner.advance(4 * DAY)
        runner.send_callback_success(callback_id, b"granted")
        result = runner.wait_for_result(arn)
    assert result.value == {"inspections": [3] * 12, "licence": "granted"}
    assert result.duration is not None
    assert timedelta(days=365) < result.duration <= timedelta(days=366)
    assert result.budget.operations == 12 * 31 + 2
