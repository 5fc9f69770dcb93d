"""`now` where several operations are under way: the same on every replay, whatever has ended meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from perdure import AsyncDurableContext, durable_execution
from perdure.testing import DurableFunctionTestRunner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Look = Callable[[str], Awaitable[None]]


async def later(context: AsyncDurableContext, seconds: int) -> None:
    await context.wait(seconds)


async def race_of_coroutines(context: AsyncDurableContext, look: Look) -> None:
    await context.race([later(context, 60), later(context, 90)])
    await look("1:00")


async def race_of_operations(context: AsyncDurableContext, look: Look) -> None:
    await context.race([context.wait(60), context.wait(90)])
    await look("1:00")


async def all_of_coroutines(context: AsyncDurableContext, look: Look) -> None:
    await context.all([later(context, 90), later(context, 60)])
    await look("1:30")


async def select(context: AsyncDurableContext, look: Look) -> None:
    async with context.select() as selected:
        selected.add("first", context.wait(60))
        selected.add("second", context.wait(90))
        await look("0:00")
        await selected.next()
        await look("1:00")
        selected.add("third", context.wait(300))
        await look("1:00")
        await selected.next()
        await look("1:30")
        await context.wait(30)
        await look("2:00")


async def as_completed(context: AsyncDurableContext, look: Look) -> None:
    expected = iter(["1:00", "1:30", "1:30"])  # of the last nothing is decided
    async for _ in context.as_completed([context.wait(60), later(context, 90), context.wait(120)]):
        await look(next(expected))


async def race_with_a_callback(context: AsyncDurableContext, look: Look) -> None:
    callback = await context.create_callback("asked")
    await context.race([callback.result(), context.wait(60)])
    await look("1:00")  # it is answered at 1:20


async def select_with_a_callback(context: AsyncDurableContext, look: Look) -> None:
    callback = await context.create_callback("asked")
    async with context.select() as selected:
        selected.add("answer", callback.result())
        await look("0:00")
        selected.add("time", context.wait(30))
        await selected.next()
        await look("0:30")
        await context.wait(60)
        await look("1:30")


async def timeout_around_a_callback(context: AsyncDurableContext, look: Look) -> None:
    callback = await context.create_callback("asked")
    with pytest.raises(TimeoutError):
        async with context.timeout(60):
            await callback.result()
    await look("1:00")


async def a_callback_that_is_awaited_later(context: AsyncDurableContext, look: Look) -> None:
    callback = await context.create_callback("asked")
    answer = callback.result()
    await context.wait(30)
    await look("0:30")
    await answer
    await look("1:20")


WAYS = {
    way.__name__: way
    for way in (
        race_of_coroutines,
        race_of_operations,
        all_of_coroutines,
        select,
        as_completed,
        race_with_a_callback,
        select_with_a_callback,
        timeout_around_a_callback,
        a_callback_that_is_awaited_later,
    )
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_now_is_the_same_whatever_has_ended_since(way: Callable[[AsyncDurableContext, Look], Any]) -> None:
    told: list[tuple[str, str]] = []

    @durable_execution
    async def handler(_event: Any, context: AsyncDurableContext) -> None:
        began = await context.now()

        async def look(expected: str) -> None:
            told.append((f"0:0{expected}", str(await context.now() - began)))

        await way(context, look)
        await context.wait(300)  # another replay, at which all has ended
        await context.wait(1)

    with DurableFunctionTestRunner(handler) as runner:
        execution = runner.run_async()
        if "callback" in way.__name__:
            callback = runner.wait_for_callback(execution, "asked")
            runner.advance(80)
            runner.send_callback_success(callback)
        assert runner.wait_for_result(execution).error is None
    assert len(told) > len(set(told))
    assert [seen for _, seen in told] == [expected for expected, _ in told]


def test_an_operation_that_is_open_is_to_be_awaited_first() -> None:
    @durable_execution
    async def handler(_event: Any, context: AsyncDurableContext) -> None:
        open_ = asyncio.ensure_future(context.wait(60))
        await context.now()
        await open_

    with DurableFunctionTestRunner(handler) as runner:
        error = runner.run().error
    assert error is not None
    assert "await the context's last operation first" in str(error.message)
