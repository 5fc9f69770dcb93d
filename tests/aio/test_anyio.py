"""anyio in handlers: its tasks wait for one another by futures of its own, and its sockets by events of asyncio's."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from perdure.exceptions import StepError, StepTimeoutError
from perdure.retries import RetryPresets
from support.awaited import Trial, cut_at, everywhere

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from perdure import AsyncDurableContext

anyio = pytest.importorskip("anyio")


async def rests(context: AsyncDurableContext, name: str, seconds: int) -> str:
    await context.wait(seconds)
    return await context.step(lambda _: name)


async def a_group(context: AsyncDurableContext) -> Any:
    gives = {}

    async def one(name: str) -> None:
        gives[name] = await context.run_in_child_context(lambda inner: rests(inner, name, 60))

    async with anyio.create_task_group() as group:
        group.start_soon(one, "a")
        group.start_soon(one, "b")
    return sorted(gives.items())


async def a_group_that_is_told_of_starts(context: AsyncDurableContext) -> Any:
    async def serve(*, task_status: Any) -> None:
        await context.wait(60, "warm up")
        task_status.started("ready")

    async with anyio.create_task_group() as group:
        return await group.start(serve)


async def a_group_that_fails(context: AsyncDurableContext) -> Any:
    def fails(_step: Any) -> None:
        raise LookupError("nothing")

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(context.run_in_child_context, lambda inner: inner.wait(3600))
            group.start_soon(lambda: context.step(fails, retry=RetryPresets.none()))
    except* StepError as errors:
        assert len(errors.exceptions) == 1  # noqa: PT017  it may not be raised
    return await context.step(lambda _: "gone on")


async def a_lock(context: AsyncDurableContext) -> Any:
    lock, limit, semaphore = anyio.Lock(), anyio.CapacityLimiter(1), anyio.Semaphore(1)
    order: list[int] = []

    async def branch(inner: AsyncDurableContext, item: int, _index: int, _all: Any) -> None:
        for each in (lock, limit, semaphore):
            async with each:
                await inner.wait(item)
        order.append(item)

    (await context.map([3, 2, 1], branch)).throw_if_error()
    return "done"


async def a_stream(context: AsyncDurableContext) -> Any:
    send, receive = anyio.create_memory_object_stream(0)
    done = anyio.Event()

    async def produce() -> None:
        async with send:
            for each in range(3):
                await send.send(await context.run_in_child_context(lambda inner, each=each: rests(inner, each, 60)))
        done.set()

    async def consume() -> list[Any]:
        async with receive:
            came = [each async for each in receive]
        await done.wait()
        return came

    async with anyio.create_task_group() as group:
        group.start_soon(produce)
        return await consume()


async def a_scope_that_is_cancelled(context: AsyncDurableContext) -> Any:
    with anyio.CancelScope() as scope:
        await context.step(lambda _: "once")
        scope.cancel()
        await anyio.sleep(0)
    return [scope.cancelled_caught, await context.step(lambda _: "after")]


async def a_thread_of_its(context: AsyncDurableContext) -> Any:
    read = await anyio.to_thread.run_sync(lambda: "read")
    await context.wait(60)
    return read


@pytest.mark.parametrize(
    "function",
    [
        *(a_group, a_group_that_is_told_of_starts, a_group_that_fails, a_lock, a_stream),
        *(a_scope_that_is_cancelled, a_thread_of_its),
    ],
    ids=lambda function: function.__name__,
)
def test_it_suspends_and_goes_on_wherever_it_is_cut(
    function: Callable[[AsyncDurableContext], Awaitable[Any]],
) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await function(context)

    everywhere(lambda: (handler,))


def test_a_step_whose_scope_is_cancelled_fails_as_at_a_time_limit() -> None:
    async def hangs(_step: Any) -> None:
        await anyio.sleep_forever()

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def cancels() -> None:
                    await anyio.sleep(0.01)
                    scope.cancel()

                group.start_soon(cancels)
                try:
                    await context.step(hangs, name="hangs", retry=RetryPresets.none())
                except StepTimeoutError:
                    return "cut off"
        return "cancelled"

    trial = Trial(handler)
    assert trial.operations == [("hangs", "FAILED")]
    assert trial.value in {"cut off", "cancelled"}


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, int]]:
    """Answer what is asked over the network when all that is ready has gone on."""

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(100)
                    threading.Event().wait(0.05)  # as long as it takes to suspend by mistake
                    connection.sendall(b"answer")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


_LOOPS = ["plain", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


@pytest.mark.parametrize("kind", _LOOPS)
def test_a_call_over_the_network_is_awaited_before_it_suspends(elsewhere: tuple[str, int], kind: str) -> None:
    asked: list[int] = []

    async def ask() -> str:
        asked.append(0)
        async with await anyio.connect_tcp(*elsewhere) as stream:
            await stream.send(b"ask")
            return (await stream.receive()).decode()

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def asks(inner: AsyncDurableContext) -> str:
            answer = await ask()
            return await inner.step(lambda _: answer)

        _, answer = await context.all([context.wait(60), context.run_in_child_context(asks)])
        return answer

    factory = importlib.import_module("uvloop").new_event_loop if kind == "uvloop" else None
    trial = Trial(handler, loop_factory=factory)
    assert trial.value == "answer"
    assert len(asked) == 1


def test_what_is_cut_at_a_call_is_asked_for_again(elsewhere: tuple[str, int]) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def asks(_step: Any) -> str:
            async with await anyio.connect_tcp(*elsewhere) as stream:
                await stream.send(b"ask")
                return (await stream.receive()).decode()

        return (await context.all([context.wait(60), context.step(asks)]))[1]

    assert Trial(handler, hurt=cut_at(2, "before")).value == "answer"


def test_its_threads_end_with_an_invocation_that_suspends() -> None:
    """They are no daemons: Python would wait for them at its end."""

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        await anyio.to_thread.run_sync(threading.get_ident)
        return await rests(context, "rested", 60)

    assert Trial(handler).value == "rested"
    left = [thread for thread in threading.enumerate() if thread.name == "AnyIO worker thread"]
    for thread in left:
        thread.join(10)
    assert not [thread for thread in left if thread.is_alive()]
