"""What the Makefile's targets install: a newcomer's first minute is `make run`."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def commands(target: str, *variables: str) -> list[str]:
    """Give what a target would do in a fresh clone; nothing is done."""
    # What a make that runs these tests was told is not for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHONS"))}
    ran = subprocess.run(
        ["make", "--dry-run", "VENV=.venv-of-nobody", target, *variables],  # noqa: S607
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.splitlines()


def test_running_the_example_installs_nothing_that_only_development_needs() -> None:
    lines = commands("run")
    groups = {line.partition("--group ")[2].partition(" ")[0] for line in lines if "--group" in line}
    assert groups == {"build"}
    developing = [line for line in lines if "maturin develop" in line]
    assert len(developing) == 1
    assert "--group" in developing[0]  # without one, maturin installs the group called dev


def test_testing_installs_the_development_group() -> None:
    assert any("--group dev" in line for line in commands("test-python"))


def test_the_engine_is_tested_without_the_tools_of_the_whole() -> None:
    lines = commands("test-engine")
    assert any("--group test" in line for line in lines)
    assert not any("--group dev" in line for line in lines)


def test_the_engine_is_tested_on_each_python_that_is_named_in_an_environment_of_its_own() -> None:
    tests = [line for line in commands("test", f"PYTHONS={sys.executable}") if " -m pytest " in line]
    assert any(line.startswith(".venv-of-nobody/bin/python -m pytest") for line in tests)
    own = f".venv-{platform.python_version()}{sys.abiflags}/bin/python"
    assert [line.split(" -m ")[0] for line in tests if "tests/differential" in line] == [own]


def test_no_other_python_is_tested_unasked() -> None:
    assert not any("tests/differential" in line for line in commands("test"))
