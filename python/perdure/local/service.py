"""The embedded durable service: functions, executions, an API, and a driver that runs them.

Everything that decides is in `machine.py` and `journal.py`; here are the lock, the doors and the wiring.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass
from functools import cache
from threading import Condition, RLock
from typing import TYPE_CHECKING, Any, Protocol

from perdure.local.api import Api
from perdure.local.client import LocalClient
from perdure.local.clock import VirtualClock
from perdure.local.driver import Driver
from perdure.local.errors import (
    ALREADY_STARTED,
    INVALID_PARAMETER,
    INVALID_TOKEN,
    Fault,
    InvocationCut,
    client_error,
)
from perdure.local.handle import ExecutionHandle, Invocation
from perdure.local.limits import Limits
from perdure.local.machine import Execution
from perdure.local.store import MemoryStore
from perdure.local.validation import function_base_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local.clock import Clock
    from perdure.local.journal import StartedInvoke
    from perdure.local.store import Store
    from perdure.local.transitions import Operation

    Handler = Callable[[Any, Any], Any]
    ApiHook = Callable[[str, dict[str, Any], str], None]

__all__ = ["ExecutionHandle", "Function", "Invocation", "LocalService", "Observer", "current_service"]

_RESPONSE_METADATA = {"HTTPStatusCode": 200, "HTTPHeaders": {}, "RetryAttempts": 0}
_MISSING: Any = object()
_latest: list[LocalService] = []


def current_service() -> LocalService:
    """Return the local service that runs the calling code, or that ran last.

    A handler under `perdure run` answers its own callbacks through
    `current_service().client.send_durable_execution_callback_success(...)`, from any thread.
    """
    if not _latest:
        raise RuntimeError("No local service is running; this code runs outside `perdure run` and LocalService.run().")
    return _latest[-1]


@cache
def _operation_name(method: str) -> str:
    return "".join(part.capitalize() for part in method.split("_"))


class Observer(Protocol):
    """Who wants to see what happens while it happens. Called under the service's lock: look, do not call back."""

    def operation(self, handle: ExecutionHandle, operation: Operation) -> None:
        """See an operation that was started or has moved on."""

    def invocation(self, handle: ExecutionHandle, invocation: Invocation) -> None:
        """See an invocation that began (its outcome is RUNNING) or ended."""

    def waiting(self, seconds: float, *, skipped: bool) -> None:
        """See time pass in which nothing happens; a virtual clock skips it."""


@dataclass(frozen=True, slots=True)
class Function:
    """A registered function: durable, plain, or (without a handler) answered from outside."""

    name: str
    handler: Handler | None
    durable: bool
    timeout_seconds: float | None = None
    execution_timeout: float | None = None


class LocalService:
    """A durable execution service inside this process.

    Args:
        clock: `VirtualClock()` (the default) jumps over every wait, `RealClock()` sleeps.
        limits: what to enforce; `Limits.off()` for benches.
        store: where executions live.
        inline_operations: how many operations an event carries; the rest is left to GetDurableExecutionState.
        state_page: the most operations a page of the state holds, whatever is asked for.
        response_page: the most operations a checkpoint response holds.
        latency: real seconds every API call takes.
        on_api_call: called as `(method name, arguments, "before" | "after")` around each API call; what it raises
            the caller sees: before, the call never arrived; after, its response was lost. `InvocationCut` ends the
            invocation.
        on_callback: called once for each open callback when nothing else moves, with the operation and a client.
        retry_delay: seconds until a failed invocation is repeated, given how many have failed in a row.
        record: keep every update in `ExecutionHandle.updates` and `batches`.

    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        limits: Limits | None = None,
        store: Store | None = None,
        inline_operations: int | None = None,
        state_page: int | None = None,
        response_page: int | None = None,
        latency: float = 0.0,
        on_api_call: ApiHook | None = None,
        on_callback: Callable[[Operation, LocalClient], None] | None = None,
        retry_delay: Callable[[int], float] = lambda _failures: 5.0,
        record: bool = True,
        region: str = "us-east-1",
        account_id: str = "123456789012",
    ) -> None:
        self.clock: Clock = clock or VirtualClock()
        self.limits = limits or Limits()
        self.store: Store = store or MemoryStore()
        self.inline_operations = inline_operations
        self.state_page = state_page
        self.response_page = response_page
        self.latency = latency
        self.on_api_call = on_api_call
        self.on_callback = on_callback
        self.retry_delay = retry_delay
        self.record = record
        self.region, self.account_id = region, account_id
        self.calls: Counter[str] = Counter()
        self.observers: list[Observer] = []
        self.functions: dict[str, Function] = {}
        self.handles: dict[str, ExecutionHandle] = {}
        self.tasks: deque[tuple[ExecutionHandle, StartedInvoke, Function]] = deque()
        self.wake = Condition(RLock())
        self.client = LocalClient(self)
        self._api = Api(self)
        self._driver = Driver(self)

    # -- functions -------------------------------------------------------------------------------------------------

    def register(
        self,
        function_name: str,
        handler: Handler,
        *,
        durable: bool = True,
        timeout_seconds: float | None = None,
        execution_timeout: float | None = None,
    ) -> LocalService:
        """Register a function under a name: a durable handler, or with `durable=False` a plain one.

        A durable handler is called with a `LocalEvent`, a plain one with its payload; both with a Lambda context.
        """
        self.functions[function_name] = Function(function_name, handler, durable, timeout_seconds, execution_timeout)
        return self

    def register_external(self, function_name: str) -> LocalService:
        """Register a function nobody runs: invokes of it wait for `complete_invoke`."""
        self.functions[function_name] = Function(function_name, None, durable=False)
        return self

    def function_arn(self, function_name: str) -> str:
        """Return the qualified ARN of a function."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{function_name}:$LATEST"

    # -- executions ------------------------------------------------------------------------------------------------

    def start(
        self,
        function_name: str,
        payload: str | None = None,
        name: str | None = None,
        *,
        event: Any = _MISSING,
        execution_timeout: float | None = None,
    ) -> ExecutionHandle:
        """Start an execution without running it.

        Args:
            function_name: a registered durable function.
            payload: the user's event as JSON text; or give it as an object with `event`.
            name: the name of the execution; a second start of the same name and payload returns the first one.
            event: the user's event.
            execution_timeout: seconds until the execution is TIMED_OUT.

        Raises:
            ClientError: `DurableExecutionAlreadyStartedException` when the name is taken by another payload.

        """
        text = payload if event is _MISSING else json.dumps(event)
        try:
            with self.wake:
                return self.begin(function_name, text, name, execution_timeout, None)
        except Fault as fault:
            raise client_error(fault.code, fault.message, "Invoke") from None

    def run(
        self,
        function_name: str,
        payload: str | None = None,
        name: str | None = None,
        *,
        event: Any = _MISSING,
        execution_timeout: float | None = None,
        stop_at_callback: bool = False,
        wait: float = 0.0,
    ) -> ExecutionHandle:
        """Start an execution and drive it; see `start` and `drive`."""
        handle = self.start(function_name, payload, name, event=event, execution_timeout=execution_timeout)
        return self.drive(handle, stop_at_callback=stop_at_callback, wait=wait)

    def drive(self, handle: ExecutionHandle, *, stop_at_callback: bool = False, wait: float = 0.0) -> ExecutionHandle:
        """Run executions until `handle` has ended, or until only the outside can move it (its status is RUNNING).

        Args:
            handle: the execution to bring to its end; chained invokes and other executions run along.
            stop_at_callback: do not let the timeout of an open callback come; stop there instead.
            wait: real seconds to wait for the outside when nothing else moves.

        """
        if not _latest or _latest[-1] is not self:
            _latest[:] = [self]
        self._driver.drive(handle, stop_at_callback=stop_at_callback, wait=wait)
        return handle

    def execution(self, arn: str) -> ExecutionHandle:
        """Return the handle of an execution by its ARN."""
        return self.handles[arn]

    def complete_invoke(
        self,
        handle: ExecutionHandle,
        operation_id: str,
        *,
        status: str = "SUCCEEDED",
        result: str | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        """Complete a chained invoke from outside, in the place of the function it called."""
        with self.wake:
            handle.machine.complete_invoke(operation_id, self.clock.now(), status, result=result, error=error)
            self.absorb(handle)

    def client_for(self, handle: ExecutionHandle) -> LocalClient:
        """Return a client that counts as the running invocation of an execution."""
        return LocalClient(self, handle.invocations[-1] if handle.invocations else None)

    # -- the API ---------------------------------------------------------------------------------------------------

    def call(self, name: str, arguments: dict[str, Any], invocation: Invocation | None = None) -> dict[str, Any]:
        """Take one API call, by its boto3 method name; what is refused raises as boto3 does."""
        if self.latency:
            time.sleep(self.latency)
        operation_name = _operation_name(name)
        if invocation is not None and invocation.cut:
            raise client_error(INVALID_PARAMETER, INVALID_TOKEN, operation_name)
        hook = self.on_api_call
        try:
            if hook is not None:
                hook(name, arguments, "before")
            with self.wake:
                self.calls[name] += 1
                response = self._api.handle(name, arguments)
            if hook is not None:
                hook(name, arguments, "after")
        except Fault as fault:
            raise client_error(fault.code, fault.message, operation_name) from None
        except InvocationCut:
            if invocation is None:
                raise
            invocation.cut = True
            raise client_error(INVALID_PARAMETER, INVALID_TOKEN, operation_name) from None
        response.setdefault("ResponseMetadata", _RESPONSE_METADATA)
        return response

    # -- inner doors, under the lock -------------------------------------------------------------------------------

    def begin(
        self,
        function_name: str,
        payload: str | None,
        name: str | None,
        execution_timeout: float | None,
        parent: tuple[str, str] | None,
    ) -> ExecutionHandle:
        """Add an execution, or return the one that has its name and payload already."""
        base = function_base_name(function_name)
        function = self.functions.get(base)
        if function is None or not function.durable:
            raise LookupError(f"No durable function is registered as {function_name!r}; call register() first.")
        function_arn = self.function_arn(base)
        if name is not None and (known := self.store.find(function_arn, name)) is not None:
            if known.payload != payload:
                raise Fault(ALREADY_STARTED, f"An execution named {name} was started with another payload.")
            return self.handles[known.arn]
        execution_id = str(uuid.uuid4())
        execution = Execution(
            f"{function_arn}/durable-execution/{name or uuid.uuid4()}/{execution_id}",
            payload,
            self.clock.now(),
            self.limits,
            retry_delay=self.retry_delay,
            timeout_seconds=execution_timeout if execution_timeout is not None else function.execution_timeout,
        )
        execution.response_page = self.response_page
        handle = ExecutionHandle(self, execution, parent)
        if self.observers:
            execution.on_change = lambda operation: self._show(handle, operation)
        self.handles[execution.arn] = handle
        self.store.add(execution)
        self.wake.notify_all()
        return handle

    def preflight(self, function_name: str) -> dict[str, Any] | None:
        """Return the error of an invoke that cannot be made, None when it can."""
        if function_base_name(function_name) in self.functions:
            return None
        return {
            "ErrorMessage": f"Function not found: {function_name}. Register it with LocalService.register().",
            "ErrorType": "ResourceNotFoundException",
        }

    def absorb(self, handle: ExecutionHandle) -> None:
        """Follow up on what a call changed: start chained invokes, tell the parent of an end, wake the drivers."""
        execution = handle.machine
        execution.settle()
        while execution.invokes:
            invoke = execution.invokes.popleft()
            function = self.functions[function_base_name(invoke.function_name)]
            if function.durable:
                self.begin(function.name, invoke.payload, None, None, (execution.arn, invoke.operation_id))
            elif function.handler is not None:
                self.tasks.append((handle, invoke, function))
        self.store.save(execution)
        if execution.terminal and handle.parent is not None:
            self._report(handle, *handle.parent)
        self.wake.notify_all()

    def _report(self, child: ExecutionHandle, parent_arn: str, operation_id: str) -> None:
        parent = self.handles[parent_arn]
        if not parent.terminal:
            status, result, error = child.status, child.result, child.error
            parent.machine.complete_invoke(operation_id, self.clock.now(), status, result=result, error=error)
            self.absorb(parent)

    def _show(self, handle: ExecutionHandle, operation: Operation) -> None:
        for observer in self.observers:
            observer.operation(handle, operation)
