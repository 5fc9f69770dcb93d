"""map and parallel at work: threads that come and go, branches that wait, fail or are orphaned, and what is left."""

from __future__ import annotations

import contextvars
import signal
import threading
import time
from typing import Any

import pytest

from perdure import DurableContext, InvocationError, StepContext
from perdure.config import CompletionConfig, NestingType, StepSemantics
from perdure.engine import checkpoint
from support.executions import run
from support.invocations import PENDING, LambdaContext, Recorder, invoke, succeeded

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_thread_is_left")]

BOTH = pytest.mark.parametrize("nesting", [NestingType.NESTED, NestingType.FLAT], ids=["nested", "flat"])


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
