"""Calls that cross each other, what is due, and what is gone."""

from __future__ import annotations

import base64
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from perdure import DurableContext, durable_execution
from perdure.local import ExecutionHandle, LocalService, RealClock, SqliteStore, VirtualClock
from support.handlers import DONE, good
from support.raw import Raw, execution, wait

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("clock", [VirtualClock, RealClock])
def test_a_handler_may_invoke_another_function_and_wait_for_it(clock: Callable[[], Any]) -> None:
    service = LocalService(clock=clock())

    def child(_event: Any, ctx: DurableContext) -> int:
        ctx.wait(1)
        return 2

    def parent(_event: Any, ctx: DurableContext) -> Any:
        return ctx.step(lambda _: int(service.client.invoke(FunctionName="child")["Payload"].read()))

    service.register("child", durable_execution(child)).register("parent", durable_execution(parent))
    assert service.run("parent").value == 2


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_deleted_while_its_handler_runs_is_gone_when_that_ends(tmp_path: Path, kept: bool) -> None:
    entered, hold = threading.Event(), threading.Event()

    def handler(_event: Any, _context: Any) -> Any:
        entered.set()
        hold.wait(30)
        return DONE

    store = SqliteStore(tmp_path / "x.db") if kept else None
    with LocalService(clock=RealClock(), store=store) as service:
        service.register("f", handler)
        service.start_workers()
        client, named = service.client, {"FunctionName": "f", "InvocationType": "Event", "DurableExecutionName": "n"}
        arn = client.invoke(**named)["DurableExecutionArn"]
        assert entered.wait(20)
        client.stop_durable_execution(DurableExecutionArn=arn)
        client.delete_durable_execution(DurableExecutionArn=arn)
        with pytest.raises(ClientError, match="is being deleted"):
            client.invoke(**named)
        hold.set()
        with service.wake:
            assert service.wake.wait_for(lambda: service.executions.lookup(arn) is None, 20)
        assert client.list_durable_executions_by_function(FunctionName="f")["DurableExecutions"] == []
        assert client.invoke(**named, Payload=b"2")["DurableExecutionArn"] != arn


@pytest.mark.parametrize("kept", [False, True])
def test_a_name_is_free_again_once_its_retention_has_ended(tmp_path: Path, kept: bool) -> None:
    clock = VirtualClock()
    with LocalService(clock=clock, store=SqliteStore(tmp_path / "x.db") if kept else None) as service:
        service.register("f", good, retention_days=1)
        first = service.run("f", name="n").arn
        clock.advance(2 * 86_400)
        second = service.client.invoke(FunctionName="f", DurableExecutionName="n", Payload=b"2")
        assert second["DurableExecutionArn"] != first


def test_only_callbacks_can_be_answered() -> None:
    service = LocalService().register("f", lambda _event, _context: None)
    handle = service.start("f")
    with service.wake:
        handle.machine.begin_invocation()
    service.client.checkpoint_durable_execution(
        DurableExecutionArn=handle.arn, CheckpointToken=handle.machine.token, Updates=[wait("w", 60)]
    )
    for operation in ("w", handle.machine.execution_id):
        forged = base64.b64encode(f"{handle.arn}|{operation}".encode()).decode()
        for how in ("success", "failure", "heartbeat"):
            with pytest.raises(ClientError, match="No callback has the id"):
                getattr(service.client, f"send_durable_execution_callback_{how}")(CallbackId=forged)
    assert handle.operations[0]["Status"] == "STARTED"


def test_only_a_context_is_a_parent_of_the_end_of_an_execution() -> None:
    raw = Raw()
    with pytest.raises(ClientError, match="not a context"):
        raw.send(execution("SUCCEED", ParentId="nobody"))


def test_a_request_that_is_repeated_with_its_token_is_carried_out_once() -> None:
    clock = VirtualClock()
    service = LocalService(clock=clock).register("f", lambda _event, _context: None)
    arn = service.start("f").arn
    client = service.client
    client.pause_durable_execution(DurableExecutionArn=arn, ClientToken="one")
    client.resume_durable_execution(DurableExecutionArn=arn, ClientToken="two")
    client.pause_durable_execution(DurableExecutionArn=arn, ClientToken="one")
    assert service.execution(arn).status == "RUNNING"
    clock.advance(16 * 60)
    client.pause_durable_execution(DurableExecutionArn=arn, ClientToken="one")
    assert service.execution(arn).status == "PAUSED"


def test_what_is_due_has_happened_before_anybody_looks() -> None:
    clock = VirtualClock()
    service = LocalService(clock=clock).register("f", good)
    arn = service.start("f", execution_timeout=60).arn
    clock.advance(61)
    assert service.client.get_durable_execution(DurableExecutionArn=arn)["Status"] == "TIMED_OUT"
    with pytest.raises(ClientError, match="TIMED_OUT"):
        service.client.pause_durable_execution(DurableExecutionArn=arn)


@pytest.mark.parametrize("kept", [False, True])
def test_a_list_in_pages_leaves_nothing_out_though_the_clock_goes_back(tmp_path: Path, kept: bool) -> None:
    clock = VirtualClock()
    with LocalService(clock=clock, store=SqliteStore(tmp_path / "x.db") if kept else None) as service:
        service.register("f", good)
        for seconds in (50, -30, 40, -60, 10):
            service.start("f")
            clock._now += timedelta(seconds=seconds)
        for reverse in (False, True):
            found, marker = [], None
            while True:
                page = service.client.list_durable_executions_by_function(
                    FunctionName="f", MaxItems=1, ReverseOrder=reverse, **({"Marker": marker} if marker else {})
                )
                found += [listed["StartTimestamp"] for listed in page["DurableExecutions"]]
                if (marker := page.get("NextMarker")) is None:
                    break
            assert found == sorted(found, reverse=not reverse)
            assert len(found) == 5


def test_a_version_that_is_missing_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.db"
    with LocalService(store=SqliteStore(path)) as service:
        service.register("f", good)
        service.functions.publish("f")
        service.functions.publish("f")
        arn = service.start("f:2").arn
    with LocalService(store=SqliteStore(path)) as service:
        service.register("f", good)
        service.functions.publish("f")
        assert service.execution(arn).drive().status == "RUNNING"
        assert "f:2 was not published" in caplog.text
        service.functions.publish("f")
        service.register("f", good)
        assert service.execution(arn).drive().status == "SUCCEEDED"


def test_two_qualifiers_that_differ_are_refused() -> None:
    service = LocalService().register("f", good)
    with pytest.raises(ClientError, match="differ"):
        service.client.invoke(FunctionName="f:1", Qualifier="2")
    assert service.client.invoke(FunctionName="f:1", Qualifier="1")["ExecutedVersion"] == "1"


def test_a_chained_invoke_takes_the_trace_that_it_is_given_or_its_parents() -> None:
    service = LocalService()
    service.register("child", good)

    @durable_execution
    def parent(_event: Any, ctx: DurableContext) -> int:
        return ctx.invoke("child", 1)

    service.register("parent", parent)
    with service.wake:
        begun = service.invoking.begin({"FunctionName": "parent", "TraceId": "Root=1-5759e988"})
    assert isinstance(begun, ExecutionHandle)
    begun.drive()
    traces = [
        service.client.get_durable_execution(DurableExecutionArn=known)["TraceHeader"] for known in service.handles
    ]
    assert traces == [{"XAmznTraceId": "Root=1-5759e988"}] * 2
