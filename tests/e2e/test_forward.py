"""The record only goes forward: what the service repeats of an older state of an operation changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, run_durable_handler
from support.invocations import NOW, PENDING, LambdaContext, Recorder, event, invoke, op, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable


def never(*_: Any) -> Any:
    raise AssertionError("a completed operation ran again")


DONE: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[DurableContext], Any]]] = {
    "step": (
        op("STEP", "SUCCEEDED", details={"Result": "7", "Attempt": 1}),
        op("STEP", "STARTED", details={"Attempt": 0}),
        lambda c: c.step(never),
    ),
    "retried step": (
        op("STEP", "SUCCEEDED", details={"Result": "7", "Attempt": 2}),
        op("STEP", "READY", details={"Attempt": 1}),
        lambda c: c.step(never),
    ),
    "child": (
        op("CONTEXT", "SUCCEEDED", details={"Result": "7"}),
        op("CONTEXT", "STARTED"),
        lambda c: c.run_in_child_context(never),
    ),
    "invoke": (
        op("CHAINED_INVOKE", "SUCCEEDED", details={"Result": "7"}),
        op("CHAINED_INVOKE", "STARTED"),
        lambda c: c.invoke("fn:1", None),
    ),
    "callback": (
        op("CALLBACK", "SUCCEEDED", details={"CallbackId": "cb", "Result": "7"}),
        op("CALLBACK", "STARTED", details={"CallbackId": "cb"}),
        lambda c: int(c.create_callback().result()),
    ),
    "wait": (
        op("WAIT", "SUCCEEDED"),
        op("WAIT", "STARTED", details={"ScheduledEndTimestamp": NOW}),
        lambda c: c.wait(5) or 7,
    ),
}


@pytest.mark.parametrize("order", ["as it came", "the old one first"])
@pytest.mark.parametrize("where", ["event", "page"])
@pytest.mark.parametrize("kind", DONE)
def test_an_older_state_in_an_event_or_a_page_changes_nothing(kind: str, where: str, order: str) -> None:
    ended, older, handler = DONE[kind]
    first, second = (ended, older) if order == "as it came" else (older, ended)
    client = Recorder(pages={"m": {"Operations": [second]}})
    given = event(first, second) if where == "event" else event(first, marker="m")
    got = run_durable_handler(given, LambdaContext(), lambda _, c: handler(c), boto3_client=client)
    assert got == succeeded("7")
    assert client.calls == []


def test_an_older_state_in_a_response_changes_nothing() -> None:
    ended, older, _ = DONE["callback"]

    def handler(context: DurableContext) -> Any:
        callback = context.create_callback()
        context.step(lambda _: 1)
        return callback.result()

    got, _ = invoke(handler, ended, client=Recorder(lambda _updates: [older]))
    assert got == succeeded('"7"')


def test_what_a_page_lacks_stays_known() -> None:
    given = [
        op("STEP", "SUCCEEDED", Name="one", details={"Result": "7"}),
        op("STEP", "SUCCEEDED"),
        op("CALLBACK", "STARTED", 2, details={"CallbackId": "cb"}),
        op("CALLBACK", "STARTED", 2),
    ]
    got, _ = invoke(lambda c: [c.step(never, "one"), c.create_callback().callback_id], *given)
    assert got == succeeded('[7, "cb"]')


def test_a_response_that_repeats_the_attempt_before_does_not_start_the_next_one() -> None:
    waiting = op("STEP", "PENDING", details={"Attempt": 2, "NextAttemptTimestamp": NOW})
    older = op("STEP", "READY", details={"Attempt": 1})
    got, client = invoke(lambda c: c.step(never), waiting, older)
    assert got == PENDING
    assert client.calls == []


def test_the_input_stays_where_the_execution_is_told_again_without_it() -> None:
    given = event(payload='{"n": 1}')
    (execution,) = given["InitialExecutionState"]["Operations"]
    again = {key: value for key, value in execution.items() if key != "ExecutionDetails"}
    given["InitialExecutionState"]["Operations"].append(again)
    assert run_durable_handler(given, LambdaContext(), lambda e, _: e["n"], boto3_client=Recorder()) == succeeded("1")
