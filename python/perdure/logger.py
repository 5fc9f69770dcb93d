"""The logger of a context: adds where in the execution a line was written, and is silent while replaying."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from perdure._frozen import Frozen
from perdure.types import LoggerInterface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from perdure.identifier import OperationIdentifier

    class ExecutionState(Protocol):
        """Whatever knows its execution's ARN."""

        @property
        def durable_execution_arn(self) -> str:
            """The execution's ARN."""
            ...


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


class Logger(LoggerInterface):
    """Hands lines on to another logger, with fields that say where they were written, and only outside replay.

    With a `logging.Logger` behind it, a record's file and line are those of the caller.

    Args:
        logger: Where the lines go.
        default_extra: Fields of each line; a line's own ``extra`` goes before them. Of a `LogInfo` they are gathered
            with the first line.
        is_replaying: Asked before each line; while it says yes, nothing is logged.

    """

    __slots__ = ("_default_extra", "_is_replaying", "_logger")

    def __init__(
        self,
        logger: LoggerInterface,
        default_extra: Mapping[str, object] | LogInfo,
        is_replaying: Callable[[], bool] = lambda: False,
    ) -> None:
        self._logger = logger
        self._default_extra = default_extra
        self._is_replaying = is_replaying

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

    def debug(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at DEBUG, unless replaying."""
        if not self._is_replaying():
            self._logger.debug(msg, *args, **self._keywords(extra))

    def info(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at INFO, unless replaying."""
        if not self._is_replaying():
            self._logger.info(msg, *args, **self._keywords(extra))

    def warning(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at WARNING, unless replaying."""
        if not self._is_replaying():
            self._logger.warning(msg, *args, **self._keywords(extra))

    def error(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at ERROR, unless replaying."""
        if not self._is_replaying():
            self._logger.error(msg, *args, **self._keywords(extra))

    def exception(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at ERROR with the exception being handled, unless replaying."""
        if not self._is_replaying():
            self._logger.exception(msg, *args, **self._keywords(extra))  # noqa: LOG004  the caller is in a handler

    def _extras(self) -> Mapping[str, object]:
        default = self._default_extra
        if isinstance(default, LogInfo):
            default = self._default_extra = default.extras()
        return default

    def _keywords(self, extra: Mapping[str, object] | None) -> dict[str, Any]:
        """Give the keywords of a call: all fields, and for a standard logger how far up the caller is."""
        keywords: dict[str, Any] = {"extra": {**self._extras(), **(extra or {})}}
        if isinstance(self._logger, logging.Logger):
            keywords["stacklevel"] = 2
        return keywords
