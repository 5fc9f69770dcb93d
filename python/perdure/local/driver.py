"""Who runs the handlers.

One loop invokes what is due, lets time pass when nothing is, and stops when only the outside can help.
Handlers run in the thread that drives, one at a time; a second thread that drives the same service takes what the
first has not claimed.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from perdure.local.client import LocalClient
from perdure.local.clock import to_seconds
from perdure.local.events import LocalEvent, LocalLambdaContext, error_object, fitting, to_event_operation
from perdure.local.handle import Invocation
from perdure.local.validation import function_base_name

if TYPE_CHECKING:
    from datetime import datetime

    from perdure.local.handle import ExecutionHandle
    from perdure.local.journal import StartedInvoke
    from perdure.local.service import Function, LocalService

_CUT = {"ErrorMessage": "The invocation was cut off.", "ErrorType": "Runtime.ExitError"}
_OF_THE_OUTSIDE = frozenset({"timeout", "heartbeat", "deadline"})
_TIMEOUT_SECONDS = 900.0


class Driver:
    """The loop of a service."""

    def __init__(self, service: LocalService) -> None:
        self._service = service
        self._busy = 0
        self._asked: set[str] = set()

    def drive(self, target: ExecutionHandle, *, stop_at_callback: bool, wait: float) -> None:
        """Run until `target` has ended or only the outside can move it."""
        service = self._service
        patience = time.monotonic() + wait
        with service.wake:
            while not target.terminal:
                if self._step():
                    continue
                if self._busy:
                    service.wake.wait()
                    continue
                if self._ask():
                    continue
                moment = self._next_moment(stop_at_callback=stop_at_callback)
                if moment is not None:
                    self._pass_time(moment)
                    continue
                remaining = patience - time.monotonic()
                if remaining <= 0:
                    return
                service.wake.wait(remaining)

    def _step(self) -> bool:
        """Do one thing that is due; tell whether there was one."""
        service = self._service
        now = service.clock.now()
        for execution in service.store.running():
            if execution.fire_due(now):
                service.absorb(service.handles[execution.arn])
        if service.tasks:
            self._call(*service.tasks.popleft())
            return True
        for execution in service.store.running():
            if execution.runnable(now):
                self._invoke(service.handles[execution.arn])
                return True
        return False

    def _ask(self) -> bool:
        """Offer open callbacks to whoever answers them; tell whether one was offered."""
        service = self._service
        if service.on_callback is None:
            return False
        for execution in service.store.running():
            for operation in service.handles[execution.arn].open_callbacks:
                callback_id = operation["CallbackDetails"]["CallbackId"]
                if callback_id not in self._asked:
                    self._asked.add(callback_id)
                    service.on_callback(operation, service.client)
                    return True
        return False

    def _next_moment(self, *, stop_at_callback: bool) -> datetime | None:
        moments = [moment for execution in self._service.store.running() if (moment := execution.next_moment())]
        if not moments:
            return None
        earliest, what = min(moments)
        return None if stop_at_callback and what in _OF_THE_OUTSIDE else earliest

    def _pass_time(self, moment: datetime) -> None:
        service = self._service
        seconds = to_seconds(moment) - service.clock.time()
        if seconds > 0:
            for observer in service.observers:
                observer.waiting(seconds, skipped=service.clock.virtual)
        service.clock.sleep_until(moment, service.wake)

    # -- calling functions, with the lock let go -------------------------------------------------------------------

    def _invoke(self, handle: ExecutionHandle) -> None:
        service, execution = self._service, handle.machine
        updated = execution.begin_invocation()
        invocation = Invocation(execution.invocations, service.clock.now())
        handle.invocations.append(invocation)
        name = function_base_name(execution.function_arn)
        function = service.functions[name]
        event = LocalEvent(self._event(handle, updated), LocalClient(service, invocation), service.clock)
        invocation.failures = event.failures
        context = self._context(function, None)
        for observer in service.observers:
            observer.invocation(handle, invocation)
        try:
            invocation.output = self._outside(function, event, context)
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
        service.absorb(handle)

    def _call(self, handle: ExecutionHandle, invoke: StartedInvoke, function: Function) -> None:
        """Run a plain function for a chained invoke."""
        service = self._service
        status, result, error = "SUCCEEDED", None, None
        try:
            payload = json.loads(invoke.payload) if invoke.payload and invoke.payload.strip() else {}
            output = self._outside(function, payload, self._context(function, invoke.tenant_id))
            result = json.dumps(output)
        except Exception as problem:  # noqa: BLE001 - the caller gets it as the error of the invoke
            status, error = "FAILED", error_object(problem)
        handle.machine.complete_invoke(invoke.operation_id, service.clock.now(), status, result=result, error=error)
        service.absorb(handle)

    def _outside(self, function: Function, event: Any, context: LocalLambdaContext) -> Any:
        """Call a function with the lock let go."""
        handler, wake = function.handler, self._service.wake
        if handler is None:
            raise LookupError(f"The function {function.name!r} has no handler.")
        self._busy += 1
        wake.release()
        try:
            return handler(event, context)
        finally:
            wake.acquire()
            self._busy -= 1

    def _context(self, function: Function, tenant_id: str | None) -> LocalLambdaContext:
        arn = self._service.function_arn(function.name)
        return LocalLambdaContext(function.name, arn, tenant_id, function.timeout_seconds or _TIMEOUT_SECONDS)

    def _event(self, handle: ExecutionHandle, updated: list[str]) -> dict[str, Any]:
        service, execution = self._service, handle.machine
        everything = len(execution.operations)
        count = everything if service.inline_operations is None else service.inline_operations
        operations, marker = execution.page(None, count)
        if (limit := service.limits.event_bytes) is not None:
            fits = fitting(operations, limit)
            if fits < len(operations):
                operations, marker = execution.page(None, fits)
        return {
            "DurableExecutionArn": execution.arn,
            "CheckpointToken": execution.token,
            "InitialExecutionState": {
                "Operations": [to_event_operation(operation) for operation in operations],
                "NextMarker": marker,
            },
            "UpdatedOperationIds": updated,
        }
