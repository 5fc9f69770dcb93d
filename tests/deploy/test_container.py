"""The container image, as far as it goes without Docker: what its Dockerfile makes, under AWS's runtime client."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from support.dockerfile import Image, build

if TYPE_CHECKING:
    from collections.abc import Callable

DEPLOY = Path(__file__).resolve().parents[2] / "examples/deploy"


@pytest.fixture(scope="module")
def image(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    context = tmp_path_factory.mktemp("context") / "deploy"
    shutil.copytree(DEPLOY, context, ignore=shutil.ignore_patterns("build", "wheels"))
    (context / "wheels").mkdir()
    shutil.copy(built, context / "wheels")
    return build(context / "container/Dockerfile", context, tmp_path_factory.mktemp("stages"))


def test_the_image_is_based_on_a_runtime_with_durable_functions_and_has_the_function_and_perdure(image: Image) -> None:
    assert image.base == "public.ecr.aws/lambda/python:3.13"
    assert image.command == ["app.handler"]
    found = {path.name for path in image.task_root.iterdir()}
    assert {"app.py", "perdure", "perdure_compat.pth"} <= found
    assert not [name for name in found if name.startswith(("boto", "wheels", "requirements"))]
    assert (image.task_root / "perdure/__pycache__").is_dir()


def test_the_template_builds_that_image() -> None:
    text = (DEPLOY / "container/template.yaml").read_text(encoding="utf-8").replace("!Ref ", "")
    metadata = yaml.safe_load(text)["Resources"]["Orders"]["Metadata"]
    context = (DEPLOY / "container" / metadata["DockerContext"]).resolve()
    assert context == DEPLOY
    assert context / metadata["Dockerfile"] == DEPLOY / "container/Dockerfile"


def test_the_image_runs_the_function(image: Image, takes_an_order: Callable[[Path, str], None]) -> None:
    (handler,) = image.command
    takes_an_order(image.task_root, handler)
