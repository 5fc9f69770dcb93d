"""Workflows written for a context that blocks, as coroutine functions: each call in them is awaited, if it can be."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import types
from typing import TYPE_CHECKING, Any

from support.cooperative import settled

if TYPE_CHECKING:
    from collections.abc import Iterable

_OPERATIONS = {
    *("step", "wait", "create_callback", "wait_for_callback", "wait_for_condition", "invoke"),
    *("run_in_child_context", "map", "parallel", "result", "with_retry"),
    *("all", "any", "race", "all_settled"),
}
_BLOCKS = {"saga", "finally_"}
_BUILTINS = {"map", "all", "any"}
_FUNCTIONS = (ast.FunctionDef, ast.Lambda)


def as_coroutines(module: types.ModuleType, also: Iterable[str] = ()) -> types.ModuleType:
    """Give a module again, in which functions that call operations, or each other, are coroutine functions.

    These lose their decorators.

    Args:
        module: The module.
        also: Names of functions that do so in a way that cannot be seen.

    """
    tree = ast.parse(inspect.getsource(module))
    names = {*_OPERATIONS, *also}
    while more := {node.name for node in ast.walk(tree) if _is_one(node, names)} - names:  # type: ignore[attr-defined]
        names |= more
    tree = ast.fix_missing_locations(_Awaiting(names).visit(tree))
    again = types.ModuleType(module.__name__)  # by which errors of its classes are recorded
    again.__dict__["_settled"] = settled
    exec(compile(tree, str(module.__file__), "exec"), again.__dict__)  # noqa: S102  our own
    return again


def in_classes_of(module: types.ModuleType, data: Any) -> Any:
    """Give a workflow that is data, or a part of one, in the classes of a module that was given again."""
    if isinstance(data, tuple):
        return tuple(in_classes_of(module, each) for each in data)
    kind = getattr(module, type(data).__name__, None)
    if kind is None or not dataclasses.is_dataclass(data):
        return data
    return kind(**{each.name: in_classes_of(module, getattr(data, each.name)) for each in dataclasses.fields(data)})


def _is_one(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.FunctionDef) and (node.name in names or _calls(node, names))


def _calls(function: ast.AST, names: set[str]) -> bool:
    """Whether a function itself, and no other inside of it, calls one of these names."""
    inside = list(ast.iter_child_nodes(function))
    while inside:
        node = inside.pop()
        if isinstance(node, _FUNCTIONS):
            continue
        if isinstance(node, ast.Call) and _called(node.func) in names:
            return True
        inside += ast.iter_child_nodes(node)
    return False


def _called(function: ast.expr) -> str | None:
    """Give the name of what may be an operation: a method of what has a name, but for that of a callback."""
    if isinstance(function, ast.Name):
        return None if function.id in _BUILTINS else function.id
    if isinstance(function, ast.Attribute) and (isinstance(function.value, ast.Name) or function.attr == "result"):
        return function.attr
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Attribute):
        return function.attr if function.value.attr == "ctx" else None
    return None


def _function(item: ast.withitem) -> ast.expr:
    """Give what is called to give the context manager of a ``with``, if it is a call."""
    return item.context_expr.func if isinstance(item.context_expr, ast.Call) else item.context_expr


class _Awaiting(ast.NodeTransformer):
    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._is_coroutine = False
        self._lifted: list[ast.stmt] = []
        self._count = 0

    def visit(self, node: ast.AST) -> Any:
        """Lift the lambdas of a statement before it: they cannot await."""
        if not isinstance(node, ast.stmt):
            return super().visit(node)
        before, self._lifted = self._lifted, []
        visited = super().visit(node)
        lifted, self._lifted = self._lifted, before
        return [*lifted, visited] if lifted else visited

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        is_one = _is_one(node, self._names)
        node.decorator_list = [] if is_one else [self.visit(each) for each in node.decorator_list]
        node.args = self.visit(node.args)
        node.body = self._inside(node.body, is_one)
        return ast.AsyncFunctionDef(**vars(node)) if is_one else node

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        node.bases = [self.visit(each) for each in node.bases]
        node.body = self._inside(node.body, False)
        return node

    def visit_With(self, node: ast.With) -> Any:
        is_awaited = self._is_coroutine and any(_called(_function(item)) in _BLOCKS for item in node.items)
        self.generic_visit(node)
        return ast.AsyncWith(**vars(node)) if is_awaited else node

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        if not _calls(node, self._names):
            node.body = self._inside([node.body], False)[0]
            return node
        self._count += 1
        lifted = ast.parse(f"async def _lambda_{self._count}(): pass").body[0]
        assert isinstance(lifted, ast.AsyncFunctionDef)
        lifted.args, lifted.body = node.args, self._inside([ast.Return(node.body)], True)
        self._lifted.append(lifted)
        return ast.Name(lifted.name, ast.Load())

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if not self._is_coroutine:
            return node
        return ast.Await(ast.Call(ast.Name("_settled", ast.Load()), [node], []))

    def _inside(self, body: list[Any], is_coroutine: bool) -> list[Any]:
        before, self._is_coroutine = self._is_coroutine, is_coroutine
        visited = [self.visit(each) for each in body]
        self._is_coroutine = before
        return [each for some in visited for each in (some if isinstance(some, list) else [some])]
