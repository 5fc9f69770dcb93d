"""One durable execution: its journal, and the life of its invocations. Pure, like the journal.

The rules of the invocations: a return of SUCCEEDED or FAILED ends the execution; PENDING parks it until an operation
moves; PENDING with nothing pending is a mistake, and the third one fails the execution; a raised error is retried,
and the fifth in a row fails the execution.

The rules of a pause: nothing is invoked, everything else goes on. An invocation under way may still make one
checkpoint, whose response carries no token; what it returns after that counts for nothing, and the execution is
invoked again once it is resumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure.local.machine import history
from perdure.local.machine.clock import from_millis, to_millis
from perdure.local.machine.errors import CONFLICT, INVALID_PARAMETER, INVALID_TOKEN, Fault, refuse
from perdure.local.machine.journal import Journal
from perdure.local.machine.validation import check_error_object, error_bytes, label, text_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from perdure.local.machine.limits import Limits
    from perdure.local.machine.validation import Update

MAX_FAILURES = 5
MAX_DEATHS = 10
MAX_IDLE_RETURNS = 3
DEFAULT_RETENTION_DAYS = 14
_IDEMPOTENCY = timedelta(minutes=15)
_ENDS = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "TIMED_OUT": "TimedOut", "STOPPED": "Stopped"}
_STOPPED = {"ErrorMessage": "Execution stopped by user request"}
_TIMED_OUT = {"ErrorMessage": "Execution timed out", "ErrorType": "Execution.Timeout"}
_UNDECORATED = "Is the handler decorated with @durable_execution?"
_DIED = {
    "ErrorMessage": f"The process died {MAX_DEATHS} times in a row while the handler ran.",
    "ErrorType": "Runtime.ExitError",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an execution comes from: who started it, for whom, on which version of its function."""

    parent: tuple[str, str] | None = None
    """(ARN, operation id) of the chained invoke that started it."""
    tenant_id: str | None = None
    trace_id: str | None = None
    retention_days: int = DEFAULT_RETENTION_DAYS
    asynchronous: bool = False
    """Whether an `Event` or a chained invoke started it, so that its result may be smaller only."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that was asked for, and since when it holds (None while an invocation is still on its way out)."""

    requested_at: datetime
    reason: str | None
    stops_timeout: bool
    since: datetime | None = None


class Execution(Journal):
    """The state machine of one execution. `status` is RUNNING, SUCCEEDED, FAILED, TIMED_OUT or STOPPED."""

    def __init__(
        self,
        arn: str,
        payload: str | None,
        now: datetime,
        limits: Limits,
        *,
        retry_delay: Callable[[int], float],
        timeout_seconds: float | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.arn = arn
        self.function_arn, _, tail = arn.partition("/durable-execution/")
        self.name, execution_id = tail.split("/")
        self.version = self.function_arn.rpartition(":")[2]
        self.origin = origin or Origin()
        root = {
            "Id": execution_id,
            "Type": "EXECUTION",
            "Status": "STARTED",
            "Name": self.name,
            "StartTimestamp": now,
            "ExecutionDetails": {} if payload is None else {"InputPayload": payload},
        }
        super().__init__(execution_id, root, limits, callback_prefix=arn)
        self.started_at = now
        self.ended_at: datetime | None = None
        self.expires_at: datetime | None = None
        """When the finished execution is forgotten."""
        self.status = "RUNNING"
        self.result: str | None = None
        self.error: dict[str, Any] | None = None
        self.deleting = False
        self.pause: Pause | None = None
        self.invocations = 0
        self.invoking = False
        self.revoked = False
        self.wanted = True
        self.retry_at: datetime | None = None
        self.explicit_timeout = timeout_seconds is not None
        self.timeout_seconds = timeout_seconds if timeout_seconds is not None else limits.duration_seconds
        self.due_at = None if self.timeout_seconds is None else now + timedelta(seconds=self.timeout_seconds)
        self.failures = 0
        self.deaths = 0
        self.idle_returns = 0
        self.requests: list[list[Any]] = []
        """The requests of a client's that may be repeated for a while: action, client token, the rest, until when."""
        self._retry_delay = retry_delay
        self._invocation: tuple[datetime, str] = (now, "")
        started = {"Input": history.payload(payload), "ExecutionTimeout": round(self.timeout_seconds or 0)}
        self.record("ExecutionStarted", now, root, started)

    @property
    def payload(self) -> str | None:
        """The user's event, as JSON text."""
        payload: str | None = self.operations[self.execution_id]["ExecutionDetails"].get("InputPayload")
        return payload

    @property
    def terminal(self) -> bool:
        """Whether the execution has ended."""
        return self.status != "RUNNING"

    @property
    def shown_status(self) -> str:
        """The status as the API tells it, with PAUSING, PAUSED and DELETING."""
        if self.deleting:
            return "DELETING"
        if self.pause is None or self.terminal:
            return self.status
        return "PAUSING" if self.pause.since is None else "PAUSED"

    @property
    def deadline(self) -> datetime | None:
        """When the execution times out; a pause that holds the timeout leaves only the longest life there is."""
        return self._last_moment() if self._timeout_held else self.due_at

    @property
    def limit(self) -> datetime | None:
        """When the execution times out for no other reason than that none lives longer; None if it does before."""
        return None if self.terminal or self._times_out else self.deadline

    @property
    def _timeout_held(self) -> bool:
        return self.pause is not None and self.pause.since is not None and self.pause.stops_timeout

    @property
    def _times_out(self) -> bool:
        """Whether the deadline is one that somebody has set."""
        return self.explicit_timeout and not self._timeout_held

    # -- the API ---------------------------------------------------------------------------------------------------

    def checkpoint(
        self,
        token: str,
        updates: Sequence[Update],
        client_token: str | None,
        now: datetime,
        preflight: Callable[[str], dict[str, Any] | None] = lambda _name: None,
    ) -> dict[str, Any]:
        """Take a batch of updates; return the response of `CheckpointDurableExecution`.

        Once the execution has ended (stopped, timed out), the response carries no token and applies nothing.
        """
        replayed = self.replayed_answer(token, client_token, now)
        if replayed is not None:
            return replayed
        self.fire_due(now)
        if self.terminal:
            if token != self.token:
                refuse(INVALID_TOKEN)
            return {"NewExecutionState": {"Operations": []}}
        self._check_closing(updates)
        pausing = self.pause is not None
        response, closing = self.take(token, updates, client_token, now, preflight, revoke=pausing)
        self.deaths = 0
        if closing is not None:
            status = "SUCCEEDED" if closing["Action"] == "SUCCEED" else "FAILED"
            self.end(status, now, result=closing.get("Payload"), error=closing.get("Error"))
        elif pausing:
            self.revoked = True
            self._hold(now)
        return response

    def stop(self, now: datetime, error: dict[str, Any] | None) -> datetime:
        """Stop the execution; return when it ended, which for one that had ended before is then."""
        self.end("STOPPED", now, error=error or _STOPPED)
        return self.ended_at or now

    def request_pause(
        self, now: datetime, reason: str | None, client_token: str | None, *, stops_timeout: bool
    ) -> None:
        """Ask for a pause; it holds at once unless an invocation is under way."""
        request = ("pause", client_token, reason, stops_timeout)
        if self._repeated(request, now):
            return
        if self.terminal or self.pause is not None:
            raise Fault(CONFLICT, f"Cannot pause an execution that is {self.shown_status}.")
        self.pause = Pause(now, reason, stops_timeout)
        self._remember(request, now)
        if not self.invoking:
            self._hold(now)

    def resume(self, now: datetime, reason: str | None, client_token: str | None) -> None:
        """End a pause, or call off one that does not hold yet."""
        request = ("resume", client_token, reason, None)
        if self._repeated(request, now):
            return
        if self.terminal or self.pause is None:
            raise Fault(CONFLICT, f"Cannot resume an execution that is {self.shown_status}.")
        pause, self.pause = self.pause, None
        self._remember(request, now)
        if pause.since is None:
            return
        if pause.stops_timeout and self.due_at is not None:
            self.due_at += now - pause.since
            last = self._last_moment()
            self.due_at = self.due_at if last is None else min(self.due_at, last)
        resumed: dict[str, Any] = {"ResumeRequestTimestamp": now}
        if reason is not None:
            resumed["Reason"] = history.payload(reason)
        self.record("ExecutionResumed", now, None, resumed)
        self.settle()

    def delete(self) -> None:
        """Mark a finished execution for deletion."""
        if not self.terminal:
            raise Fault(CONFLICT, f"Cannot delete an execution that is {self.shown_status}; stop it first.")
        self.deleting = True

    def end(
        self, status: str, now: datetime, *, result: str | None = None, error: Mapping[str, Any] | None = None
    ) -> None:
        """End the execution; the first end counts."""
        if self.terminal:
            return
        self.status, self.result, self.ended_at = status, result, now
        self.error = None if error is None else dict(error)
        self.wanted, self.retry_at = False, None
        root = {**self.operations[self.execution_id], "Status": status, "EndTimestamp": now}
        self.operations[self.execution_id] = root
        self.unsaved[self.execution_id] = None
        outcome = {"Result": history.payload(result)} if status == "SUCCEEDED" else {"Error": history.payload(error)}
        self.record(f"Execution{_ENDS[status]}", now, root, outcome)
        if self.on_change is not None:
            self.on_change(root)

    def notice_end(self, now: datetime) -> None:
        """Let the retention begin; an end that was due long ago is kept as long as others from when it is noticed."""
        if self.expires_at is None:
            self.expires_at = now + timedelta(days=self.origin.retention_days)

    def _hold(self, now: datetime) -> None:
        """Let a pause begin to hold."""
        pause = self.pause
        if pause is None or pause.since is not None:
            return
        self.pause = Pause(pause.requested_at, pause.reason, pause.stops_timeout, now)
        paused = {"PauseRequestTimestamp": pause.requested_at, "ExecutionTimeoutPaused": pause.stops_timeout}
        if pause.reason is not None:
            paused["Reason"] = history.payload(pause.reason)
        self.record("ExecutionPaused", now, None, paused)

    def _last_moment(self) -> datetime | None:
        seconds = self.limits.duration_seconds
        return None if seconds is None else self.started_at + timedelta(seconds=seconds)

    def _repeated(self, request: tuple[Any, ...], now: datetime) -> bool:
        """Tell whether a request is one that was carried out a short while ago."""
        self.requests = [known for known in self.requests if now <= from_millis(known[-1])]
        return request[1] is not None and any(tuple(known[:-1]) == request for known in self.requests)

    def _remember(self, request: tuple[Any, ...], now: datetime) -> None:
        if request[1] is not None:
            self.requests.append([*request, to_millis(now + _IDEMPOTENCY)])

    # -- time ------------------------------------------------------------------------------------------------------

    def fire_due(self, now: datetime) -> bool:
        """Let everything happen whose moment has come, the end of the execution's own time included."""
        if self.terminal:
            return False
        deadline = self.deadline
        fired = self.fire_timers(now, deadline)
        if deadline is not None and deadline <= now:
            self.end("TIMED_OUT", self.dated(deadline), error=_TIMED_OUT)
            return True
        if self.retry_at is not None and self.retry_at <= now and not self.invoking:
            self.wanted, self.retry_at = True, None
        self.settle()
        return fired

    def settle(self) -> None:
        """Ask for an invocation if the parked execution has news."""
        if self.news and not self.invoking and not self.terminal:
            self.wanted = True

    def next_moment(self) -> tuple[datetime, str] | None:
        """Return the next moment this execution moves by itself, and why: `next_due`, invocation or deadline.

        The longest life there is does not count: it ends every execution, but none is waited for until then.
        """
        if self.terminal:
            return None
        moments = [] if (due := self.next_due()) is None else [due]
        if self.retry_at is not None:
            moments.append((self.retry_at, "invocation"))
        if self._times_out and self.due_at is not None:
            moments.append((self.due_at, "deadline"))
        return min(moments, default=None)

    @property
    def runnable(self) -> bool:
        """Whether the handler should be invoked now."""
        return self.wanted and not self.invoking and self.pause is None and not self.terminal

    # -- invocations -----------------------------------------------------------------------------------------------

    def begin_invocation(self, now: datetime | None = None, request_id: str = "local") -> list[str]:
        """Begin an invocation with a token of its own; return the ids the service changed since the last one."""
        updated = list(self.news)
        self.new_epoch()
        self.invocations += 1
        self.invoking, self.revoked, self.wanted, self.retry_at = True, False, False, None
        self._invocation = (now or self.started_at, request_id)
        return updated

    def end_invocation(self, output: Any, now: datetime) -> None:
        """Take what the handler returned."""
        try:
            status, invalid = self._read_output(output), None
        except Fault as fault:
            status, invalid = "", {"ErrorMessage": fault.message, "ErrorType": fault.code}
        if self._left(now, invalid or output.get("Error")):
            return
        if invalid is not None:
            self.end("FAILED", now, error=invalid)
            return
        self.failures = 0
        if status == "PENDING":
            self._park(now)
            self._hold(now)
        else:
            self.end(status, now, result=output.get("Result"), error=output.get("Error"))

    def fail_invocation(self, error: Mapping[str, Any], now: datetime) -> None:
        """Take an invocation that raised, timed out or died; it is repeated, but not for ever."""
        if self._left(now, error):
            return
        self.failures += 1
        if self.failures >= MAX_FAILURES:
            self.end("FAILED", now, error=error)
        else:
            self._again(self.failures, now)
            self._hold(now)

    def _left(self, now: datetime, error: Mapping[str, Any] | None) -> bool:
        """Note that the invocation is over; tell whether its outcome no longer matters."""
        self.fire_due(now)
        self.invoking, self.deaths = False, 0
        started, request_id = self._invocation
        completed: dict[str, Any] = {"StartTimestamp": started, "EndTimestamp": now, "RequestId": request_id}
        if error is not None:
            completed["Error"] = history.payload(dict(error))
        self.record("InvocationCompleted", now, None, completed)
        if self.revoked and not self.terminal:
            self.wanted = True
            return True
        return self.terminal

    def abandon_invocation(self, now: datetime, *, died: bool) -> None:
        """Give up an invocation that ended with the process that ran it; it counts as no failure of the function.

        A process that `died` may have been killed by its handler, and would be again. From the second death in a row
        without a checkpoint in between, the invocation is repeated later and later, and the tenth is the last.
        """
        self.invoking, self.wanted = False, True
        if died:
            self.deaths += 1
            if self.deaths >= MAX_DEATHS:
                self.end("FAILED", now, error=_DIED)
                return
            if self.deaths > 1:
                self._again(self.deaths - 1, now)
        if self.pause is not None and self.pause.since is None:
            self._hold(self.dated(self.pause.requested_at))

    def postpone(self, now: datetime, seconds: float, updated: Iterable[str]) -> None:
        """Give up an invocation that could not be begun, and try it again so many seconds later, with the same news."""
        self.invoking, self.wanted, self.retry_at = False, False, now + timedelta(seconds=seconds)
        self.news = {**dict.fromkeys(updated), **self.news}
        self._hold(now)

    def _park(self, now: datetime) -> None:
        if self.news or self.readied:
            self.idle_returns, self.wanted = 0, True
        elif self.has_pending():
            self.idle_returns = 0
        else:
            self.idle_returns += 1
            if self.idle_returns >= MAX_IDLE_RETURNS:
                message = "Cannot return PENDING status with no pending operations."
                self.end("FAILED", now, error={"ErrorMessage": message, "ErrorType": INVALID_PARAMETER})
            else:
                self._again(self.idle_returns, now)

    def _again(self, attempt: int, now: datetime) -> None:
        self.wanted = False
        self.retry_at = now + timedelta(seconds=self._retry_delay(attempt))

    def _check_closing(self, updates: Sequence[Update]) -> None:
        """Refuse a batch that ends the execution with a result which is too large for it."""
        for update in updates:
            payload = update.get("Payload")
            if update.get("Type") == "EXECUTION" and isinstance(payload, str):
                problem = self._too_large(payload)
                if problem is not None:
                    refuse(f"{problem} It was in {label(update)}.")

    def _too_large(self, result: str) -> str | None:
        """Say why an execution that nobody waits for may not have this result, None if it may."""
        limit = self.limits.async_result_bytes
        if not self.origin.asynchronous or limit is None or text_bytes(result) <= limit:
            return None
        return (
            f"Result exceeds {limit} bytes, the most for an execution that was begun by an Event or a chained invoke. "
            "Keep the data elsewhere, in S3 say, and return where it is."
        )

    def _read_output(self, output: Any) -> str:
        """Check the envelope the handler returned; return its status."""
        if not isinstance(output, dict):
            refuse(
                f"Invalid invocation output: a durable function returns an object, not {type(output).__name__}. "
                f"{_UNDECORATED}"
            )
        status, result, error = output.get("Status"), output.get("Result"), output.get("Error")
        if status not in ("SUCCEEDED", "FAILED", "PENDING"):
            refuse(f"Invalid invocation output: {status!r} is not a valid status. {_UNDECORATED}")
        if result is not None and status != "SUCCEEDED":
            refuse(f"Cannot provide a Result for {status} status.")
        if error is not None and status != "FAILED":
            refuse(f"Cannot provide an Error for {status} status.")
        if result is not None and not isinstance(result, str):
            refuse(f"Invalid invocation output: Result must be a string, not {type(result).__name__}.")
        if error is not None:
            check_error_object(error, "the invocation's output")
        limit = self.limits.response_bytes
        if result is not None and limit is not None and text_bytes(result) > limit:
            refuse(f"Invalid invocation output: Result exceeds {limit} bytes.")
        if result is not None and (problem := self._too_large(result)) is not None:
            refuse(f"Invalid invocation output: {problem}")
        if error is not None and limit is not None and error_bytes(error) > limit:
            refuse(f"Invalid invocation output: Error exceeds {limit} bytes.")
        return str(status)
