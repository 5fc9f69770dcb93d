"""The cloud runner, against the boto3-shaped client of a local service, and against canned answers of boto3 itself."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import NoCredentialsError
from botocore.stub import ANY, Stubber

from perdure import durable_execution
from perdure.lambda_service import ErrorObject, InvocationStatus
from perdure.local import LocalService, RealClock, client_error
from perdure.local.server.http import LocalServer
from perdure.testing import cloud
from perdure.testing.exceptions import (
    DurableFunctionsTestError,
    InvalidParameterValueException,
    ResourceNotFoundException,
)
from perdure.testing.execution import ExecutionStatus
from perdure.testing.runner import DurableFunctionCloudTestRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = timedelta(days=1)
ARN = "arn:aws:lambda:us-west-2:123456789012:function:f:1/durable-execution/name/2d7a1d3c-1c0c-4b60-9d0f-3f1f4d0e9a11"


class Elsewhere:
    """A service in another place: its executions go on while the runner sleeps."""

    def __init__(self, handler: Callable[[Any, Any], Any], **options: Any) -> None:
        self.service = LocalService(**options).register("f", durable_execution(handler))
        self.slept = 0
        self.trouble: list[Exception] = []

    def __getattr__(self, method: str) -> Any:
        if self.trouble:
            raise self.trouble.pop()
        return getattr(self.service.client, method)

    def sleep(self, _seconds: float) -> None:
        self.slept += 1
        for handle in list(self.service.handles.values()):
            self.service.drive(handle, stop_at_callback=True)


@pytest.fixture
def deploy(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[Elsewhere, DurableFunctionCloudTestRunner]]:
    def deploy(handler: Callable[[Any, Any], Any], **options: Any) -> tuple[Elsewhere, DurableFunctionCloudTestRunner]:
        elsewhere = Elsewhere(handler, **options)
        monkeypatch.setattr(cloud, "sleep", elsewhere.sleep)
        return elsewhere, DurableFunctionCloudTestRunner("f", client=elsewhere)

    return deploy


def test_an_execution_elsewhere_shows_the_same_as_one_here(deploy) -> None:
    def handler(event: Any, context: Any) -> Any:
        context.step(lambda _: event["n"], "one")
        context.wait(DAY, "day")
        return context.map(
            [1, 2], lambda inner, number, *_: inner.step(lambda _: number * 2, "double"), "map"
        ).get_results()

    elsewhere, runner = deploy(handler)
    with runner:
        result = runner.run(event={"n": 5})
    assert elsewhere.slept == 1
    assert (result.status, result.execution_status) == (InvocationStatus.SUCCEEDED, ExecutionStatus.SUCCEEDED)
    assert result.value == [2, 4]
    assert result.get_step("one").value == 5
    assert result.get_step("one").attempt == 1
    assert result.get_wait("day").duration == DAY
    assert result.get_context("map").get_context("map-item-1").get_step("double").value == 4
    assert (result.duration, result.invocations, result.budget.operations) == (DAY, 2, 7)
    assert [each.end_timestamp - result.history[0].event_timestamp for each in result.invocations] == [timedelta(), DAY]
    assert "└─ map" in result.tree()


def test_failures_retries_and_errors_are_read_from_the_history(deploy) -> None:
    def failing(step: Any) -> None:
        raise ConnectionError(f"attempt {step.attempt}")

    _, runner = deploy(lambda _event, context: context.step(failing, "failing"))
    result = runner.run(input="{}")
    assert (result.status, result.get_step("failing").attempt) == (InvocationStatus.FAILED, 6)
    error = result.get_step("failing").error
    assert (error.type, error.message) == ("ConnectionError", "attempt 6")
    with pytest.raises(DurableFunctionsTestError, match=r"no value, it FAILED: .*attempt 6"):
        assert result.value


def test_callbacks_are_found_by_name_and_answered(deploy) -> None:
    def handler(_event: Any, context: Any) -> Any:
        first = context.create_callback("first")
        second = context.wait_for_callback(lambda *_: None, "second")
        return [first.result(), second]

    _, runner = deploy(handler)
    arn = runner.run_async()
    second = runner.wait_for_callback(arn)
    first = runner.wait_for_callback(arn, "first")
    assert second == runner.wait_for_callback(arn, "second")
    with pytest.raises(InvalidParameterValueException):
        runner.send_callback_heartbeat("")
    runner.send_callback_heartbeat(first)
    runner.send_callback_success(first, {"n": 1})
    assert runner.wait_for_callback(arn) == second
    runner.send_callback_success(second)
    assert runner.wait_for_result(arn).value == ['{"n": 1}', None]
    with pytest.raises(ResourceNotFoundException):
        runner.send_callback_failure(first, ErrorObject("late", None, None, None))
    types = [event.event_type for event in runner.get_execution_history(arn).events]
    assert (types[0], types[-1]) == ("ExecutionStarted", "ExecutionSucceeded")


def test_a_failed_callback(deploy) -> None:
    _, runner = deploy(lambda _event, context: context.create_callback("ask").result())
    arn = runner.run_async("just text")
    runner.send_callback_failure(runner.wait_for_callback(arn, "ask"), ValueError("no"))
    result = runner.wait_for_result(arn)
    assert result.get_callback("ask").error.message == "no"


def test_waiting_has_an_end(deploy) -> None:
    _, runner = deploy(lambda _event, context: context.create_callback("ask").result())
    arn = runner.run_async()
    with pytest.raises(TimeoutError, match="RUNNING after 0 seconds"):
        runner.wait_for_result(arn, timeout=0)
    with pytest.raises(TimeoutError, match="No callback named 'other'"):
        runner.wait_for_callback(arn, "other", timeout=0)


def test_trouble_of_the_service_that_passes_is_looked_past(deploy) -> None:
    elsewhere, runner = deploy(lambda _event, _context: 1)
    arn = runner.run_async()
    elsewhere.trouble = [
        client_error("TooManyRequestsException", "slow down", "GetDurableExecution"),
        client_error("ServiceException", "oops", "GetDurableExecution"),
    ]
    assert runner.wait_for_result(arn).value == 1


@pytest.mark.parametrize("ask", ["wait_for_result", "wait_for_callback"])
def test_an_execution_may_not_be_known_at_first(deploy, ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, runner = deploy(lambda _event, context: context.create_callback("ask") and 1)
    arn = runner.run_async()
    unknown = client_error("ResourceNotFoundException", "gone", "GetDurableExecution")
    elsewhere.trouble = [unknown] * 3
    assert getattr(runner, ask)(arn)
    assert not elsewhere.trouble
    monkeypatch.setattr(cloud, "_UNKNOWN_AT_FIRST", 0.0)
    elsewhere.trouble = [unknown] * 3
    with pytest.raises(DurableFunctionsTestError, match="gone") as caught:
        getattr(runner, ask)(arn)
    assert (caught.type, len(elsewhere.trouble)) == (ResourceNotFoundException, 2)


def test_pause_and_resume(deploy) -> None:
    elsewhere, runner = deploy(lambda _event, context: context.create_callback("ask").result())
    arn = runner.run_async()
    callback_id = runner.wait_for_callback(arn)
    runner.pause_execution(arn)
    assert elsewhere.service.execution(arn).status == "PAUSED"
    runner.send_callback_success(callback_id, b"x")
    runner.resume_execution(arn)
    assert runner.wait_for_result(arn).value == "x"


def test_an_execution_elsewhere_may_be_looked_at_and_stopped(deploy) -> None:
    def handler(_event: Any, context: Any) -> Any:
        context.step(lambda _: 1, "one")
        return context.wait_for_callback(lambda *_: None, "ask")

    _, runner = deploy(handler)
    arn = runner.run_async()
    runner.wait_for_callback(arn)
    assert [line.split()[1] for line in runner.tree(arn).splitlines()[:2]] == ["one", "ask"]
    runner.stop_execution(arn, ValueError("enough"))
    result = runner.wait_for_result(arn)
    runner.close()
    assert (result.execution_status, result.error.message) == (ExecutionStatus.STOPPED, "enough")


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.mark.usefixtures("_credentials")
def test_the_calls_are_those_of_boto3() -> None:
    client = boto3.client("lambda", region_name="us-west-2")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    asked = {"FunctionName": "f:1", "InvocationType": "Event", "Payload": b'{"n": 1}'}
    described = {
        "DurableExecutionArn": ARN,
        "DurableExecutionName": "name",
        "FunctionArn": "arn:aws:lambda:us-west-2:123456789012:function:f:1",
        "StartTimestamp": now,
        "Status": "SUCCEEDED",
        "Result": "2",
    }
    page = {"DurableExecutionArn": ARN, "IncludeExecutionData": True, "MaxItems": 1000}
    begun = {"EventType": "ExecutionStarted", "EventId": 1, "Id": "e", "EventTimestamp": now}
    with Stubber(client) as stub:
        stub.add_response("invoke", {"StatusCode": 202, "DurableExecutionArn": ARN}, asked)
        stub.add_response("get_durable_execution", {**described, "Status": "RUNNING"}, {"DurableExecutionArn": ANY})
        stub.add_response("get_durable_execution", described, {"DurableExecutionArn": ANY})
        stub.add_response("get_durable_execution_history", {"Events": [begun], "NextMarker": "more"}, page)
        stub.add_response("get_durable_execution_history", {"Events": []}, {**page, "Marker": "more"})
        runner = DurableFunctionCloudTestRunner("f:1", poll_interval=0, client=client)
        result = runner.run(event={"n": 1})
        stub.assert_no_pending_responses()
    assert (result.value, len(result.history)) == (2, 1)


def test_a_function_that_is_not_durable_is_told_apart() -> None:
    class Plain:
        def invoke(self, **_arguments: Any) -> dict[str, Any]:
            return {"StatusCode": 202}

    with pytest.raises(DurableFunctionsTestError, match="DurableConfig"):
        DurableFunctionCloudTestRunner("f", client=Plain()).run_async()


@pytest.mark.usefixtures("_credentials")
def test_an_endpoint_may_be_named() -> None:
    runner = DurableFunctionCloudTestRunner("f", "eu-central-1", "http://127.0.0.1:9000")
    meta = runner.client.meta
    assert (meta.region_name, meta.endpoint_url) == ("eu-central-1", "http://127.0.0.1:9000")


# ---- a service on this machine


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Be somebody who has no credentials, and a proxy that leads nowhere."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # which remembers what an earlier test had
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return monkeypatch


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_service_on_this_machine_needs_no_credentials(nobody: pytest.MonkeyPatch, how: str) -> None:
    service = LocalService(clock=RealClock()).register(
        "f", durable_execution(lambda event, context: context.step(lambda _: event))
    )
    with service, LocalServer(service) as server:
        if how == "environment":
            nobody.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
        endpoint = server.url if how == "argument" else None
        with DurableFunctionCloudTestRunner("f", lambda_endpoint=endpoint, poll_interval=0.05) as runner:
            assert runner.run(event={"n": 1}).value == {"n": 1}
            runner.client.close()


@pytest.mark.parametrize("endpoint", [None, "https://example.invalid", "http://10.0.0.1:9000"])
def test_credentials_are_not_made_up_for_one_elsewhere(nobody: pytest.MonkeyPatch, endpoint: str | None) -> None:
    runner = DurableFunctionCloudTestRunner("f", lambda_endpoint=endpoint)
    with pytest.raises(NoCredentialsError):
        runner.run_async(event={})
    runner.client.close()


def test_credentials_of_ones_own_stay_at_home(nobody: pytest.MonkeyPatch) -> None:
    nobody.setenv("AWS_ACCESS_KEY_ID", "mine")
    nobody.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    here = DurableFunctionCloudTestRunner("f", lambda_endpoint="http://localhost:9000").client
    there = DurableFunctionCloudTestRunner("f").client
    keys = [client._request_signer._credentials.access_key for client in (here, there)]
    assert keys == ["local", "mine"]
    for client in (here, there):
        client.close()
