"""The actions beside the checkpoints: what they answer, in the shapes of the service model, and what they refuse."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from perdure.local import LocalClient, LocalService, MemoryStore, SqliteStore
from perdure.local.machine.clock import DEFAULT_START
from support.model import check_response
from support.raw import ERROR, Raw, callback, invoke, step, update, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DONE = {"Status": "SUCCEEDED", "Result": '"done"'}
PENDING = {"Status": "PENDING"}


class Checked:
    """A client whose every response is held against the model."""

    def __init__(self, client: LocalClient) -> None:
        self._client = client

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        def call(**arguments: Any) -> dict[str, Any]:
            response = getattr(self._client, method)(**arguments)
            check_response(method, response)
            return response

        return call


def code_of(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def waiting(seconds: int = 60, **options: Any) -> LocalService:
    """Return a service with a function `f` that waits once, then succeeds."""

    def handler(event: Any, _context: Any) -> Any:
        if len(event["InitialExecutionState"]["Operations"]) == 1:
            event.client.checkpoint_durable_execution(
                DurableExecutionArn=event["DurableExecutionArn"],
                CheckpointToken=event["CheckpointToken"],
                Updates=[wait("w", seconds)],
            )
            return PENDING
        return DONE

    return LocalService(**options).register("f", handler)


# -- Invoke ------------------------------------------------------------------------------------------------------------


def test_a_synchronous_invoke_answers_with_the_result() -> None:
    client = Checked(waiting().client)
    response = client.invoke(FunctionName="f", Payload=b'{"a": 1}', DurableExecutionName="mine")
    assert (response["StatusCode"], response["Payload"].read()) == (200, b'"done"')
    assert response["ExecutedVersion"] == "$LATEST"
    described = client.get_durable_execution(DurableExecutionArn=response["DurableExecutionArn"])
    assert (described["InputPayload"], described["Status"]) == ('{"a": 1}', "SUCCEEDED")


def test_a_failed_execution_is_a_function_error() -> None:
    service = LocalService().register("f", lambda _event, _context: {"Status": "FAILED", "Error": ERROR})
    response = Checked(service.client).invoke(FunctionName="f")
    assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled")
    assert json.loads(response["Payload"].read()) == {"errorMessage": "broken", "errorType": "ValueError"}


def test_an_asynchronous_invoke_does_not_wait() -> None:
    service = waiting()
    response = Checked(service.client).invoke(FunctionName="f", InvocationType="Event")
    assert (response["StatusCode"], response["Payload"].read()) == (202, b"")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert service.execution(response["DurableExecutionArn"]).status == "RUNNING"


def test_a_dry_run_starts_nothing() -> None:
    service = waiting()
    assert Checked(service.client).invoke(FunctionName="f", InvocationType="DryRun")["StatusCode"] == 204
    assert service.handles == {}


def test_the_same_name_and_payload_are_the_same_execution() -> None:
    client = Checked(waiting().client)
    first = client.invoke(FunctionName="f", Payload=b"1", DurableExecutionName="mine", InvocationType="Event")
    again = client.invoke(FunctionName="f", Payload=b"1", DurableExecutionName="mine")
    assert again["DurableExecutionArn"] == first["DurableExecutionArn"]
    assert again["Payload"].read() == b'"done"'
    assert (
        code_of(client.invoke, FunctionName="f", Payload=b"2", DurableExecutionName="mine")
        == "DurableExecutionAlreadyStartedException"
    )


def test_a_name_is_unique_across_the_versions_of_a_function_but_not_across_functions() -> None:
    service = waiting()
    service.functions.publish("f")
    service.register("g", service.functions["f"].handler)  # type: ignore[arg-type]
    client = Checked(service.client)
    one = client.invoke(FunctionName="f:1", DurableExecutionName="mine")["DurableExecutionArn"]
    latest = client.invoke(FunctionName="f", DurableExecutionName="mine")["DurableExecutionArn"]
    other = client.invoke(FunctionName="g", DurableExecutionName="mine")["DurableExecutionArn"]
    assert one == latest != other


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"FunctionName": "nobody"}, "ResourceNotFoundException"),
        ({"FunctionName": "f", "InvocationType": "Later"}, "InvalidParameterValueException"),
        ({"FunctionName": "f", "DurableExecutionName": "a b"}, "InvalidParameterValueException"),
        ({"FunctionName": "f", "Payload": b"{"}, "InvalidRequestContentException"),
        ({"FunctionName": "f", "Payload": b"\xff"}, "InvalidParameterValueException"),
        ({"FunctionName": "f", "Payload": b"1" * (6 * 1024**2 + 1)}, "RequestTooLargeException"),
        (
            {"FunctionName": "f", "Payload": b"1" * (1024**2 + 1), "InvocationType": "Event"},
            "RequestTooLargeException",
        ),
        ({"FunctionName": "plain", "DurableExecutionName": "mine"}, "InvalidParameterValueException"),
        ({"FunctionName": "long"}, "InvalidParameterValueException"),
        ({"FunctionName": "f", "Qualifier": "7"}, "ResourceNotFoundException"),
        ({"FunctionName": "f", "Qualifier": "prod"}, "ResourceNotFoundException"),
    ],
)
def test_an_invoke_may_be_refused(arguments: dict[str, Any], code: str) -> None:
    service = waiting().register("plain", lambda event, _context: event, durable=False)
    service.register("long", lambda _event, _context: DONE, execution_timeout=901)
    service.functions.publish("f")
    assert code_of(service.client.invoke, **arguments) == code


def test_a_plain_function_is_invoked_as_lambda_does() -> None:
    def plain(event: Any, context: Any) -> Any:
        if event == "broken":
            raise ValueError(event)
        return [event, context.tenant_id]

    client = Checked(LocalService().register("plain", plain, durable=False).client)
    response = client.invoke(FunctionName="plain", Payload=b"1", TenantId="blue")
    assert (response["StatusCode"], response["Payload"].read()) == (200, b'[1, "blue"]')
    assert "DurableExecutionArn" not in response
    failed = client.invoke(FunctionName="plain", Payload=b'"broken"')
    assert failed["FunctionError"] == "Unhandled"
    assert json.loads(failed["Payload"].read()) == {"errorMessage": "broken", "errorType": "ValueError"}


def test_a_tenant_is_passed_on_to_whatever_is_invoked() -> None:
    tenants: list[tuple[str, str | None]] = []

    def note(_event: Any, context: Any) -> Any:
        tenants.append((context.function_name, context.tenant_id))
        return DONE

    service = LocalService().register("child", note).register("plain", note, durable=False)
    service.client.invoke(FunctionName="child", TenantId="blue")
    raw = Raw(service)
    for key, function in (("c", "child"), ("p", "plain")):
        options = {"FunctionName": function, "TenantId": "green"}
        raw.send(update("CHAINED_INVOKE", key, "START", ChainedInvokeOptions=options))
    raw.leave(PENDING)
    raw.handle.drive(stop_at_callback=True)
    assert tenants[0] == ("child", "blue")
    assert sorted(tenants[1:]) == [("child", "green"), ("plain", "green")]


def test_stopping_an_execution_leaves_those_it_invoked_alone() -> None:
    service = LocalService().register("child", lambda _event, _context: DONE)
    raw = Raw(service)
    raw.send(invoke("i", "child"))
    child = next(handle for handle in service.handles.values() if handle.parent is not None)
    raw.client.stop_durable_execution(DurableExecutionArn=raw.arn)
    assert child.drive().status == "SUCCEEDED"
    assert raw.handle.status == "STOPPED"
    assert raw.operation("i")["Status"] == "STARTED"


def test_a_caller_does_not_wait_for_what_only_the_outside_can_move() -> None:
    raw = Raw()
    raw.send(callback("cb"))
    raw.leave(PENDING)
    name = raw.handle.name
    response = raw.client.invoke(FunctionName="f", Payload="{}", DurableExecutionName=name)
    assert json.loads(response["Payload"].read())["errorType"] == "Sandbox.Timedout"
    assert raw.handle.status == "RUNNING"


def test_an_execution_stays_on_the_version_it_began_with() -> None:
    service = waiting()
    assert service.functions.publish("f") == "1"
    service.functions.alias("f", "prod", "1")
    client = Checked(service.client)
    began = client.invoke(FunctionName="f", Qualifier="prod", InvocationType="Event")
    assert began["ExecutedVersion"] == "1"
    assert ":function:f:1/durable-execution/" in began["DurableExecutionArn"]
    service.register("f", lambda _event, _context: {"Status": "SUCCEEDED", "Result": '"new code"'})
    handle = service.execution(began["DurableExecutionArn"]).drive()
    assert handle.value == "done"
    assert client.invoke(FunctionName="f")["Payload"].read() == b'"new code"'
    assert client.get_durable_execution(DurableExecutionArn=handle.arn)["Version"] == "1"


# -- Get, List ---------------------------------------------------------------------------------------------------------


def test_an_execution_is_described_without_its_data_on_request() -> None:
    client = Checked(waiting().client)
    arn = client.invoke(FunctionName="f", Payload=b"1")["DurableExecutionArn"]
    described = client.get_durable_execution(DurableExecutionArn=arn, IncludeExecutionData=False)
    assert described["ExecutionDataIncluded"] is False
    assert described.keys().isdisjoint({"InputPayload", "Result", "Error"})
    assert described["DurableConfig"] == {"RetentionPeriodInDays": 14, "ExecutionTimeout": 366 * 86_400}


@pytest.fixture(params=["memory", "sqlite"])
def crowd(request: pytest.FixtureRequest) -> Iterator[LocalService]:
    """Give a service with eight executions of `f`, a minute apart: four done, three running, one stopped."""
    service = waiting(3600, store=MemoryStore() if request.param == "memory" else SqliteStore(":memory:"))
    clock: Any = service.clock
    for number in range(8):
        handle = service.start("f", str(number), f"n{number}")
        if number < 4:
            with service.wake:
                handle.machine.end("SUCCEEDED", clock.now(), result="1")
                service.executions.absorb(handle)
        if number == 4:
            service.client.stop_durable_execution(DurableExecutionArn=handle.arn)
        clock.advance(60)
    with service.wake:
        service.executions.commit()
    yield service
    service.close()


def names(response: dict[str, Any]) -> str:
    return "".join(execution["DurableExecutionName"][1:] for execution in response["DurableExecutions"])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "76543210"),
        ({"ReverseOrder": True}, "01234567"),
        ({"Statuses": ["RUNNING"]}, "765"),
        ({"Statuses": ["SUCCEEDED", "STOPPED"], "ReverseOrder": True}, "01234"),
        ({"DurableExecutionName": "n3"}, "3"),
        ({"DurableExecutionName": "n"}, ""),
        ({"StartedAfter": DEFAULT_START + timedelta(minutes=5)}, "76"),
        ({"StartedBefore": (DEFAULT_START + timedelta(minutes=2)).isoformat()}, "10"),
        ({"StartedAfter": (DEFAULT_START + timedelta(minutes=1)).timestamp(), "Statuses": ["SUCCEEDED"]}, "32"),
        ({"Qualifier": "$LATEST", "MaxItems": 1000}, "76543210"),
        ({"Qualifier": "9"}, ""),
    ],
)
def test_executions_are_listed_by_every_filter(crowd: LocalService, filters: dict[str, Any], expected: str) -> None:
    assert names(Checked(crowd.client).list_durable_executions_by_function(FunctionName="f", **filters)) == expected


@pytest.mark.parametrize("reverse", [False, True])
def test_pages_of_a_list_are_not_disturbed_by_new_executions(crowd: LocalService, reverse: bool) -> None:
    client, seen, marker = Checked(crowd.client), "", None
    while True:
        page = client.list_durable_executions_by_function(
            FunctionName="f", MaxItems=3, Marker=marker, ReverseOrder=reverse
        )
        seen += names(page)
        if "NextMarker" not in page:
            break
        marker = page["NextMarker"]
        if not reverse:
            crowd.start("f", name=f"n9-{len(seen)}")
    assert seen == ("01234567" if reverse else "76543210")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"FunctionName": "nobody"}, "ResourceNotFoundException"),
        ({"FunctionName": "f", "Statuses": ["DONE"]}, "InvalidParameterValueException"),
        ({"FunctionName": "f", "Marker": "?"}, "InvalidParameterValueException"),
        ({"FunctionName": "f", "Marker": "ä"}, "InvalidParameterValueException"),
        ({"FunctionName": "f", "MaxItems": -1}, "InvalidParameterValueException"),
        ({"FunctionName": "f", "StartedAfter": "yesterday"}, "InvalidParameterValueException"),
    ],
)
def test_a_list_may_be_refused(arguments: dict[str, Any], code: str) -> None:
    assert code_of(waiting().client.list_durable_executions_by_function, **arguments) == code


# -- Stop, Pause, Resume, Delete ---------------------------------------------------------------------------------------


def test_a_stop_without_an_error_says_who_stopped_it() -> None:
    raw = Raw()
    Checked(raw.client).stop_durable_execution(DurableExecutionArn=raw.arn)
    assert raw.handle.error == {"ErrorMessage": "Execution stopped by user request"}


@pytest.mark.parametrize("error", [{"Wrong": "member"}, {"ErrorMessage": 1}, {"ErrorMessage": "x" * (1 << 20)}])
def test_a_stop_with_a_malformed_error_is_refused(error: dict[str, Any]) -> None:
    raw = Raw()
    assert (
        code_of(raw.client.stop_durable_execution, DurableExecutionArn=raw.arn, Error=error)
        == "InvalidParameterValueException"
    )
    assert raw.handle.status == "RUNNING"


def test_a_paused_execution_is_not_invoked_while_its_timers_run() -> None:
    service = waiting(60)
    client, clock = Checked(service.client), service.clock
    handle = service.start("f")
    handle.drive(stop_at_callback=True)
    handle = service.start("f", name="again")
    client.pause_durable_execution(DurableExecutionArn=handle.arn, Reason="lunch")
    assert handle.drive().status == "PAUSED"
    assert handle.invocations == []
    described = client.get_durable_execution(DurableExecutionArn=handle.arn)
    assert described["PauseDetails"] == {
        "PauseRequestTimestamp": clock.now(),
        "Reason": "lunch",
        "ExecutionTimeoutPaused": True,
    }
    client.resume_durable_execution(DurableExecutionArn=handle.arn, Reason="eaten")
    assert handle.drive().status == "SUCCEEDED"


def test_the_reason_of_a_pause_is_told_with_the_data_only() -> None:
    client = LocalService().register("f", lambda _event, _context: PENDING).client
    arn = client.invoke(FunctionName="f", InvocationType="Event")["DurableExecutionArn"]
    client.pause_durable_execution(DurableExecutionArn=arn, Reason="lunch")
    for with_data in (True, False):
        described = client.get_durable_execution(DurableExecutionArn=arn, IncludeExecutionData=with_data)
        assert described["PauseDetails"].get("Reason") == ("lunch" if with_data else None)


def test_operations_complete_during_a_pause_and_bring_an_invocation_after_it() -> None:
    raw = Raw()
    raw.send(wait("w", 60))
    raw.leave(PENDING)
    raw.client.pause_durable_execution(DurableExecutionArn=raw.arn)
    raw.advance(60)
    raw.handle.drive()
    assert raw.operation("w")["Status"] == "SUCCEEDED"
    assert (raw.handle.status, raw.handle.machine.runnable) == ("PAUSED", False)
    raw.client.resume_durable_execution(DurableExecutionArn=raw.arn)
    assert raw.handle.machine.runnable


def test_a_resume_without_news_waits_on() -> None:
    raw = Raw()
    raw.send(wait("w", 60))
    raw.leave(PENDING)
    raw.client.pause_durable_execution(DurableExecutionArn=raw.arn)
    raw.client.resume_durable_execution(DurableExecutionArn=raw.arn)
    assert (raw.handle.status, raw.handle.machine.runnable) == ("RUNNING", False)


def test_an_invocation_under_way_makes_one_more_checkpoint_before_the_pause_holds() -> None:
    raw = Raw()
    raw.client.pause_durable_execution(DurableExecutionArn=raw.arn)
    assert raw.handle.status == "PAUSING"
    response = raw.client.checkpoint_durable_execution(
        DurableExecutionArn=raw.arn, CheckpointToken=raw.token, Updates=[step("a", "START"), step("a", "SUCCEED")]
    )
    check_response("checkpoint_durable_execution", response)
    assert "CheckpointToken" not in response
    assert raw.operation("a")["Status"] == "SUCCEEDED"
    assert raw.handle.status == "PAUSED"
    assert (
        code_of(
            raw.client.checkpoint_durable_execution, DurableExecutionArn=raw.arn, CheckpointToken=raw.token, Updates=[]
        )
        == "InvalidParameterValueException"
    )
    raw.leave({"Status": "SUCCEEDED", "Result": "too late"})
    assert raw.handle.status == "PAUSED"
    raw.client.resume_durable_execution(DurableExecutionArn=raw.arn)
    assert raw.handle.machine.runnable


def test_an_invocation_that_ends_before_its_next_checkpoint_ends_as_it_says() -> None:
    for output, status in ((DONE, "SUCCEEDED"), (PENDING, "PAUSED")):
        raw = Raw()
        raw.send(wait("w"))
        raw.client.pause_durable_execution(DurableExecutionArn=raw.arn)
        raw.leave(output)
        assert raw.handle.status == status


def test_an_invocation_that_fails_while_pausing_is_repeated_after_the_pause() -> None:
    raw = Raw()
    raw.client.pause_durable_execution(DurableExecutionArn=raw.arn)
    raw.handle.machine.fail_invocation(ERROR, DEFAULT_START)
    raw.service.executions.touch(raw.handle.machine)
    assert raw.handle.drive().status == "PAUSED"
    raw.client.resume_durable_execution(DurableExecutionArn=raw.arn)
    assert raw.handle.machine.runnable


def test_a_resume_calls_off_a_pause_that_does_not_hold_yet() -> None:
    raw = Raw()
    raw.client.pause_durable_execution(DurableExecutionArn=raw.arn)
    raw.client.resume_durable_execution(DurableExecutionArn=raw.arn)
    assert raw.handle.status == "RUNNING"
    assert raw.send(step("a", "START"))


@pytest.mark.parametrize(("stops", "expected"), [(True, 300), (False, 100)])
def test_a_pause_may_hold_the_execution_timeout(stops: bool, expected: int) -> None:
    service = waiting(10_000)
    handle = service.start("f", execution_timeout=100)
    clock, client, arn = service.clock, Checked(service.client), handle.arn
    client.pause_durable_execution(DurableExecutionArn=arn, ExecutionTimeoutPaused=stops)
    due = client.get_durable_execution(DurableExecutionArn=arn)["ExpectedExecutionTimeoutTimestamp"]
    assert due - DEFAULT_START == (timedelta(days=366) if stops else timedelta(seconds=100))
    if stops:
        clock.advance(200)  # type: ignore[attr-defined]
        handle.drive()
        client.resume_durable_execution(DurableExecutionArn=arn)
    assert handle.drive().status == "TIMED_OUT"
    assert clock.now() - DEFAULT_START == timedelta(seconds=expected)


def test_a_pause_and_a_resume_are_made_once_a_token() -> None:
    service = waiting()
    handle = service.start("f")
    pause, resume = service.client.pause_durable_execution, service.client.resume_durable_execution
    pause(DurableExecutionArn=handle.arn, ClientToken="one", Reason="r")
    pause(DurableExecutionArn=handle.arn, ClientToken="one", Reason="r")
    assert code_of(pause, DurableExecutionArn=handle.arn, ClientToken="one") == "ResourceConflictException"
    assert code_of(pause, DurableExecutionArn=handle.arn) == "ResourceConflictException"
    resume(DurableExecutionArn=handle.arn, ClientToken="two")
    resume(DurableExecutionArn=handle.arn, ClientToken="two")
    assert code_of(resume, DurableExecutionArn=handle.arn) == "ResourceConflictException"
    service.clock.advance(901)  # type: ignore[attr-defined]
    assert code_of(resume, DurableExecutionArn=handle.arn, ClientToken="two") == "ResourceConflictException"


def test_a_paused_execution_can_be_stopped_and_a_stopped_one_not_paused() -> None:
    service = waiting()
    handle = service.start("f")
    service.client.pause_durable_execution(DurableExecutionArn=handle.arn)
    service.client.stop_durable_execution(DurableExecutionArn=handle.arn)
    assert handle.status == "STOPPED"
    for method in (service.client.pause_durable_execution, service.client.resume_durable_execution):
        assert code_of(method, DurableExecutionArn=handle.arn) == "ResourceConflictException"


def test_a_finished_execution_is_deleted_with_everything() -> None:
    service = waiting()
    client = Checked(service.client)
    handle = service.start("f", name="mine")
    assert code_of(client.delete_durable_execution, DurableExecutionArn=handle.arn) == "ResourceConflictException"
    handle.drive()
    assert client.delete_durable_execution(DurableExecutionArn=handle.arn)["DeletionRequestTimestamp"]
    for method in ("get_durable_execution", "get_durable_execution_history", "stop_durable_execution"):
        assert code_of(getattr(client, method), DurableExecutionArn=handle.arn) == "ResourceNotFoundException"
    assert names(client.list_durable_executions_by_function(FunctionName="f")) == ""
    assert service.start("f", "[1]", "mine").arn != handle.arn


def test_a_deletion_waits_for_the_invocation_under_way() -> None:
    raw = Raw()
    raw.client.stop_durable_execution(DurableExecutionArn=raw.arn)
    raw.client.delete_durable_execution(DurableExecutionArn=raw.arn)
    assert raw.client.get_durable_execution(DurableExecutionArn=raw.arn)["Status"] == "DELETING"
    raw.leave(PENDING)
    assert code_of(raw.client.get_durable_execution, DurableExecutionArn=raw.arn) == "ResourceNotFoundException"


@pytest.mark.parametrize(("days", "given"), [(14, None), (7, 7)])
def test_a_finished_execution_is_kept_for_its_retention(days: int, given: int | None) -> None:
    service = waiting()
    service.register("f", lambda _event, _context: DONE, retention_days=given)
    handle = service.run("f", name="mine")
    clock: Any = service.clock
    clock.advance(days * 86_400 - 1)
    assert service.client.get_durable_execution(DurableExecutionArn=handle.arn)["Status"] == "SUCCEEDED"
    clock.advance(1)
    assert code_of(service.client.get_durable_execution, DurableExecutionArn=handle.arn) == "ResourceNotFoundException"
    assert service.handles == {}
