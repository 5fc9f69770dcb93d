"""perdure's own log. Like a handler's, it never fails an execution: what cannot be logged is told on stderr."""

from __future__ import annotations

import logging
import sys
from typing import Any

_TO_THE_CALLER = 3  # frames: the standard logger's, `_log`, the method of the level


class Log:
    """A named logger of the standard library's whose lines never raise."""

    __slots__ = ("_target",)

    def __init__(self, name: str) -> None:
        self._target = logging.getLogger(name)

    def has_debug(self) -> bool:
        """Whether anybody wants lines at DEBUG."""
        return self._target.isEnabledFor(logging.DEBUG)

    def debug(self, msg: str, *args: object, **keywords: Any) -> None:
        """Log at DEBUG."""
        self._log(logging.DEBUG, msg, args, keywords)

    def warning(self, msg: str, *args: object, **keywords: Any) -> None:
        """Log at WARNING."""
        self._log(logging.WARNING, msg, args, keywords)

    def error(self, msg: str, *args: object, **keywords: Any) -> None:
        """Log at ERROR."""
        self._log(logging.ERROR, msg, args, keywords)

    def exception(self, msg: str, *args: object) -> None:
        """Log at ERROR, with the exception being handled."""
        self._log(logging.ERROR, msg, args, {"exc_info": True})

    def _log(self, level: int, msg: str, args: tuple[object, ...], keywords: dict[str, Any]) -> None:
        try:
            self._target.log(level, msg, *args, stacklevel=_TO_THE_CALLER, **keywords)
        except Exception:  # noqa: BLE001 - of a handler, a filter or an argument of whoever's
            report(msg)


def report(msg: object) -> None:
    """Tell on stderr what could not be logged, and by which exception, the one being handled.

    As the handlers of the standard library do; `logging.raiseExceptions` is what turns it off there and here.
    """
    if not logging.raiseExceptions or sys.stderr is None:
        return
    try:
        import traceback  # noqa: PLC0415 - only when something is wrong

        line = repr(msg) if isinstance(msg, str) else f"an object of {type(msg)}"  # whose __repr__ may raise, too
        sys.stderr.write(f"--- Logging error ---\nThis line could not be logged: {line}\n{traceback.format_exc()}")
    except Exception:  # noqa: BLE001, S110 - nowhere is left to tell it
        pass
