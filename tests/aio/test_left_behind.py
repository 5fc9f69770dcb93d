"""What is left behind by races and time limits, with what is recorded inside: no replay misses it, or waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import WithRetryConfig, durable_execution, with_retry
from perdure.config import NestingType
from perdure.exceptions import StepError
from perdure.local import VirtualClock
from perdure.retries import RetryPresets
from support.awaited import Trial, everywhere
from support.invocations import LambdaContext, Recorder, event, op

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure import AsyncDurableContext, StepContext

    Loser = Callable[[AsyncDurableContext], Awaitable[Any]]
    Way = Callable[[AsyncDurableContext, Loser], Awaitable[Any]]


async def inside(context: AsyncDurableContext, *_more: Any) -> None:
    """Something is over, and something is not, when it loses."""
    await context.wait(10, "over")
    await context.step(lambda _: 1, "over, too")
    await context.wait(400, "too long")
    await context.step(lambda _: 2, "never")


async def grouped(context: AsyncDurableContext) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(context.run_in_child_context(inside))


async def nested(context: AsyncDurableContext) -> None:
    await context.run_in_child_context(inside, is_virtual=True)
    await context.map([1], inside)


async def asked(context: AsyncDurableContext) -> None:
    callback = await context.create_callback("nobody answers")
    await callback.result()


async def unawaited(context: AsyncDurableContext) -> None:
    context.wait(300, "nobody awaits it")
    later = context.run_in_child_context(inside)
    await context.wait(20, "meanwhile it runs by itself")
    await later


LOSERS: dict[str, Loser] = {
    "child": lambda context: context.run_in_child_context(inside),
    "virtual": lambda context: context.run_in_child_context(inside, is_virtual=True),
    "virtual with a callback": lambda context: context.run_in_child_context(asked, is_virtual=True),
    "map": lambda context: context.map([1, 2], inside),
    "flat": lambda context: context.parallel([inside, inside], nesting_type=NestingType.FLAT),
    "race": lambda context: context.race([inside, inside]),
    "callback": lambda context: context.wait_for_callback(lambda *_: None),
    "retried": lambda context: with_retry(context, inside, WithRetryConfig()),
    "group": lambda context: context.run_in_child_context(grouped),
    "unawaited": lambda context: context.run_in_child_context(unawaited),
    "nested": lambda context: context.run_in_child_context(nested),
}


async def limited(context: AsyncDurableContext, loser: Loser) -> Any:
    try:
        async with context.timeout(25):
            await loser(context)
    except TimeoutError:
        return "late"


async def limited_side_by_side(context: AsyncDurableContext, loser: Loser) -> Any:
    try:
        async with context.timeout(25):
            await asyncio.gather(loser(context), loser(context))
    except TimeoutError:
        return "late"


async def limited_from_before(context: AsyncDurableContext, loser: Loser) -> Any:
    """The block waits for what was called before it."""
    called = loser(context)
    try:
        async with context.timeout(25):
            await called
    except TimeoutError:
        return "late"


async def raced(context: AsyncDurableContext, loser: Loser) -> Any:
    return [await context.race([loser(context), context.wait(25)])]


async def raced_as_tasks(context: AsyncDurableContext, loser: Loser) -> Any:
    return [await context.race([asyncio.ensure_future(loser(context)), context.wait(25)])]


async def raced_as_coroutines(context: AsyncDurableContext, loser: Loser) -> Any:
    async def runs() -> None:
        await loser(context)

    return [await context.race([runs(), context.wait(25)])]


async def raced_inside(context: AsyncDurableContext, loser: Loser) -> Any:
    async def child(inner: AsyncDurableContext) -> Any:
        told = await raced(inner, loser)
        await inner.wait(50)
        return told

    return await context.run_in_child_context(child)


async def timed_out(context: AsyncDurableContext, loser: Loser) -> Any:
    try:
        await context.any([loser(context), loser(context)], timeout=25)
    except TimeoutError:
        return "late"


async def selected(context: AsyncDurableContext, loser: Loser) -> Any:
    async with context.select() as select:
        select.add("loser", loser(context))
        select.add("wait", context.wait(25))
        key, done = await select.next()
        await done
    return key


async def limited_by_both(context: AsyncDurableContext, loser: Loser) -> Any:
    try:
        async with context.timeout(25):
            await context.race([loser(context), context.wait(500)])
    except TimeoutError:
        return "late"


WAYS: dict[str, Way] = {
    "timeout": limited,
    "timeout side by side": limited_side_by_side,
    "timeout from before": limited_from_before,
    "timeout around a race": limited_by_both,
    "race": raced,
    "race of tasks": raced_as_tasks,
    "race of coroutines": raced_as_coroutines,
    "race inside": raced_inside,
    "any in time": timed_out,
    "select": selected,
}


@pytest.mark.parametrize("loser", LOSERS.values(), ids=LOSERS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_replay_misses_it_or_waits_for_it(way: Way, loser: Loser, caplog: pytest.LogCaptureFixture) -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            told = await way(context, loser)
            await context.wait(60, "pause")
            return [told, await context.step(lambda _: "after", "after")]

        return (handler,)

    caplog.set_level(logging.WARNING)
    whole = everywhere(make)
    assert whole.service.clock.now() - VirtualClock().now() <= timedelta(seconds=145)
    assert whole.value[1] == "after"
    assert "never" not in [name for name, _ in whole.operations]
    assert not caplog.records


def test_what_nobody_awaits_is_carried_out_before_its_context_ends(caplog: pytest.LogCaptureFixture) -> None:
    def make() -> Any:
        def fails(_step: StepContext) -> None:
            raise ValueError("nobody asks")

        async def forgetful(inner: AsyncDurableContext, *_more: Any) -> str:
            inner.step(lambda _: 1, "audit")
            inner.wait(30, "rest")
            inner.step(fails, "fails", retry=RetryPresets.none())
            return "ended"

        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            told = [await context.run_in_child_context(forgetful)]
            told += [await context.run_in_child_context(forgetful, is_virtual=True)]
            told += (await context.map([1, 2], forgetful)).get_results()
            return told

        return (handler,)

    whole = everywhere(make)
    assert whole.value == ["ended"] * 4
    assert sorted(status for name, status in whole.operations if name) == sorted(
        ["SUCCEEDED"] * 8 + ["FAILED"] * 4 + ["SUCCEEDED"] * 2
    )
    assert {each.getMessage().split(",")[0] for each in caplog.records} == {
        "an operation failed that nobody has awaited"
    }


def test_so_is_what_tasks_call_that_were_made_at_the_end_and_have_not_begun() -> None:
    def make() -> Any:
        async def forgetful(inner: AsyncDurableContext, *_more: Any) -> str:
            async def later() -> None:
                inner.step(lambda _: 1, "audit")
                inner.wait(30, "rest")

            FORGOTTEN[:] = [asyncio.create_task(later())]
            return "ended"

        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            told = [await context.run_in_child_context(forgetful)]
            told += (await context.map([1, 2], forgetful)).get_results()
            return [*told, await forgetful(context)]

        async def forgets_at_once(_event: Any, context: AsyncDurableContext) -> Any:
            return await forgetful(context)

        return handler, forgets_at_once

    handler, forgets_at_once = make()
    for each, count in ((handler, 4), (forgets_at_once, 1)):
        whole = everywhere(lambda each=each: (each,))
        assert [status for name, status in whole.operations if name in {"audit", "rest"}] == ["SUCCEEDED"] * count * 2
    FORGOTTEN.clear()


FORGOTTEN: list[Any] = []


async def selecting(context: AsyncDurableContext, *_more: Any) -> None:
    async with context.select() as first:
        first.add("only", context.wait(10, "selected"))
        async for _, done in first:
            await done
    await context.step(lambda _: 1, "last")


async def hesitating(context: AsyncDurableContext, *_more: Any) -> None:
    await context.wait(10)
    for _ in range(9):
        await asyncio.sleep(0)
    await context.step(lambda _: 1, "last")


SLOW: dict[str, Loser] = {
    "selecting": lambda context: context.run_in_child_context(selecting),
    "hesitating": lambda context: context.run_in_child_context(hesitating),
    "virtual": lambda context: context.run_in_child_context(hesitating, is_virtual=True),
    "map": lambda context: context.map([1, 2], selecting),
    "flat": lambda context: context.parallel([hesitating, selecting], nesting_type=NestingType.FLAT),
    "all functions": lambda context: context.all([hesitating, selecting]),
    "all operations": lambda context: context.all_settled([context.run_in_child_context(hesitating), context.wait(20)]),
}


async def breaks_off(context: AsyncDurableContext, slow: Any) -> Any:
    async for done in context.as_completed([context.step(lambda _: "quick"), slow]):
        return await done
    raise AssertionError("it gives one")


async def breaks_off_a_task(context: AsyncDurableContext, slow: Any) -> Any:
    return await breaks_off(context, asyncio.ensure_future(slow))


async def forgets_a_task(context: AsyncDurableContext, slow: Any) -> Any:
    kept = asyncio.ensure_future(slow)
    quick = await context.step(lambda _: "quick")
    return quick if kept else None


async def awaits_in_a_task(context: AsyncDurableContext, slow: Any) -> Any:
    async def waiting() -> Any:
        return await slow

    return await forgets_a_task(context, waiting())


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("way", [breaks_off, breaks_off_a_task, forgets_a_task, awaits_in_a_task])
def test_what_is_at_work_as_the_handler_ends_is_carried_out_however_far_it_has_come(way: Any, slow: Loser) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await way(context, slow(context))

    found = everywhere(lambda: (handler,))
    assert found.value == "quick"
    assert ("last", "SUCCEEDED") in found.operations
    assert {status for _, status in found.operations} == {"SUCCEEDED"}


async def in_a_child(context: AsyncDurableContext, function: Any) -> Any:
    return await context.run_in_child_context(function)


async def in_a_branch(context: AsyncDurableContext, function: Any) -> Any:
    return (await context.parallel([function])).get_results()[0]


async def in_a_flat_branch(context: AsyncDurableContext, function: Any) -> Any:
    return (await context.parallel([function], nesting_type=NestingType.FLAT)).get_results()[0]


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("within", [in_a_child, in_a_branch, in_a_flat_branch])
def test_a_context_carries_out_what_an_as_completed_has_not_given_that_it_has_broken_off(
    within: Any, slow: Loser
) -> None:
    async def function(context: AsyncDurableContext) -> Any:
        await context.wait(5)
        return await breaks_off(context, slow(context))

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await within(context, function)

    found = everywhere(lambda: (handler,))
    assert found.value == "quick"
    assert {status for _, status in found.operations} == {"SUCCEEDED"}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("within", [in_a_child, in_a_branch])
@pytest.mark.parametrize(("limit", "first"), [(3, 100), (1_000, 2)], ids=["over", "not over"])
def test_no_context_waits_for_what_was_broken_off_in_a_block_with_a_time_limit(
    within: Any, slow: Loser, limit: int, first: int
) -> None:
    async def function(context: AsyncDurableContext) -> Any:
        with contextlib.suppress(TimeoutError):
            async with context.timeout(limit):
                async for _ in context.as_completed([context.wait(first), slow(context)]):
                    break
        return "late"

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await within(context, function)

    found = everywhere(lambda: (handler,))
    assert found.value == "late"
    assert "last" not in dict(found.operations)


@pytest.mark.parametrize("within", [in_a_child, in_a_branch, in_a_flat_branch])
def test_a_context_carries_out_what_nobody_awaits_in_it(within: Any) -> None:
    async def function(context: AsyncDurableContext) -> str:
        await context.wait(5)
        context.step(lambda _: 1, "audit")
        context.wait(7)
        context.run_in_child_context(hesitating)
        return "ended"

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await within(context, function)

    found = everywhere(lambda: (handler,))
    assert found.value == "ended"
    assert {"audit", "last"} <= {name for name, _ in found.operations}
    assert {status for _, status in found.operations} == {"SUCCEEDED"}


def fails(_step: StepContext) -> None:
    raise ValueError("nobody asks")


async def fails_within(context: AsyncDurableContext) -> None:
    context.step(fails, retry=RetryPresets.none())


async def is_asked_later(context: AsyncDurableContext) -> None:
    failing = context.step(fails, retry=RetryPresets.none())
    await context.wait(60)
    with contextlib.suppress(StepError):
        await failing


async def is_asked_of_each(context: AsyncDurableContext) -> None:
    async for done in context.as_completed([context.step(lambda _: 1), context.step(fails, retry=RetryPresets.none())]):
        with contextlib.suppress(StepError):
            await done
        await context.wait(60)


async def is_never_asked(context: AsyncDurableContext) -> None:
    context.step(fails, retry=RetryPresets.none())
    await context.wait(60)


async def is_never_asked_at_the_end(context: AsyncDurableContext) -> None:
    await context.wait(60)
    context.step(fails, retry=RetryPresets.none())


async def is_never_asked_in_a_child(context: AsyncDurableContext) -> None:
    await context.run_in_child_context(fails_within)
    await context.wait(60)


async def is_called_wrongly(context: AsyncDurableContext) -> None:
    context.wait(-1)
    await context.wait(60)


@pytest.mark.parametrize(
    ("function", "times"),
    [
        (is_asked_later, 0),
        (is_asked_of_each, 0),
        (is_never_asked, 1),
        (is_never_asked_at_the_end, 1),
        (is_never_asked_in_a_child, 1),
        (is_called_wrongly, 1),
    ],
)
def test_a_failure_that_nobody_asks_for_is_told_once_and_no_other(
    function: Any, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> None:
        await function(context)

    trial = Trial(handler)
    assert trial.value is None
    assert len(trial.handle.invocations) > 1
    assert sum("failed that nobody has awaited" in record.getMessage() for record in caplog.records) == times


def test_a_failure_that_an_as_completed_has_not_given_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(context: AsyncDurableContext) -> None:
        await context.wait(10)
        raise ValueError("of the one that was not given")

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await breaks_off(context, context.run_in_child_context(fails))

    assert Trial(handler).value == "quick"
    assert "an operation failed that nobody has awaited" in caplog.text
    assert "of the one that was not given" in caplog.text


def test_what_a_task_awaits_is_not_told_of_as_what_nobody_awaits(caplog: pytest.LogCaptureFixture) -> None:
    def fails(_step: StepContext) -> None:
        raise ValueError("somebody asks")

    async def inner(context: AsyncDurableContext) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(context.step(fails, retry=RetryPresets.none()))

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        tasks = [asyncio.ensure_future(context.run_in_child_context(inner)) for _ in range(3)]
        return [str(error) for error in await asyncio.gather(*tasks, return_exceptions=True)]

    assert len(Trial(handler).value) == 3
    assert not [each for each in caplog.records if "nobody has awaited" in each.getMessage()]


def test_nobody_is_told_what_a_task_that_was_left_behind_has_failed_of(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(when: asyncio.Event) -> None:
        try:
            await when.wait()
        finally:
            raise OSError("for nobody")

    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            late, soon = (asyncio.ensure_future(fails(asyncio.Event())) for _ in range(2))
            first = await context.any([context.step(lambda _: "won"), late])
            async with context.select() as select:
                select.add("step", context.step(lambda _: "chosen"))
                select.add("task", soon)
                _, done = await select.next()
                soon.cancel()
                await asyncio.wait([soon])
            return [first, await done]

        return (handler,)

    with caplog.at_level(logging.WARNING):
        assert everywhere(make).value == ["won", "chosen"]
        gc.collect()
    assert caplog.messages == []


def test_what_wakes_up_once_it_was_unwound_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    left: list[asyncio.Task[Any]] = []
    told: list[Any] = []

    async def handler(event: Any, context: AsyncDurableContext) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, what: told.append(what["message"]))
        if event == "leave":
            left.append(asyncio.ensure_future(context.wait(60)))
            await context.wait(60)
        else:  # what a group of tasks says on some versions of CPython
            loop.call_exception_handler({"message": "of an earlier invocation", "task": left[0]})
            loop.call_exception_handler({"message": "of this one"})

    decorated = durable_execution(handler, boto3_client=Recorder())  # type: ignore[arg-type]
    assert decorated(event(payload='"leave"'), LambdaContext())["Status"] == "PENDING"
    assert decorated(event(payload='"look"'), LambdaContext())["Status"] == "SUCCEEDED"
    assert told == ["of this one"]
    assert caplog.messages == []


@pytest.mark.parametrize("turns", range(1, 4))
def test_a_task_that_goes_on_as_the_handler_has_ended_comes_to_no_operation(turns: int) -> None:
    ran: list[str] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> str:
        released = asyncio.Event()

        async def other() -> None:
            await released.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            calls = asyncio.create_task(calls_one())
            await context.step(lambda _: ran.append("beside"), "beside")
            await calls

        async def calls_one() -> None:
            await context.step(lambda _: ran.append("second"), "second")

        beside = asyncio.create_task(other())
        await context.step(lambda _: 1, "first")
        await asyncio.sleep(0)
        released.set()
        return "done" if beside else "never"

    recorded = [op("STEP", "SUCCEEDED", n, Name=name) for n, name in enumerate(["first", "second", "beside"], 1)]
    client = Recorder()
    output = durable_execution(handler, boto3_client=client)(event(*recorded), None)  # type: ignore[arg-type,call-overload]
    assert output == {"Status": "SUCCEEDED", "Result": '"done"'}
    assert not client.updates
    assert ran == []


@pytest.mark.parametrize("where", ["child", "handler"])
def test_a_handler_is_refused_for_its_own_operations_and_not_for_those_of_a_child_it_has_left_behind(
    where: str,
) -> None:
    async def inside(inner: AsyncDurableContext) -> None:
        await asyncio.Event().wait()  # by then, in an earlier invocation, something else had set it
        await inner.wait(60)

    async def handler(_event: Any, context: AsyncDurableContext) -> str:
        behind = asyncio.create_task(context.run_in_child_context(inside))
        await context.step(lambda _: 1)
        return "done" if behind else "never"

    around = op("CONTEXT", "STARTED")
    missed = op("WAIT", "STARTED", 1, 1) if where == "child" else op("WAIT", "STARTED", 3)
    recorded = around, missed, op("STEP", "SUCCEEDED", 2, details={"Result": "1"})
    output: Any = durable_execution(handler, boto3_client=Recorder())(event(*recorded), None)  # type: ignore[arg-type,call-overload]
    assert output["Status"] == ("SUCCEEDED" if where == "child" else "FAILED")
