"""Many executions at once over real sockets, in SQLite: all of them end, nothing runs twice, nothing is left open."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.local import LocalService, RealClock, SqliteStore
from support.web import lambda_client, runtime_interface, served

if TYPE_CHECKING:
    from pathlib import Path

STEPS, CALLERS, PATIENCE = 20, 8, 300.0


class Flood:
    """A function of twenty steps, whose bodies are counted."""

    def __init__(self) -> None:
        self.client: Any = None
        """What its invocations checkpoint with; None is what the event brings."""
        self.bodies: Counter[tuple[str, int]] = Counter()

    def __call__(self, event: Any, context: Any) -> Any:
        return durable_execution(self._work, boto3_client=self.client)(event, context)

    def _work(self, event: Any, context: DurableContext) -> int:
        def body(number: int) -> int:
            self.bodies[context.execution_context.durable_execution_arn, number] += 1
            return int(event["number"]) + number

        return sum(context.step(lambda _, n=n: body(n), name=f"step-{n}") for n in range(STEPS))


def flood(folder: Path, executions: int, *, elsewhere: bool) -> None:
    work, database = Flood(), folder / "load.db"
    service = LocalService(store=SqliteStore(database), clock=RealClock(), record=False)
    with served(service) as (_, server, client), runtime_interface(work) as url:
        if elsewhere:
            from perdure.local.server.runtime import RemoteFunction  # noqa: PLC0415 - only here

            work.client = lambda_client(server.url)
            service.register("f", RemoteFunction(url))
        else:
            service.register("f", work)

        def start(number: int) -> str:
            begun = client.invoke(
                FunctionName="f",
                InvocationType="Event",
                DurableExecutionName=f"e-{number}",
                Payload=b'{"number": %d}' % number,
            )
            return str(begun["DurableExecutionArn"])

        with ThreadPoolExecutor(CALLERS) as callers:
            arns = list(callers.map(start, range(executions)))
        running = {"FunctionName": "f", "Statuses": ["RUNNING"]}
        deadline = time.monotonic() + PATIENCE
        while client.list_durable_executions_by_function(**running, MaxItems=1)["DurableExecutions"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for number, arn in enumerate(arns):
            ended = client.get_durable_execution(DurableExecutionArn=arn)
            expected = STEPS * number + sum(range(STEPS))
            assert (ended["Status"], ended["Result"]) == ("SUCCEEDED", str(expected))
        if elsewhere:
            work.client.close()
    assert work.bodies == Counter({(arn, n): 1 for arn in arns for n in range(STEPS)})
    assert not service.handles
    with sqlite3.connect(database) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM operations").fetchone() == (executions * (STEPS + 1),)
        assert db.execute("SELECT count(*) FROM executions WHERE ended IS NULL").fetchone() == (0,)
    db.close()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in-process", "elsewhere"])
def test_executions_that_come_together_all_end(tmp_path: Path, elsewhere: bool) -> None:
    flood(tmp_path, 25, elsewhere=elsewhere)


@pytest.mark.soak
@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["in-process", "elsewhere"])
def test_five_hundred_executions_that_come_together_all_end(tmp_path: Path, elsewhere: bool) -> None:
    flood(tmp_path, 500, elsewhere=elsewhere)
