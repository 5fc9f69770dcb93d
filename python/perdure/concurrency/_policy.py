"""When a map or parallel is done, and why. Users import it from `perdure.concurrency.models`.

The engine decides this in Rust (`completion.rs`); this is the same rule for users who ask it themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from perdure._completion import (
    CompletionConfig,
    CompletionDecision,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionStatus,
)
from perdure.exceptions import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable


class CompletionReason(Enum):
    """Why a map or parallel ended."""

    ALL_COMPLETED = "ALL_COMPLETED"
    MIN_SUCCESSFUL_REACHED = "MIN_SUCCESSFUL_REACHED"
    FAILURE_TOLERANCE_EXCEEDED = "FAILURE_TOLERANCE_EXCEEDED"
    CUSTOM_COMPLETION_SUCCEEDED = "CUSTOM_COMPLETION_SUCCEEDED"
    CUSTOM_COMPLETION_FAILED = "CUSTOM_COMPLETION_FAILED"


def outcome_of(decision: Any, batch: str | None = None) -> CompletionOutcome | None:
    """Give the outcome with which a predicate ends a batch; None if the batch goes on, as where it answers with None.

    Args:
        decision: What the predicate gave; one of another class will do, if it has the members.
        batch: What the batch is called, if that is known.

    Raises:
        ValidationError: If that is no decision.

    """
    if decision is None:
        return None
    try:
        if not decision.complete:
            return None
        return CompletionOutcome(getattr(decision.outcome, "value", decision.outcome))
    except (AttributeError, ValueError):
        whose = "should_complete" if batch is None else f"the should_complete of {batch}"
        raise ValidationError(
            f"{whose} must return complete_batch(...) or continue_batch(), not {decision!r:.200}"
        ) from None


@dataclass(frozen=True)
class CompletionPolicy:
    """A `CompletionConfig` applied to a number of branches: tells whether the batch is done, and why.

    A predicate takes the place of the failure tolerance. Without any criterion one failure is too many.

    Args:
        total: How many branches there are.
        min_successful: As in `CompletionConfig`.
        tolerated_failure_count: As in `CompletionConfig`.
        tolerated_failure_percentage: As in `CompletionConfig`.
        should_complete: As in `CompletionConfig`.

    """

    total: int
    min_successful: int | None = None
    tolerated_failure_count: int | None = None
    tolerated_failure_percentage: int | float | None = None
    should_complete: Callable[[CompletionStatus], CompletionDecision] | None = None

    @classmethod
    def from_config(cls, total: int, config: CompletionConfig | None) -> CompletionPolicy:
        """Apply ``config`` to ``total`` branches; None means no criterion."""
        if config is None:
            return cls(total)
        return cls(
            total,
            config.min_successful,
            config.tolerated_failure_count,
            config.tolerated_failure_percentage,
            config.should_complete,
        )

    @property
    def has_criteria(self) -> bool:
        """Whether any threshold is set."""
        return not (self.min_successful is self.tolerated_failure_count is self.tolerated_failure_percentage is None)

    def is_tolerance_exceeded(self, failed: int) -> bool:
        """Tell whether so many failures are too many."""
        if self.should_complete is not None:
            return False
        if not self.has_criteria:
            return failed > 0
        if self.tolerated_failure_count is not None and failed > self.tolerated_failure_count:
            return True
        percentage = self.tolerated_failure_percentage
        return percentage is not None and self.total > 0 and failed / self.total * 100 > percentage

    def should_continue(self, failed: int) -> bool:
        """Tell whether more branches may be admitted."""
        return not self.is_tolerance_exceeded(failed)

    def evaluate(
        self, succeeded: int, failed: int, items: tuple[CompletionItemStatus, ...] = ()
    ) -> CompletionDecision | None:
        """Ask the predicate; None when there is none.

        Raises:
            ValidationError: When it answers with anything else than a decision.

        """
        if self.should_complete is None:
            return None
        decision = self.should_complete(CompletionStatus(succeeded, failed, succeeded + failed, self.total, items))
        outcome_of(decision)
        return decision

    def _custom_outcome(
        self,
        succeeded: int,
        failed: int,
        items: tuple[CompletionItemStatus, ...],
        decision: CompletionDecision | None,
    ) -> CompletionOutcome | None:
        """Give the outcome with which the predicate ends the batch, if it does."""
        if self.should_complete is None:
            return None
        if decision is None:
            decision = self.evaluate(succeeded, failed, items)
        return decision.outcome if decision is not None and decision.complete else None

    def is_complete(
        self,
        succeeded: int,
        failed: int,
        items: tuple[CompletionItemStatus, ...] = (),
        decision: CompletionDecision | None = None,
    ) -> bool:
        """Tell whether the batch is done, failure tolerance apart.

        Args:
            succeeded: Branches that succeeded.
            failed: Branches that failed.
            items: One entry a branch, for the predicate.
            decision: What `evaluate` gave, so that the predicate is asked once.

        """
        return (
            self._custom_outcome(succeeded, failed, items, decision) is not None
            or succeeded + failed >= self.total
            or (self.min_successful is not None and succeeded >= self.min_successful)
        )

    def reason(
        self,
        succeeded: int,
        failed: int,
        items: tuple[CompletionItemStatus, ...] = (),
        decision: CompletionDecision | None = None,
    ) -> CompletionReason:
        """Give the reason for which the batch is done: the first that holds, in the order of `docs/protocol.md` §6.

        Args:
            succeeded: Branches that succeeded.
            failed: Branches that failed.
            items: One entry a branch, for the predicate.
            decision: What `evaluate` gave, so that the predicate is asked once.

        """
        if self.is_tolerance_exceeded(failed):
            return CompletionReason.FAILURE_TOLERANCE_EXCEEDED
        outcome = self._custom_outcome(succeeded, failed, items, decision)
        if outcome is not None:
            if outcome is CompletionOutcome.FAILED:
                return CompletionReason.CUSTOM_COMPLETION_FAILED
            return CompletionReason.CUSTOM_COMPLETION_SUCCEEDED
        done = succeeded + failed >= self.total
        if not done and self.min_successful is not None and succeeded >= self.min_successful:
            return CompletionReason.MIN_SUCCESSFUL_REACHED
        return CompletionReason.ALL_COMPLETED
