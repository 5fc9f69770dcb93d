"""Programs of the official SDK, unchanged: they print the same when its imports mean perdure."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parents[1] / "support" / "official_programs"
SDK = "aws_durable_execution_sdk_python"

# Behind `perdure.compat`, before what finds installed packages: as if the official SDK were not installed.
WITHOUT_IT = f"""
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("{SDK}"):
            raise ModuleNotFoundError("not installed", name=name)
sys.meta_path.insert(0, Nothing())
"""


def python(*arguments: str, compat: str | None = None, check: bool = True, **environment: str) -> Any:
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("PERDURE_", "AWS_", "PYTEST_"))}
    told = {} if compat is None else {"PERDURE_COMPAT": compat}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**plain, **told, **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=check,
    )


def report(done: Any) -> Any:
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=["order", "names"])
def program(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """A program, and what it prints under the official SDK."""
    path = str(PROGRAMS / f"{request.param}.py")
    return path, report(python(path))


def test_a_program_does_the_same_with_the_variable_set(program: tuple[str, Any]) -> None:
    path, expected = program
    assert report(python(path, compat="1")) == expected


@pytest.mark.parametrize("before", ["", WITHOUT_IT], ids=["installed", "not-installed"])
def test_a_program_does_the_same_after_the_import(program: tuple[str, Any], before: str) -> None:
    path, expected = program
    code = f"{before}\nimport perdure.compat, runpy\nrunpy.run_path({path!r}, run_name='__main__')"
    done = python("-c", code)
    assert report(done) == expected


def test_it_is_perdure_that_ran() -> None:
    code = f"import json, {SDK}, {SDK}_testing.runner as r\nprint(json.dumps([{SDK}.__name__, r.__name__]))"
    assert report(python("-c", code, compat="1")) == ["perdure", "perdure.testing.runner"]
    assert report(python("-c", code)) == [SDK, f"{SDK}_testing.runner"]


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_the_variable_can_say_no(value: str) -> None:
    code = f"import perdure, json, {SDK}\nprint(json.dumps({SDK}.__name__))"
    assert report(python("-c", code, compat=value)) == SDK


def test_the_variable_works_where_perdure_is_imported_first() -> None:
    code = f"import perdure, json, {SDK}\nprint(json.dumps({SDK}.__name__))"
    assert report(python("-S", "-c", f"import sys; sys.path += {sys.path!r}\n{code}", compat="yes")) == "perdure"


SUITE = str(PROGRAMS / "suite.py")
RAN_ON = f"""
import json, sys, pytest
code = pytest.main([{SUITE!r}, "-q", "-p", "no:cacheprovider", *sys.argv[1:]])
print(json.dumps([int(code), sys.modules["{SDK}_testing.runner"].__name__]))
"""


@pytest.mark.parametrize("options", [["--perdure-compat"], ["-o", "perdure_compat=true"]])
def test_a_suite_passes_with_the_option_of_pytest(options: list[str], tmp_path: Path) -> None:
    where = ["--rootdir", str(tmp_path), "-c", os.devnull]
    assert report(python("-c", RAN_ON, *where, *options)) == [0, "perdure.testing.runner"]


def test_a_suite_passes_with_the_variable_set(tmp_path: Path) -> None:
    where = ["--rootdir", str(tmp_path), "-c", os.devnull]
    assert report(python("-c", RAN_ON, *where, compat="1")) == [0, "perdure.testing.runner"]


def test_a_suite_is_run_by_workers_with_the_option_too(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(f"import {SDK}\ndef test_it(): assert {SDK}.__name__ == 'perdure'")
    where = ["--rootdir", str(tmp_path), "-c", os.devnull, str(tmp_path)]
    done = python("-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", "--perdure-compat", *where)
    assert "1 passed" in done.stdout


def test_the_option_of_pytest_says_when_it_is_too_late(tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text(f"import {SDK}.config")
    where = ["--rootdir", str(tmp_path), "-c", os.devnull]
    done = python(
        "-m", "pytest", "-p", "early", "--perdure-compat", *where, SUITE, check=False, PYTHONPATH=str(tmp_path)
    )
    assert (done.returncode, "imported before perdure.compat (by early)" in done.stderr) == (4, True), done.stderr


def test_it_says_when_it_is_too_late_by_whom_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(f"from {SDK}.config import Duration as Length")
    code = "import helper\ntry:\n import perdure.compat\nexcept ImportError as e: print(type(e).__name__, e)"
    done = python("-c", code, PYTHONPATH=str(tmp_path))
    assert done.stdout.startswith(f"CompatError {SDK} was imported before perdure.compat (by helper), so")
    assert "Import perdure.compat first" in done.stdout
    assert "--perdure-compat" in done.stdout
    assert "PERDURE_COMPAT=1" in done.stdout


def checked(code: str) -> str:
    """Run code that asserts something, with the imports meaning perdure."""
    return str(python("-c", f"import perdure.compat, sys\n{code}").stdout)


def test_a_module_that_perdure_has_not_is_an_import_error_that_says_why() -> None:
    said = checked(f"try:\n import {SDK}.operation.step\nexcept ModuleNotFoundError as e: print(e.name, e)")
    assert said.startswith(f"{SDK}.operation there is no module perdure.operation, and {SDK}.operation means that")


def test_modules_keep_their_own_names_and_specs() -> None:
    checked(
        f"""
import importlib, perdure, perdure.config, perdure.testing.runner
import {SDK}.config, {SDK}_testing.runner, {SDK}.concurrency.models
for name in ("", ".config", ".concurrency", ".concurrency.models"):
    ours = sys.modules["perdure" + name]
    assert sys.modules["{SDK}" + name] is ours
    assert (ours.__name__, ours.__spec__.name) == ("perdure" + name,) * 2, ours.__spec__
    assert ours.__spec__.loader is not None and ours.__spec__.origin == ours.__file__
assert sys.modules["{SDK}_testing"] is perdure.testing
assert importlib.reload({SDK}.config) is perdure.config
assert importlib.util.find_spec("{SDK}.retries").name == "{SDK}.retries"
assert "perdure.retries" in sys.modules
"""
    )


def test_it_is_installed_once_and_can_be_taken_back() -> None:
    checked(
        f"""
from perdure import compat
compat.install()
assert compat.is_installed() and sum(type(each).__module__ == "perdure._aliases" for each in sys.meta_path) == 1
import {SDK}.config
compat.uninstall(); compat.uninstall()
assert not compat.is_installed() and "perdure.config" in sys.modules
import {SDK}
assert {SDK}.__name__ == "{SDK}"
try: compat.install()
except compat.CompatError: pass
else: raise AssertionError
"""
    )


def test_what_is_installed_is_told_as_it_is() -> None:
    said = checked("import importlib.metadata as m\nprint(m.version('aws-durable-execution-sdk-python'))")
    assert said.strip() == importlib.metadata.version("aws-durable-execution-sdk-python")


def test_nobody_pays_for_it_who_does_not_ask() -> None:
    assert python("-c", "import perdure, sys; print('perdure.compat' in sys.modules)").stdout.strip() == "False"
    assert python("-c", "import sys; print('perdure' in sys.modules)").stdout.strip() == "False"


def test_a_function_on_lambda_is_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "app.py").write_text(
        f"from {SDK} import durable_execution\n@durable_execution\ndef main(event, context): return 1"
    )
    # As Lambda's runtime finds a handler: the module, then its attribute.
    code = "import importlib\nmain = getattr(importlib.import_module('perdure.compat'), 'handler')\n"
    found = (
        code
        + "print(main.__module__, main.__name__, __import__('sys').modules['orders.app'].durable_execution.__module__)"
    )
    for named in ("orders.app.main", "orders/app.main"):
        done = python("-c", found, PERDURE_HANDLER=named, PYTHONPATH=str(tmp_path))
        assert done.stdout.split() == ["orders.app", "main", "perdure.execution"]
    for wrong in ("", "main"):
        done = python("-c", code, PERDURE_HANDLER=wrong, PYTHONPATH=str(tmp_path), check=False)
        assert "needs PERDURE_HANDLER in the environment" in done.stderr


def test_commands_run_programs_of_the_official_sdk(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        f"from {SDK} import durable_execution\nimport {SDK} as sdk\n"
        "@durable_execution\ndef handler(event, context): return [sdk.__name__, context.step(lambda _: 1, name='one')]"
    )
    done = python(
        "-m", "perdure.cli", "run", "app:handler", "--json", compat="1", PYTHONPATH=str(tmp_path), check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] == ["perdure", 1]
