"""Signals that come while a call waits for its answer: their handlers run at once, and may end it."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from perdure._core import Updates
from perdure.engine import native_client
from support.invocations import LambdaContext
from support.wire import Connection, answer, lambda_environment, scripted
from support.wired import authority, certified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/name/execution-id"
PATIENCE = 60

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no signals for threads")


class StoppedError(Exception):
    """What a handler of a signal raises."""


@contextlib.contextmanager
def handled(handler: Callable[..., Any]) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def sending(until: threading.Event) -> Callable[[Connection], None]:
    """Send signals to the main thread, which waits for the answer, until something has happened; then answer."""

    def script(connection: Connection) -> None:
        while connection.request() is not None:
            while not until.wait(0.02):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            connection.send(answer())

    return script


@pytest.mark.parametrize("transport", ["http", "https"])
def test_a_handler_may_end_a_call(transport: str, native: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caught = threading.Event()

    def stop(*_: object) -> None:
        if not caught.is_set():
            caught.set()
            raise StoppedError

    context = certified() if transport == "https" else None
    authority().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with scripted(sending(caught), context) as (port, requests), handled(stop):
        url = f"https://localhost:{port}" if context else f"http://127.0.0.1:{port}"
        lambda_environment(monkeypatch, url, AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
        client = native(LambdaContext())
        with pytest.raises(StoppedError):
            client.checkpoint(ARN, "t", Updates(), "ct")
        assert len(requests) == 1  # it is not made again by itself
        assert client.checkpoint(ARN, "t", Updates(), "ct")[0] == "next"


def test_a_handler_may_end_a_call_that_waits_for_a_connection(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is opened ahead, whose handshake goes on: the call needs no signal of its own to wait for it."""
    caught, numbers = threading.Event(), []

    def stop(_number: int, frame: Any) -> None:
        if frame.f_code is native_client.NativeClient.checkpoint.__code__ and not caught.is_set():
            caught.set()
            raise StoppedError

    def silent(connection: Connection) -> None:
        numbers.append(connection.number)
        while not caught.wait(0.02):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    with scripted(silent) as (port, _), handled(stop):
        lambda_environment(monkeypatch, f"https://localhost:{port}")
        client = native(LambdaContext())
        client.prepare()
        with pytest.raises(StoppedError):
            client.checkpoint(ARN, "t", Updates(), "ct")
    assert numbers == [0]  # it has not opened one of its own, after 5 s


@pytest.mark.parametrize("kept", [False, True], ids=["first", "renewed"])
def test_a_handler_may_end_a_request_for_credentials(kept: bool, native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the call could go on with those that it has."""
    caught = threading.Event()
    caught.set()

    def stop(*_: object) -> None:
        if not caught.is_set():
            caught.set()
            raise StoppedError

    def credentials(connection: Connection) -> None:
        if connection.request() is None:
            return
        while not caught.wait(0.02):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        soon = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        given = {"AccessKeyId": "AKIDRENEWED", "SecretAccessKey": "s", "Expiration": soon}
        connection.send(answer(json.dumps(given).encode()))

    with scripted(credentials) as (beside, _), scripted() as (port, _requests), handled(stop):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{beside}/get")
        client = native(LambdaContext())
        if kept:
            client.checkpoint(ARN, "t", Updates(), "ct")
        caught.clear()
        with pytest.raises(StoppedError):
            client.checkpoint(ARN, "t", Updates(), "ct")
        assert client.checkpoint(ARN, "t", Updates(), "ct")[0] == "next"


def test_a_handler_that_raises_nothing_runs_meanwhile(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = threading.Event()
    with scripted(sending(ran)) as (port, requests), handled(lambda *_: ran.set()):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        assert native(LambdaContext()).checkpoint(ARN, "t", Updates(), "ct")[0] == "next"
    assert len(requests) == 1
