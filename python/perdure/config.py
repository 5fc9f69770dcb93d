"""What users hand to the operations: durations, retries' jitter, completion rules, and one config class an operation.

All classes are frozen dataclasses with the official SDK's fields, defaults and checks. Beyond the official SDK,
wherever a `Duration` is expected a `datetime.timedelta` or a number of seconds will do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from perdure._checkpointing import Checkpointing
from perdure._completion import (
    BatchItemStatus,
    CompletionConfig,
    CompletionDecision,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionStatus,
    complete_batch,
    continue_batch,
    is_number,
)
from perdure._core import MAX_SUB_TYPE
from perdure._duration import Duration, DurationLike, duration_seconds, normalise_durations, seconds_field
from perdure._jitter import JitterStrategy, Numeric
from perdure.exceptions import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._duration import DurationField
    from perdure._protocols import SummaryGenerator
    from perdure._retry_decision import RetryableErrors, RetryDecision
    from perdure.serdes import SerDes

__all__ = [
    "BatchItemStatus",
    "CallbackConfig",
    "Checkpointing",
    "ChildConfig",
    "CompletionConfig",
    "CompletionDecision",
    "CompletionItemStatus",
    "CompletionOutcome",
    "CompletionStatus",
    "Duration",
    "DurationLike",
    "InvokeConfig",
    "JitterStrategy",
    "MapConfig",
    "NestingType",
    "Numeric",
    "P",
    "ParallelBranch",
    "ParallelConfig",
    "R",
    "StepConfig",
    "StepSemantics",
    "T",
    "ValidationError",
    "WaitForCallbackConfig",
    "complete_batch",
    "continue_batch",
    "duration_seconds",
    "validate_sub_type",
]

if TYPE_CHECKING:  # with a default, a config that stands by itself needs no annotation
    from typing_extensions import TypeVar as DefaultTypeVar

    P = DefaultTypeVar("P", default=Any)
    R = DefaultTypeVar("R", default=Any)
    T = DefaultTypeVar("T", default=Any)
else:
    P = TypeVar("P")
    R = TypeVar("R")
    T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

for _made in (
    BatchItemStatus,
    CompletionConfig,
    CompletionDecision,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionStatus,
    JitterStrategy,
    complete_batch,
    continue_batch,
):
    _made.__module__ = __name__  # where users import it from
del _made

_SUB_TYPE_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def validate_sub_type(sub_type: str | None) -> None:
    """Check a user's subtype against the service's rule: 1 to 32 of ``A-Z a-z 0-9 - _``; None and "" mean the default.

    Raises:
        ValidationError: For any other value.

    """
    if not sub_type:
        return
    if not isinstance(sub_type, str) or len(sub_type) > MAX_SUB_TYPE or not _SUB_TYPE_CHARACTERS.issuperset(sub_type):
        raise ValidationError(
            f"the sub_type {sub_type!r} is not one the service takes: "
            f"use 1 to {MAX_SUB_TYPE} letters, digits, hyphens and underscores (ASCII)"
        )


class NestingType(Enum):
    """Whether the branches of a map or parallel have records of their own.

    NESTED: each branch is a recorded child context. FLAT: branches are virtual contexts; only the operations inside are
        recorded,
    which saves two updates a branch.
    """

    NESTED = "NESTED"
    FLAT = "FLAT"


def _validate_concurrency(max_concurrency: int | None) -> None:
    if max_concurrency is not None and (not is_number(max_concurrency) or max_concurrency < 1):
        raise ValidationError(
            f"max_concurrency must be a number of 1 or more, or None for no limit, not {max_concurrency!r}"
        )


@dataclass(frozen=True)
class ParallelConfig:
    """How ``context.parallel`` runs its branches.

    Args:
        max_concurrency: At most so many branches in flight; None: all at once.
        completion_config: When the operation is done; by default the first failure ends it.
        serdes: For the `BatchResult`, and for the branches too unless ``item_serdes`` is given.
        item_serdes: For the branches' results.
        summary_generator: What to record of a result that is too large to record.
        nesting_type: Whether branches have records of their own.
        error_mapper: What an exception is recorded and raised as, given it; see the guide.

    Raises:
        ValidationError: For a ``max_concurrency`` below 1.

    """

    max_concurrency: int | None = None
    completion_config: CompletionConfig = field(default_factory=CompletionConfig.all_successful)
    serdes: SerDes[Any] | None = None
    item_serdes: SerDes[Any] | None = None
    summary_generator: SummaryGenerator[Any] | None = None
    nesting_type: NestingType = NestingType.NESTED
    error_mapper: Callable[[Exception], Exception] | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        _validate_concurrency(self.max_concurrency)


@dataclass(frozen=True)
class ParallelBranch(Generic[T_co]):
    """A branch of ``context.parallel`` with a name of its own.

    Args:
        func: What the branch runs; it gets a context of its own.
        name: Shown in the history instead of ``parallel-branch-{index}``.

    Example:
        >>> context.parallel([ParallelBranch(fetch_user, "user"), ParallelBranch(fetch_orders, "orders")])

    """

    func: Callable[..., T_co]
    name: str | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> T_co:
        """Call the branch's function."""
        return self.func(*args, **kwargs)


@dataclass(frozen=True)
class MapConfig(Generic[T]):
    """How ``context.map`` runs its items.

    Args:
        max_concurrency: At most so many items in flight; None: all at once.
        completion_config: When the operation is done; by default the first failure ends it.
        serdes: For the `BatchResult`, and for the items too unless ``item_serdes`` is given.
        item_serdes: For the items' results.
        summary_generator: What to record of a result that is too large to record.
        nesting_type: Whether items have records of their own.
        item_namer: Names an item, from the item and its index; by default ``map-item-{index}``.
        error_mapper: What an exception is recorded and raised as, given it; see the guide.

    Raises:
        ValidationError: For a ``max_concurrency`` below 1.

    """

    max_concurrency: int | None = None
    completion_config: CompletionConfig = field(default_factory=CompletionConfig)
    serdes: SerDes[Any] | None = None
    item_serdes: SerDes[Any] | None = None
    summary_generator: SummaryGenerator[Any] | None = None
    nesting_type: NestingType = NestingType.NESTED
    item_namer: Callable[[T, int], str] | None = None
    error_mapper: Callable[[Exception], Exception] | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        _validate_concurrency(self.max_concurrency)


class StepSemantics(Enum):
    """How often one attempt of a step may run its body.

    AT_LEAST_ONCE_PER_RETRY: the start is recorded without waiting, and an interrupted attempt runs again.
    AT_MOST_ONCE_PER_RETRY: the start is recorded first, and an interrupted attempt goes to the retry strategy as a
    `perdure.exceptions.StepInterruptedError`.
    """

    AT_MOST_ONCE_PER_RETRY = "AT_MOST_ONCE_PER_RETRY"
    AT_LEAST_ONCE_PER_RETRY = "AT_LEAST_ONCE_PER_RETRY"


@dataclass(frozen=True)
class StepConfig:
    """How ``context.step`` runs.

    Args:
        retry_strategy: Asked with the error and the number of attempts made; by default 6 attempts from 5 s on,
            doubling, at most 60 s apart.
        step_semantics: How often one attempt may run.
        serdes: For the result.
        sub_type: Recorded instead of ``Step``; changing it breaks running executions.
        timeout: How long one attempt may take; see `DurableContext.step`.
        retry_if: Says of an error whether it is worth another attempt; see `DurableContext.step`.
        retryable_errors: Which errors are; see `DurableContext.step`.

    Raises:
        ValidationError: For a subtype that the service does not take.

    """

    retry_strategy: Callable[[Exception, int], RetryDecision] | None = None
    step_semantics: StepSemantics = StepSemantics.AT_LEAST_ONCE_PER_RETRY
    serdes: SerDes[Any] | None = None
    sub_type: str | None = field(default=None, kw_only=True)
    timeout: DurationLike | None = field(default=None, kw_only=True, repr=False)
    retry_if: Callable[[Exception], bool] | None = field(default=None, kw_only=True, repr=False)
    retryable_errors: RetryableErrors | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        validate_sub_type(self.sub_type)


@dataclass(frozen=True)
class ChildConfig(Generic[T]):
    """How ``context.run_in_child_context`` runs.

    Args:
        serdes: For the result.
        sub_type: Recorded instead of ``RunInChildContext``; changing it breaks running executions.
        summary_generator: What to record of a result over 262,144 characters; replay then runs the child again.
        is_virtual: Record only the operations inside, nothing of the context itself.
        error_mapper: What an exception is recorded and raised as, given it; see the guide.

    Raises:
        ValidationError: For a subtype that the service does not take.

    """

    serdes: SerDes[Any] | None = None
    sub_type: str | None = None
    summary_generator: SummaryGenerator[Any] | None = None
    is_virtual: bool = False
    error_mapper: Callable[[Exception], Exception] | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        validate_sub_type(self.sub_type)


@dataclass(frozen=True)
class InvokeConfig(Generic[P, R]):
    """How ``context.invoke`` calls another function.

    Args:
        serdes_payload: For what is sent; plain JSON by default.
        serdes_result: For what comes back; plain JSON by default.
        tenant_id: The tenant on whose behalf the function runs.

    """

    serdes_payload: SerDes[P] | None = None
    serdes_result: SerDes[R] | None = None
    tenant_id: str | None = None


@dataclass(frozen=True)
class CallbackConfig:
    """How ``context.create_callback`` waits.

    Args:
        timeout: How long the answer may take, up to 99,999,999 s (the service's limit); zero: as long as it likes.
        heartbeat_timeout: How long the other side may be silent; zero: as long as it likes.
        serdes: For the answer; by default it is returned as the text that was sent.
        sub_type: Recorded instead of ``Callback``; changing it breaks running executions.

    Raises:
        ValidationError: For a duration that is none, and for a subtype that the service does not take.

    """

    timeout: DurationField = seconds_field(0)  # noqa: RUF009  a dataclasses.field
    heartbeat_timeout: DurationField = seconds_field(0)  # noqa: RUF009  a dataclasses.field
    serdes: SerDes[Any] | None = None
    sub_type: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        validate_sub_type(self.sub_type)
        normalise_durations(self, "timeout", "heartbeat_timeout")

    @property
    def timeout_seconds(self) -> int:
        """The timeout in seconds; 0 is none."""
        return duration_seconds(self.timeout, "timeout")

    @property
    def heartbeat_timeout_seconds(self) -> int:
        """The heartbeat timeout in seconds; 0 is none."""
        return duration_seconds(self.heartbeat_timeout, "heartbeat_timeout")


@dataclass(frozen=True)
class WaitForCallbackConfig(CallbackConfig):
    """How ``context.wait_for_callback`` waits, and retries its submitter.

    Args:
        timeout: As in `CallbackConfig`.
        heartbeat_timeout: As in `CallbackConfig`.
        serdes: For the answer; the context around it always uses the default.
        sub_type: Recorded for the callback inside; the context around it stays ``WaitForCallback``.
        retry_strategy: For the submitter, as in `StepConfig`.

    """

    retry_strategy: Callable[[Exception, int], RetryDecision] | None = None
