"""Workflows that hypothesis writes: the same under both SDKs, under any mixture of them, and when replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.both_sdks import EAGER, OFFICIAL, OPTIMISTIC, PERDURE, compare, play
from support.wired import wire
from support.workflows import WORKFLOWS, WORLD

if TYPE_CHECKING:
    from pathlib import Path

    from support.workflow_player import Workflow

# A workflow takes a few hundredths of a second, so there can be many.
MANY = settings(max_examples=settings.default.max_examples * 5)


@MANY
@given(WORKFLOWS)
def test_both_sdks_run_a_workflow_alike(workflow: Workflow) -> None:
    compare(workflow, WORLD)


@settings(max_examples=max(20, settings.default.max_examples // 3))
@given(WORKFLOWS, st.lists(st.booleans(), min_size=1, max_size=12), st.sampled_from(["http", "https"]))
def test_a_history_begun_by_one_sdk_over_the_wire_is_finished_by_the_other(
    tmp_path: Path, workflow: Workflow, turns: list[bool], transport: str
) -> None:
    """perdure calls by its native client, the official SDK by boto3."""
    _, alone = play(workflow, PERDURE, WORLD)
    mixture: list[Any] = [PERDURE if turn else OFFICIAL for turn in turns]
    with pytest.MonkeyPatch.context() as patch:
        _, mixed = play(workflow, mixture, WORLD, wire=lambda service: wire(service, patch, tmp_path, transport))
    different = alone.differences(mixed)
    assert not different, "perdure alone and within the process first\n" + "\n".join(different)


@MANY
@given(WORKFLOWS, st.lists(st.booleans(), min_size=1, max_size=12))
def test_a_history_begun_by_one_sdk_is_finished_by_the_other(workflow: Workflow, turns: list[bool]) -> None:
    _, alone = play(workflow, PERDURE, WORLD)
    mixture: list[Any] = [PERDURE if turn else OFFICIAL for turn in turns]
    _, mixed = play(workflow, mixture, WORLD)
    different = alone.differences(mixed)
    assert not different, "perdure alone first, then the mixture\n" + "\n".join(different)


@MANY
@given(WORKFLOWS, st.lists(st.sampled_from([EAGER, OPTIMISTIC, OFFICIAL]), min_size=1, max_size=12))
def test_a_history_is_the_same_whenever_its_updates_were_sent(workflow: Workflow, turns: list[Any]) -> None:
    _, alone = play(workflow, PERDURE, WORLD)
    _, mixed = play(workflow, turns, WORLD)
    different = alone.differences(mixed)
    assert not different, "perdure alone, batched, first, then the mixture\n" + "\n".join(different)
