"""Credentials of the service beside a function, as they are after a start from a snapshot."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, run_durable_handler
from perdure.exceptions import CheckpointError
from support.invocations import LambdaContext, event, succeeded
from support.wire import Connection, answer, lambda_environment, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SAID = "a/token+="
"""What the service wants to be told."""
IN_TROUBLE = answer(b"", "500 Internal Server Error")


def given(key: str, seconds: float = 3_600, **members: Any) -> bytes:
    """Answer with credentials that last so long."""
    expires = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = {"AccessKeyId": key, "SecretAccessKey": "s", "Token": "t", "Expiration": expires, **members}
    return answer(json.dumps(found).encode())


def saying(texts: Sequence[bytes]) -> Callable[[Connection], None]:
    """Answer with one text after another, and with the last one for ever; none hangs up."""
    left = list(texts)

    def script(connection: Connection) -> None:
        if connection.request() is not None:
            connection.send(left.pop(0) if len(left) > 1 else left[0])

    return script


class Ended:
    """How an invocation of two steps ended whose credentials come from such a service.

    Args:
        texts: What the service says.

    """

    def __init__(self, texts: Sequence[bytes], monkeypatch: pytest.MonkeyPatch, seconds: float = 30.0) -> None:
        self.pauses: list[float] = []
        monkeypatch.setattr("perdure.engine.checkpoint.sleep", self.pauses.append)
        with scripted() as (port, calls), scripted(saying(texts)) as (beside, asked):
            lambda_environment(
                monkeypatch,
                f"http://127.0.0.1:{port}",
                AWS_ACCESS_KEY_ID="",
                AWS_SECRET_ACCESS_KEY="",
                AWS_SESSION_TOKEN="",
                AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://127.0.0.1:{beside}/2021/credentials",
                AWS_CONTAINER_AUTHORIZATION_TOKEN=SAID,
                PERDURE_CLIENT="native",
            )
            self.raised: CheckpointError | None = None
            try:
                self.outcome = run_durable_handler(event(), LambdaContext(seconds), two_steps)
            except CheckpointError as raised:
                self.raised = raised
        self.asked = asked
        self.keys = [call.headers["authorization"].partition("Credential=")[2].partition("/")[0] for call in calls]


def two_steps(_event: Any, context: DurableContext) -> Any:
    return [context.step(lambda _: 0), context.step(lambda _: 1)]


def test_they_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Ended([given("AK")], monkeypatch)
    assert ended.outcome == succeeded("[0, 1]")
    assert set(ended.keys) == {"AK"}
    assert [(request.target, request.headers["authorization"]) for request in ended.asked] == [
        ("/2021/credentials", SAID)
    ]


@pytest.mark.parametrize("trouble", [IN_TROUBLE, b"", answer(b"", "429 Busy"), given("AK")[:-1]])
def test_trouble_that_passes_costs_a_pause(trouble: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Ended([trouble, trouble, given("AK")], monkeypatch)
    assert ended.outcome == succeeded("[0, 1]")
    assert (len(ended.asked), len(ended.pauses), set(ended.keys)) == (3, 2, {"AK"})


@pytest.mark.parametrize("text", [answer(b"", "404 Not Found"), answer(b"[]"), given("AK", Expiration=4_102_444_800)])
def test_trouble_that_stays_is_told_at_once_and_the_service_may_repeat_the_invocation(
    text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Ended([text], monkeypatch)
    assert ended.raised is not None
    assert ended.raised.is_retryable()
    assert "/2021/credentials: " in str(ended.raised)
    assert (len(ended.asked), ended.pauses, ended.keys) == (1, [], [])


def test_new_ones_take_over_before_old_ones_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Ended([given("AK1", 50), given("AK2")], monkeypatch)
    assert ended.outcome == succeeded("[0, 1]")
    assert list(dict.fromkeys(ended.keys)) == ["AK1", "AK2"]


def test_old_ones_are_used_while_the_service_is_in_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Ended([given("AK", 300), IN_TROUBLE], monkeypatch)
    assert ended.outcome == succeeded("[0, 1]")
    assert set(ended.keys) == {"AK"}


def test_expired_ones_sign_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service refuses what they sign, and that ends an execution."""
    ended = Ended([given("AK", -5), given("AK", -5), given("NEW")], monkeypatch)
    assert ended.outcome == succeeded("[0, 1]")
    assert set(ended.keys) == {"NEW"}


@pytest.mark.parametrize("members", [{"Token": "t\r\nx-evil: 1"}, {"AccessKeyId": "AK\nx-evil: 1"}, {"Token": "é"}])
def test_what_would_be_another_header_signs_nothing_and_is_not_told(
    members: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Ended([given("AK", **members)], monkeypatch)
    assert ended.keys == []
    assert "is no plain text" in str(ended.raised)
    assert "evil" not in str(ended.raised)
