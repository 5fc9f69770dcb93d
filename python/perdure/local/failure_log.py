"""The log of what went wrong in functions, for those who serve: which, where, and the traceback of the user's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._log import Log
from perdure.local.traces import traceback_text

if TYPE_CHECKING:
    from perdure.local.calls import Call
    from perdure.local.handle import ExecutionHandle, Invocation

_LOG = Log("perdure.local")


class FailureLog:
    """Writes each failure to the log; a service's `failure_log`."""

    def invocation(self, handle: ExecutionHandle, invocation: Invocation, error: dict[str, Any]) -> None:
        """Log an invocation that has failed."""
        what = f"{handle.machine.function_arn.split(':')[-2]}/{handle.name}, invocation {invocation.number}"
        goes_on = "" if handle.terminal else "; it will be repeated"
        self._log(what, error, invocation.failure, goes_on)

    def call(self, call: Call, error: dict[str, Any]) -> None:
        """Log a call of a plain function that has failed."""
        self._log(call.function.name, error, call.exception, "")

    @staticmethod
    def _log(what: str, error: dict[str, Any], failure: BaseException | None, goes_on: str) -> None:
        told = f"{error.get('ErrorType', 'Error')}: {error.get('ErrorMessage', '')}"
        trace = traceback_text(failure) or "\n".join(error.get("StackTrace") or ())
        _LOG.error("%s failed%s. %s%s", what, goes_on, told, f"\n{trace.rstrip()}" if trace else "")
