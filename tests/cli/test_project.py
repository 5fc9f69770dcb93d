"""`perdure run` and `perdure explore` where no handler is given: that of the project, or words that help."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from perdure.cli.commands import app

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
from perdure import durable_execution

@durable_execution
def handler(event, context):
    return context.step(lambda _: event)

@durable_execution
def other(event, context):
    return ["other", event]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "project_app.py").write_text(MODULE)
    (tmp_path / "event.json").write_text('{"of": "the project"}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def says(here: Path, *lines: str) -> None:
    (here / "pyproject.toml").write_text("\n".join(["[tool.perdure]", *lines]))


def result_of(*arguments: str) -> object:
    said = CliRunner().invoke(app, ["run", "--json", *arguments])
    assert said.exit_code == 0, said.output
    return json.loads(said.stdout)["result"]


HANDLER, EVENT = 'handler = "project_app:handler"', 'event = "event.json"'


def test_the_project_names_handler_and_event(here: Path) -> None:
    says(here, HANDLER, EVENT)
    assert result_of() == {"of": "the project"}
    assert result_of("--event", '{"mine": 1}') == {"mine": 1}
    assert result_of("--event", "{}") == {}


def test_a_project_without_an_event_begins_with_an_empty_one(here: Path) -> None:
    says(here, HANDLER)
    assert result_of() == {}


def test_an_event_may_stand_in_the_file_itself(here: Path) -> None:
    says(here, HANDLER, """event = '{"inline": true}'""")
    assert result_of() == {"inline": True}


def test_the_event_of_the_project_is_not_for_a_handler_that_was_given(here: Path) -> None:
    says(here, HANDLER, EVENT)
    assert result_of("project_app:other") == ["other", {}]


def test_nobody_reads_the_file_for_a_handler_that_was_given(here: Path) -> None:
    (here / "pyproject.toml").write_text("[tool.perdure\n")
    assert result_of("project_app:other") == ["other", {}]


def test_the_explorer_takes_the_project_s_too(here: Path) -> None:
    says(here, HANDLER, EVENT)
    said = CliRunner().invoke(app, ["explore", "--json", "--orders", "1"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["expected"]["result"] == '{"of": "the project"}'


WRONG = {
    "[tool.perdure\n": "pyproject.toml is not valid TOML: Expected ']'",
    "[project]\nname = 'x'\n": "pyproject.toml has no [tool.perdure] that names one",
    "tool = 7\n": "pyproject.toml has no [tool.perdure] that names one",
    "[tool]\nperdure = 7\n": "perdure below [tool] in pyproject.toml is no table",
    "[[tool.perdure]]\n": "perdure below [tool] in pyproject.toml is no table",
    "[tool.perdure]\n": "[tool.perdure] in pyproject.toml names none",
    "[tool.perdure]\nhandle = 'project_app:handler'\n": "has no 'handle': is 'handler' meant?",
    "[tool.perdure]\nport = 1\n": "has no 'port': it takes handler and event.",
    "[tool.perdure]\nhandler = 7\n": "handler of [tool.perdure] in pyproject.toml is text, not 7",
}


@pytest.mark.parametrize("command", ["run", "explore"])
@pytest.mark.parametrize("text", WRONG)
def test_a_project_that_names_no_handler_is_refused_with_a_way_out(here: Path, command: str, text: str) -> None:
    (here / "pyproject.toml").write_text(text)
    said = CliRunner().invoke(app, [command])
    assert said.exit_code == 2
    assert WRONG[text] in said.stderr
    assert 'Give one, as in app:handler, or name it in pyproject.toml: handler = "app:handler"' in said.stderr


def test_where_no_project_is_the_folder_is_named(here: Path) -> None:
    said = CliRunner().invoke(app, ["run", "--json"])
    assert said.exit_code == 2
    error = json.loads(said.stdout)["error"]
    assert error["message"] == f"No handler is given, and there is no pyproject.toml here ({here}) that names one."


def test_an_event_that_is_not_there_is_told_with_its_place(here: Path) -> None:
    says(here, HANDLER, 'event = "evnt.json"')
    said = CliRunner().invoke(app, ["run"])
    assert said.exit_code == 2
    assert "event of [tool.perdure] in pyproject.toml: 'evnt.json' is neither a file nor valid JSON" in said.stderr


def test_a_handler_of_the_project_that_is_not_there_is_told(here: Path) -> None:
    says(here, 'handler = "project_app:handlr"')
    said = CliRunner().invoke(app, ["run"])
    assert said.exit_code == 2
    assert "Is 'handler' meant?" in " ".join(re.sub(r"[│╭╰─╮╯]", " ", said.stderr).split())


def test_a_file_that_is_not_utf_8_is_told(here: Path) -> None:
    (here / "pyproject.toml").write_bytes(b'[tool.perdure]\nhandler = "\xff"\n')
    said = CliRunner().invoke(app, ["run"])
    assert said.exit_code == 2
    assert "pyproject.toml is not UTF-8" in said.stderr
