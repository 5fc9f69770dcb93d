"""The operations of one execution, and everything that may happen to them: a pure state machine.

No clock, lock, store or thread: every call is handed the moment it happens at. What the journal tells the outside:
`changed` (operations whose news no response has carried yet), `next_due()`, `invokes` (chained invokes to start),
`log` (the records of the history) and `unsaved` (operations a store has not seen yet).
"""

from __future__ import annotations

import base64
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from perdure.history.kinds import ENDED
from perdure.history.operations import visible_ids
from perdure.local.machine import transitions
from perdure.local.machine.clock import from_millis, to_millis
from perdure.local.machine.errors import CALLBACK_CLOSED, INVALID_PARAMETER, INVALID_TOKEN, Fault, refuse
from perdure.local.machine.history import Record, name_of_end, name_of_update
from perdure.local.machine.validation import check_batch, label, text_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from perdure.local.machine.limits import Limits
    from perdure.local.machine.transitions import Operation
    from perdure.local.machine.validation import Update

_IDEMPOTENCY = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class StartedInvoke:
    """A chained invoke that waits for somebody to run its function."""

    operation_id: str
    function_name: str
    payload: str | None
    tenant_id: str | None
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class _Answer:
    """The last checkpoint that was taken, for a caller that did not hear of it."""

    client_token: str
    token: str
    response: dict[str, Any]
    until: datetime


class Journal:
    """The operations of one execution, its checkpoint token and its timers."""

    def __init__(self, execution_id: str, root: Operation, limits: Limits, *, callback_prefix: str) -> None:
        self.execution_id = execution_id
        self.limits = limits
        self.operations: dict[str, Operation] = {execution_id: root}
        self.changed: dict[str, None] = {}
        self.news: dict[str, None] = {}  # what the service changed, and no response or event has told yet
        self.readied: set[str] = set()  # steps that became READY since the invocation began; not kept, as it is lost
        self.invokes: deque[StartedInvoke] = deque()
        self.on_change: Callable[[Operation], None] | None = None
        self.response_page: int | None = None
        self.written_bytes = 0
        self.token = ""
        self._sequence = 0
        self._callback_prefix = callback_prefix
        self.notes: dict[str, dict[str, Any]] = {}
        """What the journal knows of open callbacks and chained invokes besides the operation; plain JSON."""
        self.log: list[Record] = []
        self.event_count = 0
        self.latest: datetime = root["StartTimestamp"]
        """The moment of the last record; what is dated later on must not be older."""
        self.unsaved: dict[str, None] = {execution_id: None}
        self._timers: list[tuple[datetime, int, str, str]] = []
        self._timer_count = 0
        self._answer: _Answer | None = None
        self._tail: tuple[str, list[Operation]] = ("", [])

    # -- tokens ----------------------------------------------------------------------------------------------------

    def new_epoch(self) -> None:
        """Start a new line of tokens: those of earlier invocations no longer serve."""
        self.changed.clear()
        self.news.clear()
        self.readied.clear()
        self._next_token()

    def knows_token(self, token: str) -> bool:
        """Tell whether a token was ever handed out by this execution."""
        try:
            number = int(base64.b64decode(token, validate=True).rpartition(b".")[2])
        except ValueError:
            return False
        return 1 <= number <= self._sequence and token == self._numbered_token(number)

    def dump(self) -> dict[str, Any]:
        """Return the tokens and what is still to be told, as plain JSON; `restore` takes it back."""
        answer = self._answer
        told: list[Any] | None = None
        if answer is not None:
            ids = [operation["Id"] for operation in answer.response["NewExecutionState"]["Operations"]]
            next_token = answer.response.get("CheckpointToken")
            told = [answer.client_token, answer.token, next_token, ids, to_millis(answer.until)]
        return {
            "sequence": self._sequence,
            "token": self.token,
            "changed": list(self.changed),
            "news": list(self.news),
            "answer": told,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `dump` left off, and set the timers; the operations must be there already."""
        self._sequence, self.token = state["sequence"], state["token"]
        self.changed, self.news = dict.fromkeys(state["changed"]), dict.fromkeys(state["news"])
        if state["answer"] is not None:
            client_token, token, next_token, ids, until = state["answer"]
            response: dict[str, Any] = {"NewExecutionState": {"Operations": [self.operations[key] for key in ids]}}
            if next_token is not None:
                response["CheckpointToken"] = next_token
            self._answer = _Answer(client_token, token, response, from_millis(until))
        self.rearm()

    def _next_token(self) -> None:
        self._sequence += 1
        self.token = self._numbered_token(self._sequence)

    def _numbered_token(self, number: int) -> str:
        return base64.b64encode(f"{self.execution_id}.{number}".encode()).decode()

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def replayed_answer(self, token: str, client_token: str | None, now: datetime) -> dict[str, Any] | None:
        """Return the response a repeated call is owed, None for a call not seen before."""
        answer = self._answer
        if answer is None or client_token is None or answer.client_token != client_token or answer.token != token:
            return None
        return answer.response if now <= answer.until else None

    def take(
        self,
        token: str,
        updates: Sequence[Update],
        client_token: str | None,
        now: datetime,
        preflight: Callable[[str], dict[str, Any] | None],
        *,
        revoke: bool = False,
    ) -> tuple[dict[str, Any], Update | None]:
        """Apply a batch, all of it or nothing; return the response and the EXECUTION update the batch ended with.

        With `revoke` the invocation gets no further token: this was its last checkpoint.
        """
        if token != self.token:
            refuse(INVALID_TOKEN)
        closing = self._apply(updates, now, preflight) if updates else None
        if revoke:
            self._next_token()
        if closing is None and not revoke:
            self._next_token()
            response: dict[str, Any] = {"CheckpointToken": self.token, "NewExecutionState": self._news_page()}
        else:
            response = {"NewExecutionState": self._news_page()}
        if client_token is not None:
            self._answer = _Answer(client_token, token, response, now + _IDEMPOTENCY)
        return response, closing

    def _apply(
        self, updates: Sequence[Update], now: datetime, preflight: Callable[[str], dict[str, Any] | None]
    ) -> Update | None:
        weight = check_batch(updates, self.limits)
        overlay: dict[str, Operation] = {}
        closing: Update | None = None
        for update in updates:
            if update["Type"] == "EXECUTION":
                self._check_parent(overlay, update, update.get("ParentId"))
                closing = update
                continue
            overlay[update["Id"]] = self._transition(overlay, update, now, preflight)
        if (limit := self.limits.operations) is not None:
            count = len(self.operations) - 1 + sum(1 for key in overlay if key not in self.operations)
            if count > limit:
                refuse(f"An execution has at most {limit} operations; {label(updates[-1])} is one too many.")
        if (limit := self.limits.written_bytes) is not None and self.written_bytes + weight > limit:
            refuse(f"An execution writes at most {limit} bytes; {label(updates[-1])} goes beyond.")
        self.written_bytes += weight
        for update in updates:
            if update["Type"] != "EXECUTION":
                self._after(update, overlay[update["Id"]], now)
        for operation in overlay.values():
            self._commit(operation)
        return closing

    def record(self, kind: str, moment: datetime, operation: Operation | None, extra: dict[str, Any]) -> None:
        """Add to the history."""
        self.event_count += 1
        self.latest = max(self.latest, moment)
        self.log.append(Record(self.event_count, kind, moment, operation, extra))

    def _transition(
        self,
        overlay: dict[str, Operation],
        update: Update,
        now: datetime,
        preflight: Callable[[str], dict[str, Any] | None],
    ) -> Operation:
        key, kind, strict = update["Id"], update["Type"], self.limits.strict
        recorded = overlay.get(key) or self.operations.get(key)
        parent = update.get("ParentId")
        if parent is None and recorded is not None:
            parent = recorded.get("ParentId")
        self._check_parent(overlay, update, parent)
        if recorded is not None:
            transitions.check_same(recorded, update)
        if kind == "STEP":
            return transitions.step(recorded, update, now, strict=strict)
        if kind == "CONTEXT":
            return transitions.context(recorded, update, now, strict=strict)
        if kind == "WAIT":
            return transitions.wait(recorded, update, now)
        if kind == "CALLBACK":
            return transitions.callback(recorded, update, now, self._callback_id(key))
        return transitions.chained_invoke(recorded, update, now, preflight)

    def _check_parent(self, overlay: dict[str, Operation], update: Update, parent: str | None) -> None:
        """Refuse a parent that is no context. One that has finished is taken: what comes too late is only recorded.

        The official SDK sends the START of a branch's next operation when the batch has ended meanwhile.
        """
        if parent is None:
            return
        context = overlay.get(parent) or self.operations.get(parent)
        if context is None or context["Type"] != "CONTEXT":
            refuse(f"Invalid parent operation id: {label(update)} names {parent}, which is not a context.")

    def _after(self, update: Update, operation: Operation, now: datetime) -> None:
        """Write the history, set the timers an update asks for, and note the functions to call."""
        key, kind, status, starts = operation["Id"], operation["Type"], operation["Status"], update["Action"] == "START"
        extra: dict[str, Any] = {}
        if kind == "STEP":
            if update["Action"] == "RETRY":
                extra["delay"] = update["StepOptions"]["NextAttemptDelaySeconds"]
                if status == "PENDING":
                    self._timer(operation["StepDetails"]["NextAttemptTimestamp"], key, "retry")
            if status == "READY":
                self.readied.add(key)
            else:
                self.readied.discard(key)
        elif kind == "WAIT" and status == "STARTED":
            self._timer(operation["WaitDetails"]["ScheduledEndTimestamp"], key, "wait")
        elif kind == "CALLBACK":
            options = update.get("CallbackOptions") or {}
            extra["timeout"], extra["heartbeat"] = options.get("TimeoutSeconds"), options.get("HeartbeatTimeoutSeconds")
            self.notes[key] = extra
            self._watch_callback(key, operation)
        elif kind == "CHAINED_INVOKE":
            extra = self._note_invoke(key, update, status)
        self.record(name_of_update(update), now, operation, extra)
        if starts and (ended := name_of_end(operation)) is not None and kind in ("WAIT", "CHAINED_INVOKE"):
            self.record(ended, now, operation, {})

    def _note_invoke(self, key: str, update: Update, status: str) -> dict[str, Any]:
        options = update["ChainedInvokeOptions"]
        function, payload, tenant = options["FunctionName"], update.get("Payload"), options.get("TenantId")
        trace = options.get("XAmznTraceId")
        note = {"function": function, "payload": payload, "tenant": tenant, "trace": trace}
        if status == "STARTED":
            self.notes[key] = note
            self.invokes.append(StartedInvoke(key, function, payload, tenant, trace))
        return note

    def _commit(self, operation: Operation, *, service: bool = False, now: datetime | None = None) -> None:
        key = operation["Id"]
        self.operations[key] = operation
        self.changed[key] = None
        self.unsaved[key] = None
        if service:
            self.news[key] = None
            ended = name_of_end(operation)
            if ended is not None and now is not None:
                self.notes.pop(key, None)
                self.record(ended, now, operation, {})
        if self.on_change is not None:
            self.on_change(operation)

    # -- reading ---------------------------------------------------------------------------------------------------

    def _news_page(self) -> dict[str, Any]:
        operations = self.operations
        fresh = [operations[key] for key in self.changed]
        self.changed.clear()
        self.news.clear()
        limit = self.response_page
        if limit is None or len(fresh) <= limit:
            return {"Operations": fresh}
        marker = f"news-{self._sequence}"
        self._tail = (marker, fresh)
        return {"Operations": fresh[:limit], "NextMarker": f"{marker}-{limit}"}

    def page(self, marker: str | None, size: int) -> tuple[list[Operation], str]:
        """Return `size` operations of the state and the marker of the next page, "" after the last."""
        if marker and marker.startswith("news-"):
            return self._news_tail(marker, size)
        keys = list(self.operations)
        try:
            start = int(marker) if marker else 0
        except ValueError:
            start = -1
        if not 0 <= start <= len(keys):
            refuse(f"Invalid marker: {marker}.")
        visible = visible_ids(self.operations.values())
        page: list[Operation] = []
        for index in range(start, len(keys)):
            if keys[index] in visible:
                if len(page) >= size:
                    return page, str(index)
                page.append(self.operations[keys[index]])
        return page, ""

    def _news_tail(self, marker: str, size: int) -> tuple[list[Operation], str]:
        prefix, _, offset = marker.rpartition("-")
        known, operations = self._tail
        if prefix != known or not offset.isdigit():
            refuse(f"Invalid marker: {marker}.")
        start = int(offset)
        end = start + min(size, self.response_page or size)
        return operations[start:end], f"{prefix}-{end}" if end < len(operations) else ""

    # -- time ------------------------------------------------------------------------------------------------------

    def next_due(self) -> tuple[datetime, str] | None:
        """Return the next moment something happens by itself, and what: wait, retry, timeout or heartbeat."""
        while self._timers:
            due, _, key, what = self._timers[0]
            if self._is_live(due, key, what):
                return due, what
            heappop(self._timers)
        return None

    def fire_timers(self, now: datetime, before: datetime | None) -> bool:
        """Let everything happen that was due by now, and before a certain moment; tell whether anything did.

        It is dated when it was due, however late somebody looks.
        """
        fired = False
        while self._timers and self._timers[0][0] <= now and (before is None or self._timers[0][0] < before):
            due, _, key, what = heappop(self._timers)
            if self._is_live(due, key, what):
                fired = True
                self._fire(self.operations[key], what, self.dated(due))
        return fired

    def dated(self, due: datetime) -> datetime:
        """Return the date of what was due at a moment: that moment, but the history never goes back."""
        return max(due, self.latest)

    def _fire(self, operation: Operation, what: str, moment: datetime) -> None:
        if what == "wait":
            self._commit(transitions.finish(operation, "SUCCEEDED", moment), service=True, now=moment)
        elif what == "retry":
            details = {k: v for k, v in operation["StepDetails"].items() if k != "NextAttemptTimestamp"}
            self.readied.add(operation["Id"])
            self._commit({**operation, "Status": "READY", "StepDetails": details}, service=True)
        else:
            error = {"ErrorMessage": "Callback timed out", "ErrorType": "Callback.Timeout"}
            if what == "heartbeat":
                error = {"ErrorMessage": "Callback timed out on heartbeat", "ErrorType": "Callback.Heartbeat"}
            self._commit(transitions.finish(operation, "TIMED_OUT", moment, Error=error), service=True, now=moment)

    def _timer(self, due: datetime, key: str, what: str) -> None:
        self._timer_count += 1
        heappush(self._timers, (due, self._timer_count, key, what))

    def _is_live(self, due: datetime, key: str, what: str) -> bool:
        operation = self.operations[key]
        if what == "retry":
            return operation["Status"] == "PENDING" and bool(operation["StepDetails"]["NextAttemptTimestamp"] == due)
        if operation["Status"] != "STARTED":
            return False
        return what != "heartbeat" or bool(self.notes[key]["beat"] == to_millis(due))

    def rearm(self) -> None:
        """Set every timer and queue every call anew, after the journal was read from a store."""
        self._timers.clear()
        if self.operations[self.execution_id]["Status"] in ENDED:
            return
        for key, operation in self.operations.items():
            kind, status = operation["Type"], operation["Status"]
            if kind == "STEP" and status == "PENDING":
                self._timer(operation["StepDetails"]["NextAttemptTimestamp"], key, "retry")
            elif kind == "WAIT" and status == "STARTED":
                self._timer(operation["WaitDetails"]["ScheduledEndTimestamp"], key, "wait")
            elif kind == "CALLBACK" and status == "STARTED":
                self._watch_callback(key, operation)
            elif kind == "CHAINED_INVOKE" and status == "STARTED" and not self.notes[key].get("child"):
                note = self.notes[key]  # nobody can tell how far it came: it is called again, as Lambda would
                called = note["function"], note["payload"], note["tenant"], note.get("trace")
                self.invokes.append(StartedInvoke(key, *called))

    def _watch_callback(self, key: str, operation: Operation) -> None:
        note, start = self.notes[key], operation["StartTimestamp"]
        if seconds := note["timeout"]:
            self._timer(start + timedelta(seconds=seconds), key, "timeout")
        if seconds := note["heartbeat"]:
            beat = note.setdefault("beat", to_millis(start + timedelta(seconds=seconds)))
            self._timer(from_millis(beat), key, "heartbeat")

    # -- the outside -----------------------------------------------------------------------------------------------

    def _callback_id(self, operation_id: str) -> str:
        return base64.b64encode(f"{self._callback_prefix}|{operation_id}".encode()).decode()

    def open_callback(self, operation_id: str) -> Operation:
        """Return a callback that still waits for its answer, or refuse."""
        operation = self.operations[operation_id]
        if operation["Status"] != "STARTED":
            raise Fault(
                CALLBACK_CLOSED, f"The callback has already been closed ({operation['Status']}): {label(operation)}."
            )
        return operation

    def answer_callback(
        self, operation_id: str, now: datetime, *, result: str | None = None, error: dict[str, Any] | None = None
    ) -> None:
        """Complete a callback: with an error it FAILED, else it SUCCEEDED."""
        operation = self.open_callback(operation_id)
        most = self.limits.payload_bytes
        if result is not None and most is not None and text_bytes(result) > most:
            raise Fault(INVALID_PARAMETER, f"Result must not exceed {most} bytes: {label(operation)}.")
        status = "SUCCEEDED" if error is None else "FAILED"
        self._commit(transitions.finish(operation, status, now, Result=result, Error=error), service=True, now=now)

    def beat_callback(self, operation_id: str, now: datetime) -> None:
        """Take a heartbeat: the heartbeat timeout starts again, the callback's own timeout does not."""
        self.open_callback(operation_id)
        note = self.notes[operation_id]
        if seconds := note["heartbeat"]:
            due = now + timedelta(seconds=seconds)
            note["beat"] = to_millis(due)
            self.unsaved[operation_id] = None
            self._timer(due, operation_id, "heartbeat")

    def complete_invoke(
        self, operation_id: str, now: datetime, status: str, *, result: str | None, error: dict[str, Any] | None
    ) -> None:
        """Complete a chained invoke; one that has already ended stays as it is, and a result too large is a failure."""
        operation, most = self.operations[operation_id], self.limits.async_result_bytes
        if result is not None and most is not None and text_bytes(result) > most:
            message = f"Response payload size exceeded maximum allowed payload size ({most} bytes)."
            status, result = "FAILED", None
            error = {"ErrorMessage": message, "ErrorType": "Function.ResponseSizeTooLarge"}
        if operation["Status"] == "STARTED":
            self._commit(transitions.finish(operation, status, now, Result=result, Error=error), service=True, now=now)

    def has_pending(self) -> bool:
        """Tell whether any operation waits for time or for the outside."""
        return any(transitions.is_pending(operation) for operation in self.operations.values())
