"""Sagas and clean-ups: what runs when, what is recorded of it, and who can go on with it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import CompensationError, DurableContext, Saga, StepContext, StepError, durable_execution, durable_step
from perdure.config import CompletionConfig
from perdure.exceptions import ExecutionError, InvalidStateError, InvocationError, SerDesError, ValidationError
from perdure.local import LocalService, VirtualClock
from perdure.retries import RetryPresets
from perdure.testing import explore
from support.bookings import Bookings
from support.both_sdks import OFFICIAL, PERDURE, Stage, play, replay_writes_nothing

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = RetryPresets.none()


class BrokenOffError(BaseException):
    """The sandbox is gone."""


class Trip(Bookings):
    """Whose bookings can be cancelled."""

    def cancel(self, _step: StepContext, booking: str) -> None:
        self.log.append(f"cancel {booking}")
        if f"cancel {booking}" in self.failing:
            raise OSError(f"{booking} stays")

    def add(self, saga: Saga, what: str) -> str:
        return saga.step(self.book(what), what, undo=self.cancel, retry=NEVER, undo_retry=NEVER)


def run(handler: Callable[[Any, DurableContext], Any], event: Any = None) -> Any:
    service = LocalService(clock=VirtualClock())
    service.register("f", durable_execution(handler))
    return service.run("f", event=event)


def names(handle: Any, status: str | None = None) -> list[str]:
    return [each.get("Name", "") for each in handle.operations if status in (None, each["Status"])]


def operations(handle: Any) -> list[tuple[str, str]]:
    return [(each.get("Name", ""), each["Status"]) for each in handle.operations if each["Type"] != "EXECUTION"]


def test_a_block_that_succeeds_undoes_nothing() -> None:
    trip = Trip()

    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga("trip") as saga:
            return [trip.add(saga, "hotel"), trip.add(saga, "car")]

    handle = run(handler)
    assert handle.value == ["hotel-1", "car-1"]
    assert trip.log == ["book hotel", "book car"]
    assert operations(handle) == [("hotel", "SUCCEEDED"), ("car", "SUCCEEDED")]


def test_an_exception_undoes_last_in_first_out_in_one_context_and_goes_on() -> None:
    trip = Trip("car")
    caught: list[Exception] = []

    def handler(_event: Any, context: DurableContext) -> Any:
        try:
            with context.saga("trip") as saga:
                for what in ("hotel", "flight", "car"):
                    trip.add(saga, what)
        except StepError as error:
            caught.append(error)
        context.wait(5)
        return "home"

    handle = run(handler)
    assert handle.value == "home"
    assert trip.log == ["book hotel", "book flight", "book car", "cancel flight-1", "cancel hotel-1"]
    assert operations(handle) == [
        ("hotel", "SUCCEEDED"),
        ("flight", "SUCCEEDED"),
        ("car", "FAILED"),
        ("trip-compensation", "SUCCEEDED"),
        ("undo-flight", "SUCCEEDED"),
        ("undo-hotel", "SUCCEEDED"),
        ("", "SUCCEEDED"),
    ]
    shape = {each.get("Name"): (each["Type"], each.get("SubType"), each.get("ParentId")) for each in handle.operations}
    around = next(each["Id"] for each in handle.operations if each.get("Name") == "trip-compensation")
    assert shape["undo-hotel"] == ("STEP", "Step", around)
    assert shape["trip-compensation"][:2] == ("CONTEXT", "RunInChildContext")
    assert [str(error) for error in caught] == ["no car", "no car"]  # replayed after the wait
    assert type(caught[0]) is StepError


def test_a_failure_without_a_name_or_anything_to_undo_records_nothing_more() -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga():
            context.step(lambda _: 1, "a")
            raise ValueError("nothing done")

    handle = run(handler)
    assert (handle.status, handle.error["ErrorType"]) == ("FAILED", "ValueError")
    assert operations(handle) == [("a", "SUCCEEDED")]


def test_a_suspension_undoes_nothing_and_the_block_goes_on() -> None:
    trip = Trip()

    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga("trip") as saga:
            hotel = trip.add(saga, "hotel")
            context.wait(60)
            return hotel

    handle = run(handler)
    assert handle.value == "hotel-1"
    assert trip.log == ["book hotel"]
    assert len(handle.invocations) == 2


def test_undos_are_retried_each_by_itself_over_invocations() -> None:
    trip = Trip("car")
    attempts: list[int] = []

    def stubborn(step: StepContext, booking: str) -> None:
        attempts.append(step.attempt)
        if step.attempt < 3:
            raise OSError(booking)

    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga("trip") as saga:
            trip.add(saga, "hotel")
            saga.step(trip.book("flight"), "flight", undo=stubborn, undo_retry=RetryPresets.fixed(7))
            trip.add(saga, "car")

    handle = run(handler)
    assert (handle.status, handle.error["ErrorMessage"]) == ("FAILED", "no car")
    assert attempts == [1, 2, 3]
    assert trip.log == ["book hotel", "book flight", "book car", "cancel hotel-1"]
    assert len(handle.invocations) == 3


def test_undos_that_fail_do_not_stop_the_others_and_are_told_the_same_on_replay() -> None:
    trip = Trip("car", "cancel flight-1", "cancel train-1")
    seen: list[Any] = []
    groups: list[ExceptionGroup[Exception]] = []

    def handler(_event: Any, context: DurableContext) -> Any:
        try:
            with context.saga("trip") as saga:
                for what in ("hotel", "flight", "train", "car"):
                    trip.add(saga, what)
        except CompensationError as error:
            inner = [(type(each), each.error_type, str(each), each.__notes__) for each in error.failures]  # type: ignore[attr-defined]
            causes = [(type(each.__cause__), str(each.__cause__)) for each in error.failures]
            seen.append((str(error), inner, causes, str(error.__cause__), type(error.__cause__), error.__class__))
            groups.append(error.group)
        context.wait(5)
        return seen[-1][0]

    handle = run(handler)
    assert handle.value == (
        "2 of 3 undos failed (undo-train: OSError: train-1 stays; undo-flight: OSError: flight-1 stays), after "
        "aws_durable_execution_sdk_python.exceptions.StepError: no car"
    )
    assert seen[0] == seen[1]
    assert [len(group.exceptions) for group in groups] == [2, 2]
    assert [what for what, *_ in [each[0:1] for each in seen[0][1]]] == [StepError, StepError]
    assert seen[0][1][0][1:] == ("OSError", "train-1 stays", ["(undo undo-train)"])
    assert seen[0][3:5] == ("no car", StepError)
    assert trip.log[-3:] == ["cancel train-1", "cancel flight-1", "cancel hotel-1"]


def test_add_takes_what_a_step_takes_and_its_arguments() -> None:
    log: list[Any] = []

    @durable_step
    def release(step: StepContext, key: str, *, count: int = 1) -> object:
        log.append((step.attempt, key, count))
        return object()  # no value that could be recorded: nobody reads it

    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga("held") as saga:
            saga.add(release, "k1")
            saga.add(functools.partial(lambda _step, key: log.append(key), key="k2"), name="second")
            saga.add(lambda _: log.append("k3"))
            raise ValueError("no")

    handle = run(handler)
    assert log == ["k3", "k2", (1, "k1", 1)]
    assert operations(handle) == [
        ("held-compensation", "SUCCEEDED"),
        ("", "SUCCEEDED"),
        ("second", "SUCCEEDED"),
        ("release", "SUCCEEDED"),
    ]


def test_a_saga_compensates_by_hand_and_forgets() -> None:
    trip = Trip("cancel car-1")

    def handler(_event: Any, context: DurableContext) -> Any:
        saga = context.saga()
        trip.add(saga, "hotel")
        saga.compensate()
        saga.compensate()
        trip.add(saga, "car")
        try:
            saga.compensate()
        except CompensationError as error:
            return [str(error), error.__cause__ is None]

    handle = run(handler)
    assert handle.value == ["1 of 1 undos failed (undo-car: OSError: car-1 stays)", True]
    assert [each for each in names(handle) if "comp" in each] == ["compensation", "compensation"]


def test_an_inner_saga_is_undone_before_the_outer_one() -> None:
    trip = Trip("car")

    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga("outer") as outer:
            trip.add(outer, "hotel")
            with context.saga("inner") as inner:
                trip.add(inner, "flight")
                trip.add(inner, "car")

    handle = run(handler)
    assert trip.log[-2:] == ["cancel flight-1", "cancel hotel-1"]
    assert handle.error["ErrorMessage"] == "no car"


def test_what_could_not_be_undone_is_refused_before_anything_is_done() -> None:
    ran: list[str] = []

    async def asynchronous(_step: StepContext, _booking: str) -> None: ...

    @durable_step
    def cancel(_step: StepContext, _booking: str) -> None: ...

    wrong: list[tuple[Any, str]] = [
        (None, "an undo takes a function"),
        (asynchronous, "async function"),
        (lambda _step: None, "too many positional arguments"),
        (lambda _step, _booking, _more: None, "missing a required argument"),
        (cancel("hotel"), "too many positional arguments"),
    ]

    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga() as saga:
            for undo, words in wrong:
                with pytest.raises(ValidationError, match=words):
                    saga.step(lambda _: ran.append("ran"), "book", undo=undo)
            with pytest.raises(ValidationError):
                saga.step(lambda _: ran.append("ran"), "book", undo=lambda _step, _booking: None, undo_name="ü")
            with pytest.raises(ValidationError):
                saga.add(cancel)
        for use in (lambda: saga.add(cancel, "x"), saga.compensate, saga.__enter__):
            with pytest.raises(InvalidStateError, match="has ended"):
                use()
        with pytest.raises(ValidationError):
            context.saga("x" * 250)
        return context.step(lambda _: "done", "x" * 256)

    handle = run(handler)
    assert handle.value == "done"
    assert not ran


def test_the_name_of_an_undo_fits_whatever_the_name_of_its_step() -> None:
    trip = Trip()

    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga() as saga:
            trip.add(saga, "x" * 256)
            raise ValueError("no")

    assert names(run(handler))[-1] == "undo-" + "x" * 251


@pytest.mark.parametrize("error", [InvocationError("again"), BrokenOffError()])
def test_what_ends_the_invocation_undoes_nothing(error: BaseException) -> None:
    trip = Trip()

    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga() as saga:
            trip.add(saga, "hotel")
            if len(trip.log) == 1:
                trip.log.append("interrupted")
                raise error
            return "done"

    handle = run(handler)
    assert "cancel hotel-1" not in trip.log
    assert "undo-hotel" not in names(handle)


def test_an_execution_error_of_the_programs_undoes() -> None:
    trip = Trip()

    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga() as saga:
            trip.add(saga, "hotel")
            raise ExecutionError("stop here")

    handle = run(handler)
    assert (handle.status, handle.error["ErrorMessage"]) == ("FAILED", "stop here")
    assert trip.log[-1] == "cancel hotel-1"


def test_a_history_of_another_program_undoes_nothing() -> None:
    trip = Trip()
    turns = iter(("a", "b"))

    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga() as saga:
            trip.add(saga, "hotel")
            context.step(lambda _: None, next(turns))
            context.wait(1)

    handle = run(handler)
    assert "NonDeterministic" in handle.error["ErrorType"]
    assert trip.log == ["book hotel"]


def test_an_undo_whose_error_cannot_be_read_back_is_a_serdes_error_among_the_failures() -> None:
    def bad(_step: StepContext) -> None:
        raise SerDesError("unreadable")

    def handler(_event: Any, context: DurableContext) -> Any:
        saga = context.saga()
        saga.add(bad, retry=NEVER)
        try:
            saga.compensate()
        except CompensationError as error:
            return [type(each).__name__ for each in error.failures]

    assert run(handler).value == ["SerDesError"]


def test_a_clean_up_runs_after_the_block_however_it_ends_and_not_at_a_suspension() -> None:
    log: list[str] = []

    def release(_step: StepContext, key: str) -> None:
        log.append(f"release {key}")

    def handler(event: Any, context: DurableContext) -> Any:
        with context.finally_(release, "lock"):
            context.step(lambda _: log.append("work"), "work")
            context.wait(9)
            if event:
                raise ValueError(event)
        context.wait(1)
        return "done"

    handle = run(handler)
    assert handle.value == "done"
    assert log == ["work", "release lock"]
    assert names(handle)[-2:] == ["release", ""]
    log.clear()
    handle = run(handler, "bad")
    assert handle.error["ErrorMessage"] == "bad"
    assert log == ["work", "release lock"]


def test_a_clean_up_that_fails_is_told_in_the_place_of_the_block() -> None:
    def broken(_step: StepContext) -> None:
        raise OSError("stuck")

    def handler(_event: Any, context: DurableContext) -> Any:
        try:
            with context.finally_(broken, name="release", retry=NEVER):
                raise ValueError("block")
        except StepError as error:
            return [error.error_type, str(error.__context__)]

    assert run(handler).value == ["OSError", "block"]


@pytest.mark.parametrize(
    "inside",
    [
        lambda c, use: c.run_in_child_context(lambda _: use()),
        lambda c, use: c.run_in_child_context(lambda _: use(), is_virtual=True),
        lambda c, use: c.step(lambda _: use()),
        lambda c, use: c.parallel([lambda _: use()], completion_config=CompletionConfig.all_completed()),
    ],
)
def test_a_saga_is_refused_where_what_it_is_told_would_be_forgotten(inside: Any) -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga() as saga:
            saga.add(lambda _: None)
            inside(context, lambda: saga.add(lambda _: None))

    handle = run(handler)
    assert handle.status == "FAILED"
    assert handle.error["ErrorType"].endswith("WrongContextError")
    assert "a saga was used in another function" in handle.error["ErrorMessage"]


def test_a_saga_is_used_on_in_its_function_after_whatever_ran_inside() -> None:
    trip = Trip()

    def handler(_event: Any, context: DurableContext) -> Any:
        def child(inner: DurableContext) -> None:
            with inner.saga("inner") as saga:
                trip.add(saga, "flight")
                inner.map([1, 2], lambda k, *_: k.wait(1))
                trip.add(saga, "train")

        with context.saga("outer") as saga:
            trip.add(saga, "hotel")
            context.run_in_child_context(child)
            context.wait(1)
            trip.add(saga, "car")
        return "home"

    assert run(handler).value == "home"


# ---- whatever happens inside

MEMBERS = st.lists(st.sampled_from(["ok", "wait", "fail", "stuck", "retried"]), max_size=5)


@settings(max_examples=40, deadline=None)
@given(members=MEMBERS, ends=st.sampled_from(["return", "raise"]))
def test_what_is_undone_is_what_was_done_backwards(members: list[str], ends: str) -> None:
    trip = Trip(*(f"m{n}" for n, kind in enumerate(members) if kind == "fail"),
                *(f"cancel m{n}-1" for n, kind in enumerate(members) if kind == "stuck"))  # fmt: skip

    def undo(kind: str) -> Callable[[StepContext, str], None]:
        def retried(step: StepContext, booking: str) -> None:
            if kind == "retried" and step.attempt == 1:
                raise OSError("once more")
            trip.cancel(step, booking)

        return retried

    def handler(_event: Any, context: DurableContext) -> Any:
        with context.saga("s") as saga:
            for n, kind in enumerate(members):
                retry = RetryPresets.fixed(3) if kind == "retried" else NEVER
                saga.step(trip.book(f"m{n}"), f"m{n}", undo=undo(kind), retry=NEVER, undo_retry=retry)
                if kind == "wait":
                    context.wait(2)
            if ends == "raise":
                raise ValueError("at the end")
        return "done"

    handle = run(handler)
    failed = members.index("fail") if "fail" in members else None
    done = members[:failed]
    undone = [f"cancel m{n}-1" for n in reversed(range(len(done)))] if failed is not None or ends == "raise" else []
    assert [each for each in trip.log if each.startswith("cancel")] == undone
    if undone and "stuck" in done:
        assert handle.error["ErrorType"].endswith("CompensationError")
    elif failed is not None:
        assert handle.error["ErrorMessage"] == f"no m{failed}"
    else:
        assert (handle.status == "FAILED") == (ends == "raise")


def test_the_explorer_finds_no_difference() -> None:
    def handler(event: Any, context: DurableContext) -> Any:
        with context.finally_(lambda _: None, name="end"), context.saga("trip") as saga:
            saga.step(lambda _: "hotel", "hotel", undo=lambda _step, _what: None)
            context.wait(3)
            saga.step(lambda _: "car", "car", undo=lambda _step, _what: 1 / 0, undo_retry=RetryPresets.none())
            if event:
                raise ValueError(event)

    for event in (None, "bad"):
        report = explore(durable_execution(handler), event, orders=2)
        assert report.ok, str(report)


# ---- hot swap: the same program, written out for the official SDK


def booking(stage: Stage) -> Any:
    """A saga under perdure, and what it records written out by hand under the official SDK."""
    kinds = [("hotel", "ok"), ("flight", "stuck"), ("train", "retried"), ("car", "fail")]

    def book(what: str, kind: str) -> Callable[[Any], str]:
        def run(_step: Any) -> str:
            if kind == "fail":
                raise LookupError(f"user: no {what}")
            return f"{what}-1"

        return run

    def cancel(kind: str) -> Callable[[Any, str], None]:
        def run(step: Any, booking: str) -> None:
            if kind == "stuck" or (kind == "retried" and step.attempt < 3):
                raise OSError(f"user: {booking} stays")

        return run

    once, often = stage.retries(1), stage.retries(5)
    body = saga_of_perdure if stage.sdk is PERDURE else saga_by_hand
    told = body(stage, kinds, book, cancel, once, often)
    stage.ctx.wait(stage.seconds(5), "after")
    return told


def saga_of_perdure(stage: Stage, kinds: Any, book: Any, cancel: Any, once: Any, often: Any) -> list[str]:
    try:
        with stage.ctx.saga("trip") as saga:
            for what, kind in kinds:
                stage.ctx.wait(stage.seconds(1), f"before-{what}")
                retry = often if kind == "retried" else once
                saga.step(book(what, kind), what, undo=cancel(kind), retry=once, undo_retry=retry)
    except CompensationError as error:
        return [f"{each.error_type} {each}" for each in error.failures]  # type: ignore[attr-defined]
    return []


def saga_by_hand(stage: Stage, kinds: Any, book: Any, cancel: Any, once: Any, often: Any) -> list[str]:
    config, failure = stage.sdk.config.StepConfig, stage.sdk.exceptions.StepError
    done: list[tuple[str, str, str]] = []

    def undo_all(inner: Any) -> list[dict[str, Any]]:
        failed = []
        for what, kind, made in reversed(done):
            retry = often if kind == "retried" else once
            try:
                inner.step(lambda step, kind=kind, made=made: cancel(kind)(step, made), f"undo-{what}",
                           config(retry_strategy=retry))  # fmt: skip
            except failure as error:
                failed.append({"Name": f"undo-{what}", "ErrorType": error.error_type, "ErrorMessage": error.message})
        return failed

    try:
        for what, kind in kinds:
            stage.ctx.wait(stage.seconds(1), f"before-{what}")
            done.append((what, kind, stage.ctx.step(book(what, kind), what, config(retry_strategy=once))))
    except failure:
        failed = stage.ctx.run_in_child_context(undo_all, "trip-compensation")
        return [f"{each['ErrorType']} {each['ErrorMessage']}" for each in failed]
    return []


@pytest.mark.parametrize("first", range(9))
def test_either_sdk_goes_on_with_a_saga_of_the_other(first: int) -> None:
    handle, alone = play(booking, PERDURE)
    assert handle.value == ["OSError user: flight-1 stays"]
    assert len(handle.invocations) == 8
    replay_writes_nothing(booking, handle, alone)
    for turns in ([OFFICIAL] * first + [PERDURE], [PERDURE] * first + [OFFICIAL]):
        _, seen = play(booking, turns)
        assert not alone.differences(seen), alone.differences(seen)
