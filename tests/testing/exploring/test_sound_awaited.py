"""The explorer on the handlers of `test_sound`, each call in them awaited, and on trees of what runs side by side."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perdure import Checkpointing, durable_execution
from perdure.testing import explore
from support.coroutines import as_coroutines
from support.explored import search
from support.tree_player import Journal, Player
from support.tree_runs import Run
from support.trees import Await, Gather, Member, Step, Within, trees
from testing.exploring import test_sound as sound

if TYPE_CHECKING:
    from perdure import AsyncDurableContext

AWAITED = as_coroutines(sound)


def handlers_of(test: Any) -> list[str]:
    """Give the names of the handlers that a test of plain ones is given."""
    return [handler.__name__ for mark in test.pytestmark for handler in mark.args[1]]


CORRECT = [
    (getattr(AWAITED, handler.__name__), event, world)
    for handler, event, world in sound.CORRECT
    if handler.__module__ == sound.__name__  # those of others are in `test_async`
]


@pytest.mark.parametrize(("handler", "event", "world"), CORRECT, ids=lambda each: getattr(each, "__name__", ""))
def test_a_handler_that_does_the_same_each_time_passes(handler: Any, event: Any, world: dict[str, Any]) -> None:
    report = search(handler, event, **world)
    report.assert_ok()
    assert report.expected.is_asynchronous
    assert report.tried == report.planned > 5


@pytest.mark.parametrize("name", handlers_of(sound.test_what_goes_into_operations_from_outside_of_steps_is_found))
def test_what_goes_into_operations_from_outside_of_steps_is_found(name: str) -> None:
    report = search(getattr(AWAITED, name), mocks={f"f{n}": 1 for n in range(16)}, answers={"answer": 1})
    assert report.schedule is not None
    assert report.reproduce().differences


@pytest.mark.parametrize("name", handlers_of(sound.test_what_is_as_it_should_be_is_not_reported))
def test_what_is_as_it_should_be_is_not_reported(name: str) -> None:
    search(getattr(AWAITED, name), answers={"answer": 1}).assert_ok()


# ---- trees


QUICK, FLAKY = Step(turns=0, failures=0, attempts=1), Step(turns=1, failures=1, attempts=3)
CHILD = Within((Await(QUICK, True), Await(QUICK, True)), "text")
BESIDE_A_CHILD = Gather((Member("operation", Step(40, 0, 1)), Member("operation", CHILD)), False)


def broken(_event: Any, _context: Any) -> Any:
    raise OSError("broken")


def explored(tree: Within, mode: Checkpointing) -> Any:
    """Explore a tree in some of its schedules; callbacks are answered as in its runs."""
    asked = [each["Name"] for each in Run(tree).handle.operations if each["Type"] == "CALLBACK"]
    names = {name.removesuffix(" create callback id") for name in asked}
    journal = [Journal()]

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        return await Player(journal[0]).run(context, tree, "t")

    def reset() -> None:
        journal[0] = Journal()

    return explore(
        durable_execution(handler, checkpointing=mode),
        setup=reset,
        answers={name: OSError("denied") if "denied" in name else "yes" for name in names},
        functions={"echo": lambda event, _: event, "broken": broken},
        orders=3,
        max_schedules=25,
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio of CPython 3.11 logs what became of unwound tasks")
@settings(max_examples=max(8, settings.default.max_examples // 8))
@example(Within((BESIDE_A_CHILD,), "text"), Checkpointing.BATCHED)  # at work when time is up
@example(Within((Gather((Member("operation", FLAKY),), True),), "text"), Checkpointing.EAGER)  # cut before an attempt
@given(trees(is_certain=True), st.sampled_from(Checkpointing))
def test_a_tree_that_leaves_nothing_to_chance_is_the_same_in_each_schedule(tree: Within, mode: Checkpointing) -> None:
    report = explored(tree, mode)
    assert report.schedule is None, str(report)
    assert report.tried
