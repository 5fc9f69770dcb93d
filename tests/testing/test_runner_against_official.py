"""The same tests under the official runner and under ours, each with its own SDK: all that is public is equal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.both_sdks import PERDURE
from support.runner_cases import CASES, run_all

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    """Run the cases under the official package, whose runner leaves event loops open, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "support.runner_cases"],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    return run_all(PERDURE, "perdure.testing")


@pytest.mark.parametrize("name", [body.__name__ for body in CASES])
def test_both_runners_show_the_same(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    assert not str(theirs[name]).startswith("raised"), theirs[name]
    assert ours[name] == theirs[name]
