"""The same workflow by two SDKs on two transports: in process, and behind a Runtime Interface endpoint over HTTP."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import aws_durable_execution_sdk_python as official
import pytest
from aws_durable_execution_sdk_python import state
from aws_durable_execution_sdk_python.config import Duration as OfficialDuration
from aws_durable_execution_sdk_python.exceptions import CallbackError as OfficialCallbackError

import perdure
from perdure.config import Duration
from perdure.exceptions import CallbackError
from perdure.local import LocalService, RealClock
from perdure.local.server.runtime import RemoteError, RemoteFunction
from support.official import official_handler
from support.web import lambda_client, runtime_interface, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _swift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_STOP_SIGNAL_POLL_SECONDS", 0.001)
    logging.getLogger("aws_durable_execution_sdk_python").setLevel(logging.CRITICAL)


def workflow(duration: Any, callback_error: type[Exception]) -> Callable[[Any, Any], Any]:
    """Return a workflow for either SDK: steps, a child, a map, a wait, an invoke, and a callback that fails."""

    def run(event: Any, ctx: Any) -> Any:
        first = ctx.step(lambda _: event["n"] + 1, name="add")
        inner = ctx.run_in_child_context(lambda child: child.step(lambda _: first * 2, name="double"), name="child")
        items = ctx.map([1, 2, 3], lambda c, item, _index, _items: c.step(lambda _: item * item), name="squares")
        ctx.wait(duration.from_seconds(1), name="rest")
        told = ctx.invoke("plain", {"inner": inner}, name="tell")
        callback = ctx.create_callback(name="answer")
        try:
            callback.result()
        except callback_error as problem:
            return [first, inner, items.get_results(), told, str(problem)]
        return "no failure"

    return run


PERDURE = perdure.durable_execution(workflow(Duration, CallbackError))
OFFICIAL = official.durable_execution(workflow(OfficialDuration, OfficialCallbackError))


def outline(service: LocalService, arn: str) -> list[tuple[Any, ...]]:
    operations = service.execution(arn).operations
    return sorted((o["Id"], o["Type"], o.get("Name"), o["Status"], o["SubType"]) for o in operations)


def finish(service: LocalService, client: Any) -> tuple[Any, list[tuple[Any, ...]]]:
    """Run the workflow to its end, with its callback failed over HTTP."""
    arn = client.invoke(FunctionName="f", InvocationType="Event", Payload=b'{"n": 20}')["DurableExecutionArn"]
    with service.wake:
        handle = service.execution(arn)
        assert service.wake.wait_for(lambda: handle.terminal or handle.open_callbacks, 30)
        identifier = handle.callback_id()
    error = {"ErrorMessage": "no", "ErrorType": "Refused"}
    client.send_durable_execution_callback_failure(CallbackId=identifier, Error=error)
    handle.drive()
    assert handle.status == "SUCCEEDED", handle.error
    return handle.value, outline(service, arn)


@pytest.fixture(scope="module")
def expected() -> tuple[Any, list[tuple[Any, ...]]]:
    with served() as (service, _, client):
        service.register("plain", lambda event, _context: event, durable=False).register("f", PERDURE)
        return finish(service, client)


def test_the_workflow_gives_what_it_should(expected: tuple[Any, Any]) -> None:
    assert expected[0][:4] == [21, 42, [1, 4, 9], {"inner": 42}]


def test_the_official_sdk_in_process_gives_the_same(expected: tuple[Any, Any]) -> None:
    with served() as (service, _, client):
        service.register("plain", lambda event, _context: event, durable=False)
        service.register("f", official_handler(OFFICIAL))
        assert finish(service, client) == expected


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give SDKs that build their own client what a Lambda sandbox gives them."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anybody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    return monkeypatch


@pytest.mark.parametrize("sdk", ["official", "perdure"])
def test_both_sdks_over_http_give_the_same(
    sdk: str, expected: tuple[Any, Any], environment: pytest.MonkeyPatch
) -> None:
    with served() as (service, server, client):
        environment.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
        own = lambda_client(server.url)
        kind = official if sdk == "official" else perdure
        run = workflow(
            OfficialDuration if sdk == "official" else Duration,
            OfficialCallbackError if sdk == "official" else CallbackError,
        )
        handler = kind.durable_execution(run, boto3_client=own)
        with runtime_interface(handler) as url, runtime_interface(lambda event, _context: event) as plain:
            service.register("plain", RemoteFunction(plain), durable=False)
            service.register("f", RemoteFunction(url))
            assert finish(service, client) == expected
        own.close()


# -- the endpoint ------------------------------------------------------------------------------------------------------


@pytest.fixture
def service() -> Iterator[LocalService]:
    with LocalService(clock=RealClock()) as opened:
        yield opened


def test_an_error_of_a_remote_function_is_told_as_it_was(service: LocalService) -> None:
    def broken(_event: Any, _context: Any) -> Any:
        raise ValueError("broken")

    with runtime_interface(broken) as url:
        service.register("plain", RemoteFunction(url), durable=False)
        response = service.client.invoke(FunctionName="plain")
    assert response["FunctionError"] == "Unhandled"
    assert b'"errorMessage": "broken", "errorType": "ValueError"' in response["Payload"].read()


TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793"


@pytest.mark.parametrize("tenant", [None, "blue"])
@pytest.mark.parametrize("trace", [None, TRACE, "of\ntwo lines", "na\u00efve"])
def test_a_remote_function_is_told_whose_tenant_and_which_trace_it_works_for(
    service: LocalService, tenant: str | None, trace: str | None
) -> None:
    told: list[tuple[str | None, str | None]] = []

    def listen(_event: Any, context: Any) -> int:
        told.append((context.tenant_id, context.trace_id))
        return 1

    def durable(event: Any, context: Any) -> Any:
        listen(event, context)
        return {"Status": "SUCCEEDED", "Result": "1"}

    @perdure.durable_execution
    def parent(_event: Any, context: perdure.DurableContext) -> list[int]:
        return [context.invoke(name, 1, tenant_id=tenant) for name in ("plain", "durable")]

    with runtime_interface(listen) as plain, runtime_interface(durable) as url:
        service.register("plain", RemoteFunction(plain), durable=False)
        service.register("durable", RemoteFunction(url))
        service.register("parent", parent)
        for name in ("plain", "durable", "parent"):
            arguments = {"FunctionName": name, "TenantId": tenant, "TraceId": trace}
            with service.wake:
                begun = service.invoking.begin(arguments)
            assert begun is not None
            service.drive_target(begun)
            assert begun.terminal
    assert told == [(tenant, trace if trace == TRACE else None)] * 4


def test_a_remote_function_that_is_not_there_fails_the_invocation(service: LocalService) -> None:
    with runtime_interface(lambda event, _context: event) as url:
        pass
    service.retry_delay = lambda _failures: 0.0
    service.register("f", RemoteFunction(url))
    handle = service.start("f")
    handle.machine._retry_delay = lambda _failures: 0.0
    handle.drive()
    assert (handle.status, len(handle.invocations)) == ("FAILED", 5)
    assert handle.error is not None
    assert handle.error["ErrorType"] == "Runtime.Unreachable"


def test_only_http_urls_are_called() -> None:
    with pytest.raises(ValueError, match="no HTTP URL"):
        RemoteFunction("file:///etc/passwd")
    assert issubclass(RemoteError, Exception)
