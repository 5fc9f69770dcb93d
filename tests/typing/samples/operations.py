"""What a type checker makes of the operations."""

import logging
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, assert_type

from perdure import (
    AsyncDurableContext,
    BatchResult,
    DurableContext,
    ItemBatcher,
    ParallelBranch,
    StepContext,
    WithRetryConfig,
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
    durable_with_child_context,
    with_retry,
)
from perdure.concurrency.models import BatchItem
from perdure.config import (
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    Duration,
    MapConfig,
    ParallelConfig,
    StepConfig,
    StepSemantics,
    WaitForCallbackConfig,
)
from perdure.context import Callback
from perdure.lambda_service import ErrorObject
from perdure.retries import RetryDecision, RetryPresets
from perdure.types import ContextLogger, LoggerInterface, WaitForCallbackContext, WaitForConditionCheckContext
from perdure.waits import WaitForConditionConfig, WaitStrategyConfig, create_wait_strategy


@durable_step
def add(step: StepContext, a: int, b: int) -> int:
    assert_type(step.attempt, int)
    assert_type(step.logger, ContextLogger)
    return a + b


@durable_with_child_context
def book(context: DurableContext, order: str, *, express: bool = False) -> list[str]:
    return [context.step(lambda _: order), str(express)]


@durable_wait_for_callback
def ask(callback_id: str, context: WaitForCallbackContext, person: str) -> None:
    context.logger.info("%s %s", callback_id, person)


@durable_parallel_branch()
def fetch(context: DurableContext, key: str) -> bytes:
    return context.step(lambda _: key.encode())


def plain(step: StepContext) -> dict[str, int]:
    return {"attempt": step.attempt}


def double(context: DurableContext, item: int, index: int, items: Sequence[int]) -> str:
    return context.step(lambda _: f"{item * 2} {index} {len(items)}")


def poll(state: int, check: WaitForConditionCheckContext) -> int:
    return state + check.attempt


def steps(context: DurableContext) -> None:
    assert_type(context.step(add(1, 2)), int)
    assert_type(context.step(add(a=1, b=2), name="sum"), int)
    assert_type(context.step(plain), dict[str, int])
    assert_type(context.step(lambda _: "x"), str)
    assert_type(context.step(plain, config=StepConfig(retry_strategy=RetryPresets.none())), dict[str, int])
    assert_type(
        context.step(plain, retry=RetryPresets.none(), step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY),
        dict[str, int],
    )
    assert_type(RetryPresets.critical(), Callable[[Exception, int], RetryDecision])


def bounded_steps(context: DurableContext) -> None:
    assert_type(context.step(add(1, 2), timeout=0.5, retry_if=lambda error: str(error) == "again"), int)
    assert_type(context.step(add(1, 2), timeout=timedelta(minutes=1), retryable_errors=(OSError, "again")), int)
    assert_type(context.step(add(1, 2), timeout=Duration(30), retryable_errors=TimeoutError), int)
    config = StepConfig(timeout=30, retry_if=lambda error: "5" in str(error), retryable_errors=[re.compile("5..")])
    assert_type(context.step(add(1, 2), config=config), int)


def waits(context: DurableContext) -> None:
    context.wait(5)
    context.wait(timedelta(minutes=1), name="pause")
    context.wait(duration=Duration.from_hours(1))
    check = create_wait_strategy(WaitStrategyConfig[int](lambda state: state < 3, initial_delay=1))
    assert_type(context.wait_for_condition(poll, WaitForConditionConfig(check, 0)), int)
    assert_type(context.wait_for_condition(poll, wait_strategy=check, initial_state=0), int)


def callbacks(context: DurableContext) -> None:
    callback = context.create_callback("reply", timeout=timedelta(days=1))
    assert_type(callback, Callback[Any])
    assert_type(callback.callback_id, str)
    assert_type(context.create_callback(config=CallbackConfig(timeout=Duration(5))), Callback[Any])
    assert_type(context.wait_for_callback(ask("Ada"), timeout=60), Any)
    assert_type(context.wait_for_callback(ask("Ada"), config=WaitForCallbackConfig(timeout=Duration(5))), Any)
    assert_type(context.invoke("other:1", {"a": 1}), Any)


def contexts(context: DurableContext) -> None:
    assert_type(context.run_in_child_context(book("A-1", express=True)), list[str])
    assert_type(context.run_in_child_context(lambda inner: inner.step(add(1, 2))), int)
    assert_type(context.run_in_child_context(book("A-1"), config=ChildConfig(is_virtual=True)), list[str])
    assert_type(with_retry(context, lambda inner, _: inner.step(add(1, 2)), WithRetryConfig()), int)
    assert_type(with_retry(context, func=sum_up, config=WithRetryConfig(), name="sum"), int)
    with_retry(5, sum_up, WithRetryConfig())  # E


async def awaited_contexts(context: AsyncDurableContext) -> None:
    assert_type(await with_retry(context, await_sum, WithRetryConfig()), int)


def sum_up(inner: DurableContext, attempt: int) -> int:
    return inner.step(add(1, attempt))


async def await_sum(inner: AsyncDurableContext, attempt: int) -> int:
    return await inner.step(add(1, attempt))


def shout(inner: DurableContext, item: str, index: int, items: list[str]) -> str:
    return inner.step(lambda _: f"{item.upper()} of {len(items)}", name=f"shout-{index}")


def batches_as_they_are_often_written(context: DurableContext, words: list[str]) -> None:
    config = MapConfig(max_concurrency=5, summary_generator=lambda result: f"{result.success_count} words")
    assert_type(context.map(words, shout, name="shout", config=config), BatchResult[str])
    child = ChildConfig(is_virtual=True)
    assert_type(context.run_in_child_context(book("A-1"), config=child), list[str])


def batches(context: DurableContext) -> None:
    batch = context.map([1, 2], double, max_concurrency=2, completion_config=CompletionConfig.all_completed())
    assert_type(batch, BatchResult[str])
    assert_type(batch.get_results(), list[str])
    assert_type(batch.all, list[BatchItem[str]])
    assert_type(batch.get_errors(), list[ErrorObject | None])
    assert_type(context.map([1], double, config=MapConfig(item_namer=lambda item, _: str(item))), BatchResult[str])
    assert_type(context.parallel([fetch("a"), fetch("b")]), BatchResult[bytes])
    assert_type(context.parallel([ParallelBranch(book("a"), "a")], config=ParallelConfig()), BatchResult[list[str]])
    functions: list[Callable[[DurableContext], int]] = [lambda inner: inner.step(add(1, 2))]
    assert_type(context.parallel(functions), BatchResult[int])


def surroundings(context: DurableContext) -> None:
    assert_type(context.logger, ContextLogger)
    interface: LoggerInterface = context.logger
    interface.error("x", extra={"customer": 1})
    context.logger.error("x", stack_info=True, customer=1)
    context.set_logger(logging.getLogger())
    assert_type(context.is_replaying(), bool)
    assert_type(context.lambda_context.get_remaining_time_in_millis(), int)
    assert_type(context.execution_context.durable_execution_arn, str)


def built_on_them(context: DurableContext, items: list[int]) -> None:
    def number(_inner: DurableContext) -> int:
        return 1

    def text(_inner: DurableContext) -> str:
        return ""

    def cancel(_step: StepContext, booking: int) -> None: ...

    def lists(_inner: DurableContext, batch: list[int], _index: int, _items: Sequence[int]) -> list[str]:
        return [str(item) for item in batch]

    assert_type(context.all((number, text)), tuple[int, str])
    assert_type(context.all((number, text, number)), tuple[int, str, int])
    assert_type(context.all([number, number]), list[int])
    assert_type(context.any([number, number]), int)
    assert_type(context.race([text, text]), str)
    assert_type(context.all_settled([text]), list[BatchItem[str]])
    with context.saga("trip") as saga:
        assert_type(saga.step(add(1, 2), undo=cancel), int)
    with context.finally_(cancel, 1):
        pass
    assert_type(context.map(items, lists, batcher=ItemBatcher(10)), BatchResult[str])
    assert_type(context.map(items, lists, batcher=ItemBatcher(10), per_batch=True), BatchResult[list[str]])
    context.map(items, lists)  # E
