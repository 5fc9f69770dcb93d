"""Values in files: what is written is whole, stands alone, and is read only from where it may stand."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.config import StepConfig
from perdure.exceptions import RetryableSerDesError, SerDesError
from perdure.filesystem_serdes import (
    FileSystemPathEncoding,
    FileSystemSerDes,
    FileSystemSerDesConfig,
    FileSystemSerDesMode,
)
from perdure.preview import PreviewConfig, PreviewMode, build_preview
from perdure.serdes import PASS_THROUGH_SERDES, SerDesContext
from perdure.testing import DurableFunctionTestRunner

if TYPE_CHECKING:
    from collections.abc import Callable

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:orders:$LATEST/durable-execution/order 1/inv-é"
CONTEXT = SerDesContext("op-1", ARN)
URI, HASH = FileSystemPathEncoding.URI, FileSystemPathEncoding.HASH


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def pointer(envelope: str) -> Path:
    return Path(json.loads(envelope)["file"])


@pytest.mark.parametrize("encoding", FileSystemPathEncoding)
def test_a_value_comes_back_as_what_it_was(tmp_path: Path, encoding: FileSystemPathEncoding) -> None:
    serdes = FileSystemSerDes(tmp_path, FileSystemSerDesConfig(path_encoding=encoding))
    value = {"a": (1, Decimal("1.50")), "b": datetime(2026, 1, 1, tzinfo=UTC), "é": "\ud800"}
    assert serdes.deserialize(serdes.serialize(value, CONTEXT), CONTEXT) == value
    assert serdes.deserialize(serdes.serialize(None, CONTEXT), CONTEXT) is None


def test_a_file_is_found_by_people(tmp_path: Path) -> None:
    written = pointer(FileSystemSerDes(tmp_path).serialize(1, CONTEXT))
    assert written.parent == tmp_path / "orders" / "order 1" / "inv-é"
    assert written.name.startswith("op-1.")


def test_each_write_has_a_file_of_its_own_and_leaves_the_others_alone(tmp_path: Path) -> None:
    serdes = FileSystemSerDes(tmp_path)
    first, second = serdes.serialize("first", CONTEXT), serdes.serialize("second", CONTEXT)
    assert serdes.deserialize(first, CONTEXT) == "first"
    assert serdes.deserialize(second, CONTEXT) == "second"


@pytest.mark.parametrize("encoding", FileSystemPathEncoding)
@pytest.mark.parametrize("operation", ["", ".", "..", "../../x", "a/b", "x" * 300, "é" * 200, "\0", "a:b*?"])
@pytest.mark.parametrize(
    "arn",
    [
        *("", ".", "..", "/", "../..", "/etc", "\0", "x" * 400, "arn:weird"),
        ARN.replace("order 1/inv-é", "../.."),
        ARN.replace("order 1/inv-é", "./x"),
        ARN.replace("order 1", "x" * 300),
        ARN.replace("order 1", "\0"),
        ARN + "/more",
    ],
)
def test_no_name_leads_out_of_the_directory(
    tmp_path: Path, arn: str, operation: str, encoding: FileSystemPathEncoding
) -> None:
    serdes = FileSystemSerDes(tmp_path / "root", FileSystemSerDesConfig(path_encoding=encoding))
    context = SerDesContext(operation, arn)
    envelope = serdes.serialize([1, 2], context)
    assert (tmp_path / "root").resolve() in pointer(envelope).resolve().parents
    assert serdes.deserialize(envelope, context) == [1, 2]


def test_only_what_is_too_large_overflows(tmp_path: Path) -> None:
    serdes = FileSystemSerDes(tmp_path, FileSystemSerDesConfig(storage_mode=FileSystemSerDesMode.OVERFLOW))
    small, large = "x" * 261_104, "x" * 261_105
    assert "data" in json.loads(serdes.serialize(small, CONTEXT))
    assert files(tmp_path) == []
    assert "file" in json.loads(serdes.serialize(large, CONTEXT))
    for value in (small, large):
        assert serdes.deserialize(serdes.serialize(value, CONTEXT), CONTEXT) == value


def preview(value: Any) -> dict[str, Any] | None:
    return build_preview(value, PreviewConfig(PreviewMode.EXCLUDE_ALL, include=["id"]))  # type: ignore[list-item]


def test_a_preview_stands_beside_the_pointer(tmp_path: Path) -> None:
    serdes = FileSystemSerDes(tmp_path, FileSystemSerDesConfig(generate_preview=preview))
    envelope = serdes.serialize({"id": 7, "card": "4242"}, CONTEXT)
    assert json.loads(envelope)["preview"] == {"id": 7}
    assert "4242" not in envelope


def broken(_value: Any) -> dict[str, Any] | None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("generate", "warning"),
    [
        (broken, "ZeroDivisionError"),
        (lambda _value: {"x": "x" * 300_000}, "261120"),
        (lambda _value: {("a", "b"): 1}, "TypeError"),
        (lambda _value: None, ""),
        (lambda _value: {}, ""),
    ],
)
def test_no_preview_is_better_than_no_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, generate: Callable[[Any], Any], warning: str
) -> None:
    serdes = FileSystemSerDes(tmp_path, FileSystemSerDesConfig(generate_preview=generate))
    envelope = serdes.serialize([1], CONTEXT)
    assert list(json.loads(envelope)) == ["file"]
    assert serdes.deserialize(envelope, CONTEXT) == [1]
    assert (warning in caplog.text and "op-1" in caplog.text) if warning else not caplog.records


def outside(tmp_path: Path, root: Path) -> list[str]:
    """Give pointers to a readable file that stands elsewhere."""
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text("1")
    (root / "link.json").symlink_to(elsewhere)
    (root / "way").symlink_to(tmp_path)
    return [
        str(elsewhere),
        f"{root}/../elsewhere.json",
        f"{root}/link.json",
        f"{root}/way/elsewhere.json",
        os.path.relpath(elsewhere),
    ]


@pytest.mark.parametrize("way", range(5))
def test_nothing_is_read_from_elsewhere(tmp_path: Path, way: int) -> None:
    root = tmp_path / "root"
    root.mkdir()
    leading_out = outside(tmp_path, root)[way]
    with pytest.raises(SerDesError, match=r"op-1 .*is not below"):
        FileSystemSerDes(root).deserialize(json.dumps({"file": leading_out}), CONTEXT)
    assert FileSystemSerDes(root, readable=[tmp_path]).deserialize(json.dumps({"file": leading_out}), CONTEXT) == 1


def test_a_directory_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "mount").symlink_to(tmp_path / "real")
    serdes = FileSystemSerDes(tmp_path / "mount")
    assert serdes.deserialize(serdes.serialize("x", CONTEXT), CONTEXT) == "x"


@pytest.mark.parametrize(
    "text", ["", "nope", "null", "1", "[]", "{}", '{"data":1}', '{"file":1}', '{"file":null}', "[" * 5_000]
)
def test_what_is_no_envelope_is_said_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(SerDesError, match="no envelope"):
        FileSystemSerDes(tmp_path).deserialize(text, CONTEXT)


@pytest.mark.parametrize("content", [b"", b'{"t":"m","v":{', b"\xff\xfe", b'{"t":"?","v":1}', b"[" * 5_000])
def test_a_file_that_was_cut_or_spoilt_is_named(tmp_path: Path, content: bytes) -> None:
    serdes = FileSystemSerDes(tmp_path)
    envelope = serdes.serialize({"a": 1}, CONTEXT)
    pointer(envelope).write_bytes(content)
    with pytest.raises(SerDesError, match=r"op-1 stored in .*op-1\."):
        serdes.deserialize(envelope, CONTEXT)


def test_a_missing_file_is_named_and_where_it_should_stand_said(tmp_path: Path) -> None:
    serdes = FileSystemSerDes(tmp_path)
    envelope = serdes.serialize(1, CONTEXT)
    pointer(envelope).unlink()
    with pytest.raises(SerDesError, match=r"op-1 cannot read .*environments share"):
        serdes.deserialize(envelope, CONTEXT)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, RetryableSerDesError),
        (errno.EDQUOT, RetryableSerDesError),
        (errno.ESTALE, RetryableSerDesError),
        (errno.EIO, RetryableSerDesError),
        (errno.EROFS, SerDesError),
        (errno.EACCES, SerDesError),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "mkdir", "open", "replace"])
def test_a_write_that_fails_leaves_nothing_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, kind: type[Exception]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os if call == "fsync" else Path, call, fail)
    with pytest.raises(kind, match=r"op-1 cannot write .*op-1\."):
        FileSystemSerDes(tmp_path).serialize({"a": 1}, CONTEXT)
    monkeypatch.undo()
    assert files(tmp_path) == []


KILLED = """
import os, sys
from perdure.filesystem_serdes import FileSystemSerDes
from perdure.serdes import SerDesContext
left = int(sys.argv[2])
def watch(event, given):
    global left
    if event.split(".")[0] in ("open", "os") and str(given[0] if given else "").startswith(sys.argv[1]):
        if left == 0:
            os._exit(9)
        left -= 1
sys.addaudithook(watch)
fsync = os.fsync
def counted(number):
    watch("os.fsync", (sys.argv[1],))
    fsync(number)
os.fsync = counted
FileSystemSerDes(sys.argv[1]).serialize("x" * 100_000, SerDesContext("op", "arn"))
"""


def test_a_process_that_dies_at_any_moment_leaves_a_whole_file_or_none(tmp_path: Path) -> None:
    seen = set()
    for moment in range(20):
        root = tmp_path / str(moment)
        root.mkdir()
        ended = subprocess.run([sys.executable, "-c", KILLED, str(root), str(moment)], check=False)
        kept = [path for path in files(root) if path.suffix == ".json"]
        assert all(path.read_text() == f'"{"x" * 100_000}"' for path in kept)
        seen.add((ended.returncode, len(kept)))
        if ended.returncode == 0:
            break
    assert {(9, 0), (9, 1), (0, 1)} <= seen


def test_a_thousand_writers_at_once(tmp_path: Path) -> None:
    serdes = FileSystemSerDes(tmp_path)
    envelopes: list[str] = [""] * 1_000
    gate = threading.Barrier(20)

    def write(first: int) -> None:
        gate.wait()
        for number in range(first, 1_000, 20):
            envelopes[number] = serdes.serialize(number, CONTEXT)

    threads = [threading.Thread(target=write, args=[first]) for first in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [serdes.deserialize(envelope, CONTEXT) for envelope in envelopes] == list(range(1_000))
    assert len(files(tmp_path)) == 1_000


def test_a_hundred_megabytes(tmp_path: Path) -> None:
    serdes = FileSystemSerDes(tmp_path, FileSystemSerDesConfig(serdes=PASS_THROUGH_SERDES))
    value = "0123456789" * 10_000_000
    envelope = serdes.serialize(value, CONTEXT)
    assert len(envelope) < 1_000
    assert serdes.deserialize(envelope, CONTEXT) == value


def test_an_execution_keeps_its_values_there_over_invocations(tmp_path: Path) -> None:
    stored = StepConfig(serdes=FileSystemSerDes(tmp_path, FileSystemSerDesConfig(generate_preview=preview)))

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        page = context.step(lambda _: {"id": 7, "rows": ["x" * 1_000] * 3_000}, name="page", config=stored)
        context.wait(60)
        return len(page["rows"])

    with DurableFunctionTestRunner(handler) as runner:
        result = runner.run()
        recorded = json.loads(result.get_step("page").result)
    assert json.loads(result.result) == 3_000
    assert recorded["preview"] == {"id": 7}
    assert len(files(tmp_path)) == 1
