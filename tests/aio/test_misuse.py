"""What one does wrong at first: the error says what to do instead."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from perdure import durable_execution
from perdure.testing import DurableFunctionTestRunner
from support.awaited import Trial
from support.invocations import Recorder, event, op

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure import AsyncDurableContext, StepContext


async def given(_step: StepContext) -> int:
    return 1


async def of_nothing(*_: Any) -> int:
    return 1


async def in_a_dict(context: AsyncDurableContext) -> Any:
    return {"found": [context.step(given)]}


async def arithmetic(context: AsyncDurableContext) -> Any:
    return context.map([1], of_nothing).get_results()  # type: ignore[attr-defined]


async def condition(context: AsyncDurableContext) -> Any:
    return "yes" if context.step(given) else "no"


async def itself(context: AsyncDurableContext) -> Any:
    return context.step(given)


async def another_coroutine(_context: AsyncDurableContext) -> Any:
    return of_nothing()


async def in_a_child(context: AsyncDurableContext) -> Any:
    return await context.run_in_child_context(lambda inner: [inner.step(given)])


async def coroutine_as_step(context: AsyncDurableContext) -> Any:
    return await context.step(of_nothing(None))  # type: ignore[call-overload]


async def coroutine_as_child(context: AsyncDurableContext) -> Any:
    return await context.run_in_child_context(of_nothing(None))  # type: ignore[call-overload]


async def coroutine_in_parallel(context: AsyncDurableContext) -> Any:
    return await context.parallel([of_nothing(None)])


async def operation_as_step(context: AsyncDurableContext) -> Any:
    return await context.step(context.step(given))  # type: ignore[call-overload]


async def cancelled(_context: AsyncDurableContext) -> Any:
    task = asyncio.ensure_future(of_nothing())
    task.cancel()
    return await task


async def raced_again(context: AsyncDurableContext) -> Any:
    slow = context.wait(60)
    await context.race([slow, context.step(given)])
    return await context.race([slow, context.wait(5)])


MISUSES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an operation in the result": (in_a_dict, "one of them was not awaited"),
    "a member of what comes of it": (arithmetic, "has no 'get_results': await it first"),
    "a condition": (condition, "await it first, as in `if await"),
    "the operation returned": (itself, "an operation that was not awaited: `return await"),
    "a coroutine returned": (another_coroutine, "a coroutine. Await it there"),
    "an operation in a child's result": (in_a_child, "was not awaited: `await` it first"),
    "a coroutine for a step's function": (coroutine_as_step, "not the coroutine of of_nothing: pass the function"),
    "a coroutine for a child's function": (coroutine_as_child, "not the coroutine of of_nothing: pass the function"),
    "a coroutine among branches": (coroutine_in_parallel, "not the coroutine of of_nothing: pass the function"),
    "an operation for a function": (operation_as_step, "not an operation that was called: pass the function"),
    "awaiting what was cancelled": (cancelled, "the handler was cancelled: by its own code, or for having awaited"),
    "awaiting what was left behind": (raced_again, "was left behind"),
}


@pytest.mark.parametrize("name", MISUSES)
def test_the_error_says_what_to_do(name: str) -> None:
    misuse, words = MISUSES[name]

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await misuse(context)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trial = Trial(handler)
        gc.collect()
    assert trial.handle.status == "FAILED"
    assert words in trial.handle.error["ErrorMessage"]


def test_an_operation_that_is_recorded_is_told_of_as_one_too() -> None:
    @durable_execution(boto3_client=Recorder())
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return context.step(given)

    output = handler(event(op("STEP", "SUCCEEDED", details={"Result": "1"})), None)  # type: ignore[arg-type]
    assert "returned an operation that was not awaited" in output["Error"]["ErrorMessage"]


def test_as_many_tasks_as_one_likes_are_made_of_an_operation() -> None:
    async def slow(_step: StepContext) -> int:
        await asyncio.sleep(0)
        return 5

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        told = []
        for make in (
            lambda: context.step(slow),
            lambda: context.race([context.step(slow), context.wait(60)]),
            lambda: context.all((context.step(slow),)),
        ):
            operation = make()
            at_once = [asyncio.ensure_future(operation) for _ in range(3)]
            told += [await each for each in at_once]
            told += [await asyncio.ensure_future(operation), await operation]
        waits = context.wait(5)
        at_once = [asyncio.ensure_future(waits) for _ in range(3)]
        await asyncio.sleep(0)
        at_once[1].cancel()
        found = await asyncio.gather(*at_once, return_exceptions=True)
        return [told, found[0], found[2]]

    assert Trial(handler).value == [[5] * 10 + [[5]] * 5, None, None]


def test_where_a_handler_waits_for_ever_is_a_line_of_its_own() -> None:
    @durable_execution
    async def handler(_event: Any, _context: AsyncDurableContext) -> None:
        await asyncio.Event().wait()

    with DurableFunctionTestRunner(handler, invocation_timeout=0.5) as runner:
        error = runner.run(event=None).error
    assert error is not None
    assert f"{__file__}:" in str(error.message)


def test_a_task_of_an_operation_can_be_shown() -> None:
    """As asyncio does in its warnings, and whoever looks for what hangs."""

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        task = asyncio.create_task(context.step(given))
        shown = [repr(task)]
        await asyncio.sleep(0)
        assert task.get_coro(), "as others look"
        await task
        return [*shown, repr(task)]

    with DurableFunctionTestRunner(durable_execution(handler)) as runner:
        pending, finished = runner.run().value  # type: ignore[misc]
    assert pending.startswith("<Task pending")
    assert finished.startswith("<Task finished")
