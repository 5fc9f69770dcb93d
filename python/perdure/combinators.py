"""Functions that run side by side, and what is made of their ends: all, any, race, all_settled.

Each is one parallel with a completion policy. What came of it is recorded, the winner too, so that the same one wins
on every replay. A timeout is a wait in a member of its own, the first, so that it is admitted whatever the concurrency;
who came first, that wait or what was asked for, is read from the recorded ends.

Here stands what is to be run, and what is made of the ends; whoever asks has it run (`Members.to_run`, `Members.give`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from perdure._core import MAX_WAIT
from perdure.concurrency.models import BatchItem, BatchItemStatus, CompletionReason
from perdure.config import CompletionConfig, CompletionOutcome, ParallelBranch, complete_batch, continue_batch
from perdure.exceptions import (
    ChildContextError,
    DurableExecutionsError,
    DurableOperationError,
    SerDesError,
    ValidationError,
    wire_error_type,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.concurrency.models import BatchResult
    from perdure.config import CompletionDecision, CompletionStatus

__all__ = ["AllFailedError", "CombinatorTimeoutError"]

_FAILURE_CAME_FIRST = frozenset(
    {CompletionReason.FAILURE_TOLERANCE_EXCEEDED, CompletionReason.CUSTOM_COMPLETION_FAILED}
)
_ENDED = frozenset({BatchItemStatus.SUCCEEDED, BatchItemStatus.FAILED})


class AllFailedError(DurableExecutionsError):
    """Of functions of which one was to succeed, none did.

    Args:
        message: What failed.
        failures: The error of each, in their order.

    """

    def __init__(self, message: str, failures: list[Exception]) -> None:
        super().__init__(message)
        self.group = ExceptionGroup(message, failures)
        """The errors, as a group."""

    @property
    def failures(self) -> tuple[Exception, ...]:
        """The errors, in the order of the functions."""
        return self.group.exceptions


class CombinatorTimeoutError(DurableExecutionsError, TimeoutError):
    """What functions were run for had not come about when their timeout was over."""


class Combinator(NamedTuple):
    """When members are done, and what is given then.

    Args:
        name: Of the method.
        least: How many members there must be.
        policy: Says when functions are done, without a timeout.
        is_met: Says so with one, and of what is awaited: told how many have succeeded, how many have failed, and how
            many there are.
        give: Makes of the ends what is given, or raised.

    """

    name: str
    least: int
    policy: Callable[[], CompletionConfig]
    is_met: Callable[[int, int, int], bool]
    give: Callable[[Ends], Any]


class Members:
    """What is to be run side by side, or is at work.

    Args:
        combinator: What is made of their ends.
        given: Functions, or what is awaited.
        timeout: Seconds that they may take; None for as long as they like.

    Raises:
        ValidationError: If it is no sequence, or the service takes no such timeout.

    """

    __slots__ = ("combinator", "given", "timeout")

    def __init__(self, combinator: Combinator, given: Sequence[Any], timeout: int | None) -> None:
        name = combinator.name
        if timeout is not None and not 1 <= timeout <= MAX_WAIT:
            raise ValidationError(f"a timeout is from 1 second to {MAX_WAIT:,} (366 days), not {timeout:,}")
        if isinstance(given, (dict, set, frozenset, str)) or not hasattr(given, "__len__"):
            raise ValidationError(
                f"{name} takes a list of functions, whose order is the same on every replay, not a "
                f"{type(given).__name__}"
            )
        if len(given) < combinator.least:
            raise ValidationError(f"{name} of no function would never end: give at least one")
        self.combinator = combinator
        self.given = given
        self.timeout = timeout

    def to_run(self, max_concurrency: int | None) -> tuple[Sequence[Any], CompletionConfig, int | None]:
        """Give the functions of a parallel, when it is done, and how many of them may be in flight."""
        seconds = self.timeout
        if seconds is None:
            return self.given, self.combinator.policy(), max_concurrency
        timer = ParallelBranch(lambda inner: inner.wait(seconds), "timeout")
        members = [timer, *(_named(function, index) for index, function in enumerate(self.given))]
        policy = CompletionConfig(should_complete=partial(_is_over, self.combinator))
        return members, policy, None if max_concurrency is None else max_concurrency + 1

    def give(self, result: BatchResult[Any]) -> Any:
        """Give what comes of the members, whose parallel gave this."""
        reason = result.completion_reason
        if self.timeout is None:
            return self.combinator.give(Ends(self, result.all, reason, is_late=False))
        ended, *rest = result.all or [BatchItem(0, BatchItemStatus.STARTED)]
        items = [BatchItem(item.index - 1, item.status, item.result, item.error) for item in rest]
        is_late = ended.status in _ENDED and not self.is_met(items)
        return self.combinator.give(Ends(self, items, reason, is_late=is_late))

    def is_met(self, items: Sequence[BatchItem[Any]]) -> bool:
        """Whether members that have come so far are done."""
        counts = [sum(item.status is status for item in items) for status in BatchItemStatus]
        return self.combinator.is_met(counts[0], counts[1], len(self.given))


def _is_over(combinator: Combinator, status: CompletionStatus) -> CompletionDecision:
    """Tell whether functions with a timeout are done: it is the first branch, and they are the others."""
    timer, *others = (item.status for item in status.items)
    succeeded, failed = others.count(BatchItemStatus.SUCCEEDED), others.count(BatchItemStatus.FAILED)
    if timer not in _ENDED and not combinator.is_met(succeeded, failed, len(others)):
        return continue_batch()
    return complete_batch(CompletionOutcome.FAILED if failed and not succeeded else CompletionOutcome.SUCCEEDED)


def _named(function: Any, index: int) -> ParallelBranch[Any]:
    """Give a function the name that it would have without a timeout before it."""
    branch = function if isinstance(function, ParallelBranch) else ParallelBranch(function)
    return replace(branch, name=branch.name or f"parallel-branch-{index}")


class Ends:
    """What came of members.

    Args:
        members: Which.
        items: Of each, in their order; those that were never admitted are missing.
        reason: Why they were done.
        is_late: Whether the timeout was over before they were done.
        failures: The errors themselves, by index, of those that were awaited.

    """

    __slots__ = ("_failures", "is_late", "items", "members", "reason")

    def __init__(
        self,
        members: Members,
        items: list[BatchItem[Any]],
        reason: CompletionReason,
        *,
        is_late: bool,
        failures: dict[int, BaseException] | None = None,
    ) -> None:
        self.members = members
        self.items = items
        self.reason = reason
        self.is_late = is_late
        self._failures = failures or {}

    def of(self, status: BatchItemStatus) -> list[BatchItem[Any]]:
        """Give those that ended so."""
        return [item for item in self.items if item.status is status]

    def failures(self) -> list[Any]:
        """Give the errors of those that failed."""
        return [self._failures.get(item.index) or _failure(item) for item in self.of(BatchItemStatus.FAILED)]

    def throw_if_failed(self) -> None:
        """Raise the first failure, if there is one."""
        for error in self.failures():
            raise error

    def late(self, what: str) -> CombinatorTimeoutError:
        """Give the error for what had not come about in time."""
        return CombinatorTimeoutError(f"{what} within {self.members.timeout:,} s")


def _all(ends: Ends) -> Any:
    """Give the values of all, or raise the first failure."""
    ends.throw_if_failed()
    given = ends.members.given
    if ends.is_late:
        done = len(ends.of(BatchItemStatus.SUCCEEDED))
        raise ends.late(f"only {done} of {len(given)} had succeeded")
    values = [item.result for item in ends.items]
    return tuple(values) if isinstance(given, tuple) else values


def _any(ends: Ends) -> Any:
    """Give the value of the first that succeeds."""
    for item in ends.of(BatchItemStatus.SUCCEEDED):
        return item.result
    failures = ends.failures()
    told = "; ".join(f"{_type_of(error)}: {error}" for error in failures)
    if ends.is_late:
        raise ends.late(f"none of {len(ends.members.given)} had succeeded ({told or 'none had failed'})")
    raise AllFailedError(f"none of {len(failures)} succeeded ({told})", failures)


def _race(ends: Ends) -> Any:
    """Give the value of the first that ends, or raise its failure."""
    if ends.is_late:
        raise ends.late(f"none of {len(ends.members.given)} had ended")
    succeeded = ends.of(BatchItemStatus.SUCCEEDED)
    if not succeeded or ends.reason in _FAILURE_CAME_FIRST:
        ends.throw_if_failed()
    return succeeded[0].result


def _all_settled(ends: Ends) -> list[BatchItem[Any]]:
    """Give what came of each."""
    return ends.items


ALL = Combinator("all", 0, CompletionConfig.all_successful, lambda good, bad, total: bad > 0 or good == total, _all)
ANY = Combinator("any", 1, CompletionConfig.first_successful, lambda good, bad, total: good > 0 or bad == total, _any)
RACE = Combinator(
    "race",
    1,
    partial(CompletionConfig, min_successful=1, tolerated_failure_count=0),
    lambda good, bad, _total: good + bad > 0,
    _race,
)
ALL_SETTLED = Combinator(
    "all_settled", 0, CompletionConfig.all_completed, lambda good, bad, total: good + bad == total, _all_settled
)


def _type_of(error: BaseException) -> str:
    return error.error_type if isinstance(error, (DurableOperationError, SerDesError)) else wire_error_type(error)


def _failure(item: BatchItem[Any]) -> Exception:
    """Give the error that a failed item stands for."""
    try:
        if item.status is BatchItemStatus.FAILED and item.error is not None:
            item.error.raise_as_operation_error(ChildContextError)
    except DurableExecutionsError as error:
        return error.with_traceback(None)
    return ChildContextError(f"branch {item.index} failed, and no error was recorded for it")
