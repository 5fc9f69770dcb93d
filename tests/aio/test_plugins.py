"""What plugins are told of ``async def`` handlers: the same as of plain ones, hook by hook and field by field."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
from tests.differential import test_plugins as told

from perdure import AsyncDurableContext, durable_execution
from perdure.exceptions import StepError
from perdure.local import LocalService, VirtualClock
from perdure.plugin import DurableInstrumentationPlugin
from perdure.retries import RetryDecision
from support.both_sdks import FAR_AWAY, PERDURE, Answer, Stage, World, places
from support.cooperative import settled
from support.coroutines import as_coroutines
from support.plugged import Told, play, recording

if TYPE_CHECKING:
    from collections.abc import Callable

AWAITED = as_coroutines(told, also=["see"])
SPAN: ContextVar[str] = ContextVar("span", default="none")


class AsyncStage(Stage):
    async def see(self, label: str, action: Callable[[], Any]) -> Any:
        try:
            value = await settled(action())
        except Exception as error:  # noqa: BLE001  to be compared, whatever it is
            return self.note(label, error)
        self.note(label, value)
        return value


def play_awaited(body: Callable[[Stage], Any], world: World) -> Told:
    """Run a workflow to its end by an ``async def`` handler, with a plugin that takes down what it is told."""
    record = Told()

    @durable_execution(plugins=[recording(PERDURE, record)])
    async def handler(event: Any, context: AsyncDurableContext) -> Any:
        return await body(AsyncStage(PERDURE, context, event, {}))

    def answer(_operation: Any, client: Any) -> None:
        for operation in handle.open_callbacks:
            reply = world.answers.get(operation.get("Name"), Answer())
            key = operation["CallbackDetails"]["CallbackId"]
            if reply.kind == "success":
                result = None if reply.result is None else reply.result.encode()
                client.send_durable_execution_callback_success(CallbackId=key, Result=result)
            else:
                client.send_durable_execution_callback_failure(CallbackId=key, Error=reply.error)

    service = LocalService(clock=VirtualClock(FAR_AWAY), on_callback=answer, **world.options)
    for name, function in world.functions.items():
        service.register(name, function, durable=False)
    service.register("f", handler)
    handle = service.start("f", event=world.event)
    handle.drive()
    return record


@pytest.mark.parametrize("body", told.CASES, ids=lambda body: body.__name__)
def test_the_same_is_told_of_both_kinds_of_handlers(body: Callable[[Stage], Any]) -> None:
    plain = told.told_by(play(body, PERDURE, told.world())[1])
    awaited = told.told_by(play_awaited(getattr(AWAITED, body.__name__), told.world()))
    assert [*map(sorted, plain)] == [*map(sorted, awaited)]
    for number, (invocation, mine) in enumerate(zip(plain, awaited, strict=True)):
        for place, hooks in invocation.items():
            different = places(hooks, mine[place])
            assert not different, f"invocation {number + 1}, {place}, plain first, awaited second: {different}"


class Telling:
    """A factory of plugins that write what they are told into a list, and keep a span open in a context variable."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def create_plugin(self, _info: Any) -> DurableInstrumentationPlugin:
        told = self.told

        class Plugin(DurableInstrumentationPlugin):
            def __init__(self) -> None:
                self.tokens: dict[Any, Any] = {}

            def on_user_function_start(self, info: Any) -> None:
                told.append(f"begin {info.name}")
                self.tokens[info.name] = SPAN.set(info.name)

            def on_user_function_end(self, info: Any) -> None:
                told.append(f"end {info.name} {info.outcome.value.lower()}")
                SPAN.reset(self.tokens.pop(info.name))

            def on_operation_end(self, info: Any) -> None:
                told.append(f"over {info.name}")

        return Plugin()


def told_of(function: Any, **options: Any) -> list[str]:
    telling = Telling()
    service = LocalService(clock=VirtualClock())
    service.register("f", durable_execution(function, plugins=[telling], **options))
    execution = service.run("f", event={})
    assert execution.error is None
    return telling.told


def test_a_function_ends_when_what_it_gives_has_been_awaited() -> None:
    """And what a plugin sets around it is seen in it, also where several are awaited at once."""
    seen: list[str] = []

    async def work(_step: Any) -> None:
        seen.append(SPAN.get())
        await asyncio.sleep(0)
        seen.append(SPAN.get())

    async def handler(_event: Any, context: AsyncDurableContext) -> None:
        await context.step(work, "a")
        assert SPAN.get() == "none"
        await asyncio.gather(context.step(work, "b"), context.step(work, "c"), context.step(lambda _: None, "d"))
        assert SPAN.get() == "none"

    told = told_of(handler)
    assert told[:3] == ["begin a", "end a succeeded", "over a"]
    assert told.index("begin c") < told.index("end b succeeded")
    assert sorted(told) == sorted(f"{what} {name}{how}" for name in "abcd" for what, how in _EACH)
    assert sorted(seen) == ["a", "a", "b", "b", "c", "c"]


_EACH = (("begin", ""), ("end", " succeeded"), ("over", ""))


def test_a_function_that_fails_when_awaited_is_told_of_as_failed() -> None:
    async def work(_step: Any) -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def handler(_event: Any, context: AsyncDurableContext) -> None:
        try:
            await context.step(work, "a", retry=lambda *_: RetryDecision.no_retry())
        except StepError:
            return

    assert told_of(handler) == ["begin a", "end a failed", "over a"]


def test_what_suspends_is_told_of_as_incomplete_before_the_invocation_ends() -> None:
    async def child(inner: AsyncDurableContext) -> None:
        await inner.wait(5, "w")

    async def handler(_event: Any, context: AsyncDurableContext) -> None:
        await asyncio.gather(context.run_in_child_context(child, "c"), context.run_in_child_context(child, "d"))

    told = told_of(handler)
    assert sorted(told[:4]) == ["begin c", "begin d", "end c incomplete", "end d incomplete"]
    assert sorted(told[4:]) == sorted(["over w", "over w", *(f"{what} {n}{how}" for n in "cd" for what, how in _EACH)])


def test_operations_that_end_while_others_are_at_work_are_told_of() -> None:
    """A wait that is awaited where it is, and a callback that is answered meanwhile."""

    async def handler(_event: Any, context: AsyncDurableContext) -> None:
        callback = await context.create_callback("cb")
        await asyncio.gather(context.wait(1, "w"), callback.result(), context.step(lambda _: None, "s"))

    telling = Telling()

    def answer(operation: Any, client: Any) -> None:
        client.send_durable_execution_callback_success(CallbackId=operation["CallbackDetails"]["CallbackId"])

    service = LocalService(clock=VirtualClock(), on_callback=answer)
    service.register("f", durable_execution(handler, plugins=[telling]))
    assert service.run("f", event={}).status == "SUCCEEDED"
    assert sorted(telling.told) == sorted(["begin s", "end s succeeded", "over s", "over w", "over cb"])


def test_the_debug_log_tells_of_what_is_replayed(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> None:
        await context.step(lambda _: None, "a")
        await context.wait(1, "w")

    caplog.set_level("DEBUG", "perdure")
    told_of(handler)
    assert "Step a is replayed: SUCCEEDED" in caplog.text
    assert "Wait w is replayed: SUCCEEDED" in caplog.text
