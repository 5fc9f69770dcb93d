"""``context.timeout``: whether it is over first is recorded, and the same on every replay."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure.exceptions import ValidationError
from perdure.local.machine.clock import RealClock, VirtualClock
from perdure.retries import RetryPresets
from support.awaited import Trial, everywhere

if TYPE_CHECKING:
    from perdure import AsyncDurableContext, StepContext


async def stuck(_step: StepContext) -> None:
    await asyncio.Event().wait()


async def in_time(context: AsyncDurableContext) -> Any:
    await context.wait(5, "soon")
    return await context.step(lambda _: "in time", "quick")


async def at_rest(context: AsyncDurableContext) -> Any:
    await context.step(lambda _: 1, "first")
    return await context.wait(900, "too long")


async def beside(context: AsyncDurableContext) -> Any:
    """The other task comes to its operations while the first waits already."""

    async def later() -> None:
        for n in range(3):
            await context.step(lambda _, n=n: n, f"later {n}")

    async with asyncio.TaskGroup() as group:
        group.create_task(context.wait(900, "too long"))
        group.create_task(later())


async def cleaning_up(context: AsyncDurableContext) -> Any:
    try:
        await context.wait(900, "too long")
    finally:
        await context.step(lambda _: "cleaned", "clean up")


async def handle_from_before(context: AsyncDurableContext) -> Any:
    """The wait ends by itself later on, when the block is replayed."""
    return await context.wait(40, "called in the block")


async def swallowing(context: AsyncDurableContext) -> Any:
    try:
        await context.wait(900, "too long")
    except asyncio.CancelledError:
        return "swallowed"


BLOCKS: dict[str, tuple[Any, str]] = {
    "in time": (in_time, "in time"),
    "at rest": (at_rest, "late"),
    "beside": (beside, "late"),
    "cleaning up": (cleaning_up, "late"),
    "over later": (handle_from_before, "late"),
    "swallowing": (swallowing, "late"),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_it_is_over_or_not_alike_wherever_it_is_cut(name: str) -> None:
    block, expected = BLOCKS[name]

    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            told = []
            for turn in range(2):
                try:
                    async with context.timeout(20, f"limit {turn}") as limit:
                        found = await block(context)
                    told.append(found)
                    assert not limit.is_expired
                except TimeoutError as error:
                    told.append(str(error))
                await context.wait(100, "pause")
            return [told, await context.step(lambda _: "after", "after")]

        return (handler,)

    late = [f"the block of timeout 'limit {turn}' took longer than 20 s" for turn in range(2)]
    assert everywhere(make).value == [late if expected == "late" else [expected] * 2, "after"]


def test_a_step_at_work_is_cancelled_and_does_not_run_again() -> None:
    attempts: list[int] = []

    async def slow(step: StepContext) -> None:
        attempts.append(step.attempt)
        await stuck(step)

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        try:
            async with context.timeout(1):
                await context.step(slow, "slow", retry=RetryPresets.fixed(1))
        except TimeoutError:
            await context.wait(2)  # the step's next attempt comes due meanwhile
            return await context.step(lambda _: "after", "after")

    trial = Trial(handler, clock=RealClock)
    assert trial.value == "after"
    assert attempts == [1]
    trial.check_replay(handler)


def test_an_error_of_the_block_s_own_goes_on() -> None:
    async def own() -> None:
        raise KeyError("own")

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        try:
            async with context.timeout(20):
                await own()
        except KeyError:
            await context.wait(30)
        with pytest.raises(ValidationError):
            async with context.timeout(0):
                pass
        return "done"

    trial = Trial(handler)
    assert trial.value == "done"


def test_one_inside_another_and_around_a_race() -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            told = []
            try:
                async with context.timeout(60, "outer"):
                    try:
                        async with context.timeout(10, "inner"):
                            await context.wait(500, "inside")
                    except TimeoutError:
                        told.append("inner")
                    await context.race([context.wait(700, "a"), context.wait(800, "b")], "race")
            except TimeoutError:
                told.append("outer")
            await context.wait(1000, "pause")
            return [told, await context.step(lambda _: "after", "after")]

        return (handler,)

    assert everywhere(make).value == [["inner", "outer"], "after"]


def test_now_is_when_the_block_was_cut_whatever_ends_later() -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            told = []
            for _ in range(2):
                try:
                    async with context.timeout(20):
                        await context.wait(5)
                        await context.wait(30, "ends later on")
                except TimeoutError:
                    told.append(str(await context.now()))
            await context.wait(100)
            return [*told, str(await context.now())]

        return (handler,)

    began = VirtualClock().now()
    assert everywhere(make).value == [str(began + timedelta(seconds=seconds)) for seconds in (20, 40, 140)]
