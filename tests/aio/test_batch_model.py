"""The batch model of `differential.test_batches_in_time` with async handlers, alone and in turns with plain ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from differential import test_batches_in_time as model
from support.asynchronous import ASYNC, Asynchronous
from support.both_sdks import PERDURE, Sdk, play
from support.coroutines import as_coroutines, in_classes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.both_sdks import Stage

AWAITED = as_coroutines(model, also=["__call__"])


def each_way(course: model.Course) -> Callable[[Stage], Any]:
    """Give a batch for whichever way it runs."""
    awaited = in_classes_of(AWAITED, course)
    return lambda stage: awaited(stage) if isinstance(stage.sdk, Asynchronous) else course(stage)


@settings(max_examples=settings.default.max_examples * 2)
@given(model.courses(("step", "answer", "nothing")))
def test_who_is_in_a_batch_follows_from_the_record_and_the_policy(course: model.Course) -> None:
    expected = model.foretell(course)
    handle, _ = play(each_way(course), ASYNC, model.WORLD)
    assert handle.value == expected


@given(
    model.courses(("step", "answer", "nothing")),
    st.lists(st.sampled_from([ASYNC, PERDURE]), min_size=1, max_size=8),
)
def test_whoever_runs_each_invocation(course: model.Course, turns: list[Sdk]) -> None:
    expected = model.foretell(course)
    handle, _ = play(each_way(course), turns, model.WORLD)
    assert handle.value == expected
