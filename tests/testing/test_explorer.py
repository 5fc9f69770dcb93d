"""The explorer: it finds handlers that do not do the same each time, and leaves alone those that do."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import CallbackError, DurableContext, InvokeError, StepError, durable_execution
from perdure.config import CompletionConfig, Duration, StepSemantics
from perdure.operations import condition, step
from perdure.retries import RetryPresets
from perdure.testing import ExplorationError, explore
from perdure.testing.explorer import Schedule
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
    run = step.run

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
    monkeypatch.setattr(step, "run", twice_in_a_later_invocation)
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
    assert str(report.schedule) == "undisturbed"
    assert "it did not even do the same within one run: FAILED NonDeterministicExecutionError" in str(report)


def test_callbacks_that_nobody_answered_are_named() -> None:
    report = search(lambda _event, context: context.wait_for_callback(lambda *_: None, "approval", timeout=60))
    assert report.ok
    assert "FAILED CallbackTimeoutError" in str(report)
    assert "nobody answered in time, for want of answers= or --answer: approval" in str(report)


def test_a_mock_may_fail() -> None:
    def handler(_event: Any, context: Any) -> str:
        try:
            return context.invoke("pricing", 1, "price")
        except InvokeError as error:
            return error.message

    report = search(handler, mocks={"pricing": LookupError("no such thing")})
    report.assert_ok()
    assert report.expected.result == '"no such thing"'


def test_a_plain_function_is_not_explored() -> None:
    report = explore(lambda event, _context: event, 1)
    assert not report
    assert "not one that perdure's @durable_execution made" in str(report)


def test_functions_that_nobody_stands_for_are_named() -> None:
    report = search(lambda _event, context: context.invoke("pricing", 1))
    assert not report
    assert "nobody stands for here" in str(report)
    assert "(pricing)" in str(report)


def test_no_time_is_no_proof() -> None:
    def handler(_event: Any, context: Any) -> None:
        for _ in range(3):
            context.step(lambda _: time.sleep(0.05))

    report = search(handler, time_limit=0.01)
    assert not report
    assert "before anything went wrong on purpose; give it a longer time_limit" in str(report)
    with pytest.raises(ExplorationError):
        report.assert_ok()


def test_an_async_function_is_refused_at_once() -> None:
    async def handler(_event: Any, _context: Any) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match=r"handler is an async function.* write it with def"):
        durable_execution(handler)


# ---- what steps give, and what they are given


def a_uuid_for_two_steps(_event: Any, context: Any) -> bool:
    key = str(uuid.uuid4())
    return context.step(lambda _: key, "reserve") == context.step(lambda _: key, "confirm")


def the_clock_for_two_steps(_event: Any, context: Any) -> int:
    now = time.time_ns()
    begin = context.step(lambda _: now)
    return context.step(lambda _: now) - begin


def a_wait_as_long_as_memory_tells(_event: Any, context: Any) -> None:
    seen: list[int] = []
    context.step(lambda _: seen.append(1))
    context.wait(Duration.from_seconds(10 if seen else 3000))


def a_wait_by_chance(_event: Any, context: Any) -> None:
    context.step(lambda _: 1)
    context.wait(random.randrange(1, 10_000))  # noqa: S311


def an_invoke_by_chance(_event: Any, context: Any) -> None:
    context.invoke(f"f{uuid.uuid4().int % 16}", {})


def a_payload_by_chance(_event: Any, context: Any) -> None:
    context.invoke("f0", {"key": str(uuid.uuid4())})


def a_timeout_from_memory(_event: Any, context: Any) -> None:
    seen: list[int] = []
    context.step(lambda _: seen.append(1))
    context.create_callback("answer", timeout=60 + len(seen)).result()


@pytest.mark.parametrize(
    "handler",
    [
        a_uuid_for_two_steps,
        the_clock_for_two_steps,
        a_wait_as_long_as_memory_tells,
        a_wait_by_chance,
        an_invoke_by_chance,
        a_payload_by_chance,
        a_timeout_from_memory,
    ],
    ids=lambda handler: handler.__name__,
)
def test_what_goes_into_operations_from_outside_of_steps_is_found(handler: Callable[[Any, Any], Any]) -> None:
    report = search(handler, mocks={f"f{n}": 1 for n in range(16)}, answers={"answer": 1})
    assert report.schedule is not None
    assert report.reproduce().differences


def its_own_arn_in_a_step(_event: Any, context: Any) -> bool:
    arn = context.execution_context.durable_execution_arn
    return context.step(lambda _: arn) == arn


def a_callback_id_in_a_step(_event: Any, context: Any) -> Any:
    callback = context.create_callback("answer", timeout=60)
    return context.step(lambda _: callback.callback_id) == callback.callback_id, callback.result()


def a_coin_in_a_step_decides(_event: Any, context: Any) -> float:
    drawn = context.step(lambda _: random.random())  # noqa: S311
    if drawn < 0.5:
        context.step(lambda _: 1, "low")
    else:
        context.wait(5)
    return drawn


def a_fake_that_fails_twice(_event: Any, context: Any) -> int:
    def call(_: Any) -> int:
        GLOBAL["sent"].append(1)
        if len(GLOBAL["sent"]) < 3:
            raise ConnectionError("not yet")
        return 1

    return context.step(call)


def an_idempotent_insert(_event: Any, context: Any) -> bool:
    def insert(_: Any) -> bool:
        is_new = "row" not in GLOBAL["sent"]
        if is_new:
            GLOBAL["sent"].append("row")
        return is_new

    return context.step(insert)


def a_race_against_a_timer(_event: Any, context: Any) -> int:
    branches = [lambda c: c.wait_for_callback(lambda *_: None, "answer"), lambda c: c.wait(3600)]
    return context.parallel(branches, completion_config=CompletionConfig.first_successful()).success_count


def a_race_of_a_step(_event: Any, context: Any) -> int:
    branches = [lambda c: c.step(lambda _: 1), lambda c: c.wait(3600)]
    return context.parallel(branches, completion_config=CompletionConfig.first_successful()).success_count


@pytest.mark.parametrize(
    "handler",
    [
        its_own_arn_in_a_step,
        a_callback_id_in_a_step,
        a_coin_in_a_step_decides,
        a_fake_that_fails_twice,
        an_idempotent_insert,
        a_race_against_a_timer,
        a_race_of_a_step,
    ],
    ids=lambda handler: handler.__name__,
)
def test_what_is_as_it_should_be_is_not_reported(handler: Callable[[Any, Any], Any]) -> None:
    search(handler, answers={"answer": 1}).assert_ok()


def test_functions_that_do_things_twice_are_found_where_they_are_to_be_idempotent() -> None:
    def handler(_event: Any, context: Any) -> None:
        context.step(lambda _: GLOBAL["sent"].append(1))

    def look() -> list[int]:
        return list(GLOBAL["sent"])

    search(handler, probe=look).assert_ok()
    report = search(handler, probe=look, idempotent=True)
    assert str(report.schedule) == "crash-before:1"
    assert report.differences == ["the probe saw [1], and sees [1, 1]"]
    search(an_idempotent_insert, probe=look, idempotent=True).assert_ok()


def test_threads_that_end_with_their_invocation_say_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def handler(_event: Any, context: Any) -> None:
        threads = [threading.Thread(target=context.step, args=(lambda _: 1, "same")) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    search(handler).assert_ok()
    assert capfd.readouterr().err == ""


# ---- runs that do not come back


def explorers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "perdure explorer"]


def patched() -> list[Any]:
    return [step.run, condition.run, DurableContext.step]


def test_a_run_that_hangs_ends_the_exploration_and_shows_where() -> None:
    before, lock = patched(), threading.Lock()

    def handler(_event: Any, context: Any) -> None:
        lock.acquire()
        context.step(lambda _: 1, "one")
        lock.release()  # not after a crash

    report = search(handler, trial_limit=0.5)
    assert not report.ok
    assert str(report.schedule) == "crash-after:1"
    assert "it had not come to its end after 0.5 s, and was here:" in report.differences[0]
    assert "lock.acquire()" in report.differences[0]
    assert "perdure/operations" not in report.differences[0]
    assert "└─ one  Step  SUCCEEDED" in str(report).partition("under crash-after:1: RUNNING")[2]
    assert patched() == before
    lock.release()
    search(batches, 2).assert_ok()


def test_a_loop_without_end_is_ended() -> None:
    def handler(_event: Any, context: Any) -> None:
        GLOBAL["count"] += 1
        context.step(lambda _: 1, "one")
        while GLOBAL["count"] > 1:
            pass

    report = search(handler, trial_limit=0.5)
    assert str(report.schedule) == "crash-after:1"
    assert "in handler" in str(report)
    assert not explorers()


def test_a_handler_that_goes_on_whatever_is_raised_is_found_to_hang() -> None:
    give_up = threading.Event()

    def handler(_event: Any, context: Any) -> str:
        while not give_up.is_set():
            with contextlib.suppress(BaseException):
                context.wait(5)
                return "waited"
        return "gave up"

    try:
        report = search(handler, trial_limit=0.5)
    finally:
        give_up.set()
    assert "the undisturbed run had not come to its end after 0.5 s (trial_limit)" in (report.unfit or "")
    assert "in handler" in str(report)


def test_an_undisturbed_run_that_hangs_is_unfit() -> None:
    go_on = threading.Event()
    try:
        report = search(lambda _event, context: context.step(lambda _: go_on.wait(60), "wait"), trial_limit=0.2)
        assert report.schedule is None
        assert "the undisturbed run had not come to its end after 0.2 s" in (report.unfit or "")
        assert "go_on.wait(60)" in str(report)
        alone = search(lambda _event, _context: go_on.wait(60), trial_limit=0.2, schedule="crash-after:1")
        assert "the undisturbed run had not come to its end" in (alone.unfit or "")
    finally:
        go_on.set()


def test_what_is_left_of_the_time_bounds_a_run_that_hangs() -> None:
    go_on = threading.Event()

    def handler(_event: Any, context: Any) -> None:
        GLOBAL["count"] += 1
        context.step(lambda _: 1, "one")
        if GLOBAL["count"] > 1:
            go_on.wait(60)

    began = time.monotonic()
    try:
        report = search(handler, time_limit=0.1)
    finally:
        go_on.set()
    assert time.monotonic() - began < 20
    assert str(report.schedule) == "crash-after:1"


def test_an_interrupt_comes_through_at_once_and_leaves_nothing_patched() -> None:
    before, go_on, hangs = patched(), threading.Event(), threading.Event()

    def handler(_event: Any, context: Any) -> None:
        context.step(lambda _: (hangs.set(), go_on.wait(60)), "wait")

    def interrupt() -> None:
        assert hangs.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    handled = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    began = time.monotonic()
    other = threading.Thread(target=interrupt)
    try:
        other.start()
        with pytest.raises(KeyboardInterrupt):
            search(handler)
    finally:
        other.join()
        signal.signal(signal.SIGINT, handled)
        go_on.set()
    assert time.monotonic() - began < 20
    assert patched() == before
    search(polling).assert_ok()


def test_what_is_raised_around_a_run_is_raised() -> None:
    def fails() -> None:
        raise OSError("cannot be put back")

    with pytest.raises(OSError, match="cannot be put back"):
        explore(durable_execution(polling), setup=fails)
    with pytest.raises(OSError, match="cannot be put back"):
        explore(durable_execution(polling), probe=fails)
    settle = time.monotonic() + 10
    while explorers() and time.monotonic() < settle:
        time.sleep(0.01)
    assert not explorers()


def test_all_runs_are_made_in_one_thread() -> None:
    threads = set()
    search(
        lambda _event, context: context.step(lambda _: threads.add(threading.get_ident())), probe=threading.get_ident
    )
    assert len(threads) == 1
    assert threading.get_ident() not in threads


# ---- one schedule alone


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("crash-after:99", "the undisturbed run makes 1 API call"),
        ("crash-before:2", "the undisturbed run makes 1 API call"),
        ("lost:0", "the undisturbed run makes 1 API call"),
        ("late:7", "the undisturbed run makes 1 API call"),
        ("order:1", "there never was more than one branch to go on with"),
    ],
)
def test_a_schedule_that_does_not_come_about_is_not_ok(schedule: str, why: str) -> None:
    report = search(lambda _event, context: context.step(lambda _: 1), schedule=schedule)
    assert not report
    assert report.unfit == f"{schedule} did not come about: {why}"
    with pytest.raises(ExplorationError, match="did not come about"):
        report.assert_ok()


@pytest.mark.parametrize("schedule", ["undisturbed", "crash-after:1", "crash-before:2", "lost:2", "late:1", "order:1"])
def test_a_schedule_that_comes_about_is_ok(schedule: str) -> None:
    search(batches, 3, schedule=schedule).assert_ok()


# ---- bounds


def test_the_schedule_found_is_the_smallest_of_its_kind_even_if_many_were_left_out() -> None:
    def handler(_event: Any, context: Any) -> list[int]:
        seen: list[int] = []
        for number in range(20):
            context.step(lambda _, number=number: seen.append(number) if number > 9 else None, f"step-{number}")
        return seen

    for most in (2_000, 30, 7, 3):
        found = search(handler, max_schedules=most).schedule
        assert found is not None
        assert found.at == {"crash-after": 11, "late": 11, "lost": 0, "crash-before": 12}[found.kind]


def test_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    search(polling, progress=True).assert_ok()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    search(polling, progress=True).assert_ok()
    out, err = capsys.readouterr()
    assert out == ""
    assert "crash-after:1" in err or "/" in err


def test_progress_is_a_line_where_rich_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    search(polling, progress=True).assert_ok()
    out, err = capsys.readouterr()
    assert out == ""
    assert "schedules, now crash-after:1" in err
    assert err.endswith("\r\x1b[K")


def test_time_and_count_are_bounded_and_progress_is_told() -> None:
    told: list[tuple[int, int, str]] = []
    report = search(batches, 8, max_schedules=5, on_progress=lambda *now: told.append((now[0], now[1], str(now[2]))))
    assert report.ok
    assert [each[0] for each in told] == [0, 1, 2, 3, 4]
    assert (told[0], report.tried, report.planned) == ((0, 5, "undisturbed"), 5, 5)
    report = search(batches, 4, time_limit=0)
    assert (report.ok, report.tried) == (False, 0)


@pytest.mark.parametrize("text", ["undisturbed", "crash-before:3", "crash-after:12", "lost:1", "late:9", "order:7/3"])
def test_a_schedule_reads_back_from_its_text(text: str) -> None:
    assert str(Schedule.parse(text)) == text


@pytest.mark.parametrize("text", ["", "crash:1", "lost", "lost:x", "order:1/x", "order:"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no schedule"):
        Schedule.parse(text)
