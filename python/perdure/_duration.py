"""Lengths of time: the official `Duration`, and everything else that is accepted in its place."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure.exceptions import ValidationError


@dataclass(frozen=True)
class Duration:
    """A length of time in whole seconds, as the service counts it.

    Args:
        seconds: The length; not negative.

    Raises:
        ValidationError: For a negative length.

    Example:
        >>> Duration.from_minutes(1.5).to_seconds()
        90

    """

    seconds: int = 0

    def __post_init__(self) -> None:
        if self.seconds < 0:
            raise ValidationError(f"a Duration cannot be negative: give 0 or more seconds, not {self.seconds}")

    def to_seconds(self) -> int:
        """Give the length in seconds."""
        return self.seconds

    @classmethod
    def from_seconds(cls, value: float) -> Duration:
        """Make a duration of ``value`` seconds; like the official SDK, a fraction of a second is cut off."""
        return cls(int(value))

    @classmethod
    def from_minutes(cls, value: float) -> Duration:
        """Make a duration of ``value`` minutes; a fraction of a second is cut off."""
        return cls(int(value * 60))

    @classmethod
    def from_hours(cls, value: float) -> Duration:
        """Make a duration of ``value`` hours; a fraction of a second is cut off."""
        return cls(int(value * 3600))

    @classmethod
    def from_days(cls, value: float) -> Duration:
        """Make a duration of ``value`` days; a fraction of a second is cut off."""
        return cls(int(value * 86400))


Duration.__module__ = "perdure.config"  # where users import it from

DurationLike: TypeAlias = Duration | dt.timedelta | float
"""What every operation takes as a length of time: a `Duration`, a `datetime.timedelta`, or a number of seconds."""

if TYPE_CHECKING:

    class DurationField:
        """How a type checker sees a duration of a config: written as a `DurationLike`, read as a `Duration`."""

        def __get__(self, instance: object, owner: Any = None) -> Duration:
            """Read the duration."""
            ...

        def __set__(self, instance: object, value: DurationLike) -> None:
            """Write the duration."""

    def seconds_field(seconds: int) -> Any: ...  # a field of that default
else:
    DurationField = Duration

    def seconds_field(seconds: int) -> Any:
        return field(default_factory=lambda: Duration(seconds))


def exact_seconds(value: object) -> float | None:
    """Give a length of time in seconds as it is, with its fraction; None for what is none."""
    if isinstance(value, Duration):
        return value.seconds
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if type(value).__module__ == "aws_durable_execution_sdk_python.config":
        value = getattr(value, "seconds", None)  # of its Duration
    return value if isinstance(value, (int, float)) else None


def duration_seconds(value: DurationLike, what: str) -> int:
    """Give a length of time in the whole seconds that go over the wire.

    A fraction is rounded **up**: half a second must not become 0, which means "no limit" for a timeout and is refused
    for a wait. (`Duration.from_seconds` cuts the fraction off, as in the official SDK.)

    Args:
        value: A `Duration`, a `datetime.timedelta`, or a number of seconds.
        what: How to call the value in an error, such as ``"the timeout of step 'charge'"``.

    Raises:
        ValidationError: For a negative or infinite length, and for anything that is not a length of time.

    """
    seconds = exact_seconds(value)
    if seconds is None:
        raise ValidationError(
            f"{what} must be a Duration, a datetime.timedelta or a number of seconds, not {value!r}: "
            f"write for example Duration.from_minutes(5)"
        )
    if seconds < 0 or not math.isfinite(seconds):
        raise ValidationError(f"{what} must be 0 or more seconds, and finite, not {value!r}")
    return math.ceil(seconds)


def to_duration(value: DurationLike, what: str) -> Duration:
    """Give a length of time as a `Duration`; see `duration_seconds`."""
    return value if isinstance(value, Duration) else Duration(duration_seconds(value, what))


def normalise_durations(config: object, *names: str) -> None:
    """Turn the named fields of a config, which may be frozen, into `Duration` objects."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, Duration):
            object.__setattr__(config, name, to_duration(value, f"{type(config).__name__}.{name}"))
