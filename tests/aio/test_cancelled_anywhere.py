"""Tasks cancelled at any turn of the loop, and calls to the service refused at any of them: nothing is half written."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest

from perdure import AsyncDurableContext, StepContext, durable_execution
from perdure.exceptions import CheckpointError
from perdure.local import client_error
from perdure.retries import RetryPresets
from perdure.serdes import JsonSerDes
from support.awaited import Trial
from support.invocations import PENDING, LambdaContext, Recorder, event, op

TURNS = 60


async def of_all_kinds(context: AsyncDurableContext, begun: Counter[str]) -> Any:
    """Do a little of everything, one after the other and side by side."""

    def step(name: str, turns: int = 1) -> Any:
        async def body(_step: StepContext) -> str:
            begun[name] += 1
            for _ in range(turns):
                await asyncio.sleep(0)
            return name

        return body

    async def branch(inner: AsyncDurableContext, item: int, _index: int, _items: Any) -> Any:
        await inner.step(step(f"before {item}"), f"before {item}")
        await inner.wait(1 + item, f"pause {item}")
        return await inner.step(step(f"within {item}"), f"within {item}")

    async def handed_in(inner: AsyncDurableContext) -> Any:
        return await asyncio.gather(inner.step(step("left"), "left"), inner.step(step("right", 3), "right"))

    await context.step(step("first", 2), "first")
    await context.run_in_child_context(handed_in, "child")
    await context.race([context.wait(50, "long"), context.step(step("won"), "won")], "race")
    async with asyncio.TaskGroup() as group:
        group.create_task(context.wait(3, "short"))
        group.create_task(context.step(step("beside", 2), "beside"))
    return [each.result for each in (await context.map([0, 1], branch, "map")).all]


def cancelled_after(invocation: int, turns: int) -> tuple[Any, Counter[str], list[bool]]:
    """Run an execution in one of whose invocations the work is cancelled after so many turns of the loop.

    Tells whether it was in time.
    """
    begun: Counter[str] = Counter()
    in_time: list[bool] = []
    invocations: list[int] = []

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async def work(inner: AsyncDurableContext) -> Any:
            return await of_all_kinds(inner, begun)

        invocations.append(len(invocations))
        task = asyncio.ensure_future(context.run_in_child_context(work, "work"))
        if invocations[-1] == invocation:
            for _ in range(turns):
                await asyncio.sleep(0)
            in_time.append(task.cancel())
        elif in_time:
            task.cancel()  # what is replayed takes other turns: here it is cut off elsewhere, or has ended
        try:
            await task
            ended = "done"
        except asyncio.CancelledError:
            ended = "cancelled"
        told = await context.step(lambda _: ended, "told")
        await context.wait(600, "meanwhile all timers come")
        return [told, await context.step(lambda _: "after", "after")]

    return Trial(handler).handle, begun, in_time


@pytest.mark.parametrize("invocation", [0, 1, 2])
def test_a_task_cancelled_at_any_turn_ends_as_an_orphan_does(invocation: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    outcomes: Counter[str] = Counter()
    for turns in range(TURNS):
        handle, begun, in_time = cancelled_after(invocation, turns)
        assert handle.status == "SUCCEEDED", (turns, handle.error)
        told, after = handle.value
        assert after == "after", turns
        outcomes[told] += 1
        by_name = {each["Name"]: each["Status"] for each in handle.operations if each.get("Name")}
        for name, times in begun.items():  # what ran is recorded: as what it came to, or as an attempt
            assert name in by_name, (turns, name)
            assert times <= (1 if by_name[name] == "SUCCEEDED" else 2), (turns, name)
        assert (told == "done") == (by_name["work"] == "SUCCEEDED"), turns
        assert told == "done" or in_time == [True], turns
    assert outcomes["cancelled"] > TURNS // 2 or invocation == 2
    assert outcomes["cancelled"] > 3
    assert not [each for each in caplog.records if each.name == "asyncio"]


async def parked_and_at_work(context: AsyncDurableContext) -> Any:
    async def one_after_the_other() -> Any:
        return [await context.step(lambda _, n=n: n, f"s{n}") for n in range(4)]

    answer = (await context.create_callback("answer")).result()
    waits = context.wait(60, "wait")
    fails = context.step(_fails, "fails", retry=RetryPresets.fixed(5))
    return await asyncio.gather(answer, waits, fails, one_after_the_other())


def _fails(_step: StepContext) -> None:
    raise ValueError("bad")


def _invoke(script: list[Any]) -> tuple[Any, Recorder]:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await parked_and_at_work(context)

    recorder = Recorder(script=script)
    output: Any
    try:
        output = durable_execution(handler, boto3_client=recorder)(event(), LambdaContext())  # type: ignore[arg-type]
    except CheckpointError as error:
        output = error
    return output, recorder


REFUSALS = {
    "revoked": client_error("InvalidParameterValueException", "Invalid checkpoint token: stale", "Op"),
    "denied": client_error("AccessDeniedException", "not for you", "Op"),
    "odd": client_error("InvalidParameterValueException", "an update is not right", "Op"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_call_refused_while_others_are_parked_ends_the_invocation_once(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    output, whole = _invoke([])
    assert output == PENDING
    refused = 0
    for call in range(len(whole.calls)):
        output, recorder = _invoke([*[None] * call, REFUSALS[kind]])
        if len(recorder.calls) <= call:  # more went in one call this time
            assert output == PENDING
            continue
        refused += 1
        assert len(recorder.calls) == call + 1, "something was sent after the refusal"
        if kind == "revoked":
            assert isinstance(output, CheckpointError), call
            assert output.is_retryable(), call
        else:
            assert output["Status"] == "FAILED", call
    assert refused > 2
    assert not [each for each in caplog.records if each.name == "asyncio"]


def test_an_operation_whose_task_was_cancelled_before_its_first_step_can_still_be_awaited() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        told: list[str] = []
        for call in (
            lambda: context.step(lambda _: 1, "a"),
            lambda: context.wait(5),
            lambda: context.run_in_child_context(_parks),
        ):
            operation = call()
            task = asyncio.ensure_future(operation)
            task.cancel()
            for awaited in (task, operation, operation):
                try:
                    await awaited
                except asyncio.CancelledError:
                    told.append("cancelled")
        return told

    assert Trial(handler).value == ["cancelled"] * 9


async def _parks(inner: AsyncDurableContext) -> None:
    await inner.wait(5)


async def _beats(inner: AsyncDurableContext) -> None:
    while True:
        await inner.step(lambda _: None, "beat")
        await inner.wait(10, "pause")


async def _beside_a_child(context: AsyncDurableContext) -> Any:
    beats = asyncio.ensure_future(context.run_in_child_context(_beats, "beats"))
    await context.wait(35, "work")
    beats.cancel()  # on replay before its first step: what is recorded is not awaited
    return "done"


async def _beside_a_virtual_child(context: AsyncDurableContext) -> Any:
    beats = asyncio.ensure_future(context.run_in_child_context(_beats, "beats", is_virtual=True))
    await context.wait(35, "work")
    beats.cancel()
    return "done"


async def _beside_a_map(context: AsyncDurableContext) -> Any:
    async def branch(inner: AsyncDurableContext, *_: Any) -> None:
        await _beats(inner)

    beats = asyncio.ensure_future(context.map([0, 1, 2], branch, "beats"))
    await context.wait(35, "work")
    beats.cancel()
    return "done"


async def _within_a_child(context: AsyncDurableContext) -> Any:
    return await context.run_in_child_context(_beside_a_child, "around")


@pytest.mark.parametrize(
    "function",
    [_beside_a_child, _beside_a_virtual_child, _beside_a_map, _within_a_child],
)
def test_what_a_cancelled_task_has_not_come_to_on_replay_fails_nothing(
    function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await function(context)

    assert Trial(handler).value == "done"
    assert not [each for each in caplog.records if each.name == "asyncio"]


def test_nor_does_what_a_time_limit_of_asyncio_s_has_cut() -> None:
    limits = [0.5, 0.001]  # by chance slower on replay: it is cut before it has come to its operation

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        try:
            async with asyncio.timeout(limits.pop(0)):
                await asyncio.sleep(0.01)
                await context.wait(60, "within")
        except TimeoutError:
            return "late"
        return "in time"

    assert Trial(handler).value == "late"


async def _a_task_is_cancelled(_given: Any) -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _time_is_over(_given: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()


CUTS = [_a_task_is_cancelled, _time_is_over]


def refuses(before: Any, after: Any) -> bool:
    """Tell whether code is refused that goes on with what other code has begun."""
    handle = Trial(before, after).handle
    if handle.status == "SUCCEEDED":
        return False
    assert handle.error["ErrorType"].endswith("NonDeterministicExecutionError"), handle.error
    return True


async def _waits(inner: AsyncDurableContext) -> None:
    await inner.wait(5)


async def _waits_long(inner: AsyncDurableContext) -> None:
    await inner.wait(90)


async def _two_children(_event: Any, context: AsyncDurableContext) -> Any:
    first, second = context.run_in_child_context(_waits), context.run_in_child_context(_waits_long)
    await asyncio.gather(first, second, context.wait(200))


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("where", ["nowhere", "handler", "step", "child"])
def test_a_task_that_is_cut_excuses_code_and_none_in_a_step_does(cut: Any, where: str) -> None:
    async def first(inner: AsyncDurableContext) -> None:
        await _waits(inner)
        if where == "step":
            await inner.step(cut)

    async def cut_in(here: str) -> None:
        if where == here:
            await cut(None)

    async def misses(_: AsyncDurableContext) -> None:
        await cut_in("child")

    async def child_misses(_event: Any, context: AsyncDurableContext) -> Any:
        both = context.run_in_child_context(first), context.run_in_child_context(misses)
        await asyncio.gather(*both, context.wait(200), cut_in("handler"))

    async def handler_misses(_event: Any, context: AsyncDurableContext) -> Any:
        both = context.run_in_child_context(first), context.run_in_child_context(_waits_long)
        await asyncio.gather(*both, cut_in("handler"))

    for code, excusing in ((child_misses, "child"), (handler_misses, "handler")):
        if where in {excusing, "nowhere", "step"}:
            assert refuses(_two_children, code) == (where != excusing)


@pytest.mark.parametrize("options", [{}, {"serdes": JsonSerDes()}], ids=["plain", "serdes"])
@pytest.mark.parametrize(
    "ends", [lambda: "text", lambda: "x" * 300_000, lambda: 1 / 0], ids=["small", "large", "fails"]
)
def test_a_child_that_takes_its_cancellation_is_excused_however_it_ends(ends: Any, options: Any) -> None:
    async def child(inner: AsyncDurableContext) -> Any:
        try:
            await asyncio.Event().wait()
            await inner.wait(60)
        except asyncio.CancelledError:
            return ends()

    async def handler(_event: Any, context: AsyncDurableContext) -> int:
        task = asyncio.ensure_future(context.run_in_child_context(child, **options))
        await asyncio.sleep(0.01)
        task.cancel()
        return len(await asyncio.gather(task, return_exceptions=True))

    history = [op("CONTEXT", "STARTED"), op("WAIT", "STARTED", 1, 1)]
    handle: Any = durable_execution(handler, boto3_client=Recorder())  # type: ignore[arg-type]
    assert handle(event(*history), LambdaContext()) == {"Status": "SUCCEEDED", "Result": "1"}


def test_code_that_has_changed_is_refused_all_the_same() -> None:
    async def before(_event: Any, context: AsyncDurableContext) -> Any:
        await asyncio.gather(context.wait(5), context.create_callback("asked"))

    async def after(_event: Any, context: AsyncDurableContext) -> Any:
        task = asyncio.ensure_future(context.wait(5))
        await task
        async with context.select() as select:  # leaves a task behind, as it should
            select.add("never", asyncio.sleep(100))
            select.add("now", asyncio.sleep(0))
            await select.next()
        return "changed"

    handle = Trial(before, after).handle
    assert handle.status == "FAILED"
    assert handle.error["ErrorType"].endswith("NonDeterministicExecutionError")
