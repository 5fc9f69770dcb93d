"""Values in files are read by either SDK, stand in the same place, and overflow at the same size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aws_durable_execution_sdk_python import filesystem_serdes as official
from aws_durable_execution_sdk_python.serdes import SerDesContext as OfficialContext
from hypothesis import given
from hypothesis import strategies as st

from perdure import filesystem_serdes as ours
from perdure.serdes import SerDesContext

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:orders:3/durable-execution/{}/{}"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.decimals(allow_nan=False) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SEGMENTS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


def serdes(module: Any, root: Path, mode: str, encoding: str) -> Any:
    config = module.FileSystemSerDesConfig(
        storage_mode=module.FileSystemSerDesMode(mode), path_encoding=module.FileSystemPathEncoding(encoding)
    )
    return module.FileSystemSerDes(str(root), config)


@given(value=VALUES, mode=st.sampled_from(["ALWAYS", "OVERFLOW"]), encoding=st.sampled_from(["URI", "HASH"]))
def test_each_reads_what_the_other_wrote(tmp_path: Path, value: Any, mode: str, encoding: str) -> None:
    arn = ARN.format("n", "i")
    theirs, mine = serdes(official, tmp_path, mode, encoding), serdes(ours, tmp_path, mode, encoding)
    context, official_context = SerDesContext("op", arn), OfficialContext("op", arn)
    by_them, by_us = theirs.serialize(value, official_context), mine.serialize(value, context)
    assert mine.deserialize(by_them, context) == value
    assert theirs.deserialize(by_us, official_context) == value
    assert list(json.loads(by_us)) == list(json.loads(by_them))


@given(name=SEGMENTS, invocation=SEGMENTS, operation=SEGMENTS, encoding=st.sampled_from(["URI", "HASH"]))
def test_files_stand_in_the_same_place(
    tmp_path: Path, name: str, invocation: str, operation: str, encoding: str
) -> None:
    arn = ARN.format(name, invocation)
    mine = serdes(ours, tmp_path, "ALWAYS", encoding).serialize(1, SerDesContext(operation, arn))
    theirs = serdes(official, tmp_path, "ALWAYS", encoding).serialize(1, OfficialContext(operation, arn))
    our_file, their_file = Path(json.loads(mine)["file"]), Path(json.loads(theirs)["file"])
    if not {".", ".."} & {name, invocation}:  # these lead the official one out of the execution's directory
        assert our_file.parent == their_file.parent
    assert our_file.name.startswith(f"{their_file.stem}.")


@pytest.mark.parametrize("letter", ["x", '"', "é", "\U0001f600"])
def test_both_overflow_at_the_same_size(tmp_path: Path, letter: str) -> None:
    mine, theirs = serdes(ours, tmp_path, "OVERFLOW", "URI"), serdes(official, tmp_path, "OVERFLOW", "URI")
    width = len(json.dumps(json.dumps(letter))) - len(json.dumps(json.dumps("")))
    edge = 261_104 // width
    for count in range(edge - 2, edge + 3):
        value = letter * count
        by_us = mine.serialize(value, SerDesContext("op", "arn"))
        by_them = theirs.serialize(value, OfficialContext("op", "arn"))
        assert list(json.loads(by_us)) == list(json.loads(by_them)), count
