"""Many branches, and how many threads they take."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perdure._core import hands_at_work
from perdure.config import CompletionConfig, NestingType
from perdure.engine import batch as executor
from perdure.local import Limits
from perdure.retries import RetryPresets
from support.executions import run
from support.invocations import invoke, op, succeeded

if TYPE_CHECKING:
    from perdure import DurableContext, StepContext

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_thread_is_left")]

BOTH = pytest.mark.parametrize("nesting", [NestingType.NESTED, NestingType.FLAT], ids=["nested", "flat"])
ALL = CompletionConfig.all_completed()


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
