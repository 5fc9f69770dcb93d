"""The explorer leaves what varies by chance out of the comparison, and nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import InvokeError, StepError, WaitForConditionError, durable_execution
from perdure.config import CompletionConfig, Duration
from perdure.retries import RetryDecision, RetryPresets
from perdure.testing.exploring.mask import JsonText, Mask
from perdure.testing.exploring.varying import Varying
from perdure.waits import WaitForConditionDecision
from support.explored import GLOBAL, search

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.testing import Report
    from perdure.testing.exploring.observation import Observation

NEVER = RetryPresets.none()


class By:
    """Gives one thing after another, over all runs, where a real world would draw one: so a test hangs on no chance."""

    def __init__(self, *outcomes: Any) -> None:
        self._outcomes = itertools.cycle(outcomes)

    def __call__(self, *_: Any) -> Any:
        outcome = next(self._outcomes)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


NO = ValueError("no")

# ---- each of what can be seen of a run, alone and all at once

MEMBERS: dict[str, dict[str, Any]] = {
    "status": {"status": "TIMED_OUT"},
    "result": {"result": JsonText("[1, 3]")},
    "no result": {"result": None},
    "error": {"error": {"ErrorType": "ValueError", "ErrorMessage": "no"}},
    "operations": {"operations": {}},
    "callbacks": {"open_callbacks": ["ask", "ask again"]},
    "probe": {"probe": object()},
    "all": {
        "status": "FAILED",
        "result": None,
        "error": {"ErrorType": "ValueError", "ErrorMessage": "no"},
        "operations": {},
        "open_callbacks": ["ask", "ask again"],
        "probe": object(),
    },
}


@pytest.fixture(scope="module")
def first() -> Observation:
    def handler(_event: Any, context: Any) -> list[int]:
        context.create_callback("ask")
        return [context.step(lambda _, n=n: n, f"step-{n}") for n in (1, 2)]

    return search(handler, probe=lambda: "all is well").expected


def apart(varying: Varying, other: Observation) -> list[str]:
    like, mask = varying.like(other)
    return like.without(mask).differences(other.without(mask), result=True, probe=True)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_that_varies_is_left_out_and_the_others_are_not(first: Observation, member: str) -> None:
    varying, other = Varying(first), replace(first, **MEMBERS[member])
    assert apart(varying, other)
    varying.learn(other)
    assert varying
    assert apart(varying, other) == apart(varying, first) == []
    for name, changed in MEMBERS.items():
        if not changed.keys() & MEMBERS[member].keys():
            assert apart(varying, replace(other, **changed)), name
            assert apart(varying, replace(first, **changed)), name


@pytest.mark.parametrize("member", [member for member in MEMBERS if member != "all"])
def test_where_one_run_in_two_fails_those_that_succeed_are_still_compared(first: Observation, member: str) -> None:
    varying = Varying(first)
    varying.learn(replace(first, **MEMBERS["all"]))
    assert apart(varying, replace(first, **MEMBERS[member]))


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ({"status": "RUNNING", "result": None}, "RUNNING"),
        (
            {"status": "FAILED", "result": None, "error": {"ErrorType": "x.NonDeterministicExecutionError"}},
            "NonDeterministicExecutionError",
        ),
        ({"status": "FAILED", "result": None, "error": {"ErrorType": "KeyError"}}, "FAILED KeyError"),
    ],
)
def test_an_end_that_no_undisturbed_run_had_is_a_difference_however_much_varies(
    first: Observation, end: dict[str, Any], told: str
) -> None:
    varying = Varying(first)
    for changed in MEMBERS.values():
        varying.learn(replace(first, **changed))
    assert told in apart(varying, replace(first, **end))[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "true"),
        ("1", "1.0"),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
        ("[1,2]", "[1, 2]"),
        ("null", None),
        ("NaN", "NaN "),
        ("not JSON", "not JSON, either"),
        ('{"a": 1, "b": [2]}', '{"a": 3, "b": [2]}'),
        ('{"a": 1}', "{}"),
    ],
)
def test_of_json_all_that_varies_is_left_out(one: str, other: str | None) -> None:
    mask = Mask()
    texts = [None if text is None else JsonText(text) for text in (one, other)]
    mask.learn(*texts, "result")
    assert mask
    assert mask.over(texts[0], "result") == mask.over(texts[1], "result")


def test_of_what_varies_the_rest_is_compared() -> None:
    mask = Mask()
    mask.learn({"a": (1, JsonText('{"x": 1, "y": 2}'))}, {"a": (1, JsonText('{"x": 5, "y": 2}'))})
    assert mask.over({"a": (1, JsonText('{"x": 7, "y": 2}'))}) == mask.over({"a": (1, JsonText('{"x": 9, "y": 2}'))})
    assert mask.over({"a": (1, JsonText('{"x": 7, "y": 2}'))}) != mask.over({"a": (1, JsonText('{"x": 7, "y": 3}'))})
    assert mask.over({"a": (1, JsonText('{"x": 7, "y": 2}'))}) != mask.over({"a": (2, JsonText('{"x": 7, "y": 2}'))})


# ---- handlers whose steps, checks and functions fail now and then


def fails_now_and_then(outcomes: tuple[Any, ...]) -> Any:
    world = By(*outcomes)
    return lambda _event, context: context.step(world, "s", retry=NEVER)


def is_caught_in_the_middle(outcomes: tuple[Any, ...]) -> Any:
    world = By(*outcomes)

    def handler(_event: Any, context: Any) -> Any:
        before = context.step(lambda _: 1, "before")
        try:
            middle = context.step(world, "middle", retry=NEVER)
        except StepError as error:
            message = error.message
            middle = context.step(lambda _: message, "instead")
        context.wait(5)
        return [before, middle, context.step(lambda _: 3, "after")]

    return handler


def fails_in_the_middle(outcomes: tuple[Any, ...]) -> Any:
    world = By(*outcomes)

    def handler(_event: Any, context: Any) -> Any:
        context.step(lambda _: 1, "before")
        context.step(world, "middle", retry=NEVER)
        context.wait(5)
        return context.step(lambda _: 3, "after")

    return handler


def fails_in_branches(outcomes: tuple[Any, ...]) -> Any:
    world = By(*outcomes)

    def item(inner: Any, number: int, _index: int, _all: Any) -> Any:
        inner.step(lambda _: number, "before")
        return inner.step(world, "work", retry=NEVER)

    def handler(_event: Any, context: Any) -> Any:
        every = CompletionConfig.all_completed()
        done = context.map(range(2), item, "map", completion_config=every)
        done.throw_if_error()
        return [done.success_count, done.get_results()]

    return handler


def fails_in_a_child(outcomes: tuple[Any, ...]) -> Any:
    world = By(*outcomes)

    def grandchild(context: Any) -> Any:
        return context.step(world, "work", retry=NEVER)

    def child(context: Any) -> Any:
        context.step(lambda _: 1, "before")
        return context.run_in_child_context(grandchild, "grandchild")

    return lambda _event, context: context.run_in_child_context(child, "child")


def is_checked_in_vain(outcomes: tuple[Any, ...]) -> Any:
    world = By(*outcomes)

    def check(state: int, _: Any) -> int:
        world()
        return state + 1

    def strategy(state: int, _attempt: int) -> WaitForConditionDecision:
        if state > 1:
            return WaitForConditionDecision.stop_polling()
        return WaitForConditionDecision.continue_waiting(Duration(30))

    def handler(_event: Any, context: Any) -> Any:
        try:
            return context.wait_for_condition(check, name="poll", wait_strategy=strategy, initial_state=0)
        except WaitForConditionError as error:
            return error.message

    return handler


def invokes_what_fails(outcomes: tuple[Any, ...]) -> Any:
    def handler(_event: Any, context: Any) -> Any:
        try:
            first = context.invoke("plain", {}, "first")
        except InvokeError as error:
            message = error.message
            first = context.step(lambda _: message, "instead")
        return [first, context.invoke("durable", {}, "second")]

    return handler


def is_tried_again_and_again(outcomes: tuple[Any, ...]) -> Any:
    world = By(*outcomes)

    def strategy(_error: Exception, attempt: int) -> RetryDecision:
        return RetryDecision.retry(timedelta(seconds=attempt)) if attempt < 3 else RetryDecision.no_retry()

    return lambda _event, context: context.step(world, "s", retry=strategy)


def opens_a_callback_now_and_then(outcomes: tuple[Any, ...]) -> Any:
    world = By(*outcomes)

    def handler(_event: Any, context: Any) -> Any:
        try:
            context.step(world, "s", retry=NEVER)
        except StepError:
            context.create_callback("ask")
        context.step(lambda _: 1, "last")

    return handler


FLAKY = [
    fails_now_and_then,
    is_caught_in_the_middle,
    fails_in_the_middle,
    fails_in_branches,
    fails_in_a_child,
    is_checked_in_vain,
    invokes_what_fails,
    is_tried_again_and_again,
    opens_a_callback_now_and_then,
]
OUTCOMES: list[tuple[Any, ...]] = [
    (1, NO),
    (NO, NO, 1),
    (1, 2, NO, 2, KeyError("k"), 1),
    (NO, 1, 1, 1, 1, 1, 1),
]


def explored(make: Callable[[tuple[Any, ...]], Any], outcomes: tuple[Any, ...]) -> Report:
    plain, inside = By(*outcomes), By(*outcomes)
    durable = durable_execution(lambda _event, context: context.step(inside, "inside", retry=NEVER))
    world = {"functions": {"plain": lambda _payload, _context: plain()}, "durable_functions": {"durable": durable}}
    return search(make(outcomes), {}, orders=2, **world)


@pytest.mark.parametrize("outcomes", OUTCOMES, ids=repr)
@pytest.mark.parametrize("make", FLAKY, ids=lambda make: make.__name__)
def test_what_fails_now_and_then_is_no_difference(make: Callable[[Any], Any], outcomes: tuple[Any, ...]) -> None:
    report = explored(make, outcomes)
    report.assert_ok()
    assert report.complete


ODD = {
    "null, or nothing": (None, NO),
    "numbers that are equal": (1, True, 1.0),
    "the order of keys": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "errors of all types": (NO, KeyError("k"), OSError("o"), NO),
    "once in a while": (*[1] * 11, NO),
    "lists that grow": ([], [1], [1, 2], [1, 2, 3]),
}


@pytest.mark.parametrize("outcomes", ODD.values(), ids=ODD)
def test_whatever_a_step_gives_may_vary(outcomes: tuple[Any, ...]) -> None:
    explored(fails_now_and_then, outcomes).assert_ok()


def test_what_a_step_gives_decides_what_is_done() -> None:
    count = By(0, 3, 1, 2)
    kind = By("step", "wait", "nothing")

    def handler(_event: Any, context: Any) -> Any:
        results = context.map(range(context.step(count)), lambda inner, n, *_: inner.step(lambda _: n), "map")
        match context.step(kind):
            case "step":
                context.step(lambda _: 1, "one")
            case "wait":
                context.wait(3, "two")
        return results.get_results()

    search(handler, orders=4).assert_ok()


def test_strategies_may_decide_by_chance() -> None:
    delays, again, fails = By(5, 7, 60), By(True, True, False), By(NO, NO, 1)

    def retry(_error: Exception, _attempt: int) -> RetryDecision:
        return RetryDecision.retry(timedelta(seconds=delays())) if again() else RetryDecision.no_retry()

    def wait(state: int, _attempt: int) -> WaitForConditionDecision:
        if state > 2:
            return WaitForConditionDecision.stop_polling()
        return WaitForConditionDecision.continue_waiting(Duration(delays()))

    def handler(_event: Any, context: Any) -> Any:
        context.wait_for_condition(lambda state, _: state + 1, name="poll", wait_strategy=wait, initial_state=0)
        return context.step(fails, "s", retry=retry)

    search(handler).assert_ok()


def test_branches_that_invoke_the_same_get_the_same_each_in_any_order() -> None:
    world = By("a", NO, "b", "c", NO)

    def item(inner: Any, *_: Any) -> Any:
        try:
            return inner.invoke("plain", {}, "call")
        except InvokeError as error:
            return error.message

    def handler(_event: Any, context: Any) -> Any:
        return context.map(range(3), item, "map", max_concurrency=2).get_results()

    search(handler, functions={"plain": lambda _payload, _context: world()}).assert_ok()


def next_number(*_: Any) -> int:
    GLOBAL["count"] += 1
    return GLOBAL["count"]


def numbers_in_a_map(_event: Any, context: Any) -> Any:
    return context.map(range(3), lambda inner, *_: inner.step(next_number), "map", max_concurrency=2).get_results()


def numbers_after_waits(_event: Any, context: Any) -> Any:
    def item(inner: Any, number: int, *_: Any) -> Any:
        first = inner.step(next_number, "first")
        inner.wait(1 if number else 2)
        return [first, inner.step(next_number, "second")]

    return context.map(range(3), item, "map").get_results()


def numbers_of_attempts(_event: Any, context: Any) -> Any:
    def second_attempt(step: Any) -> int:
        if step.attempt < 2:
            raise NO
        return next_number()

    def waiting(inner: Any) -> int:
        inner.wait(4)
        return inner.step(next_number, "late")

    return context.parallel([lambda inner: inner.step(second_attempt, "again"), waiting], "sides").get_results()


def numbers_of_functions(_event: Any, context: Any) -> Any:
    def item(inner: Any, *_: Any) -> Any:
        inner.wait(3)
        return [inner.invoke("number", {}, "plain"), inner.invoke("inner", {}, "durable")]

    return context.map(range(2), item, "map").get_results()


@pytest.mark.parametrize(
    "handler",
    [numbers_in_a_map, numbers_after_waits, numbers_of_attempts, numbers_of_functions],
    ids=lambda handler: handler.__name__,
)
def test_which_branch_comes_first_may_make_what_their_steps_give(handler: Callable[[Any, Any], Any]) -> None:
    inner = durable_execution(lambda _event, context: context.step(next_number, "number"))
    report = search(handler, functions={"number": next_number}, durable_functions={"inner": inner}, orders=5)
    report.assert_ok()


def test_what_branches_leave_to_a_step_after_them_is_found_by_their_order() -> None:
    def handler(_event: Any, context: Any) -> Any:
        order: list[int] = []

        def item(inner: Any, number: int, *_: Any) -> int:
            order.append(number)
            return inner.step(next_number)

        context.map(range(3), item, "map")
        return context.step(lambda _: order, "note")

    reports = [search(handler, schedule=f"order:{seed}") for seed in range(1, 5)]
    found = [report for report in reports if not report.ok]
    assert found
    assert "the outcome was SUCCEEDED [0, 1, 2]" in found[0].differences[0]


def test_what_a_step_gave_stays_as_it_was() -> None:
    numbers = By(*range(7))
    kept: list[int] = []

    def handler(_event: Any, context: Any) -> Any:
        return context.step(lambda _: kept.append(numbers()) or kept, "note")

    search(handler, event=None).assert_ok()


# ---- the probe


def test_a_probe_is_not_asked_where_a_step_did_not_really_do_what_it_is_held_to() -> None:
    world = By(1, NO, NO, 1, 1)

    def handler(_event: Any, context: Any) -> Any:
        def send(_: Any) -> None:
            world()
            GLOBAL["sent"].append("mail")

        context.step(send, "send", retry=NEVER)

    search(handler, probe=lambda: len(GLOBAL["sent"])).assert_ok()


def test_a_function_that_does_things_twice_is_found_though_it_never_gives_the_same() -> None:
    numbers = By(*range(97))

    def handler(_event: Any, context: Any) -> Any:
        return context.step(lambda _: GLOBAL["sent"].append("parcel") or numbers(), "send")

    report = search(handler, probe=lambda: len(GLOBAL["sent"]), idempotent=True)
    assert report.differences == ["the probe saw 1, and sees 2"]


def test_a_probe_that_gives_what_goes_on_changing_is_compared_as_it_was() -> None:
    sent: list[str] = []

    def handler(_event: Any, context: Any) -> None:
        sent.append("mail")  # not in a step
        context.wait(60)

    report = search(handler, probe=lambda: sent)
    assert report.differences
    assert report.differences[0].startswith("the probe saw ['mail', 'mail'], and sees ['mail', 'mail', 'mail', 'mail'")


class NotComparable:
    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth of more than one is not clear")

    def __repr__(self) -> str:
        return "[1 2]"

    __hash__ = None  # type: ignore[assignment]


def test_what_cannot_be_compared_is_the_same_if_it_looks_so() -> None:
    search(lambda _event, context: context.step(lambda _: 1), probe=NotComparable).assert_ok()


def test_a_probe_that_is_of_no_use_is_told() -> None:
    seen, ids = itertools.count(), By(*range(97))
    report = search(lambda _event, context: context.step(ids), probe=lambda: next(seen))
    assert report.ok
    assert "what the probe saw was not the same in undisturbed runs" in str(report)


# ---- bugs of handlers that are flaky, too


def a_list_filled_by_steps(world: By, context: Any) -> Any:
    seen: list[int] = []
    for number in range(3):
        context.step(lambda _, number=number: seen.append(number), f"step-{number}")
    context.step(world, "flaky", retry=NEVER)
    return seen


def the_same_key_for_two_steps(world: By, context: Any) -> Any:
    key = next(KEYS)
    same = context.step(lambda _: key, "reserve") == context.step(lambda _: key, "confirm")
    context.step(world, "flaky", retry=NEVER)
    return same


def a_bug_behind_a_flaky_step(world: By, context: Any) -> Any:
    context.step(world, "flaky", retry=NEVER)
    seen: list[int] = []
    context.step(lambda _: seen.append(1), "note")
    context.step(lambda _: 1, "last")
    return seen


def another_error_when_run_again(world: By, context: Any) -> Any:
    GLOBAL["count"] += 1
    context.step(lambda _: 1, "one")
    if GLOBAL["count"] > 1:
        raise LookupError("only when run again")
    return context.step(world, "flaky", retry=NEVER)


KEYS = itertools.count()
BUGGY = [
    a_list_filled_by_steps,
    the_same_key_for_two_steps,
    a_bug_behind_a_flaky_step,
    another_error_when_run_again,
]


@pytest.mark.parametrize("outcomes", OUTCOMES[:2], ids=repr)
@pytest.mark.parametrize("handler", BUGGY, ids=lambda handler: handler.__name__)
def test_a_bug_is_found_though_the_whole_outcome_varies(
    handler: Callable[[By, Any], Any], outcomes: tuple[Any, ...]
) -> None:
    world = By(*outcomes)
    report = search(lambda _event, context: handler(world, context), {})
    assert report.differences
    assert report.schedule is not None
    assert report.schedule.kind != "undisturbed"


def test_chance_between_undisturbed_runs_that_breaks_them_is_found() -> None:
    draws = By(*["one"] * 9, "other")  # outside of steps, and seldom

    def handler(_event: Any, context: Any) -> None:
        context.step(lambda _: 1, draws())
        context.wait(5)

    report = search(handler, orders=0)
    assert report.schedule is not None


def test_a_schedule_that_came_about_where_the_world_is_held_has_come_about() -> None:
    world = By(1, NO)

    def handler(_event: Any, context: Any) -> None:
        context.step(world, "flaky", retry=NEVER)
        context.step(lambda _: 1, "last")

    for _ in range(4):
        search(handler, schedule="crash-after:2").assert_ok()
