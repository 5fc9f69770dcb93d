"""Layers: what is in one, where, that it is the same each time, and that a function runs with nothing beside it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import layer
import perdure
from archive import write
from perdure.local import LocalService, VirtualClock
from perdure.local.server.runtime import RemoteFunction
from support.web import runtime_interface, served
from support.wheels import PYTHON

FUNCTION = Path(__file__).resolve().parents[2] / "examples/deploy/function"
ORDER = {"order": "A-1", "amount": 42}
SENT = {"payment": "42 for A-1", "sent": "parcel of A-1"}

# As Lambda runs one invocation, in a process that has the layer, the function and the standard library to import from.
INVOCATION = """
import json, os, sys
from types import SimpleNamespace
sys.path[:0] = sys.argv[1:]
import app, perdure
answer = app.handler(json.load(sys.stdin), SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000))
assert not [name for name in sys.modules if name.startswith("boto")]
assert perdure.__spec__.origin.startswith(sys.argv[1]), perdure.__spec__
print(json.dumps([answer, sorted(name for name in sys.modules if name.startswith("perdure"))]))
"""

MODULES = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
"""

for_a_runtime = pytest.mark.skipif(PYTHON not in layer.RUNTIMES, reason="no runtime with durable functions is of it")


class Layer(NamedTuple):
    archive: Path
    site: Path


@pytest.fixture(scope="module")
def made(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Layer:
    """Give the layer of the tree under test, unpacked as Lambda does."""
    source = layer.wheel(built)
    archive, has_bytecode = layer.make(source)
    assert has_bytecode
    opt = tmp_path_factory.mktemp("opt")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(opt)
    return Layer(archive, opt / source.site)


def isolated(code: str, *arguments: str, stdin: str = "", **environment: str) -> str:
    """Run code under `python -I`, without the site-packages of the interpreter."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *arguments],
        input=stdin,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        timeout=100,
        env={"PATH": os.environ["PATH"], **environment},
    ).stdout


@pytest.mark.parametrize(
    ("name", "layer_name"),
    [
        ("cp313-cp313-manylinux_2_34_x86_64", "python3.13-x86_64"),
        ("cp314-cp314-manylinux_2_17_aarch64.manylinux2014_aarch64", "python3.14-arm64"),
        ("cp313-cp313-manylinux2014_x86_64", "python3.13-x86_64"),
        ("cp313-cp313-manylinux_2_40_x86_64.manylinux_2_28_x86_64", "python3.13-x86_64"),
    ],
)
def test_a_layer_is_called_by_runtime_and_architecture(name: str, layer_name: str) -> None:
    source = layer.wheel(Path("dist", f"perdure-0.2.0-{name}.whl"))
    assert source.layer == Path("dist", f"perdure-layer-{layer_name}.zip")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("cp312-cp312-manylinux_2_17_x86_64", "is for cp312"),
        ("cp313-cp313t-manylinux_2_17_x86_64", "is for cp313t"),
        ("cp313-abi3-manylinux_2_17_x86_64", "is for abi3"),
        ("cp313-cp313-manylinux_2_35_x86_64", "needs a newer one"),
        ("cp313-cp313-linux_x86_64", "linux_x86_64 does not say"),
        ("cp313-cp313-musllinux_1_2_x86_64", "musllinux_1_2_x86_64 does not say"),
        ("cp313-cp313-macosx_11_0_arm64", "macosx_11_0_arm64 does not say"),
        ("cp313-cp313-manylinux_2_17_ppc64le", "manylinux_2_17_ppc64le does not say"),
    ],
)
def test_what_lambda_could_not_load_is_refused(name: str, why: str) -> None:
    with pytest.raises(layer.UnfitError, match=why):
        layer.wheel(Path(f"perdure-0.2.0-{name}.whl"))


@for_a_runtime
def test_a_function_runs_with_a_layer_and_nothing_else(made: Layer) -> None:
    imported: set[str] = set()

    def invoke(event: dict[str, Any], _context: Any) -> Any:
        answer, modules = json.loads(
            isolated(
                INVOCATION,
                str(made.site),
                str(FUNCTION),
                stdin=json.dumps(event),
                AWS_ENDPOINT_URL_LAMBDA=server.url,
                AWS_REGION="us-east-1",
                AWS_ACCESS_KEY_ID="anybody",
                AWS_SECRET_ACCESS_KEY="anything",  # noqa: S106 - nothing checks it
            )
        )
        imported.update(modules)
        return answer

    with (
        served(LocalService(clock=VirtualClock())) as (service, server, _),
        runtime_interface(invoke) as url,
    ):
        service.register("orders", RemoteFunction(url))
        execution = service.run("orders", event=ORDER)
    assert execution.status == "SUCCEEDED", execution.error
    assert execution.value == SENT
    assert len(execution.invocations) == 2
    assert "perdure._core" in imported


@for_a_runtime
def test_every_module_of_a_layer_can_be_imported_with_nothing_else(made: Layer) -> None:
    modules = [
        ".".join(path.relative_to(made.site).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(made.site.rglob("*.pyc"))
    ]
    assert "perdure.engine.operations.step" in modules
    assert not [name for name in modules if name.startswith(("perdure.local", "perdure.testing", "perdure.cli"))]
    isolated(MODULES, str(made.site), *modules)


TRACEBACK = """
import sys, traceback
sys.path.insert(0, sys.argv[1])
from perdure.config import Duration
try:
    Duration.from_seconds("soon")
except Exception:
    print(traceback.format_exc())
"""


@for_a_runtime
def test_bytecode_stands_in_place_of_sources_and_names_their_lines(made: Layer, tmp_path: Path) -> None:
    assert not list(made.site.rglob("*.py"))
    assert not list(made.site.rglob("__pycache__"))
    copy = tmp_path / "site-packages"
    shutil.copytree(made.site, copy)
    for path in copy.rglob("*.pyc"):
        os.utime(path, (0, 0))
    told = isolated(TRACEBACK, str(copy))
    assert re.search(rf'File "/opt/python/lib/python{PYTHON}/site-packages/perdure/_duration.py", line \d+, in ', told)


@for_a_runtime
def test_docstrings_are_left_out(made: Layer) -> None:
    assert perdure.__doc__
    assert perdure.DurableContext.step.__doc__
    code = "import perdure; print(perdure.__doc__, perdure.DurableContext.step.__doc__)"
    told = isolated(f"import sys; sys.path.insert(0, sys.argv[1]); {code}", str(made.site))
    assert told.strip() == "None None"


@for_a_runtime
def test_the_same_wheel_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    made = []
    for name in ("first", "second"):
        wheel = tmp_path / name / built.name
        wheel.parent.mkdir()
        with zipfile.ZipFile(built) as given, zipfile.ZipFile(wheel, "w") as archive:
            for each in given.namelist():
                if each.endswith((".py", ".pth", "METADATA")):
                    archive.writestr(each, given.read(each))  # with the date of now
        os.utime(wheel, (0, 0))
        made.append(layer.make(layer.wheel(wheel))[0].read_bytes())
    assert made[0] == made[1]


@for_a_runtime
def test_a_layer_has_what_a_wheel_installs_and_is_readable(made: Layer) -> None:
    with zipfile.ZipFile(made.archive) as archive:
        entries = archive.infolist()
    prefix = f"python/lib/python{PYTHON}/site-packages/"
    names = [entry.filename.removeprefix(prefix) for entry in entries]
    assert all(entry.filename.startswith(prefix) for entry in entries)
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert names == sorted(set(names))
    assert {"perdure/__init__.pyc", "perdure/py.typed", "perdure_compat.pth"} <= set(names)
    assert len([name for name in names if name.startswith("perdure/_core.")]) == 1
    assert not [name for name in names if name.startswith(("boto3", "botocore"))]
    assert not [name for name in names if ".data/" in name]


@for_a_runtime
def test_a_layer_tells_its_version(made: Layer) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import importlib.metadata as m; print(m.version('perdure'))"
    assert isolated(code, str(made.site)).strip() == importlib.metadata.version("perdure")


def test_an_archive_is_read_as_it_was_written(tmp_path: Path) -> None:
    content = {"b/second": b"", "b/first": os.urandom(70_000), "a": b"a" * 1_000_000}
    target = tmp_path / "archive.zip"
    write(content, target)
    with zipfile.ZipFile(target) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == content
        assert opened.namelist() == sorted(content)
    assert target.stat().st_size < 75_000


def test_of_several_wheels_the_newest_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for age, version in enumerate(["0.2.0", "0.10.0"]):
        wheel = tmp_path / f"perdure-{version}-cp313-cp313-manylinux_2_34_x86_64.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("perdure/version.txt", version)
            archive.writestr("perdure-1.data/scripts/perdure", "")
        os.utime(wheel, (1000 - age, 1000 - age))
    (tmp_path / "perdure-0.2.0-cp311-cp311-manylinux_2_34_x86_64.whl").touch()
    monkeypatch.setattr(sys, "argv", ["layer.py", *map(str, tmp_path.glob("*.whl"))])
    monkeypatch.setattr(layer, "interpreter", lambda _: None)
    assert layer.main() == 0
    output, errors = capsys.readouterr()
    assert "perdure-layer-python3.13-x86_64.zip: 0.00 MB, without bytecode: there is no python3.13 here" in output
    assert "no layer of perdure-0.2.0-cp311" in errors
    with zipfile.ZipFile(tmp_path / "perdure-layer-python3.13-x86_64.zip") as archive:
        (name,) = archive.namelist()
        assert archive.read(name) == b"0.2.0"


def test_a_layer_that_is_too_large_for_a_release_build_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "perdure-0.2.0-cp313-cp313-manylinux_2_34_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("perdure/_core.so", os.urandom(layer.MOST_BYTES))
    monkeypatch.setattr(sys, "argv", ["layer.py", str(wheel)])
    assert layer.main() == 1
    assert "not a release build" in capsys.readouterr().err


def test_no_wheel_for_lambda_is_a_failure_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "perdure-0.2.0-cp311-cp311-manylinux_2_34_x86_64.whl"
    wheel.touch()
    monkeypatch.setattr(sys, "argv", ["layer.py", str(wheel)])
    assert layer.main() == 1
    assert "make layer PYTHON=python3.13 VENV=.venv-3.13, on Linux" in capsys.readouterr().err
