"""What map and parallel return, when they are done, and what is recorded of a result that is too large to record."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from perdure._completion import (
    BatchItemStatus,
    CompletionConfig,
    CompletionDecision,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionStatus,
)
from perdure._log import Log
from perdure._protocols import BatchResult as BatchResultProtocol
from perdure.concurrency._branch import Branch, BranchEvent, BranchEventKind, BranchStatus, Executable
from perdure.concurrency._policy import CompletionPolicy, CompletionReason
from perdure.exceptions import ChildContextError, DurableOperationError, InvalidStateError, register_operation_error
from perdure.lambda_service import ErrorObject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure._protocols import SummaryGenerator

__all__ = [
    "BatchCompletionError",
    "BatchItem",
    "BatchItemStatus",
    "BatchResult",
    "BatchResultProtocol",
    "Branch",
    "BranchEvent",
    "BranchEventKind",
    "BranchStatus",
    "CallableType",
    "ChildContextError",
    "CompletionConfig",
    "CompletionDecision",
    "CompletionItemStatus",
    "CompletionOutcome",
    "CompletionPolicy",
    "CompletionReason",
    "CompletionRecord",
    "CompletionStatus",
    "DurableOperationError",
    "ErrorObject",
    "Executable",
    "InvalidStateError",
    "R",
    "ResultType",
    "envelope_summary_generator",
    "register_operation_error",
]

logger = Log(__name__)

R = TypeVar("R")
CallableType = TypeVar("CallableType", bound=Callable[..., Any])
ResultType = TypeVar("ResultType")

for _model in (Branch, BranchEvent, BranchEventKind, BranchStatus, CompletionPolicy, CompletionReason, Executable):
    _model.__module__ = __name__  # where users import it from
del _model


class BatchCompletionError(DurableOperationError):
    """A ``should_complete`` predicate ended the batch as failed, though no branch need have failed.

    Args:
        completion_reason: Why the batch ended.
        message: What happened; by default says so.
        error_type: As in `DurableOperationError`.
        data: As in `DurableOperationError`.
        stack_trace: As in `DurableOperationError`.

    """

    def __init__(
        self,
        completion_reason: CompletionReason = CompletionReason.CUSTOM_COMPLETION_FAILED,
        message: str | None = None,
        error_type: str | None = None,
        data: str | None = None,
        stack_trace: list[str] | None = None,
    ) -> None:
        if not message:  # in the words of the official SDK, so that what is made of them is the same under both
            message = f"Batch completed as failed by should_complete ({completion_reason.value})"
        super().__init__(message, error_type, data, stack_trace)
        self.completion_reason = completion_reason


register_operation_error(BatchCompletionError)


@dataclass(frozen=True)
class BatchItem(Generic[R]):
    """The outcome of one branch.

    Args:
        index: Its position among the inputs.
        status: Where it stands; STARTED when the batch ended before it did.
        result: What it returned.
        error: Why it failed.

    """

    index: int
    status: BatchItemStatus
    result: R | None = None
    error: ErrorObject | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the recorded form; the result stays as it is."""
        return {
            "index": self.index,
            "status": self.status._value_,
            "result": self.result,
            "error": self.error.to_dict() if self.error else None,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BatchItem[R]:
        """Read the recorded form.

        Raises:
            KeyError: Without ``index`` or ``status``.
            ValueError: For a status that is not known.

        """
        index, status = data["index"], data["status"]
        status = _STATUSES.get(status) if isinstance(status, str) else None
        if status is None:
            status = BatchItemStatus(data["status"])
        error = data.get("error")
        return make_item(index, status, data.get("result"), ErrorObject.from_dict(error) if error else None)


_STATUSES = {status.value: status for status in BatchItemStatus}


def make_item(index: int, status: BatchItemStatus, result: Any, error: ErrorObject | None) -> BatchItem[Any]:
    """Make an item in a third of the time that a frozen dataclass takes, of which a batch may need thousands."""
    item: BatchItem[Any] = object.__new__(BatchItem)
    fields = item.__dict__
    fields["index"] = index
    fields["status"] = status
    fields["result"] = result
    fields["error"] = error
    return item


@dataclass(frozen=True)
class BatchResult(BatchResultProtocol[R]):
    """What map and parallel return: every admitted branch, in order, and why the batch ended.

    A failed branch does not raise; call `throw_if_error` where a failure should.

    Args:
        all: The branches that were admitted.
        completion_reason: Why the batch ended.

    Example:
        >>> batch = context.map(orders, ship)
        >>> batch.throw_if_error()
        >>> receipts = batch.get_results()

    """

    all: list[BatchItem[R]]
    completion_reason: CompletionReason

    @classmethod
    def from_dict(cls, data: dict[str, Any], completion_config: CompletionConfig | None = None) -> BatchResult[R]:
        """Read the recorded form.

        Args:
            data: With ``all`` and, if it was recorded, ``completionReason``.
            completion_config: From which a missing reason is inferred.

        Raises:
            KeyError: Without ``all``.
            ValueError: For a status or reason that is not known.

        """
        items: list[BatchItem[R]] = [BatchItem.from_dict(item) for item in data["all"]]
        reason = data.get("completionReason")
        if reason is not None:
            return cls(items, CompletionReason(reason))
        inferred = cls.from_items(items, completion_config)
        logger.warning(
            "a recorded BatchResult has no completionReason; from its items it must be %s",
            inferred.completion_reason.value,
        )
        return inferred

    @classmethod
    def from_items(cls, items: list[BatchItem[R]], completion_config: CompletionConfig | None = None) -> BatchResult[R]:
        """Make a result of branches, inferring why the batch ended.

        Args:
            items: All branches of the batch; it is exact only if none is missing.
            completion_config: When the batch was to be done.

        """
        succeeded = sum(item.status is BatchItemStatus.SUCCEEDED for item in items)
        failed = sum(item.status is BatchItemStatus.FAILED for item in items)
        statuses = tuple(CompletionItemStatus(item.index, None, item.status) for item in items)
        return cls(
            items, CompletionPolicy.from_config(len(items), completion_config).reason(succeeded, failed, statuses)
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the recorded form; results stay as they are."""
        return {
            "all": [item.to_dict() for item in self.all],
            "completionReason": self.completion_reason.value,
        }

    def _having(self, status: BatchItemStatus) -> list[BatchItem[R]]:
        return [item for item in self.all if item.status is status]

    def succeeded(self) -> list[BatchItem[R]]:
        """Give the branches that succeeded."""
        return self._having(BatchItemStatus.SUCCEEDED)

    def failed(self) -> list[BatchItem[R]]:
        """Give the branches that failed."""
        return self._having(BatchItemStatus.FAILED)

    def started(self) -> list[BatchItem[R]]:
        """Give the branches that had not ended when the batch did."""
        return self._having(BatchItemStatus.STARTED)

    @property
    def status(self) -> BatchItemStatus:
        """SUCCEEDED or FAILED: as a ``should_complete`` predicate said, else whether any branch failed."""
        if self.completion_reason is CompletionReason.CUSTOM_COMPLETION_SUCCEEDED:
            return BatchItemStatus.SUCCEEDED
        if self.completion_reason is CompletionReason.CUSTOM_COMPLETION_FAILED or self.has_failure:
            return BatchItemStatus.FAILED
        return BatchItemStatus.SUCCEEDED

    @property
    def has_failure(self) -> bool:
        """Whether any branch failed."""
        return any(item.status is BatchItemStatus.FAILED for item in self.all)

    def throw_if_error(self) -> None:
        """Raise the first failure, if there is one.

        Raises:
            ChildContextError: The failure of the first branch that failed, with its error as ``__cause__``.
            SerDesError: Instead, when that is why the branch failed.
            BatchCompletionError: When no branch failed, but a ``should_complete`` predicate ended the batch as failed.

        """
        for item in self.all:
            if item.status is BatchItemStatus.FAILED:
                if item.error is None:
                    raise ChildContextError(f"branch {item.index} failed, and no error was recorded for it")
                item.error.raise_as_operation_error(ChildContextError)
        if self.completion_reason is CompletionReason.CUSTOM_COMPLETION_FAILED:
            raise BatchCompletionError(self.completion_reason)

    def get_results(self) -> list[R]:
        """Give the results of the branches that succeeded, in order."""
        return [item.result for item in self.succeeded()]  # type: ignore[misc]  # None only where R allows it

    def get_errors(self) -> list[ErrorObject | None]:
        """Give the errors of the branches that failed, in order; None where none was recorded."""
        return [item.error for item in self.failed()]

    @property
    def success_count(self) -> int:
        """How many branches succeeded."""
        return len(self.succeeded())

    @property
    def failure_count(self) -> int:
        """How many branches failed."""
        return len(self.failed())

    @property
    def started_count(self) -> int:
        """How many branches had not ended when the batch did."""
        return len(self.started())

    @property
    def total_count(self) -> int:
        """How many branches were admitted."""
        return len(self.all)


_REASONS: Final = {reason.value: reason for reason in CompletionReason}


def _count(value: Any) -> int | None:
    """Give ``value`` if it is a count; True is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _parse_object(payload: Any) -> dict[str, Any]:
    """Parse a JSON object; {} for anything else."""
    try:
        data = json.loads(payload) if isinstance(payload, str) else None
    except (ValueError, RecursionError):
        data = None
    return data if isinstance(data, dict) else {}


def recorded_failures(payload: str | None) -> float:
    """Give how many branches had failed by a summary, or no bound where it does not say."""
    failed = _count(_parse_object(payload).get("failureCount"))
    return math.inf if failed is None else failed


def _indexes(value: Any, total: int) -> list[int] | None:
    """Give ``value`` if it is a list of branches among the first ``total``."""
    if not isinstance(value, list):
        return None
    return value if all(_count(index) is not None and index < total for index in value) else None


@dataclass(frozen=True)
class CompletionRecord:
    """How a batch ended, recorded in place of a result that was too large: replay rebuilds the live result from it.

    Args:
        completion_reason: Why it ended.
        started_total: How many branches were admitted; they are the first so many.
        started_indexes: Those of them that had not ended.

    """

    completion_reason: CompletionReason
    started_total: int
    started_indexes: frozenset[int]

    @classmethod
    def from_summary_payload(cls, payload: str | None) -> CompletionRecord | None:
        """Read the record from a summary; None when the payload, whatever it is, holds no valid record."""
        data = _parse_object(payload)
        name, total = data.get("completionReason"), _count(data.get("totalCount"))
        reason = _REASONS.get(name) if isinstance(name, str) else None
        if reason is None or total is None:
            return None
        listed = isinstance(data.get("startedIndexes"), list)
        indexes = _indexes(data.get("startedIndexes" if listed else "completedIndexes"), total)
        if indexes is None:
            return None
        started = frozenset(indexes) if listed else frozenset(range(total)).difference(indexes)
        return cls(reason, total, started)

    @staticmethod
    def summary_index_fields(items: Iterable[BatchItem[Any]]) -> dict[str, list[int]]:
        """Give the indexes that a record needs: of the started or of the completed branches, whichever are fewer."""
        started: list[int] = []
        completed: list[int] = []
        for item in items:
            (started if item.status is BatchItemStatus.STARTED else completed).append(item.index)
        if len(started) <= len(completed):
            return {"startedIndexes": started}
        return {"completedIndexes": completed}

    @staticmethod
    def summary_envelope(result: BatchResult[Any], result_type: str, summary: str | None) -> str:
        """Give what is recorded of a batch result that is too large to record.

        Args:
            result: The live result.
            result_type: ``"MapResult"`` or ``"ParallelResult"``.
            summary: The user's summary, if there is one.

        """
        envelope: dict[str, Any] = {
            "type": result_type,
            "totalCount": result.total_count,
            "completionReason": result.completion_reason.value,
            **CompletionRecord.summary_index_fields(result.all),
            "startedCount": result.started_count,
            "successCount": result.success_count,
            "failureCount": result.failure_count,
            "status": result.status.value,
        }
        if summary is not None:
            envelope["summary"] = summary
        return json.dumps(envelope)


def envelope_summary_generator(
    result_type: str, custom_generator: SummaryGenerator[Any] | None
) -> SummaryGenerator[Any]:
    """Make the summary generator of a map or parallel, with the user's inside.

    Args:
        result_type: ``"MapResult"`` or ``"ParallelResult"``.
        custom_generator: The user's; it gets the live result.

    """

    def generate(result: Any) -> str:
        summary: Any = None if custom_generator is None else custom_generator(result)
        return CompletionRecord.summary_envelope(result, result_type, None if summary is None else str(summary))

    return generate
