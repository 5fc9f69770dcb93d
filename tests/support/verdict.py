"""What must hold at the end of a siege, held against what was acknowledged and what the functions' code has told."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from perdure.local import LocalService, RealClock, SqliteStore
from support.kill_harness import DURABLE, ENDED
from support.killed_server import BEAT_SECONDS, INTERRUPTED, ONCE, WORK

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from support.kill_harness import Started

_ROUNDING_SECONDS = 0.002
_CLOSINGS = ("Succeeded", "Failed", "TimedOut", "Stopped", "Cancelled")
_STATUSES = {"TimedOut": "TIMED_OUT"}
_DETAILS = {
    "STEP": "StepDetails",
    "CONTEXT": "ContextDetails",
    "CALLBACK": "CallbackDetails",
    "CHAINED_INVOKE": "ChainedInvokeDetails",
}


class Line(NamedTuple):
    """A line of the told file."""

    position: int
    what: str
    process: int
    arn: str
    more: list[Any]


def read(path: Path) -> list[Line]:
    """Read what was told; a line that a kill has severed was not."""
    lines, position = [], 0
    for raw in path.read_bytes().splitlines(keepends=True):
        if raw.endswith(b"]\n"):
            what, process, arn, *more = json.loads(raw)
            lines.append(Line(position, what, process, arn, more))
        position += len(raw)
    return lines


def judge(database: Path, told: Path, everything: list[Started], kills: int) -> str:
    """Check everything; return a summary."""
    lines = read(told)
    check_file(database)
    with LocalService(store=SqliteStore(database), clock=RealClock(), record=False) as service:
        for name in DURABLE:
            service.register(name, lambda _event, _context: None)
        court = Court(service, lines, everything, kills)
        court.check()
    bodies = [(*line.more[:2], line.arn) for line in lines if line.what == "ran"]
    interrupted = sum(line.what == "saw" and line.more[1] == INTERRUPTED for line in lines)
    return (
        f"{len(everything)} executions asked for, {len(court.listed)} kept; {len(bodies)} bodies run, "
        f"{len(bodies) - len(set(bodies))} of them once more, {interrupted} seen interrupted"
    )


def check_file(database: Path) -> None:
    """Check that the file is sound, and that nothing is left in it of what was deleted."""
    db = sqlite3.connect(database)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for table in ("operations", "events"):
            orphans = f"SELECT count(*) FROM {table} WHERE execution NOT IN (SELECT key FROM executions)"  # noqa: S608
            assert db.execute(orphans).fetchone() == (0,)
    finally:
        db.close()


class Court:
    """The checks of one siege."""

    def __init__(self, service: LocalService, lines: list[Line], everything: list[Started], kills: int) -> None:
        self._service, self._lines, self._everything, self._kills = service, lines, everything, kills
        self._paused = {started.arn for started in everything if started.pauses}
        self._values: dict[tuple[str, str], Any] = {}
        """What the code was given by the operations of an execution."""
        self.listed: dict[str, dict[str, Any]] = {}

    def check(self) -> None:
        """Check everything."""
        client = self._service.client
        for function in DURABLE:
            pages = client.list_durable_executions_by_function(FunctionName=function, MaxItems=1000)
            assert "NextMarker" not in pages
            self.listed |= {page["DurableExecutionArn"]: page for page in pages["DurableExecutions"]}
        self._check_bodies()
        self._check_invocations()
        for started in self._everything:
            self._check_quiet(started)
            if started.deleted:
                with pytest.raises(ClientError, match="ResourceNotFound"):
                    client.get_durable_execution(DurableExecutionArn=started.arn)
                assert started.arn not in self.listed
                continue
            assert client.get_durable_execution(DurableExecutionArn=started.arn) == {
                **(started.ended or {}),
                "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {}, "RetryAttempts": 0},
            }
            assert self.listed[started.arn]["DurableExecutionName"] == started.name
            assert self._events(started.arn)[: len(started.events)] == started.events
            self._check_outcome(started)
        for arn, page in self.listed.items():
            assert page["Status"] in ENDED, f"stuck: {arn}"
            self._check_history(arn)

    def _events(self, arn: str) -> list[dict[str, Any]]:
        pages = self._service.client.get_durable_execution_history(DurableExecutionArn=arn, MaxItems=1000)
        assert "NextMarker" not in pages
        events: list[dict[str, Any]] = pages["Events"]
        return events

    # -- what ran --------------------------------------------------------------------------------------------------

    def _check_bodies(self) -> None:
        """Check that no body ran after its value was given, or twice if it must not."""
        last: dict[tuple[str, str], tuple[str, str]] = {}
        attempts: Counter[tuple[Any, ...]] = Counter()
        for _, what, process, arn, more in self._lines:
            if what == "ran":
                name, attempt, token, semantics = more
                assert (arn, name) not in self._values, f"{name} of {arn} ran again after it was recorded"
                last[arn, name] = token, semantics
                if semantics == ONCE:
                    attempts[arn, name, attempt] += 1
                elif arn not in self._paused:  # a pause takes its invocation's token away, with what is not yet sent
                    attempts[arn, name, attempt, process] += 1
            elif what == "saw":
                name, value = more
                known = self._values.setdefault((arn, name), value)
                assert known == value, f"{name} of {arn} has two values: {known}, {value}"
        twice = [key for key, count in attempts.items() if count > 1]
        assert not twice, f"ran twice: {twice}"
        for key, (token, semantics) in last.items():
            if token is None:
                continue
            value = self._values.get(key, token)  # none was given to what was stopped before
            assert value == token or (semantics == ONCE and value == INTERRUPTED), f"{key}: {value}, not {token}"

    def _check_invocations(self) -> None:
        """Check that an execution has one invocation at a time."""
        inside: set[tuple[str, int]] = set()
        for _, what, process, arn, _ in self._lines:
            if what == "enter":
                assert (arn, process) not in inside, f"{arn} was invoked twice at once"
                inside.add((arn, process))
            elif what == "leave":
                inside.remove((arn, process))

    def _check_quiet(self, started: Started) -> None:
        """Check that nothing was invoked that was PAUSED or had ended."""
        for quiet in started.quiet:
            entered = [
                line.process
                for line in self._lines
                if line.arn == started.arn
                and quiet.begin <= line.position < quiet.end
                and (line.what == "enter" or (line.what == "call" and line.process != quiet.process))
            ]
            lawful = [quiet.process] if quiet.status == "STOPPED" else []
            assert entered in ([], lawful), f"{started.arn} was invoked while it was {quiet.status}"

    # -- what came of it -------------------------------------------------------------------------------------------

    def _check_outcome(self, started: Started) -> None:
        """Check that an execution has ended as it should."""
        assert started.ended is not None
        status = started.ended["Status"]
        if status == "STOPPED":
            assert started.plan in ("stop", "drop")
            return
        assert status == "SUCCEEDED", started.ended
        assert (started.function, started.plan) != ("idle", "stop")
        result = json.loads(started.ended["Result"])
        for name, value in result.items():
            assert value == self._values[started.arn, name], f"{name} of {started.arn} was given as another value"
        if started.function == "work":
            assert result.keys() == WORK
            assert result["plain"] == json.loads(started.payload)["number"] * 2
            (invoked,) = (
                event["ChainedInvokeStartedDetails"]["DurableExecutionArn"]
                for event in started.events
                if event["EventType"] == "ChainedInvokeStarted" and event["Name"] == "part"
            )
            child = self._service.client.get_durable_execution(DurableExecutionArn=invoked)
            assert json.loads(child["Result"]) == result["part"]
        elif started.function == "quick":
            assert started.returned in (None, result)
        elif started.function == "ask":
            self._check_answer(started, result["answer"])

    def _check_answer(self, started: Started, answer: str) -> None:
        """Check that the handler was given the answer that was acknowledged."""
        if started.answered:
            assert answer == started.answer
        elif answer == "nobody":
            assert started.plan in ("expire", "beat")
            (ended,) = (event for event in started.events if event["EventType"] == "CallbackTimedOut")
            lasted = max(started.beaten, default=0.0) + BEAT_SECONDS - _ROUNDING_SECONDS
            assert started.plan == "expire" or ended["EventTimestamp"].timestamp() >= lasted
        else:
            assert answer == started.answer

    def _check_history(self, arn: str) -> None:
        """Check that the events are in order, without a gap, and say what the operations say."""
        events = self._events(arn)
        assert [event["EventId"] for event in events] == list(range(1, len(events) + 1))
        kinds = [event["EventType"] for event in events]
        end = next(index for index, kind in enumerate(kinds) if kind.removeprefix("Execution") in _CLOSINGS)
        assert kinds[0] == "ExecutionStarted"
        assert set(kinds[end + 1 :]) <= {"InvocationCompleted"}
        states: dict[str, str] = {}
        for event in events[1:end]:
            if "Id" in event:
                states[event["Id"]] = _follow(event, states)
        operations = self._service.execution(arn).operations
        assert states == {operation["Id"]: _state(operation) for operation in operations}
        for operation in operations:
            if operation["Status"] in _CLOSED_STATES and operation["Type"] in _DETAILS:
                _compare(operation, [event for event in events if event.get("Id") == operation["Id"]][-1])
        self._check_failures(arn, events)

    def _check_failures(self, arn: str, events: Iterable[dict[str, Any]]) -> None:
        """Check that no attempt was interrupted but by a kill, and none failed but by itself."""
        failures: defaultdict[str, int] = defaultdict(int)
        for event in events:
            if event["EventType"] == "StepFailed":
                failures[event["StepFailedDetails"]["Error"]["Payload"]["ErrorType"].rpartition(".")[2]] += 1
        assert failures.pop("RuntimeError", 0) <= 1
        interrupted = failures.pop("StepInterruptedError", 0)
        assert not failures
        assert interrupted <= self._kills or arn in self._paused


_CLOSED_STATES = frozenset(_STATUSES.get(closing, closing.upper()) for closing in _CLOSINGS)


def _follow(event: dict[str, Any], states: dict[str, str]) -> str:
    """Return the state of an operation after an event, which must be one that can follow."""
    kind, key = event["EventType"], event["Id"]
    before = states.get(key)
    if kind.endswith("Started"):
        assert before in (None, "waiting") if kind == "StepStarted" else before is None, f"{kind} after {before}"
        assert event.get("ParentId") is None or states[event["ParentId"]] == "STARTED"
        return "STARTED"
    closing = next(word for word in _CLOSINGS if kind.endswith(word))
    assert before == "STARTED", f"{kind} after {before}"
    if "NextAttemptDelaySeconds" in event[f"{kind}Details"].get("RetryDetails", ()):
        return "waiting"
    return _STATUSES.get(closing, closing.upper())


def _state(operation: dict[str, Any]) -> str:
    return "waiting" if operation["Status"] in ("PENDING", "READY") else str(operation["Status"])


def _compare(operation: dict[str, Any], event: dict[str, Any]) -> None:
    """Check that the last event of an operation tells its outcome."""
    details, recorded = event[f"{event['EventType']}Details"], operation.get(_DETAILS[operation["Type"]], {})
    for member in ("Result", "Error"):
        assert details.get(member, {}).get("Payload") == recorded.get(member)
