"""Whatever comes in over HTTP is answered, soon, and never with a traceback."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.local import LocalService
from perdure.local.http import LocalServer

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
    """A server with an execution whose invocation is under way, and a connection to it."""

    def __init__(self, server: LocalServer, service: LocalService) -> None:
        self.service = service
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
        with self.service.wake:
            self.handle = self.service.start("f")
            self.handle.machine.begin_invocation()
            self.service.executions.touch(self.handle.machine)
        self.arn = self.handle.arn

    @property
    def token(self) -> str:
        if self.handle.terminal:
            self.begin()
        return self.handle.machine.token


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    service = LocalService(record=False).register("f", lambda _event, _context: {"Status": "SUCCEEDED"})
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
    body = json.dumps({"CheckpointToken": target.token, "Updates": updates}).encode()
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
