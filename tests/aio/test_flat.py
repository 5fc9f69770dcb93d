"""Branches that leave no record of their own (FLAT), with operations side by side: what is held keeps its position."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from perdure.config import NestingType
from support.awaited import everywhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure import AsyncDurableContext


async def limited(inner: AsyncDurableContext, seconds: int, *_more: Any) -> str:
    try:
        async with inner.timeout(12):
            await inner.wait(seconds)
    except TimeoutError:
        return "late"
    return "in time"


async def child_first(inner: AsyncDurableContext, seconds: int, *_more: Any) -> list[Any]:
    """The child is new again in each invocation, the wait after it is not."""

    async def child(context: AsyncDurableContext) -> str:
        await context.wait(seconds)
        return await context.step(lambda _: "in the child")

    return list(
        await asyncio.gather(inner.run_in_child_context(child), inner.wait(seconds + 1), inner.step(lambda _: 1))
    )


async def virtual_after(inner: AsyncDurableContext, seconds: int, *_more: Any) -> list[Any]:
    async def child(context: AsyncDurableContext) -> str:
        await context.wait(seconds)
        return await context.step(lambda _: "inside")

    real = inner.run_in_child_context(child)
    virtual = inner.run_in_child_context(child, is_virtual=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(inner.wait(seconds + 2))
        last = group.create_task(inner.run_in_child_context(child, is_virtual=True))
    return [await virtual, await real, last.result()]


async def selecting(inner: AsyncDurableContext, seconds: int, *_more: Any) -> str:
    async with inner.select() as select:
        select.add("given", inner.wait(seconds))
        select.add("limit", inner.wait(12))
        key, _ = await select.next()
    return str(key)


BRANCHES: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "limited": (limited, ["in time", "in time", "late"]),
    "child first": (child_first, [["in the child", None, 1]] * 3),
    "virtual after": (virtual_after, [["inside"] * 3] * 3),
    "selecting": (selecting, ["given", "given", "limit"]),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_operations_side_by_side_in_branches_without_a_record(name: str) -> None:
    branch, expected = BRANCHES[name]

    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            found = await context.map([5, 10, 20], branch, nesting_type=NestingType.FLAT)
            found.throw_if_error()
            return [found.get_results(), await context.step(lambda _: "after", "after")]

        return (handler,)

    assert everywhere(make).value == [expected, "after"]
