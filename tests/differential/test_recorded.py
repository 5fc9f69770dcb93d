"""Histories that end badly, or cannot be read, under both SDKs: what user code sees, and what is written for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.both_sdks import OFFICIAL, PERDURE, Sdk
from support.invocations import LambdaContext, Recorder, event, op

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[Sdk, Any], Any]
    History = Callable[[str], list[dict[str, Any]]]

BAD = ["{broken", '{"t":"zz","v":1}', '{"t":"d","v":"abc"}', '{"a":1}', '{"t":"br","v":{}}', '{"t":"u","v":"x"}']


def seen(sdk: Sdk, call: Call, history: list[dict[str, Any]]) -> tuple[Any, list[list[str]], list[Any]]:
    """Give what user code caught, and what was sent."""
    client = Recorder()

    def handler(_event: Any, context: Any) -> Any:
        try:
            return ["returned", call(sdk, context)]
        except Exception as problem:  # noqa: BLE001  whatever it is
            fields = [getattr(problem, name, None) for name in ("error_type", "data", "stack_trace")]
            return [type(problem).__name__, isinstance(problem, ValueError), *fields]

    decorated = sdk.top.durable_execution(handler, boto3_client=client)
    got = decorated(event(*history), LambdaContext())
    errors = [update.get("Error", {}).get("ErrorType") for update in client.updates]
    return json.loads(got["Result"]), client.summary, errors


def condition(sdk: Sdk, context: Any) -> Any:
    waits = sdk.waits
    config = waits.WaitForConditionConfig(lambda *_: waits.WaitForConditionDecision.stop_polling(), 0)
    return context.wait_for_condition(lambda state, _: state, config)


def callback(sdk: Sdk, context: Any) -> Any:
    config = sdk.config.CallbackConfig(serdes=sdk.serdes.ExtendedTypeSerDes())
    return context.create_callback(config=config).result()


def ended(kind: str, bad: str, *path: int, **members: Any) -> dict[str, Any]:
    return op(kind, "SUCCEEDED", *path, details={"Result": bad}, **members)


ITEM = {"SubType": "MapIteration", "Name": "map-item-0"}

UNREADABLE: dict[str, tuple[Call, History]] = {
    "step": (lambda _, c: c.step(lambda _: 1), lambda bad: [ended("STEP", bad)]),
    "child": (lambda _, c: c.run_in_child_context(lambda _: 1), lambda bad: [ended("CONTEXT", bad)]),
    "invoke": (lambda _, c: c.invoke("f:1", 1), lambda bad: [ended("CHAINED_INVOKE", bad)]),
    "map": (lambda _, c: str(c.map([1], lambda *_: 1)), lambda bad: [ended("CONTEXT", bad, SubType="Map")]),
    "condition": (condition, lambda bad: [ended("STEP", bad, SubType="WaitForCondition")]),
    "condition's state": (
        condition,
        lambda bad: [op("STEP", "READY", SubType="WaitForCondition", details={"Result": bad, "Attempt": 1})],
    ),
    "callback": (
        callback,
        lambda bad: [op("CALLBACK", "SUCCEEDED", details={"CallbackId": "cb", "Result": bad})],
    ),
    "step in a child": (
        lambda _, c: c.run_in_child_context(lambda inner: inner.step(lambda _: 1)),
        lambda bad: [op("CONTEXT", "STARTED"), ended("STEP", bad, 1, 1)],
    ),
    "item": (
        lambda _, c: c.map([1], lambda *_: 1).get_errors()[0].type,
        lambda bad: [op("CONTEXT", "STARTED", SubType="Map"), ended("CONTEXT", bad, 1, 0, **ITEM)],
    ),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", UNREADABLE)
def test_both_sdks_agree_on_a_recorded_result_that_cannot_be_read(kind: str, bad: str) -> None:
    call, history = UNREADABLE[kind]
    assert seen(PERDURE, call, history(bad)) == seen(OFFICIAL, call, history(bad))


@pytest.mark.parametrize("recorded", [None, {}, {"ErrorType": "Mine"}], ids=["no error", "an empty one", "no message"])
@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "STOPPED", "CANCELLED"])
def test_both_sdks_word_a_callback_without_a_message_alike(status: str, recorded: dict[str, Any] | None) -> None:
    def call(_sdk: Sdk, context: Any) -> Any:
        try:
            return context.create_callback().result()
        except Exception as problem:  # noqa: BLE001  whatever it is
            return [type(problem).__name__, str(problem)]

    details = {"CallbackId": "cb"} | ({} if recorded is None else {"Error": recorded})
    history = [op("CALLBACK", status, details=details)]
    assert seen(PERDURE, call, history) == seen(OFFICIAL, call, history)


@pytest.mark.parametrize("reason", ["CUSTOM_COMPLETION_FAILED", "ALL_COMPLETED", "FAILURE_TOLERANCE_EXCEEDED"])
def test_both_sdks_word_a_batch_that_did_not_complete_alike(reason: str) -> None:
    def worded(sdk: Sdk) -> str:
        models = getattr(sdk, "concurrency.models")
        return str(models.BatchCompletionError(models.CompletionReason(reason)))

    assert worded(PERDURE) == worded(OFFICIAL)
