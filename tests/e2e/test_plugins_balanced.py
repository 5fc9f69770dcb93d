"""What plugins are told adds up, whatever a workflow is made of: functions that begin end, and ends are told once."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.batching import ItemBatcher
from perdure.config import CompletionConfig, NestingType, StepSemantics
from perdure.local import InvocationCut, LocalService, VirtualClock
from perdure.plugin import DurableInstrumentationPlugin
from perdure.retries import RetryDecision, RetryPresets
from support.both_sdks import FAR_AWAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local import ExecutionHandle

ENDED = {"SUCCEEDED", "FAILED", "TIMED_OUT", "CANCELLED", "STOPPED"}
OUTSIDE = {"WAIT", "CALLBACK", "CHAINED_INVOKE"}
NEVER = RetryPresets.none()


@dataclass(frozen=True)
class Heard:
    """One call of a hook."""

    hook: str
    info: Any
    thread: int


@dataclass
class Book:
    """Makes plugins that note what they hear, an invocation after the other."""

    invocations: list[list[Heard]] = field(default_factory=list)

    def create_plugin(self, _info: Any) -> DurableInstrumentationPlugin:
        heard: list[Heard] = []
        self.invocations.append(heard)

        def note(hook: str) -> Callable[[Any, Any], None]:
            return lambda _self, info: heard.append(Heard(hook.removeprefix("on_"), info, threading.get_ident()))

        hooks = {name: note(name) for name in vars(DurableInstrumentationPlugin) if name.startswith("on_")}
        return type("Noting", (DurableInstrumentationPlugin,), hooks)()  # type: ignore[no-any-return]


def check(book: Book, handle: ExecutionHandle, *, abandons: bool) -> None:
    """Hold what was heard against itself and against what is recorded.

    Args:
        book: What was heard.
        handle: The execution.
        abandons: Whether it has operations that end from outside, between two invocations, and that no code comes to:
            of those nobody is told, under the official SDK either.

    """
    for heard in book.invocations:
        assert [one.hook for one in (heard[0], heard[-1])] == ["invocation_start", "invocation_end"]
        _check_functions(heard)
        _check_order(heard)
    told = Counter(
        one.info.operation_id
        for heard in book.invocations
        for one in heard
        if one.hook == "operation_end" and not one.info.is_replayed
    )
    recorded = {one["Id"]: one for one in handle.operations if one["Type"] != "EXECUTION"}
    for key, operation in recorded.items():
        is_abandoned = abandons and operation["Type"] in OUTSIDE
        expected = {0, 1} if is_abandoned else {1} if operation["Status"] in ENDED else {0}
        assert told.pop(key, 0) in expected, (operation.get("SubType"), operation.get("Name"), operation["Status"])
    virtual = {
        one.info.operation_id
        for heard in book.invocations
        for one in heard
        if one.hook == "user_function_end" and one.info.operation_id not in recorded
    }
    assert told.keys() <= virtual


def _check_functions(heard: list[Heard]) -> None:
    """Check that functions end inside of one another, each in the thread it began in, and with what it began with."""
    open_: dict[int, list[Any]] = defaultdict(list)
    for one in heard:
        if one.hook == "user_function_start":
            open_[one.thread].append(one.info)
        elif one.hook == "user_function_end":
            begun = open_[one.thread].pop()
            for name in ("operation_id", "sub_type", "name", "parent_id", "start_time", "attempt"):
                assert getattr(begun, name) == getattr(one.info, name)
            assert one.info.end_time >= begun.start_time
            assert (one.info.error is not None) == (one.info.outcome.value == "FAILED")
    assert not any(open_.values())


def _check_order(heard: list[Heard]) -> None:
    """Check that nothing is told of an operation after its end, and no function is called before its start."""
    begun, ended = set(), set()
    for one in heard:
        key = getattr(one.info, "operation_id", None)
        if key is None:
            continue
        assert key not in ended, one
        if one.hook == "operation_start":
            begun.add(key)
        elif one.hook == "operation_end":
            ended.add(key)
        elif one.info.operation_type.value != "CONTEXT":
            assert key in begun, one


def play(body: Callable[[DurableContext], Any], *, callback: Any = b'"yes"') -> tuple[Book, ExecutionHandle]:
    book = Book()

    def answer(operation: Any, client: Any) -> None:
        client.send_durable_execution_callback_success(
            CallbackId=operation["CallbackDetails"]["CallbackId"], Result=callback
        )

    service = LocalService(clock=VirtualClock(FAR_AWAY), on_callback=answer)
    service.register("echo", lambda event, _context: event, durable=False)
    service.register("f", durable_execution(lambda _event, context: body(context), plugins=[book]))
    handle = service.start("f")
    handle.drive()
    return book, handle


# ---- workflows


def fail(*_: Any) -> Any:
    raise ValueError("no")


def pause(context: DurableContext, *_: Any) -> str:
    context.step(lambda _: 1, name="before")
    context.wait(5, name="pause")
    return context.step(lambda _: "rested", name="after")


def work(context: DurableContext, *_: Any) -> str:
    return context.step(lambda _: "worked", name="work")


def lose(context: DurableContext, *_: Any) -> str:
    context.wait(1, name="pause")
    return context.step(fail, name="lose", retry=NEVER)


def undone(context: DurableContext) -> Any:
    def unwilling(step: Any, _value: Any) -> None:
        if step.attempt == 1:
            raise ValueError("not yet")

    later = lambda _error, _attempt: RetryDecision.retry(_five())  # noqa: E731
    try:
        with context.saga("trip") as saga:
            saga.step(lambda _: 1, "hotel", undo=unwilling, undo_retry=later)
            context.wait(3, name="think")
            saga.step(lambda _: 2, "car", undo=fail, undo_retry=NEVER)
            saga.add(lambda _: None, name="tell")
            context.step(fail, name="flight", retry=NEVER)
    except Exception as error:  # noqa: BLE001 - the workflow goes on
        return type(error).__name__


def _five() -> Any:
    from perdure.config import Duration  # noqa: PLC0415

    return Duration.from_seconds(5)


def a_saga_in_a_child(context: DurableContext) -> Any:
    return context.run_in_child_context(undone, name="child")


def a_saga_in_branches(context: DurableContext) -> Any:
    return context.all_settled([undone, undone, pause], name="sagas") and 1


def cleaned(context: DurableContext) -> Any:
    with context.finally_(lambda _: None, name="release"):
        context.wait(2, name="w")
        with context.finally_(lambda _: None, name="inner"):
            context.step(lambda _: 1, name="a")
    try:
        with context.finally_(fail, name="unclean", retry=NEVER):
            context.step(fail, name="b", retry=NEVER)
    except Exception as error:  # noqa: BLE001 - the workflow goes on
        return type(error).__name__


def batches_of_items(context: DurableContext) -> Any:
    def branch(inner: DurableContext, items: list[int], *_: Any) -> list[int]:
        inner.wait(1 + items[0], name="w")
        return inner.step(lambda _: [2 * item for item in items], name="double")

    return len(context.map(list(range(7)), branch, "m", batcher=ItemBatcher(max_items=3)).get_results())


def flat(context: DurableContext) -> Any:
    def branch(inner: DurableContext, item: int, *_: Any) -> Any:
        inner.step(lambda _: item, name="in")
        if item == 1:
            inner.wait(4, name="w")
        if item == 2:
            return inner.run_in_child_context(pause, name="child")
        return inner.step(fail, name="f", retry=NEVER) if item == 3 else item

    tolerant = CompletionConfig(tolerated_failure_count=5)
    flat_ = {"nesting_type": NestingType.FLAT, "completion_config": tolerant}
    return len(context.map([0, 1, 2, 3], branch, "m", **flat_).all)  # type: ignore[arg-type]


def all_of_them(context: DurableContext) -> Any:
    return context.all([pause, work, pause], name="all")


def one_of_all_fails(context: DurableContext) -> Any:
    try:
        return context.all([pause, lose, pause], name="all")
    except Exception as error:  # noqa: BLE001 - the workflow goes on
        context.wait(9, name="after")
        return type(error).__name__


def any_of_them(context: DurableContext) -> Any:
    found = context.any([lose, pause, lose], name="any")
    context.wait(9, name="after")
    return found


def none_of_any(context: DurableContext) -> Any:
    try:
        return context.any([lose, lose], name="any")
    except Exception as error:  # noqa: BLE001 - the workflow goes on
        return type(error).__name__


def a_race(context: DurableContext) -> Any:
    found = context.race([pause, work, lose], name="race")
    context.wait(9, name="after")
    return found


def a_race_with_a_callback(context: DurableContext) -> Any:
    def ask(inner: DurableContext) -> Any:
        return inner.wait_for_callback(lambda *_: None, name="ask")

    found = context.race([pause, ask], name="race")
    context.wait(9, name="after")
    return found


def all_settle(context: DurableContext) -> Any:
    return len(context.all_settled([pause, lose, work], name="settled"))


def within_one_another(context: DurableContext) -> Any:
    def inner(branch: DurableContext, item: int, *_: Any) -> Any:
        return branch.all([pause, lambda deep: deep.invoke("echo", item, name="i")], name="all")

    return len(context.map([1, 2], inner, "m").get_results())


def callbacks_nobody_reads(context: DurableContext) -> Any:
    context.create_callback(name="first")
    context.run_in_child_context(lambda inner: inner.create_callback(name="second") and pause(inner), name="child")
    context.parallel([lambda inner: inner.create_callback(name="third") and 1, pause], name="p")
    context.wait(1, name="w")


def a_large_result_of_branches(context: DurableContext) -> Any:
    found = context.map([1, 2], lambda inner, *_: pause(inner) + "x" * 200_000, "m")
    context.wait(1, name="w1")
    context.wait(1, name="w2")
    return len(found.get_results())


def polled(context: DurableContext) -> Any:
    from perdure.waits import WaitForConditionDecision as Decision  # noqa: PLC0415

    def decide(state: int, _attempt: int) -> Any:
        return Decision.stop_polling() if state > 2 else Decision.continue_waiting(_five())

    return context.wait_for_condition(lambda state, _: state + 1, name="c", wait_strategy=decide, initial_state=0)


def cut_within_a_step(context: DurableContext) -> Any:
    """End the invocation in an attempt that may be made once: the next one finds it interrupted."""

    def die(step: Any) -> int:
        if step.attempt == 1:
            raise InvocationCut
        return 1

    def again(_error: Exception, _attempt: int) -> RetryDecision:
        return RetryDecision.retry(_five())

    once = StepSemantics.AT_MOST_ONCE_PER_RETRY
    return context.run_in_child_context(
        lambda inner: inner.step(die, name="die", step_semantics=once, retry=again), name="child"
    )


WORKFLOWS = [
    *(pause, undone, a_saga_in_a_child, a_saga_in_branches, cleaned, batches_of_items, flat, all_of_them),
    *(one_of_all_fails, any_of_them, none_of_any, a_race, a_race_with_a_callback, all_settle, within_one_another),
    *(callbacks_nobody_reads, a_large_result_of_branches, polled, cut_within_a_step),
]


ABANDONING = [one_of_all_fails, a_race, a_race_with_a_callback, callbacks_nobody_reads]


@pytest.mark.parametrize("body", WORKFLOWS, ids=lambda body: body.__name__)
def test_what_is_told_adds_up(body: Callable[[DurableContext], Any]) -> None:
    book, handle = play(body)
    assert handle.status == "SUCCEEDED", handle.error
    check(book, handle, abandons=body in ABANDONING)
