"""`perdure migrate`: which files it finds, what it shows, writes and says, and how it exits."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perdure.cli import migrating
from perdure.cli.commands import app

assert migrating.app is app  # importing it adds the command

PROGRAMS = Path(__file__).parents[1] / "support" / "official_programs"
SDK = "aws_durable_execution_sdk_python"
BEFORE, AFTER = f"from {SDK} import StepContext\n", "from perdure import StepContext\n"


@dataclass(frozen=True)
class Said:
    """What the command has printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def migrate(place: Path, *arguments: str) -> Said:
    with contextlib.chdir(place):
        result = CliRunner().invoke(app, ["migrate", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Said(result.exit_code, result.stdout, result.stderr)


def put(place: Path, **files: str) -> None:
    """Write files; two underscores stand for a slash."""
    for name, text in files.items():
        path = place / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "my project"
    (place / "src of it").mkdir(parents=True)
    (place / "src of it" / "order.py").write_text(f"import {SDK}.config\nx = {SDK}.config.Duration\n")
    (place / "other.py").write_text("x = 1\n")
    (place / "test_it.py").write_text(f"from {SDK}_testing import DurableFunctionTestRunner\np = patch('{SDK}.x')\n")
    return place


def test_it_shows_a_patch_and_writes_nothing(project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*.py")}
    done = migrate(project, ".")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "--- a/src of it/order.py",
        "+++ b/src of it/order.py",
        "@@ -1,2 +1,2 @@",
        f"-import {SDK}.config",
        f"-x = {SDK}.config.Duration",
        "+import perdure.config",
        "+x = perdure.config.Duration",
        "--- a/test_it.py",
        "+++ b/test_it.py",
        "@@ -1,2 +1,2 @@",
        f"-from {SDK}_testing import DurableFunctionTestRunner",
        "+from perdure.testing import DurableFunctionTestRunner",
        f" p = patch('{SDK}.x')",
    ]
    assert done.stderr.splitlines() == [
        "test_it.py:2:11: a string says what is patched: make it 'perdure.x', or the program is not patched",
        "2 files to rewrite, 1 place to look at. --write does it.",
    ]
    assert {path: path.read_bytes() for path in project.rglob("*.py")} == before


def test_what_it_shows_is_a_patch(project: Path) -> None:
    (project / "end.py").write_bytes(f"import {SDK}".encode())  # without an end of line
    (project / "crlf.py").write_bytes(f"import {SDK}\r\n{SDK}\r\n".encode())
    shown = subprocess.run(
        [sys.executable, "-m", "perdure.cli", "migrate", "."], cwd=project, capture_output=True, timeout=100, check=True
    ).stdout
    subprocess.run(["git", "apply", "-p1", "-"], cwd=project, input=shown, check=True, timeout=60)  # noqa: S607 - where it is
    assert (project / "end.py").read_bytes() == b"import perdure"
    assert (project / "crlf.py").read_bytes() == b"import perdure\r\nperdure\r\n"
    assert migrate(project, ".", "--check").returncode == 0


def test_it_writes_and_then_has_nothing_to_do(project: Path) -> None:
    (project / "other.py").chmod(0o644)
    (project / "src of it" / "order.py").chmod(0o754)
    done = migrate(project, ".", "--write")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("2 files rewritten, 1 place to look at. An import sorter may want to sort anew.\n")
    order = project / "src of it" / "order.py"
    assert order.read_text() == "import perdure.config\nx = perdure.config.Duration\n"
    assert stat.S_IMODE(order.stat().st_mode) == 0o754
    assert sorted(path.name for path in project.iterdir()) == ["other.py", "src of it", "test_it.py"]
    again = migrate(project, ".", "--write")
    assert (again.returncode, again.stderr.splitlines()[-1]) == (0, "nothing rewritten, 1 place to look at.")


def test_a_check_fails_until_it_is_done(project: Path) -> None:
    assert migrate(project, ".", "--check").returncode == 1
    migrate(project, ".", "--write")
    done = migrate(project, ".", "--check")
    assert (done.returncode, done.stdout) == (0, "")


def test_it_takes_files_and_folders(project: Path) -> None:
    (project / "script").write_text(f"#!/usr/bin/env python\nimport {SDK}\n")
    assert "script" not in migrate(project, ".").stdout
    done = migrate(project, "script", "src of it", "script", "--write")
    assert done.stderr.startswith("2 files rewritten")
    assert (project / "script").read_text() == "#!/usr/bin/env python\nimport perdure\n"
    assert SDK in (project / "test_it.py").read_text()


def test_what_is_not_the_projects_own_is_left_alone(tmp_path: Path) -> None:
    elsewhere = ["git", "venv", "cache__pypoetry"]
    put(tmp_path, **{f".{name}__x_py": BEFORE for name in elsewhere})
    put(tmp_path, env__pyvenv_cfg="", node_modules__x_py=BEFORE, __pycache____x_py=BEFORE)
    (tmp_path / "env").mkdir(exist_ok=True)
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    put(tmp_path, env__lib__x_py=BEFORE, cdk__out__x_py=BEFORE)
    (tmp_path / "cdk.out").mkdir()
    (tmp_path / "cdk.out" / "x.py").write_text(BEFORE)
    done = migrate(tmp_path, ".")
    assert [line for line in done.stdout.splitlines() if line.startswith("---")] == ["--- a/cdk/out/x.py"]


def test_links_are_not_followed_but_one_that_is_named_is(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    put(outside, x_py=BEFORE, y_py=BEFORE)
    inside.mkdir()
    (inside / "link.py").symlink_to(outside / "x.py")
    (inside / "round").symlink_to(inside)
    (inside / "away").symlink_to(outside)
    (inside / "broken.py").symlink_to(outside / "nothing.py")
    assert migrate(inside, ".").stdout == ""
    assert migrate(inside, "link.py", "--write").returncode == 0
    assert (inside / "link.py").is_symlink()
    assert ((outside / "x.py").read_text(), (outside / "y.py").read_text()) == (AFTER, BEFORE)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "cp1252", "utf-8"])
def test_encodings_stay(encoding: str, tmp_path: Path) -> None:
    cookie = "" if encoding.startswith("utf-8") else f"# -*- coding: {encoding} -*-\n"
    text = f"{cookie}é = 'ü'; import {SDK}; {SDK}.x\n"
    (tmp_path / "x.py").write_bytes(text.encode(encoding))
    assert migrate(tmp_path, "x.py", "--write").returncode == 0
    assert (tmp_path / "x.py").read_bytes() == text.replace(SDK, "perdure").encode(encoding)


def test_what_cannot_be_rewritten_is_told_and_the_rest_is_done(tmp_path: Path) -> None:
    put(tmp_path, good_py=BEFORE, bad_py=f"import {SDK}\ndef f(:\n")
    (tmp_path / "odd.py").write_bytes(f"# coding: nothing\nimport {SDK}\n".encode())
    (tmp_path / "wrong.py").write_bytes(f"import {SDK}  # \xff\n".encode("latin-1"))
    done = migrate(tmp_path, ".", "--write")
    assert done.returncode == 3
    told = done.stderr.splitlines()
    assert [line.split(":")[0] for line in told[:-1]] == ["bad.py", "odd.py", "wrong.py"]
    assert told[0].startswith("bad.py:2:1: not rewritten: it is no Python: ")
    assert "unknown encoding" in told[1]
    assert "invalid or missing encoding declaration" in told[2]
    assert told[-1].startswith("1 file rewritten, 3 files not rewritten.")
    assert (tmp_path / "good.py").read_text() == AFTER
    assert migrate(tmp_path, ".", "--check").returncode == 3


def test_files_that_may_not_be_read_or_written_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, x_py=BEFORE, y_py=BEFORE)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "mkstemp", forbidden)
        done = migrate(tmp_path, ".", "--write")
        assert (done.returncode, "x.py cannot be written: Permission denied" in done.stderr) == (3, True)
        assert (tmp_path / "x.py").read_text() == BEFORE
        patched.setattr(Path, "read_bytes", forbidden)
        done = migrate(tmp_path, ".")
        assert (done.returncode, "x.py:1:1: not rewritten: it cannot be read: Permission denied" in done.stderr) == (
            3,
            True,
        )


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, x_py=BEFORE)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    done = migrate(tmp_path, ".", "--write")
    assert (done.returncode, [path.name for path in tmp_path.iterdir()]) == (3, ["x.py"])
    assert (tmp_path / "x.py").read_text() == BEFORE


def test_json_is_one_document(project: Path) -> None:
    (project / "bad.py").write_text(f"import {SDK}\n(")
    done = migrate(project, ".", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr, told["exitCode"]) == (3, "", 3)
    files = {file["path"]: file for file in told["files"]}
    assert list(files) == ["bad.py", "src of it/order.py", "test_it.py"]
    assert files["bad.py"]["problem"]["line"] == 2
    assert (files["bad.py"]["changes"], files["test_it.py"]["changes"]) == (False, True)
    assert files["src of it/order.py"]["diff"].startswith("--- a/src of it/order.py\n")
    assert files["test_it.py"]["notes"] == [
        {
            "line": 2,
            "column": 11,
            "byHand": True,
            "message": "a string says what is patched: make it 'perdure.x', or the program is not patched",
        }
    ]
    assert not any(file["written"] for file in files.values())
    written = json.loads(migrate(project, ".", "--json", "--write").stdout)
    assert [file["written"] for file in written["files"]] == [False, True, True]


@pytest.mark.parametrize("arguments", [[], ["nowhere"], [".", "--write", "--check"], ["--wrong", "."]])
def test_a_wrong_command_line_exits_with_2(arguments: list[str], tmp_path: Path) -> None:
    assert migrate(tmp_path, *arguments).returncode == 2


REQUIREMENTS = {
    "requirements.txt": "boto3\naws-durable-execution-sdk-python>=3\n",
    "requirements-dev.txt": "aws-durable-execution-sdk-python-testing==1.4.0\n",
    "pyproject.toml": '[project]\ndependencies = ["aws_durable_execution_sdk_python>=3"]\n',
    "Pipfile": '[packages]\naws-durable-execution-sdk-python = "*"\n',
    "uv.lock": '[[package]]\nname = "aws-durable-execution-sdk-python"\nx = "aws-durable-execution-sdk-python"\n',
    "template.yaml": "Type: AWS::Serverless::Function\nDurableConfig:\n  ExecutionTimeout: 1\nDurableConfig: 2\n",
    "serverless.yml": "functions:\n  order:\n    durableConfig:\n      executionTimeout: 1\n",
    "stack.ts": "new Function(this, 'f', { durableConfig: { executionTimeout } });\n",
    "stack.py": "import aws_cdk\naws_cdk.Function(\n    durable_config=1)\n",
    "Dockerfile": "RUN pip install aws-durable-execution-sdk-python\nCMD dex-local-runner start-server\n",
    ".github/workflows/ci.yml": "- run: pip install aws-durable-execution-sdk-python-testing\n",
    "walk.ipynb": '{"cells": ["import aws_durable_execution_sdk_python"]}\n',
    "data.json": '{"ErrorType": "aws_durable_execution_sdk_python.exceptions.StepError"}\n',
    "alarm.yaml": 'Pattern: "aws_durable_execution_sdk_python.exceptions.StepError"\n',
    "notes.md": "aws-durable-execution-sdk-python\n",
    "requirements.in": "boto3\n",
}


def test_it_tells_what_requirements_and_templates_need_and_changes_none(tmp_path: Path) -> None:
    for name, text in REQUIREMENTS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = migrate(tmp_path, ".", "--write")
    told = [line.split(": ", 1) for line in done.stderr.splitlines()[:-1]]
    expected = {
        ".github/workflows/ci.yml:1:20": "the testing package is a part of perdure",
        "Dockerfile:1:17": "require perdure instead",
        "Dockerfile:2:5": "dex-local-runner is `perdure serve` here",
        "Pipfile:2:1": "require perdure instead",
        "alarm.yaml:1:11": "the type of an error as it is recorded: it stays",
        "pyproject.toml:2:18": "perdure instead; as a module",
        "requirements-dev.txt:1:1": "the testing package is a part of perdure",
        "requirements.txt:2:1": "require perdure instead",
        "serverless.yml:3:5": "a function is built from it: perdure has compiled code",
        "stack.py:3:1": "a function is built from it",
        "stack.ts:1:27": "a function is built from it",
        "template.yaml:2:1": "a function is built from it",
        "uv.lock:2:9": "a lock file: make it anew",
        "walk.ipynb:1:1": "a notebook: change the imports",
    }
    assert [place for place, _ in told] == list(expected)
    for place, message in told:
        assert message.startswith(expected[place]), (place, message)
    assert {name: (tmp_path / name).read_text() for name in REQUIREMENTS} == REQUIREMENTS
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["order", "suite"])
def test_a_program_does_the_same_when_it_is_rewritten(name: str, tmp_path: Path) -> None:
    program = tmp_path / f"{name}.py"
    program.write_bytes((PROGRAMS / program.name).read_bytes())
    assert migrate(tmp_path, ".", "--write").returncode == 0
    text = program.read_text()
    assert SDK not in "".join(line for line in text.splitlines() if "import" in line)
    suite = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", str(program)]
    run = suite if name == "suite" else [str(program)]
    outputs = []
    for path in (PROGRAMS / program.name, program):
        arguments = [str(path) if argument == str(program) else argument for argument in run]
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=True
        )
        outputs.append(done.stdout.splitlines()[-1])
    assert outputs[0].split(" in ")[0] == outputs[1].split(" in ")[0]


def test_a_terminal_gets_no_control_characters_of_a_source(tmp_path: Path) -> None:
    put(tmp_path, x_py=f"import {SDK}\nx = '\x1b[31mred\u202e'\n")
    code = (
        "import os, pty, sys\n"
        "sys.exit(os.waitstatus_to_exitcode(pty.spawn([sys.executable, '-m', 'perdure.cli', 'migrate', '.'])))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=100, check=True)
    shown = done.stdout.decode()
    assert "import perdure" in shown
    assert "\x1b[31mred" not in shown
    assert "\u202e" not in shown
