"""Connections between two calls: what comes over them meanwhile is for nobody, and their end is no failure."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from perdure._core import Updates
from support.wire import Connection, answer, kind, lambda_environment, scripted
from support.wired import authority, certified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Server = Callable[[Callable[[Connection], None]], Any]

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/name/execution-id"
WRONG = answer(b'{"CheckpointToken": "of another call", "NewExecutionState": {"Operations": []}}')
TIMED_OUT = answer(b"", "408 Request Timeout", "Connection: close")


@pytest.fixture(params=["http", "https"])
def served(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Serve by a script, over either transport."""

    @contextlib.contextmanager
    def serve(script: Callable[[Connection], None]) -> Iterator[None]:
        context = certified() if request.param == "https" else None
        with scripted(script, context) as (port, _):
            lambda_environment(monkeypatch, f"{request.param}://localhost:{port}")
            authority().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
            monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
            yield

    return serve


@pytest.mark.parametrize("text", [WRONG, TIMED_OUT, b"\r\n", b"x"], ids=["an answer", "a timeout", "a line", "a byte"])
def test_what_nobody_asked_for_is_no_answer(text: bytes, served: Server, native: Any) -> None:
    said, numbers = threading.Event(), []

    def script(connection: Connection) -> None:
        while connection.request() is not None:
            numbers.append(connection.number)
            connection.send(answer())
            if connection.number == 0:
                connection.send(text)
                said.set()

    with served(script):
        client = native()
        assert client.checkpoint(ARN, "t", Updates(), "1")[0] == "next"
        assert said.wait(60)
        for number in range(2):
            assert client.checkpoint(ARN, "t", Updates(), f"{number}")[0] == "next"
        del client
    assert numbers == [0, 1, 1]


def test_a_connection_that_was_opened_ahead_serves_the_calls(served: Server, native: Any) -> None:
    """Over TLS the server has said something by then: it gives tickets for later sessions."""
    opened, numbers = threading.Event(), []

    def script(connection: Connection) -> None:
        numbers.append(connection.number)
        opened.set()
        kind(connection)

    with served(script):
        client = native()
        assert client.prepare()
        assert opened.wait(60)
        for number in range(3):
            client.checkpoint(ARN, "t", Updates(), f"{number}")
        del client
    assert len(numbers) == 1


def test_a_connection_that_was_opened_ahead_and_has_ended_is_no_failure(served: Server, native: Any) -> None:
    requests: list[Any] = []

    def script(connection: Connection) -> None:
        while connection.number > 0 and connection.request() is not None:
            requests.append(connection.number)
            connection.send(answer())

    with served(script):
        client = native()
        assert client.prepare()
        assert client.checkpoint(ARN, "t", Updates(), "1")[0] == "next"
        del client
    assert requests == [1]
