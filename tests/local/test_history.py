"""The history: every event there is, in its order, with its data, in pages, in the shape of the service model."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import botocore.session
import pytest

from perdure.local import LocalService
from perdure.local.machine import history
from perdure.local.machine.clock import DEFAULT_START
from support.model import check_response
from support.raw import ERROR, RETRY, Raw, callback, context, execution, invoke, step, update, wait

PENDING = {"Status": "PENDING"}


def told(raw: Raw, **arguments: Any) -> list[dict[str, Any]]:
    response = raw.client.get_durable_execution_history(DurableExecutionArn=raw.arn, MaxItems=1000, **arguments)
    check_response("get_durable_execution_history", response)
    events: list[dict[str, Any]] = response["Events"]
    return events


def kinds(raw: Raw) -> list[str]:
    return [event["EventType"] for event in told(raw)]


def details(raw: Raw, kind: str) -> dict[str, Any]:
    (event,) = (event for event in told(raw) if event["EventType"] == kind)
    found: dict[str, Any] = event[f"{kind}Details"]
    return found


def full() -> Raw:
    """Return an execution to which almost everything has happened."""
    service = LocalService().register_external("other")
    service.register("timely", lambda _event, _context: PENDING, execution_timeout=60)
    raw = Raw(service, '{"in": 1}')
    raw.send(
        context("c", "START", Name="box"),
        step("s", "START", ParentId="c"),
        step("s", "SUCCEED", ParentId="c", Payload="1"),
        context("c", "SUCCEED", Payload="2"),
        context("d", "START"),
        context("d", "FAIL", Error=ERROR),
        step("r", "START"),
        step("r", "RETRY", Error=ERROR, **RETRY),
        step("p", "START"),
        step("p", "RETRY", Payload='"state"', **RETRY),
        step("f", "START"),
        step("f", "FAIL", Error=ERROR),
    )
    raw.send(wait("w", 5), wait("x", 600), callback("a", 60, 30), callback("b", 5), callback("g"))
    raw.send(update("WAIT", "x", "CANCEL"))
    for key in "ijk":
        raw.send(invoke(key, "other", '{"to": 1}'))
    raw.send(invoke("n", "nobody"))
    for key, outcome in (("i", "SUCCEEDED"), ("j", "FAILED"), ("k", "STOPPED")):
        error = None if key == "i" else ERROR
        raw.service.complete_invoke(raw.handle, key, status=outcome, result='"r"' if key == "i" else None, error=error)
    callback_id = raw.operation("a")["CallbackDetails"]["CallbackId"]
    raw.client.send_durable_execution_callback_success(CallbackId=callback_id, Result=b'"yes"')
    failed = raw.operation("g")["CallbackDetails"]["CallbackId"]
    raw.client.send_durable_execution_callback_failure(CallbackId=failed, Error=ERROR)
    raw.client.pause_durable_execution(DurableExecutionArn=raw.arn, Reason="lunch")
    raw.leave(PENDING)
    raw.advance(5)
    raw.client.resume_durable_execution(DurableExecutionArn=raw.arn, Reason="eaten")
    raw.handle.drive()
    return raw


def test_every_event_is_told_in_order() -> None:
    raw = full()
    assert kinds(raw)[:30] == [
        *("ExecutionStarted", "ContextStarted", "StepStarted", "StepSucceeded", "ContextSucceeded"),
        *("ContextStarted", "ContextFailed", "StepStarted", "StepFailed", "StepStarted", "StepSucceeded"),
        *("StepStarted", "StepFailed", "WaitStarted", "WaitStarted"),
        *("CallbackStarted", "CallbackStarted", "CallbackStarted", "WaitCancelled"),
        *("ChainedInvokeStarted",) * 4,
        *("ChainedInvokeFailed", "ChainedInvokeSucceeded", "ChainedInvokeFailed", "ChainedInvokeStopped"),
        *("CallbackSucceeded", "CallbackFailed", "InvocationCompleted"),
    ]
    assert [event["EventId"] for event in told(raw)] == list(range(1, len(told(raw)) + 1))
    moments = [event["EventTimestamp"] for event in told(raw)]
    assert moments == sorted(moments)


def test_all_26_kinds_of_events_are_told_and_all_are_of_the_model() -> None:
    seen = set(kinds(full()))
    ended = Raw()
    ended.send(execution("SUCCEED", Payload="1"))
    seen.update(kinds(ended))
    stopped = Raw()
    stopped.client.stop_durable_execution(DurableExecutionArn=stopped.arn)
    seen.update(kinds(stopped))
    service = LocalService().register("child", lambda _event, _context: PENDING, execution_timeout=1)
    parent = Raw(service)
    parent.send(invoke("i", "child"))
    parent.advance(1)
    parent.handle.drive()
    seen.update(kinds(parent))
    late = Raw()
    late.handle.machine.due_at = DEFAULT_START + timedelta(seconds=1)
    late.advance(1)
    late.leave(PENDING)
    seen.update(kinds(late))
    shape = botocore.session.get_session().get_service_model("lambda").shape_for("EventType")
    assert seen <= set(shape.enum)
    assert len(seen) == 26  # a newer model may know more


def test_an_invocation_is_told_before_the_end_it_brings() -> None:
    raw = Raw()
    raw.leave({"Status": "FAILED", "Error": ERROR})
    assert kinds(raw) == ["ExecutionStarted", "InvocationCompleted", "ExecutionFailed"]
    completed = details(raw, "InvocationCompleted")
    assert completed["Error"] == {"Payload": ERROR, "Truncated": False}
    assert completed["RequestId"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, {"Input": {"Payload": '{"in": 1}', "Truncated": False}, "ExecutionTimeout": 366 * 86_400}),
        (4, {"Result": {"Payload": "1", "Truncated": False}, "RetryDetails": {"CurrentAttempt": 1}}),
        (5, {"Result": {"Payload": "2", "Truncated": False}}),
        (7, {"Error": {"Payload": ERROR, "Truncated": False}}),
        (
            9,
            {
                "Error": {"Payload": ERROR, "Truncated": False},
                "RetryDetails": {"CurrentAttempt": 1, "NextAttemptDelaySeconds": 5},
            },
        ),
        (
            11,
            {
                "Result": {"Payload": '"state"', "Truncated": False},
                "RetryDetails": {"CurrentAttempt": 1, "NextAttemptDelaySeconds": 5},
            },
        ),
        (14, {"Duration": 5, "ScheduledEndTimestamp": DEFAULT_START + timedelta(seconds=5)}),
        (
            20,
            {
                "FunctionName": "other",
                "Input": {"Payload": '{"to": 1}', "Truncated": False},
                "ExecutedVersion": "$LATEST",
            },
        ),
    ],
)
def test_an_event_carries_its_details(number: int, expected: dict[str, Any]) -> None:
    event = told(full())[number - 1]
    assert event[f"{event['EventType']}Details"] == expected


def test_a_started_callback_tells_its_timeouts() -> None:
    event = told(full())[15]
    assert event["CallbackStartedDetails"].items() >= {"Timeout": 60, "HeartbeatTimeout": 30}.items()


def test_an_invoke_of_a_durable_function_tells_the_execution_it_began() -> None:
    service = LocalService().register("child", lambda _event, _context: {"Status": "SUCCEEDED"})
    raw = Raw(service)
    raw.send(invoke("i", "child"))
    child = details(raw, "ChainedInvokeStarted")["DurableExecutionArn"]
    assert service.execution(child).parent == (raw.arn, "i")


def test_data_is_left_out_on_request() -> None:
    for event in told(full(), IncludeExecutionData=False):
        for member in event.get(f"{event['EventType']}Details", {}).values():
            assert not isinstance(member, dict) or member == {"Truncated": True} or "CurrentAttempt" in member


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_history_comes_in_pages(size: int, reverse: bool) -> None:
    raw = full()
    everything = told(raw)
    seen: list[dict[str, Any]] = []
    marker = None
    while True:
        page = raw.client.get_durable_execution_history(
            DurableExecutionArn=raw.arn, MaxItems=size, Marker=marker, ReverseOrder=reverse
        )
        assert len(page["Events"]) <= size
        seen += page["Events"]
        marker = page.get("NextMarker")
        if marker is None:
            break
    assert seen == (everything[::-1] if reverse else everything)


def test_a_record_without_details_is_told_as_it_is() -> None:
    assert history.without_data({"EventType": "ContextStarted", "EventId": 1}) == {
        "EventType": "ContextStarted",
        "EventId": 1,
    }
