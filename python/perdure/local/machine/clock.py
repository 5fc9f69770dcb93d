"""Where the local service gets its time from.

A clock answers "what time is it", and either sleeps until a moment (`RealClock`) or jumps to it (`VirtualClock`, which
stands still in between, and `SkippingClock`, which goes on).
Moments are aware UTC datetimes with millisecond precision, as the service records them.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from threading import Condition, Lock
from typing import Protocol

DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def from_millis(millis: int) -> datetime:
    """Turn Unix milliseconds into an aware UTC datetime, without the rounding of floats."""
    return _EPOCH + timedelta(milliseconds=millis)


def to_millis(moment: datetime) -> int:
    """Turn an aware datetime into Unix milliseconds."""
    return (moment - _EPOCH) // _MILLISECOND


def to_seconds(moment: datetime) -> float:
    """Turn an aware datetime into Unix seconds."""
    return to_millis(moment) / 1000


class Clock(Protocol):
    """What the service asks of its time."""

    @property
    def virtual(self) -> bool:
        """Whether sleeping until a moment is jumping to it."""
        ...

    def now(self) -> datetime:
        """Return the moment, aware, in UTC, cut to milliseconds."""
        ...

    def time(self) -> float:
        """Return the moment in Unix seconds."""
        ...

    def calendar(self) -> datetime:
        """Return the moment by which what has ended is kept and forgotten."""
        ...

    def timeout(self, until: float) -> float | None:
        """Return the real seconds to block until the Unix moment `until`; None when only a jump gets there."""
        ...

    def sleep_until(self, moment: datetime, wake: Condition) -> None:
        """Let the moment come, or return early when `wake`, which the caller holds, is notified."""
        ...


class VirtualClock:
    """A clock that stands still until it is moved; sleeping is jumping."""

    virtual = True

    def __init__(self, start: datetime | None = None) -> None:
        moment = start or DEFAULT_START
        if moment.tzinfo is None:
            raise ValueError("A VirtualClock starts at an aware datetime; give it a tzinfo.")
        self._lock = Lock()
        self._now = from_millis(to_millis(moment))

    def now(self) -> datetime:
        """Return the moment the clock stands at."""
        return self._now

    def time(self) -> float:
        """Return the moment in Unix seconds."""
        return to_seconds(self._now)

    def calendar(self) -> datetime:
        """Return the moment the clock stands at."""
        return self._now

    def timeout(self, until: float) -> float | None:
        """Return 0 for a moment that has come, else None: waiting does not move this clock."""
        return 0.0 if until <= self.time() else None

    def advance_to(self, moment: datetime) -> None:
        """Move the clock forward to `moment`; an earlier moment leaves it where it is."""
        with self._lock:
            self._now = max(self._now, moment)

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds`."""
        with self._lock:
            self._now = from_millis(to_millis(self._now) + round(seconds * 1000))

    def sleep_until(self, moment: datetime, wake: Condition) -> None:  # noqa: ARG002 - a jump cannot be interrupted
        """Jump to `moment`."""
        self.advance_to(moment)


class RealClock:
    """The clock on the wall."""

    virtual = False

    def now(self) -> datetime:
        """Return the current moment."""
        return from_millis(time.time_ns() // 1_000_000)

    def calendar(self) -> datetime:
        """Return the current moment."""
        return from_millis(time.time_ns() // 1_000_000)

    def time(self) -> float:
        """Return the moment in Unix seconds."""
        return time.time()

    def timeout(self, until: float) -> float | None:
        """Return the seconds left until `until`, at least 0."""
        return max(0.0, until - self.time())

    def sleep_until(self, moment: datetime, wake: Condition) -> None:
        """Wait on `wake` until `moment`, or until it is notified."""
        wake.wait(max(0.0, to_seconds(moment) - time.time()))


class SkippingClock(RealClock):
    """The clock on the wall, put forward by whoever would sleep. What is not slept through takes its real time."""

    virtual = True

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return the moment on the wall, and what was skipped on top of it."""
        return super().now() + self._ahead

    def time(self) -> float:
        """Return the moment in Unix seconds."""
        return super().time() + self._ahead.total_seconds()

    def sleep_until(self, moment: datetime, wake: Condition) -> None:  # noqa: ARG002 - a jump cannot be interrupted
        """Jump to `moment`; an earlier one leaves the clock where it is."""
        self._ahead += max(timedelta(), moment - self.now())
