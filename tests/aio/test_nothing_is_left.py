"""Nothing of an invocation survives it: tasks, threads, generators, timers, objects. asyncio complains of none."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import weakref
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perdure import AsyncDurableContext, durable_execution
from perdure.local import LocalService, VirtualClock
from perdure.retries import RetryPresets
from support.invocations import PENDING, LambdaContext, Recorder, event

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


async def finishes(context: AsyncDurableContext) -> Any:
    return await asyncio.gather(*[context.step(_yields, f"s{n}") for n in range(3)])


async def suspends(context: AsyncDurableContext) -> Any:
    async def one() -> None:
        try:
            await context.wait(60)
        finally:
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(one())


async def suspends_within_generators(context: AsyncDurableContext) -> Any:
    async def endless() -> Any:
        try:
            while True:
                await context.wait(60)
                yield 1
        finally:
            await asyncio.sleep(0)

    async for _ in endless():
        pass


async def leaves_tasks_behind(context: AsyncDurableContext) -> Any:
    async def endless() -> None:
        while True:  # noqa: ASYNC110  what it is about
            await asyncio.sleep(60)

    task = asyncio.create_task(endless())
    await context.step(_yields)
    return task.done()


async def suspends_in_branches(context: AsyncDurableContext) -> Any:
    async def branch(inner: AsyncDurableContext, _item: int, _index: int, _items: Any) -> Any:
        await inner.wait(60)

    return await context.map(range(5), branch)


async def fails_in_its_first_step(context: AsyncDurableContext) -> Any:
    await context.step(_fails, retry=RetryPresets.none())


async def suspends_beside_a_failure(context: AsyncDurableContext) -> Any:
    """What nobody has asked of it yet is asked when the code runs again."""
    failing = asyncio.create_task(_raises())
    await asyncio.gather(context.step(_fails, retry=RetryPresets.none()), context.wait(60), return_exceptions=True)
    await failing


async def sees_a_failure_that_leads_back(context: AsyncDurableContext) -> None:
    """The traceback of the task's failure has the code that has the task."""

    async def fails() -> None:
        raise ValueError(len(tasks))

    tasks = [asyncio.create_task(fails())]
    await context.step(_yields)
    assert repr(tasks[0].exception()) == "ValueError(1)"


def _fails(_step: Any) -> None:
    raise ValueError("bad")


async def _raises() -> None:
    raise ValueError("bad")


async def _yields(_step: Any) -> int:
    await asyncio.sleep(0)
    return 1


CLIENTS: list[Recorder] = []

HANDLERS = [
    *(finishes, suspends, suspends_within_generators, leaves_tasks_behind, suspends_in_branches),
    *(fails_in_its_first_step, suspends_beside_a_failure, sees_a_failure_that_leads_back),
]


def invoking(function: Callable[[AsyncDurableContext], Any]) -> Callable[[], Any]:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await function(context)

    def invoke() -> Any:
        return durable(event(), None)

    CLIENTS.append(Recorder())
    durable: Any = durable_execution(handler, boto3_client=CLIENTS[-1])
    return invoke


@pytest.mark.parametrize("function", HANDLERS)
def test_warm_invocations_leave_nothing(function: Any, caplog: pytest.LogCaptureFixture) -> None:
    invoke = invoking(function)

    def objects() -> Counter[str]:
        gc.collect()
        return Counter(type(each).__name__ for each in gc.get_objects())

    for _ in range(20):
        invoke()
    threads, before = threading.active_count(), objects()
    caplog.clear()  # what other tests have left is not looked at here
    for _ in range(200):
        invoke()
    more = objects() - before
    # What the recording client writes down apart: each call it was given.
    kept = {name: count for name, count in more.items() if count >= 150 and name not in {"dict", "list", "str"}}
    assert not kept
    assert threading.active_count() <= threads
    assert not [record for record in caplog.records if record.name == "asyncio" and record.levelname == "ERROR"]


@pytest.mark.parametrize("function", HANDLERS)
def test_the_next_invocation_sees_no_task_of_it(function: Any) -> None:
    seen: set[Any] = set()

    async def looks(_context: AsyncDurableContext) -> None:
        seen.update(asyncio.all_tasks() - {asyncio.current_task()})

    first, second = invoking(function), invoking(looks)
    gc.disable()
    try:
        first()
        second()
    finally:
        gc.enable()
    assert not seen


@pytest.mark.parametrize("function", HANDLERS)
def test_the_tasks_of_an_invocation_are_gone(function: Any) -> None:
    tasks: list[weakref.ref[Any]] = []

    async def noting(context: AsyncDurableContext) -> Any:
        loop = asyncio.get_running_loop()
        create = loop.create_task

        def note(*given: Any, **named: Any) -> Any:
            task = create(*given, **named)
            tasks.append(weakref.ref(task))
            return task

        loop.create_task = note  # type: ignore[method-assign]
        try:
            return await function(context)
        finally:
            del loop.create_task

    invoking(noting)()
    gc.collect()
    assert not [task for each in tasks if (task := each()) is not None]


def test_what_asyncio_complains_of_never_appears() -> None:
    """In a process of its own, with all warnings, in asyncio's debug mode, up to the end of the process."""
    program = textwrap.dedent(
        """
        import asyncio, gc, sys
        sys.path[:0] = ["tests"]
        from aio.test_nothing_is_left import HANDLERS, invoking
        for function in HANDLERS:
            invoke = invoking(function)
            for _ in range(3):
                invoke()
                gc.collect()
        """
    )
    command = [
        sys.executable,
        "-X",
        "dev",
        "-W",
        "error::RuntimeWarning",
        "-W",
        "error::ResourceWarning",
        "-c",
        program,
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert (ran.returncode, ran.stdout) == (0, "")
    for complaint in ("destroyed", "never retrieved", "never awaited", "Exception ignored", "Warning"):
        assert complaint not in ran.stderr, ran.stderr


def test_invocations_in_several_threads_do_not_disturb_each_other() -> None:
    async def inner(given: Any, context: AsyncDurableContext) -> Any:
        await context.wait(1)
        return [given, await context.step(_yields)]

    async def outer(_event: Any, context: AsyncDurableContext) -> Any:
        return await asyncio.gather(*[context.invoke("inner", n) for n in range(8)])

    service = LocalService(clock=VirtualClock())
    service.register("inner", durable_execution(inner)).register("f", durable_execution(outer))
    handle = service.run("f")
    assert (handle.status, handle.value) == ("SUCCEEDED", [[n, 1] for n in range(8)]), handle.error


def test_invocations_at_the_same_time_have_a_loop_each() -> None:
    loops: list[Any] = []
    meet = threading.Barrier(4, timeout=30)

    async def notes(context: AsyncDurableContext) -> None:
        loops.append(asyncio.get_running_loop())
        meet.wait()
        await context.wait(60)

    invoke, answers = invoking(notes), []
    threads = [threading.Thread(target=lambda: answers.append(invoke())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, loops))) == 4
    assert answers == [PENDING] * 4


def test_a_loop_is_used_again() -> None:
    loops: set[int] = set()

    async def notes(context: AsyncDurableContext) -> None:
        loops.add(id(asyncio.get_running_loop()))
        await context.wait(60)

    invoke = invoking(notes)
    for _ in range(50):
        assert invoke() == PENDING
    assert len(loops) == 1


@pytest.mark.soak
@pytest.mark.parametrize("function", HANDLERS)
def test_twenty_thousand_warm_invocations_take_no_more_memory(function: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    invoke = invoking(function)

    def grown(invocations: int) -> int:
        before = tracemalloc.get_traced_memory()[0]
        for n in range(invocations):
            invoke()
            if n % 500 == 0:
                gc.collect()
                CLIENTS[-1].calls.clear()
        gc.collect()
        CLIENTS[-1].calls.clear()
        return tracemalloc.get_traced_memory()[0] - before

    for _ in range(500):
        invoke()
    tracemalloc.start()
    try:
        grown(500)
        assert grown(20_000 // len(HANDLERS)) < 50_000
    finally:
        tracemalloc.stop()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_process_that_is_forked_has_loops_of_its_own() -> None:
    """In a process of its own, since this one has threads."""
    program = textwrap.dedent(
        """
        import asyncio, os, sys
        sys.path[:0] = ["tests"]
        from aio.test_nothing_is_left import HANDLERS, invoking, forks
        loops = []

        async def notes(context):
            loops.append(asyncio.get_running_loop())
            await context.wait(60)

        invocations = [invoking(function) for function in (notes, *HANDLERS, forks)]
        before = [invoke() for invoke in invocations]
        child = os.fork()
        after = [invoke() for invoke in invocations]
        assert [each["Status"] for each in after] == [each["Status"] for each in before], after
        assert (loops[0] is loops[1]) == bool(child), "whose loop is it?"
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            print([each["Status"] for each in after])
        """
    )
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sum(map(ran.stdout.count, ("PENDING", "SUCCEEDED", "FAILED"))) == len(HANDLERS) + 2


async def forks(context: AsyncDurableContext) -> Any:
    """Fork in a step, as `multiprocessing` does: what goes on in the child is no part of the invocation."""

    async def in_a_process(_step: Any) -> int:
        child = os.fork()
        if child == 0:
            os._exit(7)
        await asyncio.sleep(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])  # noqa: ASYNC222  it has ended

    assert await asyncio.gather(context.step(in_a_process), context.step(_yields)) == [7, 1]
    await context.wait(60)


def test_callbacks_of_tasks_that_are_unwound_complain_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    def ended(task: asyncio.Task[Any]) -> None:
        seen.append(task)
        task.result()

    async def asks(context: AsyncDurableContext) -> Any:
        async def parks() -> None:
            await context.wait(60)

        task = asyncio.create_task(parks())
        task.add_done_callback(ended)
        try:
            await task
        finally:
            task.cancel()  # as a group of tasks does to those that are in it

    with caplog.at_level(logging.INFO):
        assert invoking(asks)() == PENDING
    assert seen
    assert not caplog.records


def test_nobody_complains_of_a_handler_that_fails_once_something_else_has_ended_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @durable_execution(boto3_client=Recorder())
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        loop = asyncio.get_running_loop()
        parked = asyncio.create_task(context.wait(60))
        await asyncio.sleep(0.05)
        told = loop.create_future()
        loop.call_later(0.01, told.set_exception, ValueError("too late"))
        threading.Event().wait(1.1)  # both it and the invocation's time come in the same turn of the loop
        await told
        await parked

    assert handler(event(), LambdaContext(1.0)) == PENDING
    gc.collect()
    assert "never retrieved" not in caplog.text
