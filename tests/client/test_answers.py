"""What the service, or something in its place, may answer: never a wrong success, a lost update, or a hang."""

from __future__ import annotations

import array
import fcntl
import socket
import ssl
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from perdure import DurableContext, ExecutionError, run_durable_handler
from perdure._core import Updates
from perdure.engine import native_client
from perdure.engine.received import as_dicts
from perdure.exceptions import CheckpointError, TimedSuspendExecution
from support.invocations import LambdaContext, event, op_id
from support.wire import OK, Connection, answer, lambda_environment, scripted
from support.wired import authority, certified

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/name/execution-id"

REFUSALS = {
    "throttled": answer(
        b'{"Reason":"x","message":"slow down"}', "429 Too Many", "x-amzn-ErrorType: TooManyRequestsException"
    ),
    "a stale token": answer(
        b'{"Type":"User","message":"Invalid checkpoint token: it was used"}',
        "400 Bad Request",
        "X-Amzn-ErrorType: InvalidParameterValueException:http://internal.amazon.com/coral/",
        "x-amzn-RequestId: 4711",
    ),
    "the code in the body": answer(b'{"__type":"com.amazon#ServiceException","Message":"oops"}', "500 Internal"),
    "a key": answer(b"{}", "502 Bad Gateway", "x-amzn-errortype: KMSAccessDeniedException"),
    "no JSON": answer(b"<html>gone</html>", "503 Service Unavailable"),
    "the code in capitals": answer(b'{"Code":"ServiceException","Message":"oops"}', "500 Internal"),
    "no message": answer(b'{"__type":"a#B","message":null,"Message":"oops"}', "400 Bad Request"),
    "text": answer(b"blocked by a proxy", "403 Forbidden", "x-amz-request-id: 0815"),
    "text of odd bytes": answer(b"<!DOCTYPE html>\n\xc3\xa9", "502 Bad Gateway"),
    "nothing from a server in trouble": answer(b" \r\n", "500 Internal Server Error"),
    "nothing by an odd status": answer(b"", "599 Odd"),
    "nothing": answer(b"", "403 Forbidden"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a redirect": answer(b"", "307 Temporary Redirect", "Location: http://127.0.0.1:1/"),
}

ODD_ANSWERS = {
    "no JSON": answer(b"hello"),
    "a list": answer(b"[]"),
    "deep": answer(b"[" * 100_000),
    "no UTF-8": answer(b'{"CheckpointToken": "\xff"}'),
    "cut": answer()[:-3],
    "a length too many": answer().replace(b"Content-Length: ", b"Content-Length: 1"),
    "two lengths": answer(OK, "200 OK", "Content-Length: 3"),
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000,
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "1 GB": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n",
    "no content, and some": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}",
    "empty lines first": b"\r\n" + answer(),
    "compressed": answer(OK, "200 OK", "Content-Encoding: gzip"),
    "chunks that lie": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc\r\n0\r\n\r\n",
    "only announced": b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
}


def boto(url: str) -> Any:
    return boto3.client("lambda", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}, proxies={}))


def once(text: bytes) -> Callable[[Connection], None]:
    """Answer each request with these bytes, and hang up."""

    def script(connection: Connection) -> None:
        if connection.request() is not None:
            connection.send(text)

    return script


@pytest.mark.parametrize("case", sorted(REFUSALS.keys() - {"no content"}))  # which boto3 takes for an empty success
def test_a_refusal_has_the_shape_that_botocore_gives_it(
    case: str, native: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(once(REFUSALS[case])) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        with pytest.raises(native_client.ServiceError) as ours:
            native().checkpoint(ARN, "t", Updates(), "ct")
        client = boto(f"http://127.0.0.1:{port}")
        with pytest.raises(ClientError) as theirs:
            client.checkpoint_durable_execution(DurableExecutionArn=ARN, CheckpointToken="t", Updates=[])
        client.close()
    one, other = ours.value.response, theirs.value.response
    assert {member: one["Error"][member] for member in ("Code", "Message")} == other["Error"]
    for response in (one, other):  # of these, botocore has more
        response["ResponseMetadata"].pop("HTTPHeaders")
        response["ResponseMetadata"].pop("MaxAttemptsReached", None)
    assert one["ResponseMetadata"] == other["ResponseMetadata"]
    ours_is, theirs_is = (CheckpointError.from_exception(raised.value) for raised in (ours, theirs))
    assert ours_is.error_category == theirs_is.error_category


def test_a_refusal_whose_body_is_no_object_keeps_its_code(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = answer(b"[1]\xff", "404 Not Found", "x-amzn-errortype: ResourceNotFoundException")
    with scripted(once(refusal)) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        with pytest.raises(native_client.ServiceError) as refused:
            native().checkpoint(ARN, "t", Updates(), "ct")
    assert refused.value.response["Error"] == {"Code": "ResourceNotFoundException", "Message": "[1]\ufffd"}


@pytest.mark.parametrize("case", ODD_ANSWERS)
def test_what_is_no_answer_is_never_taken_for_one(case: str, native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(once(ODD_ANSWERS[case])) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        with pytest.raises(ConnectionError):
            native().checkpoint(ARN, "t", Updates(), "ct")
    assert len(requests) == 1


def test_no_content_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token the execution could not go on; taken for one, the answer would say that the token is revoked."""
    with scripted(once(REFUSALS["no content"])) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        with pytest.raises(CheckpointError, match="204"):
            run_durable_handler(event(), LambdaContext(), lambda _, c: c.step(lambda _: 1))
    assert len(requests) == 1


def in_chunks(trailer: bytes = b"\r\n", line: bytes = b"%x") -> bytes:
    """Give an answer in one chunk, with these lines before and after it."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + line % len(OK) + b"\r\n" + OK + b"\r\n0\r\n" + trailer


ODD_CHUNKS = {
    "another answer for a trailer": in_chunks(answer()),
    "no colon": in_chunks(b"Trailer\r\n\r\n"),
    "no name": in_chunks(b": x\r\n\r\n"),
    "a space before the colon": in_chunks(b"T : x\r\n\r\n"),
    "a folded line": in_chunks(b"T: x\r\n y\r\n\r\n"),
    "a line that begins with a space": in_chunks(b" T: x\r\n\r\n"),
    "a newline alone": in_chunks(b"T: x\nU: y\r\n\r\n"),
    "a newline alone at the end": in_chunks(b"T: x\r\n\n"),
    "a carriage return alone": in_chunks(b"T: x\rU: y\r\n\r\n"),
    "a null": in_chunks(b"T: \0\r\n\r\n"),
    "another length": in_chunks(b"content-length: 2\r\n\r\n"),
    "another coding": in_chunks(b"Transfer-Encoding: gzip\r\n\r\n"),
    "too many lines": in_chunks(b"T: x\r\n" * 65 + b"\r\n"),
    "a line too long": in_chunks(b"T: %b\r\n\r\n" % (b"x" * 2**17)),
    "no end": in_chunks(b"T: x\r\n"),
    "a newline before a size": in_chunks(line=b"\n%x"),
    "a space before a size": in_chunks(line=b" %x"),
    "a newline behind a size": in_chunks(line=b"%x\n"),
    "a newline in an extension": in_chunks(line=b"%x;x\ny"),
}


@pytest.mark.parametrize("case", ODD_CHUNKS)
def test_a_connection_whose_answer_is_odd_is_not_used_again(
    case: str, native: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []

    def script(connection: Connection) -> None:
        while connection.request() is not None:
            called.append(connection.number)
            connection.send(ODD_CHUNKS[case] if connection.number == 0 else answer())
            if case == "no end":
                return

    with scripted(script) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        client = native()
        with pytest.raises(ConnectionError):
            client.checkpoint(ARN, "t", Updates(), "ct")
        assert client.checkpoint(ARN, "t", Updates(), "ct")[0] == "next"
    assert called == [0, 1]


def arrived(connection: Connection) -> None:
    """Wait until the other end has all that was sent."""
    left = array.array("i", [1])
    while left[0]:
        fcntl.ioctl(connection.peer, termios.TIOCOUTQ, left)


@pytest.mark.parametrize("transport", ["http", "https"])
@pytest.mark.parametrize(
    "more", [answer(b'{"CheckpointToken": "of nobody"}'), b"\r\n", b""], ids=["answer", "line", "end"]
)
def test_what_comes_after_an_answer_is_no_answer_to_the_next_request(
    transport: str, more: bytes, native: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[int] = []
    answered, sent = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        while connection.request() is not None:
            called.append(connection.number)
            connection.send(answer())
            if connection.number == 0:
                assert answered.wait(30)
                connection.send(more)
                arrived(connection)
                if not more:
                    connection.peer.shutdown(socket.SHUT_RDWR)
                sent.set()

    is_safe = transport == "https"
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    with scripted(script, certified() if is_safe else None) as (port, _):
        url = f"https://localhost:{port}" if is_safe else f"http://127.0.0.1:{port}"
        lambda_environment(monkeypatch, url, AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
        client = native()
        for _ in range(3):
            assert client.checkpoint(ARN, "t", Updates(), "ct")[0] == "next"
            answered.set()
            assert sent.wait(30)
    assert called == [0, 1, 1]


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_what_tls_says_for_itself_keeps_no_connection_from_being_used(
    version: str, native: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that has the client's handshake sends tickets, before the first answer or after."""
    called: list[int] = []

    def script(connection: Connection) -> None:
        while connection.request() is not None:
            called.append(connection.number)
            connection.send(answer())

    context = certified()
    context.maximum_version = ssl.TLSVersion[version]
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    with scripted(script, context) as (port, _):
        lambda_environment(monkeypatch, f"https://localhost:{port}", AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
        client = native()
        assert client.prepare()
        for _ in range(3):
            assert client.checkpoint(ARN, "t", Updates(), "ct")[0] == "next"
    assert called == [0, 0, 0]


SOUND_ANSWERS = {
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in OK)
    + b"0\r\nTrailer: x\r\n\r\n",
    "after it was announced": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + answer(),
    "up to the end of the connection": b"HTTP/1.1 200 OK\r\n\r\n" + OK,
    "by an old server": answer().replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@pytest.mark.parametrize("case", SOUND_ANSWERS)
def test_answers_of_every_form_are_read(case: str, native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def a_byte_at_a_time(connection: Connection) -> None:
        if connection.request() is not None:
            for byte in SOUND_ANSWERS[case]:
                connection.send(bytes([byte]))

    with scripted(a_byte_at_a_time) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        token, operations, marker = native().checkpoint(ARN, "t", Updates(), "ct")
        assert (token, len(operations), marker) == ("next", 0, None)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 2**20),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + b" " * 2**20 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 2**17),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0;", b"x" * 2**20),
    ],
    ids=["a body", "chunks", "a trailer", "a chunk's line"],
)
def test_nothing_is_read_without_end(head: bytes, piece: bytes, native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []

    def script(connection: Connection) -> None:
        connection.request()
        connection.peer.sendall(head)
        while len(sent) < 1_000:  # 1 GB, but for the client that hangs up
            connection.peer.sendall(piece)
            sent.append(len(piece))

    with scripted(script) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        with pytest.raises(ConnectionError, match="does not end"):
            native().checkpoint(ARN, "t", Updates(), "ct")
    assert len(sent) < 1_000


def test_a_kept_connection_may_be_closed_at_each_moment(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first byte of an answer the call is made again, and is no failure; from there on it is one."""
    text, cut = answer(), [0]

    def script(connection: Connection) -> None:
        while connection.request() is not None:
            if len(requests) % 2 == 0:  # the second on a connection that was kept
                connection.send(text[: cut[0]])
                return
            connection.send(text)

    with scripted(script) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        for cut[0] in range(len(text)):
            client = native()
            requests.clear()
            client.checkpoint(ARN, "t", Updates(), "ct")
            if cut[0] == 0:
                token, operations, marker = client.checkpoint(ARN, "t", Updates(), "ct")
                assert (token, len(operations), marker) == ("next", 0, None)
                assert len(requests) == 3
                assert len({request.body for request in requests}) == 1
            else:
                with pytest.raises(ConnectionError):
                    client.checkpoint(ARN, "t", Updates(), "ct")
                assert len(requests) == 2


def test_a_lost_answer_is_asked_for_again_with_the_same_client_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(connection: Connection) -> None:
        while connection.request() is not None:
            if connection.number < 2:
                return
            connection.send(answer())

    with scripted(script) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}", PERDURE_CLIENT="native")
        ran: list[int] = []
        given = run_durable_handler(event(), LambdaContext(), lambda _, c: c.step(lambda _: ran.append(1)))
    assert given["Status"] == "SUCCEEDED"
    assert ran == [1]
    assert len(requests) == 3
    assert len({request.body for request in requests}) == 1


@pytest.mark.parametrize("case", ["a stale token", "the code in the body", "nothing", "a key"])
def test_an_invocation_ends_as_it_does_over_boto3(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome(kind: str) -> Any:
        monkeypatch.setenv("PERDURE_CLIENT", kind)
        monkeypatch.setattr("perdure.engine.client._default", None)
        monkeypatch.setattr("perdure.lambda_service.LambdaClient._shared", None)
        try:
            given = run_durable_handler(event(), LambdaContext(0.5), lambda _, c: c.step(lambda _: 1))
        except Exception as error:  # noqa: BLE001  it is compared
            return type(error)
        return given["Status"], given["Error"]["ErrorType"]

    with scripted(once(REFUSALS[case])) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}", AWS_MAX_ATTEMPTS="1")
        assert outcome("native") == outcome("boto3")


def test_no_call_lasts_longer_than_the_invocation(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def drip(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not ended.wait(0.05):
            connection.send(b" ")

    with scripted(drip) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=f"no answer from 127.0.0.1:{port} in time"):
            native(LambdaContext(0.3)).checkpoint(ARN, "t", Updates(), "ct")
        assert time.monotonic() - began < 30
        ended.set()


def test_the_moments_of_an_answer_are_milliseconds_like_those_of_an_event(
    native: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = (
        b'{"CheckpointToken": null, "NewExecutionState": {"NextMarker": "more", "Operations": ['
        b'{"Id": "a", "Type": "WAIT", "WaitDetails": {"ScheduledEndTimestamp": 1767225600.123}},'
        b'{"Id": "b", "Type": "STEP", "StepDetails": {"NextAttemptTimestamp": 1767225600, "Attempt": 1}},'
        b'{"Id": "c", "Type": "NEW_KIND", "NewDetails": {"x": 1}}]}}'
    )
    with scripted(once(answer(operations))) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        token, found, marker = native().checkpoint(ARN, "t", Updates(), "ct")
    assert (token, marker) == (None, "more")
    found = as_dicts(found)
    assert found[0]["WaitDetails"] == {"ScheduledEndTimestamp": 1_767_225_600_123}
    assert found[1]["StepDetails"] == {"NextAttemptTimestamp": 1_767_225_600_000, "Attempt": 1}
    assert found[2]["NewDetails"] == {"x": 1}


@pytest.mark.parametrize("moment", ["2100-01-01T00:00:00Z", "2100-01-01T02:00:00.000+02:00", "2100-01-01T00:00:00"])
def test_the_moments_of_an_answer_may_be_by_the_calendar(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 reads them, too."""
    told = (
        b'{"CheckpointToken": "t", "NewExecutionState": {"Operations": [{"Id": "%s", "Type": "WAIT", '
        b'"SubType": "Wait", "Status": "STARTED", "StartTimestamp": "%s", '
        b'"WaitDetails": {"ScheduledEndTimestamp": "%s"}}]}}' % (op_id(1).encode(), moment.encode(), moment.encode())
    )
    until: list[Any] = []

    def handler(_event: Any, context: DurableContext) -> Any:
        try:
            context.wait(5)
        except TimedSuspendExecution as suspended:
            until.append(suspended.scheduled_timestamp)
            raise

    with scripted(once(answer(told))) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}", PERDURE_CLIENT="native")
        given = run_durable_handler(event(), LambdaContext(), handler)
    assert given == {"Status": "PENDING"}
    assert until == [4_102_444_800.0]


def _told(details: bytes) -> bytes:
    return b'{"CheckpointToken": "t", "NewExecutionState": {"Operations": [' + details + b"]}}"


ODD_SHAPES = {
    "a state that is text": (b'{"CheckpointToken": "t", "NewExecutionState": "x"}', "NewExecutionState is no object"),
    "a token that is a number": (b'{"CheckpointToken": 7}', "CheckpointToken is no text but 7"),
    "operations that are an object": (
        b'{"CheckpointToken": "t", "NewExecutionState": {"Operations": {"a": 1}}}',
        "Operations is no list",
    ),
    "an operation that is null": (_told(b"null"), "operation 0 of the answer to a checkpoint .* no object but None"),
    "details that are text": (
        _told(b'{"Id": "a", "Type": "WAIT", "Status": "STARTED", "WaitDetails": "x"}'),
        "WaitDetails is no object but 'x'",
    ),
    "a moment beyond": (
        _told(b'{"Id": "a", "Type": "WAIT", "Status": "STARTED", "WaitDetails": {"ScheduledEndTimestamp": 1e999}}'),
        "ScheduledEndTimestamp is no moment",
    ),
    "a moment further beyond": (
        _told(
            b'{"Id": "a", "Type": "WAIT", "Status": "STARTED", "WaitDetails": {"ScheduledEndTimestamp": 1%s}}'
            % (b"0" * 400)
        ),
        "ScheduledEndTimestamp is no moment",
    ),
    "a moment that is true": (
        _told(b'{"Id": "a", "Type": "WAIT", "Status": "STARTED", "WaitDetails": {"ScheduledEndTimestamp": true}}'),
        "ScheduledEndTimestamp is no moment .* but True",
    ),
    "a moment that is text": (
        _told(b'{"Id": "a", "Type": "STEP", "Status": "PENDING", "StepDetails": {"NextAttemptTimestamp": "soon"}}'),
        "NextAttemptTimestamp is no moment .* but 'soon'",
    ),
}


@pytest.mark.parametrize("case", ODD_SHAPES)
def test_an_answer_of_odd_shape_ends_the_invocation_with_what_is_odd(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, message = ODD_SHAPES[case]
    with scripted(once(answer(body))) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}", PERDURE_CLIENT="native")
        with pytest.raises(ExecutionError, match=message):
            run_durable_handler(event(), LambdaContext(), lambda _, c: c.step(lambda _: 1))
    assert len(requests) == 1


def test_pages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (
        b'{"Operations": [{"Id": "%s", "Type": "STEP", "SubType": "Step", "Status": "SUCCEEDED", '
        b'"StartTimestamp": 1767225600.5, "StepDetails": {"Result": "42"}}]}' % op_id(1).encode()
    )
    with scripted(once(answer(page))) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}", PERDURE_CLIENT="native")

        def handler(_event: Any, context: DurableContext) -> Any:
            return context.step(lambda _: 1)

        given = run_durable_handler(event(marker="two"), LambdaContext(), handler)
    assert given == {"Status": "SUCCEEDED", "Result": "42"}
    assert "Marker=two" in requests[0].target


def test_a_token_is_never_told(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(once(b"")) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        client = native()
        with pytest.raises(ConnectionError) as lost:
            client.checkpoint(ARN, "t", Updates(), "ct")
    text = repr(lost.value) + repr(client._core)
    assert "AKID" not in text
    assert "session/token" not in text
    assert "Signature" not in text


def test_pages_that_go_round_end_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(connection: Connection) -> None:
        while connection.request() is not None:
            connection.send(answer(b'{"Operations": [], "NextMarker": "again"}'))

    with scripted(script) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}", PERDURE_CLIENT="native")
        with pytest.raises(ExecutionError, match="go round"):
            run_durable_handler(event(marker="again"), LambdaContext(), lambda *_: 1)
