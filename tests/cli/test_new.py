"""`perdure new`: what it makes works as it comes, and what is there already stays as it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perdure import _core
from perdure.cli.commands import app
from perdure.cli.new import FILES, template

ROOT = Path(__file__).resolve().parents[2]


def new(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["new", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def content(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in found}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(here: Path) -> Path:
    assert new("orders")[0] == 0
    return here / "orders"


def in_project(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST"))}
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


# -- what is made ------------------------------------------------------------------------------------------------------


def test_a_project_is_made_and_told(here: Path) -> None:
    code, out, err = new("orders")
    assert (code, err) == (0, "")
    assert sorted(content(here / "orders")) == sorted(FILES)
    assert out.splitlines()[: len(FILES)] == [f"orders/{file}" for file in FILES]
    assert "cd orders" in out


def test_a_project_is_told_as_json(here: Path) -> None:
    code, out, _ = new("orders", "--json")
    assert (code, json.loads(out)) == (0, {"folder": str(here / "orders"), "files": list(FILES)})


def test_an_empty_folder_is_filled(here: Path) -> None:
    (here / "orders").mkdir()
    assert new("orders")[0] == 0
    assert sorted(content(here / "orders")) == sorted(FILES)


def test_the_name_and_the_version_are_in_it_and_no_blank_is_left(project: Path) -> None:
    made = content(project)
    assert made["README.md"].startswith("# orders\n")
    assert "FunctionName: orders\n" in made["template.yaml"]
    assert f"--no-deps perdure=={_core.__version__}\n" in made["README.md"]
    assert not [name for name, text in made.items() if re.search(r"\$(name|version|\$)|\$\{", text)]
    assert all(text.endswith("\n") for text in made.values())


def test_the_project_passes_its_own_test(project: Path) -> None:
    done = in_project(project, "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_run_without_further_words_runs_it_in_real_time(project: Path) -> None:
    event = project / "event.json"
    event.write_text(json.dumps({**json.loads(event.read_text()), "seconds_to_reconsider": 1, "outages": 0}))
    done = in_project(project, "perdure.cli", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "waiting" in done.stdout
    assert outcome(done.stdout) == {"payment": "paid 4200 cents", "parcels": ["cup sent", "pot sent"]}


def test_its_own_event_shows_an_attempt_that_fails_and_a_wait(project: Path) -> None:
    done = in_project(project, "perdure.cli", "run", "--skip-time", "--timeline")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the payment provider did not answer" in done.stdout
    assert "skipping 5 s" in done.stdout


def outcome(out: str) -> Any:
    return json.loads(out[out.index("\n{") :])


def test_the_explorer_finds_nothing_in_it(project: Path) -> None:
    done = in_project(project, "perdure.cli", "explore", "--orders", "2")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_commands_of_its_readme_are_commands(project: Path) -> None:
    words = re.findall(r"^\$ perdure (\w+)((?: [^#\n]*)?)", content(project)["README.md"], re.MULTILINE)
    assert {command for command, _ in words} == {"run", "explore", "serve", "invoke", "timeline"}
    for command, options in words:
        helped = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
        for option in re.findall(r"--[a-z-]+", options):
            assert option in helped, f"perdure {command} has no {option}"


def test_the_first_minute_of_the_readme_is_as_it_says(here: Path) -> None:
    blocks = re.findall(
        r"^```console\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (block,) = (block for block in blocks if "perdure new" in block)
    commands = re.findall(r"^\$ ([^#\n]*?) *(?:#.*)?$", block, re.MULTILINE)
    assert [command.split()[:2] for command in commands[:3]] == [
        ["perdure", "new"],
        ["cd", "orders"],
        ["perdure", "run"],
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    done = subprocess.run(
        ["/bin/sh", "-ec", "\n".join(commands)],
        cwd=here,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "time-to-reconsider" in done.stdout
    assert "2 passed" in done.stdout


def test_its_template_deploys_what_it_has(project: Path) -> None:
    made = content(project)
    handler = tomllib.loads(made["pyproject.toml"])["tool"]["perdure"]["handler"]
    ((module, function),) = re.findall(r"Handler: (\w+)\.(\w+)", made["template.yaml"])
    assert handler == f"{module}:{function}"
    code = re.findall(r"CodeUri: (\S+)", made["template.yaml"])
    assert code == re.findall(r"cp \w+\.py (\S+)", made["README.md"])


def test_the_code_of_a_project_is_formatted_and_free_of_lints(project: Path) -> None:
    settings = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    per_file = [part for rule in ("S101", "PLR2004", "D103") for part in ("--per-file-ignores", f"test_*.py:{rule}")]
    for command in (["format", "--check", *settings], ["check", *settings, *per_file, "--ignore", "INP001"]):
        done = in_project(project, "ruff", *command, ".")
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_code_of_a_project_is_typed(project: Path) -> None:
    settings = ["--strict", "--config-file", os.devnull, "--cache-dir", os.devnull]
    done = in_project(project, "mypy", *settings, "app.py", "test_app.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_has_the_templates_and_no_others() -> None:
    found = {path.name for path in (files("perdure.cli") / "templates").iterdir()}
    assert found == {f"{file}.txt" for file in FILES}


# -- what is refused ---------------------------------------------------------------------------------------------------

NO_NAMES = ["", ".", "..", "a/b", "/x", "1st", "-x", "a b", "a_b", "a.b", "größe", "x" * 65, "a\n", "../x", "$name"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_refused(here: Path, name: str) -> None:
    code, out, err = new("--", name)
    assert (code, out) == (2, "")
    assert "is no name of a project" in " ".join(re.sub(r"[│╭╰─╮╯]", " ", err).split())
    assert list(here.iterdir()) == []


def test_a_name_that_is_long_enough_for_lambda_is_taken(here: Path) -> None:
    assert new("x" * 64)[0] == 0
    assert (here / ("x" * 64) / "template.yaml").exists()


def taken(here: Path, kind: str) -> Path:
    path = here / "orders"
    if kind == "a file":
        path.write_text("mine")
    elif kind == "a broken link":
        path.symlink_to(here / "nowhere")
    else:
        path.mkdir()
        (path / {"a hidden file": ".env", "a file of the project's": "event.json"}[kind]).write_text("mine")
    return path


@pytest.mark.parametrize("kind", ["a file", "a broken link", "a hidden file", "a file of the project's"])
def test_nothing_is_overwritten(here: Path, kind: str) -> None:
    path = taken(here, kind)
    code, out, err = new("orders")
    assert (code, out) == (2, "")
    assert "left as" in err
    assert "Give another name" in err
    assert set(content(here).values()) <= {"mine"}
    assert path.is_symlink() == (kind == "a broken link")


def test_a_refusal_is_told_as_json(here: Path) -> None:
    taken(here, "a file")
    code, out, _ = new("orders", "--json")
    assert code == 2
    assert json.loads(out)["error"]["type"] == "Usage"


def test_a_file_that_comes_meanwhile_is_not_overwritten(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Path.iterdir

    def slow(path: Path) -> Any:
        yield from look(path)
        (path / "app.py").write_text("mine")

    monkeypatch.setattr(Path, "iterdir", slow)
    code, _, err = new("orders")
    monkeypatch.undo()
    assert code == 2
    assert f"{Path('orders/app.py')} is there already" in err
    assert (here / "orders/app.py").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, _, err = new("orders")
    assert code == 2
    assert "orders cannot be written" in err


def test_code_of_a_project_may_hold_any_sign() -> None:
    assert template("app.py", "orders") == template("app.py", "parcels")
