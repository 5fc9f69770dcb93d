"""A clock that goes on and is put forward: workers skip waits, and leave their time to those who are waited for."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from threading import Condition
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.config import Duration
from perdure.local import LocalService, SkippingClock, SqliteStore
from perdure.local.machine.clock import to_seconds
from perdure.local.workers import Workers
from perdure.retries import RetryDecision

if TYPE_CHECKING:
    from pathlib import Path

    from perdure.local import ExecutionHandle

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PATIENCE = 60


def once_more(_error: Exception, attempts: int) -> RetryDecision:
    return RetryDecision(attempts < 2, Duration.from_seconds(3600))


@durable_execution
def sleeps(event: dict[str, int], context: DurableContext) -> str:
    def shaky(step: Any) -> None:
        if step.attempt == 1:
            raise ConnectionError("nobody there")

    context.step(shaky, name="shaky", retry=once_more)
    context.wait(timedelta(days=event["days"]), name="rest")
    return "rested"


@durable_execution
def asks(event: dict[str, int], context: DurableContext) -> Any:
    return context.create_callback("ask", timeout=timedelta(days=event["days"])).result()


@durable_execution
def calls(_event: Any, context: DurableContext) -> Any:
    return context.invoke("asks", {"days": 9})


@pytest.fixture
def service() -> LocalService:
    service = LocalService(clock=SkippingClock(), sync_timeout=PATIENCE)
    return service.register("sleeps", sleeps).register("asks", asks).register("calls", calls)


def ended(handle: ExecutionHandle) -> ExecutionHandle:
    with handle.service.wake:
        assert handle.service.wake.wait_for(lambda: handle.terminal, PATIENCE), handle.status
    return handle


def opened(handle: ExecutionHandle) -> str:
    with handle.service.wake:
        assert handle.service.wake.wait_for(lambda: handle.open_callbacks and not handle.machine.invoking, PATIENCE)
    return handle.callback_id()


def lasted(handle: ExecutionHandle) -> timedelta:
    machine = handle.machine
    assert machine.ended_at is not None
    return machine.ended_at - machine.started_at


def answer(service: LocalService, callback_id: str) -> None:
    service.client.send_durable_execution_callback_success(CallbackId=callback_id, Result=b"yes")


def may_skip(service: LocalService) -> bool:
    """Tell whether workers, once there were any, would skip the time to the next moment."""
    moment = service.executions.schedule.next_moment()
    assert moment is not None
    return Workers(service, service.executions, service._driver, 1)._may_skip(*moment)


def test_the_clock_goes_on_from_where_it_was_put() -> None:
    clock, wake = SkippingClock(), Condition()
    began = clock.now()
    assert abs(clock.time() - time.time()) < PATIENCE
    assert abs(began - datetime.now(UTC)) < timedelta(seconds=PATIENCE)
    clock.sleep_until(began + DAY, wake)
    clock.sleep_until(began, wake)  # is over
    assert DAY <= clock.now() - began < DAY + timedelta(seconds=PATIENCE)
    assert clock.time() == pytest.approx(to_seconds(clock.now()), abs=PATIENCE)
    left = clock.timeout(to_seconds(began + 2 * DAY))
    assert left is not None
    assert DAY.total_seconds() - PATIENCE < left <= DAY.total_seconds()
    assert clock.timeout(to_seconds(began)) == 0
    assert clock.calendar() < began + HOUR


def test_waits_and_pauses_between_attempts_pass_at_once_and_are_dated_as_if_they_had_not(service: LocalService) -> None:
    with service:
        service.start_workers()
        began = time.monotonic()
        handle = ended(service.start("sleeps", event={"days": 300}))
        assert time.monotonic() - began < PATIENCE
        assert (handle.status, handle.value) == ("SUCCEEDED", "rested")
        assert 300 * DAY + HOUR <= lasted(handle) < 301 * DAY


def test_a_synchronous_caller_gets_the_result(service: LocalService) -> None:
    with service:
        service.start_workers()
        assert service.client.invoke(FunctionName="sleeps", Payload=b'{"days": 1}')["Payload"].read() == b'"rested"'


@pytest.mark.parametrize("asker", ["asks", "calls"])
def test_an_open_callback_keeps_its_time_while_waits_of_others_pass(service: LocalService, asker: str) -> None:
    with service:
        service.start_workers()
        asking = service.start(asker, event={"days": 9}, execution_timeout=5 * DAY)
        with service.wake:
            assert service.wake.wait_for(lambda: any(h.open_callbacks for h in service.handles.values()), PATIENCE)
        ended(service.start("sleeps", event={"days": 1}))
        assert asking.status == "RUNNING"
        (callback_id,) = [opened(handle) for handle in service.handles.values() if handle.open_callbacks]
        answer(service, callback_id)
        assert ended(asking).value == "yes"
        assert DAY < lasted(asking) < 2 * DAY


def test_a_wait_beyond_the_end_of_a_callback_passes_once_that_is_answered(service: LocalService) -> None:
    with service:
        asking, sleeping = service.start("asks", event={"days": 1}), service.start("sleeps", event={"days": 3})
        service.drive(asking, stop_at_callback=True)
        assert (asking.status, sleeping.status, may_skip(service)) == ("RUNNING", "RUNNING", False)
        service.start_workers()
        answer(service, opened(asking))
        assert ended(sleeping).value == "rested"
        assert ended(asking).value == "yes"


def test_a_timeout_that_nobody_can_avert_comes_at_once(service: LocalService) -> None:
    with service:
        service.start_workers()
        handle = ended(service.start("sleeps", event={"days": 3}, execution_timeout=DAY))
        assert (handle.status, lasted(handle)) == ("TIMED_OUT", DAY)


def test_a_timeout_keeps_its_time_while_somebody_can_avert_it(service: LocalService) -> None:
    paused = service.start("sleeps", event={"days": 1}, execution_timeout=DAY / 2)
    service.client.pause_durable_execution(DurableExecutionArn=paused.arn, ExecutionTimeoutPaused=False)
    assert not may_skip(service)


def test_a_function_that_is_not_served_costs_an_execution_no_timeout(tmp_path: Path) -> None:
    path = tmp_path / "executions.db"
    with LocalService(store=SqliteStore(path), clock=SkippingClock()) as before:
        before.register("sleeps", sleeps).start("sleeps", event={"days": 1}, execution_timeout=DAY * 2)
    with LocalService(store=SqliteStore(path), clock=SkippingClock()) as after:
        after._driver.next_job()  # which finds that nobody can run it
        assert not may_skip(after)


def test_what_has_ended_is_not_forgotten_for_time_that_was_skipped(service: LocalService) -> None:
    with service:
        service.start_workers()
        first = ended(service.start("sleeps", event={"days": 1}))
        ended(service.start("sleeps", event={"days": 300}))
        assert service.execution(first.arn).value == "rested"
