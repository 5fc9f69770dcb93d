"""Tasks that are cancelled wherever an operation may stand: what is recorded, and what whoever awaits it sees."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from perdure import AsyncDurableContext, StepError, durable_execution
from perdure._core import Drive
from perdure.aio import hands
from perdure.retries import RetryPresets
from perdure.testing import DurableFunctionTestRunner
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from support.invocations import LambdaContext, Recorder, event

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(60)


def run(handler: Callable[[AsyncDurableContext], Any], *, client: Recorder | None = None) -> tuple[Any, list[str]]:
    """Run one invocation; give its response, and what was recorded, in order."""
    client = client or Recorder()

    async def body(_event: Any, context: AsyncDurableContext) -> Any:
        return await handler(context)

    response: Any = durable_execution(body, boto3_client=client)(event(), LambdaContext())  # type: ignore[arg-type]
    return response, [name for batch in client.summary for name in batch]


async def outcome(awaited: Any) -> str:
    try:
        return repr(await awaited)
    except BaseException as error:
        if isinstance(error, GeneratorExit):
            raise
        return type(error).__name__


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


WARNED = "an operation (WAIT short) was cancelled before it had ended"


def test_a_wait_that_is_cancelled_stays_recorded_and_the_code_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(context: AsyncDurableContext) -> Any:
        operation = context.wait(60, "short")
        task = asyncio.create_task(operation)
        await context.step(lambda _: 1, "beside")
        await asyncio.sleep(0.01)
        task.cancel()
        return [await outcome(task), await outcome(operation)]

    with caplog.at_level(logging.WARNING, "perdure"):
        response, recorded = run(handler)
    assert response == {"Status": "SUCCEEDED", "Result": '["CancelledError", "CancelledError"]'}
    assert "WAIT START short" in recorded
    assert [record.getMessage()[: len(WARNED)] for record in caplog.records] == [WARNED]


async def for_ever(*_: Any) -> None:
    await asyncio.Event().wait()


async def waits(inner: AsyncDurableContext, *_: Any) -> None:
    await inner.wait(60)


def again(_state: int, _checks: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.continue_waiting(60)


async def told_of(context: AsyncDurableContext) -> None:
    callback = await context.create_callback()
    await callback.result()


async def one_after_the_other(context: AsyncDurableContext) -> None:
    async for done in context.as_completed([context.step(for_ever, "a"), context.step(for_ever, "b")]):
        await done


async def selected(context: AsyncDurableContext, *keys: str) -> None:
    async with context.select() as select:
        for key in keys:
            select.add(key, context.wait(60))
        async for _, done in select:
            await done


async def limited(context: AsyncDurableContext) -> None:
    async with context.timeout(60):
        await context.wait(60)


async def begun_elsewhere(context: AsyncDurableContext) -> None:
    operation = context.wait(60)
    task = asyncio.ensure_future(operation)
    await asyncio.sleep(0)
    await operation
    await task


EVERY: dict[str, Callable[[AsyncDurableContext], Any]] = {
    "wait": lambda context: context.wait(60),
    "a step that is tried again": lambda context: context.step(for_ever, retry=RetryPresets.fixed(60)),
    "callback": told_of,
    "wait_for_callback": lambda context: context.wait_for_callback(lambda *_: None),
    "wait_for_callback, submitting": lambda context: context.wait_for_callback(for_ever),
    "wait_for_condition": lambda context: context.wait_for_condition(
        lambda state, _: state, WaitForConditionConfig(again, 0)
    ),
    "wait_for_condition, checking": lambda context: context.wait_for_condition(
        for_ever, WaitForConditionConfig(again, 0)
    ),
    "invoke": lambda context: context.invoke("other", 1),
    "context": lambda context: context.run_in_child_context(waits),
    "context, at anything": lambda context: context.run_in_child_context(for_ever),
    "virtual context": lambda context: context.run_in_child_context(for_ever, is_virtual=True),
    "map": lambda context: context.map([1, 2], waits),
    "map, at anything": lambda context: context.map([1, 2], for_ever),
    "parallel": lambda context: context.parallel([waits, for_ever]),
    "race": lambda context: context.race([context.wait(60), context.wait(70)]),
    "race of functions": lambda context: context.race([waits, for_ever]),
    "any": lambda context: context.any([context.wait(60), for_ever()]),
    "all": lambda context: context.all([context.wait(60), context.wait(70)], timeout=50),
    "all_settled": lambda context: context.all_settled([for_ever(), for_ever()]),
    "as_completed": one_after_the_other,
    "select": lambda context: selected(context, "a", "b"),
    "select, the last": lambda context: selected(context, "a"),
    "timeout": limited,
    "one that a task awaits": begun_elsewhere,
}


async def cut_off(operation: Callable[[AsyncDurableContext], Any], context: AsyncDurableContext) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await operation(context)


@pytest.mark.parametrize("operation", EVERY.values(), ids=EVERY)
def test_it_is_warned_once_of_whatever_a_time_limit_of_asyncio_cuts_off(
    operation: Callable[[AsyncDurableContext], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(context: AsyncDurableContext) -> Any:
        await cut_off(operation, context)
        await turns(5)
        raise KeyError("the end")  # what is left open is not waited for

    with caplog.at_level(logging.WARNING):
        response, _ = run(handler)
        gc.collect()
    assert response["Error"]["ErrorMessage"] == "'the end'"
    assert sum("was cancelled before it had ended" in record.getMessage() for record in caplog.records) == 1
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize(
    "operation",
    [lambda context: context.step(for_ever, retry=RetryPresets.none()), for_ever],
    ids=["a step's last attempt", "nothing durable"],
)
def test_it_is_not_warned_of_what_is_recorded(
    operation: Callable[[AsyncDurableContext], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(context: AsyncDurableContext) -> Any:
        await cut_off(operation, context)

    with caplog.at_level(logging.WARNING, "perdure"):
        run(handler)
    assert caplog.records == []


@pytest.mark.parametrize("operation", EVERY.values(), ids=EVERY)
def test_what_was_cut_off_keeps_no_execution_waiting(operation: Callable[[AsyncDurableContext], Any]) -> None:
    if operation in {one_after_the_other, begun_elsewhere}:
        pytest.skip("it goes on, since others await it")
    invocations: list[Any] = []

    @durable_execution
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        invocations.append(None)
        try:
            async with asyncio.timeout(0.02):
                await operation(context)
        except TimeoutError:
            return "went on"

    @durable_execution
    async def other(_event: Any, context: AsyncDurableContext) -> None:
        await context.wait(60)

    with DurableFunctionTestRunner(handler) as runner:
        runner.register_durable_function("other", other)
        result = runner.run()
    assert (result.value, len(invocations)) == ("went on", 1)
    recorded = {each.status.value for each in result.operations}  # of a virtual context nothing is
    assert recorded & {"STARTED", "PENDING", "READY"} or not recorded


def test_a_shield_lets_an_operation_go_on_and_it_is_warned_of_giving_it_up(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(context: AsyncDurableContext) -> Any:
        go_on = asyncio.Event()

        async def work(_step: Any) -> str:
            await go_on.wait()
            return "worked"

        operation = context.step(work, "work")
        for cut in (True, True, False):  # once a place
            waiting = asyncio.ensure_future(shielded(operation))
            await turns(2)
            if cut:
                waiting.cancel()
            else:
                go_on.set()
            told = await outcome(waiting)
        return [told, await context.race([asyncio.shield(context.wait(60)), context.step(lambda _: 1)])]

    async def shielded(operation: Any) -> Any:
        return await asyncio.shield(operation)

    with caplog.at_level(logging.WARNING, "perdure"):
        response, recorded = run(handler)
    assert response["Status"] == "PENDING"  # for the wait that a race has left, and a shield keeps
    assert "STEP SUCCEED work" in recorded
    assert [record.getMessage().partition(" at ")[0] for record in caplog.records] == ["asyncio.shield"]


def test_a_start_that_is_on_its_way_arrives_before_a_cancellation_is_told_of() -> None:
    seen: list[Any] = []

    async def handler(context: AsyncDurableContext) -> Any:
        task = asyncio.create_task(outcome(context.wait(60, "short")))
        beside = asyncio.create_task(outcome(context.step(lambda _: 1, "beside")))
        await turns(1)
        for _ in range(3):  # whoever cancels once more changes nothing
            task.cancel()
            await turns(1)
        seen.append([await task, len(client.calls) > 0])
        await beside
        return seen[0]

    client = Recorder()
    response, recorded = run(handler, client=client)
    assert response == {"Status": "SUCCEEDED", "Result": '["CancelledError", true]'}
    assert "WAIT START short" in recorded


def test_an_outcome_that_is_on_its_way_arrives_before_a_cancellation_is_told_of() -> None:
    async def handler(context: AsyncDurableContext) -> Any:
        running = asyncio.Event()

        async def work(_step: Any) -> int:
            running.set()
            return 1

        operation = context.step(work, "work")
        task = asyncio.create_task(operation)
        beside = asyncio.create_task(outcome(context.wait(60, "short")))
        await running.wait()
        task.cancel()
        told = [await outcome(task), await outcome(operation)]
        beside.cancel()
        await beside
        return told

    response, recorded = run(handler)
    assert response == {"Status": "SUCCEEDED", "Result": '["CancelledError", "CancelledError"]'}
    assert "STEP SUCCEED work" in recorded


def test_an_attempt_at_work_that_is_cancelled_has_failed() -> None:
    async def handler(context: AsyncDurableContext) -> Any:
        running = asyncio.Event()

        async def work(_step: Any) -> None:
            running.set()
            await asyncio.Event().wait()

        operation = context.step(work, "work", retry=RetryPresets.none())
        task = asyncio.create_task(operation)
        await running.wait()
        task.cancel()
        told = [await outcome(task)]
        with pytest.raises((StepError, asyncio.CancelledError)):
            await operation
        return told

    response, recorded = run(handler)
    assert response == {"Status": "SUCCEEDED", "Result": '["CancelledError"]'}
    assert recorded[-1] == "STEP FAIL work"


def test_what_comes_of_a_context_that_is_cancelled_is_not_recorded() -> None:
    async def handler(context: AsyncDurableContext) -> Any:
        running = asyncio.Event()
        later: list[Any] = []

        async def work(inner: AsyncDurableContext) -> None:
            later.append(inner)
            running.set()
            try:
                await inner.wait(60, "inside")
            finally:
                later.append("cleaned up")

        task = asyncio.create_task(context.run_in_child_context(work, "context"))
        await running.wait()
        await context.step(lambda _: 1, "beside")
        task.cancel()
        told = [await outcome(task), later[1]]
        return [*told, await outcome(later[0].step(lambda _: 1, "too late"))]

    response, recorded = run(handler)
    assert response == {
        "Status": "SUCCEEDED",
        "Result": '["CancelledError", "cleaned up", "OrphanedChildException"]',
    }
    assert "WAIT START inside" in recorded
    assert not any(name.startswith(("CONTEXT SUCCEED", "CONTEXT FAIL")) or "too late" in name for name in recorded)


@pytest.mark.parametrize("which", ["wait", "step", "context"])
def test_an_operation_whose_task_is_cancelled_before_it_begins_has_ended_for_all_who_ask(which: str) -> None:
    async def handler(context: AsyncDurableContext) -> Any:
        async def work(*_: Any) -> int:
            raise AssertionError("it does not begin")

        operation: Any = {
            "wait": lambda: context.wait(60, "short"),
            "step": lambda: context.step(work, "work"),
            "context": lambda: context.run_in_child_context(work, "work"),
        }[which]()
        task = asyncio.create_task(operation)
        task.cancel()
        return [await outcome(task), await outcome(operation), await outcome(operation)]

    response, _ = run(handler)
    assert response == {"Status": "SUCCEEDED", "Result": '["CancelledError", "CancelledError", "CancelledError"]'}


# ---- the native part by itself


class Leader:
    """What a drive asks of who leads, where nothing is asked of it."""


class Told(Drive):
    __slots__ = ("heard",)

    def __init__(self, *_given: Any) -> None:
        self.heard: list[Any] = []

    def ended(self, result: Any, error: BaseException | None) -> bool:
        self.heard.append((result, type(error)))
        return isinstance(error, ValueError)


def flow(end: Any) -> Any:
    if isinstance(end, BaseException):
        raise end
    return end
    yield


def test_a_drive_that_has_ended_gives_nothing_more() -> None:
    drive = Told(Leader(), flow("result"))
    with pytest.raises(StopIteration) as first:
        drive.send(None)
    with pytest.raises(StopIteration) as second:
        next(drive)
    with pytest.raises(KeyError):
        drive.throw(KeyError())
    drive.close()
    assert (first.value.value, second.value.value) == ("result", None)
    assert drive.heard == [("result", type(None))]


def test_a_drive_raises_what_its_flow_does_unless_whoever_is_told_says_otherwise() -> None:
    drive = Told(Leader(), flow(KeyError()))
    with pytest.raises(KeyError):
        drive.send(None)
    assert drive.heard == [(None, KeyError)]
    drive = Told(Leader(), flow(ValueError()))
    with pytest.raises(StopIteration):
        drive.send(None)
    assert drive.heard == [(None, ValueError)]


def test_a_drive_that_is_closed_before_it_has_begun_does_not_begin() -> None:
    closed = flow("result")
    drive = Told(Leader(), closed)
    drive.close()
    assert closed.gi_frame is None
    assert drive.heard == []
    with pytest.raises(StopIteration):
        drive.send(None)


def test_a_drive_is_not_gone_on_with_from_within_itself() -> None:
    def within() -> Any:
        with pytest.raises(ValueError, match="already executing"):
            drives[0].throw(GeneratorExit)
        return "result"
        yield

    drives = [Told(Leader(), within())]
    with pytest.raises(StopIteration):
        drives[0].send(None)
    assert drives[0].heard == [("result", type(None))]


def test_a_drive_is_let_go_together_with_what_it_is_of() -> None:
    leader = Leader()
    drive: Any = Told(leader, flow("result"))
    leader.drive = drive  # type: ignore[attr-defined]
    drive.heard.append(drive)
    gone = weakref.ref(leader)
    del leader, drive
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("is_first", [False, True], ids=["after it has returned", "before it has returned"])
def test_a_coroutine_that_a_thread_has_given_for_nothing_is_closed(
    monkeypatch: pytest.MonkeyPatch, *, is_first: bool
) -> None:
    """Python would warn that nobody awaited it."""
    returned, given = hands._returned, turns(1)

    async def handler(context: AsyncDurableContext) -> Any:
        task = asyncio.ensure_future(context.step(lambda _: given, "s", retry=RetryPresets.none(), in_thread=True))

        def cut(*arguments: Any) -> None:
            if is_first:
                task.cancel()
            returned(*arguments)
            task.cancel()

        monkeypatch.setattr(hands, "_returned", cut)
        return await outcome(task)

    response, _ = run(handler)
    assert response["Result"] == '"CancelledError"'
    assert inspect.getcoroutinestate(given) == inspect.CORO_CLOSED
