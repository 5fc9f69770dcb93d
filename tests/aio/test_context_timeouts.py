"""``context.timeout``: whether it is over first is recorded, and the same on every replay."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure.exceptions import CallbackTimeoutError, ValidationError
from perdure.local.machine.clock import RealClock, VirtualClock
from perdure.retries import RetryPresets
from perdure.waits import WaitForConditionDecision
from support.awaited import Trial, cut_at, everywhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure import AsyncDurableContext, DurableContext, StepContext


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


# ---- what ends only after the block was cut


async def item(context: AsyncDurableContext, seconds: int, *_: Any) -> int:
    await context.wait(seconds)
    return seconds


def second_time(step: StepContext) -> str:
    if step.attempt == 1:
        raise OSError("not yet")
    return "second time"


def waiting(_event: Any, context: DurableContext) -> str:
    context.wait(40)
    return "waited"


async def of_a_callback(context: AsyncDurableContext) -> Any:
    callback = await context.create_callback("asked", timeout=40)
    return await callback.result()


async def in_a_group(context: AsyncDurableContext) -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(context.wait(40))
        group.create_task(context.step(second_time, retry=RetryPresets.fixed(30)))
    return "group"


async def inside_of_another(context: AsyncDurableContext) -> Any:
    async with context.timeout(30, "inner"):
        return await context.wait(40)


async def with_what_goes_on(context: AsyncDurableContext) -> Any:
    context.wait(45, "nobody awaits it")
    return await context.wait(40)


LATER: dict[str, Callable[[AsyncDurableContext], Any]] = {
    "wait": lambda context: context.wait(40),
    "step": lambda context: context.step(second_time, "later", retry=RetryPresets.fixed(30)),
    "callback": of_a_callback,
    "wait_for_callback": lambda context: context.wait_for_callback(lambda *_: None, timeout=40),
    "invoke": lambda context: context.invoke("waiting", 1),
    "condition": lambda context: context.wait_for_condition(
        lambda state, _: state + 1, initial_state=0, wait_strategy=lambda state, _: POLLS[state > 1]
    ),
    "child": lambda context: context.run_in_child_context(lambda inner: item(inner, 40)),
    "virtual": lambda context: context.run_in_child_context(lambda inner: item(inner, 40), is_virtual=True),
    "map": lambda context: context.map([5, 40], item),
    "gather": lambda context: asyncio.gather(context.wait(40), context.wait(5), context.wait(50)),
    "task": lambda context: asyncio.ensure_future(context.wait(40)),
    "group": in_a_group,
    "race": lambda context: context.race([context.wait(40), context.wait(50)]),
    "time limit": inside_of_another,
    "what goes on": with_what_goes_on,
}
POLLS = {False: WaitForConditionDecision.continue_waiting(30), True: WaitForConditionDecision.stop_polling()}


@pytest.mark.parametrize("name", LATER)
def test_what_ends_only_after_the_block_was_cut_is_not_seen_in_it(name: str) -> None:
    """It would go on where it was cut, and its clean-up would find other positions than it has."""

    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            seen: list[str] = []
            try:
                async with context.timeout(20, "limit"):
                    try:
                        await context.step(lambda _: 1, "before")
                        seen.append(repr(await LATER[name](context)))
                        await context.step(lambda _: seen.append("too far"), "too far")
                    except BaseException as error:
                        seen.append(type(error).__name__)
                        raise
                    finally:
                        cleaned = await context.map([1, 2], lambda inner, n, *_: inner.step(lambda _: n), "clean up")
                        seen.append(repr(cleaned.get_results()))
            except TimeoutError as error:
                seen.append(str(error))
            await context.wait(100, "pause")
            return [seen, await context.step(lambda _: "after", "after")]

        return (handler,)

    late = "the block of timeout 'limit' took longer than 20 s"
    value = everywhere(make, functions={"waiting": waiting}).value
    assert value == [["CancelledError", "[1, 2]", late], "after"]


async def asking(context: AsyncDurableContext) -> Any:
    return await context.wait_for_callback(lambda *_: None, "beside")


def test_a_block_that_was_at_its_end_when_one_around_it_was_cut_is_cut_there_on_replay() -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            seen: list[str] = []
            try:
                async with context.timeout(20, "outer"):
                    try:
                        await context.step(lambda _: 1, "first")
                        task = asyncio.create_task(asking(context))
                        await context.wait(20, "as long")
                        async with context.timeout(9000, "inner"):
                            seen.append("inside")
                    finally:
                        seen.append(await context.step(lambda _: "cleaned", "clean up"))
            except TimeoutError as error:
                seen.append(str(error))
            await context.wait(40, "pause")
            return [*seen, await task, await context.step(lambda _: "after", "after")]

        return (handler,)

    late = "the block of timeout 'outer' took longer than 20 s"
    # What comes at the same moment may be seen, or may not: but the same each time.
    assert everywhere_itself(make, answer=b"yes").value[-3:] == [late, "yes", "after"]


def everywhere_itself(make: Callable[[], tuple[Any, ...]], **options: Any) -> Trial:
    """Cut a run at each of its calls; each run is replayed as it was recorded."""
    whole = Trial(*make(), **options)
    whole.check_replay(make()[0])
    for call in range(1, whole.calls + 1):
        for way in ("before", "after"):
            again = Trial(*make(), hurt=cut_at(call, way), **options)
            assert again.value[-3:] == whole.value[-3:]
            again.check_replay(make()[0])
    return whole


def test_what_a_block_has_called_can_be_awaited_after_it() -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            told: list[Any] = []
            try:
                async with context.timeout(20):
                    step = context.step(second_time, "step", retry=RetryPresets.fixed(30))
                    task = asyncio.create_task(context.run_in_child_context(lambda inner: item(inner, 300), "child"))
                    callback = await context.create_callback("asked", timeout=50)
                    answer = callback.result()
                    await context.wait(900)
            except TimeoutError:
                told.append("late")
            told.append(await step)
            told.append(await task)
            try:
                await answer
            except CallbackTimeoutError:
                told.append("no answer")
            await context.wait(100)
            return [*told, await context.step(lambda _: "after", "after")]

        return (handler,)

    assert everywhere(make).value == ["late", "second time", 300, "no answer", "after"]


def test_a_step_that_is_cut_is_seen_to_be_cancelled_on_replay_too() -> None:
    """Its attempt fails, and is its last: that is recorded after the block was cut."""
    seen: list[str] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        seen.append("again")
        try:
            async with context.timeout(1):
                try:
                    await context.step(stuck, "stuck", retry=RetryPresets.none())
                except BaseException as error:
                    seen.append(type(error).__name__)
                    await context.step(lambda _: 1, "clean up")
                    raise
        except TimeoutError:
            await context.wait(1)
            return await context.step(lambda _: "after", "after")

    trial = Trial(handler, clock=RealClock)
    assert trial.value == "after"
    trial.check_replay(handler)
    assert seen == ["again", "CancelledError"] * (len(seen) // 2)
    assert len(seen) >= 6


def test_time_limits_side_by_side_leave_nothing_in_their_context() -> None:
    """Each waits for what was called before; who begins first ends first."""

    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            async def limited(seconds: int, called: Any) -> str:
                try:
                    async with context.timeout(seconds):
                        await called
                except TimeoutError:
                    return "late"
                return "in time"

            calls = [context.wait(seconds) for seconds in (900, 900, 15)]
            told = await asyncio.gather(*[limited(n, each) for n, each in zip((10, 20, 30), calls, strict=True)])
            await context.wait(50)
            return [*told, await context.step(lambda _: "after", "after")]

        return (handler,)

    assert everywhere(make).value == ["late", "late", "in time", "after"]


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
