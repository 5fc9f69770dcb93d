"""The explorer leaves handlers alone that do the same each time, and says when it cannot know."""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from perdure import CallbackError, InvokeError, StepError, durable_execution
from perdure.config import CompletionConfig, Duration, StepSemantics
from perdure.retries import RetryDecision, RetryPresets
from perdure.testing import ExplorationError, explore
from support.explored import GLOBAL, batches, polling, search

if TYPE_CHECKING:
    from collections.abc import Callable

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


def at_most_once_again_and_again(_event: Any, context: Any) -> Any:
    def third_time(step: Any) -> int:
        if step.attempt < 3:
            raise ConnectionError("not yet")
        return int(step.attempt)

    def again(_error: Exception, attempt: int) -> RetryDecision:
        return RetryDecision.retry(5) if attempt < 5 else RetryDecision.no_retry()

    once = StepSemantics.AT_MOST_ONCE_PER_RETRY
    return context.step(third_time, "third time", step_semantics=once, retry=again)


def the_first_that_answers(_event: Any, context: Any) -> Any:
    def ask(inner: Any, name: str, _index: int, _all: Any) -> str:
        return inner.step(lambda _: name, "ask")

    batch = context.map(["a", "b", "c"], ask, "race", completion_config=CompletionConfig.first_successful())
    return batch.get_results()[0]


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
    (at_most_once_again_and_again, None, {}),
    (batches, 5, {}),
    (the_first_that_answers, None, {}),
    (polling, None, {}),
    (the_outside, 3, OUTSIDE),
]


@pytest.mark.parametrize(("handler", "event", "world"), CORRECT, ids=lambda each: getattr(each, "__name__", ""))
def test_a_handler_that_does_the_same_each_time_passes(
    handler: Callable[[Any, Any], Any], event: Any, world: dict[str, Any]
) -> None:
    report = search(handler, event, **world)
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
    context.wait(random.randrange(1, 30_000_000))  # noqa: S311


NEXT = itertools.cycle(range(16))  # where chance would now and then draw the same again


def an_invoke_of_the_next(_event: Any, context: Any) -> None:
    context.invoke(f"f{next(NEXT)}", {})


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
        an_invoke_of_the_next,
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
        for _ in range(2):
            thread = threading.Thread(target=context.step, args=(lambda _: 1, "same"))
            thread.start()
            thread.join()

    search(handler).assert_ok()
    assert capfd.readouterr().err == ""
