"""Who has lost a recorded decision: nothing more is recorded of it, nor begun, however deep inside of it that is."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.config import NestingType
from perdure.exceptions import InvalidStateError
from perdure.retries import RetryPresets
from perdure.waits import WaitForConditionDecision
from support.awaited import Trial

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure import AsyncDurableContext

    Operation = Callable[["Lab", AsyncDurableContext], Awaitable[Any]]
    Call = Callable[[AsyncDurableContext], Awaitable[Any]]
    Nesting = Callable[[AsyncDurableContext, Call], Awaitable[Any]]

LONG = 1000
RETRY = RetryPresets.fixed(60)
ONCE = RetryPresets.none()
FEW = settings(max_examples=max(10, settings.default.max_examples // 4))


class Lab:
    """What one execution's losers do: which functions begin, and when."""

    def __init__(self) -> None:
        self.invocation = 0
        self.is_decided = False
        self.begun: list[tuple[int, bool]] = []
        """Of each function that has begun, in which invocation, and whether all was decided."""
        self.left = threading.Event()

    def begins(self) -> None:
        self.begun.append((self.invocation, self.is_decided))

    async def stays(self, *_: Any) -> None:
        self.begins()
        await asyncio.Event().wait()

    async def fails_when_cancelled(self, *_: Any) -> None:
        self.begins()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("another attempt, please")

    def blocks(self, _: Any) -> None:
        self.begins()
        self.left.wait(20)
        raise OSError("another attempt, please")


def child(lab: Lab, context: AsyncDurableContext, **options: Any) -> Any:
    async def inside(inner: AsyncDurableContext) -> None:
        lab.begins()
        await inner.step(lab.stays, "step", retry=RETRY)

    return context.run_in_child_context(inside, "child", **options)


def spread(lab: Lab, context: AsyncDurableContext) -> Any:
    async def inside(inner: AsyncDurableContext, *_: Any) -> None:
        lab.begins()
        await inner.step(lab.stays, "step", retry=RETRY)

    return context.map([1, 2], inside, "map")


def condition(lab: Lab, context: AsyncDurableContext) -> Any:
    return context.wait_for_condition(
        lab.stays, name="check", wait_strategy=lambda *_: WaitForConditionDecision.stop_polling(), initial_state=0
    )


def asked(lab: Lab, context: AsyncDurableContext) -> Any:
    async def asks(inner: AsyncDurableContext) -> None:
        callback = await inner.create_callback("callback")
        lab.begins()
        await callback.result()

    return context.run_in_child_context(asks, "asks")


def waits(lab: Lab, context: AsyncDurableContext) -> Any:
    lab.begun.append((1, False))
    return context.wait(LONG, "wait")


OPERATIONS: dict[str, Operation] = {
    "step": lambda lab, context: context.step(lab.stays, "step", retry=RETRY),
    "step that fails then": lambda lab, context: context.step(lab.fails_when_cancelled, "step", retry=RETRY),
    "step in a thread": lambda lab, context: context.step(lab.blocks, "step", retry=RETRY, in_thread=True),
    "wait": waits,
    "child": child,
    "virtual child": lambda lab, context: child(lab, context, is_virtual=True),
    "map": spread,
    "submitter": lambda lab, context: context.wait_for_callback(lab.stays, "submitter"),
    "callback": asked,
    "condition": condition,
}


def other(context: AsyncDurableContext) -> Any:
    return context.wait(LONG, "other")


async def in_coroutine(context: AsyncDurableContext, call: Call) -> Any:
    return await call(context)


def race(context: AsyncDurableContext, call: Call) -> Any:
    return context.race([call(context), other(context)], "inner")


async def gathered(context: AsyncDurableContext, call: Call) -> Any:
    return await asyncio.gather(call(context), other(context))


async def grouped(context: AsyncDurableContext, call: Call) -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(in_coroutine(context, call))
        group.create_task(other(context))


async def in_task(context: AsyncDurableContext, call: Call) -> Any:
    return await asyncio.create_task(in_coroutine(context, call))


KEPT: list[Any] = []


async def in_task_that_nobody_awaits(context: AsyncDurableContext, call: Call) -> Any:
    KEPT[:] = [asyncio.create_task(in_coroutine(context, call))]
    await other(context)


async def shielded(context: AsyncDurableContext, call: Call) -> Any:
    return await asyncio.shield(in_coroutine(context, call))


async def waited_for(context: AsyncDurableContext, call: Call) -> Any:
    return await asyncio.wait([asyncio.ensure_future(each) for each in (call(context), other(context))])


async def selected(context: AsyncDurableContext, call: Call) -> Any:
    async with context.select("select") as select:
        select.add("call", call(context))
        select.add("other", other(context))
        await select.next()


async def in_order(context: AsyncDurableContext, call: Call) -> Any:
    async for done in context.as_completed([call(context), other(context)], "in order"):
        await done


async def limited(context: AsyncDurableContext, call: Call) -> Any:
    async with context.timeout(2 * LONG):
        return await call(context)


async def unawaited(context: AsyncDurableContext, call: Call) -> Any:
    called = asyncio.ensure_future(later) if asyncio.iscoroutine(later := call(context)) else later
    await other(context)
    return await called


def functions(context: AsyncDurableContext, call: Call) -> Any:
    return context.race([call, other], "functions")


NESTINGS: dict[str, Nesting] = {
    "as it is": lambda context, call: call(context),
    "coroutine": in_coroutine,
    "race": race,
    "all": lambda context, call: context.all([call(context), other(context)], "inner"),
    "race in a coroutine": lambda context, call: in_coroutine(context, lambda _: race(context, call)),
    "gather": gathered,
    "group": grouped,
    "task": in_task,
    "task that nobody awaits": in_task_that_nobody_awaits,
    "shield": shielded,
    "asyncio.wait": waited_for,
    "select": selected,
    "as_completed": in_order,
    "timeout": limited,
    "unawaited": unawaited,
    "functions": functions,
    "parallel": lambda context, call: context.parallel([call, other], "parallel"),
    "flat": lambda context, call: context.parallel([call, other], "flat", nesting_type=NestingType.FLAT),
    "child": lambda context, call: context.run_in_child_context(call, "child of it"),
}


class Contest:
    """An execution in which something loses a race while it is at work, and what comes after takes its time."""

    def __init__(self, member: Call, lab: Lab, **options: Any) -> None:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            lab.invocation += 1
            lab.is_decided = False

            async def wins(_: Any) -> str:
                while not lab.begun:  # noqa: ASYNC110  a thread may do that
                    await asyncio.sleep(0)
                for _turn in range(20):
                    await asyncio.sleep(0)
                return "won"

            won = await context.race([member(context), context.step(wins, "wins")], "outer")
            lab.is_decided = True
            lab.left.set()
            for _ in range(3):
                await context.wait(100)
            return won

        self.handler = handler
        self.trial = Trial(handler, **options)

    def since_decided(self) -> list[tuple[str, str]]:
        """What was recorded after the decision, but for the handler's own waits."""
        updates = self.trial.handle.updates
        decided = [(each.get("Name"), each["Action"]) for each in updates].index(("outer", "SUCCEED"))
        return [
            (each.get("Name", ""), each["Action"])
            for each in updates[decided + 1 :]
            if each["Type"] != "WAIT" or "Name" in each
        ]


def check(member: Call, lab: Lab) -> None:
    contest = Contest(member, lab)
    assert contest.trial.value == "won"
    assert contest.since_decided() == []
    assert set(lab.begun) == {(1, False)}
    assert len(contest.trial.handle.invocations) == 4
    contest.trial.check_replay(contest.handler)
    assert set(lab.begun) == {(1, False)}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("nesting", NESTINGS.values(), ids=NESTINGS)
def test_of_a_loser_nothing_more_is_recorded_and_it_wakes_nobody(
    nesting: Nesting, operation: Operation, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab()
    with caplog.at_level(logging.WARNING):
        check(lambda context: nesting(context, lambda inner: operation(lab, inner)), lab)
    assert [each for each in caplog.messages if "asyncio.wait at" not in each and "shield" not in each] == []


@FEW
@given(st.lists(st.sampled_from(list(NESTINGS)), min_size=2, max_size=3), st.sampled_from(list(OPERATIONS)))
def test_nor_of_what_is_inside_of_several(nestings: list[str], operation: str) -> None:
    lab = Lab()

    def call(context: AsyncDurableContext) -> Any:
        return OPERATIONS[operation](lab, context)

    for each in nestings:
        call = _inside(NESTINGS[each], call)
    check(call, lab)


def _inside(nesting: Nesting, call: Call) -> Call:
    return lambda context: nesting(context, call)


# ---- the decisions


async def fails_at_once(_: Any) -> None:
    raise ValueError("lost")


async def any_of(context: AsyncDurableContext, loser: Any) -> Any:
    return await context.any([loser, context.step(fails_at_once, retry=ONCE), context.wait(5)], "outer")


async def all_of(context: AsyncDurableContext, loser: Any) -> Any:
    try:
        await context.all([loser, context.wait(5), one_that_fails(context)], "outer")
    except ValueError:
        return None


async def one_that_fails(context: AsyncDurableContext) -> None:
    await context.wait(6)
    raise ValueError("all is lost")


async def settled(context: AsyncDurableContext, loser: Any) -> Any:
    await context.all_settled([loser, context.wait(5)], "outer", timeout=20)


async def in_time(context: AsyncDurableContext, loser: Any) -> Any:
    try:
        await context.race([loser], "outer", timeout=20)
    except TimeoutError:
        return None


DECISIONS = {"any": any_of, "all": all_of, "all_settled": settled, "timeout": in_time}


@pytest.mark.parametrize("nesting", ["as it is", "race", "gather", "select", "unawaited", "functions"])
@pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS)
def test_whatever_decides_and_in_whichever_invocation(decide: Any, nesting: str) -> None:
    """What lost had failed before, so that it has an attempt to come; and it is told of at each replay."""
    begun: list[bool] = []

    def handler_of() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            is_decided = False

            async def fails(_: Any) -> None:
                begun.append(is_decided)
                raise OSError("once more")

            def call(inner: AsyncDurableContext) -> Any:
                return inner.step(fails, "fails", retry=RetryPresets.fixed(100))

            await decide(context, NESTINGS[nesting](context, call))
            is_decided = True
            for _ in range(4):
                await context.wait(100)
            return "ended"

        return handler

    trial = Trial(handler_of())
    assert trial.value == "ended"
    assert begun == [False]
    recorded = [each["Action"] for each in trial.handle.updates if each.get("Name") == "fails"]
    assert recorded[:2] == ["START", "RETRY"]
    assert "RETRY" not in recorded[2:]
    trial.check_replay(handler_of())
    assert begun == [False]


# ---- what is not left behind with it


async def quickly(_: Any) -> int:
    await asyncio.sleep(0)
    return 1


async def saga(context: AsyncDurableContext) -> None:
    async with context.saga("saga") as steps:
        await steps.step(quickly, "clean", undo=lambda *_: None)


async def clean_in_time(context: AsyncDurableContext) -> None:
    async with context.timeout(50, "limit"):
        await context.step(quickly, "clean")


async def clean_beside(context: AsyncDurableContext) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(context.step(quickly, "clean"))
        group.create_task(in_coroutine(context, lambda inner: inner.step(quickly, "clean, too")))


async def clean_unawaited(context: AsyncDurableContext) -> None:
    context.step(quickly, "clean")
    await context.step(quickly, "meanwhile")


async def clean_one_by_one(context: AsyncDurableContext) -> None:
    async with context.select() as select:
        select.add(1, context.step(quickly, "clean"))
        select.add(2, context.step(quickly, "clean, too"))
        async for _, done in select:
            await done


async def _clean(context: AsyncDurableContext, *_: Any) -> Any:
    return await context.step(quickly, "clean")


CLEAN_UPS: dict[str, Call] = {
    "step": lambda context: context.step(quickly, "clean"),
    "gather": lambda context: asyncio.gather(context.step(quickly, "clean"), context.step(quickly, "clean, too")),
    "group": clean_beside,
    "task": lambda context: asyncio.create_task(in_coroutine(context, _clean)),
    "map": lambda context: context.map([1, 2], _clean),
    "race": lambda context: context.race([context.step(quickly, "clean"), other(context)]),
    "functions": lambda context: context.race([_clean, other]),
    "child": lambda context: context.run_in_child_context(clean_beside),
    "timeout": clean_in_time,
    "unawaited": clean_unawaited,
    "select": clean_one_by_one,
    "saga": saga,
}


@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize("clean_up", CLEAN_UPS.values(), ids=CLEAN_UPS)
@pytest.mark.parametrize("nesting", ["as it is", "race", "gather", "group", "task that nobody awaits", "select"])
def test_code_that_is_cancelled_cleans_up(nesting: str, clean_up: Call, swallows: bool) -> None:
    lab = Lab()
    cleaned: list[None] = []

    async def cleans_up(inner: AsyncDurableContext) -> None:
        lab.begins()
        try:
            await inner.wait(LONG)
        except asyncio.CancelledError:
            if not swallows:
                raise
        finally:
            await clean_up(inner)
            cleaned.append(None)

    def call(context: AsyncDurableContext) -> Any:
        return context.run_in_child_context(cleans_up)

    async def works(_: Any) -> None:
        while not cleaned:  # noqa: ASYNC110  it is another task that cleans up
            await asyncio.sleep(0)

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def wins(_: Any) -> str:
            while not lab.begun:  # noqa: ASYNC110  the same
                await asyncio.sleep(0)
            return "won"

        won = await context.race([NESTINGS[nesting](context, call), context.step(wins)])
        await context.wait(5)
        await context.step(works)
        return won

    trial = Trial(handler)
    assert trial.value == "won"
    assert cleaned == [None]
    recorded = [(each["Name"], each["Action"]) for each in trial.handle.updates if "clean" in each.get("Name", "")]
    assert ("clean", "SUCCEED") in recorded
    assert len([what for what in recorded if what[1] == "START"]) == len(recorded) // 2


def test_what_the_winner_leaves_goes_on() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        def second_time(step: Any) -> int:
            if step.attempt == 1:
                raise OSError("not yet")
            return 2

        async def wins(inner: AsyncDurableContext) -> int:
            inner.step(second_time, "audit", retry=RetryPresets.fixed(50))
            KEPT[:] = [asyncio.ensure_future(inner.step(second_time, "task", retry=RetryPresets.fixed(20)))]
            await inner.wait(5)
            return 1

        async def member() -> int:
            return await wins(context)

        won = await context.race([member(), context.wait(LONG)])
        await context.wait(100)
        return [won, await KEPT[0]]

    trial = Trial(handler)
    assert trial.value == [1, 2]
    assert dict(trial.operations)["audit"] == "SUCCEEDED"


def test_a_task_of_the_user_s_that_was_made_outside_goes_on() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def works(_: Any) -> int:
            for _turn in range(50):
                await asyncio.sleep(0)
            return 1

        async def outside() -> int:
            return await asyncio.shield(working)

        working = asyncio.ensure_future(context.step(works, "outside"))
        won = await context.race([outside(), context.step(quickly, "wins")])
        return [won, await working]

    assert Trial(handler).value == [1, 1]


def test_what_was_left_behind_is_not_awaited_again_but_by_code_that_was_left_with_it() -> None:
    seen: list[BaseException] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def member() -> None:
            called = context.step(quickly, "called")
            try:
                await context.wait(LONG)
            finally:
                try:
                    await called
                except BaseException as error:
                    seen.append(error)
                    raise

        stuck = context.step(Lab().stays, "stuck")
        await context.race([stuck, context.step(quickly, "quick")])
        with pytest.raises(InvalidStateError):
            await stuck
        return await context.race([member(), context.step(quickly, "wins")])

    assert Trial(handler).value == 1
    assert all(isinstance(each, (asyncio.CancelledError, GeneratorExit)) for each in seen)
