"""Every operation type through its life: what is recorded, when, and what a response tells of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from perdure.local import LocalService, VirtualClock
from perdure.local.machine.clock import DEFAULT_START
from support.raw import ERROR, RETRY, Raw, callback, context, execution, invoke, step, update, wait

NOW = DEFAULT_START


def test_a_step_counts_an_attempt_when_it_ends() -> None:
    raw = Raw()
    assert raw.one(step("a", "START", Name="n")) == {
        "Id": "a",
        "Type": "STEP",
        "SubType": "Step",
        "Name": "n",
        "Status": "STARTED",
        "StartTimestamp": NOW,
        "StepDetails": {"Attempt": 0},
    }
    raw.advance(2)
    done = raw.one(step("a", "SUCCEED", Name="n", Payload="1"))
    assert done["Status"] == "SUCCEEDED"
    assert done["StartTimestamp"] == NOW
    assert done["EndTimestamp"] == NOW + timedelta(seconds=2)
    assert done["StepDetails"] == {"Attempt": 1, "Result": "1"}


def test_a_step_may_start_and_end_in_one_batch_and_is_told_once() -> None:
    raw = Raw()
    done = raw.one(step("a", "START"), step("a", "FAIL", Error=ERROR))
    assert (done["Status"], done["StepDetails"]) == ("FAILED", {"Attempt": 1, "Error": ERROR})


def test_a_step_without_payload_has_no_result() -> None:
    raw = Raw()
    assert raw.one(step("a", "START"), step("a", "SUCCEED"))["StepDetails"] == {"Attempt": 1}


def test_a_retried_step_is_pending_then_ready_then_started_again() -> None:
    raw = Raw()
    pending = raw.one(step("a", "START"), step("a", "RETRY", Error=ERROR, **RETRY))
    due = NOW + timedelta(seconds=5)
    assert pending["Status"] == "PENDING"
    assert pending["StepDetails"] == {"Attempt": 1, "Error": ERROR, "NextAttemptTimestamp": due}
    assert "EndTimestamp" not in pending

    raw.advance(4.999)
    assert raw.send() == []
    raw.advance(0.001)
    ready = raw.one()
    assert (ready["Status"], ready["StepDetails"]) == ("READY", {"Attempt": 1, "Error": ERROR})

    again = raw.one(step("a", "START"))
    assert (again["Status"], again["StepDetails"]) == ("STARTED", {"Attempt": 1})
    assert raw.one(step("a", "SUCCEED", Payload="7"))["StepDetails"] == {"Attempt": 2, "Result": "7"}


def test_the_state_of_a_condition_survives_until_it_is_written_again() -> None:
    raw = Raw()
    checked = raw.one(step("a", "START"), step("a", "RETRY", Payload='"s1"', **RETRY))
    assert checked["StepDetails"]["Result"] == '"s1"'
    raw.advance(5)
    raw.send()
    assert raw.one(step("a", "START"))["StepDetails"] == {"Attempt": 1, "Result": '"s1"'}
    assert raw.one(step("a", "RETRY", Error=ERROR, **RETRY))["StepDetails"].keys() == {
        "Attempt",
        "Error",
        "NextAttemptTimestamp",
    }


def test_a_ready_step_may_end_without_a_second_start() -> None:
    raw = Raw()
    raw.send(step("a", "START"), step("a", "RETRY", Error=ERROR, **RETRY))
    raw.advance(5)
    assert raw.one(step("a", "SUCCEED"))["StepDetails"] == {"Attempt": 2}


@pytest.mark.parametrize("replay", [True, False, None])
def test_a_context_keeps_whether_its_children_replay(replay: bool | None) -> None:
    raw = Raw()
    started = raw.one(context("c", "START", Name="child"))
    assert (started["Status"], started["ContextDetails"]) == ("STARTED", {})
    options: dict[str, Any] = {} if replay is None else {"ContextOptions": {"ReplayChildren": replay}}
    done = raw.one(context("c", "SUCCEED", Name="child", Payload="", **options))
    expected = {"Result": ""} if replay is None else {"Result": "", "ReplayChildren": replay}
    assert (done["Status"], done["ContextDetails"]) == ("SUCCEEDED", expected)


def test_a_context_fails_with_its_error() -> None:
    raw = Raw()
    done = raw.one(context("c", "START"), context("c", "FAIL", Error=ERROR))
    assert (done["Status"], done["ContextDetails"]) == ("FAILED", {"Error": ERROR})


def test_a_child_may_begin_in_the_batch_of_its_parent() -> None:
    raw = Raw()
    parent, child = raw.send(context("c", "START"), step("s", "START", ParentId="c"))
    assert (parent["Id"], child["ParentId"]) == ("c", "c")


def test_a_wait_ends_when_its_time_has_come() -> None:
    raw = Raw()
    started = raw.one(wait("w", 60))
    assert started["WaitDetails"] == {"ScheduledEndTimestamp": NOW + timedelta(seconds=60)}
    raw.advance(59)
    assert raw.send() == []
    raw.advance(2)
    ended = raw.one()
    assert ended["Status"] == "SUCCEEDED"
    assert ended["EndTimestamp"] == NOW + timedelta(seconds=60)  # however late one looks
    assert raw.send() == []  # news are told once


def test_a_cancelled_wait_has_no_timer_left() -> None:
    raw = Raw()
    raw.send(wait("w", 60))
    assert raw.one(update("WAIT", "w", "CANCEL"))["Status"] == "CANCELLED"
    assert raw.handle.machine.next_due() is None


def callback_id(raw: Raw, **timeouts: int) -> str:
    started = raw.one(callback("cb", **timeouts))
    return str(started["CallbackDetails"]["CallbackId"])


@pytest.mark.parametrize(("given", "recorded"), [(b'"ok"', '"ok"'), ("text", "text"), ("é".encode(), "é")])
def test_a_callback_succeeds_with_the_text_it_was_given(given: bytes | str, recorded: str) -> None:
    raw = Raw()
    raw.client.send_durable_execution_callback_success(CallbackId=callback_id(raw), Result=given)
    assert raw.operation("cb")["CallbackDetails"]["Result"] == recorded
    assert raw.one()["Status"] == "SUCCEEDED"


@pytest.mark.parametrize("given", [None, b"", ""])
def test_a_callback_may_succeed_with_nothing(given: bytes | None) -> None:
    raw = Raw()
    raw.client.send_durable_execution_callback_success(CallbackId=callback_id(raw), Result=given)
    done = raw.one()
    assert (done["Status"], "Result" in done["CallbackDetails"]) == ("SUCCEEDED", False)


def test_a_callback_fails_with_the_error_it_was_given() -> None:
    raw = Raw()
    error = {"ErrorMessage": "no", "ErrorType": "X", "ErrorData": "d", "StackTrace": ["a"]}
    raw.client.send_durable_execution_callback_failure(CallbackId=callback_id(raw), Error=error)
    done = raw.one()
    assert (done["Status"], done["CallbackDetails"]["Error"]) == ("FAILED", error)


def test_a_callback_may_fail_without_an_error() -> None:
    raw = Raw()
    raw.client.send_durable_execution_callback_failure(CallbackId=callback_id(raw))
    assert raw.one()["CallbackDetails"]["Error"] == {}


def test_a_callback_times_out() -> None:
    raw = Raw()
    callback_id(raw, timeout=30, heartbeat=60)
    raw.advance(30)
    done = raw.one()
    assert done["Status"] == "TIMED_OUT"
    assert done["CallbackDetails"]["Error"] == {"ErrorMessage": "Callback timed out", "ErrorType": "Callback.Timeout"}


def test_a_heartbeat_puts_off_the_heartbeat_timeout_only() -> None:
    raw = Raw()
    identifier = callback_id(raw, timeout=100, heartbeat=40)
    raw.advance(39)
    raw.client.send_durable_execution_callback_heartbeat(CallbackId=identifier)
    raw.advance(39)
    assert raw.send() == []
    raw.advance(1)
    done = raw.one()
    assert done["Status"] == "TIMED_OUT"
    assert done["CallbackDetails"]["Error"]["ErrorType"] == "Callback.Heartbeat"


def test_a_heartbeat_of_a_callback_without_heartbeats_changes_nothing() -> None:
    raw = Raw()
    raw.client.send_durable_execution_callback_heartbeat(CallbackId=callback_id(raw))
    assert raw.handle.machine.next_due() is None


@pytest.mark.parametrize("method", ["success", "failure", "heartbeat"])
def test_a_closed_callback_takes_no_answer(method: str) -> None:
    raw = Raw()
    identifier = callback_id(raw)
    raw.client.send_durable_execution_callback_success(CallbackId=identifier, Result=b"1")
    with pytest.raises(ClientError, match="already been closed") as caught:
        getattr(raw.client, f"send_durable_execution_callback_{method}")(CallbackId=identifier)
    assert caught.value.response["Error"]["Code"] == "CallbackTimeoutException"


def test_a_callback_that_has_just_timed_out_takes_no_answer() -> None:
    raw = Raw()
    identifier = callback_id(raw, timeout=5)
    raw.advance(5)
    with pytest.raises(raw.client.exceptions.CallbackTimeoutException):
        raw.client.send_durable_execution_callback_success(CallbackId=identifier)


@pytest.mark.parametrize("identifier", ["AAAA", "???", "bm9ib2R5fGE="])
def test_an_unknown_callback_is_not_found(identifier: str) -> None:
    raw = Raw()
    with pytest.raises(ClientError) as caught:
        raw.client.send_durable_execution_callback_success(CallbackId=identifier)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_a_callback_of_a_finished_execution_is_not_found() -> None:
    raw = Raw()
    identifier = callback_id(raw)
    raw.send(execution("SUCCEED", Payload="1"))
    with pytest.raises(raw.client.exceptions.ResourceNotFoundException):
        raw.client.send_durable_execution_callback_success(CallbackId=identifier)


@pytest.mark.parametrize(("result", "words"), [(b"\xff", "UTF-8"), (b"x" * 1_048_577, "Result must not exceed")])
def test_an_unusable_callback_result_is_refused(result: bytes, words: str) -> None:
    raw = Raw()
    with pytest.raises(raw.client.exceptions.InvalidParameterValueException, match=words):
        raw.client.send_durable_execution_callback_success(CallbackId=callback_id(raw), Result=result)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("SUCCEEDED", {"result": "7"}),
        ("SUCCEEDED", {"result": None}),
        ("FAILED", {"error": ERROR}),
        ("TIMED_OUT", {"error": ERROR}),
        ("STOPPED", {"error": None}),
    ],
)
def test_an_external_invoke_ends_as_it_is_told(status: str, outcome: dict[str, Any]) -> None:
    raw = Raw(LocalService().register_external("other"))
    started = raw.one(invoke("i"))
    assert (started["Status"], started["ChainedInvokeDetails"]) == ("STARTED", {})
    raw.service.complete_invoke(raw.handle, "i", status=status, **outcome)
    done = raw.one()
    named = {key.capitalize(): value for key, value in outcome.items() if value is not None}
    assert (done["Status"], done["ChainedInvokeDetails"]) == (status, named)
    raw.service.complete_invoke(raw.handle, "i", status="FAILED")  # the first end counts
    assert raw.operation("i")["Status"] == status


def test_an_invoke_of_an_unknown_function_fails_at_once() -> None:
    raw = Raw()
    done = raw.one(invoke("i", "nobody"))
    assert done["Status"] == "FAILED"
    assert done["ChainedInvokeDetails"]["Error"]["ErrorType"] == "ResourceNotFoundException"


@pytest.mark.parametrize(("action", "status"), [("SUCCEED", "SUCCEEDED"), ("FAIL", "FAILED")])
def test_an_execution_update_ends_the_execution_and_the_line_of_tokens(action: str, status: str) -> None:
    raw = Raw()
    members = {"Payload": "big"} if action == "SUCCEED" else {"Error": ERROR}
    response = raw.client.checkpoint_durable_execution(
        DurableExecutionArn=raw.arn,
        CheckpointToken=raw.token,
        Updates=[step("a", "START"), execution(action, **members)],
    )
    assert "CheckpointToken" not in response
    assert [o["Id"] for o in response["NewExecutionState"]["Operations"]] == ["a"]
    assert (raw.handle.status, raw.handle.result, raw.handle.error) == (
        status,
        members.get("Payload"),
        members.get("Error"),
    )


def test_timestamps_are_cut_to_milliseconds() -> None:
    clock = VirtualClock(NOW + timedelta(microseconds=1999))
    raw = Raw(LocalService(clock=clock))
    assert raw.one(step("a", "START"))["StartTimestamp"] == NOW + timedelta(milliseconds=1)


@pytest.mark.parametrize("replay", [False, True])
def test_what_comes_below_a_context_that_has_ended_is_recorded_and_lives_on(replay: bool) -> None:
    service = LocalService().register("other", lambda _event, _context: None, durable=False)
    raw = Raw(service)
    raw.send(context("outer", "START"), context("inner", "START", ParentId="outer"))
    raw.send(step("open", "START", ParentId="inner"), context("outer", "SUCCEED", ContextOptions=replays(replay)))
    raw.send(
        step("open", "SUCCEED", Payload="1"),
        step("s", "START", ParentId="inner"),
        step("s", "RETRY", ParentId="inner", Error=ERROR, **RETRY),
    )
    raw.send(
        wait("w", 60, ParentId="inner"),
        callback("c", 90, ParentId="inner"),
        invoke("i", ParentId="inner"),
        context("k", "START", ParentId="inner"),
        context("k", "FAIL", Error=ERROR),
        step("below", "START", ParentId="k"),
        context("inner", "SUCCEED"),
    )
    raw.advance(100)
    service.drive(raw.handle)
    raw.send()
    statuses = {operation["Id"]: operation["Status"] for operation in raw.handle.operations}
    assert statuses == {
        "outer": "SUCCEEDED", "inner": "SUCCEEDED", "open": "SUCCEEDED", "s": "READY", "w": "SUCCEEDED",
        "c": "TIMED_OUT", "i": "SUCCEEDED", "k": "FAILED", "below": "STARTED",
    }  # fmt: skip
    told = raw.client.get_durable_execution_state(DurableExecutionArn=raw.arn, CheckpointToken=raw.token)
    assert [o["Id"] for o in told["Operations"][1:]] == (["outer", "inner"] if replay else ["outer"])


def replays(children: bool) -> dict[str, bool]:
    return {"ReplayChildren": children}
