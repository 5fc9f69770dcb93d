"""map and parallel at work: threads that come and go, branches that wait, fail or are orphaned, and what is left."""

from __future__ import annotations

import contextvars
import signal
import threading
import time
from _thread import _count
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, InvocationError, StepContext, durable_execution, run_durable_handler
from perdure._core import hands_at_work
from perdure.config import CompletionConfig, NestingType, StepSemantics
from perdure.engine import batch as executor
from perdure.engine import checkpoint
from perdure.engine.hosted import HostedEvent
from perdure.local import Limits, LocalService, VirtualClock
from perdure.retries import RetryPresets
from support.invocations import PENDING, LambdaContext, Recorder, event, invoke, op, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(60)

BOTH = pytest.mark.parametrize("nesting", [NestingType.NESTED, NestingType.FLAT], ids=["nested", "flat"])
ALL = CompletionConfig.all_completed()


def thread_count() -> int:
    """Count the threads once those that have nothing left to do are gone."""
    for _ in range(200):
        count = _count()
        if count <= AT_REST:
            break
        time.sleep(0.001)
    return _count()


AT_REST = _count()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    global AT_REST  # noqa: PLW0603  what a test begins with
    AT_REST = _count()
    named = set(threading.enumerate())
    yield
    assert thread_count() == AT_REST
    assert set(threading.enumerate()) == named
    assert hands_at_work() == 0


def run(handler: Callable[[DurableContext], Any], **options: Any) -> Any:
    """Run an execution to its end on the embedded service."""

    @durable_execution
    def durable(_event: Any, context: DurableContext) -> Any:
        return handler(context)

    handle = LocalService(**options).register("f", durable).run("f")
    assert handle.status == "SUCCEEDED", handle.error
    return handle


class StandingClock(VirtualClock):
    """A clock that a test moves, while branches that wait for it are asleep in real time."""

    def timeout(self, until: float) -> float | None:
        """Look again before long."""
        return 0.0 if until <= self.time() else 0.005


# ---- load


@BOTH
@pytest.mark.parametrize("concurrency", [None, 1, 2, 300])
def test_many_branches_complete(nesting: NestingType, concurrency: int | None) -> None:
    handle = run(
        lambda c: sum(
            c.map(
                range(400),
                lambda k, item, *_: k.step(lambda _: item),
                max_concurrency=concurrency,
                nesting_type=nesting,
            ).get_results()
        ),
    )
    assert handle.value == sum(range(400))


def test_three_thousand_branches_complete() -> None:
    handle = run(
        lambda c: sum(c.map(range(3_000), lambda k, item, *_: k.step(lambda _: item)).get_results()),
        limits=Limits.off(),
    )
    assert handle.value == sum(range(3_000))
    assert all(len(batch) <= 250 for batch in handle.batches)


def test_two_hundred_branches_with_twenty_inner_ones_each_complete() -> None:
    def outer(context: DurableContext, item: int, *_: Any) -> int:
        inner = context.map(range(20), lambda k, n, *_: k.step(lambda _: n * item))
        return sum(inner.get_results())

    handle = run(lambda c: sum(c.map(range(200), outer).get_results()), limits=Limits.off())
    assert handle.value == sum(range(20)) * sum(range(200))


@pytest.mark.parametrize("threads", [0, 1, 2, 3])
@pytest.mark.parametrize("depth", [2, 3])
@BOTH
def test_nesting_cannot_deadlock_at_the_thread_bound(
    threads: int, depth: int, nesting: NestingType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "MAX_THREADS", threads)

    def nest(context: DurableContext, left: int) -> int:
        if left == 0:
            return context.step(lambda _: 1)
        branches = [lambda k: nest(k, left - 1)] * 4
        return sum(context.parallel(branches, nesting_type=nesting).get_results())

    assert run(lambda c: nest(c, depth)).value == 4**depth


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("threads", [1, 2, 3, 256])
def test_nesting_does_not_deadlock_however_often(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(100):
        test_nesting_cannot_deadlock_at_the_thread_bound(threads, 3, NestingType.NESTED, monkeypatch)


@pytest.mark.parametrize("round_", range(10))
def test_branches_of_every_kind_end_together(round_: int) -> None:
    """Failing, suspending, retrying and quick branches in one batch, several times."""

    def branch(context: DurableContext, item: int, *_: Any) -> int:
        match (item + round_) % 5:
            case 0:
                raise ValueError(item)
            case 1:
                context.wait(1 + item % 3)
            case 2:
                context.step(retried, retry=RetryPresets.fixed(1))
            case 3:
                context.run_in_child_context(lambda k: k.wait(2))
            case _:
                pass
        return context.step(lambda _: item)

    def retried(step: StepContext) -> None:
        if step.attempt < 3:
            raise OSError("again")

    def handler(context: DurableContext) -> Any:
        found = context.map(range(60), branch, completion_config=ALL)
        return [sum(found.get_results()), found.failure_count]

    failing = [item for item in range(60) if (item + round_) % 5 == 0]
    assert run(handler).value == [sum(range(60)) - sum(failing), len(failing)]


# ---- how many threads


def test_a_concurrency_of_one_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(executor, "_threads", SimpleNamespace(start=lambda *_: started.append(1)))
    threads: set[int] = set()

    def branch(context: DurableContext, item: int, *_: Any) -> int:
        threads.add(threading.get_ident())
        return context.step(lambda _: item)

    handle = run(lambda c: c.map(range(50), branch, max_concurrency=1).get_results())
    assert handle.value == list(range(50))
    assert threads == {threading.get_ident()}
    assert started == []


def test_branches_that_are_recorded_start_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "_threads", SimpleNamespace(start=lambda *_: pytest.fail("a thread was started")))
    history = [
        op("CONTEXT", "STARTED", SubType="Map"),
        *(
            op(
                "CONTEXT",
                "FAILED" if n % 2 else "SUCCEEDED",
                1,
                n,
                SubType="MapIteration",
                Name=f"map-item-{n}",
                details={"Error": {"ErrorMessage": "m"}} if n % 2 else {"Result": "1"},
            )
            for n in range(50)
        ),
    ]
    got, client = invoke(lambda c: c.map(range(50), pytest.fail, completion_config=ALL).success_count, *history)
    assert got == succeeded("25")
    assert client.summary == [["CONTEXT SUCCEED"]]


@pytest.mark.parametrize("bound", [1, 5, 256])
def test_the_process_never_runs_more_threads_than_its_bound(bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "MAX_THREADS", bound)
    lock = threading.Lock()
    at_work: set[int] = set()
    most = 0

    def branch(context: DurableContext, item: int, *_: Any) -> int:
        nonlocal most
        with lock:
            at_work.add(threading.get_ident())
            most = max(most, hands_at_work())
        return context.step(lambda _: item)

    handle = run(lambda c: len(c.map(range(400), branch).get_results()))
    assert handle.value == 400
    assert most <= bound


def test_a_system_without_threads_still_runs_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    assert run(lambda c: sum(c.map(range(20), lambda k, n, *_: k.step(lambda _: n)).get_results())).value == 190


def test_branches_run_at_the_same_time() -> None:
    everybody = threading.Barrier(16)

    def branch(context: DurableContext, *_: Any) -> int:
        return context.step(lambda _: everybody.wait(10))

    assert sorted(run(lambda c: c.map(range(16), branch).get_results()).value) == list(range(16))


def test_the_handler_runs_on_the_thread_that_invokes_it() -> None:
    seen: list[int] = []

    def handler(context: DurableContext) -> None:
        seen.append(threading.get_ident())
        context.step(lambda _: seen.append(threading.get_ident()))
        context.run_in_child_context(lambda _: seen.append(threading.get_ident()))

    run(handler)
    assert set(seen) == {threading.get_ident()}


# ---- contextvars

COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


@BOTH
@pytest.mark.parametrize("concurrency", [1, None])
def test_each_branch_sees_the_callers_context_and_keeps_its_changes(
    nesting: NestingType, concurrency: int | None
) -> None:
    def branch(context: DurableContext, item: int, *_: Any) -> list[str]:
        before = COLOUR.get()
        COLOUR.set(f"branch {item}")
        inside = context.step(lambda _: COLOUR.get())
        return [before, inside]

    def handler(context: DurableContext) -> Any:
        COLOUR.set("caller")
        found = context.map(range(30), branch, nesting_type=nesting, max_concurrency=concurrency)
        return [found.get_results(), COLOUR.get()]

    token = COLOUR.set("outside")
    try:
        value = run(handler).value
    finally:
        COLOUR.reset(token)
    assert value == [[["caller", f"branch {n}"] for n in range(30)], "caller"]


# ---- completion, orphans


@BOTH
def test_a_branch_that_outlives_the_completion_is_cut_at_its_next_operation(nesting: NestingType) -> None:
    done = threading.Event()
    ran: list[str] = []

    def slow(context: DurableContext) -> None:
        context.step(lambda _: 0, "first")
        done.wait(10)
        context.step(lambda _: ran.append("after"), "after")

    def quick(_context: DurableContext) -> str:
        return "quick"

    def handler(context: DurableContext) -> Any:
        found = context.parallel(
            [quick, slow],
            completion_config=CompletionConfig(min_successful=1),
            nesting_type=nesting,
        )
        done.set()
        return [item.status.value for item in found.all]

    handle = run(handler)
    assert handle.value[0] == "SUCCEEDED"
    assert ran == []
    assert "after" not in {each.get("Name") for each in handle.updates}


def test_the_result_of_an_orphaned_step_is_not_recorded() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def body(_step: StepContext) -> str:
        begun.set()
        go_on.wait(10)
        return "too late"

    def quick(_context: DurableContext) -> str:
        begun.wait(10)
        return "quick"

    def handler(context: DurableContext) -> Any:
        found = context.parallel(
            [quick, lambda k: k.step(body, "orphan", step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)],
            completion_config=CompletionConfig(min_successful=1),
        )
        go_on.set()
        return [item.status.value for item in found.all]

    handle = run(handler)
    assert handle.value == ["SUCCEEDED", "STARTED"]
    assert [each["Action"] for each in handle.updates if each.get("Name") == "orphan"] == ["START"]


def test_a_failure_ends_a_batch_that_fails_fast_without_starting_more() -> None:
    ran: list[int] = []

    def branch(context: DurableContext, item: int, *_: Any) -> int:
        ran.append(item)
        if item == 3:
            raise ValueError("three")
        return context.step(lambda _: item)

    def handler(context: DurableContext) -> Any:
        found = context.map(range(100), branch, max_concurrency=1)
        return [found.completion_reason.value, len(found.all)]

    assert run(handler).value == ["FAILURE_TOLERANCE_EXCEEDED", 4]
    assert ran == [0, 1, 2, 3]


@pytest.mark.parametrize("where", [0, 1, 5])
def test_a_retryable_error_lets_the_running_branches_finish_and_beats_suspension(where: int) -> None:
    everybody = threading.Barrier(6)
    finished: list[int] = []

    def branch(context: DurableContext, item: int, *_: Any) -> None:
        everybody.wait(10)
        if item == where:
            raise InvocationError("later")
        if item % 2:
            context.wait(10)
        context.step(lambda _: finished.append(item))

    client = Recorder()
    with pytest.raises(InvocationError, match="later"):
        invoke(lambda c: c.map(range(6), branch), client=client)
    assert sorted(finished) == [n for n in (0, 2, 4) if n != where]
    assert not [each for each in client.updates if each["Action"] == "FAIL"]


def test_branches_not_begun_before_a_retryable_error_do_not_begin() -> None:
    ran: list[int] = []

    def branch(_context: DurableContext, item: int, *_: Any) -> None:
        ran.append(item)
        raise InvocationError("later")

    with pytest.raises(InvocationError):
        invoke(lambda c: c.map(range(50), branch, max_concurrency=1))
    assert ran == [0]


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


# ---- what is asked for elsewhere


def test_a_branch_that_waits_for_a_callback_of_the_handler_suspends_alone() -> None:
    """The sibling is the one that tells the outside about the callback."""
    told: list[str] = []

    def handler(context: DurableContext) -> Any:
        callback = context.create_callback("c")
        return context.parallel(
            [lambda _: callback.result(), lambda k: k.step(lambda _: told.append(callback.callback_id))],
            max_concurrency=2,
        ).get_results()

    got, client = invoke(handler)
    assert got == PENDING
    assert len(told) == 1
    assert "STEP SUCCEED" in [each for batch in client.summary for each in batch]


def test_a_swallowed_suspension_of_an_outer_callback_sticks_to_the_branch() -> None:
    def handler(context: DurableContext) -> Any:
        callback = context.create_callback("c")

        def branch(_context: DurableContext) -> str:
            try:
                callback.result()
            except BaseException:  # noqa: BLE001  what sticky is about
                return "swallowed"
            return "answered"

        return context.parallel([branch]).get_results()

    got, client = invoke(handler)
    assert got == PENDING
    assert not [each for each in client.updates if each["Action"] == "SUCCEED"]


def test_a_callback_made_inside_a_child_may_be_asked_for_outside() -> None:
    def handler(context: DurableContext) -> Any:
        made: list[Any] = []

        def child(inner: DurableContext) -> None:
            made.append(inner.create_callback("c"))

        context.run_in_child_context(child)
        return made[0].result()

    assert invoke(handler)[0] == PENDING


# ---- the predicate


@pytest.mark.parametrize("problem", [ValueError("bad predicate"), SystemExit(3)])
def test_a_predicate_that_raises_ends_the_batch(problem: BaseException) -> None:
    def predicate(status: Any) -> Any:
        if status.completed_count >= 2:
            raise problem
        from perdure import continue_batch  # noqa: PLC0415

        return continue_batch()

    def handler(context: DurableContext) -> Any:
        return context.map(
            range(10),
            lambda k, n, *_: k.step(lambda _: n),
            completion_config=CompletionConfig(should_complete=predicate),
        )

    if isinstance(problem, Exception):
        got, _ = invoke(handler)
        assert got["Status"] == "FAILED"
        assert got["Error"]["ErrorMessage"] == "bad predicate"
    else:
        with pytest.raises(SystemExit):
            invoke(handler)


# ---- interrupts


def test_an_interrupt_while_waiting_for_a_checkpoint_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interrupted caller is the one who would have been woken to lead next."""
    monkeypatch.setattr(checkpoint.Checkpointer, "watch", lambda _: None)
    sent, caller_follows, other_follows = threading.Event(), threading.Event(), threading.Event()
    main = threading.get_ident()

    class Interrupting(Recorder):
        def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
            if not sent.is_set():
                sent.set()
                assert other_follows.wait(10)
                time.sleep(0.03)  # both are in the queue, and have nothing left to do but to wait
                signal.pthread_kill(main, signal.SIGINT)
                time.sleep(0.02)
            return super().checkpoint_durable_execution(**call)

    def body(_step: StepContext) -> None:
        if threading.get_ident() == main:
            assert sent.wait(10)
            caller_follows.set()
        elif sent.is_set():
            assert caller_follows.wait(10)
            time.sleep(0.02)
            other_follows.set()

    def leader(context: DurableContext) -> None:
        context.step(lambda _: 1)

    def follower(context: DurableContext) -> None:
        if threading.get_ident() != main:
            assert sent.wait(10)
        context.step(body)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            invoke(
                lambda c: c.parallel([follower, leader, follower], nesting_type=NestingType.FLAT), client=Interrupting()
            )
    finally:
        signal.signal(signal.SIGINT, before)


# ---- threads that do not come back


def test_threads_past_the_deadline_are_given_up_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def stuck(_context: DurableContext) -> None:
        begun.set()
        go_on.wait(10)

    def quick(_context: DurableContext) -> int:
        begun.wait(10)
        return 1

    def handler(context: DurableContext) -> int:
        return context.parallel([quick, stuck], completion_config=CompletionConfig(min_successful=1)).success_count

    try:
        got, _ = invoke(handler, context=LambdaContext(900.0, 0.5))
    finally:
        go_on.set()
    assert got == succeeded("1")
    assert "given up" in caplog.text
