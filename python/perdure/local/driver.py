"""Who runs the handlers.

One loop invokes what is due, lets time pass when nothing is, and stops when only the outside can help.
Handlers run in the thread that drives, one at a time; a second thread that drives the same service takes what the
first has not claimed. While `Workers` run, they do the work and a driver only waits.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from perdure.local.calls import Call, lambda_context
from perdure.local.client import LocalClient
from perdure.local.clock import to_seconds
from perdure.local.events import LocalEvent, error_object
from perdure.local.handle import Invocation
from perdure.local.validation import function_base_name

if TYPE_CHECKING:
    from datetime import datetime

    from perdure.local.handle import ExecutionHandle
    from perdure.local.service import LocalService

_LOG = logging.getLogger("perdure.local")
_CUT = {"ErrorMessage": "The invocation was cut off.", "ErrorType": "Runtime.ExitError"}
_OF_THE_OUTSIDE = frozenset({"timeout", "heartbeat", "deadline"})


class Target(Protocol):
    """What one drives: an execution, or a call of a plain function."""

    @property
    def terminal(self) -> bool:
        """Whether it has ended."""
        ...


class Driver:
    """The loop of a service. Everything is called with the service's lock held, unless it says otherwise."""

    def __init__(self, service: LocalService) -> None:
        self._service = service
        self._asked: set[str] = set()
        self.busy = 0
        """How many jobs run now; whoever calls `run_job` counts them."""

    def drive(self, target: Target, *, stop_at_callback: bool, wait: float) -> None:
        """Run until `target` has ended or only the outside can move it; takes the lock itself."""
        service = self._service
        patience = time.monotonic() + wait
        with service.wake:
            while not target.terminal:
                if service.workers is None and self._step():
                    continue
                if self.busy or (service.workers is not None and self._moving()):
                    service.wake.wait()
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

    def fire(self) -> None:
        """Let everything happen whose moment has come."""
        service = self._service
        now = service.clock.now()
        while (execution := service.executions.schedule.take_due(now)) is not None:
            execution.fire_due(now)
            service.executions.absorb(service.executions.handle_of(execution))
        service.executions.purge(now)

    def next_job(self) -> ExecutionHandle | Call | None:
        """Return the next thing to run, struck off the list."""
        service = self._service
        if service.tasks:
            return service.tasks.popleft()
        while (execution := service.executions.schedule.take_ready()) is not None:
            if function_base_name(execution.function_arn) in service.functions:
                return service.executions.handle_of(execution)
            _LOG.warning("%s waits: its function is not registered.", execution.arn)  # register() takes it up
        return None

    def run_job(self, job: ExecutionHandle | Call) -> None:
        """Run one thing; the lock is let go while the function runs."""
        if isinstance(job, Call):
            self._call(job)
        elif job.machine.runnable:  # on the way here it may have been stopped or paused, or taken up a second time
            self._invoke(job)

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
        self.busy += 1
        try:
            self.run_job(job)
        finally:
            self.busy -= 1
            self._service.wake.notify_all()
        return True

    def _moving(self) -> bool:
        """Tell whether anything will move without help from outside."""
        service = self._service
        return (
            service.executions.schedule.has_ready
            or bool(service.tasks)
            or service.executions.schedule.next_moment() is not None
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
        moment = self._service.executions.schedule.next_moment()
        if moment is None or (stop_at_callback and moment[1] in _OF_THE_OUTSIDE):
            return None
        return moment[0]

    # -- calling functions, with the lock let go -------------------------------------------------------------------

    def _invoke(self, handle: ExecutionHandle) -> None:
        service, execution = self._service, handle.machine
        now = service.clock.now()
        function = service.functions.at(function_base_name(execution.function_arn), execution.version)
        context = lambda_context(function, execution.function_arn, execution.origin.tenant_id)
        updated = execution.begin_invocation(now, context.aws_request_id)
        invocation = Invocation(execution.invocations, now)
        handle.invocations.append(invocation)
        event = LocalEvent(self._event(handle, updated), LocalClient(service, invocation), service.clock)
        invocation.failures = event.failures
        for observer in service.observers:
            observer.invocation(handle, invocation)
        service.executions.touch(execution)
        try:
            invocation.output = self._outside(function.handler, event, context)
        except KeyboardInterrupt as error:
            invocation.exception = error
            raise
        except BaseException as error:  # noqa: BLE001 - whatever kills an invocation, SystemExit included
            invocation.exception = error
        finally:
            self._settle(handle, invocation)

    def _settle(self, handle: ExecutionHandle, invocation: Invocation) -> None:
        service, execution = self._service, handle.machine
        now = service.clock.now()
        invocation.ended_at = now
        if invocation.cut:
            execution.fail_invocation(_CUT, now)
        elif invocation.exception is not None:
            execution.fail_invocation(error_object(invocation.exception), now)
        else:
            execution.end_invocation(invocation.output, now)
        for observer in service.observers:
            observer.invocation(handle, invocation)
        service.executions.absorb(handle)
        service.executions.commit()

    def _call(self, call: Call) -> None:
        """Run a plain function."""
        service = self._service
        function = call.function
        context = lambda_context(function, service.function_arn(function.name, function.version), call.tenant_id)
        outcome = self._outside(call.run, context)
        call.settle(*outcome)
        service.executions.commit()

    def _outside(self, call: Any, *arguments: Any) -> Any:
        """Call something with the lock let go, and everything kept that led to it."""
        service = self._service
        service.executions.commit()
        service.wake.release()
        try:
            return call(*arguments)
        finally:
            service.wake.acquire()

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
