"""The logs of what went wrong, for those who serve and run: in functions, and in the branches of map and parallel.

Each failure says which function and where, with the user's code. A batch SUCCEEDS although its branches fail, so that a
mistake in the code of a branch would show nowhere else: each that fails is logged once, and counted.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from perdure._log import Log
from perdure.engine.hooks import Hooks
from perdure.local.event_forms import error_object
from perdure.local.traces import chain_of, place_of, traceback_text

if TYPE_CHECKING:
    from perdure.local.calls import Call
    from perdure.local.handle import ExecutionHandle, Invocation
    from perdure.local.machine.transitions import Operation

_LOG = Log("perdure.local")
_BRANCHES = frozenset({"MapIteration", "ParallelBranch"})


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


class BranchLog:
    """An observer of a service, and its `hooks`, which hand its invocations what they tell it by."""

    def __init__(self) -> None:
        self._failed = 0  # of executions that are over
        self._known: dict[str, tuple[ExecutionHandle, set[str]]] = {}
        self._lock = threading.Lock()

    @property
    def failed(self) -> int:
        """How many branches have failed, and count as such in the record: not those that came too late."""
        with self._lock:
            return self._failed + sum(_recorded(*known) for known in self._known.values())

    def hooks(self, handle: ExecutionHandle) -> Hooks:
        """Give an invocation of an execution something to tell its failing branches by."""
        return _Telling(self, handle)

    def tell(self, handle: ExecutionHandle, operation_id: str, name: str | None, what: str) -> None:
        """Log the failure of a branch, unless it is known."""
        with self._lock:
            _, known = self._known.setdefault(handle.arn, (handle, set()))
            if operation_id in known:
                return
            known.add(operation_id)
        function = handle.machine.function_arn.split(":")[-2]
        _LOG.warning("%s/%s: branch %s failed%s", function, handle.name, name or operation_id[:8], what)

    # -- as an observer: an SDK that tells nothing leaves what it records

    def operation(self, handle: ExecutionHandle, operation: Operation) -> None:
        """Look for branches that failed, and for the end of the execution."""
        if operation["Status"] == "FAILED" and operation.get("SubType") in _BRANCHES:
            error = operation["ContextDetails"].get("Error") or {}
            self.tell(handle, operation["Id"], operation.get("Name"), f". {_told(error)}")
        elif operation["Type"] == "EXECUTION" and handle.terminal:
            with self._lock:
                self._failed += _recorded(*self._known.pop(handle.arn, (handle, set())))

    def invocation(self, handle: ExecutionHandle, invocation: Invocation) -> None:
        """Ignore invocations."""

    def waiting(self, seconds: float, *, skipped: bool) -> None:
        """Ignore time."""


def _recorded(handle: ExecutionHandle, failed: set[str]) -> int:
    """Count those that are recorded as failed; FLAT ones have no record."""
    operations = handle.machine.operations
    return sum(found is None or found["Status"] == "FAILED" for found in map(operations.get, failed))


class _Telling(Hooks):
    __slots__ = ("_handle", "_log")

    def __init__(self, log: BranchLog, handle: ExecutionHandle) -> None:
        self._log = log
        self._handle = handle

    def branch_failed(self, operation_id: str, name: str | None, error: Exception, recorded: dict[str, Any]) -> None:
        """Log what led to it in the first place, with the line of the user's code that raised it."""
        traced = [(place, link) for link in chain_of(error) if (place := place_of(link)) is not None]
        if traced:
            place, first = traced[-1]
            self._log.tell(self._handle, operation_id, name, f" at {place}. {_told(error_object(first))}")
        else:
            self._log.tell(self._handle, operation_id, name, f". {_told(recorded)}")


def _told(error: dict[str, Any]) -> str:
    return f"{error.get('ErrorType', 'Error').rpartition('.')[2]}: {error.get('ErrorMessage', '')}"
