"""Branches whose timers come while others are at work, and updates that nobody waits for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, InvocationError, StepContext, run_durable_handler
from perdure.config import NestingType
from perdure.engine import checkpoint
from perdure.engine.hosted import HostedEvent
from perdure.local import VirtualClock
from support.invocations import PENDING, LambdaContext, Recorder, event, invoke, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_thread_is_left")]

BOTH = pytest.mark.parametrize("nesting", [NestingType.NESTED, NestingType.FLAT], ids=["nested", "flat"])


class StandingClock(VirtualClock):
    """A clock that a test moves, while branches that wait for it are asleep in real time."""

    def timeout(self, until: float) -> float | None:
        """Look again before long."""
        return 0.0 if until <= self.time() else 0.005


# ---- timers


class TimedService:
    """A client whose waits end when its clock has come so far."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.waits: dict[str, tuple[float, dict[str, Any]]] = {}
        self.callbacks: list[dict[str, Any]] = []
        self.empty_calls = 0
        self.started: list[str | None] = []
        self.on_wait = threading.Semaphore(0)

    def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
        self.empty_calls += not call["Updates"]
        for each in call["Updates"]:
            if each["Action"] == "START":
                self.started.append(each.get("Name"))
            if each["Type"] == "WAIT":
                due = self.clock.time() + each["WaitOptions"]["WaitSeconds"]
                self.waits[each["Id"]] = (due, each)
                self.on_wait.release()
            elif each["Type"] == "CALLBACK":
                made = {key: each[key] for key in ("Id", "Type", "SubType", "Name")}
                self.callbacks.append({**made, "Status": "STARTED", "CallbackDetails": {"CallbackId": each["Name"]}})
        operations = [*self.callbacks]
        for due, each in self.waits.values():
            over = due <= self.clock.time()
            operation = {key: each[key] for key in ("Id", "Type", "SubType", "ParentId", "Name") if key in each}
            operation["Status"] = "SUCCEEDED" if over else "STARTED"
            operation["WaitDetails"] = {} if over else {"ScheduledEndTimestamp": round(due * 1000)}
            operations.append(operation)
        return {"CheckpointToken": "t", "NewExecutionState": {"Operations": operations}}


def timed(handler: Callable[[DurableContext], Any]) -> tuple[HostedEvent, TimedService, Callable[[], Any]]:
    """Give an event with a client and a clock of its own, that client, and what calls the handler with it."""
    clock = StandingClock()
    given = HostedEvent(event(), TimedService(clock), clock)
    return given, given.client, lambda: run_durable_handler(given, LambdaContext(), lambda _, c: handler(c))


def moving(clock: VirtualClock, wait: Callable[[float], bool]) -> bool:
    """Wait for something while time goes on: a branch that meets its moment while it suspends asks after a pause."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if wait(0.005):
            return True
        clock.advance(1)
    return False


@pytest.mark.parametrize("busy", [0, 1], ids=["the caller is busy", "a thread is busy"])
@BOTH
def test_a_due_timer_resumes_its_branch_while_a_sibling_runs(busy: int, nesting: NestingType) -> None:
    resumed = threading.Event()

    def long(context: DurableContext) -> str:
        def body(_step: StepContext) -> str:
            assert service.on_wait.acquire(timeout=10)
            clock.advance(60)
            assert moving(clock, resumed.wait), "the timer was due, and nobody came"
            return "long"

        return context.step(body)

    def sleeper(context: DurableContext) -> str:
        context.wait(60)
        resumed.set()
        return "woken"

    branches = [sleeper, sleeper]
    branches[busy] = long
    given, service, go = timed(lambda c: c.parallel(branches, nesting_type=nesting).get_results())
    clock = given.clock
    expected = '["long", "woken"]' if busy == 0 else '["woken", "long"]'
    assert go() == succeeded(expected)


def test_a_branch_whose_start_is_on_its_way_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch of an inner batch that has suspended with nothing sent, when the outer branch runs again."""
    monkeypatch.setattr(checkpoint.Checkpointer, "watch", lambda _: None)
    unwound, again = threading.Event(), threading.Event()
    begun: list[int] = []

    def busy(context: DurableContext) -> None:
        def body(_step: StepContext) -> None:
            assert unwound.wait(10)
            assert moving(clock, again.wait), "the timer was due, and nobody came"

        context.step(body)

    def handler(context: DurableContext) -> Any:
        callback = context.create_callback("c")

        def ends_late(_context: DurableContext) -> None:
            assert service.on_wait.acquire(timeout=10)

        def inner(k: DurableContext) -> Any:
            begun.append(1)
            if len(begun) > 1:
                again.set()
            branches: list[Any] = [lambda b: b.wait(60), ends_late, lambda _: callback.result()]
            try:
                return k.parallel(branches, "inner", max_concurrency=2).success_count
            finally:
                unwound.set()

        return context.parallel([busy, inner], "outer").success_count

    given, service, go = timed(handler)
    clock = given.clock
    assert go() == PENDING
    assert len(begun) > 1
    starts = Counter(service.started)
    assert starts["parallel-branch-2"] == 1


def test_several_timers_come_in_turn_while_the_caller_is_busy() -> None:
    order: list[int] = []
    gone_on = threading.Semaphore(0)

    def long(context: DurableContext) -> None:
        def body(_step: StepContext) -> None:
            for _ in range(4):
                assert service.on_wait.acquire(timeout=10)
            for _ in range(4):
                assert moving(clock, lambda seconds: gone_on.acquire(timeout=seconds))

        context.step(body)

    def sleeper(n: int) -> Callable[[DurableContext], None]:
        def branch(context: DurableContext) -> None:
            context.wait(10 * n)
            order.append(n)
            gone_on.release()

        return branch

    given, service, go = timed(
        lambda c: c.parallel([long, sleeper(4), sleeper(2), sleeper(1), sleeper(3)]).success_count
    )
    clock = given.clock
    assert go() == succeeded("5")
    assert order == [1, 2, 3, 4]


def test_a_service_behind_its_time_is_asked_again_without_spinning() -> None:
    asked_enough = threading.Event()

    class Behind(TimedService):
        def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
            response = super().checkpoint_durable_execution(**call)
            if self.empty_calls < 3:
                for operation in response["NewExecutionState"]["Operations"]:
                    operation["Status"] = "STARTED"
                    operation["WaitDetails"] = {"ScheduledEndTimestamp": round(1000 * self.started_at) + 1000}
            else:
                asked_enough.set()
            return response

    def long(context: DurableContext) -> None:
        def body(_step: StepContext) -> None:
            assert service.on_wait.acquire(timeout=10)
            deadline = time.monotonic() + 10
            while not asked_enough.is_set() and time.monotonic() < deadline:
                clock.advance(0.5)
                time.sleep(0.002)
            assert woken.wait(10)

        context.step(body)

    woken = threading.Event()
    given, _, go = timed(lambda c: c.parallel([long, lambda k: (k.wait(1), woken.set())]).success_count)
    clock = given.clock
    service = given.client = Behind(clock)
    service.started_at = clock.time()  # type: ignore[attr-defined]
    assert go() == succeeded("2")
    assert service.empty_calls < 30


def test_timers_alone_suspend_the_batch_until_the_earliest() -> None:
    given, service, go = timed(lambda c: c.parallel([lambda k: k.wait(9), lambda k: k.wait(5)]))
    assert go() == PENDING
    assert len(service.waits) == 2
    assert given.clock.time() < min(due for due, _ in service.waits.values())


# ---- the linger


def test_the_start_of_a_long_step_becomes_visible_while_it_runs() -> None:
    visible = threading.Event()

    def answer(updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if updates[0]["Action"] == "START":
            visible.set()
        return []

    got, client = invoke(lambda c: c.step(lambda _: visible.wait(10), "long"), client=Recorder(answer))
    assert got == succeeded("true")
    assert client.summary == [["STEP START long"], ["STEP SUCCEED long"]]


def test_each_of_many_long_steps_becomes_visible() -> None:
    seen: set[str] = set()
    changed = threading.Condition()

    def answer(updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        with changed:
            seen.update(each["Name"] for each in updates if each["Action"] == "START")
            changed.notify_all()
        return []

    def body(name: str) -> bool:
        with changed:
            return changed.wait_for(lambda: name in seen, 10)

    got, _ = invoke(
        lambda c: all(c.step(lambda _, n=n: body(f"s{n}"), f"s{n}") for n in range(10)), client=Recorder(answer)
    )
    assert got == succeeded("true")


def test_a_failing_linger_fails_the_step_that_it_was_for() -> None:
    called = threading.Event()

    class Failing(Recorder):
        def checkpoint_durable_execution(self, **_call: Any) -> dict[str, Any]:
            called.set()
            raise ValueError("no service")

    with pytest.raises(InvocationError, match="no service"):
        invoke(lambda c: c.step(lambda _: called.wait(10)), client=Failing())
