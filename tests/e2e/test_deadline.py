"""The end of an invocation's time: nothing new begins, what is queued is sent, and the execution always advances."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from perdure import DurableContext, InvocationError, ValidationError, durable_execution, run_durable_handler
from perdure import execution as execution_module
from perdure.config import Duration
from perdure.local import LocalService
from support.invocations import PENDING, LambdaContext, Recorder, error, event, invoke, op, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

LATE = LambdaContext(0.0)
"""No time is left from the beginning."""


def three_steps(context: DurableContext) -> list[int]:
    return [context.step(lambda _, n=n: n, f"s{n}") for n in range(3)]


def raising(*_: Any) -> Any:
    raise OSError("again")


def test_a_late_invocation_begins_one_operation_and_no_more() -> None:
    client = Recorder()
    with pytest.raises(InvocationError, match=r"out of time.*repeat the invocation"):
        invoke(three_steps, client=client, context=LATE)
    assert client.summary == [["STEP START s0", "STEP SUCCEED s0"]]


def test_what_is_recorded_is_replayed_however_late_it_is() -> None:
    done = [op("STEP", "SUCCEEDED", n + 1, Name=f"s{n}", details={"Result": str(n)}) for n in range(3)]
    got, client = invoke(three_steps, *done, context=LATE)
    assert got == succeeded("[0, 1, 2]")
    assert client.calls == []
    client = Recorder()
    with pytest.raises(InvocationError):
        invoke(three_steps, *done[:1], client=client, context=LATE)
    assert client.summary == [["STEP START s1", "STEP SUCCEED s1"]]


def in_branches(operate: Callable[[DurableContext], Any]) -> Callable[[DurableContext], Any]:
    """Make a handler whose first branch does something, while the second one comes to a step."""
    return lambda c: c.parallel([operate, lambda k: k.step(lambda _: pytest.fail("ran"))], max_concurrency=2)


def branches(*inside: dict[str, Any]) -> list[dict[str, Any]]:
    first = op("CONTEXT", "STARTED", 1, 0, SubType="ParallelBranch", Name="parallel-branch-0")
    return [op("CONTEXT", "STARTED", SubType="Parallel"), first, *inside]


FAR = 4_000_000_000_000
SOON = int(time.time() * 1000) + 5_000

# Work that comes to an operation too many, its history, and whether the service will soon wake the execution by itself.
ENDS: dict[str, tuple[Callable[[DurableContext], Any], list[dict[str, Any]], bool]] = {
    "a timer of a sibling": (
        in_branches(lambda k: k.wait(9)),
        branches(op("WAIT", "STARTED", 1, 0, 1, details={"ScheduledEndTimestamp": SOON})),
        True,
    ),
    "a timer of a sibling that is far off": (
        in_branches(lambda k: k.wait(9)),
        branches(op("WAIT", "STARTED", 1, 0, 1, details={"ScheduledEndTimestamp": FAR})),
        False,
    ),
    "a retry of a sibling that is far off": (
        in_branches(lambda k: k.step(raising)),
        branches(op("STEP", "PENDING", 1, 0, 1, details={"NextAttemptTimestamp": FAR, "Attempt": 1})),
        False,
    ),
    "a retry of a sibling": (
        in_branches(lambda k: k.step(raising)),
        branches(op("STEP", "PENDING", 1, 0, 1, details={"NextAttemptTimestamp": SOON, "Attempt": 1})),
        True,
    ),
    "an invoke of a sibling, which may take for ever": (
        in_branches(lambda k: k.invoke("fn", 1)),
        branches(op("CHAINED_INVOKE", "STARTED", 1, 0, 1, details={})),
        False,
    ),
    "a callback, whose answer may depend on what comes": (
        in_branches(lambda k: k.create_callback().result()),
        branches(op("CALLBACK", "STARTED", 1, 0, 1, details={"CallbackId": "x"})),
        False,
    ),
    "a context": (lambda c: c.run_in_child_context(lambda k: k.step(lambda _: pytest.fail("ran"))), [], False),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_late_invocation_ends_pending_only_if_the_service_will_soon_wake_it(case: str) -> None:
    handler, history, pending = ENDS[case]
    client = Recorder()
    if pending:
        assert invoke(handler, *history, client=client, context=LATE)[0] == PENDING
    else:
        with pytest.raises(InvocationError):
            invoke(handler, *history, client=client, context=LATE)
    assert [each["Action"] for each in client.updates] == ["START"], "what was queued was sent"


def test_nor_if_the_last_answer_says_that_what_it_was_to_wait_for_has_come() -> None:
    def answer(_updates: Any) -> list[dict[str, Any]]:
        return [op("WAIT", "SUCCEEDED", 1, 0, 1)]

    history = branches(op("WAIT", "STARTED", 1, 0, 1, details={"ScheduledEndTimestamp": SOON}))
    with pytest.raises(InvocationError):
        invoke(in_branches(lambda k: k.wait(9)), *history, client=Recorder(answer), context=LATE)


@pytest.mark.parametrize("slow_first", [True, False])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_step_at_work_when_time_is_up_is_let_end_and_recorded(
    slow_first: bool, is_wrapped: bool, monkeypatch: Any
) -> None:
    monkeypatch.setattr(execution_module, "RESERVE_SHARE", 1.0)
    both_are_there, begun, refused = threading.Barrier(2), threading.Event(), threading.Event()

    def slow(_: Any) -> str:
        begun.set()
        refused.wait(60)
        return "done"

    def comes_too_late(context: DurableContext) -> None:
        both_are_there.wait(60)
        begun.wait(60)
        try:
            context.step(lambda _: pytest.fail("ran"))
        finally:
            refused.set()

    def works(context: DurableContext) -> str:
        both_are_there.wait(60)
        context.step(slow, "slow")
        return context.step(lambda _: pytest.fail("ran"))

    def handler(context: DurableContext) -> Any:
        try:
            return context.parallel([works, comes_too_late] if slow_first else [comes_too_late, works])
        except BaseException as late:
            if is_wrapped:
                raise ValueError("as libraries do") from late
            raise

    history = [
        op("CONTEXT", "STARTED", SubType="Parallel"),
        *(op("CONTEXT", "STARTED", 1, n, SubType="ParallelBranch", Name=f"parallel-branch-{n}") for n in range(2)),
    ]
    client = Recorder()
    with pytest.raises(InvocationError, match="out of time"):
        invoke(handler, *history, client=client, context=LambdaContext(900.0), deadline_reserve=900)
    assert [(each["Name"], each["Action"]) for each in client.updates] == [("slow", "START"), ("slow", "SUCCEED")]


def test_a_context_does_not_end_that_has_swallowed_the_deadline() -> None:
    def swallowing(inner: DurableContext) -> str:
        inner.step(lambda _: 1)
        with suppress(BaseException):
            inner.step(lambda _: pytest.fail("ran"))
        return "swallowed"

    client = Recorder()
    history = [op("CONTEXT", "STARTED")]
    with pytest.raises(InvocationError, match="out of time"):
        invoke(lambda c: c.run_in_child_context(swallowing), *history, client=client, context=LATE)
    assert [(each["Type"], each["Action"]) for each in client.updates] == [("STEP", "START"), ("STEP", "SUCCEED")]


def test_the_deadline_is_not_swallowed() -> None:
    def handler(context: DurableContext) -> str:
        for _ in range(3):
            with suppress(BaseException):
                context.step(lambda _: 1)
        return "swallowed"

    with pytest.raises(InvocationError):
        invoke(handler, context=LATE)


def test_a_handler_that_returns_after_its_deadline_has_succeeded() -> None:
    got, _ = invoke(lambda c: c.step(lambda _: 1), context=LATE)
    assert got == succeeded("1")


def test_a_suspension_after_the_deadline_is_pending() -> None:
    got, client = invoke(lambda c: c.wait(5), context=LATE)
    assert got == PENDING
    assert client.summary == [["WAIT START"]]


class Text:
    """A context that answers with something that is no number."""

    def __init__(self, answer: Any) -> None:
        self.get_remaining_time_in_millis = lambda: answer


@pytest.mark.parametrize(
    "context",
    [None, object(), MagicMock(), Text(None), Text("soon"), Text(MagicMock())],
    ids=["no context", "no method", "mock", "None", "text", "mock as answer"],
)
def test_without_a_number_there_is_no_deadline(context: Any) -> None:
    got = run_durable_handler(event(), context, lambda _, c: three_steps(c), boto3_client=Recorder())
    assert got == succeeded("[0, 1, 2]")


class Spy:
    """An engine that tells which deadline it was given."""

    given: list[float]

    def __init__(self, engine: Any, given: list[float]) -> None:
        self._engine = engine
        self.given = given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def set_deadline(self, seconds: float) -> None:
        self.given.append(seconds)


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    given: list[float] = []
    engine = execution_module.Execution
    monkeypatch.setattr(execution_module, "Execution", lambda token: Spy(engine(token), given))
    return given


@pytest.mark.parametrize(
    ("remaining", "options", "expected"),
    [
        (900.0, {}, [895.0]),
        (25.0, {}, [20.0]),
        (10.0, {}, [8.0]),
        (3.0, {}, [2.4]),
        (900.0, {"deadline_reserve": 30}, [870.0]),
        (900.0, {"deadline_reserve": 0.5}, [899.5]),
        (900.0, {"deadline_reserve": Duration.from_minutes(2)}, [780.0]),
        (900.0, {"deadline_reserve": timedelta(seconds=20)}, [880.0]),
        (100.0, {"deadline_reserve": 60}, [80.0]),
        (900.0, {"deadline_reserve": 0}, [900.0]),
        (900.0, {"deadline_reserve": None}, []),
    ],
)
def test_the_reserve_is_five_seconds_or_a_fifth_or_as_configured(
    deadlines: list[float], remaining: float, options: dict[str, Any], expected: list[float]
) -> None:
    invoke(lambda _: None, context=LambdaContext(remaining), **options)
    assert deadlines == pytest.approx(expected)
    deadlines.clear()

    def function(_event: Any, _context: DurableContext) -> None:
        """Do nothing."""

    for handler in (
        durable_execution(function, boto3_client=Recorder(), **options),
        durable_execution(boto3_client=Recorder(), **options)(function),
    ):
        handler(event(), LambdaContext(remaining))
        assert deadlines == pytest.approx(expected)
        deadlines.clear()


@pytest.mark.parametrize("reserve", [-1, float("nan"), float("inf"), "5", timedelta(seconds=-1)])
def test_a_reserve_that_is_none_is_refused_at_decoration(reserve: Any) -> None:
    with pytest.raises(ValidationError, match="deadline_reserve"):
        durable_execution(deadline_reserve=reserve)(lambda *_: None)


def test_an_execution_that_is_always_late_still_ends() -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        return three_steps(context)

    service = LocalService().register("f", handler, timeout_seconds=0.000_001)
    handle = service.run("f")
    assert handle.value == [0, 1, 2]
    assert [each.outcome for each in handle.invocations] == ["RAISED", "RAISED", "SUCCEEDED"]
    assert all("out of time" in str(each.exception) for each in handle.invocations[:2])


def test_the_error_of_a_late_invocation_is_not_recorded_by_anyone() -> None:
    def handler(context: DurableContext) -> Any:
        return context.run_in_child_context(three_steps)

    client = Recorder()
    with pytest.raises(InvocationError):
        invoke(handler, client=client, context=LATE)
    assert client.summary == [["CONTEXT START"]]
    assert error() not in [each.get("Error") for each in client.updates]
