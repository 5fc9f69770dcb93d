"""Blocks with a time limit: replayed by code that goes another way than what was cut, and ended from outside."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from perdure import durable_execution
from perdure.config import NestingType
from perdure.local import RealClock
from support.awaited import Trial, cut_at
from support.invocations import Recorder, event, op, op_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure import AsyncDurableContext


def replayed(handler: Any, *recorded: Any, client: Recorder | None = None) -> tuple[Any, Recorder]:
    """Run one invocation over a history; give its result, and the client that heard of what is new."""
    client = client or Recorder()
    output = durable_execution(handler, boto3_client=client)(event(*recorded), None)  # type: ignore[arg-type,call-overload]
    assert output["Status"] == "SUCCEEDED", output
    return json.loads(output["Result"]), client


def cut_after(path: tuple[int, ...], *within: Any) -> list[dict[str, Any]]:
    """Give the record of a block that was cut once it had come to an operation."""
    return [op("CONTEXT", "SUCCEEDED", 1, details={"Result": expired(op_id(*path))}), *within]


def expired(after: str) -> str:
    """Give what is recorded of a block that was cut."""
    return f'{{"t":"m","v":{{"expired":{{"t":"b","v":true}},"after":{{"t":"s","v":"{after}"}}}}}}'


def step(*path: int, value: str = '"recorded"', **members: Any) -> dict[str, Any]:
    return op("STEP", "SUCCEEDED", *path, details={"Result": value}, **members)


async def told(context: AsyncDurableContext, block: Callable[[], Awaitable[Any]]) -> list[str]:
    """Run a block, and say how it has ended; then a step, which has the next position."""
    ended = "in time"
    try:
        async with context.timeout(60):
            await block()
    except TimeoutError:
        ended = "cut"
    return [ended, await context.step(lambda _: "new", "next")]


def test_a_block_that_no_longer_sleeps_is_cut_where_it_comes_to_a_new_operation() -> None:
    ran: list[str] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def block() -> None:
            await context.step(lambda _: "again")
            await context.step(lambda _: ran.append("beyond"), "beyond")

        return await told(context, block)

    found, client = replayed(handler, *cut_after((2,), step(2)))
    assert found == ["cut", "new"]
    assert ran == []
    assert [each["Name"] for each in client.updates if each["Type"] == "STEP"] == ["next"] * len(client.updates)


async def one(context: AsyncDurableContext, name: str) -> Any:
    return await context.step(lambda _: name, name)


async def tasks_and_an_operation(context: AsyncDurableContext) -> None:
    tasks = [asyncio.create_task(one(context, f"task {n}")) for n in range(2)]
    await one(context, "beyond")
    await asyncio.gather(*tasks)


async def a_group_of_tasks(context: AsyncDurableContext) -> None:
    async with asyncio.TaskGroup() as group:
        for n in range(2):
            group.create_task(one(context, f"task {n}"))


@pytest.mark.parametrize("beyond", [tasks_and_an_operation, a_group_of_tasks])
def test_what_a_cut_block_calls_beyond_its_cut_takes_no_position(beyond: Any) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def block() -> None:
            await one(context, "before")
            try:
                await beyond(context)
            finally:
                await one(context, "clean up")
                await asyncio.gather(one(context, "clean"), one(context, "up"))

        return await told(context, block)

    names = ["before", "clean up", "clean", "up"]
    recorded = cut_after((2,), *(step(2 + n, Name=name) for n, name in enumerate(names)))
    assert replayed(handler, *recorded)[0] == ["cut", "new"]


@pytest.mark.parametrize("nesting", list(NestingType))
def test_a_branch_cleans_up_what_was_cut_also_where_it_is_held_until_others_are_tried(nesting: NestingType) -> None:
    async def cleans_up(inner: AsyncDurableContext) -> str:
        try:
            async with inner.timeout(2):
                try:
                    await inner.wait(100)
                finally:
                    await one(inner, "clean up")
        except TimeoutError:
            return str(await one(inner, "after"))
        return "in time"

    async def waits(inner: AsyncDurableContext) -> None:
        await inner.wait(50)

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        found = await context.parallel([cleans_up, waits, waits], nesting_type=nesting, max_concurrency=2)
        return found.get_results()

    whole = Trial(handler)
    assert whole.value == ["after", None, None]
    for call in range(1, whole.calls + 1):
        for way in ("before", "after"):
            again = Trial(handler, hurt=cut_at(call, way))
            assert again.value == ["after", None, None], f"cut {way} call {call}"
            again.check_replay(handler)


@pytest.mark.parametrize("turns", range(12))
def test_a_task_that_is_made_as_the_time_is_over_comes_to_its_operation_before_the_cut(turns: int) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def block() -> None:
            await context.wait(60, "as long")
            for _turn in range(turns):
                await asyncio.sleep(0)
            async with asyncio.TaskGroup() as group:
                for n in range(3):
                    group.create_task(one(context, f"task {n}"))
            await context.wait(60)

        return await told(context, block)

    whole = Trial(handler)
    assert whole.value == ["cut", "new"]
    whole.check_replay(handler)
    for call in range(1, whole.calls + 1):
        again = Trial(handler, hurt=cut_at(call, "after"))
        assert again.value == ["cut", "new"]
        again.check_replay(handler)


def test_a_virtual_context_in_a_cut_block_is_cut_where_it_comes_to_a_new_operation() -> None:
    ran: list[str] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def inside(inner: AsyncDurableContext) -> None:
            await inner.step(lambda _: "again")
            await inner.step(lambda _: ran.append("beyond"), "beyond")

        return await told(context, lambda: context.run_in_child_context(inside, is_virtual=True))

    found, _client = replayed(handler, *cut_after((2, 1), step(2, 1, ParentId=None)))
    assert found == ["cut", "new"]
    assert ran == []


def test_a_block_whose_limit_was_another_operation_does_not_begin() -> None:
    began: list[str] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async with context.timeout(60):
            began.append("began")

    output = durable_execution(handler, boto3_client=Recorder())(event(step(1)), None)  # type: ignore[arg-type,call-overload]
    assert output["Status"] == "FAILED"
    assert output["Error"]["ErrorType"].endswith("NonDeterministicExecutionError")
    assert began == []


def test_a_block_that_takes_longer_on_replay_comes_to_what_it_had_come_to_before_it_is_cut() -> None:
    cut: list[str] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        try:
            async with context.timeout(1):
                if cut:
                    await asyncio.sleep(1.2)
                await context.step(lambda _: 1, "first")
                await asyncio.Event().wait()
        except TimeoutError:
            cut.append("cut")
        await context.wait(1)
        return await context.step(lambda _: "after", "after")

    trial = Trial(handler, clock=RealClock)
    assert trial.value == "after"
    assert cut == ["cut", "cut"]


def test_a_time_that_was_over_before_the_sandbox_died_cuts_a_block_that_waits_for_what_does_not_come() -> None:
    """It had gone on to another operation then, which it does not come to this time."""

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        ended = "in time"
        try:
            async with context.timeout(60):
                await asyncio.Event().wait()
        except TimeoutError:
            ended = "cut"
        return [ended, await context.step(lambda _: "new", "next")]

    found, client = replayed(
        handler,
        op("CONTEXT", "STARTED", 1),
        op("WAIT", "SUCCEEDED", 1, 1),
        step(2, Name="next"),
    )
    assert found == ["cut", "recorded"]
    (end,) = client.updates
    assert (end["Action"], end["Payload"]) == ("SUCCEED", expired(op_id(1)))


@pytest.mark.parametrize("turns", range(12))
def test_a_task_cancelled_while_its_block_ends_is_cancelled(turns: int) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def work() -> str:
            async with context.timeout(60):
                await context.step(lambda _: 1, "within")
            await asyncio.sleep(0)
            return "ended"

        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        (found,) = await asyncio.gather(task, return_exceptions=True)
        return type(found).__name__

    assert replayed(handler)[0] in ["CancelledError", "str"]


def test_a_task_cancelled_while_the_end_of_its_block_is_being_recorded_is_cancelled() -> None:
    cancel: list[Any] = []

    def answer(updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if any(each["Type"] == "CONTEXT" and each["Action"] == "SUCCEED" for each in updates):
            cancel.pop()()
        return []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def work() -> str:
            async with context.timeout(60):
                await context.step(lambda _: 1, "within")
            return "ended"

        task = asyncio.create_task(work())
        cancel.append(partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel))
        (found, _other) = await asyncio.gather(task, context.step(lambda _: 2, "other"), return_exceptions=True)
        return type(found).__name__

    found, client = replayed(handler, client=Recorder(answer))
    assert (found, cancel) == ("CancelledError", [])
    assert client.updates[-1]["Action"] == "SUCCEED"
