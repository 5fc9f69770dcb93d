"""Sagas, clean-ups and combinators of ``async def`` handlers: as those of plain ones, awaited."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure import AllFailedError, AsyncDurableContext, CompensationError, DurableContext, StepContext, durable_step
from perdure.exceptions import InvalidStateError, StepError
from perdure.retries import RetryPresets
from support.awaited import Trial, everywhere
from support.bookings import Bookings

NEVER = RetryPresets.none()


class Trip(Bookings):
    """Whose bookings can be cancelled, also by what is awaited."""

    async def cancel(self, _step: StepContext, booking: str) -> object:
        await asyncio.sleep(0)
        return self.cancel_now(_step, booking)

    def cancel_now(self, _step: StepContext, booking: str) -> object:
        self.log.append(f"cancel {booking}")
        if f"cancel {booking}" in self.failing:
            raise OSError(f"{booking} stays")
        return object()  # need be no value

    def options(self, undo: Any) -> dict[str, Any]:
        return {"undo": undo, "retry": NEVER, "undo_retry": NEVER}


async def awaited(trip: Trip, context: AsyncDurableContext) -> Any:
    seen = []
    try:
        async with context.finally_(trip.cancel, "room", name="release"), context.saga("trip") as saga:
            await saga.step(trip.book("hotel"), "hotel", **trip.options(trip.cancel))
            saga.add(trip.cancel_now, "deposit", name="deposit", retry=NEVER)
            await context.wait(5)
            await saga.step(trip.book("flight"), "flight", **trip.options(durable_step(trip.cancel)))
            await saga.step(trip.book("car"), "car", **trip.options(trip.cancel))
    except (StepError, CompensationError) as error:
        seen.append(f"{type(error).__name__}: {error} / {error.__cause__}")
    await context.wait(5)
    return [*seen, await context.step(lambda _: "home", "home")]


def plain(trip: Trip, context: DurableContext) -> Any:
    seen = []
    try:
        with context.finally_(trip.cancel_now, "room", name="release"), context.saga("trip") as saga:
            saga.step(trip.book("hotel"), "hotel", **trip.options(trip.cancel_now))
            saga.add(trip.cancel_now, "deposit", name="deposit", retry=NEVER)
            context.wait(5)
            saga.step(trip.book("flight"), "flight", **trip.options(durable_step(trip.cancel_now)))
            saga.step(trip.book("car"), "car", **trip.options(trip.cancel_now))
    except (StepError, CompensationError) as error:
        seen.append(f"{type(error).__name__}: {error} / {error.__cause__}")
    context.wait(5)
    return [*seen, context.step(lambda _: "home", "home")]


FAILING = {"none": (), "a step": ("car",), "a step and undos": ("car", "cancel flight-1", "cancel deposit")}


@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
def test_it_records_and_gives_what_the_plain_one_does_wherever_it_is_cut(failing: tuple[str, ...]) -> None:
    def make(trip: Trip | None = None) -> Any:
        trip = trip or Trip(*failing)

        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            return await awaited(trip, context)

        return (handler,)

    trip = Trip(*failing)
    whole = Trial(lambda _, context: plain(trip, context))
    asynchronous = everywhere(make)
    assert (asynchronous.value, asynchronous.shape) == (whole.value, whole.shape)
    again = Trip(*failing)
    Trial(*make(again))
    assert again.log == trip.log
    for turn in range(4):
        swapping = Trip(*failing)
        one, other = make(swapping)[0], lambda _, context, swapping=swapping: plain(swapping, context)
        for turns in ([one] * turn + [other], [other] * turn + [one]):
            swapped = Trial(*turns)
            assert (swapped.value, swapped.shape) == (whole.value, whole.shape)


def test_steps_side_by_side_are_undone_in_the_order_of_their_calls_once_all_have_ended() -> None:
    def make() -> Any:
        trip = Trip("car")

        async def slow(step: StepContext) -> str:
            await asyncio.sleep(0.01)
            return trip.book("slow")(step)

        async def handler(_event: Any, context: AsyncDurableContext) -> Any:
            try:
                async with context.saga() as saga:
                    first = saga.step(slow, "slow", **trip.options(trip.cancel))
                    others = [saga.step(trip.book(n), n, **trip.options(trip.cancel)) for n in ("hotel", "car")]
                    await asyncio.gather(*others, first)
            except StepError as error:
                return [str(error), await context.step(lambda _: "after", "after")]

        return (handler,)

    whole = everywhere(make)
    assert whole.value == ["no car", "after"]
    undone = [name for name, _ in whole.operations if name.startswith("undo")]
    assert undone == ["undo-hotel", "undo-slow"]


def test_compensated_by_hand_and_used_after_its_end() -> None:
    trip = Trip()

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        async with context.saga("trip") as saga:
            await saga.step(trip.book("hotel"), "hotel", undo=trip.cancel)
            await saga.compensate()
        with pytest.raises(InvalidStateError):
            saga.add(trip.cancel, "x")
        await context.wait(1)
        return "done"

    assert Trial(handler).value == "done"
    assert trip.log == ["book hotel", "cancel hotel-1"]


async def combined(context: AsyncDurableContext) -> Any:
    def member(value: Any, seconds: int) -> Any:
        async def run(inner: AsyncDurableContext) -> Any:
            await inner.wait(seconds)
            if isinstance(value, Exception):
                raise value
            return await inner.step(lambda _: value, "give")

        return run

    every = (member(1, 1), member("b", 3))
    some = [member(ValueError("bad"), 1), member("soon", 3), member("late", 300)]
    found = [await context.all(every, "all"), await context.any(some, "any"), await context.race(some[1:], "race")]
    settled = await context.all_settled(some[:2], "all_settled", max_concurrency=1)
    found.append([[each.status.value, each.result, each.error and each.error.message] for each in settled])
    try:
        await context.any([some[0], some[0]], "none")
    except AllFailedError as error:
        found.append(str(error))
    try:
        await context.all(some[1:], "late", timeout=10)
    except TimeoutError as error:
        found.append(str(error))
    return found


def combined_plain(context: DurableContext) -> Any:
    def member(value: Any, seconds: int) -> Any:
        def run(inner: DurableContext) -> Any:
            inner.wait(seconds)
            if isinstance(value, Exception):
                raise value
            return inner.step(lambda _: value, "give")

        return run

    every = (member(1, 1), member("b", 3))
    some = [member(ValueError("bad"), 1), member("soon", 3), member("late", 300)]
    found = [context.all(every, "all"), context.any(some, "any"), context.race(some[1:], "race")]
    settled = context.all_settled(some[:2], "all_settled", max_concurrency=1)
    found.append([[each.status.value, each.result, each.error and each.error.message] for each in settled])
    try:
        context.any([some[0], some[0]], "none")
    except AllFailedError as error:
        found.append(str(error))
    try:
        context.all(some[1:], "late", timeout=10)
    except TimeoutError as error:
        found.append(str(error))
    return found


def test_combinators_over_functions_are_those_of_plain_handlers() -> None:
    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await combined(context)

    whole = Trial(lambda _, context: combined_plain(context))
    assert whole.value[:4] == [[1, "b"], "soon", "soon", [["FAILED", None, "bad"], ["SUCCEEDED", "soon", None]]]
    asynchronous = everywhere(lambda: (handler,))
    assert (asynchronous.value, asynchronous.shape) == (whole.value, whole.shape)
    for turn in range(len(whole.handle.invocations)):
        for turns in ([handler] * turn, [lambda _, context: combined_plain(context)] * turn + [handler]):
            swapped = Trial(*turns, lambda _, context: combined_plain(context))
            assert (swapped.value, swapped.shape) == (whole.value, whole.shape)
