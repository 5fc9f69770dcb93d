"""map_error: what an exception of a child, item or branch is recorded and raised as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perdure import ChildContextError, DurableContext, durable_execution
from perdure.config import ChildConfig, CompletionConfig, MapConfig, NestingType, ParallelConfig
from perdure.exceptions import ErrorMappingError, ExecutionError, StepError, ValidationError
from perdure.local import LocalService, VirtualClock
from perdure.retries import RetryPresets
from perdure.testing import explore
from support.both_sdks import OFFICIAL, PERDURE, Stage, play

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.types import StepContext


class OutOfStock(Exception):  # noqa: N818  as a shop names it
    """What a shop says."""


def in_our_words(error: Exception) -> Exception:
    return OutOfStock(f"no {error}") if isinstance(error, LookupError) else error


def bad(inner: DurableContext, *_given: Any) -> None:
    inner.wait(1)
    raise LookupError("sofa")


TOLERANT = CompletionConfig.all_completed()
MAPPED = "OutOfStock: no sofa"


def told(error: Any) -> str:
    """Tell what a program sees of an error: raised, or of an item."""
    kind = getattr(error, "error_type", None) or error.type
    return f"{kind.rpartition('.')[2]}: {error.message}"


def caught(call: Callable[[], Any]) -> str:
    with pytest.raises(ChildContextError) as raised:
        call()
    return told(raised.value)


def child(context: DurableContext, mapper: Any, **options: Any) -> str:
    return caught(lambda: context.run_in_child_context(bad, "child", map_error=mapper, **options))


def configured(context: DurableContext, mapper: Any) -> str:
    return caught(lambda: context.run_in_child_context(bad, "child", ChildConfig(error_mapper=mapper)))


def item(context: DurableContext, mapper: Any, **options: Any) -> str:
    return told(context.map(["a"], bad, completion_config=TOLERANT, map_error=mapper, **options).get_errors()[0])


def configured_item(context: DurableContext, mapper: Any) -> str:
    config: MapConfig[Any] = MapConfig(completion_config=TOLERANT, error_mapper=mapper)
    return told(context.map(["a"], bad, config=config).get_errors()[0])


def branch(context: DurableContext, mapper: Any, **options: Any) -> str:
    return told(context.parallel([bad], completion_config=TOLERANT, map_error=mapper, **options).get_errors()[0])


def configured_branch(context: DurableContext, mapper: Any) -> str:
    config = ParallelConfig(completion_config=TOLERANT, error_mapper=mapper)
    return told(context.parallel([bad], config=config).get_errors()[0])


PLACES = {
    "child": child,
    "virtual child": lambda context, mapper: child(context, mapper, is_virtual=True),
    "child's config": configured,
    "item": item,
    "FLAT item": lambda context, mapper: item(context, mapper, nesting_type=NestingType.FLAT),
    "item's config": configured_item,
    "branch": branch,
    "FLAT branch": lambda context, mapper: branch(context, mapper, nesting_type=NestingType.FLAT),
    "branch's config": configured_branch,
}


def run(handler: Callable[[Any, DurableContext], Any]) -> Any:
    service = LocalService(clock=VirtualClock())
    service.register("f", durable_execution(handler))
    return service.run("f", event={})


@pytest.mark.parametrize("place", list(PLACES))
def test_an_error_is_what_the_mapper_made_of_it_fresh_and_replayed(place: str) -> None:
    seen: list[str] = []

    def handler(_event: Any, context: DurableContext) -> None:
        seen.append(PLACES[place](context, in_our_words))
        context.wait(9)
        seen.append(PLACES[place](context, lambda error: error))
        context.wait(9)

    handle = run(handler)
    assert handle.status == "SUCCEEDED", handle.error
    assert len(seen) > 3, "replayed"
    assert set(seen) == {MAPPED, "LookupError: sofa"}
    recorded = [found["ContextDetails"]["Error"] for found in handle.operations if found["Status"] == "FAILED"]
    types = {error["ErrorType"].rpartition(".")[2] for error in recorded}
    assert types == ({"OutOfStock", "LookupError"} if recorded else set())
    assert bool(recorded) is not ("virtual" in place or "FLAT" in place)


class SpeechlessError(Exception):
    """An error of which nobody can have a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def speechless(_: Exception) -> Exception:
    raise SpeechlessError


@pytest.mark.parametrize("place", list(PLACES))
@pytest.mark.parametrize(
    ("mapper", "what"),
    [
        (lambda _: 1 / 0, "map_error raised ZeroDivisionError: division by zero"),
        (lambda _: None, "map_error must give an exception, not None"),
        (lambda _: OutOfStock, "map_error must give an exception, not <class"),
        (speechless, "map_error raised SpeechlessError: (no message: str() of this exception raised RuntimeError)"),
    ],
)
def test_a_mapper_that_fails_is_told_of_beside_the_error(place: str, mapper: Any, what: str) -> None:
    handle = run(lambda _, context: PLACES[place](context, mapper))
    assert handle.status == "SUCCEEDED", handle.error
    assert handle.value.startswith(f"{ErrorMappingError.__name__}: {what}")
    assert handle.value.endswith("it was asked about LookupError: sofa")


@pytest.mark.parametrize("place", list(PLACES))
def test_what_only_ends_the_invocation_is_not_mapped(place: str) -> None:
    asked: list[Exception] = []

    def mapper(error: Exception) -> Exception:
        asked.append(error)
        return error

    def stops(inner: DurableContext, *_given: Any) -> None:
        inner.wait(5)  # a suspension
        raise ExecutionError("stop")

    def handler(_event: Any, context: DurableContext) -> None:
        globals()["bad"], kept = stops, bad
        try:
            PLACES[place](context, mapper)
        finally:
            globals()["bad"] = kept

    handle = run(handler)
    assert (handle.status, handle.error["ErrorMessage"]) == ("FAILED", "stop")
    assert asked == []


def test_an_error_of_an_operation_inside_is_mapped_as_it_surfaces() -> None:
    def unwilling(_step: StepContext) -> None:
        raise OSError("closed")

    def handler(_event: Any, context: DurableContext) -> Any:
        seen: list[Any] = []

        def mapper(error: Exception) -> Exception:
            seen.append([isinstance(error, StepError), str(error)])
            return error

        with pytest.raises(ChildContextError, match="closed"):
            context.run_in_child_context(
                lambda inner: inner.step(unwilling, retry=RetryPresets.none()), map_error=mapper
            )
        return seen

    assert run(handler).value == [[True, "closed"]]


@pytest.mark.parametrize("place", list(PLACES))
def test_what_cannot_map_is_refused(place: str) -> None:
    def handler(_event: Any, context: DurableContext) -> str:
        with pytest.raises(ValidationError, match="map_error must be a function"):
            PLACES[place](context, "words")
        return "refused"

    assert run(handler).value == "refused"


def test_the_explorer_finds_no_difference() -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        return [place(context, in_our_words) for place in (child, item)]

    explore(durable_execution(handler), orders=2, max_schedules=60).assert_ok()


@pytest.mark.parametrize("turn", range(1, 4))
def test_the_official_sdk_reads_what_was_mapped(turn: int) -> None:
    """There, the function raises the error itself."""

    def handler(stage: Stage) -> Any:
        def out_of_stock(inner: Any) -> None:
            inner.wait(stage.seconds(1))
            raise LookupError("sofa") if stage.sdk is PERDURE else OutOfStock("no sofa")

        options = {"map_error": lambda _: OutOfStock("no sofa")} if stage.sdk is PERDURE else {}
        try:
            stage.ctx.run_in_child_context(out_of_stock, "child", **options)
        except Exception as error:  # noqa: BLE001  each SDK has a class of its own
            stage.ctx.wait(stage.seconds(1))
            return [type(error).__name__, str(error)]
        return None

    alone, _ = play(handler, PERDURE)
    assert alone.value == ["ChildContextError", "no sofa"]
    for turns in ([OFFICIAL] * turn + [PERDURE], [PERDURE] * turn + [OFFICIAL]):
        swapped, _ = play(handler, turns)
        assert swapped.value == alone.value
