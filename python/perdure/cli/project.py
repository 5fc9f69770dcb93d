"""What a project says of itself: `[tool.perdure]` in the `pyproject.toml` here, for who names no handler."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from perdure.cli.arguments import read_json, read_text
from perdure.cli.codes import USAGE, CommandError

FILE = "pyproject.toml"
_TABLE = "[tool.perdure]"
_KEYS = ("handler", "event")
_EXAMPLE = f'Give one, as in app:handler, or name it in {FILE}: handler = "app:handler" below {_TABLE}.'


@dataclass(frozen=True, slots=True)
class Meant:
    """A handler, as MODULE:HANDLER, and its event as JSON."""

    handler: str
    payload: str


def meant(handler: str | None, event: str | None) -> Meant:
    """Tell which handler is meant, and with which event: those given, else those of the project in this folder.

    The project's event goes with the project's handler; one that is given begins with `{}`.
    """
    option = "--event"
    if handler is None:
        project = _project(Path(FILE))
        handler = project["handler"]
        if event is None and "event" in project:
            event, option = project["event"], f"event of {_TABLE} in {FILE}"
    return Meant(handler, "{}" if event is None else read_json(event, option))


def _project(path: Path) -> dict[str, str]:
    """Read what the file says to perdure; there is a handler in it."""
    if not path.is_file():
        raise _refusal(f"No handler is given, and there is no {FILE} here ({Path.cwd()}) that names one.")
    try:
        tools = tomllib.loads(read_text(FILE, FILE)).get("tool")
    except tomllib.TOMLDecodeError as problem:
        raise _refusal(f"No handler is given, and {FILE} is not valid TOML: {problem}.") from None
    table = tools.get("perdure") if isinstance(tools, dict) else None
    if table is None:
        raise _refusal(f"No handler is given, and {FILE} has no {_TABLE} that names one.")
    return _checked(table)


def _checked(table: Any) -> dict[str, str]:
    if not isinstance(table, dict):
        raise _refusal(f"perdure below [tool] in {FILE} is no table.")
    for key, value in table.items():
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, 1)
            instead = f"is {near[0]!r} meant?" if near else f"it takes {' and '.join(_KEYS)}."
            raise _refusal(f"{_TABLE} in {FILE} has no {key!r}: {instead}")
        if not isinstance(value, str):
            raise _refusal(f"{key} of {_TABLE} in {FILE} is text, not {value!r}.")
    if "handler" not in table:
        raise _refusal(f"No handler is given, and {_TABLE} in {FILE} names none.")
    return dict(table)


def _refusal(message: str) -> CommandError:
    return CommandError(message, USAGE, "Usage", _EXAMPLE)
