"""Who runs the handlers.

One loop invokes what is due, lets time pass when nothing is, and stops when only the outside can help.
Handlers run in the thread that drives, one at a time; a second thread that drives the same service takes what the
first has not claimed. While `Workers` run, they do the work and a driver only waits.

A function whose time is up is given up by the workers: its invocation has failed, whatever the thread still does, and
what that thread asks of the service is refused. A thread that drives cannot be given up.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from perdure._log import Log
from perdure.local.calls import Call, lambda_context
from perdure.local.client import LocalClient
from perdure.local.events import LocalEvent, error_object
from perdure.local.handle import Invocation
from perdure.local.machine.clock import to_seconds
from perdure.local.machine.errors import Fault
from perdure.local.machine.validation import function_base_name

if TYPE_CHECKING:
    from datetime import datetime

    from perdure.local.calls import Outcome
    from perdure.local.handle import ExecutionHandle
    from perdure.local.service import LocalService

_LOG = Log("perdure.local")
_CUT = {"ErrorMessage": "The invocation was cut off.", "ErrorType": "Runtime.ExitError"}
_PAUSE_AFTER_TROUBLE = 1.0
_GLANCE = 1.0
_TIMED_OUT = "Sandbox.Timedout"
_OF_THE_OUTSIDE = frozenset({"timeout", "heartbeat", "deadline"})


class Target(Protocol):
    """What one drives: an execution, or a call of a plain function."""

    @property
    def terminal(self) -> bool:
        """Whether it has ended."""
        ...


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


class Driver:
    """The loop of a service. Everything is called with the service's lock held, unless it says otherwise."""

    def __init__(self, service: LocalService) -> None:
        self._service = service
        self._asked: set[str] = set()
        self._turns: set[Turn] = set()
        self._given_up: set[Turn] = set()
        self.stopping = False
        """Whether nothing more is to begin."""

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
        service = self._service
        patience = time.monotonic() + wait
        with service.wake:
            while not target.terminal:
                if service.workers is None and self._step():
                    continue
                if self._busy_elsewhere or (service.workers is not None and self._moving()):
                    service.wake.wait(_GLANCE)  # not for ever: a target may have had enough
                    continue
                if self._ask():
                    continue
                if service.workers is None:
                    moment = self._next_moment(stop_at_callback=stop_at_callback)
                    if moment is not None:
                        self.pass_time(moment)
                        continue
                remaining = patience - time.monotonic()
                if remaining <= 0:
                    return
                service.wake.wait(remaining)
            service.executions.commit()  # what is told of the end is safe

    @property
    def _busy_elsewhere(self) -> bool:
        """Whether another thread runs a job; this one may, if what it runs has called the service again."""
        return any(turn.thread != get_ident() for turn in self._turns)

    def fire(self) -> None:
        """Let everything happen whose moment has come."""
        self._service.executions.catch_up(self._service.clock.now())

    def next_job(self) -> ExecutionHandle | Call | None:
        """Return the next thing to run, struck off the list."""
        service = self._service
        if service.tasks:
            return service.tasks.popleft()
        while (execution := service.executions.schedule.take_ready()) is not None:
            try:
                service.functions.at(function_base_name(execution.function_arn), execution.version)
            except Fault as fault:
                _LOG.warning("%s waits. %s", execution.arn, fault.message)  # register() and publish() take it up
            else:
                return service.executions.handle_of(execution)
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
            self._service.wake.notify_all()

    def next_deadline(self) -> float:
        """Return when the next function is to be given up, by the monotonic clock."""
        return min((turn.deadline for turn in self._turns), default=inf)

    def give_up_late(self) -> None:
        """Give up the functions whose time is up."""
        now = time.monotonic()
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
            self._service.wake.notify_all()

    def pass_time(self, moment: datetime) -> None:
        """Let `moment` come, or return early when something happens; everything is safe by then."""
        service = self._service
        seconds = to_seconds(moment) - service.clock.time()
        if seconds > 0:
            for observer in service.observers:
                observer.waiting(seconds, skipped=service.clock.virtual)
        service.clock.sleep_until(moment, service.wake)

    def _step(self) -> bool:
        """Do one thing that is due; tell whether to look again before resting."""
        self.fire()
        job = self.next_job()
        if job is None:
            return self._service.executions.commit()  # while it was written, something may have come
        self.run(self.take_on(job))
        return True

    def _moving(self) -> bool:
        """Tell whether anything will move without help from outside."""
        service = self._service
        return (
            service.executions.schedule.has_ready
            or bool(service.tasks)
            or service.executions.schedule.next_move() is not None
        )

    def _ask(self) -> bool:
        """Offer open callbacks to whoever answers them; tell whether one was offered."""
        service = self._service
        if service.on_callback is None:
            return False
        for execution in service.store.running():
            for operation in service.executions.handle_of(execution).open_callbacks:
                callback_id = operation["CallbackDetails"]["CallbackId"]
                if callback_id not in self._asked:
                    self._asked.add(callback_id)
                    service.on_callback(operation, service.client)
                    return True
        return False

    def _next_moment(self, *, stop_at_callback: bool) -> datetime | None:
        moment = self._service.executions.schedule.next_move()
        if moment is None or (stop_at_callback and moment[1] in _OF_THE_OUTSIDE):
            return None
        return moment[0]

    # -- calling functions, with the lock let go -------------------------------------------------------------------

    def _invoke(self, handle: ExecutionHandle, turn: Turn) -> None:
        service, execution = self._service, handle.machine
        now = service.clock.now()
        function = service.functions.at(function_base_name(execution.function_arn), execution.version)
        origin = execution.origin
        context = lambda_context(function, execution.function_arn, origin.tenant_id, origin.trace_id)
        updated = execution.begin_invocation(now, context.aws_request_id)
        invocation = turn.invocation = Invocation(execution.invocations, now)
        handle.invocations.append(invocation)
        hooks = None if service.branch_log is None else service.branch_log.hooks(handle)
        event = LocalEvent(self._event(handle, updated), LocalClient(service, invocation), service.clock, hooks)
        invocation.failures = event.failures
        for observer in service.observers:
            observer.invocation(handle, invocation)
        service.executions.touch(execution)
        try:
            service.executions.commit()
        except BaseException:  # the store is in trouble, not the handler
            handle.invocations.pop()
            execution.postpone(service.clock.now(), _PAUSE_AFTER_TROUBLE, updated)
            service.executions.touch(execution)
            raise
        if self.stopping:
            handle.invocations.pop()
            execution.postpone(service.clock.now(), 0.0, updated)
            service.executions.touch(execution)
            service.executions.commit()
            return
        output: Any = None
        exception: BaseException | None = None
        try:
            output = self._outside(turn, context.timeout_seconds, function.handler, event, context)
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
        service, execution = self._service, handle.machine
        now = service.clock.now()
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
        if error is not None and service.failure_log is not None:
            service.failure_log.invocation(handle, invocation, error)
        for observer in service.observers:
            observer.invocation(handle, invocation)
        service.executions.absorb(handle)
        service.executions.commit()

    def _call(self, call: Call, turn: Turn) -> None:
        """Run a plain function."""
        service = self._service
        function = call.function
        arn = service.function_arn(function.name, function.version)
        context = lambda_context(function, arn, call.tenant_id, call.trace_id)
        try:
            service.executions.commit()
        except BaseException:  # the store is in trouble, not the function
            service.tasks.append(call)
            raise
        outcome: Outcome = "FAILED", None, dict(_CUT)
        try:
            outcome = self._outside(turn, context.timeout_seconds, call.run, context)
        finally:
            if turn not in self._given_up:
                self._settle_call(call, *outcome)
        service.executions.commit()

    def _settle_call(self, call: Call, status: str, result: str | None, error: dict[str, Any] | None) -> None:
        call.settle(status, result, error)
        if error is not None and self._service.failure_log is not None:
            self._service.failure_log.call(call, error)

    def _outside(self, turn: Turn, seconds: float, call: Any, *arguments: Any) -> Any:
        """Call something with the lock let go; what led to it must be kept."""
        service = self._service
        turn.seconds, turn.deadline = seconds, time.monotonic() + seconds
        service.wake.notify_all()
        service.wake.release()
        try:
            return call(*arguments)
        finally:
            service.wake.acquire()
            turn.deadline = inf

    def _event(self, handle: ExecutionHandle, updated: list[str]) -> dict[str, Any]:
        service, execution = self._service, handle.machine
        everything = len(execution.operations)
        count = everything if service.inline_operations is None else service.inline_operations
        operations, marker = execution.page(None, count)
        forms = handle.forms.of(operations, service.limits.event_bytes)
        if len(forms) < len(operations):
            _, marker = execution.page(None, len(forms))
        return {
            "DurableExecutionArn": execution.arn,
            "CheckpointToken": execution.token,
            "InitialExecutionState": {"Operations": forms, "NextMarker": marker},
            "UpdatedOperationIds": updated,
        }
