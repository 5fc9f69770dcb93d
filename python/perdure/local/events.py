"""What a handler is called with: the event as Lambda hands it, and the Lambda context."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perdure.engine.hosted import HostedEvent
from perdure.engine.time_left import steady
from perdure.local.machine.ids import fresh_id

if TYPE_CHECKING:
    from perdure.engine.hooks import Hooks
    from perdure.local.client import LocalClient
    from perdure.local.machine.clock import Clock

_DURABLE = frozenset(
    {
        *("step", "wait", "map", "parallel", "invoke", "create_callback", "wait_for_callback", "wait_for_condition"),
        *("run_in_child_context", "logger", "set_logger", "execution_context", "lambda_context", "is_replaying"),
    }
)
"""What a `DurableContext` has, and a Lambda context has not."""


class LocalEvent(HostedEvent):
    """A plain Lambda event that also knows the service it came from.

    `client` has the methods of a boto3 Lambda client, `clock` the service's time. An SDK that turns an exception of
    the user's into an error object may leave the exception itself in `failures`, for whoever wants its traceback;
    `hooks`, where there are any, see what perdure's own engine does.
    Everything else about the event is an ordinary dict, and a handler that does not look will not notice.
    """

    __slots__ = ()

    def __init__(self, content: dict[str, Any], client: LocalClient, clock: Clock, hooks: Hooks | None = None) -> None:
        super().__init__(content, client, clock, hooks)


@dataclass(slots=True)
class LocalLambdaContext:
    """The Lambda context object of a local invocation."""

    function_name: str
    invoked_function_arn: str
    tenant_id: str | None = None
    timeout_seconds: float = 900.0
    function_version: str = "$LATEST"
    memory_limit_in_mb: str = "128"
    aws_request_id: str = field(default_factory=fresh_id)
    log_stream_name: str = "local"
    log_group_name: str = ""
    identity: Any = None
    client_context: Any = None
    trace_id: str | None = None
    """What the X-Ray header of the invocation says; Lambda itself has it in the environment, which threads share."""
    _started: float = field(default_factory=steady)

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
        return max(0, int((self.timeout_seconds - (steady() - self._started)) * 1000))

    def log(self, message: str) -> None:
        """Write a line to the function's log, which locally is standard output."""
        print(message)  # noqa: T201 - what the method is for
