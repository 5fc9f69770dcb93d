"""``async def`` handlers, from the outside: what they give, and what is recorded."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import threading
import time
import types
from typing import Annotated, Any, Optional

import pytest
from aws_durable_execution_sdk_python import DurableContext as OfficialContext

from perdure import AsyncDurableContext, DurableContext, durable_execution
from perdure.config import CompletionConfig, NestingType
from perdure.exceptions import CallbackTimeoutError
from perdure.execution import run_durable_handler
from perdure.retries import RetryDecision
from perdure.serdes import DEFAULT_JSON_SERDES
from perdure.testing import DurableFunctionTestRunner
from perdure.waits import WaitForConditionDecision
from support.invocations import LambdaContext, Recorder, event


def run(function: Any) -> Any:
    with DurableFunctionTestRunner(durable_execution(function)) as runner:
        return runner.run(input={}, timeout=30)


def result(function: Any) -> Any:
    ended = run(function)
    assert ended.error is None
    return ended.value


async def awaited(_step: Any) -> str:
    await asyncio.sleep(0)
    return "awaited"


def plain(_step: Any) -> str:
    return "plain"


def test_functions_of_both_kinds_in_order() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return [await context.step(awaited), await context.step(plain), await context.step(functools.partial(awaited))]

    assert result(handler) == ["awaited", "plain", "awaited"]


def test_a_plain_handler_is_no_asynchronous_one() -> None:
    def handler(_event: Any, context: Any) -> Any:
        return type(context).__name__

    assert result(handler) == "DurableContext"


def runs_by_itself(function: Any) -> Any:
    """What an integration does: it runs an ``async def`` body in a loop of its own, with operations before."""

    @functools.wraps(function)
    def handler(*given: Any) -> Any:
        first = given[-1].step(plain, "before")
        given[-1].wait(60)
        return asyncio.run(function(*given[:-2], first, given[-1]))

    return handler


def hands_on(function: Any) -> Any:
    @functools.wraps(function)
    def handler(event: Any, context: Any) -> Any:
        return function(event, context)

    return handler


class RunsByItself:
    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)
        self.handler = runs_by_itself(function)

    def __call__(self, *given: Any) -> Any:
        return self.handler(*given)


class Agent:
    async def _body(self, first: str, context: DurableContext) -> list[str]:
        await asyncio.sleep(0)
        return [first, type(context).__name__]

    run = runs_by_itself(_body)


async def agent(first: str, context: DurableContext) -> list[str]:
    await asyncio.sleep(0)
    return [first, type(context).__name__]


def evaluated(function: Any) -> Any:
    copied = types.FunctionType(function.__code__, function.__globals__)
    copied.__annotations__ = {"context": DurableContext}
    return copied


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", [{}, {"serdes": DEFAULT_JSON_SERDES}])
@pytest.mark.parametrize(
    "made",
    [
        runs_by_itself(agent),
        runs_by_itself(evaluated(agent)),
        RunsByItself(agent),
        functools.partial(runs_by_itself(agent)),
        hands_on(runs_by_itself(agent)),
        Agent().run,
    ],
    ids=["function", "evaluated", "object", "partial", "two", "method"],
)
def test_a_decorator_runs_an_async_function_that_takes_a_plain_context(made: Any, options: Any) -> None:
    for _ in range(2):
        with DurableFunctionTestRunner(durable_execution(made, **options)) as runner:
            ended = runner.run(input={})
            assert ended.value == ["plain", "DurableContext"], ended.error
            assert [operation.name for operation in ended.operations] == ["before", None]


def test_so_it_does_for_one_that_is_not_decorated() -> None:
    recorder = Recorder()
    response = run_durable_handler(event(), LambdaContext(), runs_by_itself(agent), boto3_client=recorder)
    assert response == {"Status": "PENDING"}


@pytest.mark.parametrize("annotation", ["AsyncDurableContext", AsyncDurableContext, None])
def test_a_decorator_hands_on_what_an_async_function_gives_that_takes_an_asynchronous_context(annotation: Any) -> None:
    async def handler(_event: Any, context: Any) -> str:
        return type(context).__name__

    handler.__annotations__ = {} if annotation is None else {"context": annotation, "return": str}
    assert result(hands_on(handler)) == "AsyncDurableContext"


class Own(DurableContext):
    pass


Alias = DurableContext


@pytest.mark.parametrize(
    "annotation",
    [
        Own,
        OfficialContext,
        DurableContext | None,
        Optional[DurableContext],  # noqa: UP045  as it is written
        "DurableContext | None",
        "perdure.DurableContext",
        Annotated[DurableContext, 1],
        "Alias",
    ],
)
def test_a_plain_context_is_annotated_in_many_ways(annotation: Any) -> None:
    async def body(first: str, context: Any) -> list[str]:
        return [first, type(context).__name__]

    body.__annotations__ = {"context": annotation}
    assert result(runs_by_itself(body)) == ["plain", "DurableContext"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", [{}, {"serdes": DEFAULT_JSON_SERDES}])
def test_a_decorator_that_hands_on_what_an_async_function_with_a_plain_context_gives_is_called_again(
    options: Any, caplog: pytest.LogCaptureFixture
) -> None:
    invocations: list[None] = []

    async def handler(_event: Any, context: DurableContext) -> list[Any]:
        await context.wait(60)  # type: ignore[func-returns-value]
        assert isinstance(context, AsyncDurableContext)
        invocations.append(None)
        return [await context.step(plain)]  # type: ignore[misc]

    decorated = durable_execution(hands_on(handler), **options)
    for _ in range(2):
        with DurableFunctionTestRunner(decorated) as runner:
            assert runner.run().value == ["plain"]
    assert len(invocations) == 2
    assert [record.getMessage().count("Annotate it as AsyncDurableContext") for record in caplog.records] == [1]


@pytest.mark.filterwarnings("error")
def test_one_that_has_called_operations_before_is_told_what_to_annotate() -> None:
    def steps_before(function: Any) -> Any:
        @functools.wraps(function)
        def handler(event: Any, context: Any) -> Any:
            context.step(plain)
            return function(event, context)

        return handler

    error = run(steps_before(agent)).error
    assert "Annotate it as AsyncDurableContext" in error.message


@pytest.mark.filterwarnings("error")
def test_a_coroutine_that_a_body_has_not_awaited_is_told_of_as_such() -> None:
    async def other() -> None: ...

    async def body(_first: str, _context: DurableContext) -> Any:
        return other()

    error = run(runs_by_itself(body)).error
    assert "Annotate" not in error.message
    assert "the handler returned" in error.message


def test_a_decorator_that_finds_a_loop_is_told_what_to_annotate(caplog: pytest.LogCaptureFixture) -> None:
    async def unannotated(_event: Any, _context: Any) -> None: ...

    @functools.wraps(unannotated)
    def decorated(_event: Any, _context: Any) -> None:
        raise RuntimeError("not in a running event loop")

    assert run(decorated).error.message == "not in a running event loop"
    [record] = caplog.records
    assert "annotate the context of the handler as DurableContext" in record.getMessage()


def test_waits_and_steps_beside_each_other() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await asyncio.gather(context.wait(5), context.step(awaited, "a"), context.step(plain, "b"))

    assert result(handler) == [None, "awaited", "plain"]


def test_a_group_of_tasks() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(context.step(awaited))
            group.create_task(context.wait(60))
            second = group.create_task(context.step(plain))
        return [first.result(), second.result()]

    assert result(handler) == ["awaited", "plain"]


def test_child_contexts_batches_and_conditions() -> None:
    async def child(inner: AsyncDurableContext) -> str:
        await inner.wait(10)
        return await inner.step(awaited)

    async def item(inner: AsyncDurableContext, item: int, _index: int, _items: Any) -> int:
        await inner.wait(item)
        return await inner.step(lambda _: item * 2)

    async def check(state: int, _context: Any) -> int:
        await asyncio.sleep(0)
        return state + 1

    def strategy(state: int, _attempt: int) -> WaitForConditionDecision:
        return WaitForConditionDecision.stop_polling() if state > 2 else WaitForConditionDecision.continue_waiting(2)

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        kid = await context.run_in_child_context(child)
        nested = await context.map([1, 2, 3], item, max_concurrency=2)
        flat = await context.map([1, 2, 3], item, nesting_type=NestingType.FLAT)
        both = await context.parallel([child, lambda inner: inner.step(plain)])
        state = await context.wait_for_condition(check, wait_strategy=strategy, initial_state=0)
        return [kid, nested.get_results(), flat.get_results(), both.get_results(), state]

    assert result(handler) == ["awaited", [2, 4, 6], [2, 4, 6], ["awaited", "plain"], 3]


def test_callbacks() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        callback = await context.create_callback("one", timeout=5)
        try:
            await callback.result()
        except CallbackTimeoutError:
            return "late"

    assert result(handler) == "late"


def test_a_failure_is_raised_where_it_is_awaited() -> None:
    def fails(_step: Any) -> None:
        raise ValueError("no")

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        failing = context.step(fails, retry=lambda _error, _attempt: _never())
        await context.wait(1)
        try:
            await failing
        except Exception as error:  # noqa: BLE001  told
            return str(error)

    assert result(handler) == "no"


def _never() -> Any:
    return RetryDecision.no_retry()


def test_an_operation_that_nobody_awaits_is_carried_out() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> str:
        context.step(awaited, "left alone")
        context.wait(100, "waited for")
        return "done"

    ended = run(handler)
    assert ended.value == "done"
    assert {operation.name: operation.status.value for operation in ended.operations} == {
        "left alone": "SUCCEEDED",
        "waited for": "SUCCEEDED",
    }


def test_positions_are_those_of_the_calls() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        second_last = context.step(lambda _: 1, "first")
        later = context.step(lambda _: 2, "second")
        return [await later, await second_last]

    ended = run(handler)
    assert ended.value == [2, 1]
    assert [operation.name for operation in ended.operations] == ["first", "second"]


def test_a_sibling_at_work_is_let_finish() -> None:
    async def slow(_step: Any) -> str:
        await asyncio.sleep(0.05)
        return "slow"

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await asyncio.gather(context.wait(5), context.step(slow, "slow"), asyncio.to_thread(time.sleep, 0.05))

    ended = run(handler)
    assert ended.value == [None, "slow", None]


def test_a_producer_that_is_parked_suspends_who_waits_for_it() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        queue: asyncio.Queue[int] = asyncio.Queue()

        async def produce() -> None:
            await context.wait(3600)
            await queue.put(1)

        task = asyncio.create_task(produce())
        found = await queue.get()
        await task
        return found

    assert result(handler) == 1


def test_a_running_loop_of_the_callers_is_refused_in_words() -> None:
    @durable_execution(boto3_client=Recorder())
    async def handler(_event: Any, _context: Any) -> None:
        """Do nothing."""

    async def caller() -> Any:
        return handler(event(), LambdaContext())  # type: ignore[arg-type]

    output = asyncio.run(caller())
    assert output["Status"] == "FAILED"
    assert "Use `await handler.run(event, context)` there" in output["Error"]["ErrorMessage"]
    with pytest.raises(Exception, match="DurableExecutionArn"):
        handler({}, None)  # type: ignore[arg-type]  # no event of a durable execution
    with pytest.raises(Exception, match="DurableExecutionArn"):
        asyncio.run(handler.run({}, None))  # type: ignore[attr-defined]


def test_where_a_plain_function_runs_can_be_chosen() -> None:
    def here(_step: Any) -> int:
        return threading.get_ident()

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        own = threading.get_ident()
        alone = await context.step(here)
        apart = await context.step(here, in_thread=True)
        beside = await asyncio.gather(context.step(here, in_thread=False), context.step(here))
        return [alone == own, apart == own, beside[0] == own, beside[1] == own]

    assert result(handler) == [True, False, True, False]


def test_branches_that_a_batch_leaves_behind_end_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    async def slow(inner: AsyncDurableContext) -> None:
        await inner.wait(3600)

    async def slow_step(inner: AsyncDurableContext) -> None:
        await inner.step(lambda _: asyncio.sleep(60))

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        policy = CompletionConfig.first_successful()
        ended = await context.parallel([slow, slow_step, lambda inner: inner.step(awaited)], completion_config=policy)
        return [item.status.value for item in ended.all]

    assert result(handler) == ["STARTED", "STARTED", "SUCCEEDED"]
    assert caplog.messages == []


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("from_step", [False, True])
def test_an_interrupt_goes_through(interrupt: type[BaseException], from_step: bool) -> None:
    def interrupted(_step: Any) -> None:
        raise interrupt

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        await (context.step(interrupted) if from_step else asyncio.sleep(0))
        raise interrupt

    state = {"Operations": [EXECUTION], "NextMarker": ""}
    event = {"DurableExecutionArn": ARN, "CheckpointToken": "token", "InitialExecutionState": state}
    with pytest.raises(interrupt):
        durable_execution(handler, boto3_client=object())(event, None)  # type: ignore[arg-type]
    gc.collect()


ARN = "arn:aws:lambda:eu-central-1:123456789012:function:f:1/durable-execution/name/5c1f0a52"
EXECUTION = {
    "Id": "5c1f0a52",
    "Type": "EXECUTION",
    "Status": "STARTED",
    "StartTimestamp": 1,
    "ExecutionDetails": {"InputPayload": "{}"},
}


def test_waiting_for_the_first_of_operations_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        for how in (asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_COMPLETED):
            tasks = [asyncio.ensure_future(context.step(awaited)) for _ in range(2)]
            await asyncio.wait(tasks, return_when=how)
            await asyncio.gather(*tasks)
        sleeping = asyncio.ensure_future(asyncio.sleep(0))
        await asyncio.wait([sleeping], return_when=asyncio.FIRST_COMPLETED)

    assert result(handler) is None
    assert [message.partition(" at ")[0] for message in caplog.messages] == ["asyncio.wait"]
    assert "context.race" in caplog.text


@pytest.mark.skipif(sys.version_info < (3, 13), reason="nobody can tell what as_completed waits for")
def test_so_is_taking_them_as_they_are_completed(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        for _ in range(2):
            for first in asyncio.as_completed([context.step(awaited) for _ in range(3)]):
                await first
            for first in asyncio.as_completed([asyncio.ensure_future(context.step(awaited)) for _ in range(2)]):
                await first
            for first in asyncio.as_completed([context.step(awaited)]):
                await first
            for first in asyncio.as_completed([asyncio.sleep(0), asyncio.sleep(0)]):
                await first

    assert result(handler) is None
    assert [message.partition(" at ")[0] for message in caplog.messages] == ["asyncio.as_completed"] * 2
    assert "context.as_completed" in caplog.text
