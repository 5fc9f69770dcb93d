"""A process that dies at a certain moment, and the one that opens its file: the copy of a file is such a moment."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from perdure import durable_execution
from perdure.local import LocalService, SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from perdure import DurableContext


def copied(path: Path) -> LocalService:
    """Open what a service would find if the process that uses `path` died now."""
    copy = path.with_name(f"{path.name}+")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return LocalService(store=SqliteStore(copy), record=False)


@durable_execution
def doubles(event: Any, context: DurableContext) -> Any:
    return context.invoke("double", event, "double")


def test_a_running_plain_function_is_called_again_whichever_is_registered_first(tmp_path: Path) -> None:
    with LocalService(store=SqliteStore(tmp_path / "x.db")) as service:
        service.register("doubles", doubles)
        service.register("double", lambda _event, _context: successors.append(copied(tmp_path / "x.db")), durable=False)
        successors: list[LocalService] = []
        arn = service.run("doubles", event=21).arn
    with successors[0] as successor:
        successor.register("doubles", doubles)
        assert successor.execution(arn).drive().status == "RUNNING"
        successor.register("double", lambda event, _context: event * 2, durable=False)
        assert successor.execution(arn).drive().value == 42


def test_a_running_plain_function_is_not_called_again_for_an_execution_that_was_stopped(tmp_path: Path) -> None:
    successors: list[LocalService] = []
    calls: list[Any] = []

    def double(event: Any, _context: Any) -> None:
        (handle,) = service.handles.values()
        service.client.stop_durable_execution(DurableExecutionArn=handle.arn)
        successors.append(copied(tmp_path / "x.db"))

    with LocalService(store=SqliteStore(tmp_path / "x.db")) as service:
        service.register("doubles", doubles).register("double", double, durable=False)
        arn = service.run("doubles", event=21).arn
    with successors[0] as successor:
        successor.register("double", lambda event, _context: calls.append(event), durable=False)
        successor.register("doubles", doubles).register("other", durable_execution(lambda _event, _context: None))
        successor.client.stop_durable_execution(DurableExecutionArn=arn)
        successor.run("other")
        assert calls == []


def test_what_an_invoke_has_started_after_a_restart_is_not_started_again_after_the_next(tmp_path: Path) -> None:
    successors: list[LocalService] = []

    @durable_execution
    def double(event: Any, _context: DurableContext) -> Any:
        if len(successors) == 1:
            successors.append(copied(tmp_path / "x.db+"))
        return event * 2

    with LocalService(store=SqliteStore(tmp_path / "x.db")) as service:
        arn = service.register_external("double").register("doubles", doubles).run("doubles", event=21).arn
        successors.append(copied(tmp_path / "x.db"))
    with successors[0] as successor:
        successor.register("doubles", doubles).register("double", double)
        assert successor.execution(arn).drive().value == 42
    with successors[1] as successor:
        successor.register("doubles", doubles).register("double", double)
        assert successor.execution(arn).drive().value == 42
        started = successor.client.list_durable_executions_by_function(FunctionName="double")
        assert len(started["DurableExecutions"]) == 1


def test_a_deletion_that_was_to_wait_for_the_handler_is_done(tmp_path: Path) -> None:
    successors: list[LocalService] = []

    @durable_execution
    def handler(_event: Any, _context: DurableContext) -> None:
        (arn,) = service.handles
        service.client.stop_durable_execution(DurableExecutionArn=arn)
        service.client.delete_durable_execution(DurableExecutionArn=arn)
        successors.append(copied(tmp_path / "x.db"))

    with LocalService(store=SqliteStore(tmp_path / "x.db")) as service:
        service.register("f", handler)
        arn = service.run("f", name="x").arn
    with successors[0] as successor:
        successor.register("f", handler)
        with pytest.raises(ClientError, match="No durable execution"):
            successor.client.get_durable_execution(DurableExecutionArn=arn)
        assert successor.client.list_durable_executions_by_function(FunctionName="f")["DurableExecutions"] == []
        assert successor.start("f", name="x").arn != arn


def test_a_pause_that_was_to_wait_for_the_handler_holds_and_is_told(tmp_path: Path) -> None:
    successors: list[LocalService] = []

    @durable_execution
    def handler(_event: Any, _context: DurableContext) -> None:
        if not successors:
            (arn,) = service.handles
            service.client.pause_durable_execution(DurableExecutionArn=arn, Reason="later")
            successors.append(copied(tmp_path / "x.db"))

    with LocalService(store=SqliteStore(tmp_path / "x.db")) as service:
        service.register("f", handler)
        arn = service.run("f").arn
    with successors[0] as successor:
        successor.register("f", handler)
        client = successor.client
        (listed,) = client.list_durable_executions_by_function(FunctionName="f", Statuses=["PAUSED"])[
            "DurableExecutions"
        ]
        assert listed["DurableExecutionArn"] == arn
        events = client.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        assert [event["EventType"] for event in events] == ["ExecutionStarted", "ExecutionPaused"]
        client.resume_durable_execution(DurableExecutionArn=arn)
        assert successor.execution(arn).drive().status == "SUCCEEDED"


def test_a_stop_beside_a_deletion_does_not_undo_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = durable_execution(lambda _event, _context: None)
    with LocalService(store=SqliteStore(tmp_path / "x.db")) as service:
        arn = service.register("f", handler).run("f").arn
    with LocalService(store=SqliteStore(tmp_path / "x.db")) as service:
        seen, write = threading.Event(), service.store._write  # type: ignore[attr-defined]
        stops = threading.Thread(target=service.client.stop_durable_execution, kwargs={"DurableExecutionArn": arn})

        def slowly() -> None:
            if not stops.ident:
                stops.start()
                seen.wait(10)
            write()

        changed = service.executions.absorb
        monkeypatch.setattr(service.executions, "absorb", lambda handle: (changed(handle), seen.set()))
        monkeypatch.setattr(service.store, "_write", slowly)
        service.client.delete_durable_execution(DurableExecutionArn=arn)
        stops.join(10)
        with pytest.raises(ClientError, match="No durable execution"):
            service.client.get_durable_execution(DurableExecutionArn=arn)


# -- between the schedule and the handler ------------------------------------------------------------------------------


def test_what_was_stopped_on_the_way_to_its_invocation_is_not_invoked() -> None:
    entered: list[Any] = []
    service = LocalService().register("f", lambda event, _context: entered.append(event))
    handle = service.start("f")
    job = service._driver.next_job()
    service.client.stop_durable_execution(DurableExecutionArn=handle.arn)
    with service.wake:
        service._driver.run(service._driver.take_on(job))  # type: ignore[arg-type]
    assert entered == []


def test_what_is_taken_up_twice_is_invoked_once() -> None:
    entered: list[Any] = []

    def handler(event: Any, _context: Any) -> dict[str, str]:
        entered.append(event)
        with service.wake:
            driver.run(driver.take_on(second))
        return {"Status": "SUCCEEDED"}

    service = LocalService().register("f", handler)
    driver = service._driver
    service.start("f")
    first = driver.next_job()
    service.executions.resume()  # as any news would do
    second = driver.next_job()
    assert first is not None
    assert second is first
    with service.wake:
        driver.run(driver.take_on(first))
    assert len(entered) == 1
