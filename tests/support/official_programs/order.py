"""A workflow with every operation, and a run of it on the official test runner."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python import (
    BatchResult,
    DurableContext,
    StepContext,
    durable_execution,
    durable_step,
    durable_with_child_context,
)
from aws_durable_execution_sdk_python.config import (
    CompletionConfig,
    Duration,
    MapConfig,
    ParallelConfig,
    StepConfig,
    StepSemantics,
)
from aws_durable_execution_sdk_python.context import WaitForCallbackContext, durable_wait_for_callback
from aws_durable_execution_sdk_python.exceptions import CallbackError, StepError
from aws_durable_execution_sdk_python.execution import InvocationStatus
from aws_durable_execution_sdk_python.retries import RetryStrategyConfig, create_retry_strategy
from aws_durable_execution_sdk_python.waits import WaitForConditionConfig, WaitForConditionDecision
from aws_durable_execution_sdk_python_testing.runner import (
    ContextOperation,
    DurableFunctionTestResult,
    DurableFunctionTestRunner,
    StepOperation,
    WaitOperation,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

warnings.simplefilter("ignore", DeprecationWarning)
report: dict[str, Any] = {}
attempts: list[int] = []


@durable_step
def charge(step: StepContext, amount: int) -> dict[str, Any]:
    attempts.append(step.attempt)
    if step.attempt == 1:
        raise ConnectionError("the provider is away")
    return {"amount": amount, "attempt": step.attempt}


@durable_with_child_context
def pack(context: DurableContext, item: str) -> str:
    name: str = context.step(lambda _: item.upper(), name="label")
    context.wait(Duration.from_seconds(2), name="dry")
    return f"{name} packed"


@durable_wait_for_callback
def ask(callback_id: str, context: WaitForCallbackContext) -> None:
    context.logger.info("asked")
    report["asked"] = bool(callback_id)


def declined(_: StepContext) -> None:
    raise ValueError("declined")


def poll(state: int, _context: Any) -> int:
    return state + 1


def enough(state: int, _attempt: int) -> WaitForConditionDecision:
    if state >= 3:
        return WaitForConditionDecision.stop_polling()
    return WaitForConditionDecision.continue_waiting(Duration.from_seconds(1))


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    once = StepConfig(
        retry_strategy=create_retry_strategy(
            RetryStrategyConfig(max_attempts=3, initial_delay=Duration.from_seconds(1))
        ),
        step_semantics=StepSemantics.AT_LEAST_ONCE_PER_RETRY,
    )
    payment = context.step(charge(event["amount"]), config=once)
    try:
        context.step(declined, name="declined", config=StepConfig(retry_strategy=lambda *_: no_more()))
        outcome = "accepted"
    except StepError as error:
        outcome = f"{type(error).__name__}: {error.error_type}: {error.message}"
        report["is official"] = error.error_type == "ValueError"
    packed = context.run_in_child_context(pack("cup"), name="pack")
    parcels: BatchResult[str] = context.map(
        ["a", "b", "c"],
        lambda inner, item, index, items: inner.step(lambda _: f"{item}{index}/{len(items)}", name="send"),
        name="parcels",
        config=MapConfig(max_concurrency=1, completion_config=CompletionConfig.all_successful()),
    )
    both: Sequence[int] = context.parallel(
        [lambda inner: inner.step(lambda _: 1), lambda inner: inner.step(lambda _: 2)],
        name="both",
        config=ParallelConfig(max_concurrency=1),
    ).get_results()
    polled = context.wait_for_condition(
        poll, WaitForConditionConfig(wait_strategy=enough, initial_state=0), name="polled"
    )
    try:
        answer = context.wait_for_callback(ask(), name="approval")
    except CallbackError as error:
        answer = f"{type(error).__name__}"
    return {
        "payment": payment,
        "outcome": outcome,
        "packed": packed,
        "parcels": parcels.get_results(),
        "reason": parcels.completion_reason.value,
        "both": list(both),
        "polled": polled,
        "answer": answer,
    }


def no_more() -> Any:
    from aws_durable_execution_sdk_python.retries import RetryDecision

    return RetryDecision.no_retry()


def main() -> None:
    with DurableFunctionTestRunner(handler=handler) as runner:
        arn = runner.run_async(input=json.dumps({"amount": 42}))
        callback = runner.wait_for_callback(arn)
        runner.send_callback_success(callback, b"yes")
        result: DurableFunctionTestResult = runner.wait_for_result(arn)
    report["succeeded"] = result.status is InvocationStatus.SUCCEEDED
    report["result"] = json.loads(result.result or "null")
    step = result.get_step("charge")
    report["step"] = [isinstance(step, StepOperation), step.attempt, step.result]
    context = result.get_context("pack")
    report["context"] = [isinstance(context, ContextOperation), context.get_step("label").result]
    report["wait"] = isinstance(context.get_wait("dry"), WaitOperation)
    report["attempts"] = attempts
    report["types"] = [operation.operation_type.name for operation in result.operations]


main()
print(json.dumps(report, sort_keys=True))
