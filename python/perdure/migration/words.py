"""Names of the official SDK that stand in text, in strings of a program or in files beside it: told, not changed."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

SDK = "aws_durable_execution_sdk_python"
ROOTS = {SDK: "perdure", f"{SDK}_testing": "perdure.testing"}
"""What a program imports, and what it imports instead."""

NAMED = re.compile(
    r"(?<![\w-])aws([-_.])durable\1execution\1sdk\1python(?P<testing>\1testing)?(?![\w-])|(?P<runner>dex-local-runner)"
)
_DOTTED = re.compile(rf"(?<![\w.-])({SDK}_testing|{SDK})(?![\w-])")
_ERROR = re.compile(rf"{SDK}\.exceptions\.\w+")

BY_HAND, FINE = "by hand", "fine"
"""What a note asks for: a change by hand, or nothing."""

RUNNER = "dex-local-runner is `perdure serve` here; see `perdure serve --help`"

_LOADERS = frozenset(
    {"__import__", "find_spec", "import_module", "importorskip", "reload", "resolve_name", "run_module"}
)
_PATCHERS = frozenset({"delattr", "dict", "multiple", "patch", "setattr", "setitem"})


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """Something to be looked at.

    Args:
        line: Where, counted from 1.
        column: The same.
        asks: `BY_HAND`, or `FINE`.
        message: What it is, and what to do.

    """

    line: int
    column: int
    asks: str
    message: str


def requirement(text: str) -> str:
    """Say what is to be required in the place of a distribution that a text names."""
    found = NAMED.search(text)
    if found is not None and found["testing"]:
        return "the testing package is a part of perdure, so that it is not to be required any more"
    return "require perdure instead (perdure[local] where its command is used)"


def error_type(text: str) -> bool:
    """Tell whether all that a text has of the official SDK is types of errors, which are data and stay."""
    return NAMED.search(_ERROR.sub("", text)) is None and _ERROR.search(text) is not None


def notes_on_timeouts(tree: ast.AST) -> list[Note]:
    """Tell of what tests give the runner as a bound of real time, and is one of virtual time with perdure."""
    return [
        Note(given.value.lineno, given.value.col_offset + 1, BY_HAND, _VIRTUAL)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _name_of(node.func) in _RUNNERS
        for given in node.keywords
        if given.arg == "execution_timeout"
    ]


def _name_of(function: ast.expr) -> str:
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


_RUNNERS = frozenset({"DurableFunctionTestRunner", "run", "run_async"})
_VIRTUAL = (
    "with perdure, execution_timeout is virtual time, which waits, retries and timeouts of callbacks take up: where it "
    "only bounds how long the test may take, give timeout instead"
)


def notes_on_strings(tree: ast.AST) -> list[Note]:
    """Tell of the strings of a program that name the official SDK; docstrings are prose."""
    notes = []
    around: dict[int, ast.AST] = {}
    for node in ast.walk(tree):
        around.update((id(child), node) for child in ast.iter_child_nodes(node))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAMED.search(node.value):
            parents = _parents(node, around)
            if not isinstance(parents[0], ast.Expr):
                notes.append(Note(node.lineno, node.col_offset + 1, *_on_string(node, node.value, parents)))
    return notes


def _on_string(node: ast.Constant, text: str, parents: list[ast.AST]) -> tuple[str, str]:
    """Say what a string is likely to be, by what stands around it, and what to do about it."""
    instead = _DOTTED.sub(lambda found: ROOTS[found[1]], text)
    named = f"make it {instead!r}" if instead != text else "change it"
    called = _called_upon(node, parents)
    logger = "perdure.local" if f"{SDK}_testing" in text else "perdure"
    choices = (
        (error_type(text), FINE, "the type of an error as it is recorded: it stays, perdure records the same"),
        ("dex-local-runner" in text, BY_HAND, RUNNER),
        (SDK not in text, BY_HAND, f"a distribution is named: {requirement(text)}"),
        (called in _LOADERS, BY_HAND, f"a module is imported by a string: {named}"),
        (called in _PATCHERS, BY_HAND, f"a string says what is patched: {named}, or the program is not patched"),
        (called == "getLogger", BY_HAND, f"the name of a logger: perdure's is {logger!r}"),
        (any(_assigns(parent, "pytest_plugins") for parent in parents), BY_HAND, f"a plugin of pytest: {named}"),
        (_in_annotation(node, parents), BY_HAND, f"an annotation in a string: {named}"),
    )
    unknown = f"a string names the official SDK: if it is the name of a module, {named}; if it is data, it stays"
    return next(((asks, message) for holds, asks, message in choices if holds), (BY_HAND, unknown))


def _parents(node: ast.AST, around: dict[int, ast.AST]) -> list[ast.AST]:
    """Give what a node stands in, from the inside out."""
    parents = []
    while (parent := around.get(id(node))) is not None:
        parents.append(parent)
        node = parent
    return parents


def _called_upon(node: ast.Constant, parents: list[ast.AST]) -> str | None:
    """Give the last part of the name of the function whose first argument a string is, or that it is given by name."""
    call = parents[1] if isinstance(parents[0], ast.keyword) else parents[0]
    if not isinstance(call, ast.Call) or (parents[0] is call and call.args[0] is not node):
        return None
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else None


def _assigns(node: ast.AST, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _in_annotation(node: ast.AST, parents: list[ast.AST]) -> bool:
    """Tell whether a node stands in an annotation."""
    for parent in parents:
        if node in (getattr(parent, "annotation", None), getattr(parent, "returns", None)):
            return True
        node = parent
    return False
