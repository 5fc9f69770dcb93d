"""The state machine of the service against a model of a few lines, with crashes of the process in between."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from perdure.local import LocalService, SqliteStore, VirtualClock
from support.model import check_response
from support.raw import ERROR, step, update, wait

STEPS = st.sampled_from([f"s{n}" for n in range(5)])
WAITS = st.sampled_from([f"w{n}" for n in range(4)])
CALLBACKS = st.sampled_from([f"c{n}" for n in range(4)])
SECONDS = st.integers(1, 50)


class Service(RuleBasedStateMachine):
    """One execution with an invocation under way; `model` says what each operation's status must be."""

    stale = Bundle("stale")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = VirtualClock()
        self.model: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        self.due: dict[str, list[tuple[datetime, str]]] = {}
        self.beats: dict[str, int] = {}
        self.events = 1
        self.start()
        self.arn = self.service.start("f").arn
        self.invoke()

    def start(self) -> None:
        store = SqliteStore(Path(self.folder.name) / "x.db")
        self.service = LocalService(store=store, clock=self.clock)
        self.service.register("f", lambda _event, _context: None)

    def invoke(self) -> None:
        self.handle = self.service.execution(self.arn)
        with self.service.wake:
            self.handle.machine.deaths = 0  # however often the process has crashed
            self.handle.machine.begin_invocation(self.clock.now())
            self.service.executions.touch(self.handle.machine)
            self.service.executions.commit()
        self.token = self.handle.machine.token

    def teardown(self) -> None:
        self.service.close()
        self.folder.cleanup()

    # -- the model ---------------------------------------------------------------------------------------------------

    def fire(self) -> None:
        now = self.clock.now()
        for key, timers in self.due.items():
            for moment, status in sorted(timers):
                if moment <= now and self.model[key] in ("STARTED", "PENDING"):
                    self.model[key] = status
                    self.events += status != "READY"
            if self.model[key] not in ("STARTED", "PENDING"):
                timers.clear()

    def send(self, *updates: dict[str, Any], good: bool = True) -> None:
        arguments: dict[str, Any] = {
            "DurableExecutionArn": self.arn,
            "CheckpointToken": self.token,
            "Updates": list(updates),
        }
        client = self.service.client
        if not good:
            with pytest.raises(ClientError) as caught:
                client.checkpoint_durable_execution(**arguments)
            assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
            return
        response = client.checkpoint_durable_execution(**arguments)
        check_response("checkpoint_durable_execution", response)
        self.token = response["CheckpointToken"]
        self.events += len(updates)

    def set_timer(self, key: str, seconds: int, status: str) -> None:
        self.due.setdefault(key, []).append((self.clock.now() + timedelta(seconds=seconds), status))

    # -- what the function does --------------------------------------------------------------------------------------

    @rule(key=STEPS)
    def start_step(self, key: str) -> None:
        self.fire()
        good = self.model.get(key) in (None, "READY")
        self.send(step(key, "START"), good=good)
        if good:
            self.model[key] = "STARTED"

    @rule(key=STEPS, action=st.sampled_from(["SUCCEED", "FAIL", "RETRY"]), seconds=SECONDS)
    def finish_step(self, key: str, action: str, seconds: int) -> None:
        self.fire()
        good = self.model.get(key) in ("STARTED", "READY")
        members: dict[str, Any] = {} if action == "SUCCEED" else {"Error": ERROR}
        if action == "RETRY":
            members["StepOptions"] = {"NextAttemptDelaySeconds": seconds}
        self.send(step(key, action, **members), good=good)
        if good:
            self.attempts[key] = self.attempts.get(key, 0) + 1
            self.model[key] = {"SUCCEED": "SUCCEEDED", "FAIL": "FAILED", "RETRY": "PENDING"}[action]
            if action == "RETRY":
                self.set_timer(key, seconds, "READY")

    @rule(key=WAITS, seconds=SECONDS)
    def start_wait(self, key: str, seconds: int) -> None:
        self.fire()
        good = key not in self.model
        self.send(wait(key, seconds), good=good)
        if good:
            self.model[key] = "STARTED"
            self.set_timer(key, seconds, "SUCCEEDED")

    @rule(key=WAITS)
    def cancel_wait(self, key: str) -> None:
        self.fire()
        good = self.model.get(key) == "STARTED"
        self.send(update("WAIT", key, "CANCEL"), good=good)
        if good:
            self.model[key] = "CANCELLED"

    @rule(key=CALLBACKS, timeout=st.sampled_from([0, 7, 90]), heartbeat=st.sampled_from([0, 5, 30]))
    def start_callback(self, key: str, timeout: int, heartbeat: int) -> None:
        self.fire()
        good = key not in self.model
        options = {"TimeoutSeconds": timeout, "HeartbeatTimeoutSeconds": heartbeat}
        self.send(update("CALLBACK", key, "START", CallbackOptions=options), good=good)
        if good:
            self.model[key] = "STARTED"
            self.due[key] = []
            if timeout:
                self.set_timer(key, timeout, "TIMED_OUT")
            if heartbeat:
                self.beats[key] = heartbeat
                self.set_timer(key, heartbeat, "TIMED_OUT")

    @rule(key=STEPS, other=WAITS)
    def a_bad_batch_changes_nothing(self, key: str, other: str) -> None:
        self.fire()
        self.send(step(key, "START"), wait(other, 0), good=False)

    # -- what the outside does ---------------------------------------------------------------------------------------

    @rule(key=CALLBACKS, how=st.sampled_from(["success", "failure", "heartbeat"]))
    def answer(self, key: str, how: str) -> None:
        self.fire()
        operation = self.handle.machine.operations.get(key)
        if operation is None:
            return
        call = getattr(self.service.client, f"send_durable_execution_callback_{how}")
        arguments: dict[str, Any] = {"CallbackId": operation["CallbackDetails"]["CallbackId"]}
        if self.model[key] != "STARTED":
            with pytest.raises(ClientError) as caught:
                call(**arguments)
            assert caught.value.response["Error"]["Code"] == "CallbackTimeoutException"
            return
        call(**arguments)
        if how == "heartbeat":
            if seconds := self.beats.get(key):
                self.due[key].pop()
                self.set_timer(key, seconds, "TIMED_OUT")
        else:
            self.model[key] = {"success": "SUCCEEDED", "failure": "FAILED"}[how]
            self.events += 1

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(target=stale)
    def an_invocation_is_cut(self) -> str:
        self.fire()
        token = self.token
        with self.service.wake:
            self.handle.machine.fail_invocation(ERROR, self.clock.now())
            self.handle.machine.failures = 0
        self.events += 1
        self.invoke()
        return token

    @rule(target=stale)
    def the_process_crashes(self) -> str:
        token = self.token
        self.service.store.close()
        self.start()
        self.invoke()
        return token

    @rule(token=consumes(stale))
    def a_stale_token_is_refused(self, token: str) -> None:
        current, self.token = self.token, token
        self.fire()
        self.send(good=False)
        self.token = current

    # -- what must always hold ---------------------------------------------------------------------------------------

    @invariant()
    @precondition(lambda self: hasattr(self, "handle"))
    def the_service_agrees_with_the_model(self) -> None:
        with self.service.wake:
            self.handle.machine.fire_due(self.clock.now())
            self.service.executions.touch(self.handle.machine)
        self.fire()
        operations = {operation["Id"]: operation for operation in self.handle.operations}
        assert {key: operation["Status"] for key, operation in operations.items()} == self.model
        for key, attempts in self.attempts.items():
            assert operations[key]["StepDetails"]["Attempt"] == attempts
        response = self.service.client.get_durable_execution_history(DurableExecutionArn=self.arn, MaxItems=1000)
        assert [event["EventId"] for event in response["Events"]] == list(range(1, self.events + 1))


class TestService(Service.TestCase):
    settings = settings(max_examples=settings.default.max_examples // 2, stateful_step_count=30)
