"""When a map or parallel is done, as users say it. They import it from `perdure.config`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from perdure.exceptions import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable


class BatchItemStatus(Enum):
    """Where a branch of a map or parallel stands; STARTED also when the batch completed before the branch did."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STARTED = "STARTED"


class CompletionOutcome(Enum):
    """Whether ending a batch early counts as its success or its failure."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class CompletionDecision:
    """What a ``should_complete`` predicate answers; made by `complete_batch` and `continue_batch`.

    Args:
        complete: Whether the batch is to end now.
        outcome: How it ends; given exactly when ``complete`` is true.

    Raises:
        ValidationError: When the two do not fit together.

    """

    complete: bool
    outcome: CompletionOutcome | None = None

    def __post_init__(self) -> None:
        if self.complete and self.outcome is None:
            raise ValidationError("a decision to complete needs an outcome: use complete_batch(CompletionOutcome....)")
        if not self.complete and self.outcome is not None:
            raise ValidationError("a decision to go on has no outcome: use continue_batch()")


def continue_batch() -> CompletionDecision:
    """Answer of a ``should_complete`` predicate: let the batch go on."""
    return CompletionDecision(complete=False)


def complete_batch(outcome: CompletionOutcome = CompletionOutcome.SUCCEEDED) -> CompletionDecision:
    """Answer of a ``should_complete`` predicate: end the batch now.

    Args:
        outcome: Whether that is a success or a failure of the batch.

    """
    return CompletionDecision(complete=True, outcome=outcome)


@dataclass(frozen=True)
class CompletionItemStatus:
    """One branch as a ``should_complete`` predicate sees it.

    Args:
        index: Its position among the inputs, the same on replay.
        name: Its custom name, if it has one.
        status: Where it stands; None before it was admitted.

    """

    index: int
    name: str | None = None
    status: BatchItemStatus | None = None


@dataclass(frozen=True)
class CompletionStatus:
    """What a ``should_complete`` predicate is asked about.

    Args:
        success_count: Branches that succeeded.
        failure_count: Branches that failed.
        completed_count: The sum of both.
        total_count: All branches, admitted or not.
        items: One entry a branch; ``items[i]`` is branch i.

    """

    success_count: int
    failure_count: int
    completed_count: int
    total_count: int
    items: tuple[CompletionItemStatus, ...] = ()


@dataclass(frozen=True)
class CompletionConfig:
    """When a map or parallel is done. Without any criterion, the first failure ends it.

    Args:
        min_successful: Done once so many branches have succeeded; at least 1.
        tolerated_failure_count: Done, as failed, once more branches than this have failed.
        tolerated_failure_percentage: The same as a share of all branches, 0 to 100.
        should_complete: A predicate instead of the thresholds; asked after each change of a branch. It must be
            deterministic.

    Raises:
        ValidationError: For a threshold out of range, or a predicate together with thresholds.

    Example:
        >>> CompletionConfig(min_successful=2, tolerated_failure_count=1)
        >>> CompletionConfig(should_complete=lambda s: complete_batch() if s.success_count > 2 else continue_batch())

    """

    min_successful: int | None = None
    tolerated_failure_count: int | None = None
    tolerated_failure_percentage: int | float | None = None
    should_complete: Callable[[CompletionStatus], CompletionDecision] | None = None

    def __post_init__(self) -> None:
        least, failures = self.min_successful, self.tolerated_failure_count
        percentage = self.tolerated_failure_percentage
        if self.should_complete is not None:
            if not callable(self.should_complete):
                raise ValidationError(
                    f"should_complete must be a function of one CompletionStatus, not {self.should_complete!r}"
                )
            if not least is failures is percentage is None:
                raise ValidationError("give either should_complete or thresholds: test the counts inside the predicate")
        if least is not None and (not is_number(least) or least < 1):
            raise ValidationError(
                f"min_successful must be a number of 1 or more, or None for no such rule, not {least!r}"
            )
        if failures is not None and (not is_number(failures) or failures < 0):
            raise ValidationError(
                f"tolerated_failure_count must be a number of 0 or more, or None for no such rule: {failures!r}"
            )
        if percentage is not None and (not is_number(percentage) or not 0 <= percentage <= 100):  # noqa: PLR2004
            raise ValidationError(
                f"tolerated_failure_percentage must be 0 to 100, or None for no such rule, not {percentage!r}"
            )

    @staticmethod
    def first_successful() -> CompletionConfig:
        """Be done with the first success."""
        return CompletionConfig(min_successful=1)

    @staticmethod
    def all_completed() -> CompletionConfig:
        """Run every branch to its end, whatever fails."""
        return CompletionConfig(tolerated_failure_percentage=100)

    @staticmethod
    def all_successful() -> CompletionConfig:
        """Need every branch: the first failure ends the batch."""
        return CompletionConfig(tolerated_failure_count=0, tolerated_failure_percentage=0)

    def validate_for_total(self, total: int) -> None:
        """Check the thresholds against the number of branches, before anything is sent.

        Raises:
            ValidationError: When ``min_successful`` is more than there are branches.

        """
        if self.min_successful is not None and self.min_successful > total:
            raise ValidationError(
                f"min_successful is {self.min_successful}, but there are only {total} branches: ask for fewer"
            )


def is_number(value: Any) -> bool:
    """Tell whether something counts as a number, as those of other libraries do."""
    return hasattr(value, "__index__") or hasattr(value, "__float__")
