"""What `perdure migrate` makes of a source: imports and names that go by them, and nothing else."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.migration.sources import UnrewritableError, rewrite
from perdure.migration.words import BY_HAND, FINE

SDK = "aws_durable_execution_sdk_python"
TESTING = f"{SDK}_testing"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"import {SDK}", "import perdure"),
        (f"import {SDK} as sdk\nsdk.config", "import perdure as sdk\nsdk.config"),
        (f"import {SDK}.config\n{SDK}.config.Duration", "import perdure.config\nperdure.config.Duration"),
        (f"import {SDK}.config as c, os, {SDK} . retries", "import perdure.config as c, os, perdure . retries"),
        (f"import {SDK}.config, {SDK}.config as c", "import perdure.config, perdure.config as c"),
        (f"import {TESTING}\nx = {TESTING}", "import perdure.testing\nx = perdure.testing"),
        (f"import {TESTING}.runner as r", "import perdure.testing.runner as r"),
        (f"import {TESTING}\n{TESTING}.model.Event", "import perdure.testing\nperdure.testing.model.Event"),
        (f"import {SDK}, {TESTING}\n{SDK}, {TESTING}", "import perdure, perdure.testing\nperdure, perdure.testing"),
        (f"from {SDK} import a, b as c", "from perdure import a, b as c"),
        (f"from {SDK}.config import *", "from perdure.config import *"),
        (f"from {TESTING}.runner import (\n    X,  # why\n)", "from perdure.testing.runner import (\n    X,  # why\n)"),
        (f"from \\\n  {SDK} \\\n  . config import X", "from \\\n  perdure \\\n  . config import X"),
        (f"from\t{SDK}\timport X", "from\tperdure\timport X"),
        (f"x = 1; import {SDK}; y = {SDK}", "x = 1; import perdure; y = perdure"),
        (f"if 1:\n\timport {SDK}\n\t{SDK}.x", "if 1:\n\timport perdure\n\tperdure.x"),
        (f"é = '😀'; import {SDK}; 'ü', {SDK}.x", "é = '😀'; import perdure; 'ü', perdure.x"),
        (f"\x0cimport {SDK}\n\x0c{SDK}", "\x0cimport perdure\n\x0cperdure"),
        (f"import {SDK}\r\n{SDK}.x\r\n", "import perdure\r\nperdure.x\r\n"),
        (f"import {SDK}\r{SDK}.x\r", "import perdure\rperdure.x\r"),
        (f"x = '''\r\n'''\nimport {SDK}\r\n", "x = '''\r\n'''\nimport perdure\r\n"),
        (f"import {SDK}\n@{SDK}.durable_step\ndef f(x: {SDK}.X) -> {SDK}.Y: ...", None),
        (f"import {SDK}\nmatch x:\n case {SDK}.A(): pass\n case {SDK}.B: pass", None),
        (f"import {SDK}\nf'{{{SDK}.x}} {{y}} {{{SDK}.z!r:>{{{SDK}.w}}}}'", None),
        (f"import {SDK}\nf'''\n{{{SDK}.x}}\n{{ {SDK}.y }}''', '{{}}'", None),
        (f"import {SDK}\n'a' f'{{{SDK}.x}}' rf'\\d{{{SDK}.y}}'", None),
        (f"import {SDK}\nclass A({SDK}.B, k={SDK}.C): ...\n{SDK}.d[{SDK}:{SDK}]", None),
        (f"try:\n import {SDK}\nexcept ImportError:\n pass\ndef f():\n  return {SDK}.x", None),
    ],
)
def test_imports_and_the_names_that_go_by_them_are_rewritten(before: str, after: str | None) -> None:
    expected = after or before.replace(TESTING, "perdure.testing").replace(SDK, "perdure")
    assert rewrite(before).text == expected
    again = rewrite(expected)
    assert (again.text, again.notes) == (expected, [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        f"from . import {SDK}",
        f"from .{SDK} import x",
        f"from ..{SDK}.a import x",
        f"import {SDK}_otel.x, my.{SDK}",
        f"from my.{SDK} import x",
        f"f({SDK}=1).{SDK}.x",
        f"def {SDK}(): ...",
        f"{SDK} = 1; {SDK}.x",  # bound by something that is no import
        f"# import {SDK}",
        f'"""import {SDK}\n{SDK}.config"""',
        f"import perdure as {SDK}\n{SDK}.x",
    ],
)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert rewrite(text).text == text


@pytest.mark.parametrize(
    "around",
    [
        f"'{SDK}.config'",
        f"{{'{SDK}': 1}}",
        f"x.error_type == '{SDK}.exceptions.StepError'",
        f"x = 1  # {SDK}",
        f"f'{SDK} {{x}}'",
        f"b'{SDK}'",
        f"'''\n{SDK}\n'''",
        f"call({SDK}=2)",
        f"x.{SDK}",
    ],
)
def test_strings_comments_and_other_peoples_names_stay_beside_an_import(around: str) -> None:
    text = f"import {SDK}\n{around}\nfrom {TESTING} import x\n"
    assert rewrite(text).text == f"import perdure\n{around}\nfrom perdure.testing import x\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("def f(:\n", 1, "it is no Python: "),
        ("x = 1\nprint 'x'\n", 2, "it is no Python: "),
        ("x\0", 1, ""),
        ("(" * 300 + ")" * 300, 1, ""),
        (f"import {SDK}\ndef f(perdure): return {SDK}.x", 2, "perdure is bound to something else, too"),
        (f"import {SDK}\n\nperdure = 1", 3, "perdure is bound to something else, too"),
        (f"import {SDK}\nfrom x import y as perdure", 2, "perdure is bound"),
        (f"import {SDK}\n{SDK} = 2", 2, f"{SDK} is bound"),
        (f"import {SDK}\ndel {SDK}", 2, f"{SDK} is bound"),
        (f"import {SDK}\ndef f():\n global {SDK}", 3, f"{SDK} is bound"),
        (f"import {SDK}\nimport x as {SDK}", 2, f"{SDK} is bound"),
        (f"import {SDK}\nmatch x:\n case [*{SDK}]: pass", 3, f"{SDK} is bound"),
        (f"import {SDK}\ntry: pass\nexcept E as perdure: pass", 3, "perdure is bound"),
        (f"import {SDK}\nclass perdure: ...", 2, "perdure is bound"),
        (f"import {SDK}\nf'{{{SDK}=}}'", 1, "more than names would change"),
        (f"import {SDK.replace('a', chr(0xFF41), 1)}", 1, "written in an unusual way"),
    ],
)
def test_what_cannot_be_rewritten_safely_is_refused(text: str, line: int, says: str) -> None:
    with pytest.raises(UnrewritableError) as refused:
        rewrite(text)
    assert (refused.value.line, says in refused.value.message) == (line, True), refused.value.message


NOTES = [
    (f"importlib.import_module('{SDK}.config')", BY_HAND, "imported by a string: make it 'perdure.config'"),
    (f"__import__('{TESTING}')", BY_HAND, "imported by a string: make it 'perdure.testing'"),
    (f"pytest.importorskip(modname='{SDK}')", BY_HAND, "imported by a string: make it 'perdure'"),
    (f"mock.patch('{SDK}.context.x', 1)", BY_HAND, "says what is patched: make it 'perdure.context.x'"),
    (
        f"monkeypatch.setattr('{TESTING}.runner.y', 1)",
        BY_HAND,
        "says what is patched: make it 'perdure.testing.runner.y'",
    ),
    (f"mock.patch(x, '{SDK}')", BY_HAND, "if it is the name of a module"),
    (f"pytest_plugins = ['{TESTING}.plugin']", BY_HAND, "a plugin of pytest: make it 'perdure.testing.plugin'"),
    (f"x: '{SDK}.X' = 1", BY_HAND, "an annotation in a string: make it 'perdure.X'"),
    (f"def f(a: 'list[{SDK}.X]') -> None: ...", BY_HAND, "an annotation in a string: make it 'list[perdure.X]'"),
    (f"logging.getLogger('{SDK}')", BY_HAND, "the name of a logger: perdure's is 'perdure'"),
    (f"e == '{SDK}.exceptions.StepError'", FINE, "the type of an error as it is recorded: it stays"),
    (f"x = '{SDK}.exceptions.'", BY_HAND, "if it is data, it stays"),
    ("x = 'aws-durable-execution-sdk-python>=3'", BY_HAND, "require perdure instead"),
    ("x = 'aws-durable-execution-sdk-python-testing'", BY_HAND, "a part of perdure"),
    ("run(['dex-local-runner', 'start-server'])", BY_HAND, "perdure serve"),
    (f"x = 1  # type: {SDK}.X", BY_HAND, "a type comment"),
    (f"import {SDK}_otel", BY_HAND, "is another package"),
    (f"from {SDK}_otel.x import y", BY_HAND, "is another package"),
    (f"from {SDK}.nothing import x", BY_HAND, "perdure has no module perdure.nothing"),
    (f"import {SDK}.operation.step", BY_HAND, "perdure has no module perdure.operation.step"),
    (f"from {SDK}.config import nothing, Duration", BY_HAND, "perdure.config has no nothing"),
    (f"import {TESTING} as t; t.DurableFunctionTestRunner(h, execution_timeout=9)", BY_HAND, "give timeout instead"),
    (f"from {SDK} import StepContext; runner.run(input='1', execution_timeout=9)", BY_HAND, "is virtual time"),
]


@pytest.mark.parametrize(("code", "asks", "says"), NOTES)
def test_what_is_to_be_looked_at_is_told(code: str, asks: str, says: str) -> None:
    (note,) = rewrite(f"\n{code}\n").notes
    assert (note.line, note.asks, says in note.message) == (2, asks, True), note.message


@pytest.mark.parametrize(
    "code",
    [
        f'def f():\n  """{SDK}.x"""',
        f"# {SDK}",
        f"from {SDK} import config, StepContext, testing",
        f"from {SDK}.config import *",
        f"from {TESTING}.stores.sqlite import SQLiteExecutionStore",
        "x = 'my-aws-durable-execution-sdk-python-fork'",
        f"from {SDK} import config; r.run(timeout=9); other(execution_timeout=9); runners[0](execution_timeout=9)",
        "runner.run(execution_timeout=9)",
    ],
)
def test_nothing_is_told_of_what_is_fine(code: str) -> None:
    assert rewrite(code).notes == []


SPACES = st.sampled_from([" ", "  ", "\t", " \\\n ", " \\\r\n\t"])
ENDS = st.sampled_from(["\n", "\r\n", ";", "  # {}\n", "\n\n"])
MODULES = st.sampled_from([SDK, f"{SDK}.config", f"{SDK} . config", TESTING, f"{TESTING}.runner", "os.path", "perdure"])


@st.composite
def statements(draw: st.DrawFn) -> str:
    """Draw a statement: an import in some form, or something that only looks like one."""
    module, space = draw(MODULES), draw(SPACES)
    name = draw(st.sampled_from(["a", "é", "Duration"]))
    root = module.split(".")[0].strip()
    return draw(
        st.sampled_from(
            [
                f"import{space}{module}",
                f"import{space}{module}{space}as{space}{name}",
                f"import{space}os,{space}{module}{space}as{space}{name}",
                f"from{space}{module}{space}import{space}{name}",
                f"from{space}{module}{space}import (  {name},{name} as b\n,)",
                f"{name} = '{module}'; {name}",
                f"x.{root} = f({root}={name})" if root.isidentifier() else "pass",
                f"'''{module}\n'''",
                f"import {root}; é = '😀', {root}.{name}; {root}",
                f"import {root}; f'é{{ {root}.{name} }}{{1}}'",
            ]
        )
    )


@given(st.lists(st.tuples(statements(), ENDS), max_size=6))
def test_any_source_stays_what_it_was_but_for_names(parts: list[tuple[str, str]]) -> None:
    text = "".join(statement + end.format(SDK) for statement, end in parts) + "\n"
    written = rewrite(text).text
    names = rf"({TESTING}|{SDK}|perdure\.testing|perdure)"
    between = re.split(f"{TESTING}|{SDK}", text)
    assert re.fullmatch(names.join(map(re.escape, between)), written)
    assert strings(written) == strings(text)
    modules = [node.module for node in ast.walk(ast.parse(written)) if isinstance(node, ast.ImportFrom)]
    modules += [a.name for node in ast.walk(ast.parse(written)) if isinstance(node, ast.Import) for a in node.names]
    assert not [module for module in modules if SDK in (module or "")]
    assert rewrite(written).text == written


def strings(text: str) -> list[Any]:
    return [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]


def test_it_stays_quiet_about_what_the_parser_warns_of() -> None:
    assert rewrite(f"import {SDK}\nx = '\\d'; 1 is 1").text == "import perdure\nx = '\\d'; 1 is 1"


def test_large_sources_take_no_long_time() -> None:
    lines = "".join(f"x{n} = {SDK}.config.Duration\n" for n in range(3_000))
    written: Any = rewrite(f"import {SDK}.config\n{lines}").text
    assert (written.count("perdure.config"), SDK in written) == (3_001, False)
