"""Outputs that cannot write every sign: what is drawn becomes ASCII, and foreign text is escaped as JSON escapes it."""

from __future__ import annotations

import codecs
import json
import os
import sys
from typing import Any

_ERRORS = "perdure"
_PLAIN = frozenset({"C", "POSIX"})
_COERCED = frozenset({"C.UTF-8", "C.utf8", "UTF-8"})
"""What Python puts into LC_CTYPE where the locale is C (PEP 538)."""
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
    """Let a stream write anything, whatever its encoding; one for which ASCII was asked gets ASCII."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is None:
        return
    if "utf" not in (getattr(stream, "encoding", None) or "").lower():
        reconfigure(errors=_ERRORS)
    elif ascii_wanted():
        reconfigure(encoding="ascii", errors=_ERRORS)


def ascii_wanted() -> bool:
    """Tell whether the locale was set to C in words, which Python overrules by writing UTF-8 all the same (PEP 540).

    Where none was set, as in a small container, UTF-8 stays; so it does where Python was told to write it.
    """
    told = os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8") or "utf8" in sys._xoptions  # noqa: SLF001 - documented
    if told or not sys.flags.utf8_mode:
        return False
    return _locale() in _PLAIN


def _locale() -> str | None:
    """Give the locale of characters that the user has set, without what Python has put in its place."""
    coerced = os.environ.get("LC_CTYPE") in _COERCED
    names = ("LC_ALL", "LANG") if coerced else ("LC_ALL", "LC_CTYPE", "LANG")
    return next((value for name in names if (value := os.environ.get(name))), None)


def spelled(text: str, encoding: str) -> str:
    """Return a text as it will stand in an output, so that one can measure it."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text if "utf" in encoding.lower() else text.encode(encoding, _ERRORS).decode(encoding)
    return text
