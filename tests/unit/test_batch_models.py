"""What map and parallel return, and when they are done."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdure.concurrency.models import (
    BatchCompletionError,
    BatchItem,
    BatchItemStatus,
    BatchResult,
    Branch,
    BranchEvent,
    BranchEventKind,
    BranchStatus,
    CompletionPolicy,
    CompletionReason,
    CompletionRecord,
    Executable,
    envelope_summary_generator,
)
from perdure.config import CompletionConfig, CompletionOutcome, complete_batch, continue_batch
from perdure.exceptions import ChildContextError, InvalidStateError, SerDesError, ValidationError
from perdure.lambda_service import ErrorObject

OK, FAILED, STARTED = BatchItemStatus.SUCCEEDED, BatchItemStatus.FAILED, BatchItemStatus.STARTED
ERROR = ErrorObject("out", "shop.OutOfStock", None, None)


def batch(*items: BatchItem[Any], reason: CompletionReason = CompletionReason.ALL_COMPLETED) -> BatchResult[Any]:
    return BatchResult(list(items), reason)


MIXED = batch(BatchItem(0, OK, "a"), BatchItem(1, FAILED, error=ERROR), BatchItem(2, STARTED), BatchItem(3, OK))


def test_a_result_sorts_its_branches() -> None:
    assert [item.index for item in MIXED.succeeded()] == [0, 3]
    assert [item.index for item in MIXED.failed()] == [1]
    assert [item.index for item in MIXED.started()] == [2]
    assert (MIXED.success_count, MIXED.failure_count, MIXED.started_count, MIXED.total_count) == (2, 1, 1, 4)
    assert MIXED.get_results() == ["a", None]
    assert MIXED.get_errors() == [ERROR]
    assert MIXED.has_failure


def test_a_result_survives_a_round_trip_through_json() -> None:
    assert BatchResult.from_dict(json.loads(json.dumps(MIXED.to_dict()))) == MIXED


@pytest.mark.parametrize(
    ("reason", "failed", "status"),
    [
        ("ALL_COMPLETED", False, OK),
        ("ALL_COMPLETED", True, FAILED),
        ("CUSTOM_COMPLETION_SUCCEEDED", True, OK),
        ("CUSTOM_COMPLETION_FAILED", False, FAILED),
    ],
)
def test_a_predicate_s_word_decides_the_status(reason: str, failed: bool, status: BatchItemStatus) -> None:
    item: BatchItem[Any] = BatchItem(0, FAILED if failed else OK)
    assert batch(item, reason=CompletionReason(reason)).status is status


def test_the_first_failure_is_thrown() -> None:
    with pytest.raises(ChildContextError, match="out") as caught:
        MIXED.throw_if_error()
    assert caught.value.error_type == "shop.OutOfStock"


def test_a_serdes_failure_is_thrown_as_itself() -> None:
    error = ErrorObject("m", "perdure.exceptions.SerDesError", None, None)
    with pytest.raises(SerDesError):
        batch(BatchItem(0, FAILED, error=error)).throw_if_error()


def test_a_failure_without_an_error_names_its_branch() -> None:
    with pytest.raises(ChildContextError, match="branch 7"):
        batch(BatchItem(7, FAILED)).throw_if_error()


def test_a_batch_that_a_predicate_failed_throws() -> None:
    with pytest.raises(BatchCompletionError) as caught:
        batch(BatchItem(0, OK), reason=CompletionReason.CUSTOM_COMPLETION_FAILED).throw_if_error()
    assert caught.value.completion_reason is CompletionReason.CUSTOM_COMPLETION_FAILED


def test_nothing_is_thrown_without_a_failure() -> None:
    batch(BatchItem(0, OK), BatchItem(1, STARTED)).throw_if_error()


def test_a_missing_reason_is_inferred_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    read: BatchResult[Any] = BatchResult.from_dict({"all": [{"index": 0, "status": "FAILED"}]})
    assert read.completion_reason is CompletionReason.FAILURE_TOLERANCE_EXCEEDED
    assert "completionReason" in caplog.text


@pytest.mark.parametrize(
    ("config", "succeeded", "failed", "complete", "reason"),
    [
        (None, 3, 0, True, "ALL_COMPLETED"),
        (None, 1, 1, False, "FAILURE_TOLERANCE_EXCEEDED"),
        (CompletionConfig(min_successful=1), 1, 0, True, "MIN_SUCCESSFUL_REACHED"),
        (CompletionConfig(min_successful=3), 3, 0, True, "ALL_COMPLETED"),
        (CompletionConfig(tolerated_failure_count=1), 0, 2, False, "FAILURE_TOLERANCE_EXCEEDED"),
        (CompletionConfig(tolerated_failure_percentage=34), 0, 1, False, "ALL_COMPLETED"),
        (CompletionConfig(tolerated_failure_percentage=33), 2, 1, True, "FAILURE_TOLERANCE_EXCEEDED"),
        (CompletionConfig(should_complete=lambda _s: complete_batch()), 0, 1, True, "CUSTOM_COMPLETION_SUCCEEDED"),
        (
            CompletionConfig(should_complete=lambda _s: complete_batch(CompletionOutcome.FAILED)),
            3,
            0,
            True,
            "CUSTOM_COMPLETION_FAILED",
        ),
        (CompletionConfig(should_complete=lambda _s: continue_batch()), 0, 3, True, "ALL_COMPLETED"),
    ],
)
def test_a_policy_says_whether_three_branches_are_done(
    config: CompletionConfig | None, succeeded: int, failed: int, complete: bool, reason: str
) -> None:
    policy = CompletionPolicy.from_config(3, config)
    assert policy.is_complete(succeeded, failed) is complete
    assert policy.reason(succeeded, failed).value == reason


def test_a_predicate_that_answers_nonsense_is_told_what_to_answer() -> None:
    nonsense: Any = bool
    with pytest.raises(ValidationError, match="complete_batch"):
        CompletionPolicy(1, should_complete=nonsense).evaluate(0, 0)


def test_a_given_decision_is_not_asked_for_again() -> None:
    def forbidden(_status: Any) -> Any:
        raise AssertionError

    assert not CompletionPolicy(3, should_complete=forbidden).is_complete(0, 1, (), continue_batch())


def test_a_record_rebuilds_which_branches_had_started() -> None:
    few = batch(
        BatchItem(0, STARTED), BatchItem(1, OK), BatchItem(2, OK), reason=CompletionReason.MIN_SUCCESSFUL_REACHED
    )
    many = batch(BatchItem(0, STARTED), BatchItem(1, STARTED), BatchItem(2, OK))
    for result, started in ((few, {0}), (many, {0, 1})):
        record = CompletionRecord.from_summary_payload(envelope_summary_generator("MapResult", None)(result))
        assert record == CompletionRecord(result.completion_reason, 3, frozenset(started))


def test_an_envelope_carries_the_user_s_summary() -> None:
    envelope = json.loads(
        envelope_summary_generator("ParallelResult", lambda result: f"{result.total_count} sent")(MIXED)
    )
    assert (envelope["type"], envelope["summary"], envelope["status"]) == ("ParallelResult", "4 sent", "FAILED")


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "",
        "{",
        "[" * 100_000,
        '{"totalCount": true, "completionReason": "ALL_COMPLETED", "startedIndexes": []}',
        '{"totalCount": 1, "completionReason": "ALL_COMPLETED", "startedIndexes": [1]}',
        '{"totalCount": 1, "completionReason": "ALL_COMPLETED", "startedIndexes": [false]}',
        '{"totalCount": 1, "completionReason": "NEW", "startedIndexes": []}',
    ],
)
def test_a_payload_without_a_valid_record_gives_none(payload: str | None) -> None:
    assert CompletionRecord.from_summary_payload(payload) is None


def test_a_branch_starts_only_when_it_may() -> None:
    branch: Branch[Any, Any] = Branch(Executable(3, print))
    branch.start()
    with pytest.raises(InvalidStateError, match="branch 3"):
        branch.start()
    branch.suspend_until(2.0)
    assert (branch.status, branch.resume_at) == (BranchStatus.SUSPENDED_WITH_TIMEOUT, 2.0)
    branch.start()
    branch.suspend()
    with pytest.raises(InvalidStateError):
        branch.start()
    branch.fail(ValueError("x"))
    assert branch.status is BranchStatus.FAILED


def test_events_say_what_became_of_a_run() -> None:
    events: list[BranchEvent[Any]] = [
        BranchEvent.completed(0, "r"),
        BranchEvent.failed(0, ValueError()),
        BranchEvent.suspended(0),
        BranchEvent.suspended_until(0, 1.0),
        BranchEvent.orphaned(0),
        BranchEvent.fatal(0, KeyboardInterrupt()),
    ]
    assert [event.kind for event in events] == list(BranchEventKind)
