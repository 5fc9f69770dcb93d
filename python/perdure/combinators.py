"""Functions that run side by side, and what is made of their ends: all, any, race, all_settled.

Each is one parallel with a completion policy. What came of it is recorded, the winner too, so that the same one wins on
every replay.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from perdure.concurrency.models import BatchItemStatus, CompletionReason
from perdure.config import CompletionConfig
from perdure.exceptions import ChildContextError, DurableExecutionsError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.concurrency.models import BatchItem, BatchResult

    # Runs functions until a policy says that they are done.
    Parallel = Callable[[Sequence[Any], CompletionConfig], BatchResult[Any]]

__all__ = ["AllFailedError", "all_of", "all_settled", "any_of", "race"]

_FIRST_END = partial(CompletionConfig, min_successful=1, tolerated_failure_count=0)


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


def all_of(parallel: Parallel, functions: Sequence[Any]) -> Any:
    """Give the values of all, or raise the first failure."""
    found = parallel(_checked(functions, "all"), CompletionConfig.all_successful())
    found.throw_if_error()
    values = found.get_results()
    return tuple(values) if isinstance(functions, tuple) else values


def any_of(parallel: Parallel, functions: Sequence[Any]) -> Any:
    """Give the value of the first that succeeds."""
    found = parallel(_checked(functions, "any", 1), CompletionConfig.first_successful())
    for item in found.succeeded():
        return item.result
    failures = [_failure(item) for item in found.failed()]
    told = "; ".join(f"{getattr(error, 'error_type', None)}: {error}" for error in failures)
    raise AllFailedError(f"none of {len(failures)} succeeded ({told})", failures)


def race(parallel: Parallel, functions: Sequence[Any]) -> Any:
    """Give the value of the first that ends, or raise its failure."""
    found = parallel(_checked(functions, "race", 1), _FIRST_END())
    succeeded = found.succeeded()
    if not succeeded or found.completion_reason is CompletionReason.FAILURE_TOLERANCE_EXCEEDED:
        found.throw_if_error()
    return succeeded[0].result


def all_settled(parallel: Parallel, functions: Sequence[Any]) -> list[BatchItem[Any]]:
    """Give what came of each."""
    found = parallel(_checked(functions, "all_settled"), CompletionConfig.all_completed())
    return found.all


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
