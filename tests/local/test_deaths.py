"""Processes that die in the middle of an invocation, and what the next one does about it."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure.local import LocalService, SqliteStore, VirtualClock
from perdure.local.machine.execution import MAX_DEATHS
from support.handlers import DONE
from support.raw import step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

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
