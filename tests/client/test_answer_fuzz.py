"""Answers spoiled in every way, against another reader of HTTP: what we take for an answer is what it takes for one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure._core import Updates
from perdure.engine import native_client
from support.wire import Connection, lambda_environment, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGINNINGS = ["HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 204 No", "HTTP/1.1 100 Continue", "HTTP/1.1 503 Busy"]
LINES = [
    *("Content-Length: 5", "content-length: 0", "Content-Length: 05", "Content-Length: 5, 5", "Content-Length: 5,6"),
    *("Content-Length: +5", "Content-Length: 5\t", "Content-Length : 5", "Content-Length: 99999999999999999999"),
    *("Transfer-Encoding: chunked", "transfer-encoding: CHUNKED", "Transfer-Encoding: chunked, chunked"),
    *("Transfer-Encoding: identity", "Connection: close", "Connection: keep-alive", "X: y", "X:", " folded", "\x01: x"),
]
BODIES = [
    *("hello", "", "hel", "hello again", "5\r\nhello\r\n0\r\n\r\n", "5;x=y\r\nhello\r\n0\r\nT: r\r\n\r\n"),
    *("05\r\nhello\r\n00\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
    *("5\r\nhello0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n", "5\r\nhello\r\n"),
    *("5;x=y;z\t\r\nhello\r\n0;\r\n\r\n", " 5 \r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n\n0\r\n\r\n"),
]
CHUNKS = ["5", "hello", "0"]
TRAILERS = [
    *("T: r", "T:", "T : r", ": r", "T", " T: r", "\tfolded", "T: r\x00", "T: \x7f", "T\xe9: r", "T: \xe9"),
    *("T: r\nU: s", "T: r\rU: s", "Content-Length: 5", "content-length: x", "Transfer-Encoding: gzip", "\n"),
]


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Give one or two answers, and maybe some damage."""
    text = ""
    for _ in range(draw(st.integers(1, 2))):
        lines = draw(st.lists(st.sampled_from(LINES), max_size=3))
        trailer = st.lists(st.sampled_from(TRAILERS), max_size=3).map(
            lambda lines: "\r\n".join([*CHUNKS, *lines, "", ""])
        )
        body = draw(st.sampled_from(BODIES) | trailer)
        text += "\r\n".join([draw(st.sampled_from(BEGINNINGS)), *lines, "", ""]) + body
    spoiled = bytearray(text.encode("latin-1"))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, max(0, len(spoiled) - 1)))
        damage = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b",", b":", b";", b"0", b"\xff"])
        )
        spoiled[at : at + draw(st.integers(0, 2))] = damage
    return bytes(spoiled)


def as_another_reads(text: bytes) -> tuple[int, bytes] | None:
    """Read an answer with h11; None if that finds none."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(text)
    connection.receive_data(b"")
    status, body = None, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert status is not None
                return status, body
            elif not isinstance(event, h11.InformationalResponse):  # it needs more, or has come to the end
                return None
    except h11.RemoteProtocolError:
        return None


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, list[bytes]]]:
    """Give a client, and what the server answers it next."""
    following: list[bytes] = []

    def script(connection: Connection) -> None:
        if connection.request() is not None:
            connection.send(following[-1])

    with scripted(script) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        found, _ = native_client.find()
        yield found, following


@settings(max_examples=settings.default.max_examples * 5)
@given(text=answers())
def test_what_we_take_for_an_answer_is_what_another_reader_takes_it_for(
    text: bytes, core: tuple[Any, list[bytes]]
) -> None:
    client, following = core
    following[:] = [text]
    given: tuple[int, bytes] | None = None
    with contextlib.suppress(ConnectionError):
        status, body, _ = client.checkpoint("arn", "t", Updates(), "ct", 30.0)  # none of the bodies is what we read
        given = status, body
    if given is not None:
        assert given == as_another_reads(text)
