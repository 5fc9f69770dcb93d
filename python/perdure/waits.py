"""How ``context.wait_for_condition`` polls: when to look again, and when to give up.

A wait strategy is any function of the state and the number of checks made (from 1 on) that gives a
`WaitForConditionDecision`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from perdure import _core
from perdure._duration import Duration, DurationLike, duration_seconds, normalise_durations, seconds_field, to_duration
from perdure._jitter import JitterStrategy, Numeric, jitter_of
from perdure.exceptions import WaitForConditionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._duration import DurationField
    from perdure.serdes import SerDes

__all__ = [
    "Duration",
    "JitterStrategy",
    "Numeric",
    "T",
    "WaitForConditionConfig",
    "WaitForConditionDecision",
    "WaitForConditionError",
    "WaitStrategyConfig",
    "create_wait_strategy",
]

T = TypeVar("T")


@dataclass(frozen=True)
class WaitForConditionDecision:
    """A wait strategy's answer; made by `continue_waiting` and `stop_polling`.

    Args:
        should_continue: Whether to check again.
        delay: How long to wait before that: a `Duration`, a `datetime.timedelta` or seconds.

    Raises:
        ValidationError: For a delay that is no length of time.

    """

    should_continue: bool
    delay: Duration

    def __post_init__(self) -> None:
        normalise_durations(self, "delay")

    @property
    def delay_seconds(self) -> int:
        """The delay in whole seconds."""
        return duration_seconds(self.delay, "the delay until the next check")

    @classmethod
    def continue_waiting(cls, delay: DurationLike) -> WaitForConditionDecision:
        """Check again after ``delay``."""
        return cls(should_continue=True, delay=to_duration(delay, "the delay until the next check"))

    @classmethod
    def stop_polling(cls) -> WaitForConditionDecision:
        """Be done: the present state is the result."""
        return cls(should_continue=False, delay=Duration())


@dataclass
class WaitStrategyConfig(Generic[T]):
    """Polling with exponential backoff: ``initial_delay * backoff_rate ** (checks made - 1)``, at most ``max_delay``.

    Args:
        should_continue_polling: Asked with the state; true as long as the condition is not met.
        max_attempts: Checks in all; a condition that is met by the last of them counts as met.
        initial_delay: Before the second check.
        max_delay: No delay is longer.
        backoff_rate: The factor from one delay to the next.
        jitter_strategy: How delays are spread.

    """

    should_continue_polling: Callable[[T], bool]
    max_attempts: int = 60
    initial_delay: DurationField = seconds_field(5)  # noqa: RUF009  a dataclasses.field
    max_delay: DurationField = seconds_field(300)  # noqa: RUF009  the same
    backoff_rate: Numeric = 1.5
    jitter_strategy: JitterStrategy = JitterStrategy.FULL

    def __post_init__(self) -> None:
        normalise_durations(self, "initial_delay", "max_delay")
        self.jitter_strategy = jitter_of(self.jitter_strategy)

    @property
    def initial_delay_seconds(self) -> int:
        """The first delay in seconds."""
        return duration_seconds(self.initial_delay, "initial_delay")

    @property
    def max_delay_seconds(self) -> int:
        """The longest delay in seconds."""
        return duration_seconds(self.max_delay, "max_delay")


@dataclass(frozen=True)
class WaitForConditionConfig(Generic[T]):
    """How ``context.wait_for_condition`` runs.

    Args:
        wait_strategy: Asked after each check with the state and the number of checks made.
        initial_state: Handed to the first check, after a round trip through the serdes.
        serdes: For the state.

    Example:
        >>> WaitForConditionConfig(
        ...     wait_strategy=create_wait_strategy(WaitStrategyConfig(lambda job: job["status"] != "done")),
        ...     initial_state={"status": "queued"},
        ... )

    """

    wait_strategy: Callable[[T, int], WaitForConditionDecision]
    initial_state: T
    serdes: SerDes[Any] | None = None


def create_wait_strategy(config: WaitStrategyConfig[T]) -> Callable[[T, int], WaitForConditionDecision]:
    """Make a wait strategy with exponential backoff.

    The strategy raises `perdure.exceptions.WaitForConditionError` when the last check did not meet the condition.

    Args:
        config: The condition and the delays.

    """

    def strategy(state: T, attempts_made: int) -> WaitForConditionDecision:
        if not config.should_continue_polling(state):
            return WaitForConditionDecision.stop_polling()
        if attempts_made >= config.max_attempts:
            raise WaitForConditionError(
                f"the wait exhausted {config.max_attempts} attempts, and its condition is not met: raise max_attempts "
                "or the delays of WaitStrategyConfig if it needs longer"
            )
        delay = _core.exponential_delay(
            attempts_made, config.initial_delay_seconds, config.backoff_rate, config.max_delay_seconds
        )
        return WaitForConditionDecision.continue_waiting(Duration(config.jitter_strategy.finalize_delay(delay)))

    return strategy
