"""When an invocation with tasks suspends: a table of situations and what must happen, in loops of all kinds.

uvloop is among them where it is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib.util
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from perdure import AsyncDurableContext, durable_execution
from perdure.exceptions import InvocationError
from perdure.local import LocalService, VirtualClock
from support.invocations import PENDING, LambdaContext, Recorder, event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Situation = Callable[[AsyncDurableContext], Awaitable[Any]]

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


# ---- loops of all kinds

FORGOTTEN: list[Any] = []
SEEN: list[BaseException] = []
SERVER: tuple[str, int] = ("", 0)
LOOPS = ["plain", "debug"]
if sys.version_info >= (3, 12):
    LOOPS.append("eager")
if importlib.util.find_spec("uvloop"):
    LOOPS.append("uvloop")


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    """Answer each line after a moment, in a thread, as if it were elsewhere."""
    global SERVER  # noqa: PLW0603  the module's one server
    listener = socket.create_server(("127.0.0.1", 0))
    SERVER = listener.getsockname()

    def serve(connection: socket.socket) -> None:
        with connection:
            while connection.recv(100):
                time.sleep(0.05)
                connection.sendall(b"answer\n")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield
    listener.close()


def factory(kind: str) -> Any:
    if kind == "uvloop":
        import uvloop  # noqa: PLC0415  if it is installed

        return uvloop.new_event_loop
    return None


def run(kind: str, function: Situation, **options: Any) -> Any:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        loop = asyncio.get_running_loop()
        if kind == "eager":
            loop.set_task_factory(asyncio.eager_task_factory)
        is_debug = loop.get_debug()
        loop.set_debug(kind == "debug")
        try:
            return await function(context)
        finally:
            loop.set_debug(is_debug)

    def answer(operation: Any, client: Any) -> None:
        client.send_durable_execution_callback_success(
            CallbackId=operation["CallbackDetails"]["CallbackId"], Result=b"answer"
        )

    service = LocalService(clock=VirtualClock(), on_callback=answer)
    service.register("f", durable_execution(handler, loop_factory=factory(kind), **options))
    return service.run("f")


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("name", SITUATIONS)
def test_what_happens_at_rest(name: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    function, gives, invocations = SITUATIONS[name]
    SEEN.clear()
    handle = run(kind, function)
    assert (handle.status, handle.value) == ("SUCCEEDED", gives), handle.error
    assert len(handle.invocations) == invocations
    assert not SEEN
    told = [
        record for record in caplog.records if record.name == "asyncio" and record.levelname in {"ERROR", "CRITICAL"}
    ]
    assert not told


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["step", "handler", "task", "at once"])
def test_an_interrupt_goes_through(
    where: str, error: type[BaseException], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def interrupts(_step: Any = None) -> None:
        await asyncio.sleep(0)
        raise error

    async def function(context: AsyncDurableContext) -> Any:
        if where == "step":
            return await asyncio.gather(context.wait(60), context.step(interrupts))
        if where == "at once":
            return await context.step(lambda _: _raise(error))
        if where == "task":
            return await asyncio.create_task(interrupts())
        return await interrupts()

    async def after(context: AsyncDurableContext) -> Any:
        return await context.step(at_work)

    handler = durable_execution(functools.partial(_call, function), loop_factory=factory(kind))
    service = LocalService(clock=VirtualClock())
    service.register("f", handler)
    with contextlib.suppress(error):
        handle = service.run("f")
        assert handle.status != "SUCCEEDED"
    assert run(kind, after).value == "done", "the process goes on with other invocations"
    gc.collect()
    assert "never retrieved" not in caplog.text


def _raise(error: type[BaseException]) -> None:
    raise error


async def _call(function: Situation, _event: Any, context: AsyncDurableContext) -> Any:
    return await function(context)


# ---- what never comes


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("is_gathered", [False, True])
def test_a_future_that_never_comes_is_ended_by_the_deadline(
    is_gathered: bool, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside a parked operation, too: the handler may yet go on, and so the invocation does not end before."""

    async def waits_in_vain(_event: Any, context: AsyncDurableContext) -> None:
        never = asyncio.get_running_loop().create_future()
        parked = context.wait(60)
        if is_gathered:
            await asyncio.gather(never, parked)
        await asyncio.gather(_wait_for(never), parked)

    durable: Any = durable_execution(waits_in_vain, boto3_client=Recorder(), loop_factory=factory(kind))
    assert durable(event(), LambdaContext(1.0)) == PENDING
    assert "the invocation's time is up" in caplog.text
    assert "test_rest.py" in caplog.text


@pytest.mark.parametrize("kind", LOOPS)
def test_a_handler_that_waits_for_nothing_durable_fails_in_words(kind: str) -> None:
    async def waits_in_vain(_event: Any, _context: AsyncDurableContext) -> None:
        await asyncio.Queue().get()

    durable: Any = durable_execution(waits_in_vain, boto3_client=Recorder(), loop_factory=factory(kind))
    with pytest.raises(InvocationError, match=r"time was up before.*queues\.py"):
        durable(event(), LambdaContext(1.0))


async def _wait_for(future: Any) -> Any:
    return await future
