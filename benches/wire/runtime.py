"""A function as Lambda runs it: AWS's runtime client in a process of its own, and the Runtime API on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from wire.quota import inside
from wire.world import BENCHES

if TYPE_CHECKING:
    from types import TracebackType

    from wire.world import Contender, World

PATIENCE = 120
"""Seconds that a process may take for one thing."""

_HEADERS = (
    "Lambda-Runtime-Aws-Request-Id: 4b6c0c64\r\n"
    "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:123456789012:function:bench:1\r\n"
    "Content-Type: application/json\r\n"
)


class Function:
    """One process of a contender under the runtime client, from its start to its end.

    Args:
        world: Where it runs.
        contender: Whose function it is.
        group: The cgroup that it runs in, if in one.

    """

    def __init__(self, world: World, contender: Contender, group: Path | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self._peers: list[socket.socket] = []
        self._waiting: socket.socket | None = None
        environment = world.environment(contender, tls=True)
        environment["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{self._listener.getsockname()[1]}"
        environment["AWS_EXECUTION_ENV"] = "AWS_Lambda_python{}.{}".format(*sys.version_info)
        handler = f"wire.functions.{contender.module}.handler"
        self.began = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603  AWS's runtime client and our function
            inside(group, [sys.executable, "-m", "awslambdaric", handler]),
            env=environment,
            cwd=BENCHES,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        output, _ = self._process.communicate()
        if error is not None:
            error.add_note(output.decode(errors="replace")[-5000:])
        for peer in (*self._peers, self._listener):
            peer.close()

    def invoke(self, event: str) -> tuple[bytes, float]:
        """Make one invocation; give its response, and when it was there."""
        peer = self._asked()
        body = event.encode()
        deadline = int((time.time() + 900) * 1000)
        head = f"HTTP/1.1 200 OK\r\nLambda-Runtime-Deadline-Ms: {deadline}\r\n{_HEADERS}"
        peer.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self._waiting = None
        path, response = self._request(peer)
        at = time.perf_counter()
        self._peers[-1].sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}")
        if not path.endswith(b"/response"):
            raise RuntimeError(f"the invocation failed: {response.decode(errors='replace')}")
        return response, at

    def ready(self) -> None:
        """Return when the process asks for its next event."""
        self._waiting = self._asked()

    def resident(self) -> int:
        """Give the memory of the process that is resident, in KiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def _asked(self) -> socket.socket:
        if self._waiting is None:
            path, _ = self._request(self._peers[-1] if self._peers else None)
            if not path.endswith(b"/next"):
                raise RuntimeError(f"the runtime client asked for {path!r}")
        return self._waiting or self._peers[-1]

    def _request(self, peer: socket.socket | None) -> tuple[bytes, bytes]:
        """Read one request, on a new connection where the one there was has ended."""
        buffer = b""
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            got = peer.recv(1 << 16) if peer is not None else b""
            if not got:
                peer, _ = self._listener.accept()
                peer.settimeout(PATIENCE)
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._peers.append(peer)
            buffer += got
        assert peer is not None
        head, body = buffer[:end].lower(), buffer[end + 4 :]
        path = buffer.split(b" ", 2)[1]
        if b"transfer-encoding: chunked" in head:
            while not body.endswith(b"0\r\n\r\n"):
                body += peer.recv(1 << 16)
            return path, _unchunked(body)
        _, found, rest = head.partition(b"content-length:")
        length = int(rest.split(b"\r\n", 1)[0]) if found else 0
        while len(body) < length:
            body += peer.recv(1 << 16)
        return path, body


def _unchunked(text: bytes) -> bytes:
    parts: list[bytes] = []
    while True:
        size, _, text = text.partition(b"\r\n")
        if not (length := int(size, 16)):
            return b"".join(parts)
        parts.append(text[:length])
        text = text[length + 2 :]
