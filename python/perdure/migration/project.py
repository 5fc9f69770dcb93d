"""The files of a project: which are Python, which say what is required, and what is to be done about each."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import tokenize
from dataclasses import dataclass, field
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.migration.sources import UnrewritableError, rewrite
from perdure.migration.words import BY_HAND, FINE, NAMED, RUNNER, SDK, Note, error_type, requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PYTHON = frozenset({".py", ".pyi", ".pyw"})
_SKIPPED = frozenset({"__pycache__", "cdk.out", "node_modules", "site-packages"})
_CONFIGURATIONS = (
    *("*.cfg", "*.ini", "*.ipynb", "*.lock", "*.sh", "*.tf", "*.toml", "*.ts", "*.yaml", "*.yml"),
    *("*constraints*.txt", "*requirements*.in", "*requirements*.txt", "cdk*.json", "template*.json"),
    *("Containerfile*", "Dockerfile*", "Jenkinsfile*", "Makefile*", "Pipfile*", "Procfile*"),
)
_LARGEST = 8 * 1024 * 1024
_SIGNS = (
    b"durable_execution",
    b"durable-execution",
    b"durable.execution",
    b"dex-local-runner",
    b"urableConfig",
    b"durable_config",
)
_DURABLE = re.compile(r"\b[dD]urableConfig\b|\bdurable_config\s*=")
_COMPILED = (
    "a function is built from it: perdure has compiled code, so install its wheel for the function's platform, "
    "architecture and Python (sam build --use-container, or pip install --platform … --only-binary=:all:). "
    "DurableConfig, Handler and permissions stay"
)


@dataclass(slots=True)
class Finding:
    """What was found in a file.

    Args:
        path: The file, as it was asked for.
        before: Its text; None if it is no Python source, or could not be read.
        after: What its text should be.
        notes: What is to be looked at.
        problem: Why it could not be rewritten.

    """

    path: Path
    before: str | None = None
    after: str | None = None
    notes: list[Note] = field(default_factory=list)
    problem: Note | None = None
    encoding: str = "utf-8"

    @property
    def changes(self) -> bool:
        """Whether there is something to be rewritten."""
        return self.after is not None and self.before != self.after

    def write(self) -> None:
        """Write what the file should be, in one move; where it is a link, in the place that it leads to.

        Raises:
            OSError: If it cannot be written.

        """
        place = Path(os.path.realpath(self.path))
        descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write((self.after or "").encode(self.encoding))
            shutil.copymode(place, name)
            os.replace(name, place)  # noqa: PTH105  both are names
        except BaseException:
            os.unlink(name)  # noqa: PTH108  the same
            raise


def examine(paths: Iterable[Path]) -> Iterator[Finding]:
    """Look at files, and at all that is in folders; give those that are to be changed or looked at."""
    seen: set[str] = set()
    for path in paths:
        for file in [path] if not path.is_dir() else _within(path):
            if (real := os.path.realpath(file)) in seen:
                continue
            seen.add(real)
            finding = _examined(file, asked_for=file == path)
            if finding is not None and (finding.changes or finding.notes or finding.problem):
                yield finding


def _within(folder: Path) -> Iterator[Path]:
    """Give the files of a folder in order, but for those that are not the project's own."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if (here / "pyvenv.cfg").exists():
            folders.clear()
            continue
        folders[:] = sorted(
            name for name in folders if name not in _SKIPPED and (name == ".github" or not name.startswith("."))
        )
        for name in sorted(files):
            file = here / name
            if not file.is_symlink() and (file.suffix in _PYTHON or _is_configuration(file)):
                yield file


def _is_own(folder: str) -> bool:
    """Tell whether a folder may be a project's own, and no cache, repository or copy of other people's code."""
    return folder == ".github" or not (folder in _SKIPPED or folder.startswith("."))


def _is_configuration(file: Path) -> bool:
    return any(fnmatch(file.name, pattern) for pattern in _CONFIGURATIONS)


def _examined(file: Path, *, asked_for: bool) -> Finding | None:
    """Look at a file; None for one that has nothing to do with the official SDK."""
    try:
        if not asked_for and file.stat().st_size > _LARGEST:
            return None
        content = file.read_bytes()
    except OSError as error:
        return Finding(file, problem=Note(1, 1, BY_HAND, f"it cannot be read: {error.strerror or error}"))
    if not any(sign in content for sign in _SIGNS):
        return None
    if file.suffix in _PYTHON or (asked_for and not _is_configuration(file)):
        return _source(file, content)
    return Finding(file, notes=_notes_on_configuration(file, content.decode(errors="replace")))


def _source(file: Path, content: bytes) -> Finding | None:
    """Rewrite a Python source, in its own encoding."""
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(content).readline)
        before = content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        return Finding(file, problem=Note(1, 1, BY_HAND, f"it cannot be read: {error}"))
    if NAMED.search(before) is None:
        durable = _DURABLE.search(before) if "aws_cdk" in before else None
        if durable is None:
            return None
        line = before.count("\n", 0, durable.start()) + 1
        return Finding(file, notes=[Note(line, 1, BY_HAND, _COMPILED)])
    try:
        rewritten = rewrite(before)
    except UnrewritableError as error:
        return Finding(file, before, problem=Note(error.line, 1, BY_HAND, error.message))
    return Finding(file, before, rewritten.text, rewritten.notes, encoding=encoding)


def _notes_on_configuration(file: Path, text: str) -> list[Note]:
    """Tell of the lines of a file that name the official SDK; of a lock, once."""
    if file.suffix == ".ipynb":
        found = NAMED.search(text)
        message = "a notebook: change the imports in its cells, or begin it with `import perdure.compat`"
        return [] if found is None else [Note(1, 1, BY_HAND, message)]
    notes = []
    for number, line in enumerate(text.splitlines(), 1):
        if (named := NAMED.search(line)) is not None:
            notes.append(Note(number, named.start() + 1, *_on_line(line)))
        elif (durable := _DURABLE.search(line)) is not None and all(note.message != _COMPILED for note in notes):
            notes.append(Note(number, durable.start() + 1, BY_HAND, _COMPILED))
    if notes and file.name.endswith(".lock"):
        message = "a lock file: make it anew when the requirements are changed"
        return [Note(notes[0].line, notes[0].column, BY_HAND, message)]
    return notes


def _on_line(line: str) -> tuple[str, str]:
    """Say what to do about a line of a file that is no Python."""
    if error_type(line):
        return FINE, "the type of an error as it is recorded: it stays"
    if "dex-local-runner" in line:
        return BY_HAND, RUNNER
    if SDK in line:
        return BY_HAND, "perdure instead; as a module, the testing package is perdure.testing"
    return BY_HAND, requirement(line)
