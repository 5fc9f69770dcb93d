"""The handlers and functions that a command line names: importing them, and registering them at a service."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from perdure.cli.codes import USAGE, CommandError
from perdure.cli.writer import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from perdure.local.service import LocalService

_OFFICIAL = {"aws_durable_execution_sdk_python", "aws_durable_execution_sdk_python_testing"}
_WITHOUT_OFFICIAL = (
    "With PERDURE_COMPAT=1 in the environment, imports of the official SDK mean perdure; "
    "`perdure migrate .` shows how they are rewritten."
)


def look_here_first() -> None:
    """Let modules be found in the current folder, before any other."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - sys.path wants a string


def named_entries(given: Iterable[str] | None, option: str | None, form: str) -> list[tuple[str, str]]:
    """Read `NAME=…`, as often as an option was given."""
    pairs = []
    for entry in given or ():
        name, separator, rest = entry.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{entry!r} is not {form}.", param_hint=option)
        pairs.append((name, rest))
    return pairs


def checked_register(service: LocalService, name: str, reference: str, *, durable: bool = True) -> None:
    """Load a function and register it; a name that is none is a wrong option."""
    function = load(reference)
    try:
        service.register(name, function, durable=durable)
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None


def function_name(reference: str) -> str:
    """Give the name that a function gets which is named by `module:attribute`."""
    return reference.rpartition(":")[2].rpartition(".")[2]


def load(reference: str) -> Callable[[Any, Any], Any]:
    """Import `module:attribute`, or `path/to/file.py:attribute`."""
    module_name, separator, attribute = reference.rpartition(":")
    if not separator or not module_name or not attribute:
        raise typer.BadParameter(f"{reference!r} is not MODULE:HANDLER, as in app:handler.")
    found = _import(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise typer.BadParameter(f"{module_name} has no {attribute!r}.{_instead(found, part)}")
        found = getattr(found, part)
    if not callable(found):
        raise typer.BadParameter(f"{reference} is no function, but of type {type(found).__name__}.")
    return found  # type: ignore[no-any-return]


def _instead(found: Any, name: str) -> str:
    """Name what may have been meant."""
    functions = [known for known, value in vars(found).items() if callable(value) and not known.startswith("_")]
    near = get_close_matches(name, functions, 1)
    return f" Is {near[0]!r} meant?" if near else ""


def _import(module_name: str) -> Any:
    from_file = module_name.endswith(".py")
    if from_file and not Path(module_name).is_file():
        raise typer.BadParameter(f"There is no file {module_name}.")
    importlib.invalidate_caches()  # a file may be younger than what was seen of its folder
    try:
        return _import_file(Path(module_name)) if from_file else importlib.import_module(module_name)
    except ModuleNotFoundError as problem:
        if problem.name in _OFFICIAL:
            _fail_import(module_name, _WITHOUT_OFFICIAL)
        if from_file or problem.name is None or not f"{module_name}.".startswith(f"{problem.name}."):
            _fail_import(module_name)
        raise typer.BadParameter(f"There is no module {module_name!r} here ({Path.cwd()}).") from None
    except (Exception, SystemExit):  # noqa: BLE001 - whatever the user's module does at import
        _fail_import(module_name)


def _import_file(path: Path) -> Any:
    """Import a file as a script would be: its folder first on the path, its stem as the module name."""
    sys.path.insert(0, str(path.parent.resolve()))
    return importlib.import_module(path.stem)


def _fail_import(module_name: str, hint: str = "See the traceback on standard error.") -> NoReturn:
    write(traceback.format_exc(), err=True)
    message = f"{module_name} could not be imported."
    raise CommandError(message, USAGE, "Import", hint)
