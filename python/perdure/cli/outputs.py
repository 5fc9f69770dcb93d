"""Outputs that end before the command does: a full disk, which is told, and a reader who has had enough, who is not."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What keeps an output from being written: a full disk, and the like."""


def lead_nowhere(stream: Any) -> None:
    """Lead an output nowhere: what could not be written would be tried again at exit, and told once more."""
    with suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no path of the user's
        os.dup2(nowhere.fileno(), stream.fileno())


def unwritable(problem: BaseException) -> str | None:
    """Tell why an output cannot be written; None for another problem."""
    number = getattr(problem, "errno", None)
    return f"The output cannot be written: {os.strerror(number)}" if number in UNWRITABLE else None


def reader_left(problem: BaseException) -> bool:
    """Tell whether a command ends because nobody reads on; rich and typer make an exit with 1 of that."""
    found = problem.__context__ if isinstance(problem, SystemExit) else problem
    return isinstance(found, BrokenPipeError)


class _Forgiving(io.FileIO):
    """A file that takes everything, also when nobody reads it any more."""

    def write(self, data: Any, /) -> int:
        """Write, as long as somebody reads."""
        try:
            return super().write(data)
        except BrokenPipeError:
            lead_nowhere(self)
            return len(memoryview(data))


def forgiving(number: int, like: Any, *, closefd: bool) -> io.TextIOWrapper:
    """Open a file descriptor for text, in the manner of another output; nobody hears of it when its reader leaves."""
    raw = _Forgiving(number, "w", closefd=closefd)
    through = getattr(like, "write_through", False)  # Python runs unbuffered
    return io.TextIOWrapper(
        raw if through else io.BufferedWriter(raw),  # as Python opens its own, then
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=getattr(like, "line_buffering", False),
        write_through=through,
    )


def forgive_stdout() -> None:
    """Let what runs here print on when nobody reads any more: it would fail in the middle of its work."""
    out = sys.stdout
    try:
        number = out.fileno()
    except (AttributeError, OSError, ValueError):  # no file, but a test's buffer
        return
    out.flush()
    sys.stdout = forgiving(number, out, closefd=False)
