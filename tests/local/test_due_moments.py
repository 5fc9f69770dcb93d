"""What is due happens at its moment, whoever looks and whenever: the ends of executions, of waits, of callbacks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.local import Limits, LocalService, MemoryStore, RealClock, SqliteStore
from perdure.local.machine.clock import DEFAULT_START
from perdure.local.machine.schedule import Schedule
from support.handlers import DONE
from support.raw import Life, Raw, callback, invoke, wait

if TYPE_CHECKING:
    from pathlib import Path

    from perdure.local import ExecutionHandle

PENDING = {"Status": "PENDING"}
DAY = timedelta(days=1)
LONGEST = 366 * DAY


@durable_execution
def asking(_event: Any, context: DurableContext) -> str:
    return context.create_callback("ask").result()


@durable_execution
def two_waits(_event: Any, context: DurableContext) -> None:
    context.wait(300 * DAY)
    context.wait(300 * DAY)


@durable_execution
def one_wait(_event: Any, context: DurableContext) -> None:
    context.wait(300 * DAY)


def advance(service: LocalService, duration: timedelta) -> None:
    clock: Any = service.clock
    clock.advance(duration.total_seconds())


def described(handle: ExecutionHandle) -> dict[str, Any]:
    return handle.service.client.get_durable_execution(DurableExecutionArn=handle.arn)


def told(handle: ExecutionHandle, since: datetime = DEFAULT_START) -> list[tuple[str, int]]:
    """Return the history: the type of each event, and after how many seconds it happened."""
    events = handle.service.client.get_durable_execution_history(DurableExecutionArn=handle.arn)["Events"]
    return [(e["EventType"], round((e["EventTimestamp"] - since).total_seconds())) for e in events]


# -- the longest life there is -----------------------------------------------------------------------------------------


def test_waits_that_are_longer_than_the_longest_life_end_with_it() -> None:
    handle = LocalService().register("f", two_waits).run("f")
    assert handle.status == "TIMED_OUT"
    assert handle.machine.ended_at == DEFAULT_START + LONGEST
    assert handle.service.clock.now() == DEFAULT_START + LONGEST
    assert len(handle.invocations) == 2


def test_the_longest_life_is_no_moment_to_go_to_but_ends_what_is_left_open() -> None:
    service = LocalService().register("f", asking)
    handle = service.run("f")
    assert (handle.status, service.clock.now()) == ("RUNNING", DEFAULT_START)
    advance(service, LONGEST - DAY)
    assert handle.drive().status == "RUNNING"
    advance(service, 2 * DAY)
    assert handle.drive().status == "TIMED_OUT"
    assert handle.machine.ended_at == DEFAULT_START + LONGEST
    assert handle.error == {"ErrorMessage": "Execution timed out", "ErrorType": "Execution.Timeout"}


def test_time_stops_at_the_longest_life_of_one_execution_on_its_way_to_the_wait_of_another() -> None:
    class Watch:
        def operation(self, *_: Any) -> None: ...

        def invocation(self, *_: Any) -> None: ...

        def waiting(self, seconds: float, *, skipped: bool) -> None:
            assert skipped
            jumps.append(timedelta(seconds=seconds))

    jumps: list[timedelta] = []
    service = LocalService().register("f", asking).register("g", one_wait)
    open_ended = service.run("f")
    advance(service, 100 * DAY)
    service.observers.append(Watch())
    assert service.run("g").status == "SUCCEEDED"
    assert jumps == [266 * DAY, 34 * DAY]
    assert open_ended.machine.ended_at == DEFAULT_START + LONGEST


@pytest.mark.parametrize("workers", [False, True])
def test_nobody_sleeps_for_a_year_on_a_clock_on_the_wall(workers: bool) -> None:
    with LocalService(clock=RealClock()).register("f", asking) as service:
        if workers:
            service.start_workers()
        assert service.run("f").status == "RUNNING"
        assert service.executions.schedule.next_move() is None


def test_who_only_sleeps_does_not_miss_the_longest_life() -> None:
    machine = LocalService().register("f", asking).run("f").machine
    for jumps, moment in ((True, None), (False, (DEFAULT_START + LONGEST, "deadline"))):
        schedule = Schedule(jumps=jumps)
        schedule.touch(machine)
        assert (schedule.next_move(), schedule.next_moment()) == (None, moment)
        assert schedule.take_due(DEFAULT_START + LONGEST - DAY) is None
        assert schedule.take_due(DEFAULT_START + LONGEST) == (DEFAULT_START + LONGEST, machine)
        assert schedule.take_due(DEFAULT_START + LONGEST) is None


def test_a_pause_that_holds_the_timeout_does_not_outlast_the_longest_life() -> None:
    service = LocalService().register("f", asking)
    handle = service.start("f", execution_timeout=3600)
    service.client.pause_durable_execution(DurableExecutionArn=handle.arn)
    assert handle.drive().status == "PAUSED"
    assert service.clock.now() == DEFAULT_START
    advance(service, 370 * DAY)
    service.drive(handle)
    assert (described(handle)["Status"], described(handle)["EndTimestamp"]) == ("TIMED_OUT", DEFAULT_START + LONGEST)


def test_a_timeout_that_a_pause_has_extended_does_not_go_beyond_the_longest_life() -> None:
    service = LocalService().register("f", asking)
    handle = service.start("f", execution_timeout=300 * DAY)
    service.client.pause_durable_execution(DurableExecutionArn=handle.arn)
    advance(service, 200 * DAY)
    service.client.resume_durable_execution(DurableExecutionArn=handle.arn)
    assert described(handle)["ExpectedExecutionTimeoutTimestamp"] == DEFAULT_START + LONGEST
    assert handle.drive().status == "TIMED_OUT"
    assert handle.machine.ended_at == DEFAULT_START + LONGEST


def test_the_longest_life_can_be_lifted() -> None:
    service = LocalService(limits=Limits(duration_seconds=None)).register("f", asking).register("g", two_waits)
    handle = service.run("f")
    assert service.run("g").status == "SUCCEEDED"
    advance(service, 4000 * DAY)
    assert described(handle)["Status"] == "RUNNING"


# -- dates -------------------------------------------------------------------------------------------------------------


def test_what_was_due_is_dated_when_it_was_and_in_order_however_late_one_looks() -> None:
    raw = Raw(execution_timeout=100)
    raw.send(wait("fifty", 50), wait("thirty", 30), callback("c", 70), callback("h", 0, 60), wait("late", 100))
    raw.leave(PENDING)
    raw.advance(1000)
    assert described(raw.handle)["EndTimestamp"] == DEFAULT_START + timedelta(seconds=100)
    assert told(raw.handle)[6:] == [
        ("InvocationCompleted", 0),
        ("WaitSucceeded", 30),
        ("WaitSucceeded", 50),
        ("CallbackTimedOut", 60),
        ("CallbackTimedOut", 70),
        ("ExecutionTimedOut", 100),
    ]
    assert raw.operation("fifty")["EndTimestamp"] == DEFAULT_START + timedelta(seconds=50)
    assert raw.operation("h")["EndTimestamp"] == DEFAULT_START + timedelta(seconds=60)
    assert raw.operation("late")["Status"] == "STARTED"


def test_what_came_during_an_invocation_is_told_before_its_end() -> None:
    raw = Raw()
    raw.send(wait("w", 50))
    raw.advance(60)
    raw.leave(PENDING)
    assert told(raw.handle)[2:] == [("WaitSucceeded", 50), ("InvocationCompleted", 60)]


def test_an_invocation_that_outlasts_the_timeout_does_not_move_the_end() -> None:
    raw = Raw(execution_timeout=100)
    raw.advance(1000)
    raw.leave(PENDING)
    assert told(raw.handle)[1:] == [("ExecutionTimedOut", 100), ("InvocationCompleted", 1000)]
    assert described(raw.handle)["EndTimestamp"] == DEFAULT_START + timedelta(seconds=100)


@pytest.mark.parametrize("durable", [True, False])
def test_what_an_invoked_function_returns_is_told_after_what_was_due_before(durable: bool) -> None:
    def slow(_event: Any, _context: Any) -> dict[str, str]:
        advance(service, timedelta(seconds=60))
        return DONE

    service = LocalService().register("other", slow, durable=durable)
    raw = Raw(service)
    raw.send(wait("w", 50), invoke("i"))
    raw.leave(PENDING)
    raw.handle.drive()
    assert told(raw.handle)[4:6] == [("WaitSucceeded", 50), ("ChainedInvokeSucceeded", 60)]


def test_a_history_does_not_go_back() -> None:
    service = LocalService().register_external("other")
    raw = Raw(service)
    raw.send(wait("w", 50), invoke("i"))
    raw.advance(60)
    service.complete_invoke(raw.handle, "i")  # which did not look at the clock
    assert told(raw.handle)[3:] == [("ChainedInvokeSucceeded", 60), ("WaitSucceeded", 60)]


def test_the_end_of_an_invoked_execution_reaches_the_one_that_invoked_it_in_its_order() -> None:
    service = LocalService().register("other", asking, execution_timeout=100)
    raw = Raw(service)
    raw.send(wait("before", 50), invoke("i"), wait("after", 900))
    raw.leave(PENDING)
    raw.advance(1000)
    assert told(raw.handle)[5:] == [("WaitSucceeded", 50), ("ChainedInvokeTimedOut", 100), ("WaitSucceeded", 900)]


def test_what_was_due_while_the_service_was_down_is_dated_when_it_was(life: Life) -> None:
    raw = life.raw()
    raw.send(wait("w", 60), wait("v", 90))
    raw.leave(PENDING)
    life.clock.advance(86_400)
    handle = life.crash().execution(raw.arn)
    assert told(handle)[4:] == [("WaitSucceeded", 60), ("WaitSucceeded", 90)]
    life.clock.advance(86_400)
    handle = life.crash().execution(raw.arn)
    assert handle.machine.latest == DEFAULT_START + timedelta(seconds=90)


def test_what_was_due_before_the_last_thing_that_was_kept_is_not_dated_before_it(life: Life) -> None:
    life.service.register_external("other")
    raw = life.raw()
    raw.send(wait("w", 50), invoke("i"))
    raw.leave(PENDING)
    life.clock.advance(60)
    life.service.complete_invoke(raw.handle, "i")
    handle = life.crash().execution(raw.arn)
    assert told(handle)[4:] == [("ChainedInvokeSucceeded", 60), ("WaitSucceeded", 60)]


def test_a_pause_that_the_death_of_a_process_made_hold_is_not_dated_before_what_came_first(life: Life) -> None:
    life.register("f", lambda _event, _context: PENDING)
    raw = life.raw()
    raw.send(wait("w", 50))
    life.clock.advance(10)
    raw.client.pause_durable_execution(DurableExecutionArn=raw.arn)
    life.clock.advance(50)
    assert described(raw.handle)["Status"] == "PAUSING"
    handle = life.crash().execution(raw.arn)
    assert told(handle)[2:] == [("WaitSucceeded", 50), ("ExecutionPaused", 50)]


@pytest.mark.parametrize("kept", [False, True])
def test_a_list_tells_what_is_due(tmp_path: Path, kept: bool) -> None:
    store = SqliteStore(tmp_path / "x.db") if kept else MemoryStore()
    with LocalService(store=store).register("f", asking) as service:
        handle = service.start("f", execution_timeout=3600)
        advance(service, timedelta(seconds=4000))
        listing = service.client.list_durable_executions_by_function
        (listed,) = listing(FunctionName="f", Statuses=["TIMED_OUT"])["DurableExecutions"]
        assert listed["DurableExecutionArn"] == handle.arn
        assert listed["EndTimestamp"] == DEFAULT_START + timedelta(seconds=3600)
        assert listing(FunctionName="f", Statuses=["RUNNING"])["DurableExecutions"] == []


@pytest.mark.parametrize("kept", [False, True])
def test_an_end_that_is_noticed_late_is_kept_from_then(tmp_path: Path, kept: bool) -> None:
    store = SqliteStore(tmp_path / "x.db") if kept else MemoryStore()
    with LocalService(store=store).register("f", asking, retention_days=2) as service:
        arn = service.start("f", execution_timeout=3600).arn
        for days, there in ((10, 1), (1.5, 1), (1, 0)):
            advance(service, days * DAY)
            listed = service.client.list_durable_executions_by_function(FunctionName="f")["DurableExecutions"]
            assert len(listed) == there
        assert arn not in service.handles


def test_an_end_that_was_noticed_late_is_kept_as_long_after_a_restart(life: Life) -> None:
    life.register("f", asking, retention_days=2)
    arn = life.service.start("f", execution_timeout=3600).arn
    advance(life.service, 10 * DAY)
    assert described(life.service.execution(arn))["Status"] == "TIMED_OUT"
    client = life.crash().client
    client.stop_durable_execution(DurableExecutionArn=arn)  # which changes nothing, but it is written anew
    advance(life.service, 1.5 * DAY)
    assert client.get_durable_execution(DurableExecutionArn=arn)["Status"] == "TIMED_OUT"
    advance(life.service, DAY)
    assert client.list_durable_executions_by_function(FunctionName="f")["DurableExecutions"] == []


def test_an_end_that_nobody_has_written_yet_is_not_lost_to_a_purge(tmp_path: Path) -> None:
    with LocalService(store=SqliteStore(tmp_path / "x.db")).register("f", asking, retention_days=2) as service:
        first, second = (service.start("f", execution_timeout=3600) for _ in range(2))
        service.client.stop_durable_execution(DurableExecutionArn=first.arn)
        advance(service, 2 * DAY)
        with service.wake:  # the second one ends and the first one goes in one go, before anything is written
            service.executions.catch_up(service.clock.now())
            service.executions.commit()
        advance(service, 2 * DAY)
        assert service.client.list_durable_executions_by_function(FunctionName="f")["DurableExecutions"] == []
        assert second.machine.ended_at == DEFAULT_START + timedelta(seconds=3600)
