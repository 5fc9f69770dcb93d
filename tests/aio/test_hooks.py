"""What hooks hear of ``async def`` handlers, and tasks with no thread besides their loop's, as explorers have them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from perdure import durable_execution
from perdure.engine.hooks import Hooks
from perdure.engine.hosted import HostedEvent
from perdure.exceptions import SerDesError, StepError, ValidationError
from perdure.local import client_error
from support.invocations import PENDING, Recorder, error, event, op, op_id

if TYPE_CHECKING:
    from perdure import AsyncDurableContext


def hooked(handler: Any, hooks: Hooks, *recorded: Any, client: Recorder | None = None) -> dict[str, Any]:
    """Run one invocation that hooks look into; give its output."""
    given = HostedEvent(event(*recorded), client or Recorder(), hooks=hooks)
    return durable_execution(handler)(given, None)  # type: ignore[arg-type,call-overload,no-any-return]


def result(output: dict[str, Any]) -> Any:
    assert output["Status"] == "SUCCEEDED", output
    return json.loads(output["Result"])


class Telling(Hooks):
    """Write down which operations begin and end."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def before_operation(self, method: str) -> None:
        self.told.append(method)

    def after_awaited(self, operation_id: str) -> None:
        self.told.append(operation_id)


class Sole(Hooks):
    """No threads, and what has come is kept from its task for some turns of the loop."""

    def __init__(self, turns: int) -> None:
        self.kept = turns

    def has_loop_threads(self) -> bool:
        return False

    def turns(self) -> int:
        return self.kept


def test_hooks_that_hear_of_no_operation_change_nothing() -> None:
    kinds: list[str] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        kinds.append(type(context).__name__)
        return await asyncio.gather(context.step(lambda _: 1), context.step(lambda _: 2))

    assert result(hooked(handler, Hooks())) == [1, 2]
    assert kinds == ["AsyncDurableContext"]


def test_the_end_of_a_replayed_operation_is_told_of_whether_it_failed_or_not() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        with pytest.raises(StepError):
            await context.step(lambda _: 1)
        await context.wait(5)
        await context.wait(6)

    hooks = Telling()
    recorded = [op("STEP", "FAILED", 1, details={"Error": error()}), op("WAIT", "SUCCEEDED", 2)]
    assert hooked(handler, hooks, *recorded) == PENDING
    assert hooks.told == ["step", op_id(1), "wait", op_id(2), "wait"]


REFUSED: list[Any] = [
    lambda context: context.wait(0),
    lambda context: context.step(7),
    lambda context: context.step(lambda _: 1, retries=3),
    lambda context: context.map(7, lambda *_: 1),
    lambda context: context.invoke("plain", 1, timeout=-1),
]


@pytest.mark.parametrize("refused", REFUSED)
def test_of_a_call_that_is_refused_for_its_arguments_no_end_is_told(refused: Any) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        await context.step(lambda _: 1)
        with pytest.raises((ValidationError, TypeError)):
            await refused(context)

    hooks = Telling()
    assert result(hooked(handler, hooks)) is None
    assert hooks.told[:2] == ["step", op_id(1)]
    assert op_id(1) not in hooks.told[2:]


@pytest.mark.parametrize("refused", REFUSED)
def test_nor_is_it_of_a_plain_handler(refused: Any) -> None:
    def handler(_event: Any, context: Any) -> None:
        context.step(lambda _: 1)
        with pytest.raises((ValidationError, TypeError)):
            refused(context)

    class Plain(Telling):
        def after_operation(self, scope: Any) -> None:
            self.told.append(scope.latest_id)

    hooks = Plain()
    assert result(hooked(handler, hooks)) is None
    assert hooks.told[:2] == ["step", op_id(1)]
    assert op_id(1) not in hooks.told[2:]


def test_the_end_of_an_operation_whose_result_cannot_be_read_is_told_of() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        with pytest.raises(SerDesError):
            await context.step(lambda _: 1)

    hooks = Telling()
    assert result(hooked(handler, hooks, op("STEP", "SUCCEEDED", 1, details={"Result": "no JSON"}))) is None
    assert hooks.told == ["step", op_id(1)]


def test_of_an_operation_that_was_another_one_no_end_is_told() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        await context.step(lambda _: 1)

    hooks = Telling()
    assert hooked(handler, hooks, op("WAIT", "SUCCEEDED", 1))["Status"] == "FAILED"
    assert hooks.told == ["step"]


def test_what_has_come_is_kept_from_its_task_for_as_many_turns_as_hooks_say() -> None:
    def answered(updates: list[Any]) -> list[dict[str, Any]]:
        return [op("WAIT", "SUCCEEDED", 1)] if any(each.get("Name") == "answers" for each in updates) else []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        turns: list[int] = []

        async def waits() -> list[int]:
            await context.wait(60)
            return [*turns]

        async def works() -> None:
            await context.step(lambda _: 1, "works")
            await context.step(lambda _: 2, "answers")

        async def counts() -> None:
            while True:
                turns.append(len(turns))
                await asyncio.sleep(0)

        counting = asyncio.create_task(counts())
        (came, _none) = await asyncio.gather(waits(), works())
        counting.cancel()
        return came

    came = [len(result(hooked(handler, Sole(turns), client=Recorder(answered)))) for turns in (0, 3, 9)]
    assert came[0] + 3 <= came[1]
    assert came[1] + 6 <= came[2]


@pytest.mark.parametrize("turns", [0, 1, 4])
@pytest.mark.parametrize("after", range(6))
def test_a_task_without_threads_is_cancelled_once_what_it_does_is_durable(turns: int, after: int) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        task = asyncio.ensure_future(context.step(lambda _: 1, "cancelled"))
        other = asyncio.ensure_future(context.step(lambda _: 2, "other"))
        for _ in range(after):
            await asyncio.sleep(0)
        task.cancel()
        found = await asyncio.gather(task, other, return_exceptions=True)
        return ["cancelled" if isinstance(each, BaseException) else each for each in found]

    client = Recorder()
    first, second = result(hooked(handler, Sole(turns), client=client))
    assert first in [1, "cancelled"]
    assert second == 2
    kinds = [each["Action"] for each in client.updates if each.get("Name") == "cancelled"]
    assert kinds in [[], ["START"], ["START", "SUCCEED"]]
    assert first == "cancelled" or kinds[-1] == "SUCCEED"


@pytest.mark.parametrize("call", range(2))
def test_a_call_that_the_service_refuses_ends_the_execution_of_tasks_without_threads(call: int) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def work() -> None:
            for n in range(3):
                await context.step(lambda _, n=n: n)

        await asyncio.gather(work(), work())

    client = Recorder(script=[*[None] * call, client_error("AccessDeniedException", "not for you", "Op")])
    output = hooked(handler, Sole(2), client=client)
    assert output["Status"] == "FAILED"
    assert len(client.calls) == call + 1
