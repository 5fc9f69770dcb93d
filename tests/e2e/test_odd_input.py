"""What nobody should do, and somebody will: each gets an error that says what to do, and loses nothing."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import time
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from perdure import (
    DurableContext,
    ExecutionError,
    ItemBatcher,
    SerDesError,
    ValidationError,
    durable_execution,
    run_durable_handler,
)
from perdure.config import CompletionConfig, ParallelConfig
from perdure.engine import threads as _threads
from perdure.local import LocalService, RealClock
from perdure.retries import RetryPresets
from support.invocations import LambdaContext, Recorder, event, invoke, op

if TYPE_CHECKING:
    from collections.abc import Callable


class Evil(dict[str, Any]):
    """A value that cannot be looked at."""

    def items(self) -> Any:
        raise KeyError("evil")


class NoZone(dt.tzinfo):
    """A time zone that does not know."""

    def utcoffset(self, _moment: dt.datetime | None) -> dt.timedelta:
        raise ValueError("no zone")


ASKED_WRONGLY: dict[str, tuple[Callable[[DurableContext], Any], str]] = {
    "endless wait": (lambda c: c.wait(2**70), "366 days"),
    "endless callback": (lambda c: c.create_callback(timeout=2**70), "99999999"),
    "name that is no text": (lambda c: c.step(lambda _: 1, "\ud800"), "printable ASCII"),
    "name of a step that is a number": (lambda c: c.step(lambda _: 1, 5), "name 5 is no text"),  # type: ignore[arg-type]
    "name of a wait that is a number": (lambda c: c.wait(1, 5), "name 5 is no text"),  # type: ignore[arg-type]
    "name of a map that is a number": (lambda c: c.map([1], lambda *_: 1, 5), "name 5 is no text"),  # type: ignore[arg-type]
    "name of a callback that is a number": (lambda c: c.wait_for_callback(lambda *_: None, 5), "name 5 is no text"),  # type: ignore[arg-type]
    "long name of a callback": (lambda c: c.wait_for_callback(lambda *_: None, "n" * 250), "at most 237"),
    "concurrency in words": (lambda c: c.map([1], lambda *_: 1, max_concurrency="2"), "whole number"),  # type: ignore[arg-type]
    "map over a set": (lambda c: c.map({1}, lambda *_: 1), "pass a list"),  # type: ignore[arg-type]
    "map over a number": (lambda c: c.map(5, lambda *_: 1), "pass a list"),  # type: ignore[arg-type]
    "map without an end": (lambda c: c.map(itertools.count(), lambda *_: 1), "count without an end"),  # type: ignore[arg-type]
    "map by its completion": (lambda c: c.map([1], lambda *_: 1, config=CompletionConfig()), "completion_config="),  # type: ignore[arg-type]
    "map by a dict": (lambda c: c.map([1], lambda *_: 1, config={"max_concurrency": 1}), "is a MapConfig"),  # type: ignore[arg-type]
    "parallel by a class": (lambda c: c.parallel([repr], config=ParallelConfig), "is a MapConfig"),  # type: ignore[arg-type]
    "batches of a set": (lambda c: c.map({1}, lambda *_: 1, batcher=ItemBatcher(1)), "pass a list"),  # type: ignore[call-overload]
    "parallel of a set": (lambda c: c.parallel({repr}), "order"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", ASKED_WRONGLY)
def test_what_cannot_be_is_refused_before_anything_is_sent(case: str) -> None:
    ask, message = ASKED_WRONGLY[case]

    def handler(context: DurableContext) -> None:
        with pytest.raises(ValidationError, match=message):
            ask(context)

    _, client = invoke(handler)
    assert client.calls == []


@pytest.mark.parametrize("batcher", [None, ItemBatcher(2)])
def test_a_map_over_an_iterator_has_the_items_that_it_gives(batcher: ItemBatcher | None) -> None:
    def handler(context: DurableContext) -> Any:
        seen: list[Any] = []

        def add(_inner: Any, item: Any, index: int, items: Any) -> Any:
            seen.append((index, [*items]))
            return item

        batch: Any = context.map((number for number in (1, 2, 3)), add, batcher=batcher)  # type: ignore[call-overload]
        assert {tuple(items) for _, items in seen} == {(1, 2, 3)}
        return [batch.get_results(), context.map(enumerate("ab"), lambda _, pair, *__: pair).get_results()]  # type: ignore[arg-type]

    response, _ = invoke(handler)
    assert response == {"Status": "SUCCEEDED", "Result": '[[1, 2, 3], [[0, "a"], [1, "b"]]]'}


def test_a_branch_that_runs_again_has_what_an_iterator_gave_at_first() -> None:
    is_done = threading.Event()

    def item(inner: DurableContext, pair: Any, *_: Any) -> Any:
        inner.wait(1)
        return pair

    def handler(_event: Any, context: DurableContext) -> Any:
        pairs = enumerate("ab")

        def maps(branch: DurableContext) -> Any:
            found = [branch.map(pairs, item).get_results(), branch.map(pairs, item).get_results()]
            is_done.set()
            return found

        def beside(branch: DurableContext) -> Any:
            return branch.step(lambda _: is_done.wait(60))

        return context.parallel([maps, beside]).get_results()

    service = LocalService(clock=RealClock())  # a wait of a branch ends while another one is at work
    service.register("maps", durable_execution(handler))
    handle = service.run("maps")
    assert handle.value == [[[[0, "a"], [1, "b"]], []], True]
    assert len(handle.invocations) == 1


@pytest.mark.parametrize("two", [2.0, Decimal(2), Fraction(2)])
def test_counts_of_a_batch_may_be_whole_numbers_of_any_kind(two: Any) -> None:
    """A database may give them so."""

    def handler(context: DurableContext) -> Any:
        enough, failures = CompletionConfig(min_successful=two), CompletionConfig(tolerated_failure_count=two)
        found = [
            context.map([1, 2, 3], lambda _, item, *__: item, max_concurrency=two, completion_config=enough),
            context.map([0, 0, 0, 0], lambda _, item, *__: 1 / item, max_concurrency=two, completion_config=failures),
        ]
        return [[len(batch.all), batch.completion_reason.value] for batch in found]

    response, _ = invoke(handler)
    found = '[[3, "MIN_SUCCESSFUL_REACHED"], [4, "FAILURE_TOLERANCE_EXCEEDED"]]'
    assert response == {"Status": "SUCCEEDED", "Result": found}


@pytest.mark.parametrize("value", [Evil(a=1), dt.datetime(2026, 1, 1, tzinfo=NoZone())], ids=["dict", "datetime"])
def test_a_step_whose_result_cannot_be_looked_at_fails_and_is_recorded_so(value: Any) -> None:
    def handler(context: DurableContext) -> None:
        with pytest.raises(SerDesError):
            context.step(lambda _: value)

    _, client = invoke(handler)
    assert [update["Action"] for update in client.updates] == ["START", "FAIL"]


@pytest.mark.parametrize(
    "broken",
    [
        {"CheckpointToken": None},
        {"InitialExecutionState": {"Operations": (), "NextMarker": ""}},
        {"InitialExecutionState": {"Operations": [{"Id": "x", "Type": "NEW", "Status": "STARTED"}]}},
        {"InitialExecutionState": {"Operations": [{"Id": "x", "Type": "STEP", "Status": "NEW"}]}},
    ],
    ids=["no token", "a tuple", "unknown type", "unknown status"],
)
def test_an_event_that_cannot_be_read_says_so(broken: dict[str, Any]) -> None:
    with pytest.raises(ExecutionError):
        run_durable_handler({**event(), **broken}, LambdaContext(), lambda *_: 1, boto3_client=Recorder())


@pytest.mark.parametrize("where", ["map", "parallel", "handler"])
def test_a_context_used_after_its_end_ends_the_execution_with_advice(where: str) -> None:
    def handler(context: DurableContext) -> None:
        kept: list[DurableContext] = []
        context.run_in_child_context(kept.append)

        def misuse(*_: Any) -> None:
            kept[0].step(lambda _: 1)

        if where == "map":
            context.map([1], misuse)
        elif where == "parallel":
            context.parallel([misuse])
        else:
            misuse()

    got, _ = invoke(handler)
    assert got["Status"] == "FAILED"
    assert "use each context only inside" in got["Error"]["ErrorMessage"]


def test_out_of_time_does_not_wait_for_a_sibling_in_user_code() -> None:
    free = threading.Event()

    def busy(_context: DurableContext) -> None:
        free.wait(60)

    def late(context: DurableContext) -> None:
        context.step(lambda _: time.sleep(0.05))
        context.step(lambda _: 1)

    began = time.monotonic()
    try:
        with pytest.raises(Exception, match="out of time"):
            invoke(lambda c: c.parallel([late, busy]), context=LambdaContext(0.05))
        assert time.monotonic() - began < 30
    finally:
        free.set()


def test_short_steps_share_one_watching_thread_however_slow_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    start = _threads.start
    monkeypatch.setattr(_threads, "start", lambda *given: started.append(given) or start(*given))

    class Slow(Recorder):
        def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
            time.sleep(0.025)
            return super().checkpoint_durable_execution(**call)

    invoke(lambda c: [c.step(lambda _: 1) for _ in range(6)], client=Slow())
    assert len(started) == 1


def test_a_late_invocation_does_not_wait_for_what_a_finished_context_left_behind() -> None:
    history = [
        op("CONTEXT", "SUCCEEDED", 1, SubType="Parallel", details={"Result": "[]"}),
        op("WAIT", "STARTED", 1, 7, details={"ScheduledEndTimestamp": 4_000_000_000_000}),
    ]

    def handler(context: DurableContext) -> None:
        context.scope.batch(None, "Parallel", False)
        for _ in range(3):
            context.step(lambda _: 1, retry=RetryPresets.none())

    with pytest.raises(Exception, match="out of time"):
        invoke(handler, *history, context=LambdaContext(0.000001))
