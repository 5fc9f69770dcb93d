"""The service over real sockets, with boto3 as it comes: every action, every kind of refusal, and what is no action."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.exceptions import ClientError

from perdure import DurableContext, durable_execution
from perdure.local import LocalService, RealClock
from perdure.local.server.connections import Complaints
from perdure.local.server.http import LocalServer
from support.model import check_response
from support.raw import ERROR, callback, context, execution, invoke, step, wait
from support.web import lambda_client, served

if TYPE_CHECKING:
    from collections.abc import Iterator

PENDING = {"Status": "PENDING"}


@durable_execution
def greet(event: Any, ctx: DurableContext) -> Any:
    return ctx.step(lambda _: f"hello {event['name']}", name="greet")


@durable_execution
def ask(_event: Any, ctx: DurableContext) -> Any:
    return ctx.create_callback(name="answer").result()


@durable_execution
def fails(_event: Any, _ctx: DurableContext) -> Any:
    raise ValueError("broken")


class Web:
    """A served service, a boto3 client of it, and an invocation that a test holds open by hand."""

    def __init__(self, service: LocalService, server: LocalServer, client: Any) -> None:
        self.service, self.server, self.client = service, server, client

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        response: dict[str, Any] = getattr(self.client, method)(**arguments)
        check_response(method, response)
        return response

    def start(self, function: str, name: str | None = None, payload: str = "{}") -> str:
        named = {} if name is None else {"DurableExecutionName": name}
        response = self.call("invoke", FunctionName=function, InvocationType="Event", Payload=payload.encode(), **named)
        return str(response["DurableExecutionArn"])

    def callback_of(self, arn: str) -> str:
        """Wait until an execution has opened its callback."""
        with self.service.wake:
            handle = self.service.execution(arn)
            assert self.service.wake.wait_for(lambda: handle.open_callbacks and not handle.machine.invoking, 20)
            return handle.callback_id()

    def held(self) -> tuple[str, str]:
        """Start an execution whose invocation stays under way; return its ARN and its first token."""
        begun: list[dict[str, Any]] = []
        came = threading.Event()
        release = threading.Event()
        self.releases.append(release)

        def handler(event: Any, _context: Any) -> Any:
            begun.append(event)
            came.set()
            release.wait(30)
            return PENDING

        self.service.register("held", handler)
        arn = self.start("held")
        assert came.wait(20)
        return arn, begun[0]["CheckpointToken"]

    releases: list[threading.Event]


@pytest.fixture(scope="module")
def running() -> Iterator[Web]:
    service = LocalService(clock=RealClock())
    service.register("greet", greet).register("ask", ask).register("fails", fails)
    service.register("plain", lambda event, _context: event, durable=False)
    with served(service) as (_, server, client):
        yield Web(service, server, client)


@pytest.fixture
def web(running: Web) -> Iterator[Web]:
    running.releases = []
    yield running
    for release in running.releases:
        release.set()


def code_of(call: Any, **arguments: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    assert type(caught.value).__name__ in (response["Error"]["Code"], "ClientError")
    assert response["Error"]["Message"]
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


# -- the actions -------------------------------------------------------------------------------------------------------


def test_invoke_waits_for_the_result(web: Web) -> None:
    response = web.call("invoke", FunctionName="greet", Payload=b'{"name": "Ada"}', DurableExecutionName="mine")
    assert (response["StatusCode"], response["Payload"].read()) == (200, b'"hello Ada"')
    assert (response["ExecutedVersion"], response["DurableExecutionArn"].split("/")[-2]) == ("$LATEST", "mine")


def test_invoke_tells_a_failure_as_lambda_does(web: Web) -> None:
    response = web.call("invoke", FunctionName="fails")
    assert response["FunctionError"] == "Unhandled"
    assert json.loads(response["Payload"].read()) == {"errorMessage": "broken", "errorType": "ValueError"}


def test_invoke_of_a_plain_function(web: Web) -> None:
    response = web.call("invoke", FunctionName="plain", Payload=b"[1]")
    assert response["Payload"].read() == b"[1]"
    assert "DurableExecutionArn" not in response
    assert web.call("invoke", FunctionName="plain", InvocationType="DryRun")["StatusCode"] == 204


def test_many_callers_wait_at_once(web: Web) -> None:
    results: list[Any] = []

    def wait_for_answer() -> None:
        client = lambda_client(web.server.url)
        response = client.invoke(FunctionName="ask", DurableExecutionName="crowded", Payload=b"{}")
        results.append(response["Payload"].read())
        client.close()

    arn = web.start("ask", "crowded")
    threads = [threading.Thread(target=wait_for_answer) for _ in range(8)]
    for thread in threads:
        thread.start()
    web.call("send_durable_execution_callback_success", CallbackId=web.callback_of(arn), Result=b'"yes"')
    for thread in threads:
        thread.join(20)
    assert results == [b'"\\"yes\\""'] * 8


def test_checkpoints_and_state(web: Web) -> None:
    arn, token = web.held()
    arguments = {"DurableExecutionArn": arn, "CheckpointToken": token, "ClientToken": "once"}
    updates = [
        context("c", "START", Name="box"),
        step("s", "START", ParentId="c"),
        step(
            "s",
            "SUCCEED",
            ParentId="c",
            Payload="\u00fc\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        ),
        wait("w", 600),
        callback("cb", 60),
    ]
    response = web.call("checkpoint_durable_execution", Updates=updates, **arguments)
    operations = {operation["Id"]: operation for operation in response["NewExecutionState"]["Operations"]}
    assert operations["s"]["StepDetails"]["Result"] == "\u00fc\U0001f600"
    assert operations["w"]["WaitDetails"]["ScheduledEndTimestamp"] - operations["w"]["StartTimestamp"] == timedelta(
        seconds=600
    )
    again = web.call("checkpoint_durable_execution", Updates=updates, **arguments)
    assert again["CheckpointToken"] == response["CheckpointToken"]
    seen: list[str] = []
    marker: dict[str, str] = {}
    while True:
        page = web.call(
            "get_durable_execution_state",
            DurableExecutionArn=arn,
            CheckpointToken=response["CheckpointToken"],
            MaxItems=2,
            **marker,
        )
        seen += [operation["Id"] for operation in page["Operations"]]
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert seen[1:] == ["c", "s", "w", "cb"]
    web.call("stop_durable_execution", DurableExecutionArn=arn)


def test_get_and_history(web: Web) -> None:
    arn = web.call("invoke", FunctionName="greet", Payload=b'{"name": "Bo"}')["DurableExecutionArn"]
    described = web.call("get_durable_execution", DurableExecutionArn=arn)
    assert (described["Status"], described["Result"]) == ("SUCCEEDED", '"hello Bo"')
    assert abs(described["StartTimestamp"] - datetime.now(UTC)) < timedelta(minutes=1)
    bare = web.call("get_durable_execution", DurableExecutionArn=arn, IncludeExecutionData=False)
    assert "Result" not in bare
    kinds = [
        event["EventType"]
        for page in web.client.get_paginator("get_durable_execution_history").paginate(
            DurableExecutionArn=arn, PaginationConfig={"PageSize": 2}
        )
        for event in page["Events"]
    ]
    assert kinds == ["ExecutionStarted", "StepStarted", "StepSucceeded", "InvocationCompleted", "ExecutionSucceeded"]
    last = web.call("get_durable_execution_history", DurableExecutionArn=arn, ReverseOrder=True, MaxItems=1)
    assert last["Events"][0]["EventType"] == "ExecutionSucceeded"


def test_list(web: Web) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    for number in range(3):
        web.call("invoke", FunctionName="greet", Payload=b'{"name": "x"}', DurableExecutionName=f"listed-{number}")
    pages = web.client.get_paginator("list_durable_executions_by_function").paginate(
        FunctionName="greet",
        Statuses=["SUCCEEDED", "FAILED"],
        StartedAfter=before,
        StartedBefore=datetime.now(UTC) + timedelta(minutes=1),
        ReverseOrder=True,
        PaginationConfig={"PageSize": 1},
    )
    names = [execution["DurableExecutionName"] for page in pages for execution in page["DurableExecutions"]]
    assert [name for name in names if name.startswith("listed")] == ["listed-0", "listed-1", "listed-2"]
    (one,) = web.call("list_durable_executions_by_function", FunctionName="greet", DurableExecutionName="listed-1")[
        "DurableExecutions"
    ]
    assert one["Status"] == "SUCCEEDED"


def test_stop_pause_resume_and_delete(web: Web) -> None:
    arn = web.start("ask")
    web.callback_of(arn)
    web.call("pause_durable_execution", DurableExecutionArn=arn, Reason="lunch", ExecutionTimeoutPaused=False)
    described = web.call("get_durable_execution", DurableExecutionArn=arn)
    assert (described["Status"], described["PauseDetails"]["Reason"]) == ("PAUSED", "lunch")
    assert described["PauseDetails"]["ExecutionTimeoutPaused"] is False
    web.call("resume_durable_execution", DurableExecutionArn=arn)
    assert code_of(web.client.delete_durable_execution, DurableExecutionArn=arn) == ("ResourceConflictException", 409)
    stopped = web.call("stop_durable_execution", DurableExecutionArn=arn, Error=ERROR)
    assert isinstance(stopped["StopTimestamp"], datetime)
    assert web.call("get_durable_execution", DurableExecutionArn=arn)["Error"] == ERROR
    deleted = web.call("delete_durable_execution", DurableExecutionArn=arn)
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert code_of(web.client.get_durable_execution, DurableExecutionArn=arn) == ("ResourceNotFoundException", 404)


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_callbacks(web: Web, outcome: str) -> None:
    arn = web.start("ask")
    identifier = web.callback_of(arn)
    web.call("send_durable_execution_callback_heartbeat", CallbackId=identifier)
    given: dict[str, Any] = {"Result": b'{"b": 1}'} if outcome == "success" else {"Error": ERROR}
    web.call(f"send_durable_execution_callback_{outcome}", CallbackId=identifier, **given)
    handle = web.service.execution(arn).drive()
    assert handle.status == ("SUCCEEDED" if outcome == "success" else "FAILED")
    answer = getattr(web.client, f"send_durable_execution_callback_{outcome}")
    assert code_of(answer, CallbackId=identifier, **given) == ("ResourceNotFoundException", 404)


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_the_errors_of_boto3_are_those_of_the_service(web: Web) -> None:
    client = web.client
    arn, token = web.held()
    bad: dict[str, Any] = {"DurableExecutionArn": arn, "CheckpointToken": token}
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="which is not a context"):
        client.checkpoint_durable_execution(**bad, Updates=[step("a", "START", ParentId="nobody")])
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="Invalid checkpoint token"):
        client.checkpoint_durable_execution(**{**bad, "CheckpointToken": "AAAA"}, Updates=[])
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="nobody"):
        client.invoke(FunctionName="nobody")
    web.start("ask", "taken")
    with pytest.raises(client.exceptions.DurableExecutionAlreadyStartedException):
        web.start("ask", "taken", "[]")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName="ask", Payload=b"{")
    with pytest.raises(client.exceptions.RequestTooLargeException):
        client.invoke(FunctionName="ask", InvocationType="Event", Payload=b"1" * (1024**2 + 1))
    web.call("stop_durable_execution", DurableExecutionArn=arn)


def test_a_response_without_a_token_says_that_the_execution_has_ended(web: Web) -> None:
    arn, token = web.held()
    response = web.call(
        "checkpoint_durable_execution",
        DurableExecutionArn=arn,
        CheckpointToken=token,
        Updates=[invoke("i", "nobody"), execution("FAIL", Error=ERROR)],
    )
    assert "CheckpointToken" not in response
    assert web.call("get_durable_execution", DurableExecutionArn=arn)["Status"] == "FAILED"


def send(web: Web, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str | None, Any]:
    connection = http.client.HTTPConnection(urlsplit(web.server.url).netloc, timeout=20)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = json.loads(response.read() or b"null")
    connection.close()
    return response.status, response.getheader("x-amzn-errortype"), content


ARN = quote("arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST/durable-execution/n/i", safe="")
EXECUTIONS = "/2025-12-01/durable-executions"
INVOKE = "/2015-03-31/functions/greet/invocations"


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/", b"", (404, "UnknownOperationException")),
        ("PUT", f"{EXECUTIONS}/{ARN}", b"", (404, "UnknownOperationException")),
        ("GET", f"{EXECUTIONS}/nonsense", b"", (400, "InvalidParameterValueException")),
        ("GET", f"{EXECUTIONS}/{ARN}", b"", (404, "ResourceNotFoundException")),
        ("GET", f"{EXECUTIONS}/{ARN}/history?MaxItems=many", b"", (400, "InvalidParameterValueException")),
        ("GET", f"{EXECUTIONS}/{ARN}/history?ReverseOrder=no", b"", (400, "InvalidParameterValueException")),
        ("POST", f"{EXECUTIONS}/{ARN}/checkpoint", b"{", (400, "SerializationException")),
        ("POST", f"{EXECUTIONS}/{ARN}/checkpoint", b"[]", (400, "SerializationException")),
        ("POST", f"{EXECUTIONS}/{ARN}/checkpoint", b"{}", (400, "InvalidParameterValueException")),
        ("POST", f"{EXECUTIONS}/{ARN}/checkpoint", b'{"Updates": 1}', (400, "SerializationException")),
        ("POST", f"{EXECUTIONS}/{ARN}/checkpoint", b"[" * 100_000, (400, "SerializationException")),
        ("POST", f"{EXECUTIONS}/{ARN}/stop", b'{"ErrorMessage": 1}', (400, "SerializationException")),
        ("POST", "/2025-12-01/durable-execution-callbacks/%21/fail", b"", (400, "InvalidParameterValueException")),
        ("POST", "/2025-12-01/durable-execution-callbacks/AAAA/fail", b"", (404, "ResourceNotFoundException")),
        ("GET", "/2025-12-01/functions/greet/durable-executions?StartedAfter=x", b"", (400, None)),
        ("POST", INVOKE, b"1" * (6 * 1024**2 + 1), (413, "RequestTooLargeException")),
    ],
)
def test_whoever_speaks_http_is_told_what_is_wrong(
    web: Web, method: str, path: str, body: bytes, expected: tuple[int, str | None]
) -> None:
    status, code, content = send(web, method, path, body)
    assert (status, code if expected[1] else None) == expected
    assert content["Type"] == "User"
    assert content.get("message") or content.get("Message")


def test_an_arn_need_not_be_encoded(web: Web) -> None:
    arn = web.call("invoke", FunctionName="greet", Payload=b'{"name": "x"}')["DurableExecutionArn"]
    assert send(web, "GET", f"{EXECUTIONS}/{arn}")[0] == 200


def test_a_fault_of_the_service_shows_no_traceback(
    web: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(web.service, "answer", lambda *_: 1 / 0)
    status, code, content = send(web, "GET", f"{EXECUTIONS}/{ARN}")
    assert (status, code) == (500, "ServiceException")
    assert "Traceback" not in json.dumps(content)
    assert "ZeroDivisionError" in caplog.text


def test_a_taken_port_is_an_error_at_once(web: Web) -> None:
    port = urlsplit(web.server.url).port
    assert port is not None
    with pytest.raises(OSError, match="in use"):
        LocalServer(web.service, port=port)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:9000"}, 200),
        ({"Host": "service:9000"}, 200),
        ({"Host": "[::1]:9000"}, 200),
        ({"Host": "host.docker.internal"}, 200),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Host": "rebound.example:9000"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Origin": "https://shop.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1.shop.example"}, 403),
    ],
)
def test_a_page_from_elsewhere_has_no_say(headers: dict[str, str], status: int) -> None:
    service = LocalService(clock=RealClock()).register("f", lambda event, _context: event, durable=False)
    with served(service) as (_, server, _client):
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
        given = {"Content-Type": "text/plain", **headers}
        connection.request("POST", "/2015-03-31/functions/f/invocations", b"42", given)
        response = connection.getresponse()
        assert (response.status, response.read() == b"42") == (status, status == 200)
        connection.close()


def test_a_trace_that_comes_with_the_request_is_the_executions() -> None:
    def trace(request: Any, **_: Any) -> None:
        request.headers["X-Amzn-Trace-Id"] = "Root=1-2"

    service = LocalService(clock=RealClock()).register("f", lambda _event, _context: {"Status": "SUCCEEDED"})
    with served(service) as (_, _server, client):
        client.meta.events.register("before-send.lambda.Invoke", trace)
        arn = client.invoke(FunctionName="f")["DurableExecutionArn"]
        assert client.get_durable_execution(DurableExecutionArn=arn)["TraceHeader"] == {"XAmznTraceId": "Root=1-2"}


class OutOfFiles(socket.socket):
    """A port of a process that may have no more files open, at first."""

    failures = 3

    def accept(self) -> Any:
        if self.failures > 0:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_connections_that_cannot_be_accepted_are_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    listening = OutOfFiles(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    service = LocalService(record=False, clock=RealClock()).register("f", lambda event, _: event, durable=False)
    with service, LocalServer(service, listening=listening) as server:
        client = lambda_client(server.url)
        assert client.invoke(FunctionName="f", Payload=b"42")["Payload"].read() == b"42"
        client.close()
    assert listening.failures == 0
    (told,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "No more connections can be accepted: [Errno 24] Too many open files." in told.getMessage()
    assert told.exc_info is None


def test_they_are_told_again_after_a_minute_and_other_trouble_always(caplog: pytest.LogCaptureFixture) -> None:
    class Loop:
        now, others = 100.0, 0

        def time(self) -> float:
            return self.now

        def default_exception_handler(self, _context: Any) -> None:
            self.others += 1

    loop: Any = Loop()
    complaints = Complaints()
    for loop.now, number in ((100.0, 1), (100.5, 1), (159.0, 1), (160.0, 2), (219.0, 2), (500.0, 3)):
        complaints(loop, {"message": "socket.accept() out of system resource", "exception": OSError("no")})
        assert len(caplog.records) == number
    complaints(loop, {"message": "Exception in callback BaseSelectorEventLoop._start_serving(<function …>)"})
    assert (loop.others, len(caplog.records)) == (0, 3)
    complaints(loop, {"message": "Task exception was never retrieved"})
    complaints(loop, {})
    assert loop.others == 2
