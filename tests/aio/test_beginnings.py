"""Tasks that were made and have not begun: their operations have the same positions on replay, whatever is recorded."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest

from perdure.config import CompletionConfig, NestingType
from perdure.exceptions import DurableOperationError, OrphanedChildException
from perdure.retries import RetryPresets
from support.awaited import Trial, everywhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure import AsyncDurableContext

    Program = Callable[[AsyncDurableContext], Any]


async def one(context: AsyncDurableContext, name: str) -> str:
    """What is allowed of a task beside others in its context: one operation, at its beginning."""
    return await context.step(lambda _: name, name)


async def beside_a_task(context: AsyncDurableContext) -> Any:
    task = asyncio.create_task(one(context, "task"))
    await context.wait(1, "a")
    return [await context.step(lambda _: "b", "b"), await task]


async def within_a_group(context: AsyncDurableContext) -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(context, f"task {n}")) for n in range(3)]
        await context.wait(1, "a")
        last = await context.step(lambda _: "b", "b")
    return [*(task.result() for task in tasks), last]


async def beside_a_task_that_is_done(context: AsyncDurableContext) -> Any:
    """On replay it is done when it is awaited, which takes no turn of the loop."""
    waiting = asyncio.create_task(context.wait(5, "long"))
    await context.step(lambda _: "a", "a")
    task = asyncio.create_task(one(context, "task"))
    await waiting
    return [await context.step(lambda _: "b", "b"), await task]


async def made_by_a_task(context: AsyncDurableContext) -> Any:
    async def make() -> Any:
        return await asyncio.create_task(one(context, "inner"))

    outer = asyncio.create_task(make())
    beside = asyncio.create_task(one(context, "beside"))
    await context.wait(2, "a")
    return [await context.step(lambda _: "b", "b"), await outer, await beside]


async def beside_a_race(context: AsyncDurableContext) -> Any:
    async def rest(seconds: int) -> None:
        await context.wait(seconds, f"rest {seconds}")

    race = context.race([rest(3), rest(90)])
    await context.wait(2, "a")
    await race
    return await context.step(lambda _: "b", "b")


async def in_the_variables_of_its_maker(context: AsyncDurableContext) -> Any:
    """Such a task cannot begin while its maker runs."""
    task = asyncio.get_running_loop().create_task(one(context, "task"), context=contextvars.copy_context())
    await asyncio.sleep(0)
    await context.wait(2, "a")
    return [await context.step(lambda _: "b", "b"), await task]


async def cancelled(context: AsyncDurableContext) -> Any:
    task = asyncio.create_task(one(context, "task"))
    task.cancel()
    await context.wait(2, "a")
    return [await context.step(lambda _: "b", "b"), task.cancelled()]


async def generators_that_are_broken_off(context: AsyncDurableContext) -> Any:
    """What they call as they end comes before what is called next."""

    async def pages(name: str) -> Any:
        try:
            for number in range(3):
                yield number
        finally:
            await context.wait(2, f"close {name}")

    async for number in pages("a"):
        if number == 1:
            break
    beside = asyncio.create_task(context.wait(5, "beside"))
    one = await context.step(lambda _: "one", "one")
    async for _ in pages("b"):
        break
    two = await context.step(lambda _: "two", "two")
    await context.wait(10, "rest")
    return [one, two, await beside]


PROGRAMS: list[Program] = [
    *(beside_a_task, within_a_group, beside_a_task_that_is_done, made_by_a_task, beside_a_race),
    *(in_the_variables_of_its_maker, cancelled, generators_that_are_broken_off),
]


def handler_of(program: Program, factory: Any = None) -> Any:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        asyncio.get_running_loop().set_task_factory(factory)
        return await program(context)

    return handler


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_positions_are_the_same_wherever_it_is_cut(program: Program) -> None:
    everywhere(lambda: (handler_of(program),))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks")
@pytest.mark.parametrize("program", PROGRAMS[:3], ids=lambda program: program.__name__)
def test_positions_are_the_same_with_tasks_that_begin_where_they_are_made(program: Program) -> None:
    eager = handler_of(program, asyncio.eager_task_factory)
    whole, other = Trial(handler_of(program)), Trial(eager)
    assert whole.value == other.value
    assert whole.shape == other.shape
    whole.check_replay(eager)
    other.check_replay(handler_of(program))


def test_a_task_that_begins_before_its_turn_has_its_own_variables_and_is_the_current_one() -> None:
    seen: list[Any] = []
    variable = contextvars.ContextVar("variable", default="its maker's")

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def own() -> None:
            seen.append((variable.get(), asyncio.current_task()))
            await one(context, "task")

        maker = asyncio.current_task()
        variable.set("as it was made")
        task = asyncio.create_task(own())
        variable.set("after that")
        operation = context.step(lambda _: "a", "a")
        assert seen == [("as it was made", task)]
        assert asyncio.current_task() is maker
        assert variable.get() == "after that"
        await operation
        await task
        return len(seen)

    assert Trial(handler).value == 1


# ---- tasks of operations that are cancelled before they have begun


async def _came_of(operation: Any) -> Any:
    task = asyncio.create_task(operation)
    task.cancel()
    await asyncio.wait([task])
    try:
        return await operation
    except asyncio.CancelledError:
        return "cancelled"


async def _in_a_branch(inner: AsyncDurableContext, *_: Any) -> Any:
    return await inner.wait(9, "in a branch")


@pytest.mark.parametrize(
    "call",
    [
        lambda context: context.step(lambda _: "x", "x"),
        lambda context: context.wait(500, "x"),
        lambda context: context.run_in_child_context(_in_a_branch, "x"),
        lambda context: context.map([1], _in_a_branch, "x"),
        lambda context: context.race([_in_a_branch, _in_a_branch], "x"),
        lambda context: context.race([context.wait(500, "x"), context.wait(600, "y")]),
    ],
    ids=["step", "wait", "child", "map", "race of functions", "race"],
)
def test_an_operation_whose_task_is_cancelled_at_once_is_cancelled_for_all(
    call: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        came = await _came_of(call(context))
        return [came, await context.step(lambda _: "after", "after")]

    with caplog.at_level(logging.WARNING):
        trial = everywhere(lambda: (handler,))
    assert trial.value == ["cancelled", "after"]
    assert ("in a branch", "STARTED") not in trial.operations
    assert len(trial.handle.invocations) == 1
    assert not caplog.records


# ---- tasks that begin where they are made


@pytest.mark.parametrize("is_eager", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_branches_are_counted_before_any_goes_on_and_losers_are_none_of_the_outcome(
    flat: bool, is_eager: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A loser's group of tasks comes to another operation in the very turn of the loop in which the race is decided."""
    if is_eager and sys.version_info < (3, 12):
        pytest.skip("there are no eager tasks")
    nesting = NestingType.FLAT if flat else NestingType.NESTED

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory if is_eager else None)
        decided = asyncio.Event()

        async def go_on(inner: AsyncDurableContext) -> None:
            await decided.wait()
            await inner.step(lambda _: 1, "too late")

        async def grouped(inner: AsyncDurableContext) -> None:
            await inner.step(lambda _: 1, "in time")
            async with asyncio.TaskGroup() as group:
                group.create_task(inner.wait(60, "long"))
                group.create_task(go_on(inner))

        async def left_alone(inner: AsyncDurableContext) -> None:
            asyncio.get_running_loop().create_task(go_on(inner))
            await inner.wait(60, "long")

        async def quick(_inner: AsyncDurableContext) -> str:
            decided.set()
            return "quick"

        rule = CompletionConfig(min_successful=1)
        branches = [grouped, left_alone, quick]
        batch = await context.parallel(branches, completion_config=rule, nesting_type=nesting)
        await asyncio.sleep(0)
        return [batch.get_results(), await context.step(lambda _: "after", "after")]

    trial = Trial(handler)
    assert trial.value == [["quick"], "after"]
    trial.check_replay(handler)
    gc.collect()
    assert not [record.getMessage() for record in caplog.records if record.name == "asyncio"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks")
def test_a_group_of_a_loser_takes_the_task_that_is_made_after_one_that_is_refused_at_once() -> None:
    raised: list[BaseException] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        decided = asyncio.Event()

        async def grouped(inner: AsyncDurableContext) -> None:
            await decided.wait()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(inner.wait(60, "long"))
                    group.create_task(inner.wait(60, "longer"))
            except BaseExceptionGroup as errors:
                raised.extend(errors.exceptions)
                raise

        async def quick(_inner: AsyncDurableContext) -> str:
            decided.set()  # the loser goes on once the race is over, and before whoever awaits the branches
            return "quick"

        rule = CompletionConfig(min_successful=1)
        batch = await context.parallel([grouped, quick], completion_config=rule, nesting_type=NestingType.FLAT)
        return [batch.get_results(), await context.step(lambda _: "after", "after")]

    assert Trial(handler).value == [["quick"], "after"]
    assert [type(error) for error in raised] == [OrphanedChildException] * 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks")
def test_tasks_that_begin_where_they_are_made_are_known_of() -> None:
    """One that waits has others looked through while it begins; it is known of after that."""
    waiting: list[Any] = []
    unknown: list[Any] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)

        async def rest(seconds: int) -> None:
            await asyncio.gather(context.step(lambda _: 1), context.wait(seconds))

        tasks = [asyncio.create_task(rest(seconds)) for seconds in (3, 2, 1)]
        waiting.extend(task for task in tasks if not task.done())
        unknown.extend(task for task in tasks if not task.done() and task not in context.conductor.tasks)
        await asyncio.gather(*tasks)
        return "done"

    assert Trial(handler).value == "done"
    assert waiting
    assert not unknown


async def _fails_at_once(context: AsyncDurableContext) -> None:
    await context.step(_broken, "broken", retry=RetryPresets.none())


def _broken(_step: Any) -> None:
    raise ValueError("broken")


async def _calls_between(context: AsyncDurableContext) -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(_fails_at_once(context))
        step = context.step(lambda _: 1, "between")
        group.create_task(_parks(context))
        await step
        await asyncio.Event().wait()


async def _awaits_tasks_made_before(context: AsyncDurableContext) -> Any:
    async def awaits(task: Any) -> Any:
        return await task

    async with asyncio.TaskGroup() as group:
        group.create_task(_fails_at_once(context))
        group.create_task(awaits(asyncio.ensure_future(context.wait(600, "parked"))))


async def _parks(context: AsyncDurableContext) -> None:
    await context.wait(600, "parked")


async def _fails_later(context: AsyncDurableContext) -> Any:
    async def fails(inner: AsyncDurableContext, seconds: int) -> None:
        await inner.wait(seconds)
        raise ValueError("broken")

    async with asyncio.TaskGroup() as group:
        for seconds in (1, 600, 900):
            group.create_task(context.run_in_child_context(lambda inner, seconds=seconds: fails(inner, seconds)))


async def _fails_later_in_functions(context: AsyncDurableContext) -> Any:
    async def fails(seconds: int) -> None:
        await context.wait(seconds)
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            for seconds in (1, 600, 900):
                group.create_task(fails(seconds))
    except* LookupError:
        pass


_FACTORIES = [None, *([asyncio.eager_task_factory] if sys.version_info >= (3, 12) else [])]


@pytest.mark.parametrize("factory", _FACTORIES, ids=["in their turns", "at once"][: len(_FACTORIES)])
@pytest.mark.parametrize("group", [_calls_between, _awaits_tasks_made_before, _fails_later, _fails_later_in_functions])
def test_a_group_whose_failure_is_recorded_comes_to_what_it_had_come_to(group: Any, factory: Any) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        asyncio.get_running_loop().set_task_factory(factory)
        try:
            await group(context)
        except* DurableOperationError:
            pass
        await context.wait(5, "after")
        return await context.step(lambda _: "done", "last")

    trial = Trial(handler)
    assert trial.value == "done"
    if factory is None:  # else a step that is cut where it is at work is tried again meanwhile
        assert len(trial.handle.invocations) == 2 + group.__name__.startswith("_fails_later")
    trial.check_replay(handler)
