"""News that comes with an answer of the service's: it is told once, so whoever waits for it goes on at once."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from perdure import AsyncDurableContext, Checkpointing, DurableContext, durable_execution
from perdure.config import MapConfig, NestingType, ParallelConfig
from perdure.local import LocalService, RealClock
from support.invocations import PENDING, LambdaContext, Recorder, event, op, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

Updates = list[dict[str, Any]]


def telling(news: dict[str, Any], *, of: str) -> Callable[[Updates], list[dict[str, Any]]]:
    """Make answers of which the one to a call with an operation's START or end, told by its name, has news."""

    def answer(updates: Updates) -> list[dict[str, Any]]:
        return [news] if any(f"{each.get('Name')} {each['Action']}" == of for each in updates) else []

    return answer


def recorded(
    handler: Any, *history: dict[str, Any], checkpointing: Checkpointing, **told: Any
) -> tuple[Any, list[str]]:
    """Give the response to one invocation, and what it has recorded in branch 0 of a parallel, or of the handler."""
    client = Recorder(telling(told["news"], of=told["of"]))
    handle: Any = durable_execution(handler, boto3_client=client, checkpointing=checkpointing)
    response = handle(event(*history), LambdaContext())
    return response, [f"{each.get('Name')} {each['Action']}" for each in client.updates]


def answered(context: DurableContext) -> Any:
    return context.create_callback("second").result()


CALLBACKS = [
    op("CALLBACK", "STARTED", n, Name=name, details={"CallbackId": name}) for n, name in ((1, "first"), (2, "second"))
]
PARALLEL = op("CONTEXT", "STARTED", 3, SubType="Parallel")
BRANCHES = [op("CONTEXT", "STARTED", 3, n, SubType="ParallelBranch", Name=f"parallel-branch-{n}") for n in range(2)]
CALLBACK_ANSWERED = {**CALLBACKS[0], "Status": "SUCCEEDED", "CallbackDetails": {"CallbackId": "first", "Result": "x"}}
INVOKE = op("CHAINED_INVOKE", "STARTED", 3, 0, 1, details={})
INVOKE_ENDED = op("CHAINED_INVOKE", "SUCCEEDED", 3, 0, 1, details={"Result": "1"})
TIMER = op("WAIT", "STARTED", 3, 0, 1, details={"ScheduledEndTimestamp": 4_000_000_000_000})
TIMER_OVER = op("WAIT", "SUCCEEDED", 3, 0, 1)

KINDS: dict[str, tuple[Callable[[DurableContext, Any], Any], list[dict[str, Any]], dict[str, Any]]] = {
    "callback": (lambda _c, first: first.result(), [], CALLBACK_ANSWERED),
    "invoke": (lambda c, _: c.invoke("fn", 1), [INVOKE], INVOKE_ENDED),
    "timer": (lambda c, _: c.wait(9), [TIMER], TIMER_OVER),
}


def check_that_one_goes_on(handler: Any, kind: str, of: str, checkpointing: Checkpointing) -> None:
    """See that branch 0, which waits, goes on with the news of an answer to another, and nobody does twice."""
    _, inside, news = KINDS[kind]
    history = [*CALLBACKS, PARALLEL, *BRANCHES, *inside]
    response, updates = recorded(handler, *history, checkpointing=checkpointing, news=news, of=of)
    assert response == PENDING
    assert updates.count("after SUCCEED") == 1
    assert updates.count("parallel-branch-0 SUCCEED") == 1
    assert updates.count("around START") == 1


@pytest.mark.parametrize("checkpointing", list(Checkpointing))
@pytest.mark.parametrize("of", ["beside SUCCEED", "around START"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_branch_goes_on_whose_news_came_while_another_was_at_work(
    kind: str, of: str, checkpointing: Checkpointing
) -> None:
    waits = KINDS[kind][0]

    def handler(_event: Any, context: DurableContext) -> Any:
        first, second = context.create_callback("first"), context.create_callback("second")

        def waiting(inner: DurableContext) -> Any:
            waits(inner, first)
            return inner.step(lambda _: 1, "after")

        def working(inner: DurableContext) -> Any:
            inner.step(lambda _: 1, "beside")
            return inner.run_in_child_context(lambda _: second.result(), "around")

        return context.parallel([waiting, working]).get_results()

    check_that_one_goes_on(handler, kind, of, checkpointing)


@pytest.mark.parametrize("checkpointing", list(Checkpointing))
@pytest.mark.parametrize("of", ["beside SUCCEED", "around START"])
@pytest.mark.parametrize("kind", KINDS)
def test_so_does_a_task(kind: str, of: str, checkpointing: Checkpointing) -> None:
    waits = KINDS[kind][0]

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        first, second = await context.create_callback("first"), await context.create_callback("second")

        async def waiting(inner: Any) -> Any:
            await waits(inner, first)
            return await inner.step(lambda _: 1, "after")

        async def working(inner: AsyncDurableContext) -> Any:
            await inner.step(lambda _: 1, "beside")
            return await inner.run_in_child_context(lambda _: second.result(), "around")

        return (await context.parallel([waiting, working])).get_results()

    check_that_one_goes_on(handler, kind, of, checkpointing)


@pytest.mark.parametrize("checkpointing", list(Checkpointing))
def test_the_handler_goes_on_whose_news_came_with_what_was_sent_last(checkpointing: Checkpointing) -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        first = context.create_callback("first")
        return context.run_in_child_context(lambda _: first.result(), "around")

    response, updates = recorded(
        handler, CALLBACKS[0], checkpointing=checkpointing, news=CALLBACK_ANSWERED, of="around START"
    )
    assert response == succeeded('"x"')
    assert updates == ["around START", "around SUCCEED"]


@pytest.mark.parametrize("nesting", list(NestingType))
def test_a_branch_goes_on_whose_news_is_of_a_batch_inside(nesting: NestingType) -> None:
    """It is run again, and so are those inside of it; nobody else is."""
    ran: list[str] = []

    def handler(_event: Any, context: DurableContext) -> Any:
        first, second = context.create_callback("first"), context.create_callback("second")

        def item(inner: DurableContext, callback: Any, *_: Any) -> Any:
            callback.result()
            return inner.step(lambda _: 1, "after")

        def waiting(branch: DurableContext) -> Any:
            ran.append("waiting")
            return branch.map([first, second], item, config=MapConfig(nesting_type=nesting)).get_results()

        def working(branch: DurableContext) -> Any:
            ran.append("working")
            branch.step(lambda _: 1, "beside")
            return second.result()

        return context.parallel([waiting, working], config=ParallelConfig(nesting_type=nesting)).get_results()

    response, updates = recorded(
        handler, *CALLBACKS, checkpointing=Checkpointing.BATCHED, news=CALLBACK_ANSWERED, of="beside SUCCEED"
    )
    assert response == PENDING
    assert updates.count("after SUCCEED") == 1
    assert ran.count("working") == 1
    assert 1 <= ran.count("waiting") <= 2  # once, if the news came before it had come to wait


def test_an_execution_does_not_stop_for_ever_over_news_that_it_was_told() -> None:
    service = LocalService(clock=RealClock()).register_external("fn")
    handles = []

    def ends_the_invoke(_: Any) -> None:
        invoked = next(each for each in handles[0].operations if each["Type"] == "CHAINED_INVOKE")
        service.complete_invoke(handles[0], invoked["Id"], result="1")

    def handler(_event: Any, context: DurableContext) -> Any:
        second = context.create_callback("second")

        def invoking(inner: DurableContext) -> Any:
            inner.invoke("fn", 1)
            return inner.step(lambda _: 1, "after")

        def working(inner: DurableContext) -> Any:
            inner.step(ends_the_invoke, "beside")
            return second.result()

        return context.parallel([invoking, working], config=ParallelConfig(max_concurrency=2)).get_results()

    service.register("f", durable_execution(handler))
    handles.append(service.start("f"))
    service.drive(handles[0], stop_at_callback=True)
    assert [each["Status"] for each in handles[0].operations if each.get("Name") == "after"] == ["SUCCEEDED"]


@pytest.mark.parametrize("checkpointing", [Checkpointing.BATCHED, Checkpointing.OPTIMISTIC])
def test_a_branch_that_news_resumes_begins_nothing_again_that_is_on_its_way(checkpointing: Checkpointing) -> None:
    """Its update is queued while the call is under way whose answer has the news; then the other branch suspends."""
    is_answered = threading.Event()
    began: list[None] = []

    def slowly(_name: str, _arguments: dict[str, Any], when: str) -> None:
        if when == "after":
            time.sleep(0.03)

    service = LocalService(clock=RealClock(), on_api_call=slowly)

    def handler(_event: Any, context: DurableContext) -> Any:
        first, second = context.create_callback("first"), context.create_callback("second")

        def waiting(inner: DurableContext) -> Any:
            is_answered.wait(5)
            time.sleep(0 if began else 0.01)
            began.append(None)
            if checkpointing is Checkpointing.OPTIMISTIC:
                inner.step(lambda _: 1, "before")
            return inner.run_in_child_context(lambda _: first.result(), "around")

        def answer(_step: Any) -> None:
            service.client.send_durable_execution_callback_success(CallbackId=first.callback_id, Result=b"x")
            is_answered.set()

        def working(inner: DurableContext) -> Any:
            inner.step(answer, "beside")
            return second.result()

        return context.parallel([waiting, working]).get_results()

    service.register("f", durable_execution(handler, checkpointing=checkpointing))
    handle = service.start("f")
    service.drive(handle, stop_at_callback=True)
    assert (handle.status, handle.error) == ("RUNNING", None)
    assert len(handle.invocations) == 1
    assert ("around", "SUCCEEDED") in [(each.get("Name"), each["Status"]) for each in handle.operations]


@pytest.mark.parametrize("checkpointing", list(Checkpointing))
def test_what_the_thread_is_told_that_lets_nothing_lie_is_heard_of(checkpointing: Checkpointing) -> None:
    service = LocalService(clock=RealClock())

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        first, second = await context.create_callback("first"), await context.create_callback("second")
        service.client.send_durable_execution_callback_success(CallbackId=first.callback_id, Result=b"x")

        async def waiting(_: AsyncDurableContext) -> Any:
            return await first.result()

        async def sleeping() -> Any:
            await asyncio.sleep(0.1)  # the thread calls meanwhile
            return await second.result()

        return await asyncio.gather(context.run_in_child_context(waiting, "around"), sleeping())

    service.register("f", durable_execution(handler, checkpointing=checkpointing))
    handle = service.start("f")
    service.drive(handle, stop_at_callback=True)
    assert ("around", "SUCCEEDED") in [(each.get("Name"), each["Status"]) for each in handle.operations]
