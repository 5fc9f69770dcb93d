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
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from perdure.local import LocalService, SqliteStore, VirtualClock
from support.handlers import DONE
from support.model import check_response
from support.raw import ERROR, context, invoke, step, update, wait

STEPS = st.sampled_from([f"s{n}" for n in range(5)])
WAITS = st.sampled_from([f"w{n}" for n in range(4)])
CALLBACKS = st.sampled_from([f"c{n}" for n in range(4)])
CONTEXTS = st.sampled_from([f"k{n}" for n in range(3)])
INVOKES = st.sampled_from([f"i{n}" for n in range(3)])
PLACES = st.integers(0, 11)
SECONDS = st.integers(1, 50)
CHILD_SECONDS = 45


class Service(RuleBasedStateMachine):
    """One execution with an invocation under way; `model` says what each operation's status must be."""

    stale = Bundle("stale")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = VirtualClock()
        self.model: dict[str, str] = {}  # in the order in which the operations began
        self.parents: dict[str, str | None] = {}
        self.replays: set[str] = set()  # contexts that run again, so that what is below them is still told
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
        self.service.register("other", lambda _event, _context: None, execution_timeout=CHILD_SECONDS)

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

    def stands_at(self, key: str, *statuses: str) -> bool:
        return self.model.get(key) in statuses

    def is_told(self, key: str) -> bool:
        """Tell whether a replay hears of an operation: not below a context that has ended, unless that runs again."""
        parent = self.parents[key]
        return parent is None or (self.is_told(parent) and (self.model[parent] == "STARTED" or parent in self.replays))

    def begin(self, place: int, update: dict[str, Any]) -> bool:
        """Send the START of an operation, in a context or in none; tell whether it was good.

        It is good once, also in a context that has ended.
        """
        self.fire()
        key = update["Id"]
        places = [None, *(known for known in self.model if known.startswith("k"))]
        parent = places[place % len(places)]
        good = key not in self.model and key != parent
        self.send(update if parent is None else {**update, "ParentId": parent}, good=good)
        if good:
            self.model[key], self.parents[key] = "STARTED", parent
        return good

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

    @rule(key=STEPS, place=PLACES)
    def start_step(self, key: str, place: int) -> None:
        if key not in self.model:
            self.begin(place, step(key, "START"))
            return
        self.fire()
        good = self.stands_at(key, "READY")
        self.send(step(key, "START"), good=good)
        if good:
            self.model[key] = "STARTED"

    @rule(key=STEPS, action=st.sampled_from(["SUCCEED", "FAIL", "RETRY"]), seconds=SECONDS)
    def finish_step(self, key: str, action: str, seconds: int) -> None:
        self.fire()
        good = self.stands_at(key, "STARTED", "READY")
        members: dict[str, Any] = {} if action == "SUCCEED" else {"Error": ERROR}
        if action == "RETRY":
            members["StepOptions"] = {"NextAttemptDelaySeconds": seconds}
        self.send(step(key, action, **members), good=good)
        if good:
            self.attempts[key] = self.attempts.get(key, 0) + 1
            self.model[key] = {"SUCCEED": "SUCCEEDED", "FAIL": "FAILED", "RETRY": "PENDING"}[action]
            if action == "RETRY":
                self.set_timer(key, seconds, "READY")

    @initialize(depth=st.integers(0, 2), end=st.sampled_from(["", "SUCCEED", "FAIL"]), replay=st.booleans())
    def there_are_contexts(self, depth: int, end: str, replay: bool) -> None:
        """Begin within contexts, of which one may have ended: by chance that comes too seldom."""
        for place, key in enumerate(["k0", "k1"][:depth]):
            self.begin(place, context(key, "START"))
            self.begin(place + 1, step(f"s{place}", "START"))
        if end and depth:
            self.finish_context("k0", end, replay)

    @rule(key=CONTEXTS, place=PLACES)
    def start_context(self, key: str, place: int) -> None:
        self.begin(place, context(key, "START"))

    @rule(key=CONTEXTS, action=st.sampled_from(["SUCCEED", "FAIL"]), replay=st.sampled_from([False, False, True]))
    def finish_context(self, key: str, action: str, replay: bool) -> None:
        self.fire()
        good = self.stands_at(key, "STARTED")
        self.send(context(key, action, ContextOptions={"ReplayChildren": replay}), good=good)
        if good:
            self.model[key] = {"SUCCEED": "SUCCEEDED", "FAIL": "FAILED"}[action]
            self.replays |= {key} if replay else set()

    @rule(key=WAITS, seconds=SECONDS, place=PLACES)
    def start_wait(self, key: str, seconds: int, place: int) -> None:
        if self.begin(place, wait(key, seconds)):
            self.set_timer(key, seconds, "SUCCEEDED")

    @rule(key=WAITS)
    def cancel_wait(self, key: str) -> None:
        self.fire()
        good = self.stands_at(key, "STARTED")
        self.send(update("WAIT", key, "CANCEL"), good=good)
        if good:
            self.model[key] = "CANCELLED"

    @rule(key=CALLBACKS, timeout=st.sampled_from([0, 7, 90]), heartbeat=st.sampled_from([0, 5, 30]), place=PLACES)
    def start_callback(self, key: str, timeout: int, heartbeat: int, place: int) -> None:
        options = {"TimeoutSeconds": timeout, "HeartbeatTimeoutSeconds": heartbeat}
        if self.begin(place, update("CALLBACK", key, "START", CallbackOptions=options)):
            self.due[key] = []
            if timeout:
                self.set_timer(key, timeout, "TIMED_OUT")
            if heartbeat:
                self.beats[key] = heartbeat
                self.set_timer(key, heartbeat, "TIMED_OUT")

    @rule(key=INVOKES, place=PLACES)
    def start_invoke(self, key: str, place: int) -> None:
        if self.begin(place, invoke(key)):
            self.set_timer(key, CHILD_SECONDS, "TIMED_OUT")

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

    @rule(key=INVOKES, how=st.sampled_from(["SUCCEEDED", "FAILED", "STOPPED"]))
    def an_invoked_execution_ends(self, key: str, how: str) -> None:
        self.fire()
        if self.model.get(key) != "STARTED":
            return
        child = self.service.execution(self.handle.machine.notes[key]["child"])
        if how == "STOPPED":
            self.service.client.stop_durable_execution(DurableExecutionArn=child.arn)
        else:
            with self.service.wake:
                child.machine.begin_invocation(self.clock.now())
                output = DONE if how == "SUCCEEDED" else {"Status": "FAILED", "Error": ERROR}
                child.machine.end_invocation(output, self.clock.now())
                self.service.executions.absorb(child)
                self.service.executions.commit()
        assert child.status == how
        self.model[key] = how
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
            self.service.executions.catch_up(self.clock.now())
        self.fire()
        operations = {operation["Id"]: operation for operation in self.handle.operations}
        assert {key: operation["Status"] for key, operation in operations.items()} == self.model
        for key, attempts in self.attempts.items():
            assert operations[key]["StepDetails"]["Attempt"] == attempts
        self.check_history(operations)
        self.check_state(1 + self.events % 5)

    def check_history(self, operations: dict[str, dict[str, Any]]) -> None:
        response = self.service.client.get_durable_execution_history(DurableExecutionArn=self.arn, MaxItems=1000)
        assert [event["EventId"] for event in response["Events"]] == list(range(1, self.events + 1))
        moments = [event["EventTimestamp"] for event in response["Events"]]
        assert moments == sorted(moments)
        for operation in operations.values():
            if operation["Type"] == "WAIT" and operation["Status"] == "SUCCEEDED":
                assert operation["EndTimestamp"] == operation["WaitDetails"]["ScheduledEndTimestamp"]
            if operation["Type"] == "CHAINED_INVOKE" and operation["Status"] == "TIMED_OUT":
                assert operation["EndTimestamp"] - operation["StartTimestamp"] == timedelta(seconds=CHILD_SECONDS)

    def check_state(self, size: int) -> None:
        """Read the state in pages: what a replay needs, in the order in which it began."""
        told: list[dict[str, Any]] = []
        marker: str | None = None
        while marker != "":
            response = self.service.client.get_durable_execution_state(
                DurableExecutionArn=self.arn, CheckpointToken=self.token, Marker=marker, MaxItems=size
            )
            marker = response.get("NextMarker", "")
            assert len(response["Operations"]) == size if marker else len(response["Operations"]) <= size
            told += response["Operations"]
        assert [(operation["Id"], operation["Status"]) for operation in told[1:]] == [
            (key, status) for key, status in self.model.items() if self.is_told(key)
        ]
        assert all(operation.get("ParentId") == self.parents[operation["Id"]] for operation in told[1:])


class TestService(Service.TestCase):
    settings = settings(max_examples=settings.default.max_examples // 2, stateful_step_count=40)
