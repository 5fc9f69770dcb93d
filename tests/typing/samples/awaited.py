"""What a type checker makes of the operations of an ``async def`` handler."""

import asyncio
from collections.abc import Sequence
from typing import Any, assert_type

from perdure import AsyncDurableContext, BatchResult, StepContext, durable_execution, durable_step


@durable_step
async def add(_step: StepContext, one: int, other: int) -> int:
    return one + other


@durable_step
def join(_step: StepContext, one: str, other: str) -> str:
    return one + other


async def child(inner: AsyncDurableContext) -> str:
    await inner.wait(1)
    return await inner.step(join("a", "b"))


async def item(inner: AsyncDurableContext, number: int, _index: int, _items: Sequence[int]) -> float:
    return await inner.step(lambda _: number / 2)


@durable_execution
async def handler(_event: dict[str, Any], context: AsyncDurableContext) -> str:
    assert_type(await context.step(add(1, 2)), int)
    assert_type(await context.step(join("a", "b")), str)
    assert_type(await context.step(lambda _: 1.5), float)
    assert_type(await context.run_in_child_context(child), str)
    assert_type(await context.map([1, 2], item), BatchResult[float])
    assert_type(await context.parallel([child, child]), BatchResult[str])
    assert_type(await context.invoke("other", {}, returns=int), int)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(context.step(add(3, 4)))
    assert_type(task.result(), int)
    await context.step(add("1", 2))  # E
    await context.wait("long")  # E
    return await context.run_in_child_context(child)
