"""Steps with a timeout whose functions are awaited; and the errors that timeouts surface as."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from perdure import AsyncDurableContext, StepContext, StepError, durable_execution, durable_step
from perdure.exceptions import StepTimedOutError, StepTimeoutError, wire_error_type
from perdure.retries import RetryPresets
from perdure.testing import DurableFunctionTestRunner

OFFICIAL = "aws_durable_execution_sdk_python.exceptions."
SOON = 0.2  # seconds: a machine under load may take a while until a function has begun
ONCE = RetryPresets.none()


def run(function: Any) -> Any:
    with DurableFunctionTestRunner(durable_execution(function)) as runner:
        return runner.run(input={}, timeout=30)


async def for_ever(_step: StepContext) -> None:
    await asyncio.Event().wait()


@durable_step
async def decorated(_step: StepContext, ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(threading.current_thread().name)


def test_a_function_that_is_awaited_is_cancelled_when_its_time_is_up() -> None:
    ended: list[str] = []

    def plain_around(step: StepContext) -> Any:
        return decorated(ended)(step)

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        told = []
        for function in (decorated(ended), plain_around, for_ever):
            try:
                await context.step(function, retry=ONCE, timeout=SOON)
            except TimeoutError as error:
                told.append([type(error).__name__, error.error_type, str(error).split(" step ")[0]])
        return [told, await context.step(lambda _: 1, timeout=60), await context.wait(5)]

    found = run(handler)
    assert found.error is None
    told, one, nothing = found.value
    assert told == [["StepTimedOutError", OFFICIAL + "StepTimeoutError", "attempt 1 of"]] * 3
    assert (one, nothing) == (1, None)
    assert len(ended) == 2
    assert set(ended) == {threading.current_thread().name}  # its code ran in the loop, and was unwound there


def test_a_plain_function_keeps_its_thread() -> None:
    release = threading.Event()

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        stuck = context.step(lambda _: release.wait(10), "stuck", retry=ONCE, timeout=SOON)
        beside = context.step(lambda _: "beside", "beside")
        found = [await beside]
        with pytest.raises(TimeoutError):
            await stuck
        release.set()
        return found

    assert run(handler).value == ["beside"]


def test_a_timeout_of_the_functions_own_is_its_own() -> None:
    async def own(_step: StepContext) -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(10)

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        try:
            await context.step(own, retry=ONCE, timeout=60)
        except StepError as error:
            return [error.error_type, isinstance(error, TimeoutError)]

    assert run(handler).value == ["TimeoutError", False]


def test_the_next_attempt_follows_as_after_any_failure() -> None:
    attempts: list[int] = []

    async def second_time(step: StepContext) -> str:
        attempts.append(step.attempt)
        if step.attempt == 1:
            await asyncio.Event().wait()
        return "done"

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await context.step(second_time, retry=RetryPresets.fixed(1), timeout=SOON)

    assert run(handler).value == "done"
    assert attempts == [1, 2]


@pytest.mark.parametrize("way", ["timeout", "wait_for"])
def test_asyncio_s_own_around_one_step_is_caught_the_same_live_and_on_replay(way: str) -> None:
    seen: list[str] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        try:
            step = context.step(for_ever, "slow", retry=ONCE)
            if way == "wait_for":
                await asyncio.wait_for(step, SOON)
            else:
                async with asyncio.timeout(SOON):
                    await step
        except TimeoutError:
            seen.append("late")
        await context.wait(5)
        return await context.step(lambda _: "after", "after")

    found = run(handler)
    assert found.value == "after"
    assert seen == ["late", "late"]  # live, and on the replay after the wait
    [slow, *_] = found.operations
    assert (slow.status.value, slow.error.type) == ("FAILED", OFFICIAL + "StepTimeoutError")


def test_a_plain_handler_catches_it_as_well() -> None:
    seen: list[str] = []
    release = threading.Event()

    def handler(_event: Any, context: Any) -> Any:
        try:
            context.step(lambda _: release.wait(10), retry=ONCE, timeout=SOON)
        except TimeoutError as error:
            release.set()
            seen.append(f"{type(error).__name__} {error.__cause__.__class__.__name__}")
        context.wait(5)

    assert run(handler).error is None
    assert seen == ["StepTimedOutError DurableOperationError"] * 2


def test_on_the_wire_it_is_the_error_of_a_step() -> None:
    assert wire_error_type(StepTimedOutError("m", OFFICIAL + "StepTimeoutError")) == OFFICIAL + "StepError"
    error = StepTimedOutError()
    assert (error.error_type, error.message) == (OFFICIAL + "StepError", None)
    assert isinstance(StepTimeoutError("m"), TimeoutError)

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        await context.step(for_ever, retry=ONCE, timeout=SOON)

    assert run(handler).error.type == OFFICIAL + "StepError"


def test_map_error_is_asked_about_what_is_awaited() -> None:
    class MappedError(Exception):
        pass

    async def fails(inner: AsyncDurableContext, *_: Any) -> None:
        await inner.step(lambda _: 1)
        raise KeyError("own")

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        def mapper(error: Exception) -> Exception:
            return MappedError(f"mapped {type(error).__name__}")

        found = []
        for virtual in (False, True):
            try:
                await context.run_in_child_context(fails, map_error=mapper, is_virtual=virtual)
            except Exception as error:  # noqa: BLE001  told
                found.append(str(error))
        batch = await context.map([1], fails, map_error=mapper)
        found.append(batch.all[0].error.message)
        await context.wait(5)
        return found

    assert run(handler).value == ["mapped KeyError"] * 3
