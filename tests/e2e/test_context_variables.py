"""Context variables: what an execution sees of its surroundings, and that it leaves nothing behind in them."""

from __future__ import annotations

import contextvars
import json
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution, run_durable_handler
from perdure.config import NestingType
from perdure.local import LocalService
from perdure.waits import WaitForConditionDecision
from support.invocations import LambdaContext, Recorder, event, invoke, op, op_id, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    Place = Callable[[DurableContext, Callable[[], Any]], Any]

TENANT: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")
TRACE: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="none")


def stop(_state: Any, _attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


PLACES: dict[str, Place] = {
    "handler": lambda _, act: act(),
    "step": lambda c, act: c.step(lambda _: act()),
    "child": lambda c, act: c.run_in_child_context(lambda _: act()),
    "virtual child": lambda c, act: c.run_in_child_context(lambda _: act(), is_virtual=True),
    "branch": lambda c, act: c.parallel([lambda _: act()]).get_results()[0],
    "one of two branches": lambda c, act: c.parallel([lambda _: None, lambda _: act()]).get_results()[1],
    "step of an item": lambda c, act: c.map([1], lambda k, *_: k.step(lambda _: act())).get_results()[0],
    "flat item": lambda c, act: c.map([1], lambda *_: act(), nesting_type=NestingType.FLAT).get_results()[0],
    "check": lambda c, act: c.wait_for_condition(lambda *_: act(), wait_strategy=stop, initial_state=0),
}
IN_A_BRANCH = ("branch", "one of two branches", "step of an item", "flat item")


@pytest.mark.parametrize("place", PLACES)
def test_what_one_execution_sets_the_next_in_the_same_process_does_not_see(place: str) -> None:
    def act() -> str:
        found = TENANT.get()
        TENANT.set("the first one's")
        return found

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> str:
        return PLACES[place](context, act)

    service = LocalService().register("f", handler)
    assert [service.run("f").value for _ in range(2)] == ["nobody", "nobody"]
    assert [invoke(lambda c: PLACES[place](c, act))[0] for _ in range(2)] == [succeeded('"nobody"')] * 2
    assert TENANT.get() == "nobody"


def test_nor_does_the_next_invocation_of_the_same_execution() -> None:
    seen: list[str] = []

    def handler(context: DurableContext) -> None:
        seen.append(TENANT.get())
        TENANT.set("set before the wait")
        context.wait(60)

    invoke(handler)
    invoke(handler, op("WAIT", "SUCCEEDED"))
    assert seen == ["nobody", "nobody"]


@pytest.mark.parametrize("place", PLACES)
def test_what_the_caller_has_set_is_seen_everywhere(place: str) -> None:
    token = TRACE.set("1-67891233")
    try:
        got, _ = invoke(lambda c: PLACES[place](c, TRACE.get))
        assert got == succeeded('"1-67891233"')
    finally:
        TRACE.reset(token)


@pytest.mark.parametrize("place", PLACES)
def test_what_the_handler_sets_is_seen_everywhere_and_only_branches_keep_theirs_to_themselves(place: str) -> None:
    def act() -> str:
        found = TENANT.get()
        TENANT.set("set inside")
        return found

    def handler(context: DurableContext) -> list[str]:
        TENANT.set("the handler's")
        return [PLACES[place](context, act), TENANT.get()]

    got, _ = invoke(handler)
    after = "the handler's" if place in IN_A_BRANCH else "set inside"
    assert json.loads(got["Result"]) == ["the handler's", after]


def test_branches_do_not_see_what_their_siblings_set() -> None:
    def item(context: DurableContext, number: int, *_: Any) -> str:
        found = TENANT.get()
        TENANT.set(f"of {number}")
        return context.step(lambda _: found)

    got, _ = invoke(lambda c: c.map(range(5), item, max_concurrency=1).get_results())
    assert json.loads(got["Result"]) == ["nobody"] * 5


def test_an_invocation_that_fails_or_suspends_leaves_nothing_behind_either() -> None:
    def fail(context: DurableContext) -> None:
        TENANT.set("left behind")
        context.step(lambda _: None)
        raise ValueError

    def suspend(context: DurableContext) -> None:
        TENANT.set("left behind")
        context.wait(60)

    def leave(_context: DurableContext) -> None:
        TENANT.set("left behind")
        raise SystemExit

    assert invoke(fail)[0]["Status"] == "FAILED"
    assert invoke(suspend)[0]["Status"] == "PENDING"
    with pytest.raises(SystemExit):
        invoke(leave)
    assert TENANT.get() == "nobody"


def test_whatever_surrounds_a_handler_sees_what_it_saw_before() -> None:
    """A decorator around a handler that was called twice sets and resets a variable of its own."""

    def handler(_event: Any, _context: Any) -> str:
        TRACE.set("the handler's own")
        return TRACE.get()

    token = TRACE.set("outer")
    got = run_durable_handler(event(), LambdaContext(), handler, boto3_client=Recorder())
    assert got == succeeded('"the handler\'s own"')
    assert TRACE.get() == "outer"
    TRACE.reset(token)  # which would fail in another context
    assert TRACE.get() == "none"


def test_a_finished_child_that_runs_again_for_its_result_sees_the_variables_too() -> None:
    def child(context: DurableContext) -> str:
        context.step(lambda _: None)
        return TRACE.get()

    def handler(context: DurableContext) -> str:
        TRACE.set("inside")
        return context.run_in_child_context(child)

    finished = op("CONTEXT", "SUCCEEDED", details={"Result": "", "ReplayChildren": True})
    inner = op("STEP", "SUCCEEDED", 1, 1, ParentId=op_id(1))
    assert invoke(handler, finished, inner)[0] == succeeded('"inside"')
