"""An asynchronous client of the user's: its calls are made by tasks of the handler's loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from perdure import AsyncDurableContext, durable_execution
from perdure._control import CheckpointsBroken
from perdure.aio import loop as loops
from perdure.aio.client import AwaitedClient

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:f:1/durable-execution/name/5c1f0a52"


class Service:
    """Takes updates, and says that they are recorded; in a loop that is always the same one."""

    def __init__(self, fails: int = 0, by: type[BaseException] = ConnectionError) -> None:
        self.loops: set[Any] = set()
        self.updates: list[dict[str, Any]] = []
        self.fails = fails
        self.by = by

    async def checkpoint_durable_execution(self, **request: Any) -> dict[str, Any]:
        """Take updates."""
        self.loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0.001)
        if self.fails:
            self.fails -= 1
            raise self.by("lost")
        self.updates += request["Updates"]
        return {"CheckpointToken": "next", "NewExecutionState": {"Operations": []}}

    async def get_durable_execution_state(self, **_request: Any) -> dict[str, Any]:
        """Give the rest of the history."""
        self.loops.add(asyncio.get_running_loop())
        return {"Operations": [EXECUTION]}


EXECUTION = {
    "Id": "5c1f0a52",
    "Type": "EXECUTION",
    "Status": "STARTED",
    "StartTimestamp": 1,
    "ExecutionDetails": {"InputPayload": "{}"},
}


class LambdaContext:
    """Of Lambda."""

    aws_request_id = "request"

    def get_remaining_time_in_millis(self) -> int:
        """Give the time that is left."""
        return 60_000


def event(*, paged: bool = False) -> dict[str, Any]:
    state = {"Operations": [] if paged else [EXECUTION], "NextMarker": "more" if paged else ""}
    return {"DurableExecutionArn": ARN, "CheckpointToken": "token", "InitialExecutionState": state}


async def work(_event: Any, context: AsyncDurableContext) -> Any:
    one = await context.step(lambda _: 1, "one")
    others = await asyncio.gather(*(context.step(lambda _, n=n: n, f"s{n}") for n in range(5)))
    return [one, *others]


@pytest.mark.parametrize("paged", [False, True])
def test_its_calls_are_made_in_the_loop(paged: bool) -> None:
    service = Service()
    # Loops that no other test has.
    handler = durable_execution(work, boto3_client=service, loop_factory=lambda: asyncio.new_event_loop())  # noqa: PLW0108
    for _ in range(3):
        assert handler(event(paged=paged), LambdaContext()) == {  # type: ignore[arg-type]
            "Status": "SUCCEEDED",
            "Result": "[1, 0, 1, 2, 3, 4]",
        }
    # What nobody waits for may leave by a thread, on a slow machine: its calls have a loop of their own.
    assert len(service.loops) in {1, 2}
    assert {update["Name"] for update in service.updates} == {"one", *(f"s{n}" for n in range(5))}


@pytest.mark.parametrize("by", [ConnectionError, asyncio.CancelledError])
def test_a_call_that_is_lost_is_made_again(by: type[BaseException]) -> None:
    handler = durable_execution(work, boto3_client=Service(1, by))
    assert handler(event(), LambdaContext())["Status"] == "SUCCEEDED"  # type: ignore[arg-type]


def test_the_rest_is_recorded_when_it_suspends() -> None:
    async def waits(_event: Any, context: AsyncDurableContext) -> None:
        await asyncio.gather(context.step(lambda _: 1, "one"), context.wait(60, "rest"))

    service = Service()
    handler = durable_execution(waits, boto3_client=service)
    assert handler(event(), LambdaContext()) == {"Status": "PENDING"}  # type: ignore[arg-type]
    assert {update["Name"] for update in service.updates} == {"one", "rest"}


def test_a_call_that_a_thread_makes_when_its_invocation_has_ended_is_not_made() -> None:
    """A thread that sends what nobody waits for, in a loop that is idle by then."""
    service = Service()
    client = AwaitedClient(service, None)
    loop = loops.take(None)
    broken: list[BaseException] = []

    def late() -> None:
        loops.call_for(loop)
        try:
            client.checkpoint_durable_execution(Updates=[])
        except CheckpointsBroken as error:
            broken.append(error)

    thread = threading.Thread(target=late)
    thread.start()
    loop.run_until_complete(asyncio.to_thread(thread.join))
    loops.give_back(None, loop)
    assert len(broken) == 1
    assert service.loops == set()
