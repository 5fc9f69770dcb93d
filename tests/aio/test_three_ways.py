"""Workflows that hypothesis writes, three ways: the official SDK, perdure, and perdure by ``async def``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import Checkpointing
from support.asynchronous import ASYNC, Asynchronous, comparable, each_way
from support.both_sdks import OFFICIAL, PERDURE, play
from support.workflows import WORKFLOWS, WORLD

if TYPE_CHECKING:
    from support.workflow_player import Workflow

MANY = settings(max_examples=settings.default.max_examples)
EAGER, OPTIMISTIC = (
    Asynchronous(f"async, {mode.value}", "perdure", mode) for mode in (Checkpointing.EAGER, Checkpointing.OPTIMISTIC)
)


def same(workflow: Workflow, one: Any, other: Any, told: str) -> None:
    _, first = play(each_way(workflow), one, WORLD)
    _, second = play(each_way(workflow), other, WORLD)
    different = comparable(first).differences(comparable(second))
    assert not different, f"{told}\n" + "\n".join(different)


@settings(max_examples=max(20, settings.default.max_examples // 3))
@given(WORKFLOWS)
def test_asynchronous_handlers_run_a_workflow_as_the_official_sdk_does(workflow: Workflow) -> None:
    same(workflow, OFFICIAL, ASYNC, "official first, async second")


@MANY
@given(WORKFLOWS)
def test_asynchronous_handlers_run_a_workflow_as_plain_ones_do(workflow: Workflow) -> None:
    same(workflow, PERDURE, ASYNC, "plain first, async second")


@MANY
@given(WORKFLOWS, st.lists(st.sampled_from([ASYNC, PERDURE, OFFICIAL]), min_size=1, max_size=12))
def test_each_invocation_may_be_by_another(workflow: Workflow, turns: list[Any]) -> None:
    same(workflow, ASYNC, turns, "async alone first, then the mixture")


@MANY
@given(WORKFLOWS, st.lists(st.sampled_from([EAGER, OPTIMISTIC, ASYNC]), min_size=1, max_size=12))
def test_the_history_is_the_same_whenever_its_updates_are_sent(workflow: Workflow, turns: list[Any]) -> None:
    same(workflow, ASYNC, turns, "async alone, batched, first, then the mixture")
