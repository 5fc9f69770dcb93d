"""Code that changed under a running execution: both SDKs fail it, and neither writes anything more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.both_sdks import OFFICIAL, PERDURE, Sdk, Stage, play
from support.workflow_language import (
    Ask,
    AskAndWait,
    Batch,
    Branch,
    Child,
    Give,
    Invoke,
    Poll,
    Step,
    Wait,
)
from support.workflow_player import run_nodes
from support.workflows import WORLD

if TYPE_CHECKING:
    from collections.abc import Callable

FOUR = Give(4)
KINDS: dict[str, Any] = {
    "step": Step("a", FOUR, guarded=False),
    "step of a subtype": Step("a", FOUR, sub_type="Mine", guarded=False),
    "failed step": Step("a", FOUR, failures=1, guarded=False),
    "wait": Wait("a", 3, guarded=False),
    "callback": Ask("a", (), guarded=False),
    "wait for callback": AskAndWait("a", Give(), guarded=False),
    "invoke": Invoke("a", "echo", 1, guarded=False),
    "child": Child("a", (Step("in", FOUR),), FOUR, guarded=False),
    "child of a subtype": Child("a", (Step("in", FOUR),), FOUR, sub_type="Mine", guarded=False),
    "map": Batch("a", parallel=False, branches=(Branch((), FOUR),), guarded=False),
    "parallel": Batch("a", parallel=True, branches=(Branch((), FOUR),), guarded=False),
    "condition": Poll("a", 1, FOUR, guarded=False),
}
CHANGES: dict[str, Callable[[Any], Any]] = {
    "renamed": lambda node: replace(node, name="b"),
    "unnamed": lambda node: replace(node, name=None),
    **{f"now {name}": lambda _node, other=other: other for name, other in KINDS.items()},
    "now virtual": lambda _node: replace(KINDS["child"], virtual=True),
    "after another": lambda node: (Step("new", FOUR, guarded=False), node),
}
PLACES = ["root", "child", "virtual", "map", "flat"]


def changing(before: tuple[Any, ...], after: tuple[Any, ...], place: str) -> Callable[[Stage], Any]:
    """Make a workflow whose code is exchanged while it waits."""

    def body(stage: Stage) -> Any:
        config = stage.sdk.config

        def inside(ctx: Any, *_rest: Any) -> Any:
            if stage.notes.get("marked"):
                run_nodes(stage, after, Give(), ctx, "after")
                return ctx.step(lambda _: stage.note("went on", True), "never")
            run_nodes(stage, tuple(replace(node, guarded=True) for node in before), Give(), ctx, "before")
            stage.note("marked", True)
            return ctx.wait(stage.seconds(50), "mark")

        def over(nesting: str) -> Any:
            given = config.MapConfig(nesting_type=config.NestingType[nesting], completion_config=stage.tolerant())
            return stage.ctx.map([1], inside, "place", given)

        match place:
            case "root":
                return inside(stage.ctx)
            case "child":
                return stage.ctx.run_in_child_context(inside, "place")
            case "virtual":
                return stage.ctx.run_in_child_context(inside, "place", config.ChildConfig(is_virtual=True))
            case "map":
                return over("NESTED").to_dict()
            case _:
                return over("FLAT").to_dict()

    return body


def assert_refused(body: Callable[[Stage], Any], sdks: Sdk | list[Sdk]) -> None:
    handle, seen = play(body, sdks, WORLD)
    assert seen.outcome[0] == "FAILED"
    assert seen.outcome[2]["ErrorType"].endswith("exceptions.NonDeterministicExecutionError")
    assert seen.invocations[-1] == "FAILED"
    assert handle.updates[-1].get("Name") == "mark", "something was written after the change"
    assert "went on" not in seen.notes


def is_change(before: Any, after: Any) -> bool:
    """Whether the second is another operation than the first, as the history tells them apart."""
    if isinstance(after, tuple):
        return not isinstance(before, Step) or before.name != "new"
    if before == after:
        return False
    # The records of these are alike.
    return {type(before), type(after)} != {Step} or (before.name, before.sub_type) != (after.name, after.sub_type)


def is_reached(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    """Whether a change comes before the first operation that fails, whose error ends the handler."""
    end = next((index for index, node in enumerate(after) if getattr(node, "failures", 0)), len(after))
    return after[: end + 1] != before[: end + 1]


PAIRS = [
    pytest.param(before, change(before), id=f"{kind} {name}")
    for kind, before in KINDS.items()
    for name, change in CHANGES.items()
    if is_change(before, change(before))
]


@pytest.mark.parametrize("sdk", [OFFICIAL, PERDURE], ids=lambda sdk: sdk.name)
@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_an_operation_that_changed_fails_the_execution(sdk: Sdk, before: Any, after: Any) -> None:
    assert_refused(changing((before,), after if isinstance(after, tuple) else (after,), "root"), sdk)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_change_anywhere_fails_the_whole_execution(kind: str, place: str) -> None:
    before = KINDS[kind]
    body = changing((before,), (replace(before, name="b"),), place)
    assert_refused(body, PERDURE)
    assert_refused(body, OFFICIAL)


@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=2, max_size=4), st.data(), st.sampled_from(PLACES))
def test_operations_that_changed_places_fail_the_execution(kinds: list[str], data: st.DataObject, place: str) -> None:
    before = tuple(replace(KINDS[kind], name=f"{kind} {index}") for index, kind in enumerate(kinds))
    # Callbacks are answered by name, and here by default: every name is one that the world does not know.
    order = data.draw(st.permutations(before).filter(lambda order: is_reached(before, tuple(order))))
    assert_refused(changing(before, tuple(order), place), [PERDURE] * 99)


@pytest.mark.parametrize("place", PLACES)
def test_swallowing_the_error_does_not_help(place: str) -> None:
    """[ours] The official SDK lets user code go on after it has caught the error."""

    def careless(stage: Stage) -> Any:
        try:
            return body(stage)
        except Exception:  # noqa: BLE001 - what careless code does
            stage.see("next", lambda: stage.ctx.step(lambda _: 1))
            return "fine"

    body = changing((KINDS["step"],), (KINDS["wait"],), place)
    assert_refused(careless, PERDURE)
