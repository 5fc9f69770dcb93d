"""The way to the service: through a proxy's tunnel, or none within the time there is."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from perdure._core import Updates
from support.invocations import LambdaContext
from support.wire import Connection, lambda_environment, scripted
from support.wired import authority, certified

if TYPE_CHECKING:
    from pathlib import Path

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/name/execution-id"


def tunnelling(port: int) -> Any:
    """Open a tunnel to a port of this machine for whoever asks, wherever to."""

    def script(connection: Connection) -> None:
        if connection.request() is None:
            return
        with socket.create_connection(("127.0.0.1", port)) as onward:
            connection.send(b"HTTP/1.1 200 Connection established\r\nVia: a proxy\r\n\r\n")
            back = threading.Thread(target=poured, args=(onward, connection.peer))
            back.start()
            poured(connection.peer, onward)
            back.join()

    return script


def poured(source: socket.socket, into: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while got := source.recv(65536):
            into.sendall(got)
    with contextlib.suppress(OSError):
        into.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("login", ["", "user:p%40ss@"])
def test_calls_go_through_a_tunnel_of_the_proxy(
    login: str, native: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        scripted(context=certified("lambda.us-east-1.amazonaws.com")) as (port, requests),
        scripted(tunnelling(port)) as (proxy, tunnels),
    ):
        lambda_environment(monkeypatch, HTTPS_PROXY=f"http://{login}127.0.0.1:{proxy}")
        authority().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        client = native()
        for _ in range(3):
            assert client.checkpoint(ARN, "t", Updates(), "ct")[0] == "next"
        del client  # and with it the connection, for which the servers wait
    assert [tunnel.method for tunnel in tunnels] == ["CONNECT"]
    assert tunnels[0].target == "lambda.us-east-1.amazonaws.com:443"
    assert tunnels[0].headers.get("proxy-authorization") == ("Basic dXNlcjpwQHNz" if login else None)
    assert len(requests) == 3
    for request in requests:
        assert request.headers["host"] == "lambda.us-east-1.amazonaws.com"
        assert "proxy-authorization" not in request.headers


@pytest.fixture
def silent() -> Any:
    """Give a port at which connecting takes for ever: its queue is full, and nobody takes from it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(64):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(listener.getsockname())
            except TimeoutError:
                break
        else:
            pytest.skip("this system's queues do not fill")
        yield listener.getsockname()[1]


def test_nobody_waits_for_a_connection_beyond_the_invocations_time(
    silent: int, native: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lambda_environment(monkeypatch, f"http://127.0.0.1:{silent}")
    client = native(LambdaContext(0.5))
    began = time.monotonic()
    client.prepare()
    with pytest.raises(TimeoutError, match=rf"no connection to 127\.0\.0\.1:{silent} within 0\.\d s|in time"):
        client.checkpoint(ARN, "t", Updates(), "ct")
    assert time.monotonic() - began < 4.5  # less than it takes where nothing else bounds it


@pytest.mark.soak
def test_a_handshake_is_a_part_of_connecting(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    with scripted(lambda _: ended.wait(60)) as (port, _):
        lambda_environment(monkeypatch, f"https://localhost:{port}")
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            native(LambdaContext(900.0)).checkpoint(ARN, "t", Updates(), "ct")
        assert 4.5 < time.monotonic() - began < 30
        ended.set()


def test_nobody_waits_for_a_handshake_beyond_the_invocations_time(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    with scripted(lambda _: ended.wait(60)) as (port, _):
        lambda_environment(monkeypatch, f"https://localhost:{port}")
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=f"no answer from localhost:{port} in time"):
            native(LambdaContext(0.5)).checkpoint(ARN, "t", Updates(), "ct")
        assert time.monotonic() - began < 30
        ended.set()
