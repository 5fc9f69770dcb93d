"""What a caller is told of an end, and how large a result may be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from perdure import durable_execution
from perdure.local import Limits, LocalService
from perdure.local.calls import Call
from perdure.local.machine.limits import MIB
from support.raw import Life, execution, wait

if TYPE_CHECKING:
    from perdure import DurableContext

LARGE = 2 * MIB


def checkpointing(*updates: dict[str, Any], then: dict[str, Any]) -> Any:
    """Return a handler that makes one checkpoint, and returns."""

    def handler(event: Any, _context: Any) -> dict[str, Any]:
        event.client.checkpoint_durable_execution(
            DurableExecutionArn=event["DurableExecutionArn"],
            CheckpointToken=event["CheckpointToken"],
            Updates=list(updates),
        )
        return then

    return handler


@pytest.mark.parametrize(
    ("handler", "timeout", "kind"),
    [
        (lambda _event, _context: {"Status": "FAILED"}, None, "Error"),
        (checkpointing(execution("FAIL"), then={"Status": "FAILED"}), None, "Error"),
        (checkpointing(wait("w", 60), then={"Status": "PENDING"}), 30, "Execution.Timeout"),
    ],
    ids=["returned", "checkpointed", "timed out"],
)
def test_an_execution_that_did_not_succeed_is_a_function_error_with_or_without_an_error(
    handler: Any, timeout: int | None, kind: str
) -> None:
    service = LocalService().register("f", handler, execution_timeout=timeout)
    response = service.client.invoke(FunctionName="f")
    assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled")
    assert json.loads(response["Payload"].read())["errorType"] == kind


def test_a_stopped_execution_is_a_function_error_even_while_it_is_deleted() -> None:
    def handler(event: Any, _context: Any) -> dict[str, str]:
        arn = event["DurableExecutionArn"]
        service.client.stop_durable_execution(DurableExecutionArn=arn)
        service.handles[arn].machine.error = None
        service.client.delete_durable_execution(DurableExecutionArn=arn)
        told.append(service.invoke_answer({}, service.handles[arn]))
        return {"Status": "SUCCEEDED"}

    told: list[dict[str, Any]] = []
    service = LocalService().register("f", handler)
    service.run("f")
    assert told[0]["FunctionError"] == "Unhandled"


def test_a_plain_call_that_failed_is_a_function_error_without_an_error_too() -> None:
    service = LocalService().register("plain", lambda _event, _context: None, durable=False)
    call = Call(service.functions["plain"], None)
    call.settle("FAILED", None, None)
    assert service.invoke_answer({}, call)["FunctionError"] == "Unhandled"
    assert "FunctionError" not in service.client.invoke(FunctionName="plain")


def large(_event: Any, _context: Any) -> dict[str, str]:
    return {"Status": "SUCCEEDED", "Result": json.dumps("x" * LARGE)}


def begun(service: LocalService) -> Any:
    response = service.client.invoke(FunctionName="f", InvocationType="Event")
    return service.execution(response["DurableExecutionArn"])


def test_the_result_of_an_execution_that_nobody_waits_for_has_a_limit_of_its_own() -> None:
    service = LocalService().register("f", large)
    handle = begun(service).drive()
    assert handle.status == "FAILED"
    assert handle.error["ErrorType"] == "InvalidParameterValueException"
    for words in ("Result exceeds 1048576 bytes", "begun by an Event or a chained invoke", "return where it is"):
        assert words in handle.error["ErrorMessage"]
    assert len(json.loads(service.client.invoke(FunctionName="f")["Payload"].read())) == LARGE
    assert service.run("f").status == "SUCCEEDED"


def test_a_result_of_exactly_the_limit_is_taken() -> None:
    def handler(_event: Any, _context: Any) -> dict[str, str]:
        return {"Status": "SUCCEEDED", "Result": "1" * MIB}

    assert begun(LocalService().register("f", handler)).drive().status == "SUCCEEDED"


def test_the_limit_holds_for_what_a_checkpoint_ends_with_too() -> None:
    service = LocalService().register("f", lambda _event, _context: None)
    handle = begun(service)
    with service.wake:
        handle.machine.begin_invocation(service.clock.now())
    with pytest.raises(ClientError, match=r"Result exceeds 1048576 bytes.*EXECUTION \(execution-result-1\)") as caught:
        service.client.checkpoint_durable_execution(
            DurableExecutionArn=handle.arn,
            CheckpointToken=handle.machine.token,
            Updates=[execution("SUCCEED", Payload="x" * LARGE)],
        )
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
    assert handle.status == "RUNNING"


def test_an_execution_that_another_one_has_invoked_is_one_of_them() -> None:
    @durable_execution
    def parent(_event: Any, context: DurableContext) -> Any:
        return len(context.invoke("f", 1, name="child"))

    service = LocalService().register("parent", parent).register("f", large)
    operation = service.run("parent").operation("child")
    assert operation["Status"] == "FAILED"
    assert "Result exceeds 1048576 bytes" in operation["ChainedInvokeDetails"]["Error"]["ErrorMessage"]


@pytest.mark.parametrize("inside", [True, False])
def test_the_result_of_a_plain_function_that_was_invoked_has_the_same_limit(inside: bool) -> None:
    @durable_execution
    def parent(_event: Any, context: DurableContext) -> Any:
        return len(context.invoke("plain", 1, name="child"))

    for limits, status in ((Limits(), "FAILED"), (Limits(async_result_bytes=None), "SUCCEEDED")):
        service = LocalService(limits=limits).register("parent", parent)
        if inside:
            service.register("plain", lambda _event, _context: "x" * LARGE, durable=False)
            handle = service.run("parent")
        else:
            handle = service.register_external("plain").run("parent")
            called = handle.operation("child")["Id"]
            service.complete_invoke(handle, called, result=json.dumps("x" * LARGE))
            handle.drive()
        operation = handle.operation("child")
        assert operation["Status"] == handle.status == status
        if status == "FAILED":
            error = operation["ChainedInvokeDetails"]["Error"]
            assert error["ErrorType"] == "Function.ResponseSizeTooLarge"
            assert "(1048576 bytes)" in error["ErrorMessage"]
        else:
            assert handle.value == LARGE


def test_the_limit_can_be_lifted() -> None:
    assert begun(LocalService(limits=Limits(async_result_bytes=None)).register("f", large)).drive().value == "x" * LARGE


def test_the_limit_is_remembered_after_a_restart(life: Life) -> None:
    life.register("f", large)
    arn = begun(life.service).arn
    assert life.crash().execution(arn).drive().status == "FAILED"
