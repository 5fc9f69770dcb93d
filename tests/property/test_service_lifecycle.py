"""The life of an execution against a model of a few lines: invocations, pauses, stops, timeouts, processes that die."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from perdure.local import LocalService, SqliteStore, VirtualClock
from perdure.local.machine.execution import MAX_DEATHS, MAX_FAILURES
from perdure.local.service import backoff
from support.raw import ERROR

DONE = {"Status": "SUCCEEDED", "Result": "1"}
FAILED = {"Status": "FAILED", "Error": ERROR}
ENDED = ("SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT")
TIMEOUT = 250
NAME = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "STOPPED": "Stopped", "TIMED_OUT": "TimedOut"}

LONG = 6
"""How many invocations an execution lives at least, unless it dies of them."""
ready = precondition(lambda self: not self.invoking and self.status == "RUNNING")
busy = precondition(lambda self: self.invoking)
late = precondition(lambda self: self.invocations >= LONG)
running = precondition(lambda self: self.status == "RUNNING")
paused = precondition(lambda self: self.status in ("PAUSED", "PAUSING"))


class Life(RuleBasedStateMachine):
    """One execution, in a file; `status` and the rest of the fields say how it must stand."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = VirtualClock()
        self.status = "RUNNING"
        self.invoking = self.revoked = self.holds_timeout = False
        self.failures = self.deaths = self.invocations = 0
        self.ready_at = self.clock.now()
        self.due = self.clock.now() + timedelta(seconds=TIMEOUT)
        self.paused_at = self.clock.now()

    @initialize()
    def start(self) -> None:
        self.open()
        self.arn = self.service.start("f", execution_timeout=TIMEOUT).arn

    def open(self) -> None:
        self.service = LocalService(store=SqliteStore(Path(self.folder.name) / "x.db"), clock=self.clock)
        self.service.register("f", lambda _event, _context: None)

    def teardown(self) -> None:
        if hasattr(self, "service"):
            self.service.close()
        self.folder.cleanup()

    @property
    def machine(self) -> Any:
        return self.service.execution(self.arn).machine

    def changed(self) -> None:
        self.service.executions.absorb(self.service.execution(self.arn))
        self.service.executions.commit()

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def look_at_the_clock(self) -> None:
        """Time out, unless a pause holds the clock of the execution."""
        holds = self.status == "PAUSED" and self.holds_timeout
        if not self.ended and not holds and self.clock.now() >= self.due:
            self.status = "TIMED_OUT"

    def leave(self) -> bool:
        """End an invocation; tell whether what it says still counts."""
        self.invoking = False
        self.deaths = 0
        revoked, self.revoked = self.revoked, False
        if revoked and not self.ended:
            self.ready_at = self.clock.now()
            return False
        return not self.ended

    def hold(self) -> None:
        if self.status == "PAUSING":
            self.status, self.paused_at = "PAUSED", self.clock.now()

    def again(self, count: int) -> None:
        self.ready_at = self.clock.now() + timedelta(seconds=backoff(count))

    # -- invocations -------------------------------------------------------------------------------------------------

    @ready
    @rule(patient=st.sampled_from([True, True, True, False]))
    def an_invocation_begins_if_it_may(self, patient: bool) -> None:
        self.begin(patient=patient)

    def may_begin(self) -> bool:
        self.look_at_the_clock()
        may = self.status == "RUNNING" and self.clock.now() >= self.ready_at
        with self.service.wake:
            self.machine.fire_due(self.clock.now())
            self.changed()
            assert self.machine.runnable == may
        return may

    def begin(self, *, patient: bool) -> None:
        may = self.may_begin()
        wait = (self.ready_at - self.clock.now()).total_seconds()
        if patient and wait > 0:
            self.clock.advance(wait)
            may = self.may_begin()
        with self.service.wake:
            if may:
                self.machine.begin_invocation(self.clock.now())
                self.changed()
                self.invoking, self.revoked = True, False
                self.invocations += 1

    @busy
    @late
    @rule(output=st.sampled_from([DONE, FAILED, {"Status": "SUCCEEDED", "Result": 5}]))
    def it_returns(self, output: dict[str, Any]) -> None:
        self.look_at_the_clock()
        if self.leave():
            self.status = "SUCCEEDED" if output is DONE else "FAILED"
        with self.service.wake:
            self.machine.end_invocation(output, self.clock.now())
            self.changed()

    @busy
    @rule()
    def it_raises(self) -> None:
        self.fail()

    def fail(self) -> None:
        self.look_at_the_clock()
        if self.leave():
            self.failures += 1
            if self.failures >= MAX_FAILURES:
                self.status = "FAILED"
            else:
                self.again(self.failures)
                self.hold()
        with self.service.wake:
            self.machine.fail_invocation(ERROR, self.clock.now())
            self.changed()

    @busy
    @rule()
    def it_checkpoints(self) -> None:
        self.checkpoint()

    def checkpoint(self) -> None:
        self.look_at_the_clock()
        arguments = {"DurableExecutionArn": self.arn, "CheckpointToken": self.machine.token, "Updates": []}
        if self.revoked and not self.ended:
            with pytest.raises(ClientError, match="Invalid checkpoint token"):
                self.service.client.checkpoint_durable_execution(**{**arguments, "CheckpointToken": self.spent})
            return
        self.spent = self.machine.token
        response = self.service.client.checkpoint_durable_execution(**arguments)
        if self.ended:
            assert "CheckpointToken" not in response
            return
        self.deaths = 0
        assert ("CheckpointToken" in response) == (self.status != "PAUSING")
        if self.status == "PAUSING":
            self.revoked = True
            self.hold()

    # -- the outside -------------------------------------------------------------------------------------------------

    @running
    @rule(holds=st.booleans())
    def it_is_paused(self, holds: bool) -> None:
        self.pause(holds=holds)

    def pause(self, *, holds: bool) -> None:
        self.look_at_the_clock()
        arguments = {"DurableExecutionArn": self.arn, "ExecutionTimeoutPaused": holds}
        if self.ended:
            return
        self.service.client.pause_durable_execution(**arguments)
        self.status, self.holds_timeout = "PAUSING", holds
        if not self.invoking:
            self.hold()

    @rule()
    def what_does_not_fit_is_refused(self) -> None:
        self.look_at_the_clock()
        client = self.service.client
        if self.status != "RUNNING":
            with pytest.raises(ClientError, match="ResourceConflict"):
                client.pause_durable_execution(DurableExecutionArn=self.arn)
        if self.status not in ("PAUSED", "PAUSING"):
            with pytest.raises(ClientError, match="ResourceConflict"):
                client.resume_durable_execution(DurableExecutionArn=self.arn)
        if not self.ended:
            with pytest.raises(ClientError, match="ResourceConflict"):
                client.delete_durable_execution(DurableExecutionArn=self.arn)

    @paused
    @rule()
    def it_is_resumed(self) -> None:
        self.look_at_the_clock()
        if self.ended:
            return
        self.service.client.resume_durable_execution(DurableExecutionArn=self.arn)
        if self.status == "PAUSED" and self.holds_timeout:
            self.due += self.clock.now() - self.paused_at
        self.status = "RUNNING"

    @late
    @rule()
    def it_is_stopped(self) -> None:
        self.look_at_the_clock()
        self.service.client.stop_durable_execution(DurableExecutionArn=self.arn)
        self.status = self.status if self.ended else "STOPPED"

    @rule(seconds=st.integers(1, 20))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(died=st.booleans())
    def the_process_ends(self, died: bool) -> None:
        self.end_process(died=died)

    @ready
    @rule(count=st.integers(2, MAX_DEATHS + 1))
    def the_process_dies_of_it_again_and_again(self, count: int) -> None:
        for _ in range(count):
            if self.status == "RUNNING":
                self.begin(patient=True)
            if self.invoking:
                self.end_process(died=True)

    @ready
    @rule(count=st.integers(2, MAX_FAILURES))
    def it_raises_again_and_again(self, count: int) -> None:
        for _ in range(count):
            if self.status == "RUNNING":
                self.begin(patient=True)
            if self.invoking:
                self.fail()

    @ready
    @rule(holds=st.booleans(), seconds=st.integers(0, TIMEOUT), fails=st.booleans())
    def it_is_paused_at_work(self, holds: bool, seconds: int, fails: bool) -> None:
        self.begin(patient=True)
        if self.invoking:
            self.pause(holds=holds)
            self.checkpoint()
            if fails:
                self.fail()
        self.clock.advance(seconds)

    def end_process(self, *, died: bool) -> None:
        self.look_at_the_clock()
        with self.service.wake:
            self.machine.fire_due(self.clock.now())
            self.changed()
        if died:
            self.service.store.close()
        else:
            self.service.close()
        if self.invoking and not self.ended:
            self.ready_at = self.clock.now()
            self.deaths += died
            if self.deaths >= MAX_DEATHS:
                self.status = "FAILED"
            elif died and self.deaths > 1:
                self.again(self.deaths - 1)
            self.hold()
        self.invoking = self.revoked = False
        self.open()

    # -- what must always hold ---------------------------------------------------------------------------------------

    @invariant()
    @precondition(lambda self: hasattr(self, "arn"))
    def the_service_says_so(self) -> None:
        self.look_at_the_clock()
        client = self.service.client
        assert client.get_durable_execution(DurableExecutionArn=self.arn)["Status"] == self.status
        (listed,) = client.list_durable_executions_by_function(FunctionName="f")["DurableExecutions"]
        assert listed["Status"] == self.status
        assert (listed.get("EndTimestamp") is not None) == self.ended
        assert self.machine.invocations == self.invocations
        kinds = [e["EventType"] for e in client.get_durable_execution_history(DurableExecutionArn=self.arn)["Events"]]
        ends = [kind for kind in kinds if kind.removeprefix("Execution") in NAME.values()]
        assert ends == ([f"Execution{NAME[self.status]}"] if self.ended else [])
        pauses = kinds.count("ExecutionPaused") - kinds.count("ExecutionResumed")
        assert self.ended or pauses == (self.status == "PAUSED")


class TestLife(Life.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(max_examples=settings.default.max_examples, stateful_step_count=60)  # type: ignore[union-attr]
