"""What comes about seldom: results too large for a record, clean-up of what nobody awaits, systems out of threads."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import threading
import time
import traceback
from typing import Any

import pytest

from perdure import AsyncDurableContext, StepContext, durable_execution
from perdure.aio.conductor import Conductor
from perdure.config import NestingType
from perdure.engine import threads
from perdure.exceptions import ExecutionError, InvocationError, StepError
from perdure.local import RealClock
from perdure.retries import RetryPresets
from perdure.waits import WaitStrategyConfig, create_wait_strategy
from support.awaited import Trial, everywhere
from support.invocations import PENDING, LambdaContext, Recorder, event, op

ONCE = RetryPresets.none()


# ---- map and parallel


@pytest.mark.parametrize("nesting", list(NestingType))
def test_a_batch_whose_result_is_too_large_for_its_record_is_put_together_again(nesting: NestingType) -> None:
    def make() -> Any:
        async def branch(inner: AsyncDurableContext, item: int, _index: int, _items: Any) -> str:
            await inner.wait(1 + item)
            return await inner.step(lambda _: str(item) * 100_000)

        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            batch = await context.map(range(4), branch, "large", nesting_type=nesting)
            await context.wait(5)
            return [len(each.result) for each in batch.all]

        return (handler,)

    assert everywhere(make).value == [100_000] * 4


def test_a_branch_that_is_recorded_as_something_else_ends_the_execution() -> None:
    async def branch(inner: AsyncDurableContext) -> None:
        await inner.wait(60)

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        await context.parallel([branch, branch], "both")

    recorded = [
        op("CONTEXT", "STARTED", SubType="Parallel", Name="both"),
        op("CONTEXT", "STARTED", 1, 0, SubType="MapIteration", Name="item"),
    ]
    output = durable_execution(handler, boto3_client=Recorder())(event(*recorded), None)  # type: ignore[arg-type,call-overload]
    assert output["Status"] == "FAILED"
    assert output["Error"]["ErrorType"].endswith("NonDeterministicExecutionError")


def test_an_error_that_is_the_invocation_s_ends_a_batch_whose_other_branches_wait() -> None:
    async def waits(inner: AsyncDurableContext) -> None:
        await inner.wait(60)

    async def breaks(inner: AsyncDurableContext) -> None:
        await inner.step(lambda _: 1)
        raise InvocationError("not now")

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        await context.parallel([waits, breaks, waits])

    with pytest.raises(InvocationError, match="not now"):
        durable_execution(handler, boto3_client=Recorder())(event(), None)  # type: ignore[arg-type,call-overload]


# ---- sagas


def test_a_step_of_a_saga_that_was_cancelled_is_not_undone() -> None:
    undone: list[str] = []

    def make() -> Any:
        async def undo(_step: StepContext, what: str) -> None:
            undone.append(what)

        async def for_ever(_step: StepContext) -> None:
            await asyncio.Event().wait()

        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            try:
                async with context.saga() as saga:
                    await saga.step(lambda _: "hotel", "hotel", undo=undo)
                    stuck = asyncio.ensure_future(saga.step(for_ever, "stuck", retry=ONCE, undo=undo))
                    await asyncio.sleep(0.01)
                    stuck.cancel()
                    await saga.step(_fails, "car", retry=ONCE, undo=undo)
            except StepError as error:
                return str(error)

        return (handler,)

    assert Trial(*make()).value == "bad"
    assert undone == ["hotel"]


def test_a_saga_whose_task_is_cancelled_while_it_waits_for_its_steps_undoes_nothing() -> None:
    undone: list[str] = []

    def undo(_step: StepContext, what: str) -> None:
        undone.append(what)

    async def for_ever(_step: StepContext) -> None:
        await asyncio.Event().wait()

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        failed = asyncio.Event()
        stuck: list[asyncio.Future[Any]] = []

        async def trip() -> None:
            async with context.saga() as saga:
                await saga.step(lambda _: "hotel", "hotel", undo=undo)
                stuck.append(asyncio.ensure_future(saga.step(for_ever, "stuck", undo=undo)))
                failed.set()
                raise ValueError("bad")

        task = asyncio.create_task(trip())
        await failed.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        stuck[0].cancel()
        return task.cancelled()

    assert Trial(handler).value is True
    assert undone == []


@pytest.mark.parametrize("where", ["step", "undo"])
def test_what_ends_the_execution_ends_the_undoing_as_well(where: str) -> None:
    undone: list[str] = []

    def undo(_step: StepContext, what: str) -> None:
        undone.append(what)
        if where == "undo":
            raise ExecutionError("no more of this")

    def car(_step: StepContext) -> str:
        if where == "step":
            raise ExecutionError("no more of this")
        return "car"

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async with context.saga() as saga:
            await saga.step(lambda _: "hotel", "hotel", undo=undo, undo_retry=ONCE)
            car_booked = saga.step(car, "car", undo=undo, undo_retry=ONCE)
            await saga.step(_fails, "flight", retry=ONCE, undo=undo)
            await car_booked

    trial = Trial(handler)
    assert trial.handle.status == "FAILED"
    assert trial.handle.error["ErrorMessage"] == "no more of this", trial.handle.error
    assert undone == (["car"] if where == "undo" else [])


def _fails(_step: StepContext) -> None:
    raise ValueError("bad")


# ---- time limits of blocks


def test_a_block_that_was_cut_while_it_slept_is_cut_there_again() -> None:
    told: list[str] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        try:
            async with context.timeout(1):
                await context.step(lambda _: 1, "first")
                await asyncio.sleep(60)
        except TimeoutError:
            told.append("cut")
        await context.wait(1)
        return await context.step(lambda _: "after", "after")

    trial = Trial(handler, clock=RealClock)
    assert trial.value == "after"
    assert told == ["cut"] * 2


def test_a_block_whose_time_is_over_comes_to_what_it_had_come_to_before_it_is_cut() -> None:
    def make() -> Any:
        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            came = []
            try:
                async with context.timeout(60):
                    came.append(await context.step(lambda _: "first"))
                    await asyncio.sleep(0.02)  # longer than the timer takes to tell that it is over
                    came.append(await context.step(lambda _: "second"))
                    await context.wait(100)
            except TimeoutError:
                came.append("cut")
            return came

        return (handler,)

    assert everywhere(make).value == ["first", "second", "cut"]


# ---- tasks in contexts of the user's


def test_a_task_whose_variables_are_in_use_begins_in_its_turn() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        variables = contextvars.copy_context()
        order: list[str] = []

        async def later() -> None:
            order.append("later")

        def within() -> Any:
            task = asyncio.get_running_loop().create_task(later(), context=variables)
            order.append("called")
            return task, context.step(lambda _: 1)

        task, step = variables.run(within)
        await asyncio.gather(task, step)
        return order

    assert Trial(handler).value == ["called", "later"]


def test_an_operation_called_in_another_thread_is_refused_and_begins_no_task() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        begun: list[str] = []

        async def task() -> None:
            begun.append(threading.current_thread().name)

        made = asyncio.create_task(task())
        await asyncio.to_thread(context.step, lambda _: 1)
        await made
        return begun

    trial = Trial(handler)
    assert trial.handle.status == "FAILED"
    assert "by another thread than that of its event loop" in trial.handle.error["ErrorMessage"]


# ---- what nobody awaits


def test_a_generator_that_nobody_asks_for_more_is_closed_with_the_invocation(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[str] = []

    async def endless(name: str) -> Any:
        try:
            while True:
                yield name
        finally:
            closed.append(name)
            await asyncio.sleep(0)
            closed.append(f"{name} never comes here")

    async def stubborn() -> Any:
        try:
            yield 1
        finally:
            raise ValueError("when closed")

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        kept = [endless("a"), endless("b"), stubborn()]
        for each in kept:
            await each.__anext__()
        await context.wait(60)

    with caplog.at_level(logging.DEBUG, "perdure"):
        assert durable_execution(handler, boto3_client=Recorder())(event(), None) == PENDING  # type: ignore[arg-type,call-overload]
    assert sorted(closed) == ["a", "b"]
    assert "an asynchronous generator that was closed raised" in caplog.text
    assert not [each for each in caplog.records if each.name == "asyncio"]


def test_many_timers_and_tasks_are_forgotten_as_they_end() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def nothing() -> None:
            await asyncio.sleep(0)

        first = asyncio.create_task(asyncio.sleep(0.5))  # stays, so that the others are behind it
        for _ in range(3):
            timers = [asyncio.get_running_loop().call_later(0.0001, int) for _ in range(300)]
            await asyncio.gather(*[nothing() for _ in range(1_100)])
            await asyncio.sleep(0.001)
        del timers
        first.cancel()
        return await context.step(lambda _: "done")

    assert Trial(handler).value == "done"


# ---- threads


def test_functions_take_turns_where_the_system_has_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [2]
    begin = threads.start

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await asyncio.gather(*[context.step(lambda _, n=n: time.sleep(0.001) or n, f"s{n}") for n in range(8)])

    def fewer(*given: Any) -> None:
        if left[0] == 0:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        begin(*given)

    monkeypatch.setattr(threads, "start", fewer)
    assert Trial(handler).value == list(range(8))


# ---- what no generator, and no task, takes for an error


def _raises(kind: type[BaseException]) -> Any:
    def function(*_: Any) -> Any:
        raise kind("user's")

    return function


def test_a_stop_iteration_of_the_users_is_an_error_like_others() -> None:
    """As in a plain handler: Python makes another error of one that leaves a generator."""
    stop, failed = _raises(StopIteration), []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        decide = create_wait_strategy(WaitStrategyConfig[int](lambda _: False))
        for operation in (
            lambda: context.step(stop, retry=ONCE),  # alone, in the loop
            lambda: asyncio.gather(context.step(stop, retry=ONCE), context.step(lambda _: 1)),  # in a thread
            lambda: context.step(_raises(ValueError), retry=stop),
            lambda: context.wait_for_condition(stop, wait_strategy=decide, initial_state=0),
            lambda: context.run_in_child_context(stop),
            lambda: context.run_in_child_context(stop, is_virtual=True),
        ):
            try:
                await operation()
            except Exception as error:  # noqa: BLE001  told
                failed.append((type(error).__name__, getattr(error, "error_type", None)))
        batches = [await context.map([1], stop, nesting_type=nesting) for nesting in NestingType]
        return [each.error.type for batch in batches for each in batch.failed() if each.error]

    assert Trial(handler).value == ["StopIteration"] * 2
    assert failed == [
        ("StepError", "StopIteration"),
        ("StepError", "StopIteration"),
        ("RuntimeError", None),  # of nothing that is recorded; in a coroutine, none but this can be raised
        ("WaitForConditionError", "StopIteration"),
        ("ChildContextError", "StopIteration"),
        ("ChildContextError", "StopIteration"),
    ]


def _runs_a_loop(_: Any) -> None:
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.call_soon(loop.stop)
        loop.run_forever()


def _uses_the_loop(_: Any) -> Any:
    return asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(("function", "others"), [(_runs_a_loop, False), (_uses_the_loop, True)])
def test_a_plain_function_that_minds_where_it_runs_is_told_what_to_do(function: Any, *, others: bool) -> None:
    """It runs in the loop's thread if it is alone, and in another if it is not."""
    seen: list[str] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        step = context.step(function, retry=ONCE)
        try:
            await (asyncio.gather(step, context.step(lambda _: 1)) if others else step)
        except StepError as error:
            seen.extend(traceback.format_exception(error))

    durable_execution(handler, boto3_client=Recorder())(event(), LambdaContext())  # type: ignore[arg-type,call-overload]
    assert "in_thread=True" in "".join(seen)


async def _awaited_one_by_one(context: AsyncDurableContext, child: Any) -> None:
    async for each in context.as_completed([context.run_in_child_context(child), context.wait(60)]):
        await each


async def _awaited_twice(context: AsyncDurableContext, child: Any) -> None:
    both = context.run_in_child_context(child)

    async def join() -> None:
        await both

    await asyncio.gather(join(), join())


@pytest.mark.parametrize(
    "operations",
    [
        lambda context, child: context.parallel([child, lambda inner: inner.wait(60)]),
        lambda context, child: context.map([1], lambda inner, *_: child(inner), nesting_type=NestingType.FLAT),
        lambda context, child: context.map([1], lambda inner, *_: inner.parallel([child, child])),
        lambda context, child: context.race([context.run_in_child_context(child), context.wait(60)]),
        _awaited_one_by_one,
        _awaited_twice,
    ],
)
@pytest.mark.parametrize("kind", [GeneratorExit, BaseException])
@pytest.mark.timeout(30)
def test_an_error_that_is_no_exception_goes_through_whoever_waits_for_it(
    operations: Any, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """A `GeneratorExit` was taken for the closing of code that is left behind: a batch waited for ever."""

    async def child(_inner: AsyncDurableContext) -> None:
        raise kind("user's")

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        await operations(context, child)
        return "went on"

    with pytest.raises(kind, match="user's"):
        durable_execution(handler, boto3_client=Recorder())(event(), LambdaContext())  # type: ignore[arg-type,call-overload]
    gc.collect()
    assert not [each for each in caplog.records if each.name == "asyncio"]


# ---- the end


def test_an_asynchronous_client_that_never_answers_does_not_outlast_the_invocation() -> None:
    class Never:
        async def checkpoint_durable_execution(self, **_request: Any) -> Any:
            await asyncio.Event().wait()

        async def get_durable_execution_state(self, **_request: Any) -> Any:
            await asyncio.Event().wait()

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        await asyncio.gather(context.step(lambda _: 1), context.wait(60))

    began = time.monotonic()
    with pytest.raises(InvocationError, match="time was"):
        durable_execution(handler, boto3_client=Never())(event(), LambdaContext(1.2))  # type: ignore[call-overload]
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_a_fault_of_our_own_in_the_loop_ends_the_invocation(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []

    def breaks(_conductor: Conductor) -> None:
        raise kind("ours")

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        try:
            await asyncio.gather(context.step(lambda _: 1), context.step(lambda _: 2))
        finally:
            closed.append("closed")

    monkeypatch.setattr(Conductor, "told", breaks)
    decorated = durable_execution(handler, boto3_client=Recorder())
    if issubclass(kind, Exception):
        output = decorated(event(), LambdaContext())  # type: ignore[arg-type]
        assert (output["Status"], output["Error"]["ErrorMessage"]) == ("FAILED", "ours")
    else:
        with pytest.raises(kind, match="ours"):
            decorated(event(), LambdaContext())  # type: ignore[arg-type]
    gc.collect()
    assert closed == ["closed"]
    assert not [each for each in caplog.records if each.name == "asyncio"]
