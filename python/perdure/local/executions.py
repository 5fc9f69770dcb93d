"""The executions of a service: their handles, what has changed in them, and what follows from an end.

Everything here is called under the service's lock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from perdure._log import Log
from perdure.local.machine.errors import ALREADY_STARTED, CONFLICT, Fault
from perdure.local.machine.execution import DEFAULT_RETENTION_DAYS, Execution, Origin
from perdure.local.machine.schedule import Schedule
from perdure.local.machine.validation import function_base_name
from perdure.local.store.group_commit import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from perdure.local.functions import Function
    from perdure.local.handle import ExecutionHandle
    from perdure.local.machine.journal import StartedInvoke
    from perdure.local.machine.transitions import Operation
    from perdure.local.shared import Shared


_LOG = Log("perdure.local")


class Executions:
    """What is between the service and its store."""

    def __init__(
        self,
        shared: Shared,
        make_handle: Callable[[Execution], ExecutionHandle],
        start_chained: Callable[[ExecutionHandle, StartedInvoke], None],
    ) -> None:
        self._shared = shared
        self._store = store = shared.store
        self._make_handle = make_handle
        self._start_chained = start_chained
        self._known: WeakValueDictionary[str, ExecutionHandle] = WeakValueDictionary()
        self._group_commit = GroupCommit(store, shared.lock, self._settle)
        self._purge_at: datetime | None = None
        self.handles: dict[str, ExecutionHandle] = {}
        self.schedule = Schedule(jumps=shared.clock.virtual)

    def open(self) -> None:
        """Take up the executions that have not ended."""
        shared, store = self._shared, self._store
        store.open(shared.limits, shared.retry_delay)
        self._purge_at = store.next_expiry()
        with shared.wake:
            for execution in store.running():
                self._adopt(execution)
                if execution.invoking:
                    self._abandon(execution, died=True)
            self.commit()

    def interrupt(self) -> None:
        """Give up what still runs, since the process is about to end."""
        for execution in self._store.running():
            if execution.invoking:
                self._abandon(execution, died=False)

    def _abandon(self, execution: Execution, *, died: bool) -> None:
        execution.abandon_invocation(self._shared.clock.now(), died=died)
        if died and execution.deaths > 1:
            _LOG.warning(
                "The process has died %d times in a row while %s ran. %s",
                execution.deaths,
                execution.arn,
                "It is given up." if execution.terminal else "Its next invocation waits a while.",
            )
        self.absorb(self.handle_of(execution))

    def resume(self) -> None:
        """Let everything running be looked at again: a function it waits for may have been registered."""
        for execution in self._store.running():
            handle = self.handle_of(execution)
            if execution.invokes:
                self.absorb(handle)
            self.schedule.touch(execution)

    def begin(
        self,
        function: Function,
        payload: str | None,
        name: str | None,
        origin: Origin,
        execution_timeout: float | None = None,
    ) -> ExecutionHandle:
        """Add an execution, or return the one that has its name and payload already."""
        shared = self._shared
        self.purge()
        if name is not None and (known := self._store.find(function.name, name)) is not None:
            if known.deleting:
                raise Fault(CONFLICT, f"The execution named {name} is being deleted, and its handler still runs.")
            if known.payload != payload:
                raise Fault(ALREADY_STARTED, f"An execution named {name} was started with another payload.")
            return self.handle_of(known)
        function_arn = shared.function_arn(function.name, function.version)
        days = function.retention_days or DEFAULT_RETENTION_DAYS
        execution = Execution(
            f"{function_arn}/durable-execution/{name or shared.identify(origin)}/{shared.identify(origin)}",
            payload,
            shared.clock.now(),
            shared.limits,
            retry_delay=shared.retry_delay,
            timeout_seconds=execution_timeout if execution_timeout is not None else function.execution_timeout,
            origin=replace(origin, retention_days=days),
        )
        self._store.add(execution, function.name)
        self._adopt(execution)
        self.touch(execution)
        self._shared.wake.notify_all()
        return self.handles[execution.arn]

    def handle_of(self, execution: Execution) -> ExecutionHandle:
        """Return the one handle of an execution."""
        handle = self.handles.get(execution.arn) or self._known.get(execution.arn)
        if handle is None:
            handle = self._make_handle(execution)
            self._known[execution.arn] = handle
        return handle

    def lookup(self, arn: str) -> ExecutionHandle | None:
        """Return the handle of an execution by its ARN, read from the store if need be."""
        handle = self.handles.get(arn) or self._known.get(arn)
        if handle is not None:
            return handle
        execution = self._store.get(arn)
        return None if execution is None else self.handle_of(execution)

    def touch(self, execution: Execution) -> None:
        """Note that an execution has changed: it is to be kept, and its next moment may be another one."""
        if execution.arn not in self.handles:  # until it is safe, a store would read what it was
            self.handles[execution.arn] = self.handle_of(execution)
        self._group_commit.touch(execution)
        self.schedule.touch(execution)

    def commit(self) -> bool:
        """Make everything that has changed last; tell whether the lock was let go meanwhile."""
        return self._group_commit.commit()

    def catch_up(self, now: datetime) -> None:
        """Let everything happen whose moment has come, in order: one execution may tell another of its end."""
        while (due := self.schedule.take_due(now)) is not None:
            moment, execution = due
            execution.fire_due(moment)
            self.absorb(self.handle_of(execution))
        self.purge()

    def purge(self) -> None:
        """Forget the executions whose retention has ended."""
        if self._purge_at is None or (now := self._shared.clock.calendar()) < self._purge_at:
            return
        for arn in self._store.expired(now):
            self._forget(arn)
        self._purge_at = self._store.next_expiry()

    def absorb(self, handle: ExecutionHandle) -> None:
        """Follow up on what a call changed: start chained invokes, tell the parent of an end, wake the drivers."""
        execution = handle.machine
        if execution.terminal:
            execution.notice_end(self._shared.clock.now())
        self._start_invokes(handle)
        execution.settle()
        self.touch(execution)
        if execution.terminal:
            self._ended(handle)
        self._shared.wake.notify_all()

    def _start_invokes(self, handle: ExecutionHandle) -> None:
        """Start chained invokes; one whose function is not registered, after a restart, waits until it is."""
        shared, invokes = self._shared, handle.machine.invokes
        for invoke in [invokes.popleft() for _ in range(len(invokes))]:
            if function_base_name(invoke.function_name) in shared.functions:
                self._start_chained(handle, invoke)
            elif not handle.terminal:
                invokes.append(invoke)

    def _ended(self, handle: ExecutionHandle) -> None:
        self._expect_expiry(handle.machine)
        listeners, handle.listeners = handle.listeners, []
        for listener in listeners:
            listener()
        if handle.parent is None or handle.reported:
            return
        handle.reported = True
        parent_arn, operation_id = handle.parent
        parent = self.lookup(parent_arn)
        if parent is not None and not parent.terminal:
            status, result, error = handle.machine.status, handle.result, handle.error
            ended_at = handle.machine.ended_at or self._shared.clock.now()
            parent.machine.fire_due(ended_at)
            if not parent.terminal:
                moment = parent.machine.dated(ended_at)
                parent.machine.complete_invoke(operation_id, moment, status, result=result, error=error)
            self.absorb(parent)

    def _expect_expiry(self, execution: Execution) -> None:
        expires = execution.expires_at
        if expires is not None:
            self._purge_at = expires if self._purge_at is None else min(expires, self._purge_at)

    def _adopt(self, execution: Execution) -> None:
        """Take an execution that has not ended into memory, and go on with it."""
        execution.response_page = self._shared.response_page
        handle = self.handle_of(execution)
        self.handles[execution.arn] = handle
        execution.on_change = lambda operation: self._show(handle, operation)
        self.schedule.touch(execution)

    def _settle(self, executions: Collection[Execution]) -> None:
        """Let go of what has ended, once it is safe."""
        for execution in executions:
            self._expect_expiry(execution)  # a purge that came before did not find it in the store
            if execution.invoking:
                continue
            if execution.deleting:
                self._forget(execution.arn)
            elif execution.terminal and self._store.evicts:
                self._store.settle(execution)
                self.handles.pop(execution.arn, None)

    def _forget(self, arn: str) -> None:
        self._group_commit.forget(arn)
        self.handles.pop(arn, None)
        self._known.pop(arn, None)

    def _show(self, handle: ExecutionHandle, operation: Operation) -> None:
        for observer in self._shared.observers:
            observer.operation(handle, operation)
