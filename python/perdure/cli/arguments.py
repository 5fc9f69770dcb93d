"""What is given on the command line: payloads, moments, and which execution is meant."""

from __future__ import annotations

import json
import math
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from perdure.cli.codes import BLOCKED, USAGE, CommandError

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURABLE = "/durable-execution/"


def read_text(given: str, option: str) -> str:
    """Return what was given: the content of the file of that name, of standard input for `-`, or the text itself."""
    try:
        if given == "-":
            return sys.stdin.buffer.read().decode()  # whatever the locale says
        return Path(given).read_text(encoding="utf-8") if _is_file(given) else given
    except UnicodeDecodeError as problem:
        message = f"{option}: {_source(given)} is not UTF-8: {problem.reason} at byte {problem.start}."
        raise CommandError(message, USAGE, "Usage", "Write it in UTF-8.") from None
    except OSError as problem:
        raise CommandError(f"{option}: {_source(given)} cannot be read: {problem}", USAGE, "Usage") from None


def read_json(given: str, option: str, hint: str = "") -> str:
    """Return JSON text, from the text itself, a file, or standard input."""
    text = read_text(given, option)
    try:
        loads(text)
    except ValueError as problem:
        shown = given if len(given) <= 60 else f"{given[:59]}…"  # noqa: PLR2004 - enough to know it again
        what = f"{shown!r} is neither a file nor" if text is given else f"{_source(given)} is not"
        raise CommandError(f"{option}: {what} valid JSON ({problem}).", USAGE, "Usage", hint) from None
    return text


def loads(text: str) -> Any:
    """Read JSON as others read it, too: no NaN, no number beyond all bounds, nothing deeper than Python goes.

    Raises:
        ValueError: It is none.

    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(number: str) -> float:
    read = float(number)
    if math.isinf(read):
        raise ValueError(f"{number} is larger than any number that JSON can hold elsewhere")
    return read


def _source(given: str) -> str:
    return "standard input" if given == "-" else given


def read_moment(given: str, option: str) -> datetime:
    """Read a moment: ISO 8601 (in local time unless it has a zone), or a length of time ago such as `90min` or `7d`."""
    ago = _AGO.fullmatch(given.strip())
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(seconds=float(ago[1]) * _UNITS[ago[2]])
        return datetime.fromisoformat(given.strip()).astimezone()
    except (ValueError, OverflowError):
        message = f"{option}: {given!r} is no moment."
        raise CommandError(
            message, USAGE, "Usage", "Write 2026-03-01T12:00, or a time ago: 30s, 90min, 2h, 7d."
        ) from None


def error_object(given: str) -> dict[str, Any]:
    """Read an error: a message, or a JSON object with the members of the API's ErrorObject."""
    text = given.strip()
    if not text.startswith("{"):
        return {"ErrorMessage": given}
    try:
        found = loads(text)
    except ValueError as problem:
        raise CommandError(f"--error: {given!r} is not valid JSON ({problem}).", USAGE, "Usage") from None
    allowed = {"ErrorMessage", "ErrorType", "ErrorData", "StackTrace"}
    if unknown := sorted(set(found) - allowed):
        message = f"--error: an error has no {', '.join(unknown)}, only {', '.join(sorted(allowed))}."
        raise CommandError(message, USAGE, "Usage")
    return dict(found)


def resolve(client: Any, reference: str) -> str:
    """Return the ARN of the execution that is meant by its ARN, or by FUNCTION/NAME."""
    if _DURABLE in reference:
        return reference
    function, separator, name = reference.rpartition("/")
    if not separator or not function or not name or "/" in function:
        message = f"{reference!r} is neither the ARN of a durable execution nor FUNCTION/NAME."
        raise CommandError(message, USAGE, "Usage", "`perdure list FUNCTION` shows the executions of a function.")
    found: list[dict[str, Any]] = []
    marker: str | None = None
    while True:
        more = {} if marker is None else {"Marker": marker}
        page = client.list_durable_executions_by_function(FunctionName=function, DurableExecutionName=name, **more)
        found += [one for one in page.get("DurableExecutions", ()) if one["DurableExecutionName"] == name]
        marker = page.get("NextMarker")
        if not marker:
            break
    if not found:
        message = f"Not found: the function {function} has no execution named {name}."
        raise CommandError(message, BLOCKED, "NotFound", f"`perdure list {function}` shows those it has.")
    return str(max(found, key=lambda one: one["StartTimestamp"])["DurableExecutionArn"])


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # too long for a file name, or no name at all
        return False
