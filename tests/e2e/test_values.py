"""uuid, random and now: the same on every replay, of which nothing is recorded."""

from __future__ import annotations

import datetime as dt
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure._core import Execution
from perdure.config import CompletionConfig, NestingType
from perdure.engine.operations import values
from perdure.engine.received import in_milliseconds
from perdure.exceptions import CallbackTimeoutError, ExecutionError, StepError
from perdure.local import LocalService, VirtualClock
from perdure.retries import RetryPresets
from perdure.testing import explore
from support.both_sdks import OFFICIAL, PERDURE, Stage, play

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.types import StepContext


def run(handler: Callable[[Any, DurableContext], Any], *, times: int = 1, clock: Any = None) -> list[Any]:
    service = LocalService(clock=clock or VirtualClock())
    service.register("f", durable_execution(handler))
    return [service.run("f", event={}) for _ in range(times)]


def drawn(context: DurableContext) -> list[Any]:
    """Draw two of each kind."""
    return [str(context.uuid()), context.random().random(), str(context.uuid()), context.random().getrandbits(64)]


class Witness:
    """Notes what is seen at each place, and what differs from what was seen there before."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}
        self.times: dict[str, int] = {}

    def note(self, place: str, value: Any) -> Any:
        """Note what is seen."""
        assert self.seen.setdefault(place, value) == value, place
        self.times[place] = self.times.get(place, 0) + 1
        return value

    def look(self, place: str, context: DurableContext) -> None:
        """Note all values of a place."""
        self.note(f"{place}: now", context.now())
        self.note(f"{place}: drawn", drawn(context))


def tour(witness: Witness, nesting: NestingType) -> Callable[[Any, DurableContext], Any]:
    """Make a handler that looks before and after operations of every kind, in contexts of every kind."""

    def inside(place: str) -> Callable[..., Any]:
        def body(inner: DurableContext, *given: Any) -> list[Any]:
            here = f"{place} {given[1] if given else ''}"
            witness.look(f"{here} at first", inner)
            inner.wait(7)
            witness.look(f"{here} after", inner)
            return [inner.now().isoformat(), *drawn(inner)]

        return body

    def flaky(step: StepContext) -> int:
        if step.attempt < 3:
            raise OSError("again")
        return step.attempt

    def handler(_event: Any, context: DurableContext) -> Any:
        witness.look("at first", context)
        context.step(lambda _: 1)
        witness.look("after a step", context)
        context.step(flaky, retry=RetryPresets.critical())
        witness.look("after retries", context)
        with pytest.raises(StepError, match="division"):
            context.step(lambda _: 1 / 0, retry=RetryPresets.none())
        witness.look("after a failure", context)
        found = [context.run_in_child_context(inside("child"))]
        found.append(context.run_in_child_context(inside("virtual"), is_virtual=True))
        witness.look("after children", context)
        found.append(context.map([1, 2], inside("map"), nesting_type=nesting).get_results())
        found.append(context.map([1, 2], inside("one by one"), nesting_type=nesting, max_concurrency=1).get_results())
        first = CompletionConfig.first_successful()
        context.parallel([inside("soon"), lambda inner: inner.wait(99)], nesting_type=nesting, completion_config=first)
        witness.look("after batches", context)
        callback = context.create_callback(timeout=30)
        context.wait(2)
        witness.look("before the answer", context)
        with pytest.raises(CallbackTimeoutError):
            callback.result()
        witness.look("after the answer", context)
        context.wait(1)
        found.append(drawn(context))
        return found

    return handler


@pytest.mark.parametrize("nesting", list(NestingType))
def test_what_is_drawn_is_the_same_on_every_replay_and_differs_from_place_to_place(nesting: NestingType) -> None:
    witness = Witness()
    (handle,) = run(tour(witness, nesting))
    assert handle.status == "SUCCEEDED", handle.error
    assert max(witness.times.values()) > 9, "it was replayed again and again"
    found = [each for place, drawn_there in witness.seen.items() if place.endswith("drawn") for each in drawn_there]
    assert len(set(found)) == len(found)


def test_executions_draw_different_values() -> None:
    first, second = (handle.value for handle in run(lambda _, context: drawn(context), times=2))
    assert not set(first) & set(second)


def test_the_same_place_of_the_same_execution_always_draws_the_same() -> None:
    """What was drawn once is drawn for ever: executions live for a year, and outlive versions of this package."""
    scope = Execution("t").root()
    for n in (1, 2):
        assert scope.draw("arn:x") == blake2b(f"arn:x\0\0{0}\0{n}".encode(), digest_size=32).digest()


def test_now_is_when_the_last_operation_ended() -> None:
    clock = VirtualClock()
    begin = dt.datetime.fromtimestamp(clock.time(), dt.UTC)
    seen: list[float] = []

    def handler(_event: Any, context: DurableContext) -> None:
        def look(inner: DurableContext) -> None:
            seen.append((inner.now() - begin).total_seconds())

        look(context)
        context.wait(10)
        context.run_in_child_context(lambda inner: [look(inner), inner.wait(20), look(inner)])
        look(context)
        callback = context.create_callback(timeout=60)
        look(context)
        context.wait(5)
        look(context)
        with pytest.raises(CallbackTimeoutError):
            callback.result()
        look(context)

    run(handler, clock=clock)
    assert list(dict.fromkeys(sorted(seen))) == [0, 10, 30, 35, 90]
    assert seen[-4:] == [30, 30, 35, 90]


@pytest.mark.parametrize("fraction", [0.123, 0.1234, 0.1226])
def test_now_has_the_resolution_of_an_event_whatever_told_it(fraction: float) -> None:
    """Events have whole milliseconds, answers seconds with a fraction: as a datetime from boto3."""
    seconds = 1_700_000_000 + fraction
    told = [
        {"EndTimestamp": round(seconds * 1000)},
        {"EndTimestamp": dt.datetime.fromtimestamp(seconds, dt.UTC)},
        *in_milliseconds([{"EndTimestamp": seconds}]),
    ]
    assert {values._moment(each, "EndTimestamp") for each in told} == {
        dt.datetime.fromtimestamp(1_700_000_000, dt.UTC) + dt.timedelta(milliseconds=123)
    }


def test_what_was_never_told_is_an_error_in_words() -> None:
    service = LocalService(clock=VirtualClock())

    def handler(_event: Any, context: DurableContext) -> None:
        checkpoints = context.invocation.checkpoints
        told = checkpoints.told[:]
        context.step(lambda _: 1)
        checkpoints.told[:] = told  # as if the service had kept it to itself
        with pytest.raises(ExecutionError, match="has not told the EndTimestamp of operation"):
            context.now()

    service.register("f", durable_execution(handler))
    assert service.run("f", event={}).status == "SUCCEEDED"


@pytest.mark.parametrize("draw", [DurableContext.uuid, DurableContext.random, DurableContext.now])
def test_the_function_of_a_step_draws_nothing(draw: Callable[[DurableContext], Any]) -> None:
    """Which is not run again: whatever is drawn behind it would be another on replay."""
    (handle,) = run(lambda _, context: context.step(lambda _: draw(context) and None, "draw"))
    assert handle.status == "FAILED"
    assert "replay-safe value" in handle.error["ErrorMessage"]
    assert 'while step "draw" is at work' in handle.error["ErrorMessage"]


def test_a_context_that_was_handed_on_draws_nothing_for_others() -> None:
    (handle,) = run(lambda _, context: context.run_in_child_context(lambda _: str(context.uuid())))
    assert handle.status == "FAILED"
    assert "Use the context that the function of" in handle.error["ErrorMessage"]


def test_what_was_told_to_suspend_draws_nothing_more() -> None:
    drawn_after: list[Any] = []

    def handler(_event: Any, context: DurableContext) -> None:
        try:
            context.wait(5)
        except BaseException:
            drawn_after.append(context.uuid())
            raise

    (handle,) = run(handler)
    assert handle.status == "SUCCEEDED"
    assert drawn_after == []


def test_the_explorer_finds_no_difference_in_a_handler_that_tells_the_time() -> None:
    def told(inner: DurableContext, *_: Any) -> str:
        inner.wait(1)
        return inner.now().isoformat()

    def handler(_event: Any, context: DurableContext) -> Any:
        context.step(lambda _: 1)
        found = [context.now().isoformat()]
        callback = context.create_callback(timeout=4)
        context.wait(3)
        found += context.map([1, 2], told).get_results()
        with pytest.raises(CallbackTimeoutError):
            callback.result()
        return [*found, context.now().isoformat()]

    explore(durable_execution(handler), orders=2, max_schedules=60).assert_ok()


def test_the_explorer_finds_no_difference() -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        found = [drawn(context), context.step(lambda _: 1), drawn(context)]
        context.wait(3)
        found += context.map([1, 2], lambda inner, *_: [inner.wait(1), *drawn(inner)]).get_results()
        return [*found, drawn(context)]

    explore(durable_execution(handler), orders=2, max_schedules=60).assert_ok()


@pytest.mark.parametrize("turn", range(1, 4))
def test_values_go_on_from_a_history_that_the_official_sdk_began(turn: int) -> None:
    """They cannot be written there: its code comes to the same operations and draws nothing."""

    def handler(stage: Stage) -> Any:
        stage.ctx.step(lambda _: 1)
        found = [str(stage.ctx.uuid()), stage.ctx.now().isoformat()] if stage.sdk is PERDURE else []
        for _ in range(3):
            stage.ctx.wait(stage.seconds(2))
        return found

    alone, _ = play(handler, PERDURE)
    swapped, _ = play(handler, [OFFICIAL] * turn + [PERDURE])
    assert swapped.status == alone.status == "SUCCEEDED"
    assert len(swapped.value) == len(alone.value)
