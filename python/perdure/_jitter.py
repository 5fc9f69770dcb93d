"""How delays are spread. Users import it from `perdure.config`."""

from __future__ import annotations

from contextvars import ContextVar
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from perdure import _core
from perdure.exceptions import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

Numeric = int | float

chance: ContextVar[Callable[[], float] | None] = ContextVar("perdure.chance", default=None)
"""What draws the numbers by which delays are spread, from 0 up to 1; None for Python's own."""


class JitterStrategy(StrEnum):
    """How randomness spreads delays, so that many executions do not come back at the same moment.

    NONE: the delay as computed. FULL: anything from nothing to the delay. HALF: from half the delay to all of it.
    """

    NONE = "NONE"
    FULL = "FULL"
    HALF = "HALF"

    def apply_jitter(self, delay: float) -> float:
        """Spread ``delay`` (seconds) at random; the result may be any number of seconds."""
        import random  # noqa: PLC0415  seldom needed, and slow to import

        draw = chance.get() or random.random  # which guards no secret
        return _core.jittered_delay(delay, self.value, draw())

    def finalize_delay(self, base_delay: float) -> int:
        """Spread ``base_delay`` (seconds) at random, in whole seconds, rounded up, at least 1."""
        return _core.whole_seconds(self.apply_jitter(base_delay))


def jitter_of(given: Any) -> JitterStrategy:
    """Give the strategy that is meant: what spreads delays, as the official SDK's does, too, or the name of one.

    Raises:
        ValidationError: If it is none.

    """
    if hasattr(given, "finalize_delay"):
        return given  # type: ignore[no-any-return]
    try:
        return JitterStrategy(given)
    except ValueError:
        raise ValidationError(f"jitter_strategy must be a JitterStrategy, not {given!r}") from None
