"""Outputs that cannot write every sign: what is drawn becomes ASCII, and foreign text is escaped as JSON escapes it."""

from __future__ import annotations

import codecs
import json
from typing import Any

_ERRORS = "perdure"
_SIGNS = {
    "…": "...",
    "≥": ">=",
    "·": ":",
    "─": "-",
    "│": "|",
    "├": "|",
    "└": "`",
    "█": "#",
    "▓": "x",
    "░": ".",
    "▶": ">",
    "≈": "~",
    "\N{REPLACEMENT CHARACTER}": "?",
}


def _spell(problem: UnicodeError) -> tuple[str, int]:
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    signs = problem.object[problem.start : problem.end]
    return "".join(_SIGNS.get(sign) or json.dumps(sign)[1:-1] for sign in signs), problem.end


codecs.register_error(_ERRORS, _spell)


def prepare(stream: Any) -> None:
    """Let a stream write anything, whatever its encoding."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None and "utf" not in (getattr(stream, "encoding", None) or "").lower():
        reconfigure(errors=_ERRORS)


def spelled(text: str, encoding: str) -> str:
    """Return a text as it will stand in an output, so that one can measure it."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text if "utf" in encoding.lower() else text.encode(encoding, _ERRORS).decode(encoding)
    return text
