"""Recursion that comes to the end of the stack: the user's failure, wherever it strikes, and nothing else is harmed."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.config import NestingType
from perdure.exceptions import CallbackError, ChildContextError
from perdure.local import Limits, LocalService
from perdure.retries import RetryPresets
from perdure.waits import WaitForConditionDecision
from support.invocations import Recorder, invoke

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(120)

TOO_DEEP = "maximum recursion depth exceeded"

# ---- without end


def children(context: DurableContext) -> Any:
    return context.run_in_child_context(children)


def steps_and_children(context: DurableContext) -> Any:
    context.step(lambda _: ran.append(1))
    return context.run_in_child_context(steps_and_children)


def virtual_children(context: DurableContext) -> Any:
    return context.run_in_child_context(virtual_children, is_virtual=True)


def steps_in_virtual_children(context: DurableContext) -> Any:
    context.step(lambda _: ran.append(1))
    return context.run_in_child_context(steps_in_virtual_children, is_virtual=True)


def maps(context: DurableContext) -> Any:
    return context.map([1, 2], lambda inner, *_: maps(inner)).get_results()


def maps_that_raise(context: DurableContext) -> Any:
    batch = context.map([1, 2], lambda inner, *_: maps_that_raise(inner))
    batch.throw_if_error()
    return batch.get_results()


def maps_one_at_a_time(context: DurableContext) -> Any:
    return context.map([1, 2], lambda inner, *_: maps_one_at_a_time(inner), max_concurrency=1).get_results()


def flat_parallels(context: DurableContext) -> Any:
    return context.parallel([flat_parallels, flat_parallels], nesting_type=NestingType.FLAT).get_results()


def steps_in_flat_parallels(context: DurableContext) -> Any:
    context.step(lambda _: ran.append(1))
    return context.parallel(2 * [steps_in_flat_parallels], nesting_type=NestingType.FLAT).get_results()


def swallowed(context: DurableContext) -> Any:
    try:
        return context.run_in_child_context(swallowed)
    except Exception:  # noqa: BLE001  what nobody should do
        return context.step(lambda _: "goes on")


def conditions(context: DurableContext) -> Any:
    def stop(_state: Any, _attempt: int) -> WaitForConditionDecision:
        return WaitForConditionDecision.stop_polling()

    context.wait_for_condition(lambda *_: ran.append(1), wait_strategy=stop, initial_state=0)
    return context.run_in_child_context(conditions)


def callbacks(context: DurableContext) -> Any:
    context.create_callback()
    return context.run_in_child_context(callbacks)


def down() -> Any:
    return down()


def inside_a_step(context: DurableContext) -> Any:
    return context.step(lambda _: down(), retry=RetryPresets.none())


def inside_a_child(context: DurableContext) -> Any:
    return context.run_in_child_context(lambda _: down())


def inside_a_condition(context: DurableContext) -> Any:
    return context.wait_for_condition(lambda *_: down(), wait_strategy=lambda *_: down(), initial_state=0)


def inside_a_submitter(context: DurableContext) -> Any:
    return context.wait_for_callback(lambda *_: down(), retry=RetryPresets.none())


ran: list[int] = []

ENDLESS = [
    children,
    steps_and_children,
    virtual_children,
    steps_in_virtual_children,
    maps,
    maps_that_raise,
    maps_one_at_a_time,
    flat_parallels,
    steps_in_flat_parallels,
    swallowed,
    conditions,
    callbacks,
    inside_a_step,
    inside_a_child,
    inside_a_condition,
    inside_a_submitter,
]


def deeper(frames: int, function: Callable[[], Any]) -> Any:
    """Call a function from so many frames further down the stack."""
    return deeper(frames - 1, function) if frames > 0 else function()


class Deep(Recorder):
    """A client whose calls take some of the stack, as boto3's do."""

    def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
        return deeper(40, lambda: super(Deep, self).checkpoint_durable_execution(**call))


@pytest.mark.parametrize("client", [Recorder, Deep])
@pytest.mark.parametrize("handler", ENDLESS, ids=lambda handler: handler.__name__)
def test_endless_recursion_fails_the_execution(handler: Callable[..., Any], client: type[Recorder]) -> None:
    ran.clear()
    response, sent = invoke(handler, client=client())
    assert response["Status"] == "FAILED"
    assert TOO_DEEP in response["Error"]["ErrorMessage"]
    # A call that was cut short is repeated, with the same token.
    done = {update["Id"] for update in sent.updates if update["Type"] == "STEP" and update["Action"] == "SUCCEED"}
    if "parallels" not in handler.__name__:  # of which others may be cut off in the middle of their steps
        assert len(ran) - len(done) in (0, 1), "what ran is recorded, but where the stack ended right after it"
    opened: set[str] = set()
    for update in sent.updates:
        assert update.get("ParentId") is None or update["ParentId"] in opened, "its context is recorded before it"
        if update["Type"] == "CONTEXT" and update["Action"] == "START":
            opened.add(update["Id"])


class Wrapping(Recorder):
    """A client that takes whatever happens to it for a lost connection, as HTTP clients do."""

    def __init__(self) -> None:
        super().__init__()
        self.wrapped = 0

    def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
        try:
            return deeper(60, lambda: super(Wrapping, self).checkpoint_durable_execution(**call))
        except RecursionError as error:
            self.wrapped += 1
            raise ConnectionError("an HTTP client raised an unhandled exception") from error


def test_a_stack_that_ends_inside_a_client_is_no_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.engine.checkpoint.sleep", lambda _: pytest.fail("it is repeated"))
    response, client = invoke(steps_and_children, client=Wrapping())
    assert response["Status"] == "FAILED"
    assert response["Error"]["ErrorType"] == "RecursionError"
    assert client.wrapped == 1


def test_a_connection_lost_while_the_user_handles_the_end_of_the_stack_is_a_lost_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("perdure.engine.checkpoint.sleep", lambda _: None)

    def handler(context: DurableContext) -> Any:
        try:
            return down()
        except RecursionError:
            return context.step(lambda _: "done")

    response, client = invoke(handler, client=Recorder(script=[ConnectionError("lost")]))
    assert response == {"Status": "SUCCEEDED", "Result": '"done"'}
    assert len(client.calls) == 2


class Bottomless(Recorder):
    """A client that always comes to the end of the stack: that is not the handler's fault."""

    def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:  # noqa: ARG002  as it is called
        return down()


@pytest.mark.parametrize("handler", [lambda c: c.step(lambda _: 1), lambda c: c.map([1, 2], lambda *_: 3), children])
def test_a_client_that_recurses_without_end_has_the_invocation_repeated(handler: Callable[..., Any]) -> None:
    with pytest.raises(RecursionError):
        invoke(handler, client=Bottomless())


# ---- at any depth


def with_room(left: int, function: Callable[[], Any]) -> Any:
    """Call a function with so many frames left of the stack."""
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    return deeper(sys.getrecursionlimit() - depth - left, function)


def condition(context: DurableContext) -> Any:
    def enough(state: int, _attempt: int) -> WaitForConditionDecision:
        return WaitForConditionDecision.continue_waiting(1) if state < 2 else WaitForConditionDecision.stop_polling()

    return context.wait_for_condition(lambda state, _: state + 1, wait_strategy=enough, initial_state=0)


def callback_result(context: DurableContext) -> Any:
    callback = context.create_callback(timeout=1)
    try:
        return with_room(room[0], callback.result)
    except CallbackError:
        return "timed out"


def submitted(context: DurableContext) -> Any:
    try:
        return context.wait_for_callback(lambda _id, _: None, timeout=1)
    except CallbackError:
        return "timed out"


def failing(context: DurableContext) -> Any:
    def fail(*_: Any) -> None:
        raise ValueError("no")

    try:
        return context.run_in_child_context(fail)
    except ChildContextError as error:
        return error.message


room = [0]
"""How many frames are left."""

DEEP: dict[str, Callable[[DurableContext], Any]] = {
    "step": lambda c: c.step(lambda _: 1, retry=RetryPresets.none()),
    "wait": lambda c: c.wait(1),
    "callback": lambda c: c.create_callback(timeout=5).callback_id and "made",
    "callback result": callback_result,
    "submitted": submitted,
    "condition": condition,
    "invoke": lambda c: c.invoke("other", 1),
    "child": lambda c: c.run_in_child_context(lambda k: k.step(lambda _: 1)),
    "failing child": failing,
    "virtual child": lambda c: c.run_in_child_context(lambda k: k.step(lambda _: 1), is_virtual=True),
    "map": lambda c: c.map([1, 2], lambda k, item, *_: k.step(lambda _: item)).get_results(),
    "flat map": lambda c: c.map(
        [1, 2], lambda k, i, *_: k.step(lambda _: i), nesting_type=NestingType.FLAT
    ).get_results(),
    "map that waits": lambda c: c.map([1, 2], lambda k, item, *_: [k.wait(1), item]).get_results(),
    "flat map that waits": lambda c: c.map(
        [1, 2], lambda k, item, *_: [k.wait(1), item], nesting_type=NestingType.FLAT
    ).get_results(),
}


@pytest.mark.parametrize("case", DEEP)
def test_what_an_operation_at_the_end_of_the_stack_gives_is_what_replay_gives(case: str) -> None:
    """However much is left of the stack, and though the handler swallows what it gets there."""
    statuses: list[str] = []

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        try:
            seen = with_room(room[0], lambda: DEEP[case](context))
        except Exception as error:  # noqa: BLE001  what nobody should do
            seen = type(error).__name__
        recorded = context.step(lambda _: seen, "seen")
        context.wait(1, "pause")
        return [seen, recorded]

    for room[0] in range(1, 100):
        service = LocalService(limits=Limits.off())
        service.register("other", lambda event, _context: event)
        handle = service.register("f", handler).run("f")
        statuses.append(handle.status)
        if handle.status == "SUCCEEDED":
            seen, recorded = handle.value
            assert seen == recorded, f"{room[0]} frames"
        else:
            assert handle.error is not None
            # How deep plain Python gets differs by a frame from run to run, by what the interpreter has specialised.
            kind = handle.error["ErrorType"].rpartition(".")[2]
            assert kind in ("RecursionError", "NonDeterministicExecutionError"), f"{room[0]} frames: {handle.error}"
    assert statuses[-1] == "SUCCEEDED", "there is room"
    assert set(statuses) == {"SUCCEEDED", "FAILED"}


def test_others_go_on_until_they_are_told_that_the_stack_of_one_has_ended() -> None:
    """What they had queued is sent, whoever was to send it."""
    ended, begun = threading.Event(), threading.Event()

    def at_the_end(context: DurableContext) -> Any:
        begun.wait(10)
        try:
            return with_room(30, lambda: context.step(lambda _: 1))
        finally:
            ended.set()

    def beside(context: DurableContext) -> Any:
        context.step(lambda _: begun.set())
        return context.step(lambda _: ended.wait(10))

    response, client = invoke(
        lambda c: c.parallel([at_the_end, beside], nesting_type=NestingType.FLAT).get_results(), client=Deep()
    )
    assert response["Status"] == "FAILED"
    assert response["Error"]["ErrorType"] == "RecursionError"
    done = [update for update in client.updates if update["Type"] == "STEP" and update["Action"] == "SUCCEED"]
    assert len(done) == 2, "the step at the end, and the one before"


def test_operations_inside_of_one_another_end_before_the_native_stack_does() -> None:
    """Also where somebody has raised the limit of recursion, which then ends nothing."""
    limit = sys.getrecursionlimit()
    outcome: list[Any] = []
    sys.setrecursionlimit(100_000)
    try:
        thread = threading.Thread(target=lambda: outcome.append(invoke(virtual_children)))
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(limit)
    response, _ = outcome[0]
    assert response["Status"] == "FAILED"
    assert TOO_DEEP in response["Error"]["ErrorMessage"]
