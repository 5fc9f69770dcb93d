"""Who runs the handlers.

One loop invokes what is due, lets time pass when nothing is, and stops when only the outside can help.
Handlers run in the thread that drives, one at a time; a second thread that drives the same service takes what the
first has not claimed. While `Workers` run, they do the work and a driver only waits.

A function whose time is up is given up by the workers: its invocation has failed, whatever the thread still does, and
what that thread asks of the service is refused. A thread that drives cannot be given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any

from perdure._log import Log
from perdure.engine.time_left import steady
from perdure.local.beside import callable_here
from perdure.local.calls import Call, lambda_context
from perdure.local.event_forms import error_object
from perdure.local.events import LocalEvent
from perdure.local.handle import Invocation
from perdure.local.machine.clock import to_seconds
from perdure.local.machine.errors import Fault
from perdure.local.machine.validation import function_base_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from perdure.local.calls import Outcome
    from perdure.local.client import LocalClient
    from perdure.local.executions import Executions
    from perdure.local.handle import ExecutionHandle
    from perdure.local.shared import Shared, Target

_LOG = Log("perdure.local")
_CUT = {"ErrorMessage": "The invocation was cut off.", "ErrorType": "Runtime.ExitError"}
_PAUSE_AFTER_TROUBLE = 1.0
_GLANCE = 1.0
_TIMED_OUT = "Sandbox.Timedout"
_OF_THE_OUTSIDE = frozenset({"timeout", "heartbeat", "deadline"})


@dataclass(slots=True, eq=False)
class Turn:
    """A job that somebody runs: from when it is taken on until its function has returned, or is given up."""

    job: ExecutionHandle | Call
    invocation: Invocation | None = None
    seconds: float = 0.0
    """How long the function may run."""
    deadline: float = inf
    """When it is given up, by the monotonic clock."""
    thread: int = 0
    is_called_off: bool = False
    """Whether it is not to begin, if it has not yet: who took it on is to end."""


class Driver:
    """The loop of a shared. Everything is called with the service's lock held, unless it says otherwise."""

    def __init__(
        self, shared: Shared, executions: Executions, client_of: Callable[[Invocation | None], LocalClient]
    ) -> None:
        self._shared = shared
        self._executions = executions
        self._client_of = client_of
        self._asked: set[str] = set()
        self._turns: set[Turn] = set()
        self._given_up: set[Turn] = set()
        self.is_served = False
        """Whether workers run what is due, and who drives only waits."""

    @property
    def busy(self) -> int:
        """How many jobs run now."""
        return len(self._turns)

    @property
    def idle(self) -> bool:
        """Whether nothing runs, not even what was given up."""
        return not self._turns and not self._given_up

    def drive(self, target: Target, *, stop_at_callback: bool, wait: float) -> None:
        """Run until `target` has ended or only the outside can move it; takes the lock itself."""
        shared = self._shared
        patience = steady() + wait
        with shared.wake:
            while not target.terminal:
                if not self.is_served and self._step():
                    continue
                if self._busy_elsewhere or (self.is_served and self._moving()):
                    shared.wake.wait(_GLANCE)  # not for ever: a target may have had enough
                    continue
                if self._ask():
                    continue
                if not self.is_served:
                    moment = self._next_moment(stop_at_callback=stop_at_callback)
                    if moment is not None:
                        self.pass_time(moment)
                        continue
                remaining = patience - steady()
                if remaining <= 0:
                    return
                shared.wake.wait(remaining)
            self._executions.commit()  # what is told of the end is safe

    @property
    def _busy_elsewhere(self) -> bool:
        """Whether another thread runs a job; this one may, if what it runs has called the service again."""
        return any(turn.thread != get_ident() for turn in self._turns)

    def fire(self) -> None:
        """Let everything happen whose moment has come."""
        self._executions.catch_up(self._shared.clock.now())

    def next_job(self) -> ExecutionHandle | Call | None:
        """Return the next thing to run, struck off the list."""
        shared = self._shared
        if shared.tasks:
            return shared.tasks.popleft()
        while (execution := self._executions.schedule.take_ready()) is not None:
            try:
                shared.functions.at(function_base_name(execution.function_arn), execution.version)
            except Fault as fault:
                _LOG.warning("%s waits. %s", execution.arn, fault.message)  # register() and publish() take it up
            else:
                return self._executions.handle_of(execution)
        return None

    def take_on(self, job: ExecutionHandle | Call) -> Turn:
        """Count a job as one that runs, from now until `run` has run it."""
        turn = Turn(job)
        self._turns.add(turn)
        return turn

    def drop(self, turn: Turn) -> None:
        """Take a job back that nobody can run now."""
        self._turns.discard(turn)

    def run(self, turn: Turn) -> None:
        """Run one thing; the lock is let go while the function runs."""
        job, turn.thread = turn.job, get_ident()
        try:
            if isinstance(job, Call):
                self._call(job, turn)
            elif job.machine.runnable:  # on the way here it may have been stopped or paused, or taken up a second time
                self._invoke(job, turn)
        finally:
            self._turns.discard(turn)
            self._given_up.discard(turn)
            self._shared.wake.notify_all()

    def call_off(self) -> None:
        """Let nothing begin that was taken on and has not begun yet; somebody else will run it."""
        for turn in self._turns:
            turn.is_called_off = True

    def next_deadline(self) -> float:
        """Return when the next function is to be given up, by the monotonic clock."""
        return min((turn.deadline for turn in self._turns), default=inf)

    def give_up_late(self) -> None:
        """Give up the functions whose time is up."""
        now = steady()
        for turn in list(self._turns):
            if turn not in self._turns or turn.deadline > now:  # the lock is let go while others are settled
                continue
            self._turns.discard(turn)
            self._given_up.add(turn)
            error = {"ErrorMessage": f"Task timed out after {turn.seconds:.2f} seconds", "ErrorType": _TIMED_OUT}
            if isinstance(turn.job, Call):
                self._settle_call(turn.job, "FAILED", None, error)
            elif turn.invocation is not None:
                self._settle(turn.job, turn.invocation, error)
            self._shared.wake.notify_all()

    def is_for_the_outside(self, what: str) -> bool:
        """Tell whether a moment, of which `what` is the kind, ends the time that somebody has who is waited for.

        Somebody answers a callback, resumes an execution, or serves the function that it waits for.
        """
        return what in _OF_THE_OUTSIDE and any(
            execution.runnable
            or execution.pause is not None
            or execution.invokes
            or self._executions.handle_of(execution).open_callbacks
            for execution in self._shared.store.running()
        )

    def pass_time(self, moment: datetime) -> None:
        """Let `moment` come, or return early when something happens; everything is safe by then."""
        shared = self._shared
        seconds = to_seconds(moment) - shared.clock.time()
        if seconds > 0:
            for observer in shared.observers:
                observer.waiting(seconds, skipped=shared.clock.virtual)
        shared.clock.sleep_until(moment, shared.wake)

    def _step(self) -> bool:
        """Do one thing that is due; tell whether to look again before resting."""
        self.fire()
        job = self.next_job()
        if job is None:
            return self._executions.commit()  # while it was written, something may have come
        self.run(self.take_on(job))
        return True

    def _moving(self) -> bool:
        """Tell whether anything will move without help from outside."""
        shared = self._shared
        return (
            self._executions.schedule.has_ready
            or bool(shared.tasks)
            or self._executions.schedule.next_move() is not None
        )

    def _ask(self) -> bool:
        """Offer open callbacks to whoever answers them; tell whether one was offered."""
        shared = self._shared
        if shared.on_callback is None:
            return False
        for execution in shared.store.running():
            for operation in self._executions.handle_of(execution).open_callbacks:
                callback_id = operation["CallbackDetails"]["CallbackId"]
                if callback_id not in self._asked:
                    self._asked.add(callback_id)
                    shared.on_callback(operation, self._client_of(None))
                    return True
        return False

    def _next_moment(self, *, stop_at_callback: bool) -> datetime | None:
        moment = self._executions.schedule.next_move()
        if moment is None or (stop_at_callback and moment[1] in _OF_THE_OUTSIDE):
            return None
        return moment[0]

    # -- calling functions, with the lock let go -------------------------------------------------------------------

    def _invoke(self, handle: ExecutionHandle, turn: Turn) -> None:
        shared, execution = self._shared, handle.machine
        now = shared.clock.now()
        function = shared.functions.at(function_base_name(execution.function_arn), execution.version)
        origin = execution.origin
        context = lambda_context(function, execution.function_arn, origin.tenant_id, origin.trace_id)
        updated = execution.begin_invocation(now, context.aws_request_id)
        invocation = turn.invocation = Invocation(execution.invocations, now)
        handle.invocations.append(invocation)
        hooks = None if shared.hooks is None else shared.hooks(handle)
        event = LocalEvent(self._event(handle, updated), self._client_of(invocation), shared.clock, hooks)
        invocation.failures = event.failures
        for observer in shared.observers:
            observer.invocation(handle, invocation)
        self._executions.touch(execution)
        try:
            self._executions.commit()
        except BaseException:  # the store is in trouble, not the handler
            handle.invocations.pop()
            execution.postpone(shared.clock.now(), _PAUSE_AFTER_TROUBLE, updated)
            self._executions.touch(execution)
            raise
        if turn.is_called_off:
            handle.invocations.pop()
            execution.postpone(shared.clock.now(), 0.0, updated)
            self._executions.touch(execution)
            self._executions.commit()
            return
        output: Any = None
        exception: BaseException | None = None
        try:
            output = self._outside(turn, context.timeout_seconds, callable_here(function.handler), event, context)
        except KeyboardInterrupt as error:
            exception = error
            raise
        except BaseException as error:  # noqa: BLE001 - whatever kills an invocation, SystemExit included
            exception = error
        finally:
            if turn not in self._given_up:
                invocation.output, invocation.exception = output, exception
                self._settle(handle, invocation)

    def _settle(self, handle: ExecutionHandle, invocation: Invocation, timed_out: dict[str, Any] | None = None) -> None:
        shared, execution = self._shared, handle.machine
        now = shared.clock.now()
        invocation.ended_at = now
        error = timed_out
        if timed_out is not None:
            invocation.timed_out = invocation.cut = True  # its thread may come back, and is told that it is over
        elif invocation.cut:
            error = _CUT
        elif invocation.exception is not None:
            error = error_object(invocation.exception)
        if error is not None:
            execution.fail_invocation(error, now)
        else:
            running = not execution.terminal
            execution.end_invocation(invocation.output, now)
            error = execution.error if running and execution.status == "FAILED" else None
        if error is not None and shared.failure_log is not None:
            shared.failure_log.invocation(handle, invocation, error)
        for observer in shared.observers:
            observer.invocation(handle, invocation)
        self._executions.absorb(handle)
        self._executions.commit()

    def _call(self, call: Call, turn: Turn) -> None:
        """Run a plain function."""
        shared = self._shared
        function = call.function
        arn = shared.function_arn(function.name, function.version)
        context = lambda_context(function, arn, call.tenant_id, call.trace_id)
        try:
            self._executions.commit()
        except BaseException:  # the store is in trouble, not the function
            shared.tasks.append(call)
            raise
        outcome: Outcome = "FAILED", None, dict(_CUT)
        try:
            outcome = self._outside(turn, context.timeout_seconds, call.run, shared.handler_of(call), context)
        finally:
            if turn not in self._given_up:
                self._settle_call(call, *outcome)
        self._executions.commit()

    def _settle_call(self, call: Call, status: str, result: str | None, error: dict[str, Any] | None) -> None:
        call.settle(status, result, error)
        if error is not None and self._shared.failure_log is not None:
            self._shared.failure_log.call(call, error)

    def _outside(self, turn: Turn, seconds: float, call: Any, *arguments: Any) -> Any:
        """Call something with the lock let go; what led to it must be kept."""
        shared = self._shared
        turn.seconds, turn.deadline = seconds, steady() + seconds
        shared.wake.notify_all()
        shared.wake.release()
        try:
            return call(*arguments)
        finally:
            shared.wake.acquire()
            turn.deadline = inf

    def _event(self, handle: ExecutionHandle, updated: list[str]) -> dict[str, Any]:
        shared, execution = self._shared, handle.machine
        everything = len(execution.operations)
        count = everything if shared.inline_operations is None else shared.inline_operations
        operations, marker = execution.page(None, count)
        forms = handle.forms.of(operations, shared.limits.event_bytes)
        if len(forms) < len(operations):
            _, marker = execution.page(None, len(forms))
        return {
            "DurableExecutionArn": execution.arn,
            "CheckpointToken": execution.token,
            "InitialExecutionState": {"Operations": forms, "NextMarker": marker},
            "UpdatedOperationIds": updated,
        }
