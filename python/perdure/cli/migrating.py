"""`perdure migrate`: a program of the official SDK becomes one of perdure's. Needs the `local` extra."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path  # noqa: TC003 - typer reads the hints
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from perdure.cli.app import AsJson, app
from perdure.cli.codes import BLOCKED, FAILED, OK, CommandError
from perdure.cli.drawing.text import plural
from perdure.cli.usage import Command, print_document
from perdure.cli.writer import Writer
from perdure.migration.project import Finding, examine
from perdure.migration.words import BY_HAND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.migration.words import Note

MOVING = "Move over from the official SDK"
"""The heading of the command in the help."""

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@app.command(cls=Command, rich_help_panel=MOVING)
def migrate(
    context: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="Files, and folders with all that is in them.", exists=True)
    ],
    write: Annotated[bool, typer.Option("--write", help="Write the files; without it, the changes are shown.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if there is something to rewrite; nothing is written.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rewrite imports of the official SDK, and the dotted names that go by them, so that they mean perdure.

    Strings, comments and data stay as they are.
    What is in them is told, as is what requirement files and templates need.
    The other way, which changes no line, is `import perdure.compat`.
    """
    if write and check:
        raise typer.BadParameter("--check writes nothing: leave one of the two away.", param_hint="--write")
    findings = sorted(examine(paths), key=lambda finding: str(finding.path))
    for finding in findings if write else ():
        _write(finding)
    code = _code(findings, check=check)
    if as_json:
        print_document(context, _document(findings, write=write, code=code))
    else:
        _show(findings, write=write)
    raise typer.Exit(code)


def _write(finding: Finding) -> None:
    if not finding.changes:
        return
    try:
        finding.write()
    except OSError as error:
        why = f"{finding.path} cannot be written: {error.strerror or error}"
        raise CommandError(why, BLOCKED, "Output", "What stands before it in the order of names is written.") from error


def _code(findings: list[Finding], *, check: bool) -> int:
    """Give what to exit with."""
    if any(finding.problem for finding in findings):
        return BLOCKED
    return FAILED if check and any(finding.changes for finding in findings) else OK


def _document(findings: list[Finding], *, write: bool, code: int) -> dict[str, Any]:
    return {
        "files": [
            {
                "path": str(finding.path),
                "changes": finding.changes,
                "written": write and finding.changes,
                "diff": "".join(_diff(finding)),
                "problem": None if finding.problem is None else _described(finding.problem),
                "notes": [_described(note) for note in finding.notes],
            }
            for finding in findings
        ],
        "exitCode": code,
    }


def _described(note: Note) -> dict[str, Any]:
    return {"line": note.line, "column": note.column, "byHand": note.asks == BY_HAND, "message": note.message}


def _show(findings: list[Finding], *, write: bool) -> None:
    """Print the changes, and on standard error what else is to be said."""
    out, err = _writer(stderr=False), _writer(stderr=True)
    for finding in findings if not write else ():
        if out.is_terminal:
            for line in _diff(finding):
                out.print(Text(line.rstrip("\r\n"), _COLOURS.get(line[:1], "")))
        else:
            sys.stdout.writelines(_diff(finding))  # to the byte, for `patch`
    sys.stdout.flush()
    for finding in findings:
        if finding.problem is not None:
            _say(err, finding, finding.problem, "not rewritten: ", "red")
        for note in finding.notes:
            _say(err, finding, note, "", "yellow" if note.asks == BY_HAND else "green")
    err.print(_sum(findings, write=write))


def _writer(*, stderr: bool) -> Writer:
    return Writer(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)


def _say(err: Writer, finding: Finding, note: Note, what: str, colour: str) -> None:
    err.print(Text.assemble((f"{finding.path}:{note.line}:{note.column}:", colour), f" {what}{note.message}"))


def _sum(findings: list[Finding], *, write: bool) -> str:
    """Say in a line what was found, and what comes next."""
    changed = sum(finding.changes for finding in findings)
    failed = sum(finding.problem is not None for finding in findings)
    by_hand = sum(note.asks == BY_HAND for finding in findings for note in finding.notes)
    done = "rewritten" if write else "to rewrite"
    parts = [f"{plural(changed, 'file')} {done}" if changed else f"nothing {done}"]
    parts += [f"{plural(by_hand, 'place')} to look at"] if by_hand else []
    parts += [f"{plural(failed, 'file')} not rewritten"] if failed else []
    hint = " An import sorter may want to sort anew." if write else " --write does it."
    return f"{', '.join(parts)}.{hint if changed else ''}"


def _diff(finding: Finding) -> Iterator[str]:
    """Give a change as a patch that `patch` and `git apply` take."""
    if finding.before is None or finding.after is None:
        return
    before, after = _lines(finding.before), _lines(finding.after)
    name = finding.path.as_posix().removeprefix("/")
    for line in difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(text: str) -> list[str]:
    """Split a text at line feeds alone, as `patch` does."""
    return [f"{line}\n" for line in text.split("\n")[:-1]] + [line for line in text.split("\n")[-1:] if line]
