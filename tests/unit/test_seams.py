"""Rooms meet at their doors: nobody uses what another room keeps private, or puts something else in its place."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tests.unit.test_rooms import PACKAGE, modules, room_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE: dict[str, str] = {
    "sys._getframe": "documented",
    "sys._current_frames": "documented",
    "sys._xoptions": "documented",
    "os._exit": "documented",
    "asyncio._get_running_loop": "documented, for implementers of event loops",
    "events._get_running_loop": "documented, for implementers of event loops",
    "events._set_running_loop": "documented, for implementers of event loops",
    "asyncio.tasks._enter_task": "documented, for implementers of tasks",
    "asyncio.tasks._leave_task": "documented, for implementers of tasks",
    "asyncio.tasks._unregister_task": "documented, for implementers of tasks",
    "task._log_destroy_pending": "a task that is unwound here never ends; asyncio itself says so in this way",
    "task._log_traceback": "whether anybody has asked a task what it has failed of; asyncio itself says so in this way",
    "row._replace": "documented, of named tuples",
    "call._original_name": "the official SDK keeps the name of a decorated function there: a program may use both",
    "made._environ": "what rich itself looks at for the width of a terminal",
    "_execution._invoke": "a bench times what hooks are never asked about: how a history is loaded, and replayed",
}
"""What is called private and may be used, and why."""

REPLACED: dict[str, str] = {
    "threading.Thread.start": "the explorer can learn in no other way that a handler starts a thread, before it runs",
    "threading.excepthook": "documented",
    "sys.stdout": "documented",
    "sys.dont_write_bytecode": "documented",
    "setattr(sys.modules[module], name, value)": "a module's own name, once it has been asked for",
    "setattr(execution, name, state[name])": "an execution of its own making, as it was when it was kept",
    "setattr(target, name, value)": "a bench times what hooks are never asked about",
    "setattr(self.real, name, value)": "what stands for a scope hands on what it is told",
    "delattr(cls, one.name)": "a class of its own making, whose defaults would hide where it keeps its fields",
}
"""What is put in the place of another module's, and why."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in {"_", "_value_", "_core"}


def targets(node: ast.AST) -> Iterator[ast.expr]:
    """Give what a statement assigns to."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            for each in target.elts if isinstance(target, ast.Tuple) else [target]:
                yield each.value if isinstance(each, ast.Starred) else each
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        yield node.target


def defined(tree: ast.Module) -> Iterator[str]:
    """Give the private names that a file defines, as names or as attributes; of slots, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        for target in targets(node):
            if isinstance(target, ast.Name):
                yield target.id
                if target.id == "__slots__":
                    yield from (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
            elif isinstance(target, ast.Attribute) and ast.unparse(target.value) in {"self", "cls"}:
                yield target.attr


def trees(package: Path) -> dict[str, tuple[Path, ast.Module]]:
    return {name: (path, ast.parse(path.read_text())) for name, path in modules(package).items()}


def private_uses(package: Path) -> dict[str, str]:
    """Give where private names are used that the file's room does not define: by the place, the expression."""
    found = trees(package)
    known: dict[str, set[str]] = {}
    for name, (_, tree) in found.items():
        known.setdefault(room_of(name), set()).update(filter(is_private, defined(tree)))
    uses = {}
    for name, (path, tree) in found.items():
        own = known[room_of(name)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
                uses[f"{path}:{node.lineno}"] = ast.unparse(node)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("perdure"):
                for alias in node.names:
                    is_module = f"{node.module}.{alias.name}".removeprefix("perdure.") in found
                    if is_private(alias.name) and not is_module and alias.name not in own:
                        uses[f"{path}:{node.lineno}"] = f"{node.module}.{alias.name}"
    return uses


def replacements(package: Path) -> dict[str, str]:
    """Give where something else is put in the place of an imported name's attribute, or is set by a name."""
    found = {}
    for path, tree in trees(package).values():
        imported = {
            (alias.asname or alias.name).partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        for node in ast.walk(tree):
            for target in targets(node):
                text = ast.unparse(target)
                is_a_name = text.endswith(".__module__")  # where a class is documented to be
                if isinstance(target, ast.Attribute) and text.partition(".")[0] in imported and not is_a_name:
                    found[f"{path}:{node.lineno}"] = text  # type: ignore[attr-defined]  # a statement's
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"setattr", "delattr"}:
                found[f"{path}:{node.lineno}"] = ast.unparse(node)
    return found


def mocks(package: Path) -> list[str]:
    """Give where `unittest` is imported."""
    return [
        f"{path}:{node.lineno}"
        for path, tree in trees(package).values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name.partition(".")[0] == "unittest"
    ]


def test_nobody_uses_what_another_room_keeps_private() -> None:
    uses = private_uses(PACKAGE)
    assert {place: what for place, what in uses.items() if what not in PRIVATE} == {}
    assert set(PRIVATE) - set(uses.values()) <= {"row._replace"}  # where another file of the room has such a name


def test_nobody_puts_something_else_in_the_place_of_what_is_anothers() -> None:
    found = replacements(PACKAGE)
    assert {place: what for place, what in found.items() if what not in REPLACED} == {}
    assert set(REPLACED) == set(found.values())
    assert mocks(PACKAGE) == []


def test_what_is_against_that_is_found(tmp_path: Path) -> None:
    package = tmp_path / "perdure"
    (package / "testing").mkdir(parents=True)
    (package / "engine").mkdir()
    (package / "engine" / "client.py").write_text("class Client:\n    _secret = 1\ndef _own(): ...\n")
    guilty = package / "testing" / "runner.py"
    guilty.write_text(
        "from unittest import mock\n"
        "from perdure.engine import client\n"
        "from perdure.engine.client import _own\n"
        "client.Client._secret\n"
        "client.Client.send = None\n"
        "setattr(client, 'x', 1)\n"
        "class Mine:\n"
        "    def __init__(self): self._x = 1\n"
        "    def same(self, other): return other._x\n"
    )
    assert private_uses(package) == {
        f"{guilty}:3": "perdure.engine.client._own",
        f"{guilty}:4": "client.Client._secret",
    }
    assert replacements(package) == {f"{guilty}:5": "client.Client.send", f"{guilty}:6": "setattr(client, 'x', 1)"}
    assert mocks(package) == [f"{guilty}:1"]
