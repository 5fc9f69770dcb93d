"""Functions that run side by side, and what is made of their ends: all, any, race, all_settled.

Each is one parallel with a completion policy. What came of it is recorded, the winner too, so that the same one wins
on every replay. A timeout is a wait in a member of its own, the first, so that it is admitted whatever the concurrency;
who came first, that wait or what was asked for, is read from the recorded ends.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure._core import MAX_WAIT
from perdure.concurrency.models import BatchItem, BatchItemStatus, CompletionReason
from perdure.config import CompletionConfig, CompletionOutcome, ParallelBranch, complete_batch, continue_batch
from perdure.exceptions import ChildContextError, DurableExecutionsError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.concurrency.models import BatchResult
    from perdure.config import CompletionDecision, CompletionStatus

    # Runs functions until a policy says that they are done; so many more of them may be in flight.
    Parallel = Callable[[Sequence[Any], CompletionConfig, int], BatchResult[Any]]

__all__ = ["AllFailedError", "CombinatorTimeoutError", "Members", "all_of", "all_settled", "any_of", "race"]

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


class Rule:
    """When functions are done.

    Args:
        policy: Says so, without a timeout.
        is_met: Says so with one: told how many have succeeded, how many have failed, and how many there are.

    """

    __slots__ = ("is_met", "policy")

    def __init__(self, policy: Callable[[], CompletionConfig], is_met: Callable[[int, int, int], bool]) -> None:
        self.policy = policy
        self.is_met = is_met


_ALL = Rule(CompletionConfig.all_successful, lambda succeeded, failed, total: failed > 0 or succeeded == total)
_ANY = Rule(CompletionConfig.first_successful, lambda succeeded, failed, total: succeeded > 0 or failed == total)
_RACE = Rule(
    partial(CompletionConfig, min_successful=1, tolerated_failure_count=0),
    lambda succeeded, failed, _total: succeeded + failed > 0,
)
_SETTLED = Rule(CompletionConfig.all_completed, lambda succeeded, failed, total: succeeded + failed == total)


class Members:
    """Functions to be run side by side.

    Args:
        parallel: Runs them.
        timeout: Seconds that they may take; None for as long as they like.

    """

    __slots__ = ("_parallel", "_timeout")

    def __init__(self, parallel: Parallel, timeout: int | None) -> None:
        if timeout is not None and not 1 <= timeout <= MAX_WAIT:
            raise ValidationError(f"a timeout is from 1 second to {MAX_WAIT:,} (366 days), not {timeout:,}")
        self._parallel = parallel
        self._timeout = timeout

    def run(self, functions: Sequence[Any], rule: Rule) -> Ends:
        """Run functions until a rule is met, or the timeout is over."""
        if self._timeout is None:
            result = self._parallel(functions, rule.policy(), 0)
            return Ends(result.all, result.completion_reason, is_late=False)
        seconds = self._timeout
        timer = ParallelBranch(lambda inner: inner.wait(seconds), "timeout")
        members = [timer, *(_named(function, index) for index, function in enumerate(functions))]
        policy = CompletionConfig(should_complete=partial(_is_over, rule))
        result = self._parallel(members, policy, 1)
        ended, *rest = result.all or [BatchItem(0, BatchItemStatus.STARTED)]
        items = [BatchItem(item.index - 1, item.status, item.result, item.error) for item in rest]
        counts = [sum(item.status is status for item in items) for status in BatchItemStatus]
        is_met = rule.is_met(counts[0], counts[1], len(functions))
        return Ends(items, result.completion_reason, is_late=ended.status in _ENDED and not is_met)

    def late(self, what: str) -> CombinatorTimeoutError:
        """Give the error for what had not come about in time."""
        return CombinatorTimeoutError(f"{what} within {self._timeout:,} s")


def _is_over(rule: Rule, status: CompletionStatus) -> CompletionDecision:
    """Tell whether functions with a timeout are done: it is the first branch, and they are the others."""
    timer, *others = (item.status for item in status.items)
    succeeded, failed = others.count(BatchItemStatus.SUCCEEDED), others.count(BatchItemStatus.FAILED)
    if timer not in _ENDED and not rule.is_met(succeeded, failed, len(others)):
        return continue_batch()
    return complete_batch(CompletionOutcome.FAILED if failed and not succeeded else CompletionOutcome.SUCCEEDED)


def _named(function: Any, index: int) -> ParallelBranch[Any]:
    """Give a function the name that it would have without a timeout before it."""
    branch = function if isinstance(function, ParallelBranch) else ParallelBranch(function)
    return replace(branch, name=branch.name or f"parallel-branch-{index}")


class Ends:
    """What came of functions.

    Args:
        items: Of each, in their order; those that were never admitted are missing.
        reason: Why they were done.
        is_late: Whether the timeout was over before they were done.

    """

    __slots__ = ("is_late", "items", "reason")

    def __init__(self, items: list[BatchItem[Any]], reason: CompletionReason, *, is_late: bool) -> None:
        self.items = items
        self.reason = reason
        self.is_late = is_late

    def of(self, status: BatchItemStatus) -> list[BatchItem[Any]]:
        """Give those that ended so."""
        return [item for item in self.items if item.status is status]

    def throw_if_failed(self) -> None:
        """Raise the first failure, if there is one."""
        for item in self.of(BatchItemStatus.FAILED):
            raise _failure(item)


def all_of(members: Members, functions: Sequence[Any]) -> Any:
    """Give the values of all, or raise the first failure."""
    ends = members.run(_checked(functions, "all"), _ALL)
    ends.throw_if_failed()
    if ends.is_late:
        done = len(ends.of(BatchItemStatus.SUCCEEDED))
        raise members.late(f"only {done} of {len(functions)} had succeeded")
    values = [item.result for item in ends.items]
    return tuple(values) if isinstance(functions, tuple) else values


def any_of(members: Members, functions: Sequence[Any]) -> Any:
    """Give the value of the first that succeeds."""
    ends = members.run(_checked(functions, "any", 1), _ANY)
    for item in ends.of(BatchItemStatus.SUCCEEDED):
        return item.result
    failures = [_failure(item) for item in ends.of(BatchItemStatus.FAILED)]
    told = "; ".join(f"{getattr(error, 'error_type', None)}: {error}" for error in failures)
    if ends.is_late:
        raise members.late(f"none of {len(functions)} had succeeded ({told or 'none had failed'})")
    raise AllFailedError(f"none of {len(failures)} succeeded ({told})", failures)


def race(members: Members, functions: Sequence[Any]) -> Any:
    """Give the value of the first that ends, or raise its failure."""
    ends = members.run(_checked(functions, "race", 1), _RACE)
    if ends.is_late:
        raise members.late(f"none of {len(functions)} had ended")
    succeeded = ends.of(BatchItemStatus.SUCCEEDED)
    if not succeeded or ends.reason in _FAILURE_CAME_FIRST:
        ends.throw_if_failed()
    return succeeded[0].result


def all_settled(members: Members, functions: Sequence[Any]) -> list[BatchItem[Any]]:
    """Give what came of each."""
    return members.run(_checked(functions, "all_settled"), _SETTLED).items


def _checked(functions: Any, name: str, least: int = 0) -> Sequence[Any]:
    if isinstance(functions, (dict, set, frozenset, str)) or not hasattr(functions, "__len__"):
        raise ValidationError(
            f"{name} takes a list of functions, whose order is the same on every replay, not a "
            f"{type(functions).__name__}"
        )
    if len(functions) < least:
        raise ValidationError(f"{name} of no function would never end: give at least one")
    return functions  # type: ignore[no-any-return]


def _failure(item: BatchItem[Any]) -> Exception:
    """Give the error that a failed item stands for."""
    try:
        if item.status is BatchItemStatus.FAILED and item.error is not None:
            item.error.raise_as_operation_error(ChildContextError)
    except DurableExecutionsError as error:
        return error.with_traceback(None)
    return ChildContextError(f"branch {item.index} failed, and no error was recorded for it")
