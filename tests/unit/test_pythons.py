"""`.ci/pythons`: which CPythons CI finds on a machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PYTHONS = Path(__file__).parents[2] / ".ci" / "pythons"


def script(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def ran(home: Path, folders: tuple[Path, ...], *names: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it with nothing on the path but these folders and what the shell needs, and with a home of its own."""
    path = os.pathsep.join([*map(str, folders), "/usr/bin", "/bin"])
    environment = {"PATH": path, "HOME": str(home)}
    return subprocess.run(["/bin/bash", PYTHONS, *names], env=environment, capture_output=True, text=True, check=False)


def found(home: Path, *folders: Path) -> list[str]:
    return ran(home, folders).stdout.splitlines()


# Runs what it is given as if by an interpreter of another kind.
DISGUISE = """
import collections, ensurepip, sys, sysconfig, types, venv
name, minor, level, gil, sys.executable, _, code = sys.argv[1:]
Version = collections.namedtuple("Version", "major minor micro releaselevel serial")
sys.version_info, sys.implementation = Version(3, int(minor), 0, level, 0), types.SimpleNamespace(name=name)
sysconfig.get_config_var = {"Py_GIL_DISABLED": int(gil)}.get
exec(code)
"""


def disguised(path: Path, minor: int, name: str = "cpython", level: str = "final", gil: int = 0) -> str:
    """Make an interpreter that says it is another; return its path."""
    disguise = path.parent / "disguise.py"
    script(path, f'exec {sys.executable} {disguise} {name} {minor} {level} {gil} "$0" "$@"')
    disguise.write_text(DISGUISE)
    return str(path)


def minors(pythons: list[str]) -> list[int]:
    code = "import sys; print(sys.version_info.minor)"
    return [int(subprocess.run([p, "-c", code], capture_output=True, check=True).stdout) for p in pythons]


def test_each_is_run_and_those_that_do_not_are_passed_over(tmp_path: Path) -> None:
    shims, own = tmp_path / "shims", tmp_path / "bin"
    script(shims / "python3", "echo 'pyenv: python3: command not found' >&2; exit 127")
    script(shims / f"python3.{sys.version_info.minor}", "exit 127")
    own.mkdir()
    (own / "python3").symlink_to(sys.executable)
    pythons = found(tmp_path, shims, own)
    assert minors(pythons) == sorted(set(minors(pythons)))
    assert str(own / "python3") in pythons
    assert not any(Path(python).is_relative_to(shims) for python in pythons)


def test_the_newest_comes_last_wherever_it_is(tmp_path: Path) -> None:
    by_pyenv = disguised(tmp_path / ".pyenv/versions/3.98.1/bin/python3", 98)
    on_path = disguised(tmp_path / "bin/python3.97", 97)
    by_uv = disguised(tmp_path / ".local/share/uv/python/cpython-3.99/bin/python3.99", 99)
    disguised(tmp_path / "later/python3.99", 99)
    assert found(tmp_path, tmp_path / "bin")[-3:] == [on_path, by_pyenv, by_uv]
    assert found(tmp_path, tmp_path / "later")[-1] == str(tmp_path / "later/python3.99")  # the path comes first


def test_what_is_too_old_not_out_yet_or_another_kind_is_not_taken(tmp_path: Path) -> None:
    here = found(tmp_path)
    disguised(tmp_path / "old/python3.10", 10)
    disguised(tmp_path / "early/python3.98", 98, level="candidate")
    disguised(tmp_path / "other/python3", 97, name="pypy")
    disguised(tmp_path / "free/python3.96", 96, gil=1)
    folders = [tmp_path / name for name in ("old", "early", "other", "free")]
    assert found(tmp_path, *folders) == here


def test_those_that_are_named_come_in_that_order_wherever_they_are(tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    script(shims / "python3.98", "exit 127")
    by_pyenv = disguised(tmp_path / ".pyenv/versions/3.98.1/bin/python3", 98)
    on_path = disguised(shims / "python3.97", 97)
    by_path = disguised(tmp_path / "mine/python", 96, gil=1)
    told = ran(tmp_path, (shims,), "3.98", by_path, "python3.97", "python3.98")
    assert told.stdout.splitlines() == [by_pyenv, by_path, on_path, by_pyenv]
    assert told.returncode == 0


@pytest.mark.parametrize("name", ["3.95", "python3.95", "python4", "3.", "/nowhere/python3.98", "nonsense"])
def test_one_that_is_named_and_not_here_is_told(tmp_path: Path, name: str) -> None:
    disguised(tmp_path / ".pyenv/versions/3.98.1/bin/python3", 98)
    told = ran(tmp_path, (), name)
    assert (told.returncode, told.stdout, told.stderr) == (1, "", f"{name} is not here\n")
