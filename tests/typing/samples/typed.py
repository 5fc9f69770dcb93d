"""What a type checker makes of results with types of their own."""

from dataclasses import dataclass
from typing import Any, assert_type

from perdure import BatchResult, DurableContext, ItemBatcher, StepContext, durable_step
from perdure.types import WaitForConditionCheckContext
from perdure.waits import WaitForConditionDecision


@dataclass
class Order:
    number: int


@durable_step
def place(step: StepContext, number: int) -> Order:
    return Order(number)


def look(step: StepContext) -> set[Order]:
    return set()


def untyped(*_: Any) -> Any:
    return None


def check(state: Order, context: WaitForConditionCheckContext) -> Order:
    return state


def stop(state: Order, attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


def results(context: DurableContext) -> None:
    assert_type(context.step(place(1)), Order)
    assert_type(context.step(look), set[Order])
    assert_type(context.step(lambda _: Order(1), returns=Order), Order)
    assert_type(context.step(untyped, returns=Order), Order)
    assert_type(context.step(untyped, returns=list[Order]), list[Order])
    assert_type(context.run_in_child_context(untyped, returns=Order), Order)
    assert_type(context.map([1], untyped, returns=Order), BatchResult[Order])
    assert_type(context.map([1], untyped, batcher=ItemBatcher(2), returns=Order), BatchResult[Order])
    assert_type(context.parallel([untyped], returns=Order), BatchResult[Order])
    assert_type(context.wait_for_condition(check, wait_strategy=stop, initial_state=Order(1)), Order)
    assert_type(context.invoke("f", 1, returns=Order), Order)
    assert_type(context.invoke("f", 1, returns=list[Order]), list[Order])
    assert_type(context.create_callback(returns=Order).result(), Order | None)
    assert_type(context.wait_for_callback(untyped, returns=Order), Order)
    assert_type(context.wait_for_callback(untyped, returns=dict[str, int]), dict[str, int])
    with context.saga() as saga:
        assert_type(saga.step(place(1), undo=untyped), Order)
    number: int = context.step(place(1))  # E
    text: str = context.invoke("f", 1, returns=Order)  # E
    wrong: str = context.wait_for_callback(untyped, returns=Order)  # E
    assert number
    assert text
    assert wrong
