"""Decisions by who ends first: recorded, and made alike wherever the execution is cut and whoever ends first then."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from perdure import AllFailedError, AsyncDurableContext, StepContext
from perdure.config import StepSemantics
from perdure.exceptions import InvalidStateError, StepError, ValidationError
from perdure.retries import RetryPresets
from support.awaited import Trial, everywhere
from support.both_sdks import OFFICIAL
from support.tree_runs import nothing_is_told

if TYPE_CHECKING:
    from collections.abc import Callable

ONCE = RetryPresets.none()


def fails(_step: StepContext) -> None:
    raise ValueError("bad")


async def once_done(waiting: Any, value: Any) -> Any:
    """A coroutine with one operation, that was not called yet."""
    await waiting()
    if isinstance(value, Exception):
        raise value
    return value


async def raced(context: AsyncDurableContext, kind: Callable[[Any], Any]) -> Any:
    """Whoever wins, what follows finds its own record."""

    def after(seconds: int, value: Any) -> Any:
        return kind(once_done(lambda: context.wait(seconds, f"wait {seconds}"), value))

    told = [await context.race([after(300, "slow"), after(5, "fast"), after(200, "slower")], "race")]
    told.append(await context.any((after(3, ValueError("bad")), after(400, "late"), after(7, "good")), "any"))
    told.append(await context.all((after(3, 1), after(2, 2)), "all"))
    settled = await context.all_settled([after(2, OSError("gone")), after(1, "there"), after(500, 0)], timeout=50)
    told.append([[each.status.value, each.result, each.error and each.error.message] for each in settled])
    for combine in (
        lambda: context.race([after(500, 0)], "late race", timeout=5),
        lambda: context.any([after(2, ValueError("no")), after(1, OSError("not"))]),
        lambda: context.race([after(500, 0), after(1, KeyError("lost"))]),
    ):
        try:
            await combine()
        except (TimeoutError, AllFailedError, KeyError) as error:
            told.append(f"{type(error).__name__}: {error}")
    return [told, await context.step(lambda _: "after", "after")]


KINDS: dict[str, Callable[[Any], Any]] = {"coroutines": lambda each: each, "tasks": asyncio.ensure_future}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_combinators_over_what_is_awaited(kind: Callable[[Any], Any], caplog: pytest.LogCaptureFixture) -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            return await raced(context, kind)

        return (handler,)

    caplog.set_level(logging.WARNING, "perdure")
    told, after = everywhere(make).value
    assert after == "after"
    assert told[:3] == ["fast", "good", [1, 2]]
    assert told[3] == [["FAILED", None, "gone"], ["SUCCEEDED", "there", None], ["STARTED", None, None]]
    assert told[4:] == [
        "CombinatorTimeoutError: none of 1 had ended within 5 s",
        "AllFailedError: none of 2 succeeded (ValueError: no; OSError: not)",
        "KeyError: 'lost'",
    ]
    assert not [each for each in caplog.records if "was cancelled before" in each.getMessage()]


def test_operations_that_were_called_keep_their_positions_and_losers_keep_nobody_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            callback = await context.create_callback("cb")
            answer, timer = callback.result(), context.wait(20, "timer")
            first = await context.step(lambda _: 1, "first")  # meanwhile both have begun by themselves
            won = await context.race([answer, timer, context.step(fails, "bad", retry=RetryPresets.fixed(600))])
            return [first, won, await context.step(lambda _: "after", "after")]

        return (handler,)

    with caplog.at_level(logging.WARNING, "perdure"):
        whole = everywhere(make)
    assert "asyncio.wait at" not in caplog.text
    assert whole.value == [1, None, "after"]
    assert whole.handle.open_callbacks  # nobody has answered, and the execution has ended all the same


def test_a_failure_that_comes_first_is_the_operation_s_own_error() -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            try:
                await context.race([context.wait(60, "long"), context.step(fails, "bad", retry=ONCE)])
            except StepError as error:
                return [error.error_type, await context.step(lambda _: 2, "after")]

        return (handler,)

    assert everywhere(make).value == ["ValueError", 2]


def test_the_recorded_winner_wins_when_the_other_ends_first_on_replay() -> None:
    order: list[list[str]] = []

    def handler_of(delays: dict[str, float]) -> Any:
        async def local(context: AsyncDurableContext, name: str) -> str:
            await context.step(lambda _: name, name)
            await asyncio.sleep(delays[name])  # the user's own, which takes as long as it takes
            return name

        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            found = [await context.race([local(context, "a"), local(context, "b")], "race")]
            done = [await each async for each in context.as_completed([local(context, "a"), local(context, "b")])]
            order.append([*found, *done])
            await context.wait(5)
            return [*found, *done]

        return handler

    turns = handler_of({"a": 0, "b": 0.3}), handler_of({"a": 0.05, "b": 0})
    assert Trial(*turns).value == ["a", "a", "b"]
    assert len(order) >= 2
    assert order == [["a", "a", "b"]] * len(order)


def test_a_loser_s_step_is_cancelled_and_does_not_run_again_on_replay() -> None:
    begun: list[int] = []

    async def stuck(step: StepContext) -> None:
        begun.append(step.attempt)
        await asyncio.Event().wait()

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def later() -> None:
            await context.step(stuck, "in a coroutine", retry=RetryPresets.fixed(1))

        called = context.step(stuck, "called", retry=RetryPresets.fixed(1))
        won = await context.race([called, context.step(lambda _: "quick", "quick"), later()])
        for _ in range(3):
            await context.wait(10)  # the losers' next attempts come due meanwhile
        return won

    trial = Trial(handler)
    assert trial.value == "quick"
    assert begun == [1, 1]
    trial.check_replay(handler)


async def _in_a_coroutine(_context: AsyncDurableContext, step: Callable[[AsyncDurableContext], Any]) -> Any:
    return await step(_context)


FORMS: dict[str, Any] = {
    "operation": lambda context, step: step(context),
    "coroutine": _in_a_coroutine,
    "child": lambda context, step: context.run_in_child_context(step),
}


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("semantics", list(StepSemantics))
@pytest.mark.parametrize("form", FORMS)
def test_a_loser_that_is_at_work_is_not_tried_again_and_wakes_nobody(
    in_thread: bool, semantics: StepSemantics, form: str
) -> None:
    left = threading.Event()
    begun: list[None] = []

    def blocks(_: StepContext) -> None:
        begun.append(None)
        left.wait(60)

    async def sleeps(_: StepContext) -> None:
        begun.append(None)
        await asyncio.Event().wait()

    async def quick(_: StepContext) -> str:
        while not begun:  # noqa: ASYNC110  a thread may do that
            await asyncio.sleep(0)
        return "quick"

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        def step(inner: AsyncDurableContext) -> Any:
            options: dict[str, Any] = {"in_thread": True} if in_thread else {}
            return inner.step(blocks if in_thread else sleeps, "loser", step_semantics=semantics, **options)

        won = await context.race([FORMS[form](context, step), context.step(quick)])
        left.set()
        for _ in range(3):
            await context.wait(100)
        return won

    trial = Trial(handler)
    assert trial.value == "quick"
    assert [each["Action"] for each in trial.handle.updates if each.get("Name") == "loser"] == ["START"]
    assert len(trial.handle.invocations) == 4
    assert begun == [None]
    trial.check_replay(handler)


def test_what_an_as_completed_that_is_broken_off_has_not_given_is_carried_out() -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            def second_time(step: StepContext) -> str:
                if step.attempt == 1:
                    raise OSError
                return "late"

            late = context.step(second_time, "late", retry=RetryPresets.fixed(60))
            told = []
            async for done in context.as_completed([late, context.step(lambda _: "soon", "soon")]):
                told.append(await done)
                break
            return told

        return (handler,)

    found = everywhere(make)
    assert found.value == ["soon"]
    assert found.operations[:2] == [("late", "SUCCEEDED"), ("soon", "SUCCEEDED")]


def test_nobody_is_told_of_a_failed_task_that_an_as_completed_has_not_given() -> None:
    def fails(_: Any) -> None:
        raise ValueError("recorded, and asked for by as_completed")

    async def handler(_event: Any, context: AsyncDurableContext) -> str:
        failing = asyncio.ensure_future(context.step(fails, "fails", retry=ONCE))
        async for done in context.as_completed([context.step(lambda _: "first", "first"), failing]):
            first: str = await done
            await asyncio.wait([failing])
            return first
        return "none"

    with nothing_is_told():
        assert Trial(handler).handle.value == "first"


def test_as_completed_gives_what_was_given_in_the_order_that_is_recorded() -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            operations = [context.wait(30, "slow"), context.step(fails, "bad", retry=ONCE), context.wait(5, "soon")]
            names = {id(each): name for each, name in zip(operations, ("slow", "bad", "soon"), strict=True)}
            told = []
            async for done in context.as_completed(operations, "next"):
                try:
                    await done
                    told.append(names[id(done)])
                except StepError as error:
                    told.append(f"{names[id(done)]}: {error}")
                told.append(await context.step(lambda _: len(told), "between"))
            return told

        return (handler,)

    whole = everywhere(make)
    assert whole.value == ["bad: bad", 1, "soon", 3, "slow", 5]
    assert [name for name, _ in whole.operations].count("next") == 2  # of the last there is nothing to decide


def test_select_tells_which_comes_first_again_and_again() -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            told = []
            async with context.select("next") as select:
                select.add("answer", context.wait(25, "answer"))
                select.add("never", context.wait(9000, "never"))
                select.add("tick", context.wait(10, "tick"))
                async for key, done in select:
                    await done
                    told.append(key)
                    if key == "answer":
                        break
                    select.add("tick", context.wait(10, "tick"))
                assert len(select) == 2
            with pytest.raises(InvalidStateError):
                select.add("x", context.wait(1))
            return [told, await context.step(lambda _: "after", "after")]

        return (handler,)

    assert everywhere(make).value == [["tick", "tick", "answer"], "after"]


def test_select_by_hand() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async with context.select() as select:
            with pytest.raises(InvalidStateError):
                await select.next()
            select.add(1, context.step(lambda _: "one"))
            for wrong in ((1, context.step(lambda _: 0)), ((), context.step(lambda _: 0)), ("x", "no operation")):
                with pytest.raises(ValidationError):
                    select.add(*wrong)
            key, done = await select.next()
            return [key, await done, [each async for each, _ in select]]

    assert Trial(handler).value == [1, "one", []]


def test_what_cannot_be_decided_is_refused() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        told = []
        one = context.step(lambda _: 1)
        for combine in (
            lambda: context.race([one, lambda inner: inner.wait(1)]),
            lambda: context.all([one], max_concurrency=1),
            lambda: context.race([one], timeout=0),
        ):
            try:
                await combine()
            except ValidationError as error:
                told.append(str(error))
        with pytest.raises(ValidationError):
            context.as_completed({one})
        return told

    told = Trial(handler).value
    assert [text.split()[0] for text in told] == ["race", "max_concurrency=", "a"]


def test_the_official_sdk_reads_what_is_recorded() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        slow, quick = context.wait(300, "slow"), context.step(lambda _: "quick", "quick")
        won = await context.race([slow, quick], "race")
        await context.wait(5, "pause")
        return [won]

    whole = Trial(handler)
    assert whole.value == ["quick"]
    race = next(each for each in whole.shape.values() if each["Name"] == "race")
    assert (race["Type"], race["SubType"], race["Status"]) == ("CONTEXT", "RunInChildContext", "SUCCEEDED")
    decided = OFFICIAL.serdes.deserialize(None, race["ContextDetails"]["Result"], "id", "arn")
    assert decided == {"ended": [1], "late": False}
