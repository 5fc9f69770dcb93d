"""`WebRunner`: the service on a port, its functions behind a Lambda endpoint."""

from __future__ import annotations

import json
import logging
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from perdure import DurableContext, durable_execution
from perdure.testing import DurableFunctionTestRunner, WebRunner, WebRunnerConfig
from perdure.testing.child_dispatcher import FunctionConfig, FunctionConfigs
from perdure.testing.exceptions import DurableFunctionsLocalRunnerError
from perdure.testing.invoker import LambdaContext
from perdure.testing.runner import FileSystemExecutionStore, InMemoryExecutionStore, SQLiteExecutionStore
from perdure.testing.stores.base import StoreType
from perdure.testing.web.server import WebServiceConfig
from support.web import lambda_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START = {
    "AccountId": "123456789012",
    "FunctionName": "order",
    "FunctionQualifier": "$LATEST",
    "ExecutionName": "o-1",
    "ExecutionTimeoutSeconds": 60,
    "ExecutionRetentionPeriodDays": 3,
    "InvocationId": "i-1",
    "Input": '{"cup": 2}',
}


def order(event: Any, context: DurableContext) -> Any:
    price = context.invoke("price", event["cup"], name="price")
    context.wait(20)
    return {"total": price, "paid": context.invoke("pay", price, name="pay")}


def pay(amount: Any, context: DurableContext) -> Any:
    return context.step(lambda _: f"{amount} paid", name="charge")


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {"order": order, "pay": pay, "price": lambda cups, _: cups * 10}


class Endpoint:
    """A Lambda endpoint: each function at a path of its own, as `sam local start-lambda` has them."""

    def __init__(self) -> None:
        self.url = ""
        self.service_url = ""
        self.seen: list[tuple[str, bool]] = []

    def answer(self, path: str, headers: Any, body: bytes) -> Any:
        name = path.split("/")[3]
        self.seen.append((name, headers.get("X-Dex-Handler-Invoke") == "true"))
        event = json.loads(body)
        if name == "price":
            return FUNCTIONS[name](event, None)
        client = lambda_client(self.service_url)
        try:
            return durable_execution(FUNCTIONS[name], boto3_client=client)(event, LambdaContext("request"))
        finally:
            client.close()


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps(made.answer(self.path, self.headers, sent)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


KNOWN = FunctionConfigs.from_dict({"pay": {"DurableConfig": {"ExecutionTimeout": 30}}, "price": {}})


def config(place: str, **options: Any) -> WebRunnerConfig:
    web = WebServiceConfig(host="127.0.0.1", port=0, log_level=logging.WARNING)
    return WebRunnerConfig(web, lambda_endpoint=place, **{"skip_time": True, "function_configs": KNOWN, **options})


def ask(runner: WebRunner, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - on this machine
        runner.url + path, data, {"content-type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - the same
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


def ended(runner: WebRunner, arn: str) -> dict[str, Any]:
    """Wait for the end of an execution."""
    over = threading.Event()
    handle = runner._running().service.execution(arn)
    with handle.service.wake:
        if handle.terminal:
            over.set()
        else:
            handle.listeners.append(over.set)
    assert over.wait(60)
    status, told = ask(runner, "GET", f"/2025-12-01/durable-executions/{quote(arn, safe='')}")
    assert status == 200
    return told  # type: ignore[no-any-return]


def test_an_execution_runs_by_its_functions_behind_the_endpoint() -> None:
    with endpoint() as functions, WebRunner(config(functions.url)) as runner:
        functions.service_url = runner.url
        status, started = ask(runner, "POST", "/start-durable-execution", START)
        told = ended(runner, started["ExecutionArn"])
    assert status == 201
    assert (told["Status"], told["Result"]) == ("SUCCEEDED", '{"total": 20, "paid": "20 paid"}')
    assert told["DurableConfig"] == {"ExecutionTimeout": 60, "RetentionPeriodInDays": 3}
    assert (functions.seen[0], ("price", False) in functions.seen, ("pay", True) in functions.seen) == (
        ("order", True),
        True,
        True,
    )


def test_the_same_name_and_event_is_the_same_execution() -> None:
    with endpoint() as functions, WebRunner(config(functions.url)) as runner:
        functions.service_url = runner.url
        first = ask(runner, "POST", "/start-durable-execution", START)
        assert ask(runner, "POST", "/start-durable-execution", START) == first
        status, refused = ask(runner, "POST", "/start-durable-execution", {**START, "Input": "{}"})
        assert (status, "another payload" in refused["Message"]) == (409, True)
        ended(runner, first[1]["ExecutionArn"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/start-durable-execution", {}, 400, "JSON object"),
        ("POST", "/start-durable-execution", [1], 400, "JSON object"),
        ("POST", "/start-durable-execution", {"AccountId": "1"}, 400, "lacks FunctionName"),
        ("POST", "/start-durable-execution", {**START, "ExecutionName": "a b"}, 400, "no name of an execution"),
        ("POST", "/start-durable-execution", {**START, "FunctionName": "a b"}, 400, "no function name"),
        ("PUT", "/lambda-endpoint", {"EndpointUrl": "ftp://x"}, 400, "no HTTP URL"),
        ("PUT", "/lambda-endpoint", {"EndpointUrl": "http://x", "RegionName": "us-east-1"}, 400, "us-west-2"),
        ("PUT", "/lambda-endpoint", {"EndpointUrl": "http://x"}, 200, "from now on"),
        ("GET", "/health", None, 200, "healthy"),
        ("GET", "/metrics", None, 200, "metrics"),
        ("GET", "/start-durable-execution", None, 404, ""),
    ],
)
def test_what_is_asked_for_beside_the_api(method: str, path: str, body: Any, status: int, says: str) -> None:
    with WebRunner(config("http://127.0.0.1:1")) as runner:
        answered, told = ask(runner, method, path, body)
    assert (answered, says in json.dumps(told)) == (status, True), told


def test_the_endpoint_can_move() -> None:
    with endpoint() as functions, WebRunner(config("http://127.0.0.1:1")) as runner:
        functions.service_url = runner.url
        ask(runner, "PUT", "/lambda-endpoint", {"EndpointUrl": functions.url, "RegionName": "us-west-2"})
        _, started = ask(runner, "POST", "/start-durable-execution", START)
        assert ended(runner, started["ExecutionArn"])["Status"] == "SUCCEEDED"


def test_a_function_that_is_not_configured_cannot_be_invoked() -> None:
    with endpoint() as functions, WebRunner(config(functions.url, function_configs=None)) as runner:
        functions.service_url = runner.url
        _, started = ask(runner, "POST", "/start-durable-execution", START)
        told = ended(runner, started["ExecutionArn"])
    assert told["Status"] == "FAILED"
    assert "price" in told["Error"]["ErrorMessage"]
    assert "function_configs" in told["Error"]["ErrorMessage"]


def test_it_says_when_it_runs_already_and_when_it_does_not() -> None:
    runner = WebRunner(config("http://127.0.0.1:1"))
    runner.stop()
    with pytest.raises(DurableFunctionsLocalRunnerError, match="does not run"):
        runner.serve_forever()
    with runner, pytest.raises(DurableFunctionsLocalRunnerError, match="runs already"):
        runner.start()
    with runner:  # once more, from the start
        assert ask(runner, "GET", "/health")[0] == 200


def test_it_serves_until_somebody_stops_it() -> None:
    with WebRunner(config("http://127.0.0.1:1")) as runner:
        serving = threading.Thread(target=runner.serve_forever)
        serving.start()
        assert ask(runner, "GET", "/health")[0] == 200
        runner.stop()
        serving.join(60)
        assert not serving.is_alive()


@pytest.mark.parametrize("kind", [StoreType.SQLITE, StoreType.FILESYSTEM])
def test_what_was_running_goes_on_after_a_restart(kind: StoreType, tmp_path: Path) -> None:
    kept = {"store_type": kind, "store_path": str(tmp_path / "kept")}
    with WebRunner(config("http://127.0.0.1:1", skip_time=False, **kept)) as runner:
        _, started = ask(runner, "POST", "/start-durable-execution", START)
    with endpoint() as functions, WebRunner(config(functions.url, **kept)) as runner:
        functions.service_url = runner.url
        assert ended(runner, started["ExecutionArn"])["Status"] == "SUCCEEDED"


@pytest.mark.parametrize("kind", [StoreType.SQLITE, StoreType.FILESYSTEM, StoreType.MEMORY])
def test_several_runners_use_a_store_one_after_another(kind: StoreType, tmp_path: Path) -> None:
    make: dict[StoreType, Callable[[], Any]] = {
        StoreType.SQLITE: lambda: SQLiteExecutionStore.create_and_initialize(tmp_path / "new" / "x.db"),
        StoreType.FILESYSTEM: lambda: FileSystemExecutionStore.create(tmp_path / "new"),
        StoreType.MEMORY: InMemoryExecutionStore,
    }
    store = make[kind]()
    arns = []
    for name in ("one", "two"):
        with DurableFunctionTestRunner(durable_execution(pay), store=store) as runner:
            result = runner.run(event=3, execution_name=name)
            assert result.value == "3 paid"
            arns.append(result.facts.arn)
    with DurableFunctionTestRunner(durable_execution(pay), store=store) as runner:
        for arn in arns:
            assert runner.get_execution_history(arn).events


def test_stores_have_a_place_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    SQLiteExecutionStore.create_and_initialize()
    FileSystemExecutionStore.create()
    assert {path.name for path in tmp_path.iterdir()} == {"durable-executions.db", ".durable_executions"}


def test_the_configuration_of_functions_is_read(tmp_path: Path) -> None:
    text = '{"pay": {"DurableConfig": {"ExecutionTimeout": 30, "RetentionPeriodInDays": 7}}, "price": null}'
    expected = FunctionConfigs({"pay": FunctionConfig(True, 30, 7), "price": FunctionConfig(is_durable=False)})
    assert FunctionConfigs.from_value(text) == expected
    (tmp_path / "f.json").write_text(text)
    assert FunctionConfigs.from_value(f"file://{tmp_path / 'f.json'}") == expected
    assert expected.lookup("pay", "live") is expected.by_name["pay"]
    assert expected.lookup("arn", None) is None


@pytest.mark.parametrize(
    "text",
    ["[]", '{"p": 1}', '{"p": {"DurableConfig": 1}}', '{"p": {"DurableConfig": {"ExecutionTimeout": 0}}}', "x"],
)
def test_what_configures_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON object|whole number|Expecting value"):
        FunctionConfigs.from_value(text)
