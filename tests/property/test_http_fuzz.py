"""Whatever comes in over HTTP is answered, soon, and never with a traceback."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.local import LocalService, RealClock
from perdure.local.server.http import LocalServer
from support.raw import callback

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBERS = [
    *("CheckpointToken", "Updates", "ClientToken", "Id", "Type", "Action", "Payload", "Error", "SubType", "Name"),
    *("ErrorMessage", "ErrorType", "StackTrace", "Reason", "ExecutionTimeoutPaused", "StepOptions", "ParentId"),
    *("WaitOptions", "WaitSeconds", "CallbackOptions", "ContextOptions", "ChainedInvokeOptions", "FunctionName"),
    *("NextAttemptDelaySeconds", "ReplayChildren", "TimeoutSeconds", "HeartbeatTimeoutSeconds", "TenantId"),
]
WORDS = ["STEP", "WAIT", "CALLBACK", "CONTEXT", "CHAINED_INVOKE", "EXECUTION", "START", "SUCCEED", "FAIL", "RETRY"]
TEXT = st.sampled_from([*WORDS, "", "a", "f", "\x00", "\ud800", "x" * 300, "1e999", "-1"]) | st.text(max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=6),
    max_leaves=20,
)
UPDATES = st.lists(st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=8), max_size=4)
QUERY = st.lists(
    st.tuples(st.sampled_from(["MaxItems", "Marker", "ReverseOrder", "Statuses", "StartedAfter", "Qualifier"]), TEXT),
    max_size=3,
)


class Target:
    """A server with executions that one can hurt, and a connection to it."""

    def __init__(self, server: LocalServer, service: LocalService) -> None:
        self.service = service
        self.ended = ""
        self.begin()
        self.connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)

    def send(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
        try:
            self.connection.request(method, path, body, headers or {})
            response = self.connection.getresponse()
            content = response.read()
        finally:
            self.connection.close()
        assert b"Traceback" not in content
        assert response.status < 500, content
        if response.status >= 400:
            told = json.loads(content)
            assert told["Type"] == "User"
            assert response.getheader("x-amzn-errortype")
        return response.status

    def begin(self) -> None:
        """Start an execution whose invocation stays under way, with an open callback."""
        with self.service.wake:
            self.handle = self.service.start("f")
            self.handle.machine.begin_invocation()
            self.service.executions.touch(self.handle.machine)
        self.service.client.checkpoint_durable_execution(
            DurableExecutionArn=self.handle.arn,
            CheckpointToken=self.handle.machine.token,
            Updates=[callback("cb", timeout=60, heartbeat=30)],
        )
        self.arn = self.handle.arn

    def live(self, what: str) -> str:
        """Give the identifier of something that is really there."""
        if self.handle.terminal or (what == "callback" and not self.handle.open_callbacks):
            self.begin()
        if what == "token":
            return self.handle.machine.token
        if what == "ended":
            if self.ended not in self.service.handles:
                self.ended = self.service.client.invoke(FunctionName="f")["DurableExecutionArn"]
            return self.ended
        return self.handle.callback_id() if what == "callback" else self.arn

    def path(self, template: str, identifier: str) -> str:
        """Fill in a path: an identifier, and the token that is good now."""
        return template.format(quote(identifier, safe="")).replace("TOKEN", quote(self.live("token"), safe=""))


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    service = LocalService(clock=RealClock(), record=False)
    service.register("f", lambda _event, _context: {"Status": "SUCCEEDED"})
    with service, LocalServer(service) as server:
        yield Target(server, service)


PATHS = st.sampled_from(
    [
        "/2025-12-01/durable-executions/{arn}",
        "/2025-12-01/durable-executions/{arn}/checkpoint",
        "/2025-12-01/durable-executions/{arn}/state",
        "/2025-12-01/durable-executions/{arn}/history",
        "/2025-12-01/durable-executions/{arn}/pause",
        "/2025-12-01/durable-executions/{arn}/resume",
        "/2025-12-01/functions/f/durable-executions",
        "/2025-12-01/durable-execution-callbacks/AAAA/succeed",
        "/2025-12-01/durable-execution-callbacks/AAAA/fail",
        "/2015-03-31/functions/f/invocations",
    ]
)
METHODS = st.sampled_from(["GET", "POST", "DELETE", "PUT"])


@given(method=METHODS, path=PATHS, query=QUERY, body=st.binary(max_size=200))
def test_any_bytes_are_answered(
    target: Target, method: str, path: str, query: list[tuple[str, str]], body: bytes
) -> None:
    encoded = urlencode(query, errors="surrogatepass")
    target.send(method, f"{path.format(arn=quote(target.arn, safe=''))}?{encoded}", body)


@given(path=PATHS, body=VALUES)
def test_any_json_is_answered(target: Target, path: str, body: Any) -> None:
    headers = {"x-amz-invocation-type": "Event"}
    target.send("POST", path.format(arn=quote(target.arn, safe="")), json.dumps(body).encode(), headers)


@given(updates=UPDATES)
def test_any_updates_are_answered(target: Target, updates: list[Any]) -> None:
    body = json.dumps({"CheckpointToken": target.live("token"), "Updates": updates}).encode()
    target.send("POST", f"/2025-12-01/durable-executions/{quote(target.arn, safe='')}/checkpoint", body)


@given(path=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=40))
def test_any_path_is_answered(target: Target, path: str) -> None:
    target.send("GET", "/" + quote(path, safe="/%"))


@given(name=TEXT, headers=st.dictionaries(st.sampled_from(["X-Amz-Invocation-Type", "X-Amz-Tenant-Id", "Host"]), TEXT))
def test_any_header_is_answered(target: Target, name: str, headers: dict[str, str]) -> None:
    printable = {
        key: value.encode("ascii", "ignore").decode().translate(dict.fromkeys(range(32)))
        for key, value in {**headers, "X-Amz-Durable-Execution-Name": name}.items()
    }
    target.send("POST", "/2015-03-31/functions/f/invocations", b"1", printable)


# -- what is really there, mixed with what is not ----------------------------------------------------------------------

STATE = "/state?CheckpointToken=TOKEN"
ON_EXECUTIONS = [
    *(("POST", f"/2025-12-01/durable-executions/{{}}/{verb}") for verb in ("stop", "pause", "resume", "checkpoint")),
    *(("GET", f"/2025-12-01/durable-executions/{{}}{part}") for part in ("", "/history", STATE)),
    ("DELETE", "/2025-12-01/durable-executions/{}"),
]
ON_CALLBACKS = [
    ("POST", f"/2025-12-01/durable-execution-callbacks/{{}}/{verb}") for verb in ("succeed", "fail", "heartbeat")
]
TWISTS = st.sampled_from(
    [lambda text: text] * 4 + [str.upper, lambda text: text[:-1], lambda text: text + "/%00=\u00e9"]
)
"""What is done to an identifier: mostly nothing."""
REASONS = st.fixed_dictionaries({}, optional={"Reason": TEXT, "ExecutionTimeoutPaused": VALUES, "ClientToken": TEXT})
ERRORS = st.fixed_dictionaries({}, optional={"ErrorMessage": VALUES, "ErrorType": VALUES, "StackTrace": VALUES})
BODIES = (
    st.binary(max_size=50)
    | st.builds(lambda value: json.dumps(value).encode(), VALUES | REASONS | ERRORS)
    | st.builds(lambda updates: json.dumps({"CheckpointToken": "TOKEN", "Updates": updates}).encode(), UPDATES)
)
DEEDS = st.lists(
    st.tuples(
        st.tuples(st.sampled_from(ON_EXECUTIONS), st.sampled_from(["arn", "arn", "ended", "callback", "token"]))
        | st.tuples(st.sampled_from(ON_CALLBACKS), st.sampled_from(["callback", "callback", "arn", "token"])),
        TWISTS,
        BODIES,
    ),
    min_size=1,
    max_size=6,
)


@given(deeds=DEEDS)
def test_whatever_is_done_to_what_is_there_is_answered(target: Target, deeds: list[Any]) -> None:
    for ((method, path), what), twist, body in deeds:
        content = body.replace(b"TOKEN", target.live("token").encode())
        target.send(method, target.path(path, twist(target.live(what))), content)
    assert target.send("GET", target.path("/2025-12-01/durable-executions/{}", target.live("arn"))) == 200


def test_the_fuzzed_actions_are_those_of_the_api(target: Target) -> None:
    def status(method: str, path: str, what: str) -> int:
        return target.send(method, target.path(path, target.live(what)))

    target.begin()
    said = [status(method, path, "arn") for method, path in ON_EXECUTIONS if method == "GET"]
    said += [status("POST", f"/2025-12-01/durable-executions/{{}}/{verb}", "arn") for verb in ("pause", "resume")]
    said += [status(method, path, "callback") for method, path in reversed(ON_CALLBACKS)]
    said += [status("POST", "/2025-12-01/durable-executions/{}/stop", "arn")]
    said += [status("DELETE", "/2025-12-01/durable-executions/{}", "ended")]
    assert said == [200, 200, 200, 202, 202, 200, 200, 200, 200, 202]


# -- what is no HTTP ---------------------------------------------------------------------------------------------------

INVOKE = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: x\r\n"
CHUNKED = INVOKE + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SILENCE = 0.1


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """Give the address of a server that does not wait long for a body."""
    service = LocalService(record=False).register("f", lambda event, _context: event, durable=False)
    with service, LocalServer(service, body_timeout=SILENCE) as server:
        url = urlsplit(server.url)
        assert url.hostname is not None
        assert url.port is not None
        yield url.hostname, url.port


def exchange(address: tuple[str, int], *parts: bytes) -> bytes:
    """Send bytes, and return all that comes until the server closes the connection, which it must."""
    with socket.create_connection(address, timeout=20) as connection:
        received = []
        try:
            with suppress(ConnectionError):  # it may have had enough, and has said why
                for part in parts:
                    connection.sendall(part)
            while data := connection.recv(65_536):
                received.append(data)
        except ConnectionError:
            pass  # it closes while something of ours is still on the way
    answer = b"".join(received)
    assert b"Traceback" not in answer
    assert b"HTTP/1.1 500" not in answer
    return answer


def is_well(address: tuple[str, int]) -> bool:
    body = b"Content-Length: 2\r\nConnection: close\r\n\r\n42"
    return exchange(address, INVOKE + body).endswith(b"\r\n\r\n42")


@pytest.mark.parametrize(
    "half",
    [
        INVOKE + b"Content-Length: 10\r\n\r\n1234",
        INVOKE + b"Content-Length: 10\r\n\r\n",
        INVOKE + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        CHUNKED,
        CHUNKED + b"5\r\n12",
        CHUNKED + b"2\r\n12\r\n",
        CHUNKED + b"2\r\n12\r\n0\r\n",
        INVOKE + b"Content-Length: 2\r\n\r\n42" + INVOKE + b"Content-Length: 10\r\n\r\n1",
    ],
)
def test_half_a_body_is_not_waited_for_for_ever(address: tuple[str, int], half: bytes) -> None:
    *_, answer = exchange(address, half).split(b"HTTP/1.1 ")
    assert answer.startswith(b"408 ")
    assert b"RequestTimeoutException" in answer
    assert b"0.1 seconds" in answer
    assert is_well(address)


@pytest.fixture(scope="module")
def hasty() -> Iterator[tuple[str, int]]:
    """Give the address of a server that does not wait long for headers."""
    service = LocalService(record=False).register("f", lambda event, _context: event, durable=False)
    with service, LocalServer(service, header_timeout=1.0) as server:
        url = urlsplit(server.url)
        assert url.hostname is not None
        assert url.port is not None
        yield url.hostname, url.port


@pytest.mark.parametrize("half", [b"G", b"GET / HTTP/1.1", INVOKE, INVOKE + b"X-Long: " + b"y" * 1000, INVOKE[:-1]])
def test_half_of_the_headers_is_not_waited_for_for_ever(hasty: tuple[str, int], half: bytes) -> None:
    assert exchange(hasty, half).startswith(b"HTTP/1.1 408 ")
    assert is_well(hasty)


def test_a_connection_on_which_nothing_comes_is_closed(hasty: tuple[str, int]) -> None:
    assert exchange(hasty) == b""
    assert is_well(hasty)


def test_headers_that_come_byte_by_byte_are_not_waited_for_any_longer(hasty: tuple[str, int]) -> None:
    with socket.create_connection(hasty, timeout=20) as connection:
        answered = threading.Event()

        def drip() -> None:
            with suppress(OSError):  # the server has closed the connection
                while not answered.wait(0.05):
                    connection.sendall(b"X")

        connection.sendall(INVOKE)
        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 408 ")
        finally:
            answered.set()
            dripping.join()


@pytest.mark.parametrize("together", [True, False])
def test_half_of_a_second_request_is_not_waited_for_either(hasty: tuple[str, int], together: bool) -> None:
    first, half = INVOKE + b"Content-Length: 2\r\n\r\n42", INVOKE
    with socket.create_connection(hasty, timeout=20) as connection:
        connection.sendall(first + half if together else first)
        received = b""
        while not received.endswith(b"\r\n\r\n42"):
            received += connection.recv(65_536)
        if not together:
            connection.sendall(half)
        rest = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert rest == b"" if together else rest.startswith(b"HTTP/1.1 408 ")


def test_an_answer_that_takes_longer_than_headers_may_is_waited_for() -> None:
    called = threading.Event()

    def slow(_event: Any, _context: Any) -> int:
        return called.wait(1.0) or 1

    service = LocalService(record=False).register("f", slow, durable=False)
    with service, LocalServer(service, header_timeout=0.2) as server:
        url = urlsplit(server.url)
        whole = INVOKE + b"Content-Length: 2\r\nConnection: close\r\n\r\n42"
        assert exchange((url.hostname or "", url.port or 0), whole).endswith(b"\r\n\r\n1")


@pytest.mark.parametrize("half", [b"", b"GET", INVOKE, INVOKE + b"Content-Length: 10\r\n\r\n1234", CHUNKED + b"5\r\n1"])
def test_a_caller_that_goes_away_in_the_middle_leaves_the_others_alone(address: tuple[str, int], half: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(half)
        assert is_well(address)
    assert is_well(address)


def test_a_slow_body_is_waited_for_as_long_as_something_comes() -> None:
    service = LocalService(record=False).register("f", lambda event, _context: event, durable=False)
    with service, LocalServer(service, body_timeout=3) as server:
        url = urlsplit(server.url)
        with socket.create_connection((url.hostname, url.port), timeout=20) as connection:
            connection.sendall(INVOKE + b"Content-Length: 7\r\nConnection: close\r\n\r\n")
            for byte in b"1234567":
                time.sleep(0.5)
                connection.sendall(bytes([byte]))
            assert connection.makefile("rb").read().endswith(b"\r\n\r\n1234567")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"garbage\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/one\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000, b"400"),
        (INVOKE + b"Content-Length: -1\r\n\r\n42", b"400"),
        (INVOKE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n42", b"400"),
        (INVOKE + b"Content-Length: two\r\n\r\n42", b"400"),
        (INVOKE + b"Content-Length: 1\r\n\r\n42 and more\r\n\r\n", b"200"),
        (CHUNKED + b"zz\r\n", b"400"),
        (CHUNKED + b"-1\r\n", b"400"),
        (CHUNKED + b"2\r\n1234567\r\n0\r\n\r\n", b"400"),
        (CHUNKED + b"f" * 30 + b"\r\n", b"400"),
        (b"BREW /pot HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"405"),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n", b"404"),
    ],
)
def test_what_is_no_request_is_refused(address: tuple[str, int], sent: bytes, status: bytes) -> None:
    assert exchange(address, sent)[9:12] == status
    assert is_well(address)


def test_requests_that_come_together_are_answered_in_their_order(address: tuple[str, int]) -> None:
    answer = exchange(
        address, *(INVOKE + b"Content-Length: 1\r\n\r\n%d" % number for number in range(5)), b"nonsense\r\n\r\n" + LAST
    )
    answers = answer.split(b"HTTP/1.1 ")[1:]
    assert [each[:3] for each in answers] == [b"200"] * 5 + [b"400"]
    assert [each[-1:] for each in answers[:5]] == [b"0", b"1", b"2", b"3", b"4"]


LINES = st.sampled_from([b"GET / HTTP/1.1", b"POST /2015-03-31/functions/f/invocations HTTP/1.1", b"DELETE * HTTP/1.0"])
FIELDS = st.sampled_from(
    [
        *(b"Host: x", b"Content-Length: 1", b"Content-Length: 5", b"Transfer-Encoding: chunked", b": ", b"a b: c"),
        *(b"Connection: close", b"Connection: keep-alive", b"Expect: 100-continue", b"X: \xff\x00", b" folded"),
        *(b"X-Amz-Invocation-Type: Event", b"Upgrade: h2c"),
    ]
)
PIECES = st.lists(
    st.builds(
        lambda line, fields, body: b"\r\n".join([line, *fields, b"", body]),
        LINES | st.binary(max_size=20),
        st.lists(FIELDS | st.binary(max_size=20), max_size=4),
        st.sampled_from([b"", b"1", b"12345", b"1\r\n1\r\n0\r\n\r\n", b"g\r\n"]) | st.binary(max_size=20),
    ),
    min_size=1,
    max_size=3,
)


@given(pieces=PIECES)
def test_any_bytes_on_a_connection_are_put_up_with(address: tuple[str, int], pieces: list[bytes]) -> None:
    exchange(address, *pieces, b"\r\n\r\n" + LAST)
    assert is_well(address)
