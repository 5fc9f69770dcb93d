"""Tracebacks as the author of a handler wants them: without the frames of this package."""

from __future__ import annotations

import os
import sysconfig
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE = f"{Path(__file__).resolve().parent.parent}{os.sep}"
_LIBRARIES = tuple(f"{sysconfig.get_path(kind)}{os.sep}" for kind in ("stdlib", "platstdlib", "purelib", "platlib"))


def traceback_text(failure: BaseException | None) -> str:
    """Format an exception and what led to it; "" for none. An exception raised within this package keeps its frames.

    A recorded error that was made anew is left out where the one that it was recorded of stands behind it.
    """
    if failure is None:
        return ""
    report = traceback.TracebackException.from_exception(failure)
    link: traceback.TracebackException | None = report
    while link is not None:
        kept = [frame for frame in link.stack if not is_ours(frame.filename)]
        link.stack = traceback.StackSummary.from_list(kept or list(link.stack))
        cause = link.__cause__
        if cause is not None and not cause.stack and cause.__context__ is not None:
            link.__cause__ = cause.__context__
        link = link.__cause__ or link.__context__
    return "".join(report.format())


def is_ours(filename: str) -> bool:
    """Tell whether a file is one of this package."""
    return filename.startswith(_PACKAGE)


def chain_of(failure: BaseException) -> Iterator[BaseException]:
    """Give an exception and what led to it, as a traceback shows them, the last first."""
    seen: set[int] = set()
    link: BaseException | None = failure
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def trimmed(failure: BaseException) -> BaseException:
    """Take the frames of this package out of an exception and what led to it, as far as others are left."""
    for link in chain_of(failure):
        kept = None
        for entry in reversed(_entries(link)):
            kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
        if kept is not None:
            link.with_traceback(kept)  # an attribute of a frozen dataclass could not be set
    return failure


def place_of(error: BaseException) -> str | None:
    """Say where the user's code raised an exception (``app.py:12 in handler``); None if none of it is in between.

    That is the last line that is in no library, if there is one.
    """
    entries = _entries(error)
    own = [entry for entry in entries if not entry.tb_frame.f_code.co_filename.startswith(_LIBRARIES)]
    for entry in reversed(own or entries):
        return f"{_short(entry.tb_frame.f_code.co_filename)}:{entry.tb_lineno} in {entry.tb_frame.f_code.co_name}"
    return None


def _entries(error: BaseException) -> list[TracebackType]:
    """Give the entries of an exception's traceback that are not of this package."""
    entries, entry = [], error.__traceback__
    while entry is not None:
        if not is_ours(entry.tb_frame.f_code.co_filename):
            entries.append(entry)
        entry = entry.tb_next
    return entries


def _short(filename: str) -> str:
    """Give a path from the working directory, if that is there, and the file below it."""
    with suppress(OSError):
        return filename.removeprefix(f"{Path.cwd()}{os.sep}")
    return filename
