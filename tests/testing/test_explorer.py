"""The explorer: it finds handlers that do not do the same each time, and leaves alone those that do."""

from __future__ import annotations

import random
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import CallbackError, StepError, durable_execution
from perdure.config import CompletionConfig, Duration, StepSemantics
from perdure.retries import RetryPresets
from perdure.testing import ExplorationError, explore
from perdure.testing._trial import Schedule
from perdure.waits import WaitForConditionDecision

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.testing import Report

Handler = "Callable[[Any, Any], Any]"
GLOBAL: dict[str, Any] = {}


def reset() -> None:
    GLOBAL.clear()
    GLOBAL.update(count=0, log=[], sent=[])


def search(handler: Callable[[Any, Any], Any], event: Any = None, **options: Any) -> Report:
    return explore(durable_execution(handler), event, setup=reset, **options)


# ---- handlers with a bug


def chance_in_the_result(_event: Any, context: Any) -> Any:
    context.step(lambda _: 1, "one")
    return random.random()  # noqa: S311


def chance_decides_what_to_do(_event: Any, context: Any) -> Any:
    GLOBAL["count"] += 1
    if GLOBAL["count"] % 2:
        context.step(lambda _: "heads", "heads")
    context.step(lambda _: "always", "always")


def the_clock_decides(_event: Any, context: Any) -> Any:
    GLOBAL["count"] += 1  # a clock that ticks with each invocation
    context.step(lambda _: 1, "one")
    context.wait(timedelta(hours=1), "hour")
    if GLOBAL["count"] > 2:
        context.step(lambda _: "apologies", "apologise")
    return "done"


def a_moment_in_the_result(_event: Any, context: Any) -> Any:
    moment = time.perf_counter_ns()
    context.wait(1)
    return moment


def a_global_counter(_event: Any, context: Any) -> Any:
    for _ in range(3):
        GLOBAL["count"] += 1
        context.step(lambda _: 1)
    return GLOBAL["count"]


def a_list_filled_by_steps(_event: Any, context: Any) -> Any:
    seen: list[str] = []
    for name in ("a", "b", "c"):
        context.step(lambda _, name=name: seen.append(name), name)
    return seen


def a_name_that_is_drawn(_event: Any, context: Any) -> Any:
    context.step(lambda _: 1, f"step-{uuid.uuid4()}")


def an_error_that_comes_once(_event: Any, context: Any) -> Any:
    context.step(lambda _: 1, "one")
    GLOBAL["count"] += 1
    if GLOBAL["count"] == 2:
        raise OSError("only when run again")
    return context.step(lambda _: 2, "two")


def branches_that_share_a_list(_event: Any, context: Any) -> Any:
    order: list[int] = []

    def item(inner: Any, number: int, _index: int, _all: Any) -> None:
        order.append(inner.run_in_child_context(lambda _: number))

    context.map([1, 2, 3], item, "map")
    return order


BUGGY = [
    chance_in_the_result,
    chance_decides_what_to_do,
    the_clock_decides,
    a_moment_in_the_result,
    a_global_counter,
    a_list_filled_by_steps,
    a_name_that_is_drawn,
    an_error_that_comes_once,
]


@pytest.mark.parametrize("handler", BUGGY, ids=lambda handler: handler.__name__)
def test_a_handler_that_does_not_do_the_same_each_time_is_found(handler: Callable[[Any, Any], Any]) -> None:
    report = search(handler)
    assert not report.ok
    assert report.differences
    with pytest.raises(ExplorationError, match="run it again: explore"):
        report.assert_ok()


def test_branches_that_depend_on_their_order_are_found_with_the_seed() -> None:
    report = search(branches_that_share_a_list)
    assert report.schedule is not None
    assert "outcome was SUCCEEDED [1, 2, 3]" in report.differences[0]
    if report.schedule.kind == "order":
        assert report.schedule.picks is not None
    again = search(branches_that_share_a_list, schedule=str(report.schedule))
    assert (again.schedule, again.differences) == (report.schedule, report.differences)


def test_an_order_is_found_when_nothing_else_is_wrong_and_is_made_as_small_as_it_gets() -> None:
    def handler(_event: Any, context: Any) -> Any:
        order: list[int] = []
        context.parallel([lambda _inner, number=number: order.append(number) for number in range(4)], "all")
        return context.step(lambda _: list(order), "note")

    reports = [search(handler, schedule=f"order:{seed}") for seed in range(1, 9)]
    assert not all(report.ok for report in reports)
    assert any(report.ok for report in reports) or len({str(report.got) for report in reports}) > 1
    smallest = search(handler).schedule
    assert smallest is not None
    assert not search(handler, schedule=smallest).ok
    if smallest.kind == "order":
        assert smallest.picks
        assert search(handler, schedule=Schedule("order", smallest.at, smallest.picks - 1)).ok


def test_a_side_effect_outside_of_steps_is_seen_by_a_probe() -> None:
    def mails(_event: Any, context: Any) -> str:
        context.step(lambda _: 1, "before")
        GLOBAL["sent"].append("mail")  # not in a step
        context.wait(60)
        return context.step(lambda _: "done", "after")

    assert search(mails).ok
    report = search(mails, probe=lambda: len(GLOBAL["sent"]))
    assert str(report.schedule) == "late:1"
    assert report.differences == ["the probe saw 2, and sees 3"]


def test_the_report_can_be_reproduced() -> None:
    report = search(a_list_filled_by_steps)
    assert str(report.schedule) == "crash-after:1"
    again = report.reproduce()
    assert (again.schedule, again.differences, again.tried) == (report.schedule, report.differences, 1)
    assert report.recipe() == 'explore(handler, event, schedule="crash-after:1")'
    shown = str(report)
    assert "right after API call 1" in shown
    assert "├─ b  Step  SUCCEEDED" in shown
    assert search(a_list_filled_by_steps, schedule=Schedule("undisturbed")).ok


# ---- handlers without


def chance_inside_of_steps(_event: Any, context: Any) -> Any:
    key = context.step(lambda _: str(uuid.uuid4()), "key")
    moment = context.step(lambda _: time.time(), "moment")
    context.wait(5)
    return {"key": key, "moment": moment}


def flaky_steps(_event: Any, context: Any) -> Any:
    def flaky(_step: Any) -> str:
        if random.random() < 0.7:  # noqa: S311
            raise ConnectionError("try again")
        return "through"

    try:
        return context.step(flaky, "flaky", retry=RetryPresets.default())
    except StepError as error:
        return error.message


def payment_at_most_once(_event: Any, context: Any) -> Any:
    try:
        once = StepSemantics.AT_MOST_ONCE_PER_RETRY
        return context.step(lambda _: "paid", "pay", step_semantics=once, retry=RetryPresets.none())
    except StepError:
        return context.step(lambda _: "ask the bank", "ask")


def batches(event: Any, context: Any) -> Any:
    def item(inner: Any, number: int, _index: int, _all: Any) -> int:
        if number % 2:
            inner.wait(number, "pause")
        return inner.step(lambda _: number * number, "square")

    squares = context.map(range(event), item, "squares", max_concurrency=3).get_results()
    branches = [lambda inner: inner.step(lambda _: "left", "l"), lambda inner: inner.wait(2) or "right"]
    return [squares, context.parallel(branches, "sides").get_results()]


def the_first_that_answers(_event: Any, context: Any) -> Any:
    def ask(inner: Any, name: str, _index: int, _all: Any) -> str:
        return inner.step(lambda _: name, "ask")

    batch = context.map(["a", "b", "c"], ask, "race", completion_config=CompletionConfig.first_successful())
    return batch.get_results()[0]


def polling(_event: Any, context: Any) -> Any:
    def strategy(state: int, _attempt: int) -> WaitForConditionDecision:
        return (
            WaitForConditionDecision.stop_polling()
            if state > 2
            else WaitForConditionDecision.continue_waiting(Duration(30))
        )

    return context.wait_for_condition(lambda state, _: state + 1, name="poll", wait_strategy=strategy, initial_state=0)


def the_outside(event: Any, context: Any) -> Any:
    price = context.invoke("pricing", {"n": event}, "price")
    total = context.invoke("ledger", price, "book")
    keys: list[str] = []
    approval = context.wait_for_callback(lambda callback_id, _context: keys.append(callback_id), "approval")
    try:
        context.wait_for_callback(lambda *_: None, "refusal")
    except CallbackError as error:
        return [price, total, approval, error.message]
    return None


@durable_execution
def ledger(event: Any, context: Any) -> Any:
    context.wait(60)
    return context.step(lambda _: event + 1, "book")


OUTSIDE: dict[str, Any] = {
    "functions": {"pricing": lambda payload, _context: payload["n"] * random.randint(2, 9)},  # noqa: S311
    "durable_functions": {"ledger": ledger},
    "answers": {"approval": "yes", "refusal": ValueError("no")},
}

CORRECT: list[tuple[Callable[[Any, Any], Any], Any, dict[str, Any]]] = [
    (chance_inside_of_steps, None, {}),
    (flaky_steps, None, {}),
    (payment_at_most_once, None, {}),
    (batches, 5, {}),
    (the_first_that_answers, None, {}),
    (polling, None, {}),
    (the_outside, 3, OUTSIDE),
]


@pytest.mark.parametrize(("handler", "event", "around"), CORRECT, ids=lambda each: getattr(each, "__name__", ""))
def test_a_handler_that_does_the_same_each_time_passes(
    handler: Callable[[Any, Any], Any], event: Any, around: dict[str, Any]
) -> None:
    report = search(handler, event, **around)
    report.assert_ok()
    assert report.complete
    assert report.tried == report.planned > 5
    assert "did the same in" in str(report)


def test_steps_that_are_done_are_not_done_again() -> None:
    def handler(_event: Any, context: Any) -> Any:
        for name in ("a", "b", "c"):
            context.step(lambda _, name=name: GLOBAL["sent"].append(name), name)
            context.wait(1)

    search(handler, probe=lambda: GLOBAL["sent"]).assert_ok()


def test_an_execution_that_waits_for_ever_is_the_same_each_time_but_not_explored() -> None:
    report = search(lambda _event, context: context.create_callback("ask").result())
    assert report.schedule is None
    assert report.expected.open_callbacks == ["ask"]
    with pytest.raises(AssertionError, match="answers="):
        report.assert_ok()


def test_a_handler_that_differs_even_undisturbed_is_not_ok() -> None:
    runs: list[int] = []

    def handler(_event: Any, context: Any) -> None:
        runs.append(1)
        if len(runs) % 2:
            context.step(lambda _: 1)
        context.wait(5)

    report = search(handler)
    assert not report.ok
    assert "even undisturbed" in (report.unfit or "")


# ---- bounds


def test_time_and_count_are_bounded_and_progress_is_told() -> None:
    told: list[tuple[int, int, str]] = []
    report = search(batches, 8, max_schedules=5, on_progress=lambda *now: told.append((now[0], now[1], str(now[2]))))
    assert report.ok
    assert [each[0] for each in told] == [0, 1, 2, 3, 4]
    assert (told[0], report.tried, report.planned) == ((0, 5, "undisturbed"), 5, 5)
    report = search(batches, 4, time_limit=0)
    assert (report.ok, report.complete, report.tried) == (True, False, 0)


@pytest.mark.parametrize("text", ["undisturbed", "crash-before:3", "crash-after:12", "lost:1", "late:9", "order:7/3"])
def test_a_schedule_reads_back_from_its_text(text: str) -> None:
    assert str(Schedule.parse(text)) == text


@pytest.mark.parametrize("text", ["", "crash:1", "lost", "lost:x", "order:1/x", "order:"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no schedule"):
        Schedule.parse(text)
