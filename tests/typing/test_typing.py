"""What type checkers see of the public names: mypy and basedpyright on the files in `samples`, line by line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(__file__).resolve().parent / "samples"
NAMES = sorted(path.name for path in SAMPLES.glob("*.py"))

Errors = dict[tuple[str, int], str]


def run(tool: str, *options: str) -> str:
    command = [sys.executable, "-m", tool, *options, str(SAMPLES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout


@cache
def mypy() -> Errors:
    lines = run("mypy", "--no-error-summary", "--no-color-output", "--hide-error-context", "--no-pretty").splitlines()
    found = (re.fullmatch(r"(.+?):(\d+): error: (.*)", line) for line in lines)
    return {(Path(error[1]).name, int(error[2])): error[3] for error in found if error}


@cache
def basedpyright() -> Errors:
    report = json.loads(run("basedpyright", "--outputjson", "--level", "error", "--pythonpath", sys.executable))
    return {
        (Path(error["file"]).name, error["range"]["start"]["line"] + 1): error["message"]
        for error in report["generalDiagnostics"]
        if error["severity"] == "error"
    }


def expected(name: str) -> set[int]:
    lines = (SAMPLES / name).read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("  # E")}


@pytest.mark.parametrize("checker", [mypy, basedpyright], ids=lambda checker: checker.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_a_checker_refuses_the_marked_lines_and_no_others(checker: object, name: str) -> None:
    errors = {line: message for (file, line), message in checker().items() if file == name}  # type: ignore[operator]
    wanted = expected(name)
    unexpected = {line: message for line, message in errors.items() if line not in wanted}
    assert (unexpected, wanted - set(errors)) == ({}, set())


def test_the_stub_is_what_the_binding_offers() -> None:
    allowlist = Path(__file__).with_name("stubtest-allowlist.txt")
    command = [sys.executable, "-m", "mypy.stubtest", "perdure._core", "--allowlist", str(allowlist)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
