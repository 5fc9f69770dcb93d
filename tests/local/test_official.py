"""Handlers of the official SDK, end to end on the local service: what it accepts, a second SDK must find accepted."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aws_durable_execution_sdk_python import durable_execution, state
from aws_durable_execution_sdk_python.config import (
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    Duration,
    MapConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
    StepSemantics,
)
from aws_durable_execution_sdk_python.exceptions import CallbackError, InvokeError, StepError
from aws_durable_execution_sdk_python.retries import RetryDecision, RetryPresets
from aws_durable_execution_sdk_python.waits import WaitForConditionConfig, WaitForConditionDecision

from perdure.local import InvocationCut, LocalService
from perdure.local.machine.clock import DEFAULT_START
from support.official import official_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local import ExecutionHandle

NEVER = StepConfig(retry_strategy=RetryPresets.none())


@pytest.fixture(autouse=True)
def _swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the official SDK's batcher notice its end at once, and keep its log out of the report."""
    monkeypatch.setattr(state, "_STOP_SIGNAL_POLL_SECONDS", 0.001)
    logging.getLogger("aws_durable_execution_sdk_python").setLevel(logging.CRITICAL)


def prepared(handler: Callable[[Any, Any], Any], service: LocalService | None = None) -> ExecutionHandle:
    service = service or LocalService()
    service.register("f", official_handler(durable_execution(handler)))
    return service.start("f", event={"n": 1})


def finished(handler: Callable[[Any, Any], Any], service: LocalService | None = None) -> ExecutionHandle:
    handle = prepared(handler, service).drive()
    assert handle.status == "SUCCEEDED", handle.error
    return handle


def kinds(handle: ExecutionHandle) -> list[tuple[Any, ...]]:
    return [(o["SubType"], o.get("Name"), o["Status"]) for o in handle.operations]


def later(_error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision.retry(Duration.from_seconds(10)) if attempt < 3 else RetryDecision.no_retry()


class Flaky:
    """A body that fails a number of times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self, _context: Any) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise ValueError(f"call {self.calls}")
        return self.calls


def test_steps() -> None:
    handle = finished(lambda event, ctx: ctx.step(lambda _: event["n"] + 1, "one") + ctx.step(lambda _: 40, "two"))
    assert handle.value == 42
    assert kinds(handle) == [("Step", "one", "SUCCEEDED"), ("Step", "two", "SUCCEEDED")]
    assert len(handle.invocations) == 1


def test_a_retried_step() -> None:
    body = Flaky(2)
    handle = finished(lambda _event, ctx: ctx.step(body, "flaky", StepConfig(retry_strategy=later)))
    assert (handle.value, body.calls, len(handle.invocations)) == (3, 3, 3)
    assert handle.operation("flaky")["StepDetails"] == {"Attempt": 3, "Result": "3"}
    assert handle.service.clock.now() == DEFAULT_START + timedelta(seconds=20)


def test_a_step_that_gives_up() -> None:
    def handler(_event: Any, ctx: Any) -> Any:
        try:
            return ctx.step(Flaky(9), "flaky", NEVER)
        except StepError as error:
            return [error.error_type, error.message]

    handle = finished(handler)
    assert handle.value[1] == "call 1"
    assert handle.operation("flaky")["Status"] == "FAILED"


def test_a_handler_that_fails() -> None:
    def handler(_event: Any, ctx: Any) -> Any:
        ctx.step(lambda _: 1)
        raise KeyError("lost")

    handle = prepared(handler).drive()
    assert handle.status == "FAILED"
    assert handle.error == {"ErrorMessage": "'lost'", "ErrorType": "KeyError"}


def test_a_wait() -> None:
    handle = finished(lambda _event, ctx: ctx.wait(Duration.from_hours(5), "long") or "rested")
    assert (handle.value, len(handle.invocations)) == ("rested", 2)
    assert handle.service.clock.now() == DEFAULT_START + timedelta(hours=5)


def test_a_callback_and_its_answer() -> None:
    def handler(_event: Any, ctx: Any) -> Any:
        callback = ctx.create_callback("ask")
        ctx.step(lambda _: seen.append(callback.callback_id))
        return callback.result()

    seen: list[str] = []
    handle = prepared(handler).drive()
    assert seen == [handle.callback_id("ask")]
    handle.service.client.send_durable_execution_callback_success(CallbackId=seen[0], Result=b"fine")
    assert handle.drive().value == "fine"


@pytest.mark.parametrize(("timeout", "heartbeat", "kind"), [(30, 0, "Timeout"), (90, 20, "Heartbeat")])
def test_a_callback_nobody_answers(timeout: int, heartbeat: int, kind: str) -> None:
    def handler(_event: Any, ctx: Any) -> Any:
        config = CallbackConfig(Duration.from_seconds(timeout), Duration.from_seconds(heartbeat))
        try:
            return ctx.create_callback("ask", config).result()
        except CallbackError as error:
            return str(error)

    handle = finished(handler)
    operation = handle.operation("ask")
    assert operation["CallbackDetails"]["Error"]["ErrorType"] == f"Callback.{kind}"
    assert operation["CallbackDetails"]["Error"]["ErrorMessage"] in handle.value


def test_a_refused_callback() -> None:
    def handler(_event: Any, ctx: Any) -> Any:
        try:
            return ctx.create_callback("ask").result()
        except CallbackError as error:
            return str(error)

    handle = prepared(handler).drive()
    handle.service.client.send_durable_execution_callback_failure(
        CallbackId=handle.callback_id(), Error={"ErrorMessage": "refused", "ErrorType": "No"}
    )
    assert "refused" in handle.drive().value


def test_wait_for_callback_answered_by_its_submitter() -> None:
    def handler(_event: Any, ctx: Any) -> Any:
        return ctx.wait_for_callback(
            lambda key, _: service.client.send_durable_execution_callback_success(CallbackId=key, Result=b"yes"), "ok"
        )

    service = LocalService()
    handle = finished(handler, service)
    assert handle.value == "yes"
    assert kinds(handle) == [
        ("WaitForCallback", "ok", "SUCCEEDED"),
        ("Callback", "ok create callback id", "SUCCEEDED"),
        ("Step", "ok submitter", "SUCCEEDED"),
    ]


def test_wait_for_callback_blocks_by_its_own_name() -> None:
    handle = prepared(lambda _event, ctx: ctx.wait_for_callback(lambda _key, _: None, "ok")).drive()
    handle.service.client.send_durable_execution_callback_success(CallbackId=handle.callback_id("ok"), Result=b"yes")
    assert handle.drive().value == "yes"


def test_an_invoke_of_a_plain_function() -> None:
    service = LocalService().register("double", lambda event, _context: event * 2, durable=False)
    assert finished(lambda _event, ctx: ctx.invoke("double", 21, "call"), service).value == 42


def test_an_invoke_of_a_durable_function() -> None:
    @durable_execution
    def child(event: Any, ctx: Any) -> Any:
        ctx.wait(Duration.from_seconds(30))
        return ctx.step(lambda _: event["x"] + 1)

    service = LocalService().register("child", official_handler(child))
    handle = finished(lambda _event, ctx: ctx.invoke("child", {"x": 1}, "call"), service)
    assert handle.value == 2
    assert handle.operation("call")["ChainedInvokeDetails"] == {"Result": "2"}


@pytest.mark.parametrize("function", ["nobody", "breaks"])
def test_an_invoke_that_fails(function: str) -> None:
    def breaks(_event: Any, _context: Any) -> Any:
        raise OSError("down")

    def handler(_event: Any, ctx: Any) -> Any:
        try:
            return ctx.invoke(function, None)
        except InvokeError as error:
            return error.error_type

    service = LocalService().register("breaks", breaks, durable=False)
    assert finished(handler, service).value == ("ResourceNotFoundException" if function == "nobody" else "OSError")


def test_a_child_context() -> None:
    def handler(_event: Any, ctx: Any) -> Any:
        def child(inner: Any) -> Any:
            inner.wait(Duration.from_seconds(5))
            return inner.step(lambda _: "deep", "inner")

        return ctx.run_in_child_context(child, "child")

    handle = finished(handler)
    assert handle.value == "deep"
    assert handle.operation("inner")["ParentId"] == handle.operation("child")["Id"]


def test_a_child_context_with_a_large_result_replays_its_children() -> None:
    def handler(_event: Any, ctx: Any) -> Any:
        config = ChildConfig(summary_generator=lambda _result: "short")
        size = len(ctx.run_in_child_context(lambda inner: inner.step(lambda _: "x" * 200_000) * 2, "child", config))
        ctx.wait(Duration.from_seconds(5))
        return size

    handle = finished(handler)
    assert handle.value == 400_000
    assert handle.operation("child")["ContextDetails"] == {"Result": "short", "ReplayChildren": True}


def test_a_map_with_waits_and_a_bound() -> None:
    def item(ctx: Any, value: int, _index: int, _items: Any) -> int:
        ctx.wait(Duration.from_seconds(10 * value))
        return int(ctx.step(lambda _: value * value))

    def handler(_event: Any, ctx: Any) -> Any:
        return ctx.map([1, 2, 3], item, "all", MapConfig(max_concurrency=2)).get_results()

    handle = finished(handler)
    assert handle.value == [1, 4, 9]
    assert {o.get("Name") for o in handle.operations} >= {"all", "map-item-0", "map-item-1", "map-item-2"}


def test_a_map_that_tolerates_failures() -> None:
    def item(ctx: Any, value: int, _index: int, _items: Any) -> int:
        if value == 2:
            raise ValueError(value)
        return value

    def handler(_event: Any, ctx: Any) -> Any:
        config = MapConfig(max_concurrency=1, completion_config=CompletionConfig(tolerated_failure_count=1))
        batch = ctx.map([1, 2, 3], item, "all", config)
        return [batch.success_count, batch.failure_count, batch.completion_reason.value]

    assert finished(handler).value == [2, 1, "ALL_COMPLETED"]


@pytest.mark.parametrize("nesting", list(NestingType))
def test_a_parallel(nesting: NestingType) -> None:
    def handler(_event: Any, ctx: Any) -> Any:
        branches = [lambda c: c.step(lambda _: "a"), lambda c: c.wait(Duration.from_seconds(60)) or "b"]
        return ctx.parallel(branches, "both", ParallelConfig(nesting_type=nesting)).get_results()

    handle = finished(handler)
    assert handle.value == ["a", "b"]
    assert ("ParallelBranch" in {o["SubType"] for o in handle.operations}) is (nesting is NestingType.NESTED)


def test_a_parallel_that_is_content_with_one() -> None:
    def handler(_event: Any, ctx: Any) -> Any:
        config = ParallelConfig(max_concurrency=1, completion_config=CompletionConfig(min_successful=1))
        batch = ctx.parallel([lambda _: "a", lambda _: "b"], "any", config)
        ctx.wait(Duration.from_seconds(1))
        return [batch.get_results(), batch.completion_reason.value]

    assert finished(handler).value == [["a"], "MIN_SUCCESSFUL_REACHED"]


def test_wait_for_condition() -> None:
    def decide(value: int, _attempt: int) -> WaitForConditionDecision:
        if value >= 3:
            return WaitForConditionDecision.stop_polling()
        return WaitForConditionDecision.continue_waiting(Duration.from_seconds(30))

    def handler(_event: Any, ctx: Any) -> Any:
        config = WaitForConditionConfig(wait_strategy=decide, initial_state=0)
        return ctx.wait_for_condition(lambda value, _: value + 1, config, "poll")

    handle = finished(handler)
    assert (handle.value, len(handle.invocations)) == (3, 3)
    assert handle.operation("poll")["StepDetails"] == {"Attempt": 3, "Result": "3"}
    assert handle.service.clock.now() == DEFAULT_START + timedelta(seconds=60)


def test_a_large_result_of_the_handler() -> None:
    handle = finished(lambda _event, _ctx: "x" * (6 * 1024 * 1024 - 40))
    assert handle.invocations[0].output == {"Status": "SUCCEEDED", "Result": ""}
    assert len(handle.value) == 6 * 1024 * 1024 - 40


def everything(event: Any, ctx: Any) -> Any:
    """Touch every kind of operation, some of them before a suspension and some after."""

    def branch(inner: Any) -> Any:
        inner.wait(Duration.from_seconds(20))
        return inner.step(lambda _: "branch")

    once = StepConfig(retry_strategy=later, step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)
    results = [ctx.step(lambda _: event["n"], "first", once)]
    results += ctx.parallel([branch, branch], "both").get_results()
    results.append(ctx.invoke("double", 4, "call"))
    results.append(ctx.run_in_child_context(lambda inner: inner.step(lambda _: "child"), "child"))
    results += ctx.map([1, 2], lambda c, value, _i, _all: c.step(lambda _: value), "all").get_results()
    return results


EXPECTED = [1, "branch", "branch", 8, "child", 1, 2]


@pytest.mark.parametrize("options", [{}, {"inline_operations": 0}, {"inline_operations": 2, "state_page": 1}])
def test_everything_with_the_state_in_pages(options: dict[str, int]) -> None:
    service = LocalService(**options).register("double", lambda event, _context: event * 2, durable=False)
    handle = finished(everything, service)
    assert handle.value == EXPECTED
    assert json.loads(handle.machine.payload or "") == {"n": 1}


def test_everything_with_answers_in_pages() -> None:
    service = LocalService(response_page=1).register("double", lambda event, _context: event * 2, durable=False)
    assert finished(everything, service).value == EXPECTED


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize("victim", range(1, 13, 2))
def test_everything_with_an_invocation_cut_at_any_call(victim: int, phase: str) -> None:
    count = 0

    def cut(_name: str, _arguments: Any, when: str) -> None:
        nonlocal count
        count += when == "before"
        if count == victim and when == phase:
            count += 1_000_000
            raise InvocationCut

    service = LocalService(on_api_call=cut).register("double", lambda event, _context: event * 2, durable=False)
    assert finished(everything, service).value == EXPECTED
