"""The explorer on ``async def`` handlers: crashes everywhere, and tasks that go on in other orders."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from perdure import Checkpointing
from perdure.config import NestingType
from perdure.testing import ExplorationError
from support import explored
from support.coroutines import as_coroutines
from support.explored import GLOBAL, search
from testing.exploring import test_explorer as corpus

if TYPE_CHECKING:
    from collections.abc import Callable

AWAITED = as_coroutines(explored)
CORPUS_AWAITED = as_coroutines(corpus)


async def work(step: Any) -> int:
    await asyncio.sleep(0)
    return int(step.attempt)


# ---- sound handlers


async def one_after_the_other(_event: Any, context: Any) -> Any:
    first = await context.step(work, "first")
    await context.wait(5)
    return [first, await context.step(lambda _: 2, "second")]


async def side_by_side(_event: Any, context: Any) -> Any:
    async def child(inner: Any) -> Any:
        await inner.step(work, "one")
        await inner.wait(1)
        return await inner.step(work, "two")

    async def item(inner: Any, number: int, *_: Any) -> Any:
        if number % 2:
            await inner.wait(number)
        return await inner.step(lambda _: number, "number")

    steps = await asyncio.gather(context.step(work, "a"), context.wait(3), context.step(work, "b"))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(context.run_in_child_context(child)) for _ in range(2)]
    nested = await context.map(range(4), item, max_concurrency=2)
    flat = await context.map(range(3), item, nesting_type=NestingType.FLAT)
    return [steps, [task.result() for task in tasks], nested.get_results(), flat.get_results()]


async def an_answer(_event: Any, context: Any) -> Any:
    async def ask(_callback_id: str, _context: Any) -> None:
        await asyncio.sleep(0)

    answers = await asyncio.gather(context.wait_for_callback(ask, "asked"), context.invoke("doubled", 4))
    callback = await context.create_callback("open")
    return [answers, await callback.result()]


async def tasks_in_the_order_of_an_event(_event: Any, context: Any) -> Any:
    """Who waits for the same is woken in order: no other may be made of that."""
    woken = asyncio.Event()

    async def wait_for_it(name: str) -> Any:
        await woken.wait()
        return await context.step(lambda _: name, name)

    async def wake() -> None:
        await context.step(work, "work")
        woken.set()

    return await asyncio.gather(wait_for_it("a"), wait_for_it("b"), wake())


async def steps_that_count(_event: Any, context: Any) -> Any:
    """What functions share is the world's: that they take turns in another order is no fault of the handler's."""

    def count(_step: Any) -> int:
        GLOBAL["count"] += 1
        return int(GLOBAL["count"])

    return await asyncio.gather(context.step(count, "a"), context.step(count, "b"))


async def clean_up_of_all_kinds(_event: Any, context: Any) -> Any:
    """Code that sees whatever is raised in it does not see an invocation end."""
    seen = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(context.step(work, "a"))
            group.create_task(context.wait(5))
        await context.step(work, "b")
    except BaseException as error:
        seen.append(repr(error))
        raise
    finally:
        seen.append("finally")
    return seen


@pytest.mark.parametrize(
    "handler",
    [
        *(one_after_the_other, side_by_side, tasks_in_the_order_of_an_event, steps_that_count, clean_up_of_all_kinds),
        AWAITED.polling,
    ],
    ids=lambda handler: handler.__name__,
)
def test_sound_handlers_stand_everything(handler: Any) -> None:
    search(handler).assert_ok()


def test_the_batches_of_a_plain_handler_stand_everything_awaited() -> None:
    search(AWAITED.batches, 4).assert_ok()


def test_answers_and_invokes() -> None:
    report = search(
        an_answer, answers={"asked": "yes", "open": "too"}, functions={"doubled": lambda event, _context: 2 * event}
    )
    report.assert_ok()
    assert report.expected.result == '[["yes", 8], "too"]'


@pytest.mark.parametrize("checkpointing", [Checkpointing.EAGER, Checkpointing.OPTIMISTIC])
def test_whenever_updates_leave(checkpointing: Checkpointing) -> None:
    search(one_after_the_other, checkpointing=checkpointing).assert_ok()
    search(steps_that_count, checkpointing=checkpointing).assert_ok()


# ---- who comes first


async def a_race(_event: Any, context: Any) -> Any:
    first = await context.race([context.step(lambda _, name=name: name, name) for name in "ab"])
    return [first, await context.step(lambda _: "after", "after")]


async def a_race_against_time(_event: Any, context: Any) -> Any:
    await context.race([context.step(work, "work"), context.wait(5)])
    return await context.step(lambda _: "after", "after")


async def in_the_order_of_their_ends(_event: Any, context: Any) -> Any:
    operations = [context.step(lambda _, name=name: name, name) for name in "ab"]
    ended = [await each async for each in context.as_completed([*operations, context.wait(2)])]
    return [ended, await context.step(lambda _: "after", "after")]


async def a_timeout_that_is_met(_event: Any, context: Any) -> Any:
    async with context.timeout(500):
        await context.step(work, "work")
        await context.wait(60)
    return await context.step(lambda _: "in time", "after")


@pytest.mark.parametrize("handler", [a_race, a_race_against_time, in_the_order_of_their_ends, a_timeout_that_is_met])
def test_what_is_recorded_of_a_race_may_be_another_but_is_kept_to(handler: Any) -> None:
    search(handler).assert_ok()


def test_what_hangs_on_chance_beside_a_race_is_found() -> None:
    async def handler(event: Any, context: Any) -> Any:
        return [await a_race(event, context), random.random()]  # noqa: S311

    with pytest.raises(ExplorationError, match="undisturbed"):
        search(handler).assert_ok()


# ---- handlers with a bug


async def chance_in_the_result(_event: Any, context: Any) -> Any:
    await context.step(work, "one")
    return random.random()  # noqa: S311


async def tasks_that_share_a_context(_event: Any, context: Any) -> Any:
    """Whose first step ends first takes the next position: it may be another when the first ones are recorded."""

    async def two(name: str) -> None:
        await context.step(work, f"{name}1")
        await context.step(work, f"{name}2")

    await asyncio.gather(two("a"), two("b"))


async def tasks_that_share_a_list(_event: Any, context: Any) -> Any:
    done: list[str] = []

    async def one(name: str) -> None:
        await context.step(work, name)
        done.append(name)

    await asyncio.gather(one("a"), one("b"))
    return done


async def the_first_of_two(_event: Any, context: Any) -> Any:
    tasks = [asyncio.create_task(context.step(lambda _, name=name: name, name)) for name in "ab"]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return sorted(task.result() for task in done)


async def a_failure_that_comes_once(_event: Any, context: Any) -> Any:
    GLOBAL["count"] += 1
    count = GLOBAL["count"]
    await context.step(work, "one")
    if count == 2:
        raise OSError("only when run again")
    return await context.step(work, "two")


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (chance_in_the_result, "undisturbed"),
        (tasks_that_share_a_context, 'STEP of subtype Step named "b1" in the recorded history'),
        (tasks_that_share_a_list, "tasks ran in the order of seed"),
        (the_first_of_two, "tasks ran in the order of seed"),
        (a_failure_that_comes_once, "only when run again"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_handlers_with_a_bug_are_found(handler: Callable[[Any, Any], Any], told: str) -> None:
    with pytest.raises(ExplorationError, match=told):
        search(handler).assert_ok()


@pytest.mark.parametrize("name", [each.__name__ for each in corpus.BUGGY if each is not corpus.threads_of_its_own])
def test_what_is_found_in_plain_handlers_is_found_where_they_are_awaited(name: str) -> None:
    report = search(getattr(CORPUS_AWAITED, name), {})
    assert report.expected.is_asynchronous
    assert report.differences


def test_a_schedule_of_tasks_can_be_run_again() -> None:
    report = search(tasks_that_share_a_list)
    assert report.schedule is not None
    assert report.schedule.kind == "order"
    with pytest.raises(ExplorationError):
        search(tasks_that_share_a_list, schedule=str(report.schedule)).assert_ok()


def test_a_handler_that_waits_for_nothing_is_given_up() -> None:
    async def handler(_event: Any, context: Any) -> None:
        await context.step(work, "one")
        await asyncio.Event().wait()

    with pytest.raises(ExplorationError, match="not come to its end"):
        search(handler, trial_limit=1).assert_ok()


def test_a_handler_with_nothing_beside_it_is_not_put_in_orders() -> None:
    report = search(one_after_the_other)
    report.assert_ok()
    assert report.expected.choices == 0
    assert report.expected.is_asynchronous
