"""Group commit: who writes for whom, and that nobody is answered before what he saw is safe."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from perdure import DurableContext, durable_execution
from perdure.local import LocalService, RealClock, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from perdure.local.machine.execution import Execution


@durable_execution
def _handler(event: Any, context: DurableContext) -> Any:
    return context.step(lambda _: event, name="only")


class _Gated(SqliteStore):
    """A store whose transactions wait at a gate, or fail."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate, self.written, self.broken = threading.Event(), 0, False
        self.gate.set()
        self.begun = threading.Event()

    def stage(self, executions: Collection[Execution]) -> Callable[[], None]:
        write = super().stage(executions)

        def gated() -> None:
            self.begun.set()
            self.gate.wait(10)
            if self.broken:
                raise sqlite3.OperationalError("disk full")
            write()
            self.written += 1

        return gated


@pytest.fixture
def store(tmp_path: Path) -> _Gated:
    return _Gated(tmp_path / "gated.db")


def _names(path: Path) -> set[str]:
    with LocalService(store=SqliteStore(path), clock=RealClock()) as service:
        return {handle.name for handle in service.handles.values()}


def test_calls_that_come_while_one_writes_share_the_next_transaction(store: _Gated) -> None:
    service = LocalService(store=store, clock=RealClock(), record=False)
    service.register("f", _handler)
    store.gate.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(service.start, "f", event=0, name="first")
        assert store.begun.wait(10)
        others = [pool.submit(service.start, "f", event=n, name=f"n{n}") for n in range(8)]
        deadline = time.monotonic() + 10
        while len(service.handles) < 9 and time.monotonic() < deadline:
            time.sleep(0.001)  # the lock is free: all of them get as far as to wait for the transaction
        assert len(service.handles) == 9
        assert not first.done()
        assert not any(other.done() for other in others)
        store.gate.set()
        assert len({call.result(10).arn for call in (first, *others)}) == 9
    assert store.written == 2
    service.close()


def test_who_only_reads_is_not_told_what_is_not_safe_yet(store: _Gated) -> None:
    service = LocalService(store=store, clock=RealClock(), record=False)
    service.register("f", _handler)
    store.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        started = pool.submit(service.start, "f", event=0, name="e")
        assert store.begun.wait(10)
        (arn,) = service.handles
        read = pool.submit(service.client.get_durable_execution, DurableExecutionArn=arn)
        time.sleep(0.05)
        assert not read.done()
        store.gate.set()
        assert read.result(10)["DurableExecutionName"] == "e"
        started.result(10)
    service.close()


def test_what_could_not_be_written_is_written_by_the_next_call(store: _Gated, tmp_path: Path) -> None:
    service = LocalService(store=store, clock=RealClock(), record=False)
    service.register("f", _handler)
    store.broken = True
    for number in range(2):
        with pytest.raises(ClientError, match="disk full"):
            service.client.invoke(FunctionName="f", InvocationType="Event", DurableExecutionName=f"lost{number}")
    store.broken = False
    service.client.invoke(FunctionName="f", InvocationType="Event", DurableExecutionName="kept")
    service.close()
    assert _names(tmp_path / "gated.db") == {"lost0", "lost1", "kept"}


def test_everybody_in_a_transaction_that_fails_hears_of_it(store: _Gated) -> None:
    service = LocalService(store=store, clock=RealClock(), record=False)
    service.register("f", _handler)
    store.gate.clear()
    store.broken = True
    with ThreadPoolExecutor(5) as pool:
        calls = [
            pool.submit(
                service.client.invoke, FunctionName="f", InvocationType="Event", DurableExecutionName=f"n{number}"
            )
            for number in range(5)
        ]
        store.gate.set()
        for call in calls:
            with pytest.raises(ClientError, match="disk full"):
                call.result(10)
    store.broken = False
    service.close()


def test_workers_and_callers_and_deletions_at_once_leave_a_consistent_file(tmp_path: Path) -> None:
    path = tmp_path / "busy.db"
    service = LocalService(store=SqliteStore(path), clock=RealClock(), record=False)
    service.register("f", _handler)
    service.start_workers(8)
    client = service.client

    def one(number: int) -> None:
        name = f"n{number}"
        client.invoke(FunctionName="f", DurableExecutionName=name, Payload=str(number))
        listed = client.list_durable_executions_by_function(FunctionName="f", DurableExecutionName=name)
        (arn,) = [each["DurableExecutionArn"] for each in listed["DurableExecutions"]]
        events = client.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        assert [event["EventId"] for event in events] == list(range(1, len(events) + 1))
        assert events[-1]["EventType"] == "ExecutionSucceeded"
        assert client.get_durable_execution(DurableExecutionArn=arn)["Result"] == str(number)
        if number % 2:
            client.delete_durable_execution(DurableExecutionArn=arn)
            with pytest.raises(ClientError, match="No durable execution"):
                client.get_durable_execution(DurableExecutionArn=arn)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(80)))
    left = client.list_durable_executions_by_function(FunctionName="f", MaxItems=1000)["DurableExecutions"]
    assert {each["DurableExecutionName"] for each in left} == {f"n{number}" for number in range(0, 80, 2)}
    service.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        orphans = "SELECT count(*) FROM events WHERE execution NOT IN (SELECT key FROM executions)"
        assert database.execute(orphans).fetchone() == (0,)
