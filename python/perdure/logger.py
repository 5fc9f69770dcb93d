"""The logger of a context: adds where in the execution a line was written, and is silent while replaying."""

from __future__ import annotations

import functools
import logging
from types import MethodType
from typing import TYPE_CHECKING, Any

from perdure._frozen import Frozen
from perdure._log import report
from perdure._protocols import ContextLogger, LoggerInterface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from perdure._json_formatter import JsonFormatter, log_as_json
    from perdure.identifier import OperationIdentifier

    class ExecutionState(Protocol):
        """Whatever knows its execution's ARN."""

        @property
        def durable_execution_arn(self) -> str:
            """The execution's ARN."""
            ...


__all__ = ["ContextLogger", "JsonFormatter", "LogInfo", "Logger", "LoggerInterface", "log_as_json"]


def __getattr__(name: str) -> Any:
    if name in ("JsonFormatter", "log_as_json"):
        from perdure import _json_formatter  # noqa: PLC0415  only for those who log so

        return getattr(_json_formatter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_Keywords = tuple[frozenset[str] | None, int | None]
"""Those that a logger's method takes, None for all, and its default of ``stacklevel``, if it has any."""

_LOGGERS = logging.Logger, logging.LoggerAdapter
_STANDARD: _Keywords = (frozenset({"exc_info", "stack_info", "stacklevel"}), 1)
_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime"}


class LogInfo(Frozen):
    """Where in an execution a logger stands.

    Args:
        execution_state: Any object with a ``durable_execution_arn``.
        parent_id: The context's id; None at the root.
        operation_id: The operation's id.
        name: The operation's name.
        attempt: Which attempt of it this is, counted from 1.

    """

    __slots__ = __match_args__ = ("execution_state", "parent_id", "operation_id", "name", "attempt")

    execution_state: ExecutionState
    parent_id: str | None
    operation_id: str | None
    name: str | None
    attempt: int | None

    def __init__(
        self,
        execution_state: ExecutionState,
        parent_id: str | None = None,
        operation_id: str | None = None,
        name: str | None = None,
        attempt: int | None = None,
    ) -> None:
        _set_state(self, execution_state)
        _set_parent_id(self, parent_id)
        _set_operation_id(self, operation_id)
        _set_name(self, name)
        _set_attempt(self, attempt)

    @classmethod
    def from_operation_identifier(
        cls, execution_state: ExecutionState, op_id: OperationIdentifier, attempt: int | None = None
    ) -> LogInfo:
        """Stand at the operation that ``op_id`` identifies."""
        return cls(execution_state, op_id.parent_id, op_id.operation_id, op_id.name, attempt)

    def with_parent_id(self, parent_id: str) -> LogInfo:
        """Copy, with another parent."""
        return LogInfo(self.execution_state, parent_id, self.operation_id, self.name, self.attempt)

    def extras(self) -> dict[str, object]:
        """Give the fields that each line carries; what is not known is left out."""
        extras: dict[str, object] = {"executionArn": self.execution_state.durable_execution_arn}
        if self.parent_id:
            extras["parentId"] = self.parent_id
        if self.name:
            extras["operationName"] = self.name
        if self.attempt is not None:
            extras["attempt"] = self.attempt
        if self.operation_id:
            extras["operationId"] = self.operation_id
        return extras


_set_state, _set_parent_id, _set_operation_id, _set_name, _set_attempt = (
    getattr(LogInfo, slot).__set__ for slot in LogInfo.__slots__
)


class Logger(ContextLogger):
    """Hands lines on to another logger, with fields that say where they were written, and only outside replay.

    With a `logging.Logger` behind it, a record's file and line are those of the caller. Other keywords of a line go on
    to the logger behind if it takes them, as that of Powertools does; else they become fields. A field that a standard
    logger refuses, since its records have one of that name, gets an underscore at its end.

    What the logger behind raises is told on stderr, and does not reach the caller.

    Args:
        logger: Where the lines go.
        default_extra: Fields of each line; a line's own ``extra`` goes before them. Of a `LogInfo` they are gathered
            with the first line.
        is_replaying: Asked before each line; while it says yes, nothing is logged.

    """

    __slots__ = ("_is_replaying", "_logger", "_place")

    def __init__(
        self,
        logger: LoggerInterface,
        default_extra: Mapping[str, object] | LogInfo,
        is_replaying: Callable[[], bool] = lambda: False,
    ) -> None:
        self._logger = logger
        self._place = default_extra
        self._is_replaying = is_replaying

    @property
    def _default_extra(self) -> Mapping[str, object]:
        """The fields, by the official SDK's name for them: programs read the attempt off them."""
        return self._extras()

    @classmethod
    def from_log_info(
        cls, logger: LoggerInterface, info: LogInfo, is_replaying: Callable[[], bool] = lambda: False
    ) -> Logger:
        """Make a logger for a place in an execution.

        Args:
            logger: Where the lines go.
            info: The place.
            is_replaying: As for the class.

        """
        return cls(logger, info, is_replaying)

    def with_log_info(self, info: LogInfo) -> Logger:
        """Copy, for another place."""
        return Logger.from_log_info(self._logger, info, self._is_replaying)

    def with_is_replaying(self, is_replaying: Callable[[], bool]) -> Logger:
        """Copy, asking another function about replay."""
        return Logger(self._logger, self._extras(), is_replaying)

    def get_logger(self) -> LoggerInterface:
        """Give the logger behind this one."""
        return self._logger

    def debug(self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object) -> None:
        """Log at DEBUG, unless replaying; for ``keywords`` see the class."""
        if not self._is_replaying():
            self._log("debug", msg, args, extra, keywords)

    def info(self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object) -> None:
        """Log at INFO, unless replaying."""
        if not self._is_replaying():
            self._log("info", msg, args, extra, keywords)

    def warning(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object
    ) -> None:
        """Log at WARNING, unless replaying."""
        if not self._is_replaying():
            self._log("warning", msg, args, extra, keywords)

    def error(self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object) -> None:
        """Log at ERROR, unless replaying."""
        if not self._is_replaying():
            self._log("error", msg, args, extra, keywords)

    def exception(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object
    ) -> None:
        """Log at ERROR with the exception being handled, unless replaying."""
        if not self._is_replaying():
            self._log("exception", msg, args, extra, keywords)

    def _log(
        self,
        method: str,
        msg: object,
        args: tuple[object, ...],
        extra: Mapping[str, object] | None,
        keywords: dict[str, Any],
    ) -> None:
        try:
            log = getattr(self._logger, method)
            fields = {**self._extras(), **(extra or {})}
            # Not by isinstance: a mock says that it is what it stands for, and a test compares what it is called with.
            is_standard = type(log) is MethodType and issubclass(type(self._logger), _LOGGERS)
            if args and is_standard and type(msg) is str and "%" not in msg:
                msg += " %s" * len(args)  # the record would be lost: it has no place for them
            known, stacklevel = _STANDARD if is_standard else _keywords_of(getattr(log, "__func__", log))
            if known is not None:
                for name in keywords.keys() - known:
                    fields[name] = keywords.pop(name)
            if stacklevel is not None:
                keywords["stacklevel"] = keywords.get("stacklevel", stacklevel) + 2  # past this logger's own frames
            try:
                log(msg, *args, extra=fields, **keywords)
            except KeyError:
                if not (refused := fields.keys() & _RECORD):
                    raise
                log(msg, *args, extra={f"{k}_" if k in refused else k: fields[k] for k in fields}, **keywords)
        except Exception:  # noqa: BLE001 - of a handler, a filter, a formatter: none may fail an execution
            report(msg)

    def _extras(self) -> Mapping[str, object]:
        place = self._place
        if isinstance(place, LogInfo):
            place = self._place = place.extras()
        return place


@functools.lru_cache(maxsize=64)
def _keywords_of(function: Callable[..., object]) -> _Keywords:
    """Read off a logger's method which keywords it takes."""
    from inspect import Parameter, signature  # noqa: PLC0415 - slow to import

    try:
        parameters = signature(function).parameters
    except (TypeError, ValueError):
        return None, None
    takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    level = parameters["stacklevel"].default if "stacklevel" in parameters else None
    return None if takes_all else frozenset(parameters), level if isinstance(level, int) else None
