"""A suite of tests for a runner, to be run under the official testing package and under ours.

A case is a function of a `Suite`, written as users write their tests; only the imported packages differ.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from aws_durable_execution_sdk_python import state

from support.both_sdks import BY_AN_SDK, OFFICIAL, USER, normal_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.both_sdks import Sdk

CASES: list[Callable[[Suite], Any]] = []


def case(function: Callable[[Suite], Any]) -> Callable[[Suite], Any]:
    CASES.append(function)
    return function


class Suite:
    """What a test-suite imports, from one of the two."""

    def __init__(self, sdk: Sdk, testing: str) -> None:
        self.sdk = sdk
        self.runner_module = importlib.import_module(f"{testing}.runner")
        self.model = importlib.import_module(f"{testing}.model")
        self.exceptions = importlib.import_module(f"{testing}.exceptions")
        self.ErrorObject = sdk.lambda_service.ErrorObject

    def durable(self, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        return self.sdk.top.durable_execution(handler)

    def runner(self, handler: Callable[[Any, Any], Any]) -> Any:
        return self.runner_module.DurableFunctionTestRunner(handler=self.durable(handler), poll_interval=0.01)

    def seconds(self, count: int) -> Any:
        return self.sdk.config.Duration.from_seconds(count)

    def retries(self, attempts: int, delay: int = 5) -> Any:
        decision = self.sdk.retries.RetryDecision

        def strategy(_error: Exception, attempt: int) -> Any:
            return decision.retry(self.seconds(delay)) if attempt < attempts else decision.no_retry()

        return self.sdk.config.StepConfig(retry_strategy=strategy)

    def show(self, result: Any) -> dict[str, Any]:
        return {
            "status": result.status.value,
            "execution_status": result.execution_status.value,
            "result": result.result,
            "error": error_of(result.error),
            "operations": [plain(operation) for operation in result.operations],
            "all": [(operation.name, operation.operation_type.value) for operation in result.get_all_operations()],
        }


def error_of(error: Any) -> Any:
    if error is None:
        return None
    return (normal_message(error.message), error.type, error.data, error.stack_trace)


def plain(operation: Any) -> dict[str, Any]:
    """Give all public fields of an operation, but for moments and ids that are drawn."""
    seen: dict[str, Any] = {"class": type(operation).__name__}
    for field in dataclasses.fields(operation):
        value = getattr(operation, field.name)
        if field.name == "child_operations":
            value = [plain(child) for child in value]
        elif field.name.endswith("_timestamp") or field.name == "callback_id":
            value = value is not None
        elif field.name == "error":
            value = error_of(value)
        elif hasattr(value, "value"):
            value = value.value
        seen[field.name] = value
    return seen


@case
def steps_and_their_results(suite: Suite) -> Any:
    def handler(event: Any, ctx: Any) -> Any:
        one = ctx.step(lambda _: {"n": event["n"], "list": [1, 2.5, None]}, "one")
        two = ctx.step(lambda _: "text", "two")
        return {"one": one, "two": two}

    with suite.runner(handler) as runner:
        result = runner.run(input=json.dumps({"n": 3}))
        assert result.get_step("one").attempt == 1
        assert json.loads(result.result)["two"] == "text"
    return suite.show(result)


@case
def inputs_of_every_kind(suite: Suite) -> Any:
    inputs = [None, "", "{}", "null", "5", '"x"', "[1]", "no json", '{"é": "ü"}']
    with suite.runner(lambda event, _ctx: {"got": event}) as runner:
        return [runner.run(input=given).result for given in inputs]


@case
def a_step_that_is_tried_again(suite: Suite) -> Any:
    calls: list[int] = []

    def flaky(_step: Any) -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError(f"{USER} {len(calls)}")
        return len(calls)

    with suite.runner(lambda _event, ctx: ctx.step(flaky, "flaky", suite.retries(5))) as runner:
        result = runner.run(input="{}")
        assert result.get_step("flaky").attempt == 3
    return suite.show(result)


@case
def a_step_that_gives_up(suite: Suite) -> Any:
    def failing(_step: Any) -> None:
        raise KeyError(f"{USER} lost")

    with suite.runner(lambda _event, ctx: ctx.step(failing, "failing", suite.retries(2))) as runner:
        return suite.show(runner.run(input="{}"))


@case
def a_handler_that_fails(suite: Suite) -> Any:
    def handler(_event: Any, ctx: Any) -> Any:
        ctx.step(lambda _: 1, "before")
        raise ValueError(f"{USER} no")

    with suite.runner(handler) as runner:
        return suite.show(runner.run(input="{}"))


@case
def a_long_wait(suite: Suite) -> Any:
    with suite.runner(lambda _event, ctx: ctx.wait(suite.seconds(3000), "long") or "rested") as runner:
        result = runner.run(input="{}")
        wait = result.get_wait("long")
        assert (wait.scheduled_end_timestamp - wait.start_timestamp).total_seconds() == 3000
        assert wait.end_timestamp >= wait.scheduled_end_timestamp
    return suite.show(result)


@case
def contexts_in_contexts(suite: Suite) -> Any:
    def inner(ctx: Any) -> Any:
        ctx.wait(suite.seconds(5), "pause")
        return ctx.step(lambda _: "deep", "leaf")

    def outer(ctx: Any) -> Any:
        return [ctx.run_in_child_context(inner, "inner"), ctx.step(lambda _: 2, "beside")]

    with suite.runner(lambda _event, ctx: ctx.run_in_child_context(outer, "outer")) as runner:
        result = runner.run(input="{}")
        context = result.get_context("outer").get_context("inner")
        leaf = context.get_step("leaf")
        assert leaf.result == '"deep"'
        assert context.get_wait("pause").parent_id == context.operation_id
    return suite.show(result)


@case
def a_map_and_a_parallel(suite: Suite) -> Any:
    def item(ctx: Any, value: int, _index: int, _all: Any) -> int:
        return ctx.step(lambda _: value * 10, "ten")

    def handler(_event: Any, ctx: Any) -> Any:
        mapped = ctx.map([1, 2, 3], item, "map", suite.sdk.config.MapConfig(max_concurrency=1))
        tolerant = suite.sdk.config.CompletionConfig.all_completed()
        config = suite.sdk.config.ParallelConfig(max_concurrency=1, completion_config=tolerant)
        branches = [lambda ctx: ctx.step(lambda _: "a", "left"), failing]
        batch = ctx.parallel(branches, "parallel", config)
        return {"map": mapped.get_results(), "failed": batch.failure_count}

    def failing(_ctx: Any) -> Any:
        raise ValueError(f"{USER} branch")

    with suite.runner(handler) as runner:
        result = runner.run(input="{}")
        assert result.get_context("map").get_context("map-item-1").get_step("ten").result == "20"
        assert result.get_context("parallel").get_context("parallel-branch-1").error.type == "ValueError"
    return suite.show(result)


@case
def a_callback_that_succeeds(suite: Suite) -> Any:
    with suite.runner(lambda _event, ctx: ctx.create_callback("ask").result()) as runner:
        arn = runner.run_async(input="{}")
        callback_id = runner.wait_for_callback(arn)
        runner.send_callback_success(callback_id, b'{"ok": true}')
        result = runner.wait_for_result(arn)
        assert result.get_callback("ask").callback_id == callback_id
    return suite.show(result)


@case
def a_callback_that_fails(suite: Suite) -> Any:
    with suite.runner(lambda _event, ctx: ctx.create_callback("ask").result()) as runner:
        arn = runner.run_async(input="{}")
        error = suite.ErrorObject(f"{USER} refused", "Refusal", "why", None)
        runner.send_callback_failure(runner.wait_for_callback(arn, name="ask"), error)
        return suite.show(runner.wait_for_result(arn))


@case
def two_callbacks_by_their_names(suite: Suite) -> Any:
    def handler(_event: Any, ctx: Any) -> Any:
        one, two = ctx.create_callback("one"), ctx.create_callback("two")
        return [two.result(), one.result()]

    with suite.runner(handler) as runner:
        arn = runner.run_async(input="{}")
        two, one = (runner.wait_for_callback(arn, name=name) for name in ("two", "one"))
        runner.send_callback_heartbeat(one)
        runner.send_callback_success(one, b"1")
        runner.send_callback_success(two, None)
        return suite.show(runner.wait_for_result(arn))


@case
def waiting_for_a_callback_with_a_submitter(suite: Suite) -> Any:
    sent: list[str] = []

    def handler(_event: Any, ctx: Any) -> Any:
        return ctx.wait_for_callback(lambda callback_id, _context: sent.append(callback_id), "approval")

    with suite.runner(handler) as runner:
        arn = runner.run_async(input="{}")
        callback_id = runner.wait_for_callback(arn, name="approval create callback id")
        runner.send_callback_success(callback_id, b"yes")
        result = runner.wait_for_result(arn)
        assert sent == [callback_id]
        assert result.get_context("approval").get_step("approval submitter").status.value == "SUCCEEDED"
    return suite.show(result)


@case
def a_callback_answered_twice(suite: Suite) -> Any:
    def handler(_event: Any, ctx: Any) -> Any:
        return [ctx.create_callback("one").result(), ctx.create_callback("two").result()]

    with suite.runner(handler) as runner:
        arn = runner.run_async(input="{}")
        callback_id = runner.wait_for_callback(arn, name="one")
        runner.send_callback_success(callback_id, b"1")
        with pytest.raises(suite.exceptions.ResourceNotFoundException) as caught:
            runner.send_callback_success(callback_id, b"2")
        runner.send_callback_success(runner.wait_for_callback(arn, name="two"), b"2")
        return type(caught.value).__name__, suite.show(runner.wait_for_result(arn))


@case
def functions_that_are_invoked(suite: Suite) -> Any:
    def plain_function(payload: Any, _context: Any) -> Any:
        return {"plain": payload}

    def failing(_payload: Any, _context: Any) -> Any:
        raise KeyError(f"{USER} boom")

    def durable(event: Any, ctx: Any) -> Any:
        ctx.wait(suite.seconds(50))
        return {"durable": event}

    def caught(invoke: Callable[[], Any]) -> Any:
        try:
            return invoke()
        except suite.sdk.exceptions.InvokeError as error:
            return [error.error_type, normal_message(error.message)]

    def handler(_event: Any, ctx: Any) -> Any:
        return [
            ctx.invoke("plain", {"x": 1}, "i1"),
            ctx.invoke("durable", {"x": 2}, "i2"),
            caught(lambda: ctx.invoke("failing", {}, "i3")),
        ]

    with suite.runner(handler) as runner:
        runner.register_function("plain", plain_function).register_function("failing", failing)
        assert runner.register_durable_function("durable", suite.durable(durable)) is runner
        result = runner.run(input="{}")
        assert result.get_invoke("i2").status.value == "SUCCEEDED"
    return suite.show(result)


@case
def a_function_nobody_registered(suite: Suite) -> Any:
    with suite.runner(lambda _event, ctx: ctx.invoke("nobody", {}, "call")) as runner:
        shown = suite.show(runner.run(input="{}"))
    # The message names the runner's own methods.
    assert shown["error"][0].startswith("Function not found: nobody")
    shown["error"] = shown["operations"][0]["error"] = BY_AN_SDK
    return shown


@case
def a_condition_that_is_polled_for(suite: Suite) -> Any:
    waits = suite.sdk.waits

    def strategy(current: int, _attempt: int) -> Any:
        decision = waits.WaitForConditionDecision
        return decision.stop_polling() if current >= 3 else decision.continue_waiting(suite.seconds(7))

    def handler(_event: Any, ctx: Any) -> Any:
        config = waits.WaitForConditionConfig(wait_strategy=strategy, initial_state=0)
        return ctx.wait_for_condition(lambda current, _check: current + 1, config, "poll")

    with suite.runner(handler) as runner:
        result = runner.run(input="{}")
        assert result.get_step("poll").attempt == 3
    return suite.show(result)


@case
def a_function_of_a_child_context_by_itself(suite: Suite) -> Any:
    def add(ctx: Any, left: int, right: int = 2) -> int:
        return ctx.step(lambda _: left + right, "add")

    block = suite.sdk.top.durable_with_child_context(add)
    with suite.runner_module.DurableChildContextTestRunner(block, 1, right=5) as runner:
        return suite.show(runner.run(input="{}"))


@case
def names_that_are_not_there(suite: Suite) -> Any:
    with suite.runner(lambda _event, ctx: ctx.run_in_child_context(lambda _inner: 1, "child")) as runner:
        result = runner.run(input="{}")
    raised = []
    for look in (result.get_step, result.get_context("child").get_step, result.get_invoke, result.get_execution):
        with pytest.raises(suite.exceptions.DurableFunctionsTestError):
            look("missing")
        raised.append(look.__name__)
    return raised


@case
def executions_that_are_not_there(suite: Suite) -> Any:
    raised = []
    with suite.runner(lambda _event, _ctx: 1) as runner:
        looks = [
            lambda: runner.wait_for_result("nobody"),
            lambda: runner.get_execution_history("nobody"),
            lambda: runner.pause_execution("nobody"),
            lambda: runner.resume_execution("nobody"),
            lambda: runner.send_callback_success("nobody", b""),
        ]
        for look in looks:
            with pytest.raises(suite.exceptions.ResourceNotFoundException):
                look()
            raised.append(1)
    return raised


@case
def the_history_of_an_execution(suite: Suite) -> Any:
    def handler(_event: Any, ctx: Any) -> Any:
        ctx.step(lambda _: 1, "one")
        ctx.wait(suite.seconds(10), "rest")
        return ctx.run_in_child_context(lambda inner: inner.step(lambda _: 2, "two"), "child")

    with suite.runner(handler) as runner:
        arn = runner.run_async(input='{"a": 1}')
        runner.wait_for_result(arn)
        with_data = runner.get_execution_history(arn, include_execution_data=True).events
        without = runner.get_execution_history(arn).events
    shown = [(event.event_type, event.name, event.sub_type, event.event_id) for event in with_data]
    assert [event.event_type for event in without] == [event.event_type for event in with_data]
    steps = [event.step_succeeded_details for event in with_data if event.event_type == "StepSucceeded"]
    hidden = [event.step_succeeded_details for event in without if event.event_type == "StepSucceeded"]
    return (
        shown,
        [(details.result.payload, details.result.truncated) for details in steps + hidden],
        [event.wait_started_details.duration for event in with_data if event.wait_started_details],
        [event.execution_started_details.input.payload for event in with_data if event.execution_started_details],
    )


@case
def a_pause_and_a_resume(suite: Suite) -> Any:
    def handler(_event: Any, ctx: Any) -> Any:
        return ctx.create_callback("ask").result()

    with suite.runner(handler) as runner:
        arn = runner.run_async(input="{}")
        callback_id = runner.wait_for_callback(arn)
        runner.pause_execution(arn)
        runner.pause_execution(arn)
        runner.send_callback_success(callback_id, b"x")
        runner.resume_execution(arn)
        runner.resume_execution(arn)
        result = runner.wait_for_result(arn)
        runner.pause_execution(arn)
    return suite.show(result)


def run_all(sdk: Sdk, testing: str) -> dict[str, Any]:
    """Run every case; gives what it shows, or how it failed, as JSON has it."""
    shown: dict[str, Any] = {}
    for body in CASES:
        try:
            shown[body.__name__] = json.loads(json.dumps(body(Suite(sdk, testing))))
        except BaseException as error:  # noqa: BLE001 - to be seen by the test
            shown[body.__name__] = f"raised {error!r}"
    return shown


def main() -> None:
    """Run the cases under the official package, in a process that may leave behind what it likes."""
    state._STOP_SIGNAL_POLL_SECONDS = 0.001  # so that the official SDK's batcher notices its end at once
    logging.disable(logging.CRITICAL)
    sys.stdout.write(json.dumps(run_all(OFFICIAL, "aws_durable_execution_sdk_python_testing")))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
