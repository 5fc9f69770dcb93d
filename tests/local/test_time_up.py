"""Functions whose time is up: they are given up, whatever their threads still do."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from perdure import durable_execution
from perdure.local import LocalService, RealClock
from perdure.local.calls import Call
from support.handlers import DONE
from support.raw import step

if TYPE_CHECKING:
    import pytest


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
        service.register("f", handler, timeout_seconds=1)
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
        assert error["Payload"]["ErrorMessage"] == "Task timed out after 1.00 seconds"


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
