"""Rewriting a Python source: its imports of the official SDK, and the dotted names that go by them.

Strings, comments and everything else stay as they are, to the byte. What was written is read back: if its syntax tree
is not the old one with exactly these names changed, nothing is written.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import defaultdict
from dataclasses import dataclass, field

from perdure.migration.lacking import notes_on_lacking
from perdure.migration.words import BY_HAND, ROOTS, SDK, Note, notes_on_strings, notes_on_timeouts

_NEWLINE = re.compile(r"\r\n|\r|\n")
_FROM = re.compile(r"from(?:[ \t\f]|\\(?:\r\n|\r|\n))*")
_TYPE_COMMENT = re.compile(rf"#\s*type:.*\b{SDK}")
_OURS = "perdure"


class UnrewritableError(Exception):
    """A source that cannot be rewritten, with the line (counted from 1) that says why."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(slots=True)
class Rewritten:
    """A source as it should be.

    Args:
        text: The new text.
        notes: What else is to be looked at.

    """

    text: str
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Imported:
    """One module of the official SDK that a statement imports.

    Args:
        node: The statement.
        module: The module.
        alias: Its part of an ``import``; None for ``from module import …``.

    """

    node: ast.Import | ast.ImportFrom
    module: str
    alias: ast.alias | None = None

    @property
    def root(self) -> str:
        """The package."""
        return self.module.partition(".")[0]


def rewrite(text: str) -> Rewritten:
    """Rewrite a source.

    Raises:
        UnrewritableError: If it is no Python, or cannot be rewritten without changing more than names.

    """
    tree = _parsed(text)
    names = _Names()
    try:
        names.visit(tree)
        notes = [*notes_on_strings(tree), *_notes_on_comments(text), *_notes_on_imports(names)]
        if names.imports:
            _refuse_conflicts(names)
            notes += notes_on_timeouts(tree)
            text = _written(text, tree, names)
    except RecursionError:
        raise UnrewritableError(1, "it nests too deep") from None
    return Rewritten(text, sorted(notes))


def _parsed(text: str) -> ast.Module:
    """Read a source; what the parser warns of is none of our business."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        raise UnrewritableError(error.lineno or 1, f"it is no Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UnrewritableError(1, f"it cannot be read as Python: {error}") from None


class _Names(ast.NodeVisitor):
    """What a source imports, and which names it binds and uses."""

    def __init__(self) -> None:
        self.imports: list[Imported] = []
        self.related: list[Imported] = []
        """Imports of other packages around the official SDK."""
        self.plain: set[str] = set()
        """The roots that an ``import`` without ``as`` binds."""
        self.loads: dict[str, list[ast.Name]] = defaultdict(list)
        self.bound: dict[str, int] = {}
        """The roots, and perdure, where anything else binds them; and the line."""

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            imported = Imported(node, alias.name, alias)
            self._note(imported)
            if alias.asname is not None:
                self._bind(alias.asname, node)
            elif imported.root in ROOTS:
                self.plain.add(imported.root)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level == 0:
            self._note(Imported(node, node.module or ""))
        for alias in node.names:
            self._bind(alias.asname or alias.name, node)

    def _note(self, imported: Imported) -> None:
        if imported.root in ROOTS:
            self.imports.append(imported)
        elif imported.root.startswith(SDK):
            self.related.append(imported)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.loads[node.id].append(node)
        else:
            self._bind(node.id, node)

    def generic_visit(self, node: ast.AST) -> None:
        """Look for names that are bound without a node of their own: by functions, parameters, patterns, …."""
        if not isinstance(node, ast.keyword):
            for member in ("name", "arg", "rest"):
                self._bind(getattr(node, member, None), node)
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            for name in node.names:
                self._bind(name, node)
        super().generic_visit(node)

    def _bind(self, name: object, node: ast.AST) -> None:
        if isinstance(name, str) and (name in ROOTS or name == _OURS):
            self.bound.setdefault(name, getattr(node, "lineno", 1))


def _refuse_conflicts(names: _Names) -> None:
    """Refuse a source in which a name that an import binds is bound to something else, too."""
    for name in (*sorted(names.plain), _OURS) if names.plain else ():
        if name in names.bound:
            raise UnrewritableError(
                names.bound[name], f"{name} is bound to something else, too: change the imports of this file by hand"
            )


def _written(text: str, tree: ast.Module, names: _Names) -> str:
    """Change the names, and make sure that nothing else has changed."""
    places = _Places(text)
    edits = {places.of_import(imported): imported.root for imported in names.imports}
    for root in names.plain:
        edits |= {places.of_name(node): root for node in names.loads[root]}
    written = text
    for place, root in sorted(edits.items(), reverse=True):
        if text[place : place + len(root)] != root:
            raise UnrewritableError(1, "a name is written in an unusual way: change the imports of this file by hand")
        written = f"{written[:place]}{ROOTS[root]}{written[place + len(root) :]}"
    if ast.dump(_parsed(written)) != ast.dump(_Renamer(names.plain).visit(tree)):
        raise UnrewritableError(
            names.imports[0].node.lineno,
            "more than names would change, as in f'{name=}', which shows the name: change its imports by hand",
        )
    return written


class _Places:
    """Where the nodes of a tree stand in the text; the tree counts lines, and in them bytes of UTF-8."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(found.end() for found in _NEWLINE.finditer(text))]

    def _at(self, line: int, column: int) -> int:
        start = self._starts[line - 1]
        characters = self._text[start : start + column].encode()[:column]
        return start + len(characters.decode(errors="ignore"))

    def of_import(self, imported: Imported) -> int:
        """Give where the name of an imported module begins."""
        node = imported.node if imported.alias is None else imported.alias
        place = self._at(node.lineno, node.col_offset)
        if imported.alias is not None:
            return place
        begin = _FROM.match(self._text, place)
        return place if begin is None else begin.end()

    def of_name(self, node: ast.Name) -> int:
        """Give where a name begins."""
        return self._at(node.lineno, node.col_offset)


class _Renamer(ast.NodeTransformer):
    """Changes the names in a tree."""

    def __init__(self, plain: set[str]) -> None:
        self._plain = plain

    def visit_Import(self, node: ast.Import) -> ast.Import:
        for alias in node.names:
            alias.name = _renamed(alias.name)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.level == 0 and node.module is not None:
            node.module = _renamed(node.module)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._plain or not isinstance(node.ctx, ast.Load):
            return node
        return ast.parse(ROOTS[node.id], mode="eval").body


def _renamed(module: str) -> str:
    root, dot, rest = module.partition(".")
    return f"{ROOTS.get(root, root)}{dot}{rest}"


def _notes_on_imports(names: _Names) -> list[Note]:
    """Tell of imports that are not enough, or that are of something else."""
    notes = []
    for imported in names.imports:
        wanted = [] if isinstance(imported.node, ast.Import) else [alias.name for alias in imported.node.names]
        notes += [
            Note(imported.node.lineno, imported.node.col_offset + 1, BY_HAND, message)
            for message in notes_on_lacking(_renamed(imported.module), wanted)
        ]
    for imported in names.related:
        message = f"{imported.root} is another package, which may need the official SDK"
        notes.append(Note(imported.node.lineno, imported.node.col_offset + 1, BY_HAND, message))
    return notes


def _notes_on_comments(text: str) -> list[Note]:
    """Tell of comments that are read by tools."""
    return [
        Note(number, found.start() + 1, BY_HAND, "a type comment names the official SDK: change it")
        for number, line in enumerate(_NEWLINE.split(text), 1)
        if (found := _TYPE_COMMENT.search(line))
    ]
