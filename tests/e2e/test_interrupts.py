"""Interrupts wherever they strike: nobody sleeps for ever, and the invocation ends with them."""

from __future__ import annotations

import faulthandler
import itertools
import signal
import sys
import tempfile
import threading
import time
from _thread import _count
from typing import TYPE_CHECKING, Any

import pytest

from perdure import (
    CompletionDecision,
    CompletionStatus,
    DurableContext,
    ExecutionError,
    InvocationError,
    StepContext,
    continue_batch,
    run_durable_handler,
)
from perdure._core import hands_at_work
from perdure.config import CompletionConfig, NestingType
from perdure.engine import driver, repeats
from perdure.engine import threads as _threads
from perdure.engine.batch import BranchThreads
from perdure.engine.checkpoint import Checkpointer
from perdure.engine.invocation import Invocation
from perdure.engine.operations import batch, child, step, wait
from perdure.local.foreign_threads import frames
from support.interrupts import Interrupt, Interrupter, each_place, traced
from support.invocations import NOW, PENDING, LambdaContext, Recorder, event, op

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(600)

LONG = 60.0
"""Seconds after which what has not ended hangs, on however slow a machine."""

BRANCHES = 3


class Crowd(Recorder):
    """A client whose first calls return when the other branches wait for them, if there are any."""

    def __init__(self, **pages: Any) -> None:
        super().__init__(pages=pages)
        latest.clear()
        latest.append(self)

    def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
        waiting = driver.run.__code__  # in which they are while they run no other code of Python's
        for _ in range(20 if len(self.calls) < 2 else 0):
            if sum(frame.f_code is waiting for frame in frames()) >= BRANCHES - 1:
                break
            time.sleep(0.0001)
        return super().checkpoint_durable_execution(**call)


class Trouble(Crowd):
    """The same, whose answers have further pages, and whose second call is lost at first."""

    def __init__(self) -> None:
        super().__init__(more={"Operations": [], "NextMarker": "last"}, last={"Operations": []})

    def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
        response = super().checkpoint_durable_execution(**call)
        if len(self.calls) == 2:
            raise ConnectionError("lost")
        response["NewExecutionState"]["NextMarker"] = "more"
        return response


def branch(inner: DurableContext, item: int, *_: Any) -> int:
    return inner.step(lambda _: item) + inner.step(lambda _: 1)


def crowd(context: DurableContext) -> Any:
    """Have several branches wait for one call, again and again."""
    return context.map(range(BRANCHES), branch, nesting_type=NestingType.FLAT).get_results()


def long_step(context: DurableContext) -> Any:
    """Have a START sent that nobody waits for, and then a batch."""

    def wait_for_the_start(_step: StepContext) -> None:
        until = time.monotonic() + 0.01
        while not latest[0].calls and time.monotonic() < until:
            time.sleep(0.0002)

    context.step(wait_for_the_start)
    return crowd(context)


def due_timer(context: DurableContext) -> Any:
    """Have a branch ask for news, since its timer is due, while another one is at work."""
    return context.parallel([lambda c: c.wait(1), lambda c: c.step(lambda _: 1), lambda c: c.step(lambda _: 2)])


def nested(context: DurableContext) -> Any:
    """Have threads wait for batches inside of batches."""

    def inner(context: DurableContext, item: int, *_: Any) -> Any:
        return context.map(range(2), branch, nesting_type=NestingType.FLAT).get_results()

    return context.map(range(2), inner).get_results()


def judged(context: DurableContext) -> Any:
    """Have a predicate asked."""

    def goes_on(status: CompletionStatus) -> CompletionDecision:
        assert len(status.items) == BRANCHES
        return continue_batch()

    policy = CompletionConfig(should_complete=goes_on)
    return context.map(range(BRANCHES), branch, completion_config=policy).get_results()


def tried(context: DurableContext) -> Any:
    """Have branches wait at the gate until all are counted."""
    return crowd(context)


def timers(context: DurableContext) -> Any:
    """Have a thread wait for a timer that is due in an hour, while a branch is at work."""
    keeping = BranchThreads._keep_time.__code__

    def at_work(_step: StepContext) -> int:
        until = time.monotonic() + 0.02
        while time.monotonic() < until and all(f.f_code is not keeping for f in frames()):
            time.sleep(0.0002)
        return 1

    return context.parallel([lambda c: c.wait(3600), lambda c: c.step(at_work), lambda c: c.wait(7200)])


latest: list[Recorder] = []
"""The client of the invocation that runs."""


def nap(_seconds: float) -> None:
    """Sleep no time."""


def end(run: Callable[[], Any]) -> tuple[Any, int]:
    """Run something in a thread that must end; give what it gave or raised, and which thread it was."""
    outcome: list[Any] = []

    def body() -> None:
        try:
            outcome.append(run())
        except BaseException as error:  # noqa: BLE001  compared
            outcome.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    ident = thread.ident
    thread.join(LONG)
    if thread.is_alive():
        with tempfile.TemporaryFile("w+") as stacks:
            faulthandler.dump_traceback(stacks)
            stacks.seek(0)
            pytest.fail(f"it hangs:\n{stacks.read()}")
    assert ident is not None
    return outcome[0], ident


def rest(threads: int) -> None:
    """Wait until no more threads are left than at first; one that has not begun yet counts as a hand alone."""
    until = time.monotonic() + LONG
    while _count() > threads or hands_at_work():
        assert time.monotonic() < until, f"{_count() - threads} threads are left, and {hands_at_work()} hands at work"
        time.sleep(0.0005)


SCENES: dict[str, tuple[Callable[[DurableContext], Any], type[Recorder]]] = {
    "crowd": (crowd, Crowd),
    "trouble": (crowd, Trouble),
    "long step": (long_step, Crowd),
    "due timer": (due_timer, Crowd),
    "nested": (nested, Crowd),
    "judged": (judged, Crowd),
    "tried": (tried, Crowd),
    "timers": (timers, Crowd),
}

LINE = [Checkpointer.send, Checkpointer._checkpoint, Checkpointer._count]
TROUBLE = [Checkpointer.pages, Checkpointer._repeat, repeats.repeat]
WATCH = [Checkpointer.watch, Checkpointer._flusher]
END = [Checkpointer.close, Invocation.end, Invocation.join, Checkpointer.flush]

RUN = BranchThreads

FLOWS = [driver.run, step.run]
"""Whoever drives an operation, and what is driven."""

SELDOM = [RUN._raise_fatal, RUN._give_up, RUN.raised, RUN.suspended, wait._Wait.send]
"""Only come to where something has gone wrong before; or gone on with only where something ends meanwhile."""

TIMES = (1, 2)
"""Whoever comes to a place first leads, as a rule, and others follow."""

CASES = [
    *(("crowd", function) for function in [*LINE, *END]),
    *(("trouble", function) for function in [*LINE, *TROUBLE]),
    *(("long step", function) for function in WATCH),
    *(("due timer", function) for function in [Checkpointer.ask_for_news, Checkpointer.wait]),
    *(("crowd", function) for function in [*FLOWS, child.run_virtual]),
    *(("long step", function) for function in [driver.run, step.run]),
]

BATCH = [
    *(batch.run, batch._work, batch.Branches.__init__, RUN.__init__, RUN.drive, RUN.open, RUN._work_as_caller),
    *(RUN.conclude, RUN._result, RUN._raise_fatal),
]
WORK = [RUN.work, RUN._start_worker, RUN._run_branch, RUN._work_as_caller]
HANDS = [
    *(RUN.work, RUN._needs_hand, RUN._start_worker, RUN._run_branch, RUN.branch, RUN._branch, RUN.flat, RUN._give_up),
    *(RUN.report, RUN.returned),
]
THREADS = [_threads.start, _threads.forget]

BATCH_CASES = [
    *(("crowd", function) for function in [*BATCH, *HANDS, *THREADS]),
    *(("nested", function) for function in [RUN.drive, RUN._work_as_caller, *HANDS, *THREADS]),
    *(("judged", function) for function in [RUN.report, RUN.answered, RUN._predicate_says, RUN._run_branch]),
    *(
        ("tried", function)
        for function in [RUN._hold, RUN.work, RUN._start_worker, RUN._run_branch, RUN._work_as_caller]
    ),
    *(
        ("timers", function)
        for function in [RUN._keep_time, RUN._work_as_caller, RUN.work, RUN._run_branch, RUN._start_worker]
    ),
    *(("due timer", function) for function in [RUN._catch_up, RUN._run_branch]),
    *(("timers", function) for function in [Invocation.end, Checkpointer.close, RUN.raised, RUN.suspended]),
    *(("timers", function) for function in [driver.run, wait._Wait.send]),
    *(("nested", function) for function in [*FLOWS, child.run]),
]


def stopwatch() -> Callable[[], float]:
    """Let calls take as long as it is worth to wait for others to join."""
    return itertools.count(0.0, 0.004).__next__


def played(scene: str) -> Any:
    handler, client = SCENES[scene]
    history = []
    if scene == "due timer":
        history = [
            op("CONTEXT", "STARTED", SubType="Parallel"),
            op("CONTEXT", "STARTED", 1, 0, SubType="ParallelBranch", Name="parallel-branch-0"),
            op("WAIT", "STARTED", 1, 0, 1, details={"ScheduledEndTimestamp": NOW}),
        ]
    if scene == "tried":
        history = [op("CONTEXT", "STARTED", SubType="Map")]
    return run_durable_handler(
        event(*history), LambdaContext(), lambda _, context: handler(context), boto3_client=client()
    )


@pytest.mark.parametrize(("scene", "function"), CASES, ids=lambda case: getattr(case, "__qualname__", case))
def test_an_interrupt_at_any_bytecode_leaves_nobody_waiting(
    scene: str, function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.engine.checkpoint.stopwatch", stopwatch())
    monkeypatch.setattr("perdure.engine.checkpoint.LINGER", 0.001)
    monkeypatch.setattr("perdure.engine.checkpoint.sleep", nap)
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda given: unraisable.append(given.exc_value))
    traced(monkeypatch)
    at_rest = _count()
    struck = 0
    for (code, offset), times in itertools.product(each_place(function), TIMES):
        with Interrupter(code, offset, times) as interrupter:
            outcome, main = end(lambda: played(scene))
        rest(at_rest)
        if interrupter.struck_in is None:
            assert isinstance(outcome, dict), outcome
            continue
        struck += 1
        is_told = isinstance(outcome, Interrupt)
        # Whoever only looks after what nobody waits for may end unheard, and so may a branch whose batch suspends.
        may_be_unheard = interrupter.struck_in != main and (function in WATCH or outcome == PENDING)
        assert is_told or may_be_unheard, (offset, times, outcome)
    assert all(isinstance(error, Interrupt) for error in unraisable)
    assert struck > len(list(each_place(function))) / 3, "not a place was come to"


def ends(client: Recorder) -> set[tuple[str, str, str | None]]:
    """Give what is recorded of the ends of operations."""
    updates = [update for update in client.updates if update["Action"] != "START"]
    return {(update["Id"], update["Action"], update.get("Payload")) for update in updates}


@pytest.mark.parametrize(("scene", "function"), BATCH_CASES, ids=lambda case: getattr(case, "__qualname__", case))
def test_an_interrupt_at_any_bytecode_of_a_batch_ends_all_of_it(
    scene: str, function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every thread ends and is given back, and nothing is recorded or returned that would not be without it."""
    monkeypatch.setattr("perdure.engine.checkpoint.stopwatch", stopwatch())
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda given: unraisable.append(given.exc_value))
    traced(monkeypatch)
    at_rest = _count()
    right, _ = end(lambda: played(scene))
    assert isinstance(right, dict), right
    assert right["Status"] in ("SUCCEEDED", "PENDING"), right
    recorded = ends(latest[0])
    struck = 0
    for (code, offset), times in itertools.product(each_place(function), TIMES):
        with Interrupter(code, offset, times) as interrupter:
            outcome, main = end(lambda: played(scene))
        rest(at_rest)
        assert ends(latest[0]) <= recorded, (offset, times, outcome)
        struck += interrupter.struck_in is not None
        # A thread may be struck when it has done all that it was to do.
        is_right = outcome == right and interrupter.struck_in != main
        assert is_right or isinstance(outcome, Interrupt), (offset, times, outcome)
    assert all(isinstance(error, Interrupt) for error in unraisable), unraisable
    if function not in SELDOM:
        assert struck > len(list(each_place(function))) / 4, "not a place was come to"


# ---- who would wait for itself


def test_a_client_that_uses_operations_gets_an_error_and_does_not_wait_for_itself() -> None:
    contexts: list[DurableContext] = []

    class Using(Recorder):
        def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
            if not self.calls:
                contexts[0].step(lambda _: 1)
            return super().checkpoint_durable_execution(**call)

    def handler(_event: Any, context: DurableContext) -> None:
        contexts.append(context)
        context.wait(1)

    def run() -> Any:
        return run_durable_handler(event(), LambdaContext(), handler, boto3_client=Using())

    outcome, _ = end(run)
    assert isinstance(outcome, ExecutionError)
    assert "of this very thread makes" in str(outcome)


def test_a_signal_handler_that_uses_operations_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[DurableContext] = []
    refused: list[BaseException] = []

    def on_signal(*_: Any) -> None:
        try:
            contexts[0].wait(1)
        except ExecutionError as error:
            refused.append(error)

    class Signalling(Recorder):
        def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
            if not self.calls:
                signal.raise_signal(signal.SIGUSR1)
            return super().checkpoint_durable_execution(**call)

    def handler(_event: Any, context: DurableContext) -> None:
        contexts.append(context)
        context.wait(1)

    before = signal.signal(signal.SIGUSR1, on_signal)
    try:
        got = run_durable_handler(event(), LambdaContext(), handler, boto3_client=Signalling())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert got == PENDING
    assert "of this very thread makes" in str(refused[0])


# ---- calls that do not return


class Stuck(Recorder):
    """A client whose first call returns when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
        if not self.calls:
            self.begun.set()
            self.calls.append(call)
            self.go_on.wait(LONG)
            return {"CheckpointToken": "late", "NewExecutionState": {"Operations": []}}
        return super().checkpoint_durable_execution(**call)


def test_a_watching_thread_past_the_deadline_is_given_up_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    client = Stuck()
    at_rest = _count()

    def handler(_event: Any, context: DurableContext) -> None:
        context.step(lambda _: client.begun.wait(LONG))

    outcome, _ = end(
        lambda: run_durable_handler(
            event(), LambdaContext(1.0, 0.1), handler, boto3_client=client, deadline_reserve=None
        )
    )
    assert isinstance(outcome, InvocationError)
    assert "before a call to the service" in str(outcome)
    assert "1 calls to the service had not returned" in caplog.text
    client.go_on.set()
    rest(at_rest)


def test_nobody_waits_for_anothers_call_past_the_end_of_the_invocation() -> None:
    client = Stuck()
    at_rest = _count()

    def leads(context: DurableContext) -> None:
        context.step(lambda _: 1)

    def follows(context: DurableContext) -> None:
        context.step(lambda _: client.begun.wait(LONG))

    def handler(_event: Any, context: DurableContext) -> None:
        context.parallel([follows, leads])

    outcome, _ = end(
        lambda: run_durable_handler(
            event(), LambdaContext(1.0, 0.1), handler, boto3_client=client, deadline_reserve=None
        )
    )
    assert isinstance(outcome, InvocationError)
    assert "before a call to the service" in str(outcome)
    client.go_on.set()
    rest(at_rest)


# ---- real signals


@pytest.mark.soak
def test_real_signals_at_any_moment_leave_nobody_waiting() -> None:
    """A signal strikes the main thread at a moment that nobody chose, a few thousand times."""
    main, at_rest = threading.get_ident(), _count()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupted = 0
    try:
        for n in range(3_000):
            timer = threading.Thread(target=lambda n=n: (time.sleep(n % 40 / 8_000), signal.pthread_kill(main, 2)))
            try:
                timer.start()
                played("crowd")
            except KeyboardInterrupt:
                interrupted += 1
            try:
                timer.join()
            except KeyboardInterrupt:  # it came after the end
                timer.join()
            rest(at_rest)
    finally:
        signal.signal(signal.SIGINT, before)
    assert interrupted > 300
