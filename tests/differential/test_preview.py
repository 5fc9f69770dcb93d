"""Previews are those of the official SDK; of what it cannot write as JSON, ours shows the text."""

from __future__ import annotations

import decimal
import json
import uuid
from typing import Any

import pytest
from aws_durable_execution_sdk_python import preview as official
from hypothesis import example, given
from hypothesis import strategies as st

from perdure import preview as ours
from perdure.exceptions import ValidationError
from perdure.preview import PreviewConfig, PreviewField, PreviewMode, build_preview

KEYS = st.sampled_from(["id", "user", "email", "items", "a.b", "", "é", 'q"', 1, None])
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just((1, "x"))
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))
NAMES = st.sampled_from(["id", "user", "email", "items", "user.email", "items.id", "a.b", "", "é", "1", "None"])
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from(["ANYWHERE", "PATH"])), max_size=3)


def config(module: Any, mode: str, lists: list[list[tuple[str, str]]], **more: Any) -> Any:
    fields = [[module.PreviewField(name, module.FieldMatchMode(match)) for name, match in wanted] for wanted in lists]
    include, exclude, mask = fields
    return module.PreviewConfig(module.PreviewMode(mode), include, exclude, mask, **more)


@example({"": {"id": None}}, "INCLUDE_ALL", [[], [], []], 12)
@example({"": {"": {"id": 1}, "user": {"": 2}}, "email": {"": {"id": 3}}}, "INCLUDE_ALL", [[], [], []], 4096)
@example({"id": 1, "": [{"id": 2}]}, "INCLUDE_ALL", [[], [], []], 4096)
@example({"": {"id": 1, "user": 2}}, "INCLUDE_ALL", [[], [("id", "PATH")], [("", "PATH")]], 4096)
@example({"": {"id": 1, "user": 2}}, "EXCLUDE_ALL", [[("id", "PATH"), ("", "ANYWHERE")], [], []], 4096)
@given(
    value=st.dictionaries(KEYS, VALUES, max_size=5) | VALUES,
    mode=st.sampled_from(["INCLUDE_ALL", "EXCLUDE_ALL"]),
    lists=st.lists(FIELDS, min_size=3, max_size=3),
    most=st.integers(-1, 120) | st.just(4096),
)
def test_a_preview_is_the_official_one(value: Any, mode: str, lists: Any, most: int) -> None:
    theirs = official.build_preview(value, config(official, mode, lists, max_preview_bytes=most, mask_string="é"))
    mine = build_preview(value, config(ours, mode, lists, max_preview_bytes=most, mask_string="é"))
    assert json.dumps(mine) == json.dumps(theirs)


class Plain:
    """Shown as its class: an address would be another in each run."""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"x", "b'x'"),
        (Plain(), "<Plain>"),
    ],
)
def test_what_json_has_no_form_for_is_shown_as_text(value: Any, shown: str) -> None:
    with pytest.raises(TypeError):
        official.build_preview({"k": value}, config(official, "INCLUDE_ALL", [[], [], []]))
    assert build_preview({"k": value}, PreviewConfig(PreviewMode.INCLUDE_ALL)) == {"k": shown}


def test_what_holds_itself_or_has_no_end_is_left_out() -> None:
    ring: dict[str, Any] = {"id": 1}
    ring["again"], ring["list"] = ring, [[ring], ring]
    assert build_preview(ring, PreviewConfig(PreviewMode.INCLUDE_ALL)) == {"id": 1}
    deep: Any = {"end": 1}
    for _ in range(5_000):
        deep = {"in": deep, "list": [[]]}
    assert build_preview({"id": 1, **deep}, PreviewConfig(PreviewMode.INCLUDE_ALL)) == {"id": 1}


def test_a_name_alone_is_a_field_anywhere() -> None:
    wanted = PreviewConfig(PreviewMode.EXCLUDE_ALL, include=["email"])  # type: ignore[list-item]
    assert build_preview({"user": {"email": "a@b", "age": 3}}, wanted) == {"user": {"email": "a@b"}}


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="PreviewMode"):
        PreviewConfig("SOME")  # type: ignore[arg-type]
    assert PreviewField("id").match == "ANYWHERE"
