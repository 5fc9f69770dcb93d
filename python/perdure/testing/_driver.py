"""A local service that moves only when a test wants it to.

Code runs as far as it gets without time (`settle`), time jumps from one moment to the next (`advance`, `finish`), and
where only the outside can help, threads of the test's are waited for, if there are any that may do something.

The real time that a test gives is a deadline, which is looked at between invocations and before each jump: what runs
in one invocation is not cut off, since it runs in the thread of the test.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure.engine.time_left import steady
from perdure.local import ExecutionHandle, LocalService
from perdure.local.foreign_threads import at_rest
from perdure.local.functions import Function, Functions
from perdure.local.machine.errors import NOT_FOUND, Fault
from perdure.testing.clock import HeldClock, PatientClock, TimeIsHeld
from perdure.testing.exceptions import from_client_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from perdure.local import LocalClient
    from perdure.local.handle import Invocation
    from perdure.local.machine.transitions import Operation
    from perdure.testing.mocks import Reply

PATIENCE = 5.0
_GLANCE = 0.02  # seconds between two looks at whether the threads of the outside still live


@dataclass(slots=True)
class _Until:
    """What is driven: an execution, but no longer than until something is so."""

    handle: ExecutionHandle
    enough: Callable[[], bool]

    @property
    def terminal(self) -> bool:
        return self.handle.terminal or self.enough()


class _KnownFunctions(Functions):
    """The functions of a test, which tells how a test registers the one that is missing."""

    def at(self, name: str, version: str) -> Function:
        """Return a function at a version."""
        if name not in self:
            raise Fault(
                NOT_FOUND,
                f"Function not found: {name}. Known are: {', '.join(sorted(self)) or 'none'}. Give the runner this one "
                f"with mock_invoke({name!r}, returns=...), register_function() or register_durable_function().",
            )
        return super().at(name, version)


class Driver:
    """Drives the executions of one service.

    Args:
        skip_time: Whether time is virtual.
        start: Where a virtual clock begins.
        patience: Real seconds in which nothing moves, until threads that live are no longer waited for.
        options: Of the `LocalService`.

    """

    def __init__(
        self, *, skip_time: bool, start: datetime | None = None, patience: float = PATIENCE, **options: Any
    ) -> None:
        self.clock: HeldClock | PatientClock = HeldClock(start) if skip_time else PatientClock()
        self.replies: dict[str | None, Reply | Callable[[str], Reply]] = {}
        options = {"functions": _KnownFunctions(), **options}
        self.service = LocalService(clock=self.clock, on_callback=self._answer, **options)
        self._here = threading.local()  # what runs may call the runner again, and threads of the outside may call it
        self.clock.hold = self._held
        self.service.observers.append(self)
        self.patience = patience
        self._moves = 0
        # A pool of an earlier test's rests now, and may be given work by this one.
        self._others = {thread for thread in threading.enumerate() if not at_rest(thread)}

    def close(self) -> None:
        """Let go of everything."""
        self.service.close()

    # -- letting things happen -------------------------------------------------------------------------------------

    def settle(self, handle: ExecutionHandle) -> None:
        """Run code until nothing moves without time or help from outside."""
        self._drive(handle, hold=lambda _moment: True)

    def finish(self, handle: ExecutionHandle, seconds: float) -> None:
        """Run to the end of an execution, through all time it takes, for at most so many real seconds."""
        deadline = steady() + seconds
        patience = longest = min(self.patience, seconds / 4)
        while not over(handle) and steady() < deadline:
            self._drive(handle, stop_at_callback=self.clock.virtual, deadline=deadline)
            if over(handle):
                return
            if self.wait_for_outside(min(deadline, steady() + patience), lambda: False):
                patience = longest
                continue
            patience /= 2  # who did nothing all that time will hardly do anything: many callbacks must not add up
            jumps: list[datetime] = []

            def jumped(moment: datetime, jumps: list[datetime] = jumps) -> bool:
                jumps.append(moment)
                return len(jumps) > 1

            # What is left is the timeout of a callback or of the execution: let one come, then look again.
            moves = self._moves
            self._drive(handle, hold=jumped, deadline=deadline)
            if jumps or over(handle) or self._moves != moves:
                continue
            if not self.wait_for_outside(deadline, lambda: False):
                return

    def until(self, handle: ExecutionHandle, reached: Callable[[], bool], seconds: float) -> bool:
        """Run until something is so; time passes, but for the timeouts of callbacks. Tells whether it is so."""
        deadline = steady() + seconds
        while not reached() and steady() < deadline:
            self._drive(handle, stop_at_callback=True, hold=lambda _moment: reached(), deadline=deadline)
            if over(handle) or not self.wait_for_outside(deadline, reached):
                break
        return reached()

    def advance(self, duration: timedelta) -> None:
        """Let a time pass, with all that happens in it."""
        if not isinstance(self.clock, HeldClock):
            raise TypeError("advance() moves virtual time: make the runner with skip_time=True, the default")
        if duration < timedelta(0):
            raise ValueError(f"advance() lets time pass, and time does not run backwards: {duration}")
        target = self.clock.now() + duration
        moved = True
        while moved:
            moved = False
            for handle in list(self.service.handles.values()):
                if not handle.terminal:
                    moves = self._moves
                    self._drive(handle, hold=lambda moment: moment > target)
                    moved = moved or self._moves != moves
        self.clock.advance_to(target)
        for handle in list(self.service.handles.values()):
            self.settle(handle)

    def _drive(
        self,
        handle: ExecutionHandle,
        *,
        hold: Callable[[datetime], bool] | None = None,
        stop_at_callback: bool = False,
        deadline: float | None = None,
    ) -> None:
        def late() -> bool:
            return deadline is not None and steady() >= deadline

        if isinstance(self.clock, PatientClock):
            self.clock.deadline = deadline
        outer, self._here.hold = getattr(self._here, "hold", None), hold
        try:
            self.service.drive_target(_Until(handle, late), stop_at_callback=stop_at_callback)
        except TimeIsHeld:
            pass
        finally:
            self._here.hold = outer

    def _held(self, moment: datetime) -> bool:
        """Tell whether the thread that drives may not let a moment come."""
        hold: Callable[[datetime], bool] | None = getattr(self._here, "hold", None)
        return hold is not None and hold(moment)

    def wait_for_outside(self, deadline: float, reached: Callable[[], bool]) -> bool:
        """Wait while threads of the outside live that might do something; tell whether one did."""
        before, resting = self._moves, False
        with self.service.wake:
            while self._moves == before and not self._ready and not reached():
                lively = self.may_act()
                # Between being given work and beginning it, a thread looks as if it rested: look twice.
                if steady() >= deadline or (resting and not lively) or lively is None:
                    return False
                resting = not lively
                self.service.wake.wait(_GLANCE)
        return True

    @property
    def _ready(self) -> bool:
        """Whether there is something to run now."""
        return self.service.executions.schedule.has_ready or bool(self.service.tasks)

    def may_act(self) -> bool | None:
        """Tell whether a thread of the outside may do something; None when there is no thread at all."""
        threads = [thread for thread in threading.enumerate() if thread not in self._others]
        return any(not at_rest(thread) for thread in threads) if threads else None

    # -- what the service shows ------------------------------------------------------------------------------------

    def operation(self, handle: ExecutionHandle, operation: Operation) -> None:  # noqa: ARG002  an `Observer`'s
        """See an operation move."""
        self._moves += 1

    def invocation(self, handle: ExecutionHandle, invocation: Invocation) -> None:  # noqa: ARG002  an `Observer`'s
        """See an invocation begin or end."""
        self._moves += 1

    def waiting(self, seconds: float, *, skipped: bool) -> None:
        """See time pass."""

    # -- the outside -----------------------------------------------------------------------------------------------

    def _answer(self, operation: Any, client: LocalClient) -> None:
        callback_id = operation["CallbackDetails"]["CallbackId"]
        for handle in list(self.service.handles.values()):
            for name in names_of(handle, callback_id):
                reply = self.replies.get(name)
                if reply is not None:
                    (reply(callback_id) if callable(reply) else reply).send(client, callback_id)
                    return


def over(handle: ExecutionHandle) -> bool:
    """Tell whether nothing more will come of an execution by itself."""
    return handle.terminal or handle.status in ("PAUSED", "PAUSING")


def names_of(handle: ExecutionHandle, callback_id: str) -> list[str | None]:
    """Give the names that an open callback goes by: its own, and that of the ``wait_for_callback`` around it."""
    for operation in handle.open_callbacks:
        if operation["CallbackDetails"]["CallbackId"] == callback_id:
            return handle.names_of(operation)
    return []


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the service refuses as the exceptions of `perdure.testing.exceptions`."""
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # noqa: PLC0415  slow to import

    try:
        yield
    except ClientError as error:
        raise from_client_error(error) from None
