"""Calls that fail and are repeated: in one layer, when the service asks for it, and as often as is allowed."""

from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, run_durable_handler
from perdure.exceptions import CheckpointError, GetExecutionStateError
from support.invocations import LambdaContext, Recorder, event, invoke, succeeded
from support.spoiling import ODD, odd, put
from support.wire import Connection, answer, lambda_environment, scripted

if TYPE_CHECKING:
    from collections.abc import Callable

THROTTLED = b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","message":"slow down"}'


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the pauses that were made, none of which takes time."""
    made: list[float] = []
    monkeypatch.setattr("perdure.engine.checkpoint.sleep", made.append)
    return made


def refusing(times: int, *headers: str, status: str = "429 Too Many Requests") -> Callable[[Connection], None]:
    """Refuse the first requests."""
    left = [times]

    def script(connection: Connection) -> None:
        while connection.request() is not None:
            left[0] -= 1
            kind = "x-amzn-ErrorType: TooManyRequestsException"
            connection.send(answer() if left[0] < 0 else answer(THROTTLED, status, kind, *headers))

    return script


def one_step(_event: Any, context: DurableContext) -> Any:
    return context.step(lambda _: 1)


def test_a_call_is_repeated_when_the_service_asks_for_it(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(refusing(2, "Retry-After: 7")) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        assert run_durable_handler(event(), LambdaContext(), one_step) == succeeded("1")
    assert pauses == [7.0, 7.0]
    assert len({request.body for request in requests}) == 1


def test_the_service_may_name_a_moment(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    moment = email.utils.formatdate(time.time() + 300, usegmt=True)
    with scripted(refusing(1, f"Retry-After: {moment}", status="503 Busy")) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        assert run_durable_handler(event(), LambdaContext(), one_step) == succeeded("1")
    assert 200 < pauses[0] <= 300


@pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "soon", "", "Thu, 01 Jan 1970 00:00:00 GMT", "1e400"])
def test_what_asks_for_nothing_sensible_is_passed_over(
    text: str, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(refusing(1, f"Retry-After: {text}")) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        assert run_durable_handler(event(), LambdaContext(), one_step) == succeeded("1")
    assert [pause < 0.06 for pause in pauses] == [True]


def test_nobody_waits_beyond_the_invocations_time(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(refusing(1, "Retry-After: 60")) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        with pytest.raises(CheckpointError) as failed:
            run_durable_handler(event(), LambdaContext(30.0), one_step)
    assert (pauses, len(requests)) == ([], 1)
    assert failed.value.is_retryable()


def test_an_injected_client_may_ask_for_it_too(pauses: list[float]) -> None:
    class RefusedError(Exception):
        response = {  # noqa: RUF012
            "Error": {"Code": "TooManyRequestsException", "Message": "slow down"},
            "ResponseMetadata": {"HTTPStatusCode": 429, "HTTPHeaders": {"retry-after": "3"}},
        }

    given, _ = invoke(lambda context: context.step(lambda _: 1), client=Recorder(script=[RefusedError()]))
    assert given == succeeded("1")
    assert pauses == [3.0]


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_no_call_is_made_more_often_than_is_allowed(
    attempts: int, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(refusing(1_000)) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}", AWS_MAX_ATTEMPTS=str(attempts))
        with pytest.raises(CheckpointError, match="slow down") as failed:
            run_durable_handler(event(), LambdaContext(), one_step)
        assert failed.value.is_retryable()
        assert (len(requests), len(pauses)) == (attempts, attempts - 1)
        with pytest.raises(GetExecutionStateError, match="slow down"):
            run_durable_handler(event(marker="two"), LambdaContext(), one_step)
        assert len(requests) == 2 * attempts


def test_as_many_calls_as_are_allowed_are_enough(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(refusing(2)) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}", AWS_MAX_ATTEMPTS="3")
        assert run_durable_handler(event(), LambdaContext(), one_step) == succeeded("1")
    assert len(requests) == 3


class RefusedError(Exception):
    """The shape of what boto3 raises, with anything in it."""

    def __init__(self, *said: Any, response: Any) -> None:
        super().__init__(*said)
        self.response = response


@pytest.mark.parametrize(
    "path",
    [
        ("said",),
        ("response",),
        ("response", "Error"),
        ("response", "Error", "Code"),
        ("response", "Error", "Message"),
        ("response", "ResponseMetadata"),
        ("response", "ResponseMetadata", "HTTPStatusCode"),
        ("response", "ResponseMetadata", "HTTPHeaders"),
        ("response", "ResponseMetadata", "HTTPHeaders", "retry-after"),
    ],
    ids=str,
)
@pytest.mark.parametrize("code", ["InvalidParameterValueException", "TooManyRequestsException"])
@pytest.mark.parametrize("name", ODD)
@pytest.mark.usefixtures("pauses")
def test_a_refusal_with_anything_in_it_is_a_refusal(path: tuple[str, ...], code: str, name: str) -> None:
    metadata = {"HTTPStatusCode": 429 if code.startswith("Too") else 400, "HTTPHeaders": {"retry-after": "1"}}
    refusal = {
        "said": "no",
        "response": {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": metadata},
    }
    put(refusal, path, odd(name))
    client = Recorder(script=[RefusedError(refusal["said"], response=refusal["response"])])
    raised: CheckpointError | None = None
    try:
        response, _ = invoke(lambda context: context.step(lambda _: 1), client=client)
    except CheckpointError as error:
        raised = error
    if raised is not None:
        assert (raised.is_retryable(), len(client.calls)) == (True, 1)
    elif len(client.calls) == 1:
        assert response["Status"] == "FAILED"
    else:
        assert response == succeeded("1")
