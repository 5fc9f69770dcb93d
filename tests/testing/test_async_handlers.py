"""The runner, the fixture and the local service with ``async def`` handlers, in plain tests and in async ones."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from perdure import AsyncDurableContext, DurableContext, durable_execution, durable_with_child_context
from perdure.local import LocalService, VirtualClock
from perdure.testing import DurableChildContextTestRunner, DurableFunctionTestRunner
from perdure.testing._checks import is_durable

if TYPE_CHECKING:
    from collections.abc import Iterator


@durable_execution
async def doubled(event: int, context: AsyncDurableContext) -> int:
    await context.wait(60)
    return await context.step(lambda _: event * 2)


@durable_execution
def doubled_plainly(event: int, context: DurableContext) -> int:
    context.wait(60)
    return context.step(lambda _: event * 2)


@durable_execution
async def invoking(event: int, context: AsyncDurableContext) -> list[int]:
    return await asyncio.gather(*(context.invoke(name, event) for name in ("doubled", "doubled_plainly", "plain")))


@pytest.fixture
def runner() -> Iterator[DurableFunctionTestRunner[Any]]:
    with DurableFunctionTestRunner(doubled) as made:
        yield made


def test_a_plain_test(runner: DurableFunctionTestRunner[Any]) -> None:
    assert runner.run(event=4).value == 8
    arn = runner.run_async(event=5)
    assert "60" in runner.tree(arn) or "Wait" in runner.tree(arn)
    assert runner.wait_for_result(arn).value == 10


@pytest.mark.parametrize("handler", [doubled, doubled_plainly], ids=["async", "plain"])
def test_an_asynchronous_test(handler: Any) -> None:
    async def test() -> None:
        with DurableFunctionTestRunner(handler) as runner:
            result = await runner.run_async(event=4)
            assert result.value == 8
            started = runner.run_async(event=5)
            assert started.startswith("arn:aws:lambda:")
            assert (await asyncio.to_thread(runner.wait_for_result, started)).value == 10

    asyncio.run(test())


def test_a_runner_that_blocks_an_asynchronous_test_runs_the_handler_all_the_same() -> None:
    async def test() -> None:
        with DurableFunctionTestRunner(doubled) as runner:
            assert runner.run(event=4).value == 8
            assert runner.wait_for_result(runner.run_async(event=5)).value == 10
            assert runner.run(event=6, tenant_id="t").value == 12

    asyncio.run(test())


def test_the_loop_of_a_test_goes_on_while_its_execution_runs() -> None:
    """What the handler calls may be served by the test itself."""
    asked: asyncio.Queue[int]

    async def test() -> None:
        nonlocal asked
        asked, loop, answered = asyncio.Queue(), asyncio.get_running_loop(), threading.Event()

        @durable_execution
        async def handler(event: int, context: AsyncDurableContext) -> int:
            def ask(_step: Any) -> int:
                loop.call_soon_threadsafe(asked.put_nowait, event)
                assert answered.wait(30)
                return event

            return await context.step(ask)

        with DurableFunctionTestRunner(handler) as runner:
            result = asyncio.ensure_future(runner.run_async(event=3))
            assert await asked.get() == 3
            answered.set()
            assert (await result).value == 3

    asyncio.run(test())


def test_a_callback_that_an_asynchronous_test_answers() -> None:
    @durable_execution
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        callback = await context.create_callback("asked")
        return await callback.result()

    async def test() -> None:
        with DurableFunctionTestRunner(handler) as runner:
            arn = runner.run_async()
            callback_id = await asyncio.to_thread(runner.wait_for_callback, arn)
            runner.send_callback_success(callback_id, b"yes")
            assert (await arn).value == "yes"

    asyncio.run(test())


def test_functions_of_all_kinds_are_invoked() -> None:
    with DurableFunctionTestRunner(invoking) as runner:
        runner.register_durable_function("doubled", doubled)
        runner.register_durable_function("doubled_plainly", doubled_plainly)
        runner.register_function("plain", lambda event, _context: event * 2)
        assert runner.run(event=2).value == [4, 4, 4]


def test_what_is_durable_is_known() -> None:
    assert is_durable(doubled)
    assert is_durable(doubled_plainly)
    with DurableFunctionTestRunner(doubled) as runner, pytest.raises(TypeError, match="register_durable_function"):
        runner.register_function("doubled", doubled)


def test_an_undecorated_async_function_is_refused_in_words() -> None:
    async def handler(_event: Any, _context: Any) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match="decorate it with @durable_execution"):
        DurableFunctionTestRunner(handler)


def test_a_child_context_by_itself() -> None:
    @durable_with_child_context
    async def book(context: AsyncDurableContext, what: str, *, times: int) -> str:
        await context.wait(5)
        return await context.step(lambda _: what * times)

    with DurableChildContextTestRunner(book, "ab", times=2) as runner:
        assert runner.run().value == "abab"


@pytest.mark.durable(
    handler=invoking, functions={"doubled": doubled, "doubled_plainly": doubled_plainly}, mocks={"plain": 7}
)
def test_the_fixture(durable: Any) -> None:
    assert durable.run(event=1).value == [2, 2, 7]

    async def test() -> None:
        assert (await durable.run_async(event=2)).value == [4, 4, 7]

    asyncio.run(test())


def test_a_served_service_runs_handlers_beside_each_other() -> None:
    """Each in a thread and a loop of its own: all are there at once before any goes on."""
    count = 5
    all_there = threading.Barrier(count, timeout=30)

    @durable_execution
    async def handler(event: int, context: AsyncDurableContext) -> int:
        await context.step(lambda _: all_there.wait())
        await context.wait(1)
        return event

    with LocalService(clock=VirtualClock()) as service:
        service.register("f", handler)
        handles = [service.start("f", event=number) for number in range(count)]
        service.start_workers(count)
        for handle in handles:
            service.drive(handle, wait=30)
        assert [handle.value for handle in handles] == list(range(count))
