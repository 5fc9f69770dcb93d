"""The embedded durable service: functions, executions, an API, and a driver that runs them.

Everything that decides is in `machine.py` and `journal.py`; here are the lock, the doors and the wiring.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Self

from perdure.local.api import Api
from perdure.local.client import LocalClient
from perdure.local.driver import Driver
from perdure.local.durations import optional_seconds
from perdure.local.executions import Executions
from perdure.local.functions import LATEST, Function
from perdure.local.handle import ExecutionHandle, Invocation
from perdure.local.invoking import Invoking
from perdure.local.machine.errors import (
    ALREADY_STARTED,
    INVALID_PARAMETER,
    INVALID_TOKEN,
    SERVICE,
    Fault,
    InvocationCut,
    client_error,
)
from perdure.local.machine.execution import Origin
from perdure.local.machine.validation import EXECUTION_NAME
from perdure.local.shared import Observer, Shared, backoff
from perdure.local.store import StoreError
from perdure.local.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perdure._duration import DurationLike
    from perdure.local.calls import Call
    from perdure.local.functions import Functions
    from perdure.local.logs import BranchLog, FailureLog
    from perdure.local.machine.clock import Clock
    from perdure.local.machine.journal import StartedInvoke
    from perdure.local.machine.limits import Limits
    from perdure.local.machine.transitions import Operation
    from perdure.local.shared import ApiHook, Handler, MakesHooks, Target
    from perdure.local.store import Store

__all__ = ["ExecutionHandle", "Function", "Invocation", "LocalService", "Observer", "current_service"]

_RESPONSE_METADATA = {"HTTPStatusCode": 200, "HTTPHeaders": {}, "RetryAttempts": 0}
_ACCEPTED = frozenset({"pause_durable_execution", "resume_durable_execution", "delete_durable_execution"})
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


@contextmanager
def _damage_told() -> Iterator[None]:
    """Tell whoever asked that what is kept cannot be read, and what to do about it."""
    try:
        yield
    except StoreError as problem:
        raise Fault(SERVICE, str(problem)) from problem


class LocalService(Shared):
    """A durable execution service inside this process.

    Args:
        clock: `VirtualClock()` (the default) jumps over every wait, `RealClock()` sleeps.
        limits: what to enforce; `Limits.off()` for benches.
        store: where executions live; the service closes it, at its own end or when it cannot be read.
        inline_operations: how many operations an event carries; the rest is left to GetDurableExecutionState.
        state_page: the most operations a page of the state holds, whatever is asked for.
        response_page: the most operations a checkpoint response holds.
        latency: real seconds every API call takes.
        on_api_call: called as `(method name, arguments, "before" | "after")` around each API call; what it raises
            the caller sees: before, the call never arrived; after, its response was lost. `InvocationCut` ends the
            invocation.
        on_callback: called once for each open callback when nothing else moves, with the operation and a client.
        retry_delay: seconds until a failed invocation is repeated, given how many have failed in a row; by default
            1, 2, 4, … up to 60.
        record: keep every update in `ExecutionHandle.updates` and `batches`.
        sync_timeout: real seconds a synchronous `Invoke` waits for what only the outside can move; None is 15 minutes
            with a real clock, and no time at all with a virtual one.
        region: where it says that it is.
        account_id: whose it says that it is.
        hooks: gives what an invocation of an execution is seen and steered by, or None.
        identify: draws the ids of executions, and the names of those that are given none.
        functions: where the functions are looked up.
        handler_of: gives what is called for a call of a plain function: its handler, or one around it.
        failure_log: is told of each failure.

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
        retry_delay: Callable[[int], float] = backoff,
        record: bool = True,
        sync_timeout: float | None = None,
        region: str = "us-east-1",
        account_id: str = "123456789012",
        hooks: MakesHooks | None = None,
        identify: Callable[[Origin], str] | None = None,
        functions: Functions | None = None,
        handler_of: Callable[[Call], Handler | None] | None = None,
        failure_log: FailureLog | None = None,
    ) -> None:
        super().__init__(
            clock=clock,
            limits=limits,
            store=store,
            inline_operations=inline_operations,
            state_page=state_page,
            response_page=response_page,
            latency=latency,
            on_api_call=on_api_call,
            on_callback=on_callback,
            retry_delay=retry_delay,
            record=record,
            sync_timeout=sync_timeout,
            region=region,
            account_id=account_id,
            hooks=hooks,
            identify=identify,
            functions=functions,
            handler_of=handler_of,
            failure_log=failure_log,
        )
        self.client = LocalClient(self)
        self.workers: Workers | None = None
        self.executions = Executions(self, partial(ExecutionHandle, self), self._start_chained)
        self._api = Api(self, self.executions)
        self.invoking = Invoking(self, self.executions, self.drive_target)
        self._driver = Driver(self, self.executions, partial(LocalClient, self))
        try:
            self.executions.open()
        except BaseException:
            self.store.close()  # whoever has made it for this service has no other hold of it
            raise

    @property
    def handles(self) -> dict[str, ExecutionHandle]:
        """The executions by ARN: all of them with a store in memory, else those that have not ended."""
        return self.executions.handles

    def __enter__(self) -> Self:
        """Return the service."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the service."""
        self.close()

    def close(self, grace: float = 5.0) -> None:
        """Stop the workers, waiting up to `grace` seconds for what runs, and let go of the store."""
        try:
            self.stop_workers(grace)
        finally:
            with self.wake:
                self._let_go()

    def _let_go(self) -> None:
        """Write what is left to write, and close the store, also if that fails."""
        try:
            if self.store.evicts:  # and so outlives the process, which may be about to end
                self.executions.interrupt()
            self.executions.commit()
        finally:
            self.store.close()

    def start_workers(self, limit: int = 64) -> None:
        """Run functions in background threads from now on, at most `limit` at a time; `drive` then only waits."""
        _latest[:] = [self]
        with self.wake:
            if self.workers is None:
                self.workers = Workers(self, self.executions, self._driver, limit)
                self.workers.start()

    def stop_workers(self, grace: float = 5.0) -> bool:
        """Begin no more invocations, and wait for those under way; tell whether all came to their end."""
        workers = self.workers
        if workers is None:
            return True
        idle = workers.stop(grace)
        self.workers = None
        self._driver.is_served = False
        return idle

    def log_branches(self) -> BranchLog:
        """Log every branch of a map or parallel that fails, from now on; the log counts them."""
        from perdure.local.logs import BranchLog  # noqa: PLC0415 - of the commands, which alone want it

        log = BranchLog()
        self.hooks = log.hooks
        self.observers.append(log)
        return log

    # -- functions -------------------------------------------------------------------------------------------------

    def register(
        self,
        function_name: str,
        handler: Handler,
        *,
        durable: bool = True,
        timeout_seconds: float | None = None,
        execution_timeout: DurationLike | None = None,
        retention_days: int | None = None,
        version: str | int | None = None,
    ) -> LocalService:
        """Register a function under a name: a durable handler, or with `durable=False` a plain one.

        A durable handler is called with a `LocalEvent`, a plain one with its payload; both with a Lambda context.
        Registering again replaces `$LATEST`; `functions.publish` keeps a version, `functions.alias` names one.

        Args:
            function_name: what it is invoked by.
            handler: called with the event and a Lambda context.
            durable: whether it is a durable function.
            timeout_seconds: of one invocation, 900 by default, in real time. The context shows it. Workers give up an
                invocation that takes longer: it has failed, and what its thread still asks for is refused. Without
                workers nothing enforces it.
            execution_timeout: how long until an execution of it is TIMED_OUT: seconds, a `timedelta` or a `Duration`.
            retention_days: how long a finished execution is kept, 1 to 90 days.
            version: the version that it is, in the place of `$LATEST`. Executions of that version go on with it.

        """
        kept = LATEST if version is None else str(version)
        lasts = optional_seconds(execution_timeout, "execution_timeout")
        function = Function(function_name, handler, durable, timeout_seconds, lasts, retention_days, kept)
        with self.wake:
            self.functions.add(function)
            self.executions.resume()
            self.wake.notify_all()
        return self

    def register_external(self, function_name: str) -> LocalService:
        """Register a function nobody runs: invokes of it wait for `complete_invoke`."""
        self.functions.add(Function(function_name, None, durable=False))
        return self

    # -- executions ------------------------------------------------------------------------------------------------

    def start(
        self,
        function_name: str,
        payload: str | None = None,
        name: str | None = None,
        *,
        event: Any = _MISSING,
        execution_timeout: DurationLike | None = None,
    ) -> ExecutionHandle:
        """Start an execution without running it.

        Args:
            function_name: a registered durable function.
            payload: the user's event as JSON text; or give it as an object with `event`.
            name: the name of the execution; a second start of the same name and payload returns the first one.
            event: the user's event.
            execution_timeout: how long until the execution is TIMED_OUT: seconds, a `timedelta` or a `Duration`.

        Raises:
            ClientError: `DurableExecutionAlreadyStartedException` when the name is taken by another payload.
            LookupError: there is no such function, or it is not a durable one.
            ValueError: the name is none that Lambda takes.

        """
        if name is not None and EXECUTION_NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no name of an execution: 1 to 64 letters, digits, - and _.")
        text = payload if event is _MISSING else json.dumps(event)
        lasts = optional_seconds(execution_timeout, "execution_timeout")
        try:
            with self.wake:
                function = self.functions.resolve(function_name)
                if not function.durable:
                    raise LookupError(f"{function_name!r} is not a durable function; register() it as one.")
                handle = self.executions.begin(function, text, name, Origin(), lasts)
                self.executions.commit()
                return handle
        except Fault as fault:
            if fault.code == ALREADY_STARTED:
                raise client_error(fault.code, fault.message, "Invoke") from None
            raise LookupError(fault.message) from None

    def run(
        self,
        function_name: str,
        payload: str | None = None,
        name: str | None = None,
        *,
        event: Any = _MISSING,
        execution_timeout: DurationLike | None = None,
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
        self.drive_target(handle, stop_at_callback=stop_at_callback, wait=wait)
        return handle

    def drive_target(self, target: Target, *, stop_at_callback: bool = False, wait: float = 0.0) -> None:
        """Run until `target`, an execution or a call, has ended or only the outside can move it; see `drive`."""
        if not _latest or _latest[-1] is not self:
            _latest[:] = [self]
        self._driver.drive(target, stop_at_callback=stop_at_callback, wait=wait)

    def execution(self, arn: str) -> ExecutionHandle:
        """Return the handle of an execution by its ARN; `KeyError` when there is none."""
        with self.wake:
            handle = self.executions.lookup(arn)
        if handle is None:
            raise KeyError(arn)
        return handle

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
            self.executions.absorb(handle)
            self.executions.commit()

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
            if name == "invoke":
                self.calls[name] += 1
                response = self.invoking.invoke(arguments)
            else:
                response = self.answer(name, arguments)
            if hook is not None:
                hook(name, arguments, "after")
        except Fault as fault:
            raise client_error(fault.code, fault.message, operation_name) from None
        except (sqlite3.Error, StoreError) as problem:
            why = str(problem) if isinstance(problem, StoreError) else f"The store failed: {problem}."
            raise client_error(SERVICE, why, operation_name) from problem
        except InvocationCut:
            if invocation is None:
                raise
            invocation.cut = True
            raise client_error(INVALID_PARAMETER, INVALID_TOKEN, operation_name) from None
        status = response.get("StatusCode", 202 if name in _ACCEPTED else 200)
        response.setdefault("ResponseMetadata", {**_RESPONSE_METADATA, "HTTPStatusCode": status})
        return response

    def answer(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carry out any action but Invoke, and make it last; what is refused raises `Fault`."""
        with self.wake:
            self.calls[name] += 1
            with _damage_told():
                try:
                    return self._api.handle(name, arguments)
                finally:
                    self.executions.commit()

    def begin_invoke(self, arguments: dict[str, Any]) -> ExecutionHandle | Call | None:
        """Begin an `Invoke`; return what to wait for, None for a dry run. What is refused raises `Fault`."""
        with self.wake:
            self.calls["invoke"] += 1
            with _damage_told():
                try:
                    return self.invoking.begin(arguments)
                finally:
                    self.executions.commit()

    def invoke_answer(self, arguments: dict[str, Any], target: ExecutionHandle | Call | None) -> dict[str, Any]:
        """Return the response of an `Invoke` as things stand now, and are kept."""
        with self.wake:
            self.executions.commit()
            return self.invoking.answer(arguments, target)

    def _start_chained(self, handle: ExecutionHandle, invoke: StartedInvoke) -> None:
        self.invoking.start_chained(handle, invoke)
