"""A local service that moves only when a test wants it to.

Code runs as far as it gets without time (`settle`), time jumps from one moment to the next (`advance`, `finish`), and
where only the outside can help, threads of the test's are waited for, if there are any.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from perdure.local import ExecutionHandle, LocalService
from perdure.testing.clock import HeldClock, PatientClock, TimeIsHeld
from perdure.testing.exceptions import from_client_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from perdure.local import LocalClient
    from perdure.testing.mocks import Reply

_GLANCE = 0.02  # seconds between two looks at whether the threads of the outside still live


class Stage:
    """Drives the executions of one service.

    Args:
        skip_time: Whether time is virtual.
        start: Where a virtual clock begins.
        options: Of the `LocalService`.

    """

    def __init__(self, *, skip_time: bool, start: datetime | None = None, **options: Any) -> None:
        self.clock: HeldClock | PatientClock = HeldClock(start) if skip_time else PatientClock()
        self.replies: dict[str | None, Reply | Callable[[str], Reply]] = {}
        self.service = LocalService(clock=self.clock, on_callback=self._answer, **options)
        self._others = set(threading.enumerate())

    def close(self) -> None:
        """Let go of everything."""
        self.service.close()

    # -- letting things happen -------------------------------------------------------------------------------------

    def settle(self, handle: ExecutionHandle) -> None:
        """Run code until nothing moves without time or help from outside."""
        self._drive(handle, hold=lambda _moment: True)

    def finish(self, handle: ExecutionHandle, patience: float) -> None:
        """Run to the end of an execution, through all time it takes; what is outside gets ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while not over(handle) and time.monotonic() <= deadline:
            self._drive(handle, stop_at_callback=True, deadline=deadline)
            if over(handle) or self._wait_for_outside(handle, deadline, lambda: False):
                continue
            jumps: list[datetime] = []

            def jumped(moment: datetime, jumps: list[datetime] = jumps) -> bool:
                jumps.append(moment)
                return len(jumps) > 1

            # What is left is the timeout of a callback or of the execution: let one come, then look again.
            self._drive(handle, hold=jumped, deadline=deadline)
            if not jumps:
                return

    def until(self, handle: ExecutionHandle, reached: Callable[[], bool], patience: float) -> bool:
        """Run until something is so; time passes, but for the timeouts of callbacks. Tells whether it is so."""
        deadline = time.monotonic() + patience
        while not reached():
            self._drive(handle, stop_at_callback=True, hold=lambda _moment: reached(), deadline=deadline)
            if reached():
                return True
            if over(handle) or not self._wait_for_outside(handle, deadline, reached):
                return reached()
        return True

    def advance(self, duration: timedelta) -> None:
        """Let a time pass, with all that happens in it."""
        if not isinstance(self.clock, HeldClock):
            raise TypeError("advance() moves virtual time: make the runner with skip_time=True, the default")
        target = self.clock.now() + duration
        moved = True
        while moved:
            moved = False
            for handle in list(self.service.handles.values()):
                if not handle.terminal:
                    before = _progress(handle)
                    self._drive(handle, hold=lambda moment: moment > target)
                    moved = moved or (handle.terminal or _progress(handle) != before)
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
        clock = self.clock
        clock.hold = hold
        if isinstance(clock, PatientClock):
            clock.deadline = deadline
        try:
            self.service.drive(handle, stop_at_callback=stop_at_callback)
        except TimeIsHeld:
            pass
        finally:
            clock.hold = None

    def _wait_for_outside(self, handle: ExecutionHandle, deadline: float, reached: Callable[[], bool]) -> bool:
        """Wait while threads of the outside live that might do something; tell whether one did."""
        before = _progress(handle)
        while time.monotonic() < deadline and self._lively():
            with self.service.wake:
                if _progress(handle) == before:
                    self.service.wake.wait(_GLANCE)
            if _progress(handle) != before or reached():
                return True
        return _progress(handle) != before

    def _lively(self) -> bool:
        return any(thread not in self._others for thread in threading.enumerate())

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
            parent = handle.machine.operations.get(operation.get("ParentId", ""), {})
            around = [parent.get("Name")] if parent.get("SubType") == "WaitForCallback" else []
            return [operation.get("Name"), *around]
    return []


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the service refuses as the exceptions of `perdure.testing.exceptions`."""
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # noqa: PLC0415  slow to import

    try:
        yield
    except ClientError as error:
        raise from_client_error(error) from None


def _progress(handle: ExecutionHandle) -> tuple[Any, ...]:
    """Give what differs once something has happened to an execution."""
    operations = handle.machine.operations
    closed = sum(operation["Status"] not in ("STARTED", "PENDING") for operation in list(operations.values()))
    return handle.status, len(handle.invocations), len(operations), closed
