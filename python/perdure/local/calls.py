"""A call of a plain function: one that waits for its turn, and what came of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from perdure.local.event_forms import error_object
from perdure.local.events import LocalLambdaContext
from perdure.local.machine.errors import BAD_CONTENT, Fault
from perdure.local.machine.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local.functions import Function

Outcome = tuple[str, str | None, dict[str, Any] | None]
"""How a call ended: its status, its result, its error."""

RESPONSE_BYTES = 6 * MIB
_TIMEOUT_SECONDS = 900.0


class Call:
    """One call of a plain function. `done` hears of its end under the service's lock."""

    __slots__ = (
        "caller",
        "done",
        "error",
        "exception",
        "function",
        "listeners",
        "payload",
        "result",
        "status",
        "tenant_id",
        "trace_id",
    )

    def __init__(
        self,
        function: Function,
        payload: str | None,
        tenant_id: str | None = None,
        done: Callable[[Call], None] | None = None,
        trace_id: str | None = None,
        caller: tuple[str, str] | None = None,
    ) -> None:
        self.function = function
        self.caller = caller
        """The ARN and the operation id of the chained invoke that it comes from."""
        self.payload = payload
        self.tenant_id = tenant_id
        self.trace_id = trace_id
        self.done = done
        self.status = "RUNNING"
        self.result: str | None = None
        self.error: dict[str, Any] | None = None
        self.exception: BaseException | None = None
        """What the function raised."""
        self.listeners: list[Callable[[], None]] = []

    @property
    def terminal(self) -> bool:
        """Whether the function has returned."""
        return self.status != "RUNNING"

    def run(self, handler: Callable[[Any, Any], Any] | None, context: LocalLambdaContext) -> Outcome:
        """Call the function by a handler; return what came of it. Not under the lock."""
        if handler is None:
            raise LookupError(f"The function {self.function.name!r} has no handler.")
        try:
            result = json.dumps(handler(parse_payload(self.payload), context))
        except KeyboardInterrupt:
            raise
        except BaseException as problem:  # noqa: BLE001 - the caller gets it as the error of the call, SystemExit too
            self.exception = problem
            return "FAILED", None, error_object(problem)
        if len(result) > RESPONSE_BYTES:
            message = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes)."
            return "FAILED", None, {"ErrorMessage": message, "ErrorType": "Function.ResponseSizeTooLarge"}
        return "SUCCEEDED", result, None

    def settle(self, status: str, result: str | None, error: dict[str, Any] | None) -> None:
        """Take what came of the call, and tell whoever waits. Under the lock."""
        self.status, self.result, self.error = status, result, error
        if self.done is not None:
            self.done(self)
        for listener in self.listeners:
            listener()


def parse_payload(payload: str | None) -> Any:
    """Read the payload of a call; none is an empty event."""
    return json.loads(payload) if payload and payload.strip() else {}


def check_payload(payload: str | None) -> None:
    """Refuse a payload that is not JSON."""
    try:
        parse_payload(payload)
    except (ValueError, RecursionError) as problem:
        raise Fault(BAD_CONTENT, f"Could not parse request body into json: {problem}") from None


def lambda_context(
    function: Function, arn: str, tenant_id: str | None, trace_id: str | None = None
) -> LocalLambdaContext:
    """Make the Lambda context of a call."""
    timeout = function.timeout_seconds or _TIMEOUT_SECONDS
    return LocalLambdaContext(function.name, arn, tenant_id, timeout, function.version, trace_id=trace_id)
