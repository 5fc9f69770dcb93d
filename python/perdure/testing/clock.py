"""The clocks of a test: they can be held, so that time passes only while a test lets it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from perdure.engine.time_left import steady
from perdure.local.machine.clock import RealClock, VirtualClock, to_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from threading import Condition


class TimeIsHeld(Exception):  # noqa: N818  a signal, not an error
    """Raised through the driver when the clock may not go on to the next moment."""


class HeldClock(VirtualClock):
    """A virtual clock that asks before it jumps.

    `hold` is asked with the moment the clock is to jump to. If it says yes, nothing moves and `TimeIsHeld` is raised,
    which ends `LocalService.drive` with the execution as it is.
    """

    def __init__(self, start: datetime | None = None) -> None:
        super().__init__(start)
        self.hold: Callable[[datetime], bool] | None = None

    def sleep_until(self, moment: datetime, wake: Condition) -> None:
        """Jump to ``moment``, if that is allowed."""
        if self.hold is not None and self.hold(moment):
            raise TimeIsHeld
        super().sleep_until(moment, wake)


class PatientClock(RealClock):
    """The clock on the wall, on which a test waits no longer than until ``deadline`` (of `steady`)."""

    def __init__(self) -> None:
        self.hold: Callable[[datetime], bool] | None = None
        self.deadline: float | None = None

    def sleep_until(self, moment: datetime, wake: Condition) -> None:
        """Wait until ``moment``; give up at the deadline."""
        if self.hold is not None and self.hold(moment):
            raise TimeIsHeld
        left = None if self.deadline is None else self.deadline - steady()
        wanted = to_seconds(moment) - time.time()
        if left is None or wanted <= left:
            super().sleep_until(moment, wake)
        elif left <= 0 or not wake.wait(left):
            raise TimeIsHeld
