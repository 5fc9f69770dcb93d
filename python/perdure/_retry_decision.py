"""What a retry strategy answers. Users import it from `perdure.retries`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from perdure._duration import Duration, DurationLike, duration_seconds, normalise_durations, to_duration

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

RetryableErrors: TypeAlias = "Iterable[type[BaseException] | str | re.Pattern[str]] | type[BaseException]"
"""Errors by class, by a text in their message, or by a compiled pattern of it."""


@dataclass
class RetryDecision:
    """A strategy's answer; made by `retry` and `no_retry`.

    Args:
        should_retry: Whether to try again.
        delay: How long to wait before that: a `Duration`, a `datetime.timedelta` or seconds.

    Raises:
        ValidationError: For a delay that is no length of time.

    """

    should_retry: bool
    delay: Duration

    def __post_init__(self) -> None:
        normalise_durations(self, "delay")

    @property
    def delay_seconds(self) -> int:
        """The delay in whole seconds."""
        return duration_seconds(self.delay, "the retry delay")

    @classmethod
    def retry(cls, delay: DurationLike) -> RetryDecision:
        """Try again after ``delay``."""
        return cls(should_retry=True, delay=to_duration(delay, "the retry delay"))

    @classmethod
    def no_retry(cls) -> RetryDecision:
        """Give up: the operation fails with this error."""
        return cls(should_retry=False, delay=Duration())


def message_of(error: Exception) -> str:
    """Give what texts and patterns are looked for in; one whose ``str()`` raises has nothing to be found."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  whatever the user's __str__ raises: it is the first error that counts
        return ""
