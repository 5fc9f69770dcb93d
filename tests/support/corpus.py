"""Handlers written with perdure alone, for oracles that live in another process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import BatchResult, DurableContext, StepError, durable_execution
from perdure.config import (
    CallbackConfig,
    CompletionConfig,
    Duration,
    MapConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
    StepSemantics,
)
from perdure.exceptions import CallbackError, InvokeError
from perdure.retries import RetryDecision
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision

if TYPE_CHECKING:
    from collections.abc import Callable

HANDLERS: dict[str, Callable[[Any, Any], Any]] = {}
ANSWERS: dict[str, list[tuple[str, str, bytes]]] = {}
"""What the outside does with the callbacks of a handler: (name, success or failure, content), in order."""


def handler(*answers: tuple[str, str, bytes]) -> Callable[[Callable[[Any, DurableContext], Any]], Any]:
    def add(function: Callable[[Any, DurableContext], Any]) -> Any:
        HANDLERS[function.__name__] = durable_execution(function)
        ANSWERS[function.__name__] = list(answers)
        return function

    return add


def seconds(count: int) -> Duration:
    return Duration.from_seconds(count)


def thrice(_error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision.retry(seconds(2)) if attempt < 3 else RetryDecision.no_retry()


def flaky(successful_attempt: int) -> Callable[[Any], int]:
    def body(step: Any) -> int:
        if step.attempt < successful_attempt:
            raise ValueError(f"attempt {step.attempt}")
        return int(step.attempt)

    return body


def refuse(*_args: Any) -> Any:
    raise ValueError("refused")


@handler()
def steps(event: Any, ctx: DurableContext) -> Any:
    return [ctx.step(lambda _: event["n"] + 1, "one"), ctx.step(lambda _: None), ctx.step(lambda _: "ü" * 3, "three")]


@handler()
def a_retried_step(_event: Any, ctx: DurableContext) -> Any:
    return ctx.step(flaky(3), "flaky", StepConfig(retry_strategy=thrice))


@handler()
def a_failed_step(_event: Any, ctx: DurableContext) -> Any:
    try:
        ctx.step(refuse, "refused", StepConfig(retry_strategy=thrice))
    except StepError as error:
        return [error.error_type, error.message]
    return None


@handler()
def a_step_at_most_once(_event: Any, ctx: DurableContext) -> Any:
    config = StepConfig(retry_strategy=thrice, step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)
    return ctx.step(flaky(2), "once", config)


@handler()
def a_handler_that_fails(_event: Any, ctx: DurableContext) -> Any:
    ctx.step(lambda _: 1, "before")
    return ctx.step(refuse, "refused", StepConfig(retry_strategy=lambda _e, _a: RetryDecision.no_retry()))


@handler()
def waits(_event: Any, ctx: DurableContext) -> Any:
    ctx.wait(Duration.from_hours(30), "long")
    ctx.wait(seconds(1))
    return "rested"


@handler(("ask", "success", b"yes"))
def a_callback(_event: Any, ctx: DurableContext) -> Any:
    callback = ctx.create_callback("ask", CallbackConfig(timeout=seconds(600)))
    ctx.step(lambda _: 1, "between")
    return callback.result()


@handler(("ask", "failure", b"no"))
def a_refused_callback(_event: Any, ctx: DurableContext) -> Any:
    try:
        return ctx.create_callback("ask").result()
    except CallbackError as error:
        return [type(error).__name__, error.message]


@handler(("ask create callback id", "success", b"yes"))
def a_wait_for_callback(_event: Any, ctx: DurableContext) -> Any:
    return ctx.wait_for_callback(lambda _key, _context: None, "ask")


@handler()
def child_contexts(_event: Any, ctx: DurableContext) -> Any:
    def outer(inner: DurableContext) -> Any:
        inner.wait(seconds(3))
        return inner.run_in_child_context(lambda deep: deep.step(lambda _: "deep", "s"), "inner")

    return ctx.run_in_child_context(outer, "outer")


@handler()
def a_failed_child(_event: Any, ctx: DurableContext) -> Any:
    return ctx.run_in_child_context(refuse, "refused")


@handler()
def a_large_child(_event: Any, ctx: DurableContext) -> Any:
    value = ctx.run_in_child_context(lambda inner: inner.step(lambda _: "x" * 150_000, "half") * 2, "large")
    ctx.wait(seconds(1))
    return len(value)


def _facts(batch: BatchResult[Any]) -> Any:
    return [batch.get_results(), batch.failure_count, batch.completion_reason.value, batch.status.value]


@handler()
def a_map(_event: Any, ctx: DurableContext) -> Any:
    def item(inner: DurableContext, value: int, _index: int, _items: Any) -> int:
        inner.wait(seconds(value))
        return inner.step(lambda _: value * value, "square")

    return _facts(ctx.map([1, 2, 3], item, "squares", MapConfig(max_concurrency=2)))


@handler()
def a_map_that_fails_early(_event: Any, ctx: DurableContext) -> Any:
    def item(_inner: DurableContext, value: int, _index: int, _items: Any) -> int:
        return refuse() if value == 2 else value

    return _facts(ctx.map([1, 2, 3], item, "early", MapConfig(max_concurrency=1)))


@handler()
def a_flat_map(_event: Any, ctx: DurableContext) -> Any:
    def item(inner: DurableContext, value: int, _index: int, _items: Any) -> int:
        return inner.step(lambda _: value, "s")

    return _facts(ctx.map([1, 2], item, "flat", MapConfig(nesting_type=NestingType.FLAT)))


@handler()
def a_parallel(_event: Any, ctx: DurableContext) -> Any:
    config = ParallelConfig(completion_config=CompletionConfig.all_completed())
    branches = [lambda c: c.step(flaky(2), "f", StepConfig(retry_strategy=thrice)), refuse, lambda _: "plain"]
    return _facts(ctx.parallel(branches, "both", config))


@handler()
def a_condition(_event: Any, ctx: DurableContext) -> Any:
    def strategy(state: int, _attempt: int) -> WaitForConditionDecision:
        if state >= 3:
            return WaitForConditionDecision.stop_polling()
        return WaitForConditionDecision.continue_waiting(seconds(20))

    return ctx.wait_for_condition(lambda state, _: state + 1, WaitForConditionConfig(strategy, 0), "poll")


@handler()
def invokes(_event: Any, ctx: DurableContext) -> Any:
    good = ctx.invoke("double", 21, "good")
    try:
        ctx.invoke("breaks", 1, "bad")
    except InvokeError as error:
        return [good, error.message]
    return None


def double(event: Any, _context: Any) -> Any:
    return event * 2


def breaks(_event: Any, _context: Any) -> Any:
    raise OSError("down")
