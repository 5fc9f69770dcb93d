"""The order of the package's rooms: who may import whom, type checkers' imports included; and no file in a circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import perdure

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(perdure.__file__).parent

ROOMS: list[tuple[str, set[str], str]] = [
    # A room; those it may import, besides itself; the modules in it, of which the longest match counts.
    ("vocabulary", set(), "* concurrency.*"),
    ("engine", {"vocabulary"}, "engine.*"),
    (
        "front",
        {"vocabulary", "engine"},
        "perdure context execution state compat _decorators _handlers _invocation_input _watched_context sagas aio.*",
    ),
    ("history", {"vocabulary"}, "history.*"),
    ("machine", {"vocabulary", "history"}, "local.machine.*"),
    ("store", {"vocabulary", "machine"}, "local.store.*"),
    ("local", {"vocabulary", "engine", "history", "machine", "store"}, "local.*"),
    ("server", {"vocabulary", "machine", "local"}, "local.server.* local.http"),
    ("testing", {"vocabulary", "engine", "front", "history", "machine", "store", "local", "server"}, "testing.*"),
    (
        "exploring",
        {"vocabulary", "engine", "front", "machine", "local", "testing"},
        "testing.exploring.* testing.explorer testing testing.plugin",
    ),
    ("bench", {"vocabulary", "engine", "front", "history"}, "bench.*"),
    ("migration", {"vocabulary"}, "migration.*"),
    ("drawing", {"vocabulary", "history", "machine", "local"}, "cli.drawing.*"),
    (
        "cli",
        {
            *("vocabulary", "history", "machine", "store", "local", "server", "testing", "exploring"),
            *("bench", "migration", "drawing"),
        },
        "cli.*",
    ),
]


class Import(NamedTuple):
    """An import: the file and line it stands in, and the modules at both ends."""

    path: Path
    line: int
    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.source} imports {self.target}"


def modules(package: Path) -> dict[str, Path]:
    """Give the modules of a package by their names below it, and the package itself by its own."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name or package.name] = path
    return found


def imports(package: Path) -> Iterator[Import]:
    """Give every import of a module of the package in another, wherever it stands in the file."""
    known = modules(package)

    def module(dotted: str) -> str | None:
        name = dotted.removeprefix(f"{package.name}.")
        return name if name in known and (dotted == package.name or dotted != name) else None

    for source, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted = {module(alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [alias.name for alias in node.names if alias.name != "_core"]
                wanted = {module(f"{node.module}.{name}") or module(node.module) for name in names}
            else:
                continue
            for target in wanted - {None, source}:
                yield Import(path, node.lineno, source, str(target))


def room_of(module: str) -> str:
    """Give the room that a module is in: the one with the longest pattern that fits."""

    def fits(pattern: str) -> int:
        if pattern.endswith("*"):
            stem = pattern[:-1]
            return len(stem) + 1 if f"{module}.".startswith(stem) else 0
        return 1000 if module == pattern else 0

    return max((max(map(fits, patterns.split())), name) for name, _, patterns in ROOMS)[1]


def against_the_order(package: Path) -> list[str]:
    """Give the imports that the table does not allow."""
    allowed = {name: {name, *others} for name, others, _ in ROOMS}
    return [str(each) for each in imports(package) if room_of(each.target) not in allowed[room_of(each.source)]]


def circle(package: Path) -> list[str]:
    """Give modules that import each other, the first also as the last; nothing if there are none."""
    graph: dict[str, set[str]] = {}
    for each in imports(package):
        graph.setdefault(each.source, set()).add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        return list(found.args[1])
    return []


def test_nobody_imports_against_the_order_of_the_rooms() -> None:
    assert against_the_order(PACKAGE) == []


def test_no_file_is_in_a_circle() -> None:
    assert circle(PACKAGE) == []


def test_the_order_is_one() -> None:
    known: set[str] = set()
    for name, others, _ in ROOMS:
        assert others <= known, name
        known.add(name)


def test_an_import_against_the_order_is_found(tmp_path: Path) -> None:
    package = tmp_path / "perdure"
    (package / "history").mkdir(parents=True)
    (package / "cli").mkdir()
    (package / "cli" / "run.py").write_text("from perdure.history import tree\n")
    guilty = package / "history" / "tree.py"
    guilty.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from perdure.cli.run import app\n")
    assert against_the_order(package) == [f"{guilty}:3: history.tree imports cli.run"]
    assert set(circle(package)) == {"cli.run", "history.tree"}
