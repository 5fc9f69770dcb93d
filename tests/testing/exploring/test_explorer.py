"""The explorer finds handlers that do not do the same each time, and tells how they differ."""

from __future__ import annotations

import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import StepError, durable_execution
from perdure.engine.operations import step
from perdure.retries import RetryPresets
from perdure.testing import DurableFunctionTestRunner, ExplorationError
from perdure.testing.explorer import Schedule
from support.explored import GLOBAL, polling, search

if TYPE_CHECKING:
    from collections.abc import Callable

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


def coins_decide(_event: Any, context: Any) -> Any:
    for _ in range(10):
        if random.random() < 0.5:  # noqa: S311
            context.step(lambda _: 1, "heads")
        else:
            context.wait(5, "tails")


def a_uuid_decides(_event: Any, context: Any) -> Any:
    if str(uuid.uuid4()) < "8":
        context.step(lambda _: 1, "low")
    context.wait(5)


def the_microsecond_decides(_event: Any, context: Any) -> Any:
    if time.time_ns() // 1_000 % 2:
        context.step(lambda _: 1, "odd")
    context.wait(5)


def a_list_filled_outside_of_steps(_event: Any, context: Any) -> Any:
    GLOBAL["log"].append(1)
    context.step(lambda _: 1, "one")
    return len(GLOBAL["log"])


def an_event_changed_by_a_step(event: Any, context: Any) -> Any:
    context.step(lambda _: event.update(seen=True), "look")
    return event.get("seen")


def an_error_caught_the_first_time_only(_event: Any, context: Any) -> Any:
    def failing(_: Any) -> None:
        raise OSError("no")

    try:
        context.step(failing, "one", retry=RetryPresets.none())
    except StepError:
        GLOBAL["count"] += 1
        if GLOBAL["count"] > 1:
            raise
    return context.step(lambda _: "through", "two")


def items_that_look_at_who_is_done(_event: Any, context: Any) -> Any:
    done: list[int] = []

    def item(inner: Any, number: int, _index: int, _all: Any) -> int:
        inner.step(lambda _: number, "work")
        done.append(number)
        if done[0] == number:
            inner.step(lambda _: "first", "prize")
        return number

    return context.map([1, 2, 3], item, "map").get_results()


def threads_of_its_own(_event: Any, context: Any) -> Any:
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(lambda n: context.step(lambda _: n, f"step-{n}"), range(3)))


def a_result_cut_short_when_time_is_short(_event: Any, context: Any) -> Any:
    context.step(lambda _: 1, "one")
    if context.lambda_context.get_remaining_time_in_millis() < 10_000:
        return "part of it"
    return context.step(lambda _: "all of it", "two")


def a_wait_when_time_is_short(_event: Any, context: Any) -> Any:
    context.step(lambda _: 1, "one")
    if context.get_remaining_time_in_millis() < 10_000:
        context.wait(1, "breathe")
    context.step(lambda _: 2, "two")


BUGGY = [
    chance_in_the_result,
    chance_decides_what_to_do,
    the_clock_decides,
    a_moment_in_the_result,
    a_global_counter,
    a_list_filled_by_steps,
    a_name_that_is_drawn,
    an_error_that_comes_once,
    coins_decide,
    a_uuid_decides,
    the_microsecond_decides,
    a_list_filled_outside_of_steps,
    an_event_changed_by_a_step,
    an_error_caught_the_first_time_only,
    items_that_look_at_who_is_done,
    threads_of_its_own,
    a_result_cut_short_when_time_is_short,
    a_wait_when_time_is_short,
]


@pytest.mark.parametrize("handler", BUGGY, ids=lambda handler: handler.__name__)
def test_a_handler_that_does_not_do_the_same_each_time_is_found(handler: Callable[[Any, Any], Any]) -> None:
    report = search(handler, {})
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


def test_a_difference_is_told_in_words() -> None:
    def differences(handler: Callable[[Any, Any], Any]) -> tuple[str, list[str]]:
        report = search(handler, {})
        return str(report.schedule), report.differences

    assert differences(a_list_filled_outside_of_steps) == (
        "crash-after:1",
        ["the outcome was SUCCEEDED 1, and is SUCCEEDED 2"],
    )
    assert differences(an_error_caught_the_first_time_only) == (
        "late:1",
        ['the outcome was SUCCEEDED "through", and is FAILED StepError: no', "operation two is no longer recorded"],
    )
    assert differences(items_that_look_at_who_is_done) == ("late:2", ["operation prize is only recorded now"])
    schedule, (outcome, operation) = differences(a_wait_when_time_is_short)
    assert schedule == "late:2"
    assert "FAILED NonDeterministicExecutionError: operation 2 of its context is WAIT" in outcome
    assert operation == "where a Step named 'two' was recorded, a Wait named 'breathe' is now"
    shown = str(search(a_wait_when_time_is_short))
    assert "short of time, and out of it with API call 2 (START of Wait breathe) [late:2]" in shown


def test_the_places_where_a_long_result_differs_are_shown() -> None:
    def handler(_event: Any, context: Any) -> str:
        GLOBAL["count"] += 1
        context.step(lambda _: 1, "one")
        return "a" * 5_000 + str(GLOBAL["count"]) + "b" * 5_000

    (difference,) = search(handler).differences
    assert "aaa1bbb" in difference
    assert "aaa2bbb" in difference
    assert len(difference) < 1_000


def test_threads_of_the_handlers_own_are_put_in_other_orders() -> None:
    def handler(_event: Any, context: Any) -> list[int]:
        def after_a_while(number: int) -> int:
            time.sleep(number / 200)  # on a quiet machine, they come in the order of their numbers
            return context.step(lambda _: number, f"step-{number}")

        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(after_a_while, range(3)))

    reports = [search(handler, schedule=f"order:{seed}") for seed in range(1, 6)]
    found = [report for report in reports if not report.ok]
    assert found
    assert any("was recorded, a Step named" in difference for report in found for difference in report.differences)
    assert "threads of the handler's own began operations" in str(found[0])
    assert any("threads of its own ran in the order of seed" in str(report) for report in found)


def test_a_thread_that_is_waited_for_before_the_next_operation_is_in_order() -> None:
    def handler(_event: Any, context: Any) -> list[int]:
        with ThreadPoolExecutor(1) as pool:
            return [pool.submit(context.step, lambda _, n=n: n, f"step-{n}").result() for n in range(3)]

    report = search(handler)
    report.assert_ok()
    assert report.expected.own_threads


# ---- how often things run


def test_a_step_whose_function_runs_more_often_than_its_attempts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    run = step._run

    def twice_in_a_later_invocation(context: Any, operation: Any, func: Any, *rest: Any) -> Any:
        def body(given: Any) -> Any:
            if GLOBAL["count"] > 1:
                func(given)
            return func(given)

        return run(context, operation, body, *rest)

    def handler(_event: Any, context: Any) -> None:
        GLOBAL["count"] += 1
        context.step(lambda _: 1, "one")
        context.step(lambda _: 2, "two")

    search(handler).assert_ok()
    monkeypatch.setattr(step, "_run", twice_in_a_later_invocation)
    report = search(handler)
    assert str(report.schedule) == "crash-after:1"
    assert report.differences == ["operation two: its function ran 1 time, and runs 2 times"]


def test_what_was_on_its_way_when_the_invocation_was_killed_may_run_again() -> None:
    def handler(_event: Any, context: Any) -> None:
        GLOBAL["sent"].append(context.step(lambda _: 1, "one"))
        polling(None, context)

    search(handler).assert_ok()


def test_executions_that_it_invokes_are_told_apart_and_compared() -> None:
    @durable_execution
    def inner(_event: Any, context: Any) -> Any:
        GLOBAL["count"] += 1
        drawn = context.step(lambda _: random.random())  # noqa: S311  where the outer one has a step, too
        if GLOBAL["count"] > 1 and GLOBAL["log"]:
            context.step(lambda _: 1, "more")
        return drawn

    def outer(event: Any, context: Any) -> Any:
        GLOBAL["log"] += event
        drawn = context.step(lambda _: random.random())  # noqa: S311
        assert drawn != context.invoke("inner", {}, "call")

    search(outer, [], durable_functions={"inner": inner}).assert_ok()
    report = search(outer, [1], durable_functions={"inner": inner})
    assert report.differences == ["operation more of inner is only recorded now"]


# ---- what is none of the run's


def test_executions_of_another_service_are_left_alone() -> None:
    """A step may run a handler of its own on a service of its own."""

    @durable_execution
    def squares(event: Any, context: Any) -> list[int]:
        context.wait(5)
        return context.map(event, lambda inner, item, *_: inner.step(lambda _: item * item)).get_results()

    def handler(_event: Any, context: Any) -> list[int]:
        def elsewhere(_: Any) -> Any:
            with DurableFunctionTestRunner(squares) as runner:
                return runner.run(input=[1, 2, 3]).value

        numbers = context.step(elsewhere, "elsewhere")
        return context.map(numbers, lambda inner, item, *_: inner.step(lambda _: item + 1)).get_results()

    report = search(handler, max_schedules=20)
    report.assert_ok()
    assert report.expected.status == "SUCCEEDED"
