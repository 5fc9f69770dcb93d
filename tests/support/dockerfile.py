"""Carry out a Dockerfile where there is no Docker: its stages are folders, its images hold nothing but this Python.

Only what Dockerfiles of Lambda functions are made of is understood: FROM, WORKDIR, COPY, RUN, and the last stage's CMD.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

TASK_ROOT = "/var/task"
"""The working folder of AWS's base images, and where they have the function's code."""


class Image(NamedTuple):
    base: str
    task_root: Path
    command: list[str]


class _Stage:
    """A stage: the image it began with, its file system and its working folder."""

    def __init__(self, base: str, root: Path) -> None:
        self.base = base
        self.root = root
        self.folder = TASK_ROOT
        self.command: list[str] = []
        self.place(".").mkdir(parents=True)

    def place(self, name: str) -> Path:
        """Give where a path of the image is on this machine."""
        return self.root / os.path.normpath(os.path.join(self.folder, name)).lstrip("/")  # noqa: PTH118 - of the image


def build(dockerfile: Path, context: Path, folder: Path) -> Image:
    """Carry out a Dockerfile.

    Args:
        dockerfile: The file.
        context: The folder that its COPYs are from.
        folder: Where the stages go.

    """
    stages: dict[str, _Stage] = {}
    stage: _Stage | None = None
    for line in dockerfile.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        instruction, _, rest = line.replace("${LAMBDA_TASK_ROOT}", TASK_ROOT).partition(" ")
        if instruction == "FROM":
            base, name = re.fullmatch(r"(\S+)(?: AS (\S+))?", rest).groups()
            stage = stages[name or "last"] = _Stage(base, folder / (name or "last"))
            continue
        assert stage is not None
        _carry_out(instruction, rest, stage, stages, context)
    assert stage is not None
    return Image(stage.base, stage.place(TASK_ROOT), stage.command)


def _carry_out(instruction: str, rest: str, stage: _Stage, stages: dict[str, _Stage], context: Path) -> None:
    match instruction:
        case "WORKDIR":
            stage.folder = rest
            stage.place(".").mkdir(parents=True)
        case "COPY":
            _copy(rest.split(), stage, stages, context)
        case "RUN":
            # `pip` of the image is that of this Python.
            command = re.sub(r"\bpip\b", f"{sys.executable} -m pip", rest, count=1)
            subprocess.run(["/bin/sh", "-ec", command], cwd=stage.place("."), check=True)
        case "CMD":
            stage.command = json.loads(rest)
        case _:
            raise NotImplementedError(instruction)


def _copy(words: list[str], stage: _Stage, stages: dict[str, _Stage], context: Path) -> None:
    source, target = words[-2:]
    assert target.endswith("/"), "a folder, so that nothing depends on what is there already"
    given = [word.removeprefix("--from=") for word in words[:-2]]
    origin = stages[given[0]].place(source) if given else context / source
    if origin.is_dir():
        shutil.copytree(origin, stage.place(target), dirs_exist_ok=True)
    else:
        shutil.copy2(origin, stage.place(target))
