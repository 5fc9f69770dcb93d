"""Trees of what runs side by side (`support.trees`): gather, TaskGroup, create_task, races, timeouts, cancellation.

Each runs to its end, is cut at calls to the service, and is replayed from what was recorded after them. What the code
sees of an operation once it is recorded, it sees ever after; no operation is recorded twice, nor under two ids; a step
that is recorded does not run again; asyncio has nothing to complain of. In a tree that leaves nothing to chance each of
these runs records the same, too.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import Checkpointing
from perdure.engine import checkpoint
from support.tree_runs import Run, cut, nothing_is_told, replay
from support.trees import trees

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.trees import Within

FEW = settings(max_examples=max(10, settings.default.max_examples // 8))
FACTORIES = [None, asyncio.eager_task_factory] if sys.version_info >= (3, 12) else [None]


AT_ONCE = [Checkpointing.BATCHED, Checkpointing.EAGER]
"""Those by which code sees a decision when it is recorded, and not before."""
MOST_CUTS = settings.default.max_examples // 12
"""At how many calls a tree is cut, about."""


def _stride(count: int) -> int:
    return max(1, count // MOST_CUTS)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(checkpoint.Checkpointer, "watch", lambda _: None)
    return


def check_everywhere(tree: Within, factory: Any, mode: Checkpointing, *, is_certain: bool) -> None:
    with nothing_is_told():
        run_everywhere(tree, factory, mode, is_certain=is_certain)


def run_everywhere(tree: Within, factory: Any, mode: Checkpointing, *, is_certain: bool) -> None:
    whole = Run(tree, factory=factory, checkpointing=mode)
    whole.check()
    for state in whole.states[:: _stride(len(whole.states))]:
        replay(tree, whole, state, factory, is_certain=is_certain)
    for call in range(1, whole.calls + 1, _stride(whole.calls)):
        for way in ("before", "after"):
            run = Run(tree, cut(call, way), factory, mode)
            run.check()
            output, sent = replay(tree, run, run.operations, factory)
            assert output == run.handle.invocations[-1].output
            if is_certain:
                assert not [each for each in sent if each["Type"] != "EXECUTION"]
                assert (run.handle.status, run.handle.result) == (whole.handle.status, whole.handle.result)
                assert run.shape == whole.shape, f"cut {way} call {call}"
                assert run.journal.seen == whole.journal.seen


@FEW
@given(trees(is_certain=True), st.sampled_from(FACTORIES), st.sampled_from(Checkpointing))
def test_what_leaves_nothing_to_chance_is_recorded_alike_wherever_it_is_cut(
    tree: Within, factory: Any, mode: Checkpointing
) -> None:
    check_everywhere(tree, factory, mode, is_certain=True)


@FEW
@given(trees(is_certain=False), st.sampled_from(FACTORIES), st.sampled_from(AT_ONCE))
def test_what_chance_has_decided_is_kept_to(tree: Within, factory: Any, mode: Checkpointing) -> None:
    check_everywhere(tree, factory, mode, is_certain=False)
