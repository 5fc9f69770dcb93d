"""Executions in a file: what was acknowledged survives, what was running goes on, and one process at a time has it."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from perdure import DurableContext, durable_execution
from perdure.local import LocalService, RealClock, SqliteStore, StoreError
from perdure.local.store.sqlite import SCHEMA_VERSION
from support.handlers import good
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


@pytest.mark.skipif(os.name == "nt", reason="files have other rights there")
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_a_new_file_is_its_owners_alone(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask & 0o077)
    try:
        with closing(SqliteStore(tmp_path / "x.db")), LocalService(store=SqliteStore(tmp_path / "y.db")) as service:
            service.register("f", good).run("f")
            rights = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert {"x.db", "y.db", "y.db-wal"} <= rights.keys()
    assert set(rights.values()) == {0o600}


def test_a_file_that_a_link_leads_to_is_its_owners_alone_as_well(tmp_path: Path, path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere.db")
    SqliteStore(path).close()
    assert stat.S_IMODE((tmp_path / "elsewhere.db").stat().st_mode) == 0o600


def test_who_is_refused_the_file_takes_no_lock_away_from_who_has_it(path: Path) -> None:
    """Within one process, to open a file and close it again lets go of all of the process's locks on it."""
    other = "import sys; from perdure.local import SqliteStore; SqliteStore(sys.argv[1]).close()"
    with closing(SqliteStore(path)):
        for _ in range(2):
            with pytest.raises(StoreError, match="in use"):
                SqliteStore(path)
        done = subprocess.run([sys.executable, "-c", other, path], capture_output=True, text=True, check=False)
        assert "is in use by another process" in done.stderr
    subprocess.run([sys.executable, "-c", other, path], check=True)


def test_the_rights_of_a_file_that_is_there_stay_as_they_are(path: Path) -> None:
    SqliteStore(path).close()
    path.chmod(0o640)
    SqliteStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def spoil(path: Path, table: str, column: str, value: str | bytes) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT)", [value])  # noqa: S608 - names of ours
        db.commit()


@durable_execution
def asks(_event: Any, ctx: DurableContext) -> Any:
    return ctx.create_callback(timeout=90).result()


UNREADABLE = ["", "{", "null", "[]", "7", b"\xff\xfe", '{"Id": 7}', "[" * 100_000]


@pytest.mark.parametrize("value", UNREADABLE)
@pytest.mark.parametrize(("table", "column"), [("executions", "state"), ("operations", "body"), ("operations", "note")])
def test_what_cannot_be_read_of_an_open_execution_is_damage(
    path: Path, table: str, column: str, value: str | bytes
) -> None:
    with LocalService(store=SqliteStore(path)) as service:
        service.register("f", asks).run("f", stop_at_callback=True)
    spoil(path, table, column, value)
    with pytest.raises(StoreError, match=r"executions.db is damaged: .* Restore it from a copy"):
        LocalService(store=SqliteStore(path))


@pytest.mark.parametrize("value", [value for value in UNREADABLE if value != '{"Id": 7}'])
@pytest.mark.parametrize(("table", "column"), [("executions", "state"), ("operations", "body"), ("events", "body")])
def test_what_cannot_be_read_of_a_finished_one_is_told_to_who_asks(
    path: Path, table: str, column: str, value: str | bytes
) -> None:
    with LocalService(store=SqliteStore(path)) as service:
        arn = service.register("f", good).run("f").arn
    spoil(path, table, column, value)
    action = "get_durable_execution_history" if table == "events" else "get_durable_execution"
    with LocalService(store=SqliteStore(path)) as service, pytest.raises(ClientError) as caught:
        getattr(service.client, action)(DurableExecutionArn=arn)
    error = caught.value.response["Error"]
    assert error["Code"] == "ServiceException"
    assert "executions.db is damaged: " in error["Message"]
    assert "Restore it from a copy" in error["Message"]


class Broken:
    """A connection that finds damage when it is to write."""

    def __init__(self, target: sqlite3.Connection) -> None:
        self._target = target
        self.tries = threading.Semaphore(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if not statement.startswith("BEGIN"):
            return self._target.execute(statement, *values)
        self.tries.release()
        problem = sqlite3.DatabaseError("database disk image is malformed")
        problem.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise problem


def test_damage_that_is_met_while_writing_is_told_once_in_the_log_and_to_who_asks(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("perdure.local.workers._PAUSE_AFTER_TROUBLE", 0.01)
    store = SqliteStore(path)
    with LocalService(store=store, clock=RealClock()) as service:
        service.register("f", good)
        service.start_workers()
        with monkeypatch.context() as broken:
            found = Broken(store._db)
            broken.setattr(store, "_db", found)
            with pytest.raises(ClientError, match=r"executions.db is damaged: .* Restore it from a copy"):
                service.client.invoke(FunctionName="f", InvocationType="Event")
            for _ in range(20):
                assert found.tries.acquire(timeout=20)
        handle = next(iter(service.handles.values()))
        with service.wake:
            assert service.wake.wait_for(lambda: handle.terminal, 20)
    told = [record for record in caplog.records if "is damaged" in record.getMessage()]
    assert [record.exc_info for record in told] == [None]
