"""What a type checker makes of the operations of an ``async def`` handler."""

import asyncio
from collections.abc import Sequence
from typing import Any, assert_type

from perdure import AsyncDurableContext, BatchResult, ParallelBranch, StepContext, durable_execution, durable_step
from perdure.concurrency.models import BatchItem


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
    await built_on_them(context)
    await context.step(add("1", 2))  # E
    await context.wait("long")  # E
    return await context.run_in_child_context(child)


def plain(_inner: AsyncDurableContext) -> bytes:
    return b""


async def number(_inner: AsyncDurableContext) -> int:
    return 1


async def built_on_them(context: AsyncDurableContext) -> None:
    async def cancel(_step: StepContext, _booking: int) -> None: ...

    # (mypy makes Any of it: more than one overload takes a tuple of what is awaited)
    one, other = await context.all((context.step(add(1, 2)), context.step(join("a", "b"))))
    await context.step(add(one, len(other)))
    assert_type(await context.all((child, number, child)), tuple[str, int, str])
    assert_type(await context.all([context.step(add(1, 2)), context.step(add(3, 4))]), list[int])
    assert_type(await context.all([number, number], max_concurrency=1), list[int])
    assert_type(await context.all([plain]), list[bytes])
    assert_type(await context.any([number, number]), int)
    assert_type(await context.any([plain]), bytes)
    assert_type(await context.race([child(context), context.step(join("a", "b"))]), str)
    assert_type(await context.race([context.step(add(1, 2)), context.wait(60)], timeout=90), int | None)
    assert_type(await context.race([ParallelBranch(child, "one"), ParallelBranch(child, "other")]), str)
    assert_type(await context.all_settled([asyncio.create_task(child(context))]), list[BatchItem[str]])
    assert_type(await context.all_settled([child]), list[BatchItem[str]])
    async for done in context.as_completed([context.step(add(1, 2)), context.step(add(3, 4))]):
        assert_type(await done, int)
    async with context.saga("trip") as saga:
        assert_type(await saga.step(add(1, 2), undo=cancel), int)
        assert_type(await saga.step(join("a", "b"), undo=cancel), str)
    await context.race([1, 2])  # E
    await context.race([context.wait(1)], max_concurrency=1)  # E
    await context.all([context.wait(1)], max_concurrency=1)  # E
