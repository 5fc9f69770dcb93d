"""docs/deploy.md: what it shows is what the templates have, and its commands make a tree that runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")


def test_what_is_shown_of_a_file_is_in_it() -> None:
    shown = re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert len(shown) == TEXT.count("<!-- file: ") == 4
    for name, text in shown:
        assert text in (ROOT / name).read_text(encoding="utf-8"), name


def test_the_wheel_of_each_recipe_is_the_one_that_runs_on_lambda() -> None:
    """In dist/ there may be one for the glibc of the machine, and one for arm64, besides."""
    platforms = ["manylinux_2_39_x86_64", "manylinux2014_x86_64.manylinux_2_17_x86_64"]
    platforms.append(platforms[1].replace("x86_64", "aarch64"))
    wheels = [f"perdure-0.2.0-cp313-cp313-{platform}.whl" for platform in platforms]
    patterns = re.findall(r"\.\./dist/(\S+\.whl)", TEXT)
    assert len(patterns) == 2
    for pattern in patterns:
        assert [wheel for wheel in wheels if fnmatch(wheel, pattern)] == wheels[1:2], pattern


def test_the_commands_for_a_zip_make_a_tree_that_runs_the_function(
    built: Path, tmp_path: Path, takes_an_order: Callable[[Path, str], None]
) -> None:
    console = re.search(r"^## The tree of a zip$.*?^```console\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert console is not None
    commands = [line.removeprefix("$ ") for line in console[1].splitlines()]
    assert commands.pop(0) == "cd examples/deploy"
    shutil.copytree(ROOT / "examples/deploy/function", tmp_path / "examples/deploy/function")
    for command in commands:
        # The wheel is that of the tree under test, for this Python.
        here = re.sub(r"\S+\.whl", str(built), command).replace("python3.13", sys.executable)
        subprocess.run(["/bin/sh", "-ec", here], check=True, cwd=tmp_path / "examples/deploy")
    tree = tmp_path / "examples/deploy/build"
    assert {"app.py", "perdure"} <= {path.name for path in tree.iterdir()}
    compiled = list(tree.rglob("*.pyc"))
    assert tree / f"__pycache__/app.{sys.implementation.cache_tag}.pyc" in compiled
    # The second word of bytecode says what it is held against: 1 is a hash, and no checking of it.
    assert {path.read_bytes()[4:8] for path in compiled} == {(1).to_bytes(4, "little")}
    takes_an_order(tree, "app.handler")
