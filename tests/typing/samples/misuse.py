"""What a type checker must refuse: each line that ends in `E` is an error, and no other line is."""

from collections.abc import Sequence

from perdure import (
    DurableContext,
    StepContext,
    durable_execution,
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
    durable_with_child_context,
)
from perdure.config import CompletionConfig, StepConfig
from perdure.types import WaitForCallbackContext, WaitForConditionCheckContext


@durable_step
def add(_step: StepContext, a: int, b: int) -> int:
    return a + b


@durable_with_child_context
def book(_context: DurableContext, order: str) -> str:
    return order


@durable_wait_for_callback
def ask(_callback_id: str, _context: WaitForCallbackContext, _person: str) -> None:
    return None


@durable_parallel_branch(name="fetch")
def fetch(_context: DurableContext, key: str) -> bytes:
    return key.encode()


def double(_context: DurableContext, item: int, _index: int, _items: Sequence[int]) -> int:
    return item * 2


def poll(state: int, _check: WaitForConditionCheckContext) -> int:
    return state


@durable_step  # E
def no_step_context() -> int:
    return 1


@durable_execution  # E
def no_context(event: str) -> str:
    return event


def steps(context: DurableContext) -> None:
    add("1", 2)  # E
    add(1)  # E
    add(1, 2, 3)  # E
    add(1, c=2)  # E
    context.step(add)  # E
    context.step(lambda: 1)  # E
    context.step(3)  # E
    context.step(add(1, 2), name=3)  # E
    context.step(add(1, 2), heartbeat=3)  # E
    context.step(add(1, 2), timeout="3 s")  # E
    context.step(add(1, 2), retry_if=add)  # E
    context.step(add(1, 2), retryable_errors=(int,))  # E
    StepConfig(timeout="3 s")  # E
    context.step(add(1, 2), config=CompletionConfig())  # E
    total: str = context.step(add(1, 2))  # E
    del total


def modes() -> None:
    durable_execution(checkpointing="EAGER")  # E
    durable_execution(checkpointing=None)  # E


def others(context: DurableContext) -> None:
    book(1)  # E
    ask(1)  # E
    fetch(1)  # E
    context.run_in_child_context(add(1, 2))  # E
    context.run_in_child_context(book("A-1"), config=StepConfig())  # E
    context.wait("1 hour")  # E
    context.wait_for_callback(add(1, 2))  # E
    context.create_callback(timeout="1 hour")  # E
    context.wait_for_condition(poll)  # E
    context.map(["a"], double)  # E
    context.map([1], double, max_concurrency="2")  # E
    context.parallel([add(1, 2)])  # E
    context.parallel(fetch("a"))  # E
