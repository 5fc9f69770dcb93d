"""One durable execution: its journal, and the life of its invocations. Pure, like the journal.

The rules of the invocations: a return of SUCCEEDED or FAILED ends the execution; PENDING parks it until an operation
moves; PENDING with nothing pending is a mistake, and the third one fails the execution; a raised error is retried,
and the fifth in a row fails the execution.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure.local.errors import INVALID_PARAMETER, INVALID_TOKEN, Fault, refuse
from perdure.local.journal import Journal
from perdure.local.validation import text_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from perdure.local.limits import Limits
    from perdure.local.validation import Update

MAX_FAILURES = 5
MAX_IDLE_RETURNS = 3
_OPERATION_STATUS = {"SUCCEEDED": "SUCCEEDED", "FAILED": "FAILED", "TIMED_OUT": "TIMED_OUT", "STOPPED": "STOPPED"}


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
    ) -> None:
        function_arn, _, tail = arn.partition("/durable-execution/")
        name, execution_id = tail.split("/")
        details = {} if payload is None else {"InputPayload": payload}
        root = {
            "Id": execution_id,
            "Type": "EXECUTION",
            "Status": "STARTED",
            "Name": name,
            "StartTimestamp": now,
            "ExecutionDetails": details,
        }
        super().__init__(execution_id, root, limits, callback_prefix=arn)
        self.arn, self.name, self.function_arn, self.payload = arn, name, function_arn, payload
        self.started_at = now
        self.ended_at: datetime | None = None
        self.status = "RUNNING"
        self.result: str | None = None
        self.error: dict[str, Any] | None = None
        self.invocations = 0
        self.invoking = False
        self.wanted = True
        self.retry_at: datetime | None = None
        self.explicit_timeout = timeout_seconds is not None
        seconds = timeout_seconds if timeout_seconds is not None else limits.duration_seconds
        self.deadline = None if seconds is None else now + timedelta(seconds=seconds)
        self._retry_delay = retry_delay
        self._failures = 0
        self._idle_returns = 0

    @property
    def terminal(self) -> bool:
        """Whether the execution has ended."""
        return self.status != "RUNNING"

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
        response, closing = self.take(token, updates, client_token, now, preflight)
        if closing is not None:
            status = "SUCCEEDED" if closing["Action"] == "SUCCEED" else "FAILED"
            self.end(status, now, result=closing.get("Payload"), error=closing.get("Error"))
        return response

    def stop(self, now: datetime, error: dict[str, Any] | None) -> datetime:
        """Stop the execution; return when it ended, which for one that had ended before is then."""
        self.end("STOPPED", now, error=error)
        return self.ended_at or now

    def end(
        self, status: str, now: datetime, *, result: str | None = None, error: Mapping[str, Any] | None = None
    ) -> None:
        """End the execution; the first end counts."""
        if self.terminal:
            return
        self.status, self.result, self.ended_at = status, result, now
        self.error = None if error is None else dict(error)
        self.wanted, self.retry_at = False, None
        root = self.operations[self.execution_id]
        root = {**root, "Status": _OPERATION_STATUS[status], "EndTimestamp": now}
        self.operations[self.execution_id] = root
        if self.on_change is not None:
            self.on_change(root)

    # -- time ------------------------------------------------------------------------------------------------------

    def fire_due(self, now: datetime) -> bool:
        """Let everything happen whose moment has come, the end of the execution's own time included."""
        if self.terminal:
            return False
        if self.deadline is not None and now >= self.deadline:
            error = {"ErrorMessage": "Execution timed out", "ErrorType": "Execution.Timeout"}
            self.end("TIMED_OUT", now, error=error)
            return True
        fired = super().fire_due(now)
        self.settle()
        return fired

    def settle(self) -> None:
        """Ask for an invocation if the parked execution has news."""
        if self.news and not self.invoking and not self.terminal:
            self.wanted = True

    def next_moment(self) -> tuple[datetime, str] | None:
        """Return the next moment this execution moves by itself, and why (`next_due`, plus invocation and deadline)."""
        if self.terminal:
            return None
        moments = [] if (due := self.next_due()) is None else [due]
        if self.retry_at is not None:
            moments.append((self.retry_at, "invocation"))
        if self.explicit_timeout and self.deadline is not None:
            moments.append((self.deadline, "deadline"))
        return min(moments, default=None)

    def runnable(self, now: datetime) -> bool:
        """Tell whether the handler should be invoked now."""
        if self.terminal or self.invoking:
            return False
        return self.wanted or (self.retry_at is not None and self.retry_at <= now)

    # -- invocations -----------------------------------------------------------------------------------------------

    def begin_invocation(self) -> list[str]:
        """Begin an invocation with a token of its own; return the ids the service changed since the last one."""
        updated = list(self.news)
        self.new_epoch()
        self.invocations += 1
        self.invoking, self.wanted, self.retry_at = True, False, None
        return updated

    def end_invocation(self, output: Any, now: datetime) -> None:
        """Take what the handler returned."""
        self.invoking = False
        self.fire_due(now)
        if self.terminal:
            return
        try:
            status = self._read_output(output)
        except Fault as fault:
            error = {"ErrorMessage": fault.message, "ErrorType": fault.code}
            self.end("FAILED", now, error=error)
            return
        self._failures = 0
        if status == "PENDING":
            self._park(now)
        else:
            self.end(status, now, result=output.get("Result"), error=output.get("Error"))

    def fail_invocation(self, error: Mapping[str, Any], now: datetime) -> None:
        """Take an invocation that raised, timed out or died; it is repeated, but not for ever."""
        self.invoking = False
        self.fire_due(now)
        if self.terminal:
            return
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self.end("FAILED", now, error=error)
        else:
            self._again(self._failures, now)

    def _park(self, now: datetime) -> None:
        if self.news or self.readied:
            self._idle_returns, self.wanted = 0, True
        elif self.has_pending():
            self._idle_returns = 0
        else:
            self._idle_returns += 1
            if self._idle_returns >= MAX_IDLE_RETURNS:
                message = "Cannot return PENDING status with no pending operations."
                self.end("FAILED", now, error={"ErrorMessage": message, "ErrorType": INVALID_PARAMETER})
            else:
                self._again(self._idle_returns, now)

    def _again(self, attempt: int, now: datetime) -> None:
        self.wanted = False
        self.retry_at = now + timedelta(seconds=self._retry_delay(attempt))

    def _read_output(self, output: Any) -> str:
        """Check the envelope the handler returned; return its status."""
        if not isinstance(output, dict):
            refuse(f"Invalid invocation output: a durable function returns an object, not {type(output).__name__}.")
        status, result, error = output.get("Status"), output.get("Result"), output.get("Error")
        if status not in ("SUCCEEDED", "FAILED", "PENDING"):
            refuse(f"Invalid invocation output: {status!r} is not a valid status.")
        if result is not None and status != "SUCCEEDED":
            refuse(f"Cannot provide a Result for {status} status.")
        if error is not None and status != "FAILED":
            refuse(f"Cannot provide an Error for {status} status.")
        if result is not None and not isinstance(result, str):
            refuse(f"Invalid invocation output: Result must be a string, not {type(result).__name__}.")
        if error is not None and not isinstance(error, dict):
            refuse(f"Invalid invocation output: Error must be an object, not {type(error).__name__}.")
        limit = self.limits.response_bytes
        if result is not None and limit is not None and text_bytes(result) > limit:
            refuse(f"Invalid invocation output: Result exceeds {limit} bytes.")
        return str(status)
