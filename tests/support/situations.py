"""Situations in which an invocation with tasks may be at rest, or not: `aio.test_rest` says so of each."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure import AsyncDurableContext

    Situation = Callable[[AsyncDurableContext], Awaitable[Any]]

FORGOTTEN: list[Any] = []
SEEN: list[BaseException] = []
KEPT: list[asyncio.TimerHandle] = []
SERVER: list[Any] = []
"""Where something answers each line after a moment."""

SITUATIONS: dict[str, tuple[Situation, Any, int]] = {}
"""What a handler does, what it gives, and how many invocations that takes."""


def situation(gives: Any, invocations: int) -> Callable[[Situation], Situation]:
    def add(function: Situation) -> Situation:
        SITUATIONS[function.__name__] = function, gives, invocations
        return function

    return add


async def at_work(_step: Any) -> str:
    await asyncio.sleep(0.02)
    return "done"


@situation(None, 2)
async def parked_alone(context: AsyncDurableContext) -> Any:
    return await context.wait(60)


@situation([None, "done"], 2)
async def beside_a_step(context: AsyncDurableContext) -> Any:
    return await asyncio.gather(context.wait(60), context.step(at_work))


@situation([None, "read"], 2)
async def beside_a_thread(context: AsyncDurableContext) -> Any:
    def read() -> str:
        time.sleep(0.02)
        return "read"

    return await asyncio.gather(context.wait(60), asyncio.to_thread(read))


@situation([None, "answer"], 2)
async def beside_a_call_over_the_network(context: AsyncDurableContext) -> Any:
    async def call() -> str:
        reader, writer = await asyncio.open_connection(*SERVER)
        writer.write(b"ask\n")
        answer = await reader.readline()
        writer.close()
        return answer.decode().strip()

    return await asyncio.gather(context.wait(60), call())


@situation("rested", 3)
async def beside_an_open_connection_that_nobody_reads(context: AsyncDurableContext) -> Any:
    _, writer = await asyncio.open_connection(*SERVER)
    try:
        await context.wait(60)
        await context.wait(60)
    finally:
        writer.close()
    return "rested"


@situation([None, None], 2)
async def beside_a_timer(context: AsyncDurableContext) -> Any:
    return await asyncio.gather(context.wait(60), asyncio.sleep(0.02))


@situation("sent", 2)
async def a_queue_whose_producer_is_parked(context: AsyncDurableContext) -> Any:
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def produce() -> None:
        await context.wait(60)
        await queue.put("sent")

    producer = asyncio.create_task(produce())
    found = await queue.get()
    await producer
    return found


@situation(["sent", None], 2)
async def a_queue_whose_producer_is_at_work(context: AsyncDurableContext) -> Any:
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def produce() -> None:
        await asyncio.sleep(0.02)
        await queue.put("sent")

    producer = asyncio.create_task(produce())
    found = await asyncio.gather(queue.get(), context.wait(60))
    await producer
    return found


@situation("left", 2)
async def an_operation_that_nobody_awaits(context: AsyncDurableContext) -> Any:
    context.wait(60)
    context.step(at_work)
    return "left"


@situation("done", 1)
async def an_endless_task_that_was_forgotten(context: AsyncDurableContext) -> Any:
    async def endless() -> None:
        while True:  # noqa: ASYNC110  what it is about
            await asyncio.sleep(0.001)

    FORGOTTEN.append(asyncio.create_task(endless()))
    return await context.step(at_work)


@situation("left", 2)
async def an_endless_task_beside_operations_that_nobody_awaits(context: AsyncDurableContext) -> Any:
    async def endless() -> None:
        while True:  # noqa: ASYNC110  what it is about
            await asyncio.sleep(0.001)

    FORGOTTEN.append(asyncio.create_task(endless()))
    context.wait(60)
    context.step(at_work)
    return "left"


@situation("left", 1)
async def an_operation_that_nobody_awaits_and_that_sleeps(context: AsyncDurableContext) -> Any:
    async def child(inner: AsyncDurableContext) -> Any:
        await asyncio.sleep(0.02)
        return await inner.step(at_work)

    context.run_in_child_context(child)
    return "left"


@situation([0, 1], 4)
async def a_generator_that_is_broken_off(context: AsyncDurableContext) -> Any:
    async def numbers() -> Any:
        try:
            for number in range(3):
                await context.wait(60)
                yield number
        finally:
            await asyncio.sleep(0)

    found = []
    async for number in numbers():
        found.append(number)
        if number == 1:
            break
    await context.wait(60)
    return found


@situation(["inner", "done"], 2)
async def a_child_that_parks(context: AsyncDurableContext) -> Any:
    async def child(inner: AsyncDurableContext) -> Any:
        await inner.wait(60)
        return "inner"

    async def outer(inner: AsyncDurableContext) -> Any:
        return await inner.run_in_child_context(child)

    return await asyncio.gather(context.run_in_child_context(outer), context.step(at_work))


@situation(["done", "done"], 3)
async def a_lock_around_what_parks(context: AsyncDurableContext) -> Any:
    lock = asyncio.Lock()

    async def one() -> Any:
        async with lock:
            await context.wait(60)
            return await context.step(at_work)

    return await asyncio.gather(one(), one())


@situation(True, 2)
async def an_event_that_is_set_by_what_parks(context: AsyncDurableContext) -> Any:
    happened = asyncio.Event()

    async def later() -> None:
        await context.wait(60)
        happened.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(later())
        return await happened.wait()


@situation("done", 1)
async def a_timeout_around_what_parks(context: AsyncDurableContext) -> Any:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.02):
            await context.wait(60)
    return await context.step(at_work)


@situation("done", 1)
async def wait_for_around_what_parks(context: AsyncDurableContext) -> Any:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(context.wait(60), 0.02)
    return await asyncio.wait_for(context.step(at_work), 60)


@situation([None, False], 2)
async def beside_a_timer_that_a_step_has_left(context: AsyncDurableContext) -> Any:
    """As clients set them, which are kept from one invocation to the next."""

    async def use_a_client(_step: Any) -> None:
        KEPT.append(asyncio.get_running_loop().call_later(600, KEPT.clear))

    await context.step(use_a_client)
    found = [await context.wait(60), KEPT[-1].cancelled()]
    KEPT.pop().cancel()
    return found


@situation("gone on", 2)
async def a_group_whose_tasks_catch_everything(context: AsyncDurableContext) -> Any:
    async def one() -> None:
        try:
            await context.wait(60)
        except Exception as error:  # noqa: BLE001  told
            SEEN.append(error)
        finally:
            await asyncio.sleep(0)  # refused while it is unwound

    async with asyncio.TaskGroup() as group:
        group.create_task(one())
        group.create_task(one())
    return "gone on"


@situation(["answer", "answer"], 2)
async def a_callback_that_two_tasks_wait_for(context: AsyncDurableContext) -> Any:
    callback = await context.create_callback("ask")

    async def wait() -> Any:
        return await callback.result()

    return await asyncio.gather(wait(), wait())


@situation(["done", "done", None, None], 2)
async def one_operation_awaited_twice(context: AsyncDurableContext) -> Any:
    step, wait = context.step(at_work), context.wait(60)
    return [await step, await step, await wait, await wait]


@situation(3, 2)
async def as_completed(context: AsyncDurableContext) -> Any:
    found = [
        await each for each in asyncio.as_completed([context.step(at_work), context.wait(60), context.step(at_work)])
    ]
    return len(found)


@situation([2, 0], 2)
async def wait_for_all(context: AsyncDurableContext) -> Any:
    tasks = [asyncio.create_task(context.step(at_work)), asyncio.create_task(context.wait(60))]
    done, pending = await asyncio.wait(tasks)
    return [len(done), len(pending)]


@situation(["done", None], 2)
async def shielded(context: AsyncDurableContext) -> Any:
    return [await asyncio.shield(context.step(at_work)), await asyncio.shield(context.wait(60))]


@situation(300, 1)
async def more_plain_functions_than_threads(context: AsyncDurableContext) -> Any:
    return len(await asyncio.gather(*[context.step(lambda _: time.sleep(0.001)) for _ in range(300)]))
