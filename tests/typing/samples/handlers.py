"""What a type checker makes of a handler, with the decorator bare and with arguments."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, assert_type

from perdure import Checkpointing, DurableContext, durable_execution, run_durable_handler
from perdure.types import DurableHandler, LambdaContext


@durable_execution
def bare(event: dict[str, int], context: DurableContext) -> int:
    return context.step(lambda _: event["a"])


@durable_execution(boto3_client=object(), deadline_reserve=timedelta(seconds=2), checkpointing=Checkpointing.OPTIMISTIC)
def configured(_event: str, _context: DurableContext) -> None:
    return None


@durable_execution()
def called(_event: Any, _context: DurableContext) -> None:
    return None


assert_type(bare, DurableHandler[int])
assert_type(configured, DurableHandler[None])
assert_type(called, DurableHandler[None])
plain: Callable[[Any, LambdaContext], dict[str, Any]] = bare


def by_hand(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return run_durable_handler(event, context, lambda _event, inner: inner.step(lambda _: 1), deadline_reserve=None)
