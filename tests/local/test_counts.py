"""What an execution counts and remembers between its invocations, in one process and over several."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from perdure.local import Limits, LocalService
from perdure.local.machine.clock import DEFAULT_START
from perdure.local.machine.execution import MAX_FAILURES, MAX_IDLE_RETURNS
from support.raw import ERROR, Life, Raw, step, wait

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from perdure.local import ExecutionHandle
    from perdure.local.machine.execution import Execution

PENDING = {"Status": "PENDING"}


def within(handle: ExecutionHandle, what: Callable[[Execution], Any]) -> None:
    """Do something to an execution as the driver does."""
    service = handle.service
    with service.wake:
        what(handle.machine)
        service.executions.absorb(handle)
        service.executions.commit()


def begin(handle: ExecutionHandle) -> None:
    within(handle, lambda machine: machine.fire_due(handle.service.clock.now()))
    within(handle, lambda machine: machine.begin_invocation(handle.service.clock.now()))


def returns(handle: ExecutionHandle, output: dict[str, Any]) -> None:
    within(handle, lambda machine: machine.end_invocation(output, handle.service.clock.now()))


def fails(handle: ExecutionHandle) -> None:
    within(handle, lambda machine: machine.fail_invocation(ERROR, handle.service.clock.now()))


@pytest.fixture
def life(life: Life) -> Life:
    life.register("f", lambda _event, _context: PENDING)
    return life


def test_a_timeout_that_was_set_still_comes_after_a_restart(life: Life) -> None:
    arn = Raw(life.service, execution_timeout=100).arn
    handle = life.crash().execution(arn)
    begin(handle)
    life.service.client.checkpoint_durable_execution(
        DurableExecutionArn=arn, CheckpointToken=handle.machine.token, Updates=[wait("w", 900)]
    )
    returns(handle, PENDING)
    handle = life.crash().execution(arn)
    assert handle.machine.next_moment() == (DEFAULT_START + timedelta(seconds=100), "deadline")
    assert handle.drive().status == "TIMED_OUT"
    assert life.clock.now() == DEFAULT_START + timedelta(seconds=100)


def test_failures_in_a_row_are_counted_over_restarts(life: Life) -> None:
    arn = life.service.start("f").arn
    for count in range(1, MAX_FAILURES + 1):
        handle = life.crash().execution(arn)
        assert handle.machine.failures == count - 1
        begin(handle)
        fails(handle)
        assert handle.status == ("FAILED" if count == MAX_FAILURES else "RUNNING")


def test_idle_returns_in_a_row_are_counted_over_restarts(life: Life) -> None:
    arn = life.service.start("f").arn
    for count in range(1, MAX_IDLE_RETURNS + 1):
        handle = life.crash().execution(arn)
        begin(handle)
        returns(handle, PENDING)
        assert handle.status == ("FAILED" if count == MAX_IDLE_RETURNS else "RUNNING")


def test_the_moment_of_the_next_try_is_kept(life: Life) -> None:
    arn = life.service.start("f").arn
    begin(life.service.execution(arn))
    fails(life.service.execution(arn))
    moment = life.clock.now() + timedelta(seconds=1)
    machine = life.crash().execution(arn).machine
    assert (machine.runnable, machine.next_moment()) == (False, (moment, "invocation"))
    life.clock.advance(1)
    with life.service.wake:
        life.service.executions.catch_up(life.clock.now())
    assert machine.runnable


def test_what_was_written_counts_after_a_restart(tmp_path: Path) -> None:
    with Life(tmp_path / "x.db", limits=Limits(written_bytes=10)) as life:
        raw = life.raw()
        raw.send(step("a", "START"), step("a", "SUCCEED", Payload="123456"))
        handle = life.crash().execution(raw.arn)
        begin(handle)
        with pytest.raises(ClientError, match="writes at most 10 bytes"):
            life.service.client.checkpoint_durable_execution(
                DurableExecutionArn=raw.arn,
                CheckpointToken=handle.machine.token,
                Updates=[step("b", "START"), step("b", "SUCCEED", Payload="12345")],
            )


def test_idle_returns_are_not_forgiven_without_a_reason(raw: Raw) -> None:
    raw.send(step("s", "START"))
    raw.leave(PENDING)
    assert raw.handle.status == "FAILED"


def test_idle_returns_are_forgiven_when_news_came(raw: Raw) -> None:
    raw.send(wait("w", 5))
    raw.advance(5)
    raw.leave(PENDING)  # it may not have heard of the end of the wait
    assert raw.handle.machine.runnable
    forgiven(raw)


def test_idle_returns_are_forgiven_when_a_step_became_ready(raw: Raw) -> None:
    options = {"StepOptions": {"NextAttemptDelaySeconds": 5}}
    raw.send(step("s", "START"), step("s", "RETRY", Error=ERROR, **options))
    raw.advance(5)
    assert [operation["Status"] for operation in raw.send()] == ["READY"]
    raw.leave(PENDING)  # it has heard of it, and did not run it
    assert raw.handle.machine.runnable
    forgiven(raw)


def test_idle_returns_are_forgiven_when_something_was_pending(raw: Raw) -> None:
    raw.send(wait("w", 5))
    raw.leave(PENDING)
    assert not raw.handle.machine.runnable
    raw.advance(5)
    forgiven(raw)


@pytest.fixture
def raw() -> Raw:
    """Return an invocation after as many idle ones as are forgiven."""
    raw = Raw(LocalService())
    idle(raw)
    return raw


def idle(raw: Raw) -> None:
    """Return idle as often as is forgiven, and begin the next invocation."""
    for _ in range(MAX_IDLE_RETURNS - 1):
        raw.leave(PENDING)
        assert raw.handle.status == "RUNNING"
        begin_again(raw)


def begin_again(raw: Raw) -> None:
    begin(raw.handle)
    raw.token = raw.handle.machine.token


def forgiven(raw: Raw) -> None:
    """Count on from nothing."""
    begin_again(raw)
    idle(raw)
    raw.leave(PENDING)
    assert raw.handle.status == "FAILED"
