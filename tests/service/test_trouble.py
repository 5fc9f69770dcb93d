"""What must not take the service down: handlers that misbehave, a store that cannot be written, time that is up."""

from __future__ import annotations

import base64
import math
import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from perdure import DurableContext, durable_execution
from perdure.local import ExecutionHandle, LocalService, RealClock, SqliteStore, StoreError, VirtualClock
from perdure.local.calls import Call
from perdure.local.machine import MAX_DEATHS
from support.raw import context, execution, step, wait

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DONE = {"Status": "SUCCEEDED", "Result": "1"}


def never_tells() -> Exception:
    class Silent(Exception):  # noqa: N818 - a user's
        def __str__(self) -> str:
            raise RuntimeError("no words")

    return Silent()


@durable_execution
def good(_event: Any, ctx: DurableContext) -> int:
    return ctx.step(lambda _: 1)


# -- what handlers return and raise ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        {"ErrorMessage": "m", "StartTimestamp": "now"},
        {"ErrorMessage": 5},
        {"ErrorMessage": {1, 2}},
        {"ErrorType": "T", "StackTrace": "no list"},
        ["no object"],
        {"ErrorMessage": "x" * 7_000_000},
    ],
)
def test_an_output_that_is_none_fails_its_execution_and_no_other(tmp_path: Path, error: Any) -> None:
    with LocalService(store=SqliteStore(tmp_path / "x.db")) as service:
        service.register("bad", lambda _event, _context: {"Status": "FAILED", "Error": error})
        service.register("good", good)
        failed = service.run("bad")
        assert failed.status == "FAILED"
        assert failed.error is not None
        assert failed.error["ErrorType"] == "InvalidParameterValueException"
        assert service.run("good").value == 1


@pytest.mark.parametrize("problem", [SystemExit(3), never_tells(), GeneratorExit()])
def test_whatever_a_plain_function_raises_is_the_error_of_its_call(problem: BaseException) -> None:
    def raises(_event: Any, _context: Any) -> None:
        raise problem

    def parent(_event: Any, ctx: DurableContext) -> str:
        try:
            return str(ctx.invoke("plain", 1))
        except Exception as error:  # noqa: BLE001 - whatever it is
            return type(error).__name__

    service = LocalService().register("plain", raises, durable=False).register("parent", durable_execution(parent))
    assert service.client.invoke(FunctionName="plain")["FunctionError"] == "Unhandled"
    assert service.run("parent").value == "InvokeError"


def test_a_handler_that_raises_what_cannot_be_told_fails_its_invocation() -> None:
    def raises(_event: Any, _context: Any) -> None:
        raise never_tells()

    handle = LocalService().register("f", raises).run("f")
    assert handle.status == "FAILED"
    assert "cannot be told: RuntimeError" in (handle.error or {})["ErrorMessage"]


def test_a_plain_function_that_returns_too_much_has_failed() -> None:
    service = LocalService().register("plain", lambda _event, _context: "x" * 6_291_456, durable=False)
    answer = service.client.invoke(FunctionName="plain")
    assert answer["FunctionError"] == "Unhandled"
    assert b"Function.ResponseSizeTooLarge" in answer["Payload"].read()


# -- processes that die ------------------------------------------------------------------------------------------------

DEADLY = """
import os, sys
from perdure.local import LocalService, SqliteStore
service = LocalService(store=SqliteStore(sys.argv[1]))
service.register("deadly", lambda _event, _context: os._exit(7))
handle = next(iter(service.handles.values()), None) or service.start("deadly", name="mine")
handle.drive()
print(handle.status, handle.error["ErrorType"])
service.close()
"""


def test_a_handler_that_kills_its_process_is_invoked_later_and_later_and_given_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DEADLY, str(tmp_path / "x.db")]
    for _ in range(MAX_DEATHS):  # virtual time passes in which it waits
        assert subprocess.run(command, check=False, timeout=60).returncode == 7
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    with LocalService(store=SqliteStore(tmp_path / "x.db")) as service:
        (listed,) = service.client.list_durable_executions_by_function(FunctionName="deadly")["DurableExecutions"]
        assert listed["Status"] == "FAILED"
        ended = service.client.get_durable_execution(DurableExecutionArn=listed["DurableExecutionArn"])
        assert ended["Error"]["ErrorType"] == "Runtime.ExitError"
    assert "mine" not in done.stdout


class Died(BaseException):
    """Stands for the end of the process in the middle of an invocation."""


def opened(path: Path, clock: VirtualClock, handler: Callable[[Any, Any], Any]) -> LocalService:
    return LocalService(store=SqliteStore(path), clock=clock).register("f", handler)


def die(service: LocalService, handle: Any) -> None:
    """Begin an invocation, and end the process in it."""
    with service.wake:
        handle.machine.begin_invocation(service.clock.now())
        service.executions.touch(handle.machine)
        service.executions.commit()
    service.store.close()


def test_the_first_death_costs_no_time_the_others_do_and_a_checkpoint_makes_up_for_them(tmp_path: Path) -> None:
    clock, path = VirtualClock(), tmp_path / "x.db"
    service = opened(path, clock, lambda _event, _context: DONE)
    arn = service.start("f").arn
    delays = []
    for _ in range(3):
        die(service, service.execution(arn))
        service = opened(path, clock, lambda _event, _context: DONE)
        due = service.execution(arn).machine.next_moment()
        delays.append(None if due is None else due[0] - clock.now())
    assert delays == [None, timedelta(seconds=1), timedelta(seconds=2)]
    with service.wake:
        machine = service.execution(arn).machine
        machine.begin_invocation(clock.now())
        machine.checkpoint(machine.token, [step("s", "START")], None, clock.now())
    die(service, service.execution(arn))
    service = opened(path, clock, lambda _event, _context: DONE)
    assert service.execution(arn).machine.next_moment() is None
    assert service.execution(arn).drive().status == "SUCCEEDED"
    service.close()


def test_a_service_that_is_closed_in_good_order_counts_no_death(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, path = VirtualClock(), tmp_path / "x.db"
    service = opened(path, clock, lambda _event, _context: DONE)
    arn = service.start("f").arn
    for _ in range(MAX_DEATHS + 1):
        with service.wake:
            service.execution(arn).machine.begin_invocation(clock.now())
        service.close()
        service = opened(path, clock, lambda _event, _context: DONE)
    assert service.execution(arn).machine.deaths == 0
    assert not caplog.records
    assert service.execution(arn).drive().status == "SUCCEEDED"
    service.close()


# -- a store in trouble ------------------------------------------------------------------------------------------------


def test_a_full_disk_fails_no_execution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "x.db")
    write, full = store._write, threading.Event()

    def written() -> None:
        if full.is_set():
            raise sqlite3.OperationalError("database or disk is full")
        write()

    monkeypatch.setattr(store, "_write", written)
    entered = []

    def handler(_event: Any, _context: Any) -> Any:
        entered.append(full.is_set())
        return DONE

    with LocalService(store=store) as service:
        service.register("f", handler).register("plain", lambda event, _context: event, durable=False)
        handle = service.start("f")
        service.client.invoke(FunctionName="plain", InvocationType="Event", Payload=b"1")
        full.set()
        for _ in range(10):
            with pytest.raises(sqlite3.OperationalError):
                handle.drive()
        full.clear()
        assert handle.drive().status == "SUCCEEDED"
        assert entered == [False]
        assert not service.tasks


def test_workers_wait_for_a_store_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("perdure.local.workers._PAUSE_AFTER_TROUBLE", 0.01)
    monkeypatch.setattr("perdure.local.driver._PAUSE_AFTER_TROUBLE", 0.01)
    store = SqliteStore(tmp_path / "x.db")
    write, left = store._write, [6]

    def written() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise sqlite3.OperationalError("database or disk is full")
        write()

    with LocalService(store=store, clock=RealClock()) as service:
        service.register("f", lambda _event, _context: DONE)
        handle = service.start("f")
        monkeypatch.setattr(store, "_write", written)
        service.start_workers()
        with service.wake:
            assert service.wake.wait_for(lambda: handle.terminal, 20)
        assert handle.status == "SUCCEEDED"
        assert len(handle.invocations) == 1
    assert "database or disk is full" in caplog.text


# -- time that is up ---------------------------------------------------------------------------------------------------


def test_an_invocation_whose_time_is_up_has_failed_and_is_repeated() -> None:
    hold, entered = threading.Event(), []

    def handler(event: Any, _context: Any) -> Any:
        entered.append(event)
        if len(entered) == 1:
            hold.wait(30)
            try:
                event.client.checkpoint_durable_execution(
                    DurableExecutionArn=event["DurableExecutionArn"],
                    CheckpointToken=event["CheckpointToken"],
                    Updates=[step("late", "START")],
                )
            except ClientError as refused:
                entered.append(str(refused))
            return {"Status": "SUCCEEDED", "Result": '"late"'}
        return DONE

    with LocalService(clock=RealClock(), retry_delay=lambda _failures: 0.01) as service:
        service.register("f", handler, timeout_seconds=0.2)
        service.start_workers(limit=1)
        handle = service.start("f")
        with service.wake:
            assert service.wake.wait_for(lambda: handle.terminal, 20)
        assert [invocation.outcome for invocation in handle.invocations] == ["TIMED_OUT", "SUCCEEDED"]
        assert handle.result == "1"
        hold.set()
        with service.wake:
            assert service.wake.wait_for(lambda: len(entered) == 3, 20)
        assert "Invalid checkpoint token" in entered[2]
        assert (handle.result, handle.operations) == ("1", [])
        events = service.client.get_durable_execution_history(DurableExecutionArn=handle.arn)["Events"]
        error = next(e["InvocationCompletedDetails"] for e in events if e["EventType"] == "InvocationCompleted")[
            "Error"
        ]
        assert error["Payload"]["ErrorType"] == "Sandbox.Timedout"
        assert error["Payload"]["ErrorMessage"] == "Task timed out after 0.20 seconds"


def test_a_plain_function_whose_time_is_up_has_failed() -> None:
    hold = threading.Event()
    with LocalService(clock=RealClock()) as service:
        service.register("plain", lambda _event, _context: hold.wait(30), durable=False, timeout_seconds=0.1)
        service.start_workers(limit=1)
        answer = service.client.invoke(FunctionName="plain")
        assert b"Task timed out after 0.10 seconds" in answer["Payload"].read()
        assert service.workers is not None
        assert service.workers.busy == 0
        hold.set()


def test_what_returns_while_others_are_given_up_ends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    service = LocalService().register("plain", lambda event, _context: event, durable=False)
    driver, settled = service._driver, list[Any]()
    with service.wake:
        turns = [driver.take_on(Call(service.functions["plain"], "1")) for _ in range(2)]
        for turn in turns:
            turn.deadline = 0.0

        def settle(call: Call, *_: Any) -> None:
            settled.append(call)  # the lock is let go here, and the other one returns
            for turn in turns:
                driver.drop(turn)

        monkeypatch.setattr(driver, "_settle_call", settle)
        driver.give_up_late()
    assert len(settled) == 1


def test_what_has_returned_is_not_given_up_while_it_is_written() -> None:
    service = LocalService().register("plain", lambda event, _context: event, durable=False)
    driver = service._driver
    with service.wake:
        turn = driver.take_on(Call(service.functions["plain"], "1"))
        during = driver._outside(turn, 60.0, driver.next_deadline)
        assert (during < math.inf, driver.next_deadline()) == (True, math.inf)


def test_time_is_up_under_a_virtual_clock_too() -> None:
    hold = threading.Event()

    def hangs(_event: Any, _context: Any) -> Any:
        hold.wait(30)
        return DONE

    with LocalService(retry_delay=lambda _failures: 0.0) as service:
        service.register("sleeps", durable_execution(lambda _event, ctx: ctx.wait(3600)))
        service.register("hangs", hangs, timeout_seconds=0.1)
        service.start("sleeps")
        handle = service.start("hangs")
        service.start_workers()
        with service.wake:
            assert service.wake.wait_for(lambda: handle.terminal, 20)
        assert (handle.error or {})["ErrorType"] == "Sandbox.Timedout"
        hold.set()


def test_a_pause_that_comes_while_an_invocation_cannot_begin_holds_and_no_news_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, store = VirtualClock(), SqliteStore(tmp_path / "x.db")
    told: list[list[str]] = []

    def handler(event: Any, _context: Any) -> Any:
        told.append(event["UpdatedOperationIds"])
        if len(told) == 1:
            event.client.checkpoint_durable_execution(
                DurableExecutionArn=event["DurableExecutionArn"],
                CheckpointToken=event["CheckpointToken"],
                Updates=[wait("w", 60)],
            )
            return {"Status": "PENDING"}
        return DONE

    with LocalService(store=store, clock=clock) as service:
        handle = service.register("f", handler).start("f")
        write, fails = store._write, [False]

        def written() -> None:
            if fails[0] and handle.machine.invoking:
                fails[0] = False
                with service.wake:
                    handle.machine.request_pause(clock.now(), None, None, stops_timeout=True)
                raise sqlite3.OperationalError("database or disk is full")
            write()

        monkeypatch.setattr(store, "_write", written)
        service.observers.append(Trip(fails, told))
        with pytest.raises(sqlite3.OperationalError):
            handle.drive()
        assert handle.drive().status == "PAUSED"
        service.client.resume_durable_execution(DurableExecutionArn=handle.arn)
        assert handle.drive().status == "SUCCEEDED"
    assert told == [[], ["w"]]


class Trip:
    """Lets the next write fail once the first invocation is over."""

    def __init__(self, fails: list[bool], told: list[list[str]]) -> None:
        self.fails, self.told = fails, told

    def operation(self, _handle: Any, operation: Any) -> None:
        if operation["Type"] == "WAIT" and operation["Status"] == "SUCCEEDED":
            self.fails[0] = True

    def invocation(self, _handle: Any, _invocation: Any) -> None:
        """Look away."""

    def waiting(self, _seconds: float, *, skipped: bool) -> None:
        """Look away."""


@pytest.mark.parametrize(
    "wrong",
    [
        {"execution_timeout": -5},
        {"execution_timeout": 1e12},
        {"retention_days": 0},
        {"retention_days": 91},
        {"timeout_seconds": 0},
        {"timeout_seconds": 901},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LocalService().register("f", good, **wrong)


# -- calls that cross --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", [VirtualClock, RealClock])
def test_a_handler_may_invoke_another_function_and_wait_for_it(clock: Callable[[], Any]) -> None:
    service = LocalService(clock=clock())

    def child(_event: Any, ctx: DurableContext) -> int:
        ctx.wait(1)
        return 2

    def parent(_event: Any, ctx: DurableContext) -> Any:
        return ctx.step(lambda _: int(service.client.invoke(FunctionName="child")["Payload"].read()))

    service.register("child", durable_execution(child)).register("parent", durable_execution(parent))
    assert service.run("parent").value == 2


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_deleted_while_its_handler_runs_is_gone_when_that_ends(tmp_path: Path, kept: bool) -> None:
    entered, hold = threading.Event(), threading.Event()

    def handler(_event: Any, _context: Any) -> Any:
        entered.set()
        hold.wait(30)
        return DONE

    store = SqliteStore(tmp_path / "x.db") if kept else None
    with LocalService(clock=RealClock(), store=store) as service:
        service.register("f", handler)
        service.start_workers()
        client, named = service.client, {"FunctionName": "f", "InvocationType": "Event", "DurableExecutionName": "n"}
        arn = client.invoke(**named)["DurableExecutionArn"]
        assert entered.wait(20)
        client.stop_durable_execution(DurableExecutionArn=arn)
        client.delete_durable_execution(DurableExecutionArn=arn)
        with pytest.raises(ClientError, match="is being deleted"):
            client.invoke(**named)
        hold.set()
        with service.wake:
            assert service.wake.wait_for(lambda: service.executions.lookup(arn) is None, 20)
        assert client.list_durable_executions_by_function(FunctionName="f")["DurableExecutions"] == []
        assert client.invoke(**named, Payload=b"2")["DurableExecutionArn"] != arn


@pytest.mark.parametrize("kept", [False, True])
def test_a_name_is_free_again_once_its_retention_has_ended(tmp_path: Path, kept: bool) -> None:
    clock = VirtualClock()
    with LocalService(clock=clock, store=SqliteStore(tmp_path / "x.db") if kept else None) as service:
        service.register("f", good, retention_days=1)
        first = service.run("f", name="n").arn
        clock.advance(2 * 86_400)
        second = service.client.invoke(FunctionName="f", DurableExecutionName="n", Payload=b"2")
        assert second["DurableExecutionArn"] != first


def test_only_callbacks_can_be_answered() -> None:
    service = LocalService().register("f", lambda _event, _context: None)
    handle = service.start("f")
    with service.wake:
        handle.machine.begin_invocation()
    service.client.checkpoint_durable_execution(
        DurableExecutionArn=handle.arn, CheckpointToken=handle.machine.token, Updates=[wait("w", 60)]
    )
    for operation in ("w", handle.machine.execution_id):
        forged = base64.b64encode(f"{handle.arn}|{operation}".encode()).decode()
        for how in ("success", "failure", "heartbeat"):
            with pytest.raises(ClientError, match="No callback has the id"):
                getattr(service.client, f"send_durable_execution_callback_{how}")(CallbackId=forged)
    assert handle.operations[0]["Status"] == "STARTED"


def test_a_finished_parent_is_one_also_for_updates_that_leave_it_out() -> None:
    service = LocalService().register("f", lambda _event, _context: None)
    handle = service.start("f")
    with service.wake:
        handle.machine.begin_invocation()

    def send(*updates: dict[str, Any]) -> None:
        service.client.checkpoint_durable_execution(
            DurableExecutionArn=handle.arn, CheckpointToken=handle.machine.token, Updates=list(updates)
        )

    send(context("c", "START"), step("s", "START", ParentId="c"))
    send(context("c", "SUCCEED"))
    with pytest.raises(ClientError, match="has finished"):
        send(step("s", "SUCCEED"))
    with pytest.raises(ClientError, match="not a context"):
        send(execution("SUCCEED", ParentId="nobody"))


def test_a_request_that_is_repeated_with_its_token_is_carried_out_once() -> None:
    clock = VirtualClock()
    service = LocalService(clock=clock).register("f", lambda _event, _context: None)
    arn = service.start("f").arn
    client = service.client
    client.pause_durable_execution(DurableExecutionArn=arn, ClientToken="one")
    client.resume_durable_execution(DurableExecutionArn=arn, ClientToken="two")
    client.pause_durable_execution(DurableExecutionArn=arn, ClientToken="one")
    assert service.execution(arn).status == "RUNNING"
    clock.advance(16 * 60)
    client.pause_durable_execution(DurableExecutionArn=arn, ClientToken="one")
    assert service.execution(arn).status == "PAUSED"


def test_what_is_due_has_happened_before_anybody_looks() -> None:
    clock = VirtualClock()
    service = LocalService(clock=clock).register("f", good)
    arn = service.start("f", execution_timeout=60).arn
    clock.advance(61)
    assert service.client.get_durable_execution(DurableExecutionArn=arn)["Status"] == "TIMED_OUT"
    with pytest.raises(ClientError, match="TIMED_OUT"):
        service.client.pause_durable_execution(DurableExecutionArn=arn)


@pytest.mark.parametrize("kept", [False, True])
def test_a_list_in_pages_leaves_nothing_out_though_the_clock_goes_back(tmp_path: Path, kept: bool) -> None:
    clock = VirtualClock()
    with LocalService(clock=clock, store=SqliteStore(tmp_path / "x.db") if kept else None) as service:
        service.register("f", good)
        for seconds in (50, -30, 40, -60, 10):
            service.start("f")
            clock._now += timedelta(seconds=seconds)
        for reverse in (False, True):
            found, marker = [], None
            while True:
                page = service.client.list_durable_executions_by_function(
                    FunctionName="f", MaxItems=1, ReverseOrder=reverse, **({"Marker": marker} if marker else {})
                )
                found += [listed["StartTimestamp"] for listed in page["DurableExecutions"]]
                if (marker := page.get("NextMarker")) is None:
                    break
            assert found == sorted(found, reverse=not reverse)
            assert len(found) == 5


def test_a_version_that_is_missing_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.db"
    with LocalService(store=SqliteStore(path)) as service:
        service.register("f", good)
        service.functions.publish("f")
        service.functions.publish("f")
        arn = service.start("f:2").arn
    with LocalService(store=SqliteStore(path)) as service:
        service.register("f", good)
        service.functions.publish("f")
        assert service.execution(arn).drive().status == "RUNNING"
        assert "f:2 was not published" in caplog.text
        service.functions.publish("f")
        service.register("f", good)
        assert service.execution(arn).drive().status == "SUCCEEDED"


def test_two_qualifiers_that_differ_are_refused() -> None:
    service = LocalService().register("f", good)
    with pytest.raises(ClientError, match="differ"):
        service.client.invoke(FunctionName="f:1", Qualifier="2")
    assert service.client.invoke(FunctionName="f:1", Qualifier="1")["ExecutedVersion"] == "1"


def test_a_chained_invoke_takes_the_trace_that_it_is_given_or_its_parents() -> None:
    service = LocalService()
    service.register("child", good)

    @durable_execution
    def parent(_event: Any, ctx: DurableContext) -> int:
        return ctx.invoke("child", 1)

    service.register("parent", parent)
    with service.wake:
        begun = service.invoking.begin({"FunctionName": "parent", "TraceId": "Root=1-5759e988"})
    assert isinstance(begun, ExecutionHandle)
    begun.drive()
    traces = [
        service.client.get_durable_execution(DurableExecutionArn=known)["TraceHeader"] for known in service.handles
    ]
    assert traces == [{"XAmznTraceId": "Root=1-5759e988"}] * 2


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with LocalService(store=SqliteStore(path)) as service:
        service.register("f", good)
        for _ in range(50):
            service.start("f")
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 8 * 4096)
    store = SqliteStore(path)
    with pytest.raises(StoreError, match=r"x\.db is damaged: .* give another file"):
        LocalService(store=store)
    store.close()


@pytest.mark.parametrize("name", ["", "a/b", "not a name", "x" * 65])
def test_a_name_that_lambda_would_not_take_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of an execution"):
        LocalService().register("f", good).start("f", name=name)
