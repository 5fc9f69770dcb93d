"""Code that is suspended in the midst of blocks which await as they end: nobody sees that as an error."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.awaited import Trial, everywhere

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator

    from perdure import AsyncDurableContext

    Waits = Callable[[AsyncDurableContext], Awaitable[Any]]


@asynccontextmanager
async def connection() -> AsyncIterator[None]:
    try:
        yield
    finally:
        await asyncio.sleep(0)  # it says goodbye


class Closing:
    async def __aenter__(self) -> None:
        """Open."""

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)


async def with_a_connection(context: AsyncDurableContext) -> Any:
    async with connection():
        return await context.wait(60)


async def with_closing(context: AsyncDurableContext) -> Any:
    async with Closing():
        return await context.wait(60)


async def with_a_stack(context: AsyncDurableContext) -> Any:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(connection())
        await stack.enter_async_context(Closing())
        return await context.wait(60)


async def twice_inside(context: AsyncDurableContext) -> Any:
    async with connection():
        return await with_a_stack(context)


async def finally_(context: AsyncDurableContext) -> Any:
    try:
        return await context.wait(60)
    finally:
        await asyncio.sleep(0)
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))


async def pages(context: AsyncDurableContext) -> AsyncIterator[Any]:
    try:
        yield await with_a_connection(context)
        yield await context.wait(60)
    finally:
        await asyncio.sleep(0)


async def a_generator(context: AsyncDurableContext) -> Any:
    return [page async for page in pages(context)][-1]


async def a_generator_at_rest(context: AsyncDurableContext) -> Any:
    async for _ in pages(context):
        return await with_a_connection(context)
    return None


async def an_object(context: AsyncDurableContext) -> Any:
    class Waiting:
        def __await__(self) -> Generator[Any, Any, Any]:
            return with_a_connection(context).__await__()

    return await Waiting()


async def a_group(context: AsyncDurableContext) -> Any:
    async with asyncio.TaskGroup() as group:
        waits = group.create_task(context.run_in_child_context(with_a_connection))
        group.create_task(context.run_in_child_context(a_generator))
    return waits.result()


async def children(context: AsyncDurableContext) -> Any:
    async def inner(context: AsyncDurableContext) -> Any:
        return await context.run_in_child_context(twice_inside)

    await asyncio.gather(context.run_in_child_context(inner), context.run_in_child_context(with_closing))


async def branches(context: AsyncDurableContext) -> Any:
    (await context.parallel([with_a_connection, a_generator, children])).throw_if_error()


async def a_race(context: AsyncDurableContext) -> Any:
    async with connection():
        return await context.race([with_a_connection(context), context.wait(3600)])


async def a_time_limit(context: AsyncDurableContext) -> Any:
    async with context.timeout(3600), connection():
        return await with_a_connection(context)


@pytest.fixture(autouse=True)
def complaints(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Take down what Python tells of code that it could not close."""
    told: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told_of: told.append(repr(told_of.exc_value)))
    yield told
    gc.collect()
    assert not told


@pytest.mark.parametrize(
    "waits",
    [
        *(with_a_connection, with_closing, with_a_stack, twice_inside, finally_),
        *(a_generator, a_generator_at_rest, an_object, a_group, children, branches, a_race, a_time_limit),
    ],
    ids=lambda waits: waits.__name__,
)
def test_no_caller_takes_a_suspension_for_a_failure(waits: Waits) -> None:
    seen: list[BaseException] = []

    def make() -> tuple[Callable[[Any, AsyncDurableContext], Any], ...]:
        async def around(context: AsyncDurableContext) -> Any:
            try:
                await waits(context)
            except Exception as error:
                seen.append(error)
                raise

        async def handler(_event: Any, context: AsyncDurableContext) -> str:
            try:
                await around(context)
                await context.run_in_child_context(around)
            except Exception as error:
                seen.append(error)
                raise
            return "done"

        return (handler,)

    everywhere(make)
    assert not seen


def test_blocks_end_from_the_inside_out() -> None:
    ended: list[str] = []

    @asynccontextmanager
    async def block(name: str) -> AsyncIterator[None]:
        try:
            yield
        finally:
            try:
                await asyncio.sleep(0)
            finally:
                ended.append(name)

    async def inner(context: AsyncDurableContext) -> None:
        async with block("inner"):
            await context.wait(60)

    async def handler(_event: Any, context: AsyncDurableContext) -> list[str]:
        async with block("outer"), block("middle"):
            await context.run_in_child_context(inner)
        return ended

    assert Trial(handler).value == ["inner", "middle", "outer"] * 2
