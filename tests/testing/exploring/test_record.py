"""The explorer holds what a run gives against its record: what is wrong in the same way each time is found, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perdure import StepError, durable_execution
from perdure._core import RUN_BRANCH
from perdure.concurrency.models import BatchItem, BatchItemStatus, BatchResult, CompletionReason
from perdure.config import CompletionConfig, NestingType
from perdure.engine.operations import batch as executor
from perdure.engine.operations import child, condition, step
from perdure.serdes import JsonSerDes
from support.explored import batches, polling, search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perdure.testing import Report

SUCCEEDED, FAILED, STARTED = BatchItemStatus.SUCCEEDED, BatchItemStatus.FAILED, BatchItemStatus.STARTED
FIRST = CompletionConfig.first_successful()


def late_and_bad(inner: Any) -> None:
    inner.wait(1)
    raise ValueError("late")


def late(inner: Any) -> str:
    inner.wait(5)
    return "late"


def early(inner: Any) -> str:
    return inner.step(lambda _: "early")


def one_fails_late(_event: Any, context: Any) -> Any:
    return context.parallel([late_and_bad, early, early], "sides").get_results()


def one_fails_late_and_flat(_event: Any, context: Any) -> Any:
    flat = NestingType.FLAT
    return context.parallel([late_and_bad, early, early], "sides", nesting_type=flat).total_count


def the_first_of_two_waits(_event: Any, context: Any) -> Any:
    branches = [lambda inner: inner.wait(60), lambda inner: inner.wait(3600)]
    return context.parallel(branches, "race", completion_config=FIRST).total_count


def two_of_three(_event: Any, context: Any) -> Any:
    enough = CompletionConfig(min_successful=2)
    return context.parallel([late, late, early], "enough", completion_config=enough).success_count


def six_of_ten(_event: Any, context: Any) -> Any:
    enough = CompletionConfig(min_successful=6)

    def item(inner: Any, number: int, *_: Any) -> int:
        return inner.step(lambda _: number)

    return context.map(range(10), item, "ten", max_concurrency=5, completion_config=enough).total_count


EARLY_ENDS = [one_fails_late, one_fails_late_and_flat, the_first_of_two_waits, two_of_three, six_of_ten]


@pytest.mark.parametrize("handler", EARLY_ENDS, ids=lambda handler: handler.__name__)
def test_a_batch_that_ends_early_gives_what_is_recorded(handler: Callable[[Any, Any], Any]) -> None:
    report = search(handler)
    report.assert_ok()
    assert report.complete


# ---- results that are not what is recorded


def planted(monkeypatch: pytest.MonkeyPatch, plant: Callable[[list[Any], Any], tuple[list[Any], Any]]) -> None:
    """Let batches give something else than they should."""
    monkeypatch.setattr(executor, "BatchResult", lambda items, reason: BatchResult(*plant(items, reason)))


def without_the_last(items: list[Any], reason: Any) -> tuple[list[Any], Any]:
    return items[:-1], reason


def without_the_second(items: list[Any], reason: Any) -> tuple[list[Any], Any]:
    return items[:1] + items[2:], reason


def as_if_nobody_had_come_far(items: list[Any], reason: Any) -> tuple[list[Any], Any]:
    return [items[0], *(BatchItem(item.index, STARTED) for item in items[1:])], reason


def as_if_the_last_had_failed(items: list[Any], reason: Any) -> tuple[list[Any], Any]:
    return [*items[:-1], BatchItem(2, FAILED)], reason


def with_the_result_of_another(items: list[Any], reason: Any) -> tuple[list[Any], Any]:
    return [*items[:-1], BatchItem(2, SUCCEEDED, "another")], reason


def with_another_error(items: list[Any], reason: Any) -> tuple[list[Any], Any]:
    return [BatchItem(0, FAILED), *items[1:]], reason


def as_if_all_had_ended(items: list[Any], _reason: Any) -> tuple[list[Any], Any]:
    return items[:2], CompletionReason.ALL_COMPLETED


def with_one_twice(items: list[Any], reason: Any) -> tuple[list[Any], Any]:
    return [*items, items[-1]], reason


PLANTS: list[tuple[Any, str]] = [
    (without_the_last, 'omits parallel-branch-2, which is recorded as SUCCEEDED "early"'),
    (without_the_second, 'omits parallel-branch-1, which is recorded as SUCCEEDED "early"'),
    (without_the_second, "has the items [0, 2], which are not the first 2 of 3"),
    (as_if_nobody_had_come_far, 'has parallel-branch-1 as STARTED, and it is recorded as SUCCEEDED "early"'),
    (as_if_the_last_had_failed, 'has parallel-branch-2 as FAILED, and it is recorded as SUCCEEDED "early"'),
    (with_the_result_of_another, 'has parallel-branch-2 as SUCCEEDED with "another", and it is recorded as SUCCEEDED'),
    (with_another_error, "has parallel-branch-0 as FAILED with None, and it is recorded as FAILED ValueError: late"),
    (as_if_all_had_ended, "is said to be ALL_COMPLETED, and 2 of 3 branches have ended"),
    (without_the_last, "has 2 items, and 3 of 3 branches were admitted before it ended"),
    (with_one_twice, "has the items [0, 1, 2, 2], which are not the first 4 of 3"),
]


@pytest.mark.parametrize(("plant", "told"), PLANTS, ids=[plant.__name__ for plant, _ in PLANTS])
def test_a_result_that_contradicts_the_record_is_found(monkeypatch: pytest.MonkeyPatch, plant: Any, told: str) -> None:
    planted(monkeypatch, plant)
    reports = [search(one_fails_late) for _ in range(2)]
    assert any(f"the result of sides {told}" in difference for difference in reports[0].differences)
    assert str(reports[0].schedule) == "undisturbed"
    assert "what the handler was given contradicts the record when nothing went wrong [undisturbed]:" in str(reports[0])
    assert reports[1].differences == reports[0].differences == reports[0].reproduce().differences


def test_of_flat_branches_their_operations_tell_who_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, without_the_last)
    assert any(
        told.startswith("the result of sides omits branch 2, whose Step ") and told.endswith(' SUCCEEDED "early"')
        for told in search(one_fails_late_and_flat).differences
    )


def test_the_batch_of_a_function_that_is_invoked_is_named_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, without_the_last)
    inner = durable_execution(one_fails_late)
    report = search(lambda _event, context: context.invoke("inner", {}), durable_functions={"inner": inner})
    assert any("the result of sides of inner omits parallel-branch-2" in told for told in report.differences)


class AdmitsWhomAThreadAsksFor:
    """A schedule in which who is in is a matter of threads."""

    def __init__(self, *given: Any) -> None:
        self._batch = Batch(*given)
        self._asked = 0

    def next(self, now: int) -> Any:
        found = self._batch.next(now)
        if found[0] == RUN_BRANCH:
            self._asked = max(self._asked, found[1] + 1)
        return found

    @property
    def admitted(self) -> int:
        return self._asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)


class CountsNoRecordFirst(AdmitsWhomAThreadAsksFor):
    """A schedule that lets branches go on before what is recorded of the others counts."""

    def open(self, _resumed: bool) -> int:
        return int(self._batch.open(False))


Batch: Any = executor.Batch


@pytest.mark.parametrize("handler", [the_first_of_two_waits, six_of_ten], ids=lambda handler: handler.__name__)
def test_a_batch_whose_items_hang_on_threads_is_found(
    monkeypatch: pytest.MonkeyPatch, handler: Callable[[Any, Any], Any]
) -> None:
    monkeypatch.setattr(executor, "Batch", AdmitsWhomAThreadAsksFor)
    report = search(handler)
    assert str(report.schedule) == "hands:1"
    assert any(told.startswith("the result of ") and "admitted before it ended" in told for told in report.differences)
    assert "there was 1 thread for the branches of maps and parallels [hands:1]" in str(report)
    assert report.reproduce().differences == report.differences


@pytest.mark.parametrize("handler", EARLY_ENDS, ids=lambda handler: handler.__name__)
def test_a_batch_that_goes_on_before_it_has_counted_what_is_recorded_is_found(
    monkeypatch: pytest.MonkeyPatch, handler: Callable[[Any, Any], Any]
) -> None:
    monkeypatch.setattr(executor, "Batch", CountsNoRecordFirst)
    reports = [search(handler) for _ in range(2)]
    assert any(told.startswith("the result of ") for told in reports[0].differences)
    assert reports[0].differences == reports[1].differences == reports[1].reproduce().differences


# ---- steps, checks and contexts


def replaced(monkeypatch: pytest.MonkeyPatch, module: Any, stand_in: Callable[..., Any]) -> None:
    run = module._run
    monkeypatch.setattr(module, "_run", lambda *given, **named: stand_in(run, *given, **named))


def in_a_child(_event: Any, context: Any) -> Any:
    return context.run_in_child_context(lambda inner: inner.step(lambda _: 1, "one"), "child")


def something_else(run: Any, *given: Any, **named: Any) -> Any:
    return [(yield from run(*given, **named))]


def and_once_more(run: Any, context: Any, operation: Any, func: Any, *rest: Any) -> Any:
    value = yield from run(context, operation, func, *rest)
    func(None)
    return value


def twice(run: Any, context: Any, operation: Any, func: Any, *rest: Any) -> Any:
    return (yield from run(context, operation, lambda *given: (func(*given), func(*given))[1], *rest))


def a_failure(run: Any, *given: Any, **named: Any) -> Any:
    yield from run(*given, **named)
    raise StepError("no")


def found(handler: Callable[[Any, Any], Any]) -> Iterator[str]:
    report: Report = search(handler)
    assert str(report.schedule) == "undisturbed"
    yield from report.differences


def test_a_value_that_is_not_the_recorded_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, step, something_else)
    assert "one gave [1], and is recorded as SUCCEEDED with 1" in found(in_a_child)


def test_the_value_of_a_context_that_is_not_the_recorded_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, child, something_else)
    assert "child gave [1], and is recorded as SUCCEEDED with 1" in found(in_a_child)


def test_a_state_that_is_not_the_recorded_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, condition, something_else)
    assert "poll gave [3], and is recorded as SUCCEEDED with 3" in found(polling)


@pytest.mark.parametrize(("module", "name"), [(step, "one"), (child, "child")], ids=["step", "child"])
def test_a_failure_of_what_is_recorded_to_have_succeeded_is_found(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    replaced(monkeypatch, module, a_failure)
    assert f"{name} raised StepError, although it is recorded as SUCCEEDED 1" in found(in_a_child)


def test_a_function_that_runs_although_its_end_is_recorded_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, step, and_once_more)
    assert "the function of one ran again, although it is recorded as SUCCEEDED 1" in found(in_a_child)


def test_a_function_that_always_runs_twice_in_an_attempt_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, step, twice)
    assert "the function of one ran 2 times in 1 attempt" in found(in_a_child)


def test_a_check_that_always_runs_twice_in_an_attempt_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, condition, twice)
    assert "the function of poll ran 6 times in 3 attempts" in found(polling)


def test_what_is_not_written_by_the_default_serdes_is_not_read() -> None:
    class Backwards(JsonSerDes[Any]):
        def serialize(self, value: Any, serdes_context: Any) -> str:
            return super().serialize(value, serdes_context)[::-1]

        def deserialize(self, data: str, serdes_context: Any) -> Any:
            return super().deserialize(data[::-1], serdes_context)

    def handler(_event: Any, context: Any) -> Any:
        def item(inner: Any, number: int, *_: Any) -> int:
            return inner.step(lambda _: number, serdes=Backwards())

        results = context.map([12, 34], item, "map", serdes=Backwards(), item_serdes=Backwards())
        return context.run_in_child_context(lambda _: results["all"][0]["result"], serdes=Backwards())

    search(handler).assert_ok()


def test_what_is_run_again_for_a_large_result_is_no_contradiction() -> None:
    large = "x" * 300_000

    def handler(_event: Any, context: Any) -> Any:
        def item(inner: Any, number: int, *_: Any) -> Any:
            return inner.step(lambda _: number), large

        done = context.map(range(3), item, "map")
        context.wait(1)
        return done.success_count, len(context.run_in_child_context(lambda inner: inner.step(lambda _: 1) and large))

    search(handler, orders=2).assert_ok()


@pytest.mark.parametrize("event", [2, 5])
def test_results_that_are_as_they_should_be_are_not_reported(event: int) -> None:
    search(batches, event).assert_ok()
