"""A server that is killed, and the callers it has made promises to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

from support.killed_server import TOLD
from support.web import lambda_client

if TYPE_CHECKING:
    from random import Random

TESTS = Path(__file__).parent.parent
DURABLE, PLAIN = ("work", "part", "ask", "idle", "quick"), "plain"
ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT"})
PATIENCE = 60.0
PLANS = (
    ("work", "end"),
    ("work", "end"),
    ("work", "stop"),
    ("work", "drop"),
    ("ask", "succeed"),
    ("ask", "fail"),
    ("ask", "submit"),
    ("ask", "expire"),
    ("ask", "beat"),
    ("idle", "stop"),
    ("idle", "drop"),
    ("idle", "pause"),
    ("idle", "pause"),
    ("quick", "wait"),
    ("quick", "wait"),
    ("quick", "delete"),
)
"""What callers start, and what they do with it; to drop is to stop and delete."""
_OPEN, _BEATS, _PAUSES = 7, 4, 2
_UNKNOWN, _CONFLICT = "ResourceNotFoundException", "ResourceConflictException"
_CLOSED = ("CallbackTimeoutException", _UNKNOWN)


class Server:
    """`perdure serve` on a database, in one process after the other, always on the same port."""

    def __init__(self, folder: Path) -> None:
        self.database, self.told = folder / "siege.db", folder / "told"
        self.lives = 0
        self.dying = threading.Event()
        """Set while the server may be away."""
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self.client: Any = None

    def start(self) -> None:
        """Start the process, and no more than that."""
        functions = [f"support.killed_server:{name}" for name in DURABLE]
        self._process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "perdure.cli",
                    "serve",
                    *functions,
                    "--plain",
                    f"plain=support.killed_server:{PLAIN}",
                ),
                *("--db", str(self.database), "--port", str(self._port)),
            ],
            stderr=subprocess.PIPE,
            cwd=TESTS,
            env={**os.environ, TOLD: str(self.told), "COLUMNS": "200"},
            text=True,
        )
        self.lives += 1

    @property
    def pid(self) -> int:
        """The process that serves."""
        assert self._process is not None
        return self._process.pid

    def wait(self) -> None:
        """Wait until the server can be called."""
        assert self._process is not None
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if found := re.search(r"serves (http://\S+:(\d+)),", line):
                url, self._port = found[1], int(found[2])
            if "Ctrl-C" in line:
                break
        else:
            raise AssertionError("".join(said))
        if self.client is None:
            self.client = lambda_client(url)
            self.client.meta.events.register("after-call.lambda", _check_length)
        self.dying.clear()

    def kill(self) -> None:
        """Kill the process; nothing that it says before may be a complaint."""
        assert self._process is not None
        self.dying.set()
        self._process.kill()
        _, said = self._process.communicate()
        assert "Traceback" not in said, said

    def end(self) -> None:
        """Make sure that nothing is left."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        if self.client is not None:
            self.client.close()


def _check_length(http_response: Any, model: Any, **_: Any) -> None:
    """Take a response that the kill has cut off for none; botocore reads what there is."""
    expected = int(http_response.headers.get("content-length", 0))
    if not model.has_streaming_output and len(http_response.content) < expected:
        raise ConnectionClosedError(endpoint_url=http_response.url)


class GoneError(Exception):
    """The server did not answer: what was asked of it was done, or not."""


@dataclass(slots=True)
class Quiet:
    """A part of the told file in which nothing may be said of an execution: it is PAUSED then, or has ended."""

    status: str
    begin: int
    process: int
    """The process that had told of the status; it may be on the way into an invocation that is stopped."""
    end: int = sys.maxsize


@dataclass(slots=True)
class Started:
    """An execution that a caller has asked for, and what the server has acknowledged about it."""

    function: str
    plan: str
    name: str
    payload: str
    arn: str = ""
    returned: Any = None
    """What a synchronous caller was given."""
    ended: dict[str, Any] | None = None
    """Its description once it had ended; it does not change any more."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """The longest history that was read."""
    quiet: list[Quiet] = field(default_factory=list)
    answer: str = ""
    """What its callback was given."""
    answered: bool = False
    too_late: bool = False
    """Whether the callback was closed by then; by the same answer, if its acknowledgement was lost."""
    beaten: list[float] = field(default_factory=list)
    """When the heartbeats were sent that were acknowledged, in Unix seconds."""
    pause: str = ""
    """The client token of a pause that was asked for."""
    pauses: int = 0
    held: bool = False
    """Whether the pause was acknowledged, and nobody has asked for its end."""
    resuming: bool = False
    stopped: bool = False
    deleting: bool = False
    deleted: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing is left to be done with it."""
        return self.ended is not None and (self.deleted or self.plan not in ("delete", "drop"))


class Caller:
    """One of those who call the server, over all its lives.

    What was not answered it asks again in the next life, as any caller does: it must hear the same as if the first
    request had been lost, which it may have been.
    """

    def __init__(self, server: Server, number: int, chance: Random) -> None:
        self._server, self._number, self._chance = server, number, chance
        self.mine: list[Started] = []
        self.acknowledged = 0

    def live(self) -> None:
        """Keep the server busy until it is gone."""
        try:
            while True:
                left = [started for started in self.mine if not started.over]
                if len(left) < _OPEN and self._chance.random() < 0.5:
                    self._start()
                elif self.mine:
                    self._tend(self._chance.choice(left or self.mine))
        except GoneError:
            assert self._server.dying.is_set(), "the server did not answer, though nobody had killed it"

    def finish(self) -> None:
        """Bring everything to its end."""
        deadline = time.monotonic() + PATIENCE
        while left := [started for started in self.mine if not started.over]:
            assert time.monotonic() < deadline, f"stuck: {left}"
            for started in left:
                self._tend(started, last=True)
            time.sleep(0.05)

    def _start(self) -> None:
        function, plan = self._chance.choice(PLANS)
        number = len(self.mine)
        event = {"plan": plan, "number": number, "rounds": 1000 if plan == "stop" else 3}
        self.mine.append(Started(function, plan, f"{function}-{plan}-{self._number}-{number}", json.dumps(event)))
        self._invoke(self.mine[-1])

    def _tend(self, started: Started, *, last: bool = False) -> None:
        """Look at an execution, and do the next thing that is to be done with it, or not yet."""
        if not started.arn:
            self._invoke(started)
            return
        self._look(started)
        now = last or self._chance.random() < 0.2
        if started.ended is not None:
            if not started.over and (now or started.plan == "drop"):
                self._delete(started)
        elif started.plan in ("stop", "drop") and now:
            self._stop(started)
        elif started.plan == "pause":
            if started.resuming or (started.pause and now):
                self._resume(started)
            elif not last and started.pauses < _PAUSES:
                self._pause(started)
        elif started.function == "ask":
            self._answer(started)

    def _invoke(self, started: Started) -> None:
        waits = started.plan == "wait"
        response = self._call(
            "invoke",
            FunctionName=started.function,
            InvocationType="RequestResponse" if waits else "Event",
            DurableExecutionName=started.name,
            Payload=started.payload.encode(),
        )
        assert "FunctionError" not in response, response
        started.arn = response["DurableExecutionArn"]
        if waits:
            started.returned = json.loads(response["Payload"])

    def _look(self, started: Started) -> None:
        """See how an execution stands: what was acknowledged holds."""
        lawful = (_UNKNOWN,) if started.deleting else ()
        described = self._call("get_durable_execution", *lawful, DurableExecutionArn=started.arn)
        if started.deleting:
            assert not started.deleted or described is None or described["Status"] == "DELETING"
            return
        status = described["Status"]
        assert (described["DurableExecutionName"], described["InputPayload"]) == (started.name, started.payload)
        assert started.ended in (None, described), "an execution that had ended has changed"
        assert not started.held or status in {*ENDED, "PAUSING", "PAUSED"}, f"a pause was forgotten: {status}"
        if status in ENDED and started.ended is None:
            started.quiet.append(self._quiet(status))
            self._read(started)
            started.ended = described
        elif status == "PAUSED" and (not started.quiet or started.quiet[-1].end < sys.maxsize):
            started.quiet.append(self._quiet(status))
        elif self._chance.random() < 0.2:
            self._read(started)

    def _quiet(self, status: str) -> Quiet:
        return Quiet(status, self._server.told.stat().st_size, self._server.pid)

    def _read(self, started: Started) -> None:
        """Read the history: whatever was told before is told again."""
        events = self._call("get_durable_execution_history", DurableExecutionArn=started.arn, MaxItems=1000)["Events"]
        assert events[: len(started.events)] == started.events, "a history has changed"
        started.events = events

    def _stop(self, started: Started) -> None:
        self._call("stop_durable_execution", DurableExecutionArn=started.arn)
        started.stopped = True
        self._look(started)
        assert started.ended is not None, "a stop was acknowledged, and the execution goes on"

    def _pause(self, started: Started) -> None:
        """Ask for a pause, or again for one whose acknowledgement was lost."""
        if not started.pause:
            started.pauses += 1
            started.pause = f"{started.name}-{started.pauses}"
        for _ in range(2):
            done = self._call(
                "pause_durable_execution", _CONFLICT, DurableExecutionArn=started.arn, ClientToken=started.pause
            )
            started.held = done is not None
            self._look(started)
            assert started.held or started.ended is not None, "a pause was refused to an execution that goes on"

    def _resume(self, started: Started) -> None:
        if started.quiet:
            started.quiet[-1].end = min(started.quiet[-1].end, self._server.told.stat().st_size)
        started.held, started.resuming = False, True
        self._call("resume_durable_execution", _CONFLICT, DurableExecutionArn=started.arn)
        started.pause, started.resuming = "", False

    def _answer(self, started: Started) -> None:
        """Answer the callback of an execution, once there is one, as the plan says."""
        self._read(started)
        opened = [event for event in started.events if event["EventType"] == "CallbackStarted"]
        if not opened or started.answered or started.too_late or started.plan == "expire":
            return
        callback = opened[0]["CallbackStartedDetails"]["CallbackId"]
        how: dict[str, Any] = {"CallbackId": callback}
        if started.plan == "beat" and len(started.beaten) < _BEATS:
            now = time.time()
            if self._call("send_durable_execution_callback_heartbeat", *_CLOSED, **how) is not None:
                started.beaten.append(now)
            return
        if started.plan == "fail":
            started.answer = f"no: {started.name}"
            how["Error"] = {"ErrorMessage": started.name, "ErrorType": "Refused"}
        else:
            started.answer = f"yes: {started.name}"
            how["Result"] = started.answer.encode()
        outcome = "failure" if started.plan == "fail" else "success"
        done = self._call(f"send_durable_execution_callback_{outcome}", *_CLOSED, **how)
        started.answered, started.too_late = done is not None, done is None

    def _delete(self, started: Started) -> None:
        lawful = (_UNKNOWN,) if started.deleting else ()
        started.deleting = True
        self._call("delete_durable_execution", *lawful, DurableExecutionArn=started.arn)
        started.deleted = True
        self._look(started)

    def _call(self, method: str, *lawful: str, **arguments: Any) -> Any:
        """Call the server; None if it refuses with one of these codes."""
        try:
            response = getattr(self._server.client, method)(**arguments)
            if "Payload" in response:
                response["Payload"] = response["Payload"].read()
        except ClientError as refusal:
            if refusal.response["Error"]["Code"] not in lawful:
                raise
            response = None
        except BotoCoreError as problem:
            raise GoneError from problem
        else:
            del response["ResponseMetadata"]
        self.acknowledged += 1
        return response
