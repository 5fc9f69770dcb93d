"""What made executions fail: the exceptions of the user's code, with their tracebacks.

The service records what a failure says; the exception itself is in the record of the invocation that raised it. That of
a function which was invoked is added to the `InvokeError` that came of it, where a traceback shows it and no program
looks: `__context__` of its `__cause__`, as for steps.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from perdure.exceptions import InvokeError
from perdure.local.logs import FailureLog
from perdure.local.traces import chain_of, place_of, trimmed

if TYPE_CHECKING:
    from perdure.local import ExecutionHandle
    from perdure.local.calls import Call
    from perdure.local.handle import Invocation

_MANY = 100  # failures that are kept: a function may be invoked, and fail, for ever
_FAILED = ("FAILED", "RAISED")


class Failures(FailureLog):
    """The last failures of invoked functions on a service; its `failure_log`. Called under the service's lock."""

    def __init__(self) -> None:
        self._invoked: deque[tuple[Any, BaseException]] = deque(maxlen=_MANY)

    def invocation(self, handle: ExecutionHandle, invocation: Invocation, error: dict[str, Any]) -> None:  # noqa: ARG002  a `FailureLog`'s
        """Take an invocation that has failed, with what led to it; it belongs to the invoke that it comes from."""
        failure = invocation.failure
        if failure is None:
            return
        for link in list(chain_of(failure)):  # what is added to it has been explained
            self._explain(handle, link)
        if handle.parent is not None:
            self._invoked.append((handle.parent, failure))

    def call(self, call: Call, error: dict[str, Any]) -> None:
        """Take a call of a plain function that has failed; it belongs to the invoke that has its error."""
        if call.exception is not None:
            self._invoked.append((error, call.exception))

    def _explain(self, handle: ExecutionHandle, link: BaseException) -> None:
        """Let an `InvokeError` show what the function raised, if that ran here and has lines of the user's."""
        recorded = link.__cause__
        if not isinstance(link, InvokeError) or recorded is None or recorded.__context__ is not None:
            return
        told = (link.error_type, link.message)
        for operation in reversed(handle.operations):  # of several that failed alike, the last is the likeliest
            error = operation.get("ChainedInvokeDetails", {}).get("Error") or {}
            if (error.get("ErrorType"), error.get("ErrorMessage")) != told:
                continue
            keys = ((handle.arn, operation["Id"]), error)
            for key, failure in reversed(self._invoked):
                if key in keys and place_of(failure) is not None:
                    recorded.__context__ = failure
                    return


def failure_of(handle: ExecutionHandle) -> BaseException | None:
    """Give the exception that the last invocation of an execution ended with, traced through the user's code.

    None if it ended well, or outside of this process.
    """
    last = handle.invocations[-1] if handle.invocations else None
    if last is None or last.failure is None or last.outcome not in _FAILED:
        return None
    return trimmed(last.failure)


def places_of(failure: BaseException | None) -> list[str]:
    """Say in a line where an exception was raised, and in one more for each that led to it what it was, and where."""
    places = []
    for link in chain_of(failure) if failure is not None else ():
        if (place := place_of(link)) is not None:
            which = "raised" if link is failure else f"because of {type(link).__name__}, raised"
            places.append(f"{which} at {place}")
    return places
