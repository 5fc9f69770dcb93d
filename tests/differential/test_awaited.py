"""Histories that pass from one to another of three, invocation by invocation: official SDK, plain and async handlers.

Each operation by itself, in both directions, wherever the one takes over from the other. What the official SDK has not,
sagas, combinators and types of results, is written out for it by hand, of what is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from e2e import test_combinators as combinators
from e2e import test_sagas as sagas
from e2e import test_typed as typed
from support.asynchronous import ASYNC, Asynchronous, comparable, each_way
from support.both_sdks import OFFICIAL, PERDURE, World, play
from support.coroutines import as_coroutines
from support.workflow_language import Ask, AskAndWait, Batch, Branch, Child, Fail, Give, Invoke, Poll, Retry, Step, Wait
from support.workflow_player import Workflow
from support.workflows import WORLD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from support.both_sdks import Seen, Stage

STEP, PAUSE = Step("s", Give(1), failures=1, attempts=2), Wait("w", 5)
BROKEN = Step("broken", Fail("own"))
BRANCHES = (Branch((STEP, PAUSE), Give(last=True)), Branch((Wait(None, 2),), Fail("rich")), Branch((), Give([1])))

OPERATIONS: dict[str, tuple[Any, ...]] = {
    "step": (STEP, BROKEN, Step("once", Give((1, 2)), failures=2, attempts=3, at_most_once=True)),
    "wait": (PAUSE, Wait(None, 1)),
    "create_callback": (Ask("yes", (PAUSE,)), Ask("denied", (STEP,))),
    "wait_for_callback": (AskAndWait("yes", Give(), failures=1), AskAndWait("denied", Give())),
    "wait_for_condition": (Poll("p", 3, Give(last=True)), Poll(None, 3, Give(1), limit=2)),
    "invoke": (Invoke("i", "echo", {"a": [1.5]}), Invoke(None, "broken", 1), Invoke(None, "tenant", 2, tenant="t1")),
    "run_in_child_context": (
        Child("c", (STEP, PAUSE), Give(last=True)),
        Child("large", (PAUSE, STEP), Give(long=300_000)),
        Child("virtual", (PAUSE, BROKEN), Fail("own"), virtual=True),
    ),
    "map": (Batch("m", False, BRANCHES, concurrency=2, rule=(("tolerated_failure_count", 3),)),),
    "map, flat": (Batch("m", False, BRANCHES, concurrency=None, flat=True, rule=(("tolerated_failure_count", 3),)),),
    "parallel": (Batch("p", True, BRANCHES, rule=(("min_successful", 1),)),),
    "with_retry": (Retry("r", (PAUSE,), 1, 2), Retry(None, (STEP,), 2, 2, wrapped=False)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_gone_on_with_by_each_wherever_another_has_left_it(name: str) -> None:
    body = each_way(Workflow((*OPERATIONS[name], Step("after", Give("end"))), Give(last=True)))
    handle, alone = play(body, OFFICIAL, WORLD)
    assert handle.status == "SUCCEEDED"
    assert len(handle.invocations) > 1
    for first in range(len(handle.invocations) + 1):
        for other in (OFFICIAL, PERDURE):
            for turns in ([ASYNC] * first + [other], [other] * first + [ASYNC]):
                _, seen = play(body, turns, WORLD)
                different = comparable(alone).differences(comparable(seen))
                assert not different, f"{[each.name for each in turns]}\n" + "\n".join(different)


# ---- what the official SDK has not


def awaited(module: ModuleType) -> ModuleType:
    """Give a module of tests whose programs are awaited, and take asynchronous handlers for perdure's."""
    again = as_coroutines(module)
    again.__dict__["PERDURE"] = ASYNC
    return again


class Program(NamedTuple):
    """A program that is written out by hand for the official SDK.

    Args:
        plain: The program of a plain handler, and of the official SDK.
        awaited: The same, awaited.
        value: What comes of it.
        world: Around it.
        is_all: Whether all that is recorded is the same, whoever records it; else which operations there are.

    """

    plain: Callable[[Stage], Any]
    awaited: Callable[[Stage], Any]
    value: Any
    world: World | None = None
    is_all: bool = False

    def __call__(self, stage: Stage) -> Any:
        """Run it."""
        return (self.awaited if isinstance(stage.sdk, Asynchronous) else self.plain)(stage)

    def recorded(self, seen: Seen) -> Any:
        """Give what is the same, whoever records it."""
        if self.is_all:
            return seen.operations
        return {key: [each.get(what) for what in PLACE] for key, each in seen.operations.items()}


PLACE = ("Type", "Name", "ParentId", "Status")


def programs() -> Iterator[tuple[str, Program]]:
    of_sagas, of_combinators, of_types = awaited(sagas), awaited(combinators), awaited(typed)
    booked = ["OSError user: flight-1 stays"]
    yield "saga", Program(sagas.booking, of_sagas.booking, booked, is_all=True)
    found = [[1, "b"], "soon", "soon", ["FAILED", "SUCCEEDED"]]
    yield "combinators", Program(combinators.combined, of_combinators.combined, found)
    yield "a combinator's timeout", Program(combinators.limited, of_combinators.limited, "late")
    yield "types", Program(typed.trip, of_types.trip, [["x"], [["1"], "n"]], typed.WORLD)


PROGRAMS = dict(programs())


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_the_official_sdk_has_not_is_gone_on_with_wherever_another_has_left_it(name: str) -> None:
    program = PROGRAMS[name]
    handle, alone = play(program, PERDURE, program.world)
    assert handle.value == program.value
    _, asynchronous = play(program, ASYNC, program.world)
    assert not comparable(alone).differences(comparable(asynchronous))
    for first in range(1, len(handle.invocations) + 1):
        for other in (OFFICIAL, PERDURE):
            for turns in ([ASYNC] * first + [other], [other] * first + [ASYNC]):
                swapped, seen = play(program, turns, program.world)
                told = [each.name for each in turns]
                assert swapped.value == program.value, told
                assert program.recorded(seen) == program.recorded(alone), told


async def decides(context: Any) -> Any:
    """What only an ``async def`` handler has: decisions over operations that are under way."""
    steps = [context.step(lambda _, name=name: name, name) for name in "ab"]
    told: list[Any] = [await context.race(steps, "race")]
    async with context.timeout(60, "limit"):
        told.append(await context.step(lambda _: "inside", "inside"))
    async with context.select("next") as select:
        for name in "cd":
            select.add(name, context.step(lambda _, name=name: name, name))
        key, done = await select.next()
        told.append([key, await done])
    await context.wait(5, "pause")
    return [*told, await context.step(lambda _: "after", "after")]


def decides_by_hand(stage: Stage) -> Any:
    context = stage.ctx

    def step(name: str) -> Any:
        return context.step(lambda _: name, name)

    def decided(name: str, what: Any) -> Any:
        return context.run_in_child_context(lambda _: what, name)

    members = [step("a"), step("b")]
    told = [members[decided("race", {"ended": [0], "late": False})["ended"][0]]]
    assert decided("limit", {"expired": False, "after": None})["expired"] is False
    told.append(step("inside"))
    chosen = {"c": step("c"), "d": step("d")}
    key = decided("next", "c")
    told.append([key, chosen[key]])
    context.wait(stage.seconds(5), "pause")
    return [*told, step("after")]


@pytest.mark.parametrize("by_hand", [OFFICIAL, PERDURE], ids=["official", "plain"])
def test_decisions_are_child_contexts_that_anyone_can_read_and_write(by_hand: Any) -> None:
    def body(stage: Stage) -> Any:
        return decides(stage.ctx) if isinstance(stage.sdk, Asynchronous) else decides_by_hand(stage)

    for turns in ([ASYNC], [ASYNC, by_hand], [by_hand, ASYNC], [by_hand]):
        handle, _ = play(body, turns)
        won, inside, chosen, after = handle.value
        assert (won in "ab", inside, chosen[0] in "cd", after) == (True, "inside", True, "after")
        assert chosen[0] == chosen[1]
        named = {each["Name"]: each for each in handle.operations if each.get("Name")}
        losers = {*"abcd"} - {won, chosen[0]}  # which may have been under way when they were left behind
        assert {each["Status"] for name, each in named.items() if name not in losers} == {"SUCCEEDED"}
        race = OFFICIAL.serdes.deserialize(None, named["race"]["ContextDetails"]["Result"], "id", "arn")
        assert "ab"[race["ended"][0]] == won
        # One more for each attempt of a loser's that is cut off, and due to be tried again before the wait is over.
        assert len(handle.invocations) >= 2
