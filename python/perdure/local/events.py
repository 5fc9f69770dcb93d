"""What a handler is called with: the event as Lambda hands it, and the Lambda context."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perdure.local.machine.clock import to_millis
from perdure.local.machine.errors import RemoteError
from perdure.local.machine.validation import error_bytes, text_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure._hooks import Hooks
    from perdure.local.client import LocalClient
    from perdure.local.machine.clock import Clock
    from perdure.local.machine.transitions import Operation

_DETAIL_MOMENTS = (("StepDetails", "NextAttemptTimestamp"), ("WaitDetails", "ScheduledEndTimestamp"))
_DURABLE = frozenset(
    {
        *("step", "wait", "map", "parallel", "invoke", "create_callback", "wait_for_callback", "wait_for_condition"),
        *("run_in_child_context", "logger", "set_logger", "execution_context", "lambda_context", "is_replaying"),
    }
)
"""What a `DurableContext` has, and a Lambda context has not."""
_FRAME_BYTES = 400  # what an operation weighs in an event besides its payloads, generously


class LocalEvent(dict[str, Any]):
    """A plain Lambda event that also knows the service it came from.

    `client` has the methods of a boto3 Lambda client, `clock` the service's time. An SDK that turns an exception of
    the user's into an error object may leave the exception itself in `failures`, for whoever wants its traceback;
    `hooks`, where there are any, see what perdure's own engine does.
    Everything else about the event is an ordinary dict, and a handler that does not look will not notice.
    """

    __slots__ = ("client", "clock", "failures", "hooks")

    def __init__(self, content: dict[str, Any], client: LocalClient, clock: Clock, hooks: Hooks | None = None) -> None:
        super().__init__(content)
        self.client = client
        self.clock = clock
        self.failures: list[BaseException] = []
        self.hooks = hooks


@dataclass(slots=True)
class LocalLambdaContext:
    """The Lambda context object of a local invocation."""

    function_name: str
    invoked_function_arn: str
    tenant_id: str | None = None
    timeout_seconds: float = 900.0
    function_version: str = "$LATEST"
    memory_limit_in_mb: str = "128"
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    log_stream_name: str = "local"
    log_group_name: str = ""
    identity: Any = None
    client_context: Any = None
    trace_id: str | None = None
    """What the X-Ray header of the invocation says; Lambda itself has it in the environment, which threads share."""
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.log_group_name = self.log_group_name or f"/aws/lambda/{self.function_name}"

    def __getattr__(self, name: str) -> Any:
        hint = ""
        if name in _DURABLE:
            hint = (
                ": this is Lambda's context, which a handler gets that is not decorated with @durable_execution. "
                "Decorate it (and register it as a durable function), and it gets a DurableContext"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    def get_remaining_time_in_millis(self) -> int:
        """Return the real milliseconds left of the invocation's timeout."""
        return max(0, int((self.timeout_seconds - (time.monotonic() - self._started)) * 1000))

    def log(self, message: str) -> None:
        """Write a line to the function's log, which locally is standard output."""
        print(message)  # noqa: T201 - what the method is for


def to_event_operation(operation: Operation) -> Operation:
    """Turn an operation into what an event carries: timestamps as Unix milliseconds."""
    wire = dict(operation)
    wire["StartTimestamp"] = to_millis(operation["StartTimestamp"])
    if "EndTimestamp" in operation:
        wire["EndTimestamp"] = to_millis(operation["EndTimestamp"])
    for kind, member in _DETAIL_MOMENTS:
        details = operation.get(kind)
        if details is not None and member in details:
            wire[kind] = {**details, member: to_millis(details[member])}
    return wire


class EventForms:
    """What an execution's operations look like in events: made once for each state that an operation was in."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, tuple[Operation, Operation, int]] = {}

    def of(self, operations: Iterable[Operation], limit: int | None) -> list[Operation]:
        """Give the forms of as many operations, from the front, as fit into `limit` bytes."""
        known, forms, room = self._known, [], 0
        for operation in operations:
            key = operation["Id"]
            found = known.get(key)
            if found is None or found[0] is not operation:
                found = known[key] = (operation, to_event_operation(operation), _bytes_of(operation))
            room += found[2]
            if limit is not None and room > limit:
                break
            forms.append(found[1])
        return forms

    def count(self, operations: Iterable[Operation], limit: int | None) -> int:
        """Count how many operations, from the front, fit into `limit` bytes."""
        return len(self.of(operations, limit))


def _bytes_of(operation: Operation) -> int:
    details = [part for part in operation.values() if isinstance(part, dict)]
    return _FRAME_BYTES + sum(_weight(value) for part in details for value in part.values())


def _weight(value: Any) -> int:
    if isinstance(value, str):
        return text_bytes(value)
    return error_bytes(value) if isinstance(value, dict) else 0


def error_object(error: BaseException) -> dict[str, Any]:
    """Describe an exception that came out of a function, as Lambda does; one from elsewhere brings its description."""
    if isinstance(error, RemoteError):
        return error.error_object
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception as problem:  # noqa: BLE001 - whatever the user's class does
        message = f"(its message cannot be told: {type(problem).__name__})"
    return {"ErrorMessage": message, "ErrorType": name}
