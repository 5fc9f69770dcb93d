"""Checkpoint tokens: single use, idempotent repeats, one line of them an invocation, revoked at the end."""

from __future__ import annotations

# ruff: noqa: S106 - a client token is no password
import base64

import pytest
from botocore.exceptions import ClientError

from perdure.local import LocalService
from support.raw import Raw, execution, step, wait

INVALID = "Invalid checkpoint token"


def test_a_token_serves_once() -> None:
    raw = Raw()
    old = raw.token
    raw.send(step("a", "START"))
    assert raw.token != old
    raw.token = old
    with pytest.raises(ClientError, match=INVALID) as caught:
        raw.send(step("b", "START"))
    assert caught.value.response["Error"]["Message"].startswith(INVALID)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"


@pytest.mark.parametrize("token", ["AAAA", "garbage!", ""])
def test_a_foreign_token_is_refused(token: str) -> None:
    raw = Raw()
    raw.token = token
    with pytest.raises(ClientError, match=INVALID):
        raw.send()
    with pytest.raises(ClientError, match=INVALID):
        raw.client.get_durable_execution_state(DurableExecutionArn=raw.arn, CheckpointToken=token)


def test_the_token_of_another_execution_is_refused() -> None:
    service = LocalService()
    one, other = Raw(service), Raw(service)
    one.token = other.token
    with pytest.raises(ClientError, match=INVALID):
        one.send()


def test_a_repeated_call_gets_the_same_answer_and_applies_nothing() -> None:
    raw = Raw()
    call = {
        "DurableExecutionArn": raw.arn,
        "CheckpointToken": raw.token,
        "Updates": [step("a", "START"), step("a", "SUCCEED", Payload="1")],
        "ClientToken": "same",
    }
    first = raw.client.checkpoint_durable_execution(**call)
    assert raw.client.checkpoint_durable_execution(**call) == first
    assert len(raw.handle.updates) == 2
    assert len(raw.handle.batches) == 1
    assert raw.operation("a")["StepDetails"]["Attempt"] == 1


@pytest.mark.parametrize("client_token", [None, "other"])
def test_a_repeat_without_the_client_token_is_stale(client_token: str | None) -> None:
    raw = Raw()
    old = raw.token
    raw.send(step("a", "START"), client_token="same")
    raw.token = old
    with pytest.raises(ClientError, match=INVALID):
        raw.send(step("a", "START"), client_token=client_token)


def test_a_client_token_may_be_used_again_with_a_new_token() -> None:
    raw = Raw()
    raw.send(step("a", "START"), client_token="same")
    assert raw.send(step("b", "START"), client_token="same")[0]["Id"] == "b"


def test_only_the_last_answer_is_remembered() -> None:
    raw = Raw()
    old = raw.token
    raw.send(step("a", "START"), client_token="one")
    raw.send(step("b", "START"), client_token="two")
    raw.token = old
    with pytest.raises(ClientError, match=INVALID):
        raw.send(step("a", "START"), client_token="one")


def test_an_answer_is_forgotten_after_fifteen_minutes() -> None:
    raw = Raw()
    old = raw.token
    raw.send(step("a", "START"), client_token="same")
    raw.advance(15 * 60 + 1)
    raw.token = old
    with pytest.raises(ClientError, match=INVALID):
        raw.send(step("a", "START"), client_token="same")


def test_a_refused_call_may_be_corrected_under_the_same_client_token() -> None:
    raw = Raw()
    with pytest.raises(ClientError, match="never started"):
        raw.send(step("a", "SUCCEED"), client_token="same")
    assert raw.send(step("a", "START"), client_token="same")


def test_an_invocation_has_a_line_of_tokens_of_its_own() -> None:
    raw = Raw()
    raw.handle.machine.end_invocation({"Status": "PENDING"}, raw.service.clock.now())
    raw.handle.machine.begin_invocation()
    with pytest.raises(ClientError, match=INVALID):
        raw.send(step("a", "START"))


def test_a_stopped_execution_answers_without_a_token_and_applies_nothing() -> None:
    raw = Raw()
    raw.send(step("a", "START"))
    raw.client.stop_durable_execution(DurableExecutionArn=raw.arn)
    response = raw.client.checkpoint_durable_execution(
        DurableExecutionArn=raw.arn, CheckpointToken=raw.token, Updates=[step("a", "SUCCEED")]
    )
    assert response["NewExecutionState"] == {"Operations": []}
    assert "CheckpointToken" not in response
    assert raw.operation("a")["Status"] == "STARTED"
    assert len(raw.handle.updates) == 1


def test_a_stale_token_stays_stale_after_the_stop() -> None:
    raw = Raw()
    old = raw.token
    raw.send(step("a", "START"))
    raw.client.stop_durable_execution(DurableExecutionArn=raw.arn)
    raw.token = old
    with pytest.raises(ClientError, match=INVALID):
        raw.send()


def test_the_lost_answer_to_an_execution_update_can_be_asked_for_again() -> None:
    raw = Raw()
    first = raw.send(execution("SUCCEED", Payload="1"), client_token="last")
    assert raw.send(execution("SUCCEED", Payload="1"), client_token="last") == first
    assert raw.send(execution("SUCCEED", Payload="2"), client_token="later") == []
    assert raw.handle.result == "1"


def test_an_unknown_execution_is_refused() -> None:
    raw = Raw()
    arn = f"{raw.arn}x"
    with pytest.raises(ClientError, match="No durable execution") as caught:
        raw.client.checkpoint_durable_execution(DurableExecutionArn=arn, CheckpointToken=raw.token)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
    with pytest.raises(raw.client.exceptions.ResourceNotFoundException):
        raw.client.get_durable_execution(DurableExecutionArn=arn)


def test_news_come_with_the_next_answer_first_what_happened_before() -> None:
    raw = Raw()
    raw.send(wait("w", 5))
    raw.advance(5)
    assert [(o["Id"], o["Status"]) for o in raw.send(step("a", "START"))] == [("w", "SUCCEEDED"), ("a", "STARTED")]


def read_state(raw: Raw, token: str) -> None:
    raw.client.get_durable_execution_state(DurableExecutionArn=raw.arn, CheckpointToken=token)


def test_the_state_is_read_with_any_token_that_was_handed_out() -> None:
    raw = Raw()
    tokens = [raw.token]
    for count in range(3):
        raw.send(step(f"s{count}", "START"))
        tokens.append(raw.token)
    raw.leave({"Status": "PENDING"})
    raw.handle.machine.begin_invocation()
    for token in [*tokens, raw.handle.machine.token]:
        read_state(raw, token)


@pytest.mark.parametrize("tail", ["-5.-9", "0.0", "0", "-1", "1.1", "01", "+1", " 1", "3", "\u0661", ""])
def test_the_state_is_not_read_with_a_token_that_was_never_handed_out(tail: str) -> None:
    raw = Raw()
    raw.send(step("a", "START"))
    forged = base64.b64encode(f"{raw.handle.machine.execution_id}.{tail}".encode()).decode()
    with pytest.raises(ClientError, match=INVALID):
        read_state(raw, forged)


def test_the_state_is_not_read_with_the_token_of_another_execution() -> None:
    service = LocalService()
    one, other = Raw(service), Raw(service)
    with pytest.raises(ClientError, match=INVALID):
        read_state(one, other.token)
