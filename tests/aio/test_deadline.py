"""The end of an invocation's time beside what is at work: nothing more begins, and functions of steps are let end."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from perdure import AsyncDurableContext, InvocationError, StepContext, durable_execution
from perdure import execution as execution_module
from perdure.config import StepSemantics
from perdure.testing import explore
from perdure.waits import WaitForConditionDecision
from support.invocations import LambdaContext, Recorder, event, op

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TURNS = 50
"""Turns of the loop, in which whatever else is due has come."""


@pytest.fixture(autouse=True)
def no_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no operation begin once something is recorded, however long the invocation may yet take."""
    monkeypatch.setattr(execution_module, "RESERVE_SHARE", 1.0)


def never(_: Any) -> Any:
    pytest.fail("ran")


def recorded(
    handler: Callable[[AsyncDurableContext], Awaitable[Any]], *history: dict[str, Any], seconds: float = 900.0
) -> list[tuple[str, str]]:
    """Give what an invocation records, each operation's name and what of it, that ends for want of time."""

    async def called(_event: Any, context: AsyncDurableContext) -> Any:
        return await handler(context)

    client = Recorder()
    handle: Any = durable_execution(called, boto3_client=client, deadline_reserve=900)  # type: ignore[arg-type]
    with pytest.raises(InvocationError, match="out of time"):
        handle(event(*history), LambdaContext(seconds))
    return [(each.get("Name"), each["Action"]) for each in client.updates]


async def slow(_: StepContext) -> str:
    for _turn in range(TURNS):
        await asyncio.sleep(0)
    return "done"


@pytest.mark.parametrize("semantics", list(StepSemantics))
def test_a_step_at_work_is_let_end_and_recorded(semantics: StepSemantics) -> None:
    async def handler(context: AsyncDurableContext) -> Any:
        return await asyncio.gather(context.step(slow, "slow", step_semantics=semantics), context.step(never, "never"))

    assert recorded(handler) == [("slow", "START"), ("slow", "SUCCEED")]


def test_so_it_is_where_the_handler_fails_meanwhile() -> None:
    async def fails() -> None:
        for _turn in range(TURNS // 5):
            await asyncio.sleep(0)
        raise ValueError("nothing to do with it")

    async def handler(context: AsyncDurableContext) -> Any:
        async with asyncio.TaskGroup() as group:
            working = asyncio.ensure_future(context.step(slow, "slow"))
            group.create_task(context.step(never, "never"))
            group.create_task(fails())
        return await working

    assert recorded(handler) == [("slow", "START"), ("slow", "SUCCEED")]


def test_what_comes_after_it_does_not_begin() -> None:
    async def handler(context: AsyncDurableContext) -> Any:
        working = asyncio.ensure_future(context.step(slow, "slow"))
        beside = asyncio.ensure_future(context.step(never, "never"))
        await working
        await context.step(never, "after")
        return await beside

    assert recorded(handler) == [("slow", "START"), ("slow", "SUCCEED")]


def test_an_attempt_that_fails_meanwhile_is_tried_again_in_another_invocation() -> None:
    async def failing(step: StepContext) -> None:
        await slow(step)
        raise OSError("not now")

    async def handler(context: AsyncDurableContext) -> Any:
        return await asyncio.gather(context.step(failing, "failing"), context.step(never, "never"))

    assert recorded(handler) == [("failing", "START"), ("failing", "RETRY")]


def test_a_check_at_work_is_let_end_and_recorded() -> None:
    async def check(state: int, _: Any) -> int:
        for _turn in range(TURNS):
            await asyncio.sleep(0)
        return state + 1

    async def handler(context: AsyncDurableContext) -> Any:
        polled = context.wait_for_condition(
            check, name="poll", initial_state=0, wait_strategy=lambda *_: WaitForConditionDecision.stop_polling()
        )
        return await asyncio.gather(polled, context.step(never, "never"))

    assert recorded(handler) == [("poll", "START"), ("poll", "SUCCEED")]


def test_a_plain_function_in_a_thread_is_let_end_and_recorded() -> None:
    refused = threading.Event()

    def in_thread(_: StepContext) -> str:
        refused.wait(60)
        return "done"

    async def handler(context: AsyncDurableContext) -> Any:
        working = asyncio.ensure_future(context.step(in_thread, "slow", in_thread=True))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(refused.set)
        return await asyncio.gather(working, context.step(never, "never"))

    assert recorded(handler) == [("slow", "START"), ("slow", "SUCCEED")]


def test_a_branch_at_work_is_let_end_its_step_and_no_more() -> None:
    async def works(inner: AsyncDurableContext) -> Any:
        await inner.step(slow, "slow")
        return await inner.step(never, "after")

    async def comes_too_late(inner: AsyncDurableContext) -> Any:
        await asyncio.sleep(0)
        return await inner.step(never, "never")

    async def handler(context: AsyncDurableContext) -> Any:
        return await context.parallel([works, comes_too_late])

    history = [
        op("CONTEXT", "STARTED", SubType="Parallel"),
        *(op("CONTEXT", "STARTED", 1, n, SubType="ParallelBranch", Name=f"parallel-branch-{n}") for n in range(2)),
    ]
    assert recorded(handler, *history) == [("slow", "START"), ("slow", "SUCCEED")]


def test_a_step_that_takes_too_long_is_given_up_at_the_end_of_the_time() -> None:
    async def for_ever(_: StepContext) -> None:
        await asyncio.Event().wait()

    async def handler(context: AsyncDurableContext) -> Any:
        return await asyncio.gather(context.step(for_ever, "slow"), context.step(never, "never"))

    assert recorded(handler, seconds=0.3) == [("slow", "START")]


def test_a_task_that_goes_on_for_ever_does_not_keep_it() -> None:
    async def spins() -> None:
        for _turn in iter(int, 1):
            await asyncio.sleep(0)

    async def handler(context: AsyncDurableContext) -> Any:
        return await asyncio.gather(spins(), context.step(slow, "slow"), context.step(never, "never"))

    began = time.monotonic()
    assert recorded(handler, seconds=60) == [("slow", "START"), ("slow", "SUCCEED")]
    assert time.monotonic() - began < 30


def test_a_handler_that_returns_meanwhile_has_not_succeeded() -> None:
    async def handler(context: AsyncDurableContext) -> str:
        context.step(slow, "slow")
        context.step(never, "never")
        return "done"

    assert recorded(handler) == [("slow", "START"), ("slow", "SUCCEED")]


def test_no_function_runs_once_more_for_want_of_time() -> None:
    async def steps(inner: AsyncDurableContext) -> list[int]:
        return [await inner.step(lambda _, n=n: n, f"quick {n}") for n in range(2)]

    @durable_execution
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await asyncio.gather(context.step(slow, "slow"), context.run_in_child_context(steps))

    explore(handler, orders=2).assert_ok()
