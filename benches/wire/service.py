"""The service in a process of its own, over HTTP and over TLS: `peers.service` behind sockets.

python -m wire.service CERTIFICATE FOLDER    prints its two ports; ends when its input does

It checks no signature, looks at nothing that it need not, and is the same for everybody. The pages of recorded
operations stand ready as bytes, in files of the folder.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from peers.service import Service

if TYPE_CHECKING:
    from datetime import datetime


def main() -> None:
    """Serve until nobody is left who wants it."""
    certificate, folder = sys.argv[1:]
    pages = {path.stem: path.read_bytes() for path in Path(folder).glob("*.page")}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ports = [_listen(pages, tls) for tls in (None, context)]
    print(json.dumps(ports), flush=True)
    sys.stdin.read()


def _listen(pages: dict[str, bytes], tls: ssl.SSLContext | None) -> int:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, pages, tls), daemon=True).start()
    return int(listener.getsockname()[1])


def _accept(listener: socket.socket, pages: dict[str, bytes], tls: ssl.SSLContext | None) -> None:
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=_serve, args=(peer, pages, tls), daemon=True).start()


def _serve(peer: socket.socket, pages: dict[str, bytes], tls: ssl.SSLContext | None) -> None:
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError), tls.wrap_socket(peer, server_side=True) if tls else peer as open_:
        service, buffer = Service(), b""
        while True:
            while (end := buffer.find(b"\r\n\r\n")) < 0:
                if not (got := open_.recv(1 << 20)):
                    return
                buffer += got
            head, buffer = buffer[:end], buffer[end + 4 :]
            length = _length(head.lower())
            if b"expect: 100-continue" in head.lower():  # as boto3 does with large bodies
                open_.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while len(buffer) < length:
                buffer += open_.recv(1 << 20)
            body, buffer = buffer[:length], buffer[length:]
            answer = _page(head, pages) if head.startswith(b"GET") else _checkpoint(service, body)
            open_.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)


def _length(head: bytes) -> int:
    _, found, rest = head.partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


def _checkpoint(service: Service, body: bytes) -> bytes:
    return json.dumps(service.checkpoint_durable_execution(**json.loads(body)), default=in_seconds).encode()


def _page(head: bytes, pages: dict[str, bytes]) -> bytes:
    target = head.split(b" ", 2)[1].decode()
    return pages[parse_qs(urlsplit(target).query)["Marker"][0]]


def in_seconds(moment: datetime) -> float:
    """Give a moment as the service's answers have it, unlike its events."""
    return moment.timestamp()


def write_pages(folder: Path, pages: list[list[dict[str, Any]]]) -> None:
    """Put pages where the service finds them, each leading to the next."""
    for number, operations in enumerate(pages):
        page: dict[str, Any] = {"Operations": operations}
        if number + 1 < len(pages):
            page["NextMarker"] = str(number + 1)
        (folder / f"{number}.page").write_text(json.dumps(page, default=in_seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
