"""A store that cannot be written, or read: nothing fails for it that would not have failed without."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from perdure.local import LocalService, RealClock, SqliteStore, StoreError, VirtualClock
from support import connections
from support.handlers import DONE, good
from support.raw import wait

if TYPE_CHECKING:
    from pathlib import Path


def test_a_full_disk_fails_no_execution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "x.db")
    write, full = store._write, threading.Event()

    def written() -> None:
        if full.is_set():
            raise sqlite3.OperationalError("database or disk is full")
        write()

    monkeypatch.setattr(store, "_write", written)
    entered = []

    def handler(_event: Any, _context: Any) -> Any:
        entered.append(full.is_set())
        return DONE

    with LocalService(store=store) as service:
        service.register("f", handler).register("plain", lambda event, _context: event, durable=False)
        handle = service.start("f")
        service.client.invoke(FunctionName="plain", InvocationType="Event", Payload=b"1")
        full.set()
        for _ in range(10):
            with pytest.raises(sqlite3.OperationalError):
                handle.drive()
        full.clear()
        assert handle.drive().status == "SUCCEEDED"
        assert entered == [False]
        assert not service.tasks


def test_workers_wait_for_a_store_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("perdure.local.workers._PAUSE_AFTER_TROUBLE", 0.01)
    monkeypatch.setattr("perdure.local.driver._PAUSE_AFTER_TROUBLE", 0.01)
    store = SqliteStore(tmp_path / "x.db")
    write, left = store._write, [6]

    def written() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise sqlite3.OperationalError("database or disk is full")
        write()

    with LocalService(store=store, clock=RealClock()) as service:
        service.register("f", lambda _event, _context: DONE)
        handle = service.start("f")
        monkeypatch.setattr(store, "_write", written)
        service.start_workers()
        with service.wake:
            assert service.wake.wait_for(lambda: handle.terminal, 20)
        assert handle.status == "SUCCEEDED"
        assert len(handle.invocations) == 1
    assert "database or disk is full" in caplog.text


def test_a_pause_that_comes_while_an_invocation_cannot_begin_holds_and_no_news_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, store = VirtualClock(), SqliteStore(tmp_path / "x.db")
    told: list[list[str]] = []

    def handler(event: Any, _context: Any) -> Any:
        told.append(event["UpdatedOperationIds"])
        if len(told) == 1:
            event.client.checkpoint_durable_execution(
                DurableExecutionArn=event["DurableExecutionArn"],
                CheckpointToken=event["CheckpointToken"],
                Updates=[wait("w", 60)],
            )
            return {"Status": "PENDING"}
        return DONE

    with LocalService(store=store, clock=clock) as service:
        handle = service.register("f", handler).start("f")
        write, fails = store._write, [False]

        def written() -> None:
            if fails[0] and handle.machine.invoking:
                fails[0] = False
                with service.wake:
                    handle.machine.request_pause(clock.now(), None, None, stops_timeout=True)
                raise sqlite3.OperationalError("database or disk is full")
            write()

        monkeypatch.setattr(store, "_write", written)
        service.observers.append(Trip(fails, told))
        with pytest.raises(sqlite3.OperationalError):
            handle.drive()
        assert handle.drive().status == "PAUSED"
        service.client.resume_durable_execution(DurableExecutionArn=handle.arn)
        assert handle.drive().status == "SUCCEEDED"
    assert told == [[], ["w"]]


class Trip:
    """Lets the next write fail once the first invocation is over."""

    def __init__(self, fails: list[bool], told: list[list[str]]) -> None:
        self.fails, self.told = fails, told

    def operation(self, _handle: Any, operation: Any) -> None:
        if operation["Type"] == "WAIT" and operation["Status"] == "SUCCEEDED":
            self.fails[0] = True

    def invocation(self, _handle: Any, _invocation: Any) -> None:
        """Look away."""

    def waiting(self, _seconds: float, *, skipped: bool) -> None:
        """Look away."""


def test_a_damaged_file_is_named_with_what_to_do_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = connections.follow(monkeypatch)
    path = tmp_path / "x.db"
    with LocalService(store=SqliteStore(path)) as service:
        service.register("f", good)
        for _ in range(50):
            service.start("f")
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 8 * 4096)
    with pytest.raises(StoreError, match=r"x\.db is damaged: .* give another file"):
        LocalService(store=SqliteStore(path))
    assert not connections.is_open(opened[-1])


def test_a_store_whose_service_cannot_write_the_last_of_it_is_closed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(path)
    service = LocalService(store=store).register("f", lambda _event, _context: DONE)
    handle = service.start("f")
    with service.wake:
        handle.machine.begin_invocation()

    def written() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store, "_write", written)
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        service.close()
    SqliteStore(path).close()  # the file is free


def test_a_store_is_closed_when_stopping_its_service_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    service = LocalService(store=SqliteStore(path))

    def interrupted(_grace: float) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(service, "stop_workers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        service.close()
    SqliteStore(path).close()
