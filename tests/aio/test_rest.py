"""When an invocation with tasks suspends: a table of situations and what must happen, in loops of all kinds.

uvloop is among them where it is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib.util
import re
import socket
import sys
import threading
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import pytest

from perdure import AsyncDurableContext, durable_execution
from perdure.aio.conductor import Conductor
from perdure.exceptions import InvocationError
from perdure.local import LocalService, VirtualClock
from support.invocations import PENDING, LambdaContext, Recorder, event, op
from support.situations import SEEN, SERVER, SITUATIONS, at_work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.situations import Situation

# ---- loops of all kinds

LOOPS = ["plain", "debug"]
if sys.version_info >= (3, 12):
    LOOPS.append("eager")
if importlib.util.find_spec("uvloop"):
    LOOPS.append("uvloop")


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    """Answer each line after a moment, in a thread, as if it were elsewhere."""
    listener = socket.create_server(("127.0.0.1", 0))
    SERVER[:] = listener.getsockname()

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


def test_where_a_branch_waits_is_told_however_deep_it_stands(caplog: pytest.LogCaptureFixture) -> None:
    async def waits_in_vain(_event: Any, context: AsyncDurableContext) -> None:
        async def branch(inner: AsyncDurableContext) -> None:
            await inner.run_in_child_context(deep_inside)

        async def deep_inside(_inner: AsyncDurableContext) -> None:
            await asyncio.get_running_loop().create_future()

        await context.parallel([branch, lambda inner: inner.wait(60)])

    durable: Any = durable_execution(waits_in_vain, boto3_client=Recorder())
    assert durable(event(), LambdaContext(1.0)) == PENDING
    assert re.search(r"test_rest\.py:\d+ in deep_inside \(the world\)", caplog.text)


@pytest.mark.parametrize("kind", LOOPS)
def test_a_timer_that_comes_as_it_is_looked_for_is_let_call_what_it_calls(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_timers = Conductor.live_timers

    def slow(conductor: Conductor) -> Any:
        time.sleep(0.05)  # the loop has looked at its timers before
        return live_timers(conductor)

    async def limited(context: AsyncDurableContext) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.03):
                await context.wait(60)
        return "went on"

    monkeypatch.setattr(Conductor, "live_timers", slow)
    handle = run(kind, limited)
    assert (handle.value, len(handle.invocations)) == ("went on", 1)


@pytest.mark.parametrize("kind", LOOPS)
def test_a_handler_that_waits_for_nothing_durable_fails_in_words(kind: str) -> None:
    async def waits_in_vain(_event: Any, _context: AsyncDurableContext) -> None:
        await asyncio.Queue().get()

    durable: Any = durable_execution(waits_in_vain, boto3_client=Recorder(), loop_factory=factory(kind))
    with pytest.raises(InvocationError, match=r"time was up before.*test_rest\.py"):
        durable(event(), LambdaContext(1.0))


def test_a_queue_that_was_filled_by_what_is_over_is_told_of_as_such() -> None:
    async def waits_in_vain(_event: Any, context: AsyncDurableContext) -> None:
        queue = asyncio.Queue[int]()

        async def fills(_inner: AsyncDurableContext) -> None:
            queue.put_nowait(1)

        await context.run_in_child_context(fills)
        await queue.get()

    durable: Any = durable_execution(waits_in_vain, boto3_client=Recorder())
    with pytest.raises(InvocationError, match="do not run again once they are over"):
        durable(event(op("CONTEXT", "SUCCEEDED", details={"Result": "null"})), LambdaContext(1.0))


async def _wait_for(future: Any) -> Any:
    return await future


async def _asked_over_the_network() -> None:
    reader, writer = await asyncio.open_connection(*SERVER)
    writer.write(b"ask\n")
    await reader.readline()
    writer.close()


async def _told_by_a_callback() -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, told.set)
    await told.wait()


async def _told_over_a_pipe() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    timer = threading.Timer(0.02, theirs.send, [b"x"])
    timer.start()
    try:
        await asyncio.get_running_loop().sock_recv(ours, 1)
    finally:
        timer.join()
        ours.close()
        theirs.close()


async def _has_slept() -> None:
    await asyncio.sleep(0.02)


class _Compiled(Coroutine[Any, Any, None]):
    """As code that is compiled to C gives it: nobody can look into it."""

    def __init__(self) -> None:
        self._inner = _has_slept()

    def send(self, value: Any) -> Any:
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()


async def _by_compiled_code() -> None:
    await asyncio.create_task(_Compiled())


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize(
    "outside", [_asked_over_the_network, _told_by_a_callback, _told_over_a_pipe, _has_slept, _by_compiled_code]
)
def test_what_comes_from_outside_goes_on_in_the_same_invocation(outside: Any, kind: str) -> None:
    begun: list[int] = []
    came: list[int] = []

    async def handler(context: AsyncDurableContext) -> Any:
        begun.append(0)

        async def notes(_step: Any) -> None:
            came.append(len(begun))

        async def asks(inner: AsyncDurableContext) -> Any:
            for n in range(3):
                await outside()
                await inner.step(notes, f"step {n}")

        await asyncio.gather(context.wait(60, "parks"), context.run_in_child_context(asks, "asks"))

    handle = run(kind, handler)
    assert handle.status == "SUCCEEDED", handle.error
    assert came == [1, 1, 1]
    assert len(begun) == 2
