"""The explorer's runs differ in how many threads branches have, and a race hides nothing of what comes after it."""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest

from perdure.config import CompletionConfig, NestingType
from perdure.testing.explorer import Schedule
from support.explored import GLOBAL, batches, search

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = CompletionConfig.first_successful()


def schedules(handler: Callable[[Any, Any], Any], event: Any = None, **options: Any) -> list[str]:
    tried: list[str] = []
    search(handler, event, on_progress=lambda *now: tried.append(str(now[2])), **options).assert_ok()
    return tried


def race(context: Any, *branches: Any) -> Any:
    return context.parallel(branches, "race", completion_config=FIRST)


# ---- which are tried


def test_branches_are_tried_with_one_thread_with_two_and_with_one_each() -> None:
    tried = schedules(batches, 3, orders=4)
    assert tried[:6] == ["undisturbed", "undisturbed", "undisturbed", "hands:1", "hands:2", "hands:3"]
    assert tried[-4:] == ["order:1", "order:2+hands:3", "order:3", "order:4+hands:3"]


def test_several_threads_crash_where_branches_are_at_work_only() -> None:
    def handler(_event: Any, context: Any) -> Any:
        context.step(lambda _: 1, "before")
        context.map(range(2), lambda inner, *_: inner.step(lambda _: 1), "map")
        context.step(lambda _: 1, "after")

    tried = schedules(handler)
    crashes = [text for text in tried if text.startswith("crash-after") and text.endswith("+hands:2")]
    # The call before, a step and an end of each item, the end of the map, the call after.
    assert crashes == [f"crash-after:{call}+hands:2" for call in range(2, 6)]


def test_where_there_are_no_branches_threads_make_no_difference() -> None:
    assert not any("hands" in text for text in schedules(lambda _event, context: context.step(lambda _: 1)))


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("hands:1", Schedule(hands=1)),
        ("undisturbed+hands:2", Schedule(hands=2)),
        ("crash-after:3+hands:1", Schedule("crash-after", 3, hands=1)),
        ("order:7/3+hands:2", Schedule("order", 7, 3, 2)),
        ("order:7/0", Schedule("order", 7, 0)),
    ],
)
def test_threads_are_part_of_a_schedules_text(text: str, schedule: Schedule) -> None:
    assert Schedule.parse(text) == schedule
    assert Schedule.parse(str(schedule)) == schedule
    assert f"{schedule.hands} thread" in schedule.in_words() or schedule.hands is None


@pytest.mark.parametrize(
    "text", ["hands", "hands:0", "hands:", "+hands:1", "order:1+hands:x", "lost:1+late:1", "hands:1+hands:1", "lost:1+"]
)
def test_what_is_no_number_of_threads_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no schedule: write KIND:NUMBER.*\+hands:NUMBER"):
        Schedule.parse(text)


def test_threads_that_have_no_branches_make_no_schedule() -> None:
    report = search(lambda _event, context: context.map([1], lambda *_: 1), schedule="hands:2")
    assert report.unfit == "hands:2 did not come about: there never was more than one branch to go on with"
    for schedule in ("hands:1", "hands:9", "order:1+hands:2", "late:2+hands:2", "lost:2+hands:3"):
        search(batches, 2, schedule=schedule).assert_ok()


# ---- what hangs on threads


def test_what_branches_do_before_their_first_operation_hangs_on_threads() -> None:
    def handler(_event: Any, context: Any) -> Any:
        begun: list[int] = []

        def branch(inner: Any) -> Any:
            begun.append(1)
            return inner.step(lambda _: 1)

        race(context, branch, branch, branch)
        return context.step(lambda _: len(begun), "count")

    report = search(handler)
    assert str(report.schedule) == "hands:2"
    assert report.differences[0] == "the outcome was SUCCEEDED 1, and is SUCCEEDED 2"
    assert "when there were 2 threads for the branches of maps and parallels [hands:2]:" in str(report)
    assert report.reproduce().differences == report.differences
    search(handler, schedule="hands:1").assert_ok()


def lost_updates(_event: Any, context: Any) -> int:
    box = {"total": 0}

    def item(inner: Any, number: int, *_: Any) -> None:
        before = box["total"]
        box["total"] = before + inner.step(lambda _: number)

    context.map([1, 2, 3], item, "map")
    return context.step(lambda _: box["total"], "total")


def test_what_goes_wrong_only_where_two_branches_meet_is_found() -> None:
    reports = [search(lost_updates) for _ in range(3)]
    assert {str(report.schedule) for report in reports} == {"hands:2"}
    assert reports[0].differences[0].startswith("the outcome was SUCCEEDED 6, and is SUCCEEDED ")
    assert reports[0].differences == reports[1].differences == reports[2].reproduce().differences
    search(lost_updates, schedule="hands:1").assert_ok()


def test_the_order_in_which_branches_meet_is_drawn_and_made_as_small_as_it_gets() -> None:
    reports = [search(lost_updates, schedule=f"order:{seed}+hands:3") for seed in range(1, 9)]
    found = [report for report in reports if not report.ok]
    assert found
    again = search(lost_updates, schedule=str(found[0].schedule))
    assert again.differences == found[0].differences
    # With nothing drawn, whoever goes on goes on until it waits: as one after the other.
    search(lost_updates, schedule="order:1/0+hands:3").assert_ok()


def test_branches_that_wait_for_a_lock_of_the_handlers_hold_nobody_up_for_long() -> None:
    def handler(_event: Any, context: Any) -> Any:
        lock = threading.Lock()

        def item(inner: Any, number: int, *_: Any) -> Any:
            with lock:
                return [inner.step(lambda _: number, "a"), inner.step(lambda _: number, "b")]

        return context.map(range(3), item, "map").get_results()

    for schedule in ("hands:2", "hands:3", "order:1+hands:3"):
        report = search(handler, schedule=schedule)
        report.assert_ok()
        assert report.expected.result == "[[0, 0], [1, 1], [2, 2]]"


def test_branches_may_wait_for_each_other_where_each_has_a_thread() -> None:
    barrier = threading.Barrier(2)

    def handler(_event: Any, context: Any) -> Any:
        def item(inner: Any, number: int, *_: Any) -> int:
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(0.01)
            return inner.step(lambda _: number)

        return context.map(range(2), item, "map").get_results()

    search(handler, schedule="hands:2").assert_ok()


def test_where_a_branch_hangs_in_a_thread_of_its_own_is_shown() -> None:
    go_on, threads = threading.Event(), set()

    def handler(_event: Any, context: Any) -> Any:
        def item(inner: Any, number: int, *_: Any) -> int:
            threads.add(threading.get_ident())
            if len(threads) > 1:
                go_on.wait(60)
            return inner.step(lambda _: number)

        threads.clear()
        return context.map(range(2), item, "map").get_results()

    try:
        report = search(handler, trial_limit=3)
    finally:
        go_on.set()
    assert str(report.schedule) == "hands:2"
    assert "it had not come to its end after 3 s, and was here:" in report.differences[0]
    assert "go_on.wait(60)" in report.differences[0]


def test_batches_inside_of_branches_meet_as_well() -> None:
    def handler(_event: Any, context: Any) -> Any:
        def item(inner: Any, number: int, *_: Any) -> Any:
            return inner.map([number, 10 * number], batches_of_one, "inner").get_results()

        def batches_of_one(inner: Any, number: int, *_: Any) -> Any:
            inner.wait(1)
            return inner.step(lambda _: number)

        flat = NestingType.FLAT
        outer = context.map([1, 2, 3], item, "outer", nesting_type=flat, max_concurrency=2).get_results()
        return outer, context.map([1, 2, 3], item, "again").get_results()

    report = search(handler, orders=6)
    report.assert_ok()
    assert report.complete


# ---- after a race


def after_a_race(bug: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def handler(_event: Any, context: Any) -> Any:
        won = race(context, lambda inner: inner.wait(1) or "short", lambda inner: inner.wait(60)).get_results()
        return won, bug(context)

    return handler


def a_list_filled_by_a_step(context: Any) -> Any:
    seen: list[int] = []
    context.step(lambda _: seen.append(1), "note")
    context.step(lambda _: 2, "last")
    return seen


def another_operation_when_run_again(context: Any) -> Any:
    GLOBAL["count"] += 1
    context.step(lambda _: 1, f"step-{min(GLOBAL['count'], 2)}")
    context.wait(5)


def a_name_that_comes_once(context: Any) -> Any:
    GLOBAL["count"] += 1
    context.step(lambda _: 1, "one")
    if GLOBAL["count"] > 1:
        context.step(lambda _: 2, "two")


@pytest.mark.parametrize(
    "bug",
    [a_list_filled_by_a_step, another_operation_when_run_again, a_name_that_comes_once],
    ids=lambda bug: bug.__name__,
)
def test_a_race_does_not_hide_what_goes_wrong_after_it(bug: Callable[[Any], Any]) -> None:
    report = search(after_a_race(bug))
    assert report.differences
    assert report.reproduce().differences == report.differences


def test_a_race_that_ends_in_another_way_does_not_hide_other_operations() -> None:
    names = itertools.count()

    def handler(_event: Any, context: Any) -> Any:
        ask = [lambda inner, name=name: inner.step(lambda _: name) for name in ("a", "b", "c")]
        won = race(context, *ask).get_results()
        context.step(lambda _: 1, f"{won[0]}-{next(names)}")  # a name of its own each time it is run
        context.wait(1)

    report = search(handler)
    assert "NonDeterministicExecutionError" in report.differences[0]


def test_a_race_may_be_won_by_anybody() -> None:
    def handler(_event: Any, context: Any) -> Any:
        ask = [lambda inner, name=name: inner.step(lambda _: name) for name in ("a", "b", "c")]
        won = race(context, *ask).get_results()[0]
        context.wait(1)
        return won, context.step(lambda _: won, won)

    search(handler).assert_ok()


def test_what_the_losers_left_behind_is_not_compared() -> None:
    def loser(inner: Any) -> Any:
        inner.create_callback("never")
        inner.step(lambda _: 1, "begun")
        return inner.wait_for_callback(lambda *_: None, "answer")

    def handler(_event: Any, context: Any) -> Any:
        return race(context, lambda inner: inner.step(lambda _: 1) and inner.wait(5), loser, loser).success_count

    search(handler).assert_ok()
