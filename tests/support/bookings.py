"""What sagas book."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure import StepContext


class Bookings:
    """Bookings that may fail, and a log of what ran."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.log: list[str] = []

    def book(self, what: str) -> Callable[[StepContext], str]:
        def run(_step: StepContext) -> str:
            self.log.append(f"book {what}")
            if what in self.failing:
                raise LookupError(f"no {what}")
            return f"{what}-1"

        return run
