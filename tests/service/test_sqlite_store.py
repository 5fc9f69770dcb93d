"""Executions in a file: what was acknowledged survives, what was running goes on, and one process at a time has it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from perdure.local import LocalService, SqliteStore, StoreError
from perdure.local.sqlite import SCHEMA_VERSION
from support.model import check_response
from support.raw import ERROR, RETRY, callback, context, execution, invoke, step, wait

if TYPE_CHECKING:
    from pathlib import Path

    from support.raw import Life

PENDING = {"Status": "PENDING"}
DONE = {"Status": "SUCCEEDED", "Result": "1"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "executions.db"


def test_a_restart_finds_everything_as_it_was(life: Life) -> None:
    raw = life.raw()
    raw.send(
        context("c", "START", Name="box"),
        step("s", "START", ParentId="c"),
        step("s", "RETRY", Error=ERROR, ParentId="c", **RETRY),
        step("t", "START", Name="t"),
        step("t", "SUCCEED", Payload='"\\ud800 ü"'),
        wait("w", 60),
        callback("cb", 600, 60),
    )
    before = dict(raw.handle.machine.operations)
    told = raw.client.get_durable_execution_history(DurableExecutionArn=raw.arn)["Events"]
    service = life.crash()
    handle = service.execution(raw.arn)
    assert handle.machine.operations == before
    assert list(handle.machine.operations) == list(before)
    response = service.client.get_durable_execution_history(DurableExecutionArn=raw.arn)
    check_response("get_durable_execution_history", response)
    assert response["Events"] == told
    described = service.client.get_durable_execution(DurableExecutionArn=raw.arn)
    assert (described["Status"], described["InputPayload"]) == ("RUNNING", "{}")


def test_a_restart_goes_on_with_waits_retries_and_callback_timeouts(life: Life) -> None:
    raw = life.raw()
    retried = [step("s", "START"), step("s", "RETRY", Error=ERROR, **RETRY)]
    raw.send(*retried, wait("w", 60), callback("t", 100), callback("h", 0, 90), callback("beaten", 0, 10))
    beaten = raw.operation("beaten")["CallbackDetails"]["CallbackId"]
    life.clock.advance(9)
    life.service.client.send_durable_execution_callback_heartbeat(CallbackId=beaten)
    raw.leave(PENDING)
    seen: list[tuple[float, list[str]]] = []
    start = life.clock.time()

    def handler(event: Any, _context: Any) -> Any:
        seen.append((life.clock.time() - start, event["UpdatedOperationIds"]))
        return PENDING if len(seen) < 5 else DONE

    life.register("f", handler)
    handle = life.crash().execution(raw.arn).drive()
    assert handle.status == "SUCCEEDED"
    assert seen == [(0.0, ["s"]), (10.0, ["beaten"]), (51.0, ["w"]), (81.0, ["h"]), (91.0, ["t"])]


def test_an_invocation_under_way_at_the_crash_is_repeated_with_a_new_token(life: Life) -> None:
    raw = life.raw()
    raw.send(step("a", "START"))
    stale = raw.token
    tokens: list[str] = []

    def handler(event: Any, _context: Any) -> Any:
        tokens.append(event["CheckpointToken"])
        assert [o["Id"] for o in event["InitialExecutionState"]["Operations"]][1:] == ["a"]
        return DONE

    life.register("f", handler)
    service = life.crash()
    assert service.execution(raw.arn).drive().status == "SUCCEEDED"
    assert stale not in tokens
    assert len(tokens) == 1


def test_a_token_serves_once_across_restarts_and_a_client_token_repeats_the_answer(life: Life) -> None:
    raw = life.raw()
    arguments: dict[str, Any] = {
        "DurableExecutionArn": raw.arn,
        "CheckpointToken": raw.token,
        "Updates": [callback("cb")],
        "ClientToken": "once",
    }
    first = raw.client.checkpoint_durable_execution(**arguments)
    client = life.crash().client
    again = client.checkpoint_durable_execution(**arguments)
    assert {k: v for k, v in again.items() if k != "ResponseMetadata"} == {
        k: v for k, v in first.items() if k != "ResponseMetadata"
    }
    with pytest.raises(ClientError, match="Invalid checkpoint token"):
        client.checkpoint_durable_execution(**{**arguments, "ClientToken": "twice"})
    life.clock.advance(901)
    with pytest.raises(ClientError, match="Invalid checkpoint token"):
        client.checkpoint_durable_execution(**arguments)


def test_a_refused_batch_leaves_nothing_in_the_file(life: Life) -> None:
    raw = life.raw()
    with pytest.raises(ClientError):
        raw.send(step("a", "START"), step("b", "START", ParentId="nobody"))
    assert list(life.crash().execution(raw.arn).machine.operations) == [raw.handle.machine.execution_id]


def test_a_child_goes_on_and_reports_after_a_restart(life: Life) -> None:
    calls: list[Any] = []

    def plain(event: Any, _context: Any) -> Any:
        calls.append(event)
        return event

    def child(event: Any, _context: Any) -> Any:
        if len(event["InitialExecutionState"]["Operations"]) == 1:
            event.client.checkpoint_durable_execution(
                DurableExecutionArn=event["DurableExecutionArn"],
                CheckpointToken=event["CheckpointToken"],
                Updates=[wait("w", 60)],
            )
            return PENDING
        return DONE

    life.register("plain", plain, durable=False)
    life.register("child", child)
    raw = life.raw()
    raw.send(invoke("p", "plain", "7"), invoke("d", "child"))
    life.register("f", lambda _event, _context: DONE if ended() == 2 else PENDING)

    def ended() -> int:
        return sum(o["Status"] == "SUCCEEDED" for o in life.service.execution(raw.arn).operations)

    handle = life.crash().execution(raw.arn).drive()
    assert (handle.status, calls) == ("SUCCEEDED", [7])
    assert [o["ChainedInvokeDetails"] for o in handle.operations] == [{"Result": "7"}, {"Result": "1"}]


def test_a_pause_holds_across_a_restart(life: Life) -> None:
    raw = life.raw()
    life.register("f", lambda _event, _context: DONE)
    raw.client.pause_durable_execution(DurableExecutionArn=raw.arn, Reason="lunch")
    service = life.crash()
    handle = service.execution(raw.arn)
    assert handle.drive().status == "PAUSED"
    described = service.client.get_durable_execution(DurableExecutionArn=raw.arn)
    assert described["PauseDetails"]["Reason"] == "lunch"
    service.client.resume_durable_execution(DurableExecutionArn=raw.arn)
    assert handle.drive().status == "SUCCEEDED"


def test_finished_executions_are_kept_in_the_file_not_in_memory(life: Life) -> None:
    raw = life.raw()
    raw.send(execution("SUCCEED", Payload='"done"'))
    raw.leave({"Status": "SUCCEEDED", "Result": ""})
    arn, name = raw.arn, raw.handle.name
    del raw
    assert life.service.handles == {}
    handle = life.service.execution(arn)
    assert (handle.status, handle.value, handle.name) == ("SUCCEEDED", "done", name)
    assert life.service.execution(arn) is handle
    assert life.service.start("f", "{}", name).arn == arn
    with pytest.raises(ClientError, match="another payload"):
        life.service.start("f", "[]", name)


def test_a_finished_execution_can_be_deleted_after_a_restart(life: Life, path: Path) -> None:
    life.register("f", lambda _event, _context: DONE)
    arn = life.service.run("f").arn
    client = life.crash().client
    client.delete_durable_execution(DurableExecutionArn=arn)
    assert client.list_durable_executions_by_function(FunctionName="f")["DurableExecutions"] == []
    life.service.store.close()
    with closing(sqlite3.connect(path)) as db:
        counts = db.execute("SELECT (SELECT count(*) FROM operations), (SELECT count(*) FROM events)").fetchone()
    assert counts == (0, 0)


def test_retention_ends_in_the_file_too(life: Life) -> None:
    life.register("f", lambda _event, _context: DONE, retention_days=1)
    arn = life.service.run("f").arn
    service = life.crash()
    life.clock.advance(86_400)
    with pytest.raises(ClientError, match="No durable execution"):
        service.client.get_durable_execution(DurableExecutionArn=arn)


def test_an_execution_waits_for_its_function_to_be_registered(life: Life) -> None:
    life.service.register("g", lambda _event, _context: DONE)
    arn = life.service.start("g").arn
    handle = life.crash().execution(arn)
    assert handle.drive().status == "RUNNING"
    life.service.register("g", lambda _event, _context: DONE)
    assert handle.drive().status == "SUCCEEDED"


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_second_store_on_one_file_is_refused(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="in use by another process"):
        SqliteStore(path)
    store.close()
    SqliteStore(path).close()


def test_another_process_is_refused_until_the_first_one_is_dead(path: Path) -> None:
    script = "import sys; from perdure.local import SqliteStore; s = SqliteStore(sys.argv[1]); print('up', flush=True)"
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{script}; sys.stdin.read()", str(path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"up\n"
        with pytest.raises(StoreError, match="in use by another process"):
            SqliteStore(path)
        holder.kill()
    SqliteStore(path).close()


def test_a_file_of_a_newer_perdure_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match="written by a newer perdure"):
        SqliteStore(path)


def test_a_file_of_somebody_else_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (id)")
    with pytest.raises(StoreError, match="none of perdure's"):
        SqliteStore(path)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("hello " * 1000)
    with pytest.raises(StoreError, match="not an SQLite database"):
        SqliteStore(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path / "nowhere" / "x.db")


def test_a_database_in_memory_serves_as_well() -> None:
    service = LocalService(store=SqliteStore(":memory:", synchronous="FULL")).register("f", lambda _e, _c: DONE)
    assert service.run("f").status == "SUCCEEDED"
    service.close()


def test_only_known_pragmas_are_passed_on() -> None:
    with pytest.raises(ValueError, match="NORMAL or FULL"):
        SqliteStore(":memory:", synchronous="OFF; DROP TABLE executions")


def test_a_failed_commit_is_a_service_error_and_the_next_one_makes_up_for_it(life: Life) -> None:
    raw = life.raw()
    store: Any = life.service.store
    connection = store._db
    with closing(sqlite3.connect(":memory:")) as store._db, pytest.raises(ClientError) as caught:
        raw.send(step("a", "START"), client_token="once")  # noqa: S106
    assert caught.value.response["Error"]["Code"] == "ServiceException"
    store._db = connection
    raw.send(step("a", "START"), client_token="once")  # noqa: S106
    assert life.crash().execution(raw.arn).machine.operations["a"]["Status"] == "STARTED"
