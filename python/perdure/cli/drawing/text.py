"""Words, numbers and moments as the commands write them."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure.local.durations import span

_KIB = 1024
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "STOPPED": "red",
    "CANCELLED": "yellow",
    "PENDING": "yellow",
    "PAUSED": "yellow",
    "PAUSING": "yellow",
}
_PACKAGES = ("aws_durable_execution_sdk_python.exceptions.", "perdure.exceptions.")
BROKEN = frozenset({"FAILED", "TIMED_OUT", "STOPPED"})


class _Escapes(dict[int, str]):
    """What each sign is in a JSON text that hides nothing; the line breaks between its parts stay."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        hidden = sign != "\n" and unicodedata.category(sign) in _INVISIBLE
        shown = self[code] = (
            json.dumps(sign)[1:-1] if hidden and code != _DELETE else f"\\u{code:04x}" if hidden else sign
        )
        return shown


_DELETE = 0x7F  # the one sign that JSON leaves as it is, though it cannot be seen
_ESCAPES = _Escapes()


def style_of(status: str) -> str:
    """Give the colour of a status on a terminal."""
    return _STYLES.get(status, "cyan")


def clean(value: Any) -> str:
    """Write a foreign text without anything that could move the cursor, hide, or turn the line around."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign) in _INVISIBLE else sign for sign in text)


def clean_lines(value: Any) -> str:
    """Write a foreign text of several lines."""
    return "\n".join(clean(part) for part in str(value).expandtabs().splitlines())


def line(value: Any, most: int = 100) -> str:
    """Write a foreign text in one line, cut where it gets long."""
    text = clean(" ".join(str(value).split()))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def size(count: int | None) -> str:
    """Write a number of bytes; nothing for none."""
    if count is None:
        return ""
    if count < _KIB:
        return f"{count} B"
    kib = count / _KIB
    return f"{kib:.1f} KiB" if kib < _KIB else f"{kib / _KIB:.1f} MiB"


def plural(count: int, what: str) -> str:
    """Count things."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def duration(length: timedelta | None) -> str:
    """Write a length of time; nothing for none."""
    return "" if length is None else span(max(timedelta(0), length))


def milliseconds(length: timedelta | None) -> int | None:
    """Give a length of time in milliseconds."""
    return None if length is None else round(length.total_seconds() * 1000)


def iso(moment: datetime | None) -> str | None:
    """Write a moment in UTC, with milliseconds, as JSON has it."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def zone(moment: datetime) -> str:
    """Name the local time that a moment is written in: `UTC+01:00`."""
    offset = moment.astimezone().isoformat()[-6:]
    return "UTC" if offset == "+00:00" else f"UTC{offset}"


def clock(moment: datetime | None, beside: datetime | None = None, *, exact: bool = False) -> str:
    """Write a moment in local time, for people.

    Args:
        moment: The moment.
        beside: A moment whose zone is told: that of another one (the clocks were changed between them) is added.
        exact: With milliseconds.

    """
    if moment is None:
        return ""
    written = moment.astimezone().isoformat(" ", "milliseconds" if exact else "seconds")
    time, offset = written[:-6], written[-6:]
    return time if beside is None or zone(beside) == zone(moment) else f"{time} {offset}"


def stamp(moment: datetime) -> str:
    """Write a moment in local time, exactly, with its zone, in one word."""
    return moment.astimezone().isoformat(timespec="milliseconds")


def moment(when: datetime, now: datetime) -> str:
    """Write a moment to come for people, and how far away it is; without the day, if that is today."""
    local, today = when.astimezone(), now.astimezone().date()
    written = local.strftime("%H:%M:%S") if local.date() == today else clock(when, now)
    return f"{written} ({f'in {duration(when - now)}' if when >= now else 'overdue'})"


def dumps(document: Any) -> str:
    """Write a JSON document, in signs of ASCII that any terminal shows."""
    return json.dumps(document, indent=2, default=_default).translate(_ESCAPES)


def pretty(payload: str, encoding: str = "utf-8") -> str:
    """Write a payload for people: indented if it is JSON, with what cannot be seen escaped in it; else as it is."""
    try:
        text = json.dumps(json.loads(payload), indent=2, ensure_ascii=False).translate(_ESCAPES)
        text.encode(encoding)
    except UnicodeEncodeError:  # what the output has no sign for
        return dumps(json.loads(payload))
    except (ValueError, RecursionError):
        return payload
    return text


def parsed(payload: str | None) -> Any:
    """Read a payload, which stays text where it is not JSON (Python would read NaN, and write it)."""
    if payload is None:
        return None
    try:
        return json.loads(payload, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return payload


def told(error: dict[str, Any] | None) -> str:
    """Write an error object in one line, cut where it gets long; errors of the SDKs without their package."""
    return "" if not error else line(_said(error), 200)


def told_whole(error: dict[str, Any] | None) -> str:
    """Write an error object with all of its message, which may have several lines."""
    return "" if not error else clean_lines(_said(error))


def _said(error: dict[str, Any]) -> str:
    """Give an error's type, without the package of an SDK, which is long and says nothing, and its message."""
    kind = str(error.get("ErrorType") or "")
    for package in _PACKAGES:
        kind = kind.removeprefix(package)
    return ": ".join(part for part in (kind, str(error.get("ErrorMessage") or "")) if part)


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _default(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    raise TypeError(f"{type(value).__name__} has no place in JSON.")
