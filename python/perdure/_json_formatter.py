"""Logs as JSON, a line a record, with the fields that Lambda's own JSON logs have."""

from __future__ import annotations

import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

_OF_A_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime", "aws_request_id", "tenant_id"}
_TRACE = 5  # below DEBUG, where libraries have it that have one
_FIRST = ("executionArn", "operationId", "operationName", "attempt", "parentId")


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON.

    Its fields are ``timestamp`` (UTC), ``level``, ``message``, ``logger``; where they are known ``requestId``,
    ``tenantId``, ``executionArn``, ``operationId``, ``operationName``, ``attempt`` and ``parentId``; of an exception
    ``errorType``, ``errorMessage``, ``stackTrace`` and ``location``; and whatever else the record was given, but under
    names that begin with an underscore. They are named as Lambda names them where the function's log format is JSON, so
    that one query finds both. Beyond those, what ``stack_info=True`` asks for is ``stackInfo``.

    What JSON has no form for is written as its text: no line is lost for a value in it.

    Args:
        end: What a line ends with. The handlers of the standard library add its end themselves, that of Lambda's
            runtime does not.

    Example:
        >>> import logging
        >>> handler = logging.StreamHandler()
        >>> handler.setFormatter(JsonFormatter())

    """

    def __init__(self, end: str = "") -> None:
        super().__init__()
        self._end = end

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        given = vars(record)
        fields: dict[str, Any] = {
            "timestamp": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "requestId": given.get("aws_request_id"),
            "tenantId": given.get("tenant_id"),
        }
        fields |= {name: given.get(name) for name in _FIRST}
        if record.exc_info:
            fields |= self._of_exception(record, *record.exc_info)
        if record.stack_info:
            fields["stackInfo"] = record.stack_info.splitlines()
        fields = {name: value for name, value in fields.items() if value is not None}
        for name, value in given.items():
            if name not in _OF_A_RECORD and not str(name).startswith("_"):  # marks of handlers
                fields.setdefault(str(name), value)
        return _written(fields) + self._end

    def _of_exception(
        self,
        record: logging.LogRecord,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> dict[str, Any]:
        if kind is None or error is None:
            return {}
        return {
            "errorType": kind.__name__,
            "errorMessage": _text(error),
            "stackTrace": self.formatException((kind, error, traceback)).splitlines(),
            "location": f"{record.pathname}:{record.funcName}:{record.lineno}",
        }


def log_as_json(level: int | str | None = None) -> None:
    """Have the root logger write JSON, as `JsonFormatter` does; call it once, where the function's module is loaded.

    Where Lambda writes JSON itself (``AWS_LAMBDA_LOG_FORMAT=JSON``, the function's log format) its formatters stay:
    they write the same fields.

    Args:
        level: The least level that is written; by default ``AWS_LAMBDA_LOG_LEVEL``, and without one as it is.

    """
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() != "JSON":
        for handler in root.handlers:
            handler.setFormatter(JsonFormatter("" if isinstance(handler, logging.StreamHandler) else "\n"))
    level = level or _named(os.environ.get("AWS_LAMBDA_LOG_LEVEL", ""))
    if level:
        root.setLevel(level)


def _named(level: str) -> int | None:
    """Give the level of a name as Lambda has them."""
    names = {**logging.getLevelNamesMapping(), "TRACE": _TRACE, "FATAL": logging.CRITICAL}
    return names.get(level.strip().upper())


def _written(fields: dict[str, Any]) -> str:
    try:
        return _json(fields)
    except (TypeError, ValueError, RecursionError):  # a key that is no text, a number that is none, a ring
        return f"{{{', '.join(f'{json.dumps(name)}: {_json_or_text(value)}' for name, value in fields.items())}}}"


def _json(value: Any) -> str:
    return json.dumps(value, default=_text, allow_nan=False)


def _json_or_text(value: Any) -> str:
    try:
        return _json(value)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(_text(value))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  whatever the value's own method raises
        return f"<{type(value).__name__}, whose text cannot be had: {type(error).__name__}>"
