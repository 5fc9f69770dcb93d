"""`perdure run` with the timeline of what it ran: printed, and drawn into files."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from perdure.cli.commands import app

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
from datetime import timedelta
from perdure import durable_execution

@durable_execution
def good(event, context):
    context.wait(timedelta(hours=2), name="nap")
    return context.step(lambda _: "rested", name="wake")

@durable_execution
def bad(event, context):
    context.step(lambda _: 1, name="first")
    raise ValueError("the reason")

@durable_execution
def stuck(event, context):
    return context.create_callback("answer").result()

@durable_execution
def interrupted(event, context):
    context.step(lambda _: 1, name="before")
    raise KeyboardInterrupt
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "drawn_app.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(function: str, *arguments: str) -> tuple[int, str, str]:
    command = ["run", f"drawn_app:{function}", "--skip-time", *arguments]
    result = CliRunner().invoke(app, command, env={"TZ": "UTC", "COLUMNS": "100"})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def test_the_timeline_stands_below_the_outcome() -> None:
    code, out, _ = run("good", "--timeline", "--name", "o-1")
    assert code == 0
    _, outcome, drawn = out.partition("SUCCEEDED (2 invocations, 2 operations)\n")
    assert outcome
    head, *rows = drawn[drawn.index("o-1 of good") :].splitlines()
    assert head.startswith("o-1 of good: SUCCEEDED, 2 h from 2026-01-01 00:00:00")
    assert [row.split()[0] for row in rows[1:-1]] == ["o-1", "nap", "wake"]
    assert rows[2].endswith("2 h")


@pytest.mark.parametrize(("function", "exit_code", "status"), [("bad", 1, "FAILED"), ("stuck", 3, "RUNNING")])
def test_what_fails_or_waits_is_drawn_too(function: str, exit_code: int, status: str) -> None:
    code, out, _ = run(function, "--timeline", "--callback-wait", "0")
    assert code == exit_code
    assert f" of {function}: {status}, " in out


def test_what_was_interrupted_is_drawn_as_far_as_it_came(here: Path) -> None:
    code, out, _ = run("interrupted", "--timeline", "--svg", "run.svg")
    assert code == 130
    assert re.search(r"^before +", out, re.MULTILINE)
    assert (here / "run.svg").exists()


def test_pictures_are_drawn_into_files_and_told(here: Path) -> None:
    code, out, err = run("good", "--svg", "run.svg", "--html", "run.html")
    assert code == 0
    assert " of good: " not in out  # pictures only
    assert err.splitlines()[-2:] == ["Wrote run.svg.", "Wrote run.html."]
    assert ET.parse(here / "run.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own
    page = (here / "run.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert ">nap<" in page


def test_the_timeline_is_a_member_of_the_document() -> None:
    code, out, _ = run("good", "--json", "--timeline", "--svg", "run.svg")
    document = json.loads(out)
    assert code == 0
    assert (document["status"], document["result"]) == ("SUCCEEDED", "rested")
    assert [row["name"] for row in document["timeline"]["rows"]] == ["nap", "wake"]
    assert document["timeline"]["lastedMilliseconds"] == 7_200_000
    assert "timeline" not in json.loads(run("good", "--json")[1])


@pytest.mark.parametrize("option", ["--svg", "--html"])
@pytest.mark.parametrize(
    ("file", "why"),
    [("-", "give it a file"), (".", "is a folder"), ("nowhere/run.svg", "is in no folder that is there")],
)
def test_what_cannot_be_drawn_into_is_refused_before_anything_runs(option: str, file: str, why: str) -> None:
    code, out, err = run("good", option, file)
    assert (code, out) == (2, "")
    assert why in " ".join(re.sub(r"[│╭╰─╮╯]", " ", err).split())


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_picture_that_cannot_be_written_takes_the_outcome_from_nobody(
    here: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    def full(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(type(here), "write_text", full)
    code, out, err = run("good", "--svg", "run.svg", *more)
    assert code == 2
    assert "SUCCEEDED" in out
    assert "rested" in out
    assert not more or json.loads(out)["result"] == "rested"
    assert "run.svg cannot be written" in err
