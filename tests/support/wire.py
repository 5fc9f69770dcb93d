"""Servers on loopback that speak HTTP by script, and an environment in which the native client finds them."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

OK = b'{"CheckpointToken": "next", "NewExecutionState": {"Operations": []}, "Operations": []}'
AWS = ("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "PERDURE_CLIENT", "_X_AMZN")


def answer(body: bytes = OK, status: str = "200 OK", *headers: str) -> bytes:
    """Give the bytes of an answer."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def lambda_environment(monkeypatch: pytest.MonkeyPatch, url: str | None = None, **more: str) -> None:
    """Set what Lambda sets, and nothing else that bears on calls to AWS."""
    for name in list(os.environ):
        if name.upper().startswith(AWS):
            monkeypatch.delenv(name)
    # Nobody's own configuration counts.
    monkeypatch.setenv("HOME", "/nowhere")
    given = {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
        "AWS_SESSION_TOKEN": "session/token+==",
        **more,
    }
    if url is not None:
        given["AWS_ENDPOINT_URL_LAMBDA"] = url
    for name, value in given.items():
        monkeypatch.setenv(name, value)


class Request:
    """A request as it came.

    Args:
        head: Its first line and headers.
        body: Its body.

    """

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("iso-8859-1").split("\r\n")
        self.method, self.target, self.version = first.split(" ")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.body = body


class Connection:
    """The server's side of one connection."""

    def __init__(self, peer: socket.socket, number: int, requests: list[Request]) -> None:
        self.peer = peer
        self.number = number
        self.requests = requests
        self._buffer = b""

    def request(self) -> Request | None:
        """Read one request; None if the client has gone."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        found = Request(head, b"")
        length = int(found.headers.get("content-length", 0))
        while len(self._buffer) < length:
            if not self._more():
                return None
        found.body, self._buffer = self._buffer[:length], self._buffer[length:]
        self.requests.append(found)
        return found

    def send(self, text: bytes) -> None:
        """Send bytes; whoever has gone does not get them."""
        with contextlib.suppress(OSError):
            self.peer.sendall(text)

    def _more(self) -> bool:
        try:
            got = self.peer.recv(65536)
        except OSError:
            return False
        self._buffer += got
        return bool(got)


def kind(connection: Connection) -> None:
    """Answer every request of a connection."""
    while connection.request() is not None:
        connection.send(answer())


@contextlib.contextmanager
def scripted(
    script: Callable[[Connection], Any] = kind, context: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[Request]]]:
    """Serve each connection by a script, over TLS with a context; give the port and the requests that came."""
    requests: list[Request] = []
    peers: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(peer: socket.socket, number: int) -> None:
            with contextlib.suppress(OSError), peer:
                if isinstance(peer, ssl.SSLSocket):
                    peer.do_handshake()
                script(Connection(peer, number, requests))

        def accept() -> None:
            number = 0
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if context is not None:  # now, since what it is made of is a socket no more
                    peer = context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)
                peers.append(peer)
                threads.append(threading.Thread(target=serve, args=(peer, number)))
                threads[-1].start()
                number += 1

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()[1], requests
        finally:
            # On Linux, closing alone does not wake who accepts.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for peer in peers:
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
