"""Batches that end while a branch is in its own code: both SDKs on the local service, alone and in turns.

What such a branch does next comes too late. The official SDK may send the START of it all the same, below a context
that has finished; perdure sends nothing. Both must go on with a history that holds it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.both_sdks import OFFICIAL, PERDURE, Answer, Stage, World, play

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local import ExecutionHandle
    from support.both_sdks import Sdk

LATE = "late"
PATIENCE = 30


def _child(stage: Stage, ctx: Any) -> Any:
    return ctx.run_in_child_context(lambda inner: stage.seconds(1) and inner.step(lambda _: 1, LATE), LATE)


NEXT: dict[str, Callable[[Stage, Any], Any]] = {
    "step": lambda _stage, ctx: ctx.step(lambda _: 1, LATE),
    "steps": lambda _stage, ctx: [ctx.step(lambda _: 1, LATE) for _ in range(3)],
    "wait": lambda stage, ctx: ctx.wait(stage.seconds(3600), LATE),
    "callback": lambda _stage, ctx: ctx.create_callback(LATE).result(),
    "invoke": lambda _stage, ctx: ctx.invoke("other", 1, LATE),
    "child": _child,
    "batch": lambda _stage, ctx: ctx.map([1, 2], lambda inner, *_: inner.step(lambda _: 1, LATE), LATE),
    "wait_for_callback": lambda _stage, ctx: ctx.wait_for_callback(lambda *_: None, LATE),
}
WORLD = World(functions={"other": lambda _event, _context: 1}, answers={LATE: Answer("none")})


def workflow(what: str, size: int, nesting: str) -> Callable[[Stage], Any]:
    """Return a workflow whose batch ends while its second branch is between two operations."""

    def body(stage: Stage) -> Any:
        config = stage.sdk.config
        arrived, ended, left = threading.Event(), threading.Event(), threading.Event()

        def late(ctx: Any) -> Any:
            ctx.step(lambda _: "x", "first")
            arrived.set()
            assert ended.wait(PATIENCE)
            try:
                return NEXT[what](stage, ctx)
            finally:
                left.set()

        def quick(ctx: Any) -> Any:
            def work(_: Any) -> str:
                assert arrived.wait(PATIENCE)
                return "y" * size

            return ctx.step(work, "second")

        given = config.ParallelConfig(
            completion_config=config.CompletionConfig(min_successful=1), nesting_type=config.NestingType[nesting]
        )
        batch = stage.ctx.parallel([quick, late], "p", given)
        stage.note("items", [(item.index, item.status.value) for item in batch.all])
        stage.note("reason", batch.completion_reason)
        if arrived.is_set():  # the batch is not read from the record
            ended.set()
            assert left.wait(PATIENCE)
        stage.ctx.step(lambda _: "z", "after")
        stage.ctx.wait(stage.seconds(2))
        return [len(result) for result in batch.get_results()], stage.ctx.step(lambda _: "end")

    return body


def without_what_came_late(handle: ExecutionHandle) -> dict[str, tuple[Any, ...]]:
    return {
        operation["Id"]: (operation["SubType"], operation.get("Name"), operation["Status"])
        for operation in handle.operations
        if LATE not in operation.get("Name", "") and operation["SubType"] != "MapIteration"
    }


def run(what: str, size: int, nesting: str, sdks: Sdk | list[Sdk]) -> tuple[Any, ...]:
    handle, seen = play(workflow(what, size, nesting), sdks, WORLD)
    assert handle.status == "SUCCEEDED", handle.error
    assert {invocation.outcome for invocation in handle.invocations} == {"PENDING", "SUCCEEDED"}
    # What came late may move on and wake the execution once more, which sees the same again.
    notes = {label: [what for n, what in enumerate(told) if what not in told[:n]] for label, told in seen.notes.items()}
    return handle.result, notes, without_what_came_late(handle)


@pytest.mark.parametrize("nesting", ["NESTED", "FLAT"])
@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("what", NEXT)
def test_what_comes_after_the_end_of_its_batch_hurts_neither_sdk(what: str, size: int, nesting: str) -> None:
    alone = run(what, size, nesting, PERDURE)
    assert run(what, size, nesting, OFFICIAL) == alone
    assert run(what, size, nesting, [OFFICIAL, PERDURE]) == alone
    assert run(what, size, nesting, [PERDURE, OFFICIAL]) == alone


def test_perdure_itself_sends_nothing_that_comes_too_late() -> None:
    for what in NEXT:
        handle, _ = play(workflow(what, 10, "NESTED"), PERDURE, WORLD)
        assert [update for update in handle.updates if LATE in update.get("Name", "")] == [], what


def test_the_official_sdk_sends_it() -> None:
    """Else the tests above would show nothing."""
    handle, _ = play(workflow("step", 10, "NESTED"), OFFICIAL, WORLD)
    late = [(update["Name"], update["Action"]) for update in handle.updates if LATE in update.get("Name", "")]
    assert (LATE, "START") in late


def test_maps_that_end_early_amid_the_code_of_their_items_succeed_every_time() -> None:
    """Nothing holds these threads: where they stand when the batch ends is chance."""

    def body(stage: Stage) -> Any:
        config = stage.sdk.config

        def item(ctx: Any, value: int, *_: Any) -> int:
            for number in range(3):
                ctx.step(lambda _: value, f"s{number}")
                sum(range(300 * value))
            return value

        given = config.MapConfig(max_concurrency=5, completion_config=config.CompletionConfig(min_successful=2))
        batch = stage.ctx.map(list(range(10)), item, config=given)
        stage.ctx.step(lambda _: 1, "after")
        return batch.success_count >= 2

    for sdk in (OFFICIAL, PERDURE):
        for _ in range(20):
            handle, _ = play(body, sdk)
            assert (handle.status, handle.value) == ("SUCCEEDED", True), handle.error
