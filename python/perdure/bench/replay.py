"""One replay of an event: against a service that refuses every call, with guards in front of real work."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from perdure._core import FAILED, RECORDED, Operation
from perdure.engine.hooks import Hooks
from perdure.engine.hosted import HostedEvent
from perdure.history.record import FUNCTION_ARN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Handler = Callable[[Any, Any], Any]
    Wire = dict[str, Any]

FRESH_WORK = "FRESH_WORK"


class BenchError(Exception):
    """The event cannot be replayed; the message says what to do."""


class FreshWork(BaseException):
    """The replay has come to something that is not recorded. Not an `Exception`, so that no handler goes on with it."""


class Refusal:
    """A client of the service that answers nothing."""

    def checkpoint_durable_execution(self, **call: Any) -> Any:
        """Stop the replay."""
        updates: list[Wire] = call["Updates"]
        if not updates:
            raise FreshWork("it asks the service for news")
        first = updates[0]
        words = _words(first["Type"], first.get("Name") or first["Id"])
        more = f", and {len(updates) - 1} more" if len(updates) > 1 else ""
        raise FreshWork(f"it would send {first['Action']} of {words}{more}")

    def get_durable_execution_state(self, **_call: Any) -> Any:
        """Stop the replay."""
        raise FreshWork("it asks for a further page of the history")


class Guard(Hooks):
    """Stops before a function would do work that is not recorded, instead of after; and counts invocations."""

    __slots__ = ("invocations",)

    def __init__(self) -> None:
        self.invocations = 0

    def invocation_started(self, core: Any, arn: str) -> None:  # noqa: ARG002  counted only
        """Count."""
        self.invocations += 1

    def function(self, kind: str, operation: Operation, function: Any) -> Any:
        """Stop, unless the operation is recorded as done, or its context is to be gone through again."""
        is_recorded = not operation.ticket if kind == "context" else operation.decision in {RECORDED, FAILED}
        if not is_recorded:
            which = _words(kind, operation.name or operation.id)
            raise FreshWork(f"it comes to {which}, which is not recorded as done")
        return function


class LambdaContext:
    """What the handler gets as its Lambda context: 15 minutes are always left."""

    function_name = "bench"
    function_version = "$LATEST"
    invoked_function_arn = FUNCTION_ARN
    memory_limit_in_mb = "128"
    aws_request_id = str(uuid.UUID(int=0))
    log_group_name = "/aws/lambda/bench"
    log_stream_name = "bench"
    identity = client_context = tenant_id = None

    def get_remaining_time_in_millis(self) -> int:
        """Give the time that is left."""
        return 900_000


def replay_once(handler: Handler, text: str, guard: Guard | None = None) -> tuple[float, str, str | None]:
    """Replay once; give the seconds and what came of it."""
    event, context = HostedEvent(json.loads(text), Refusal(), hooks=guard or Guard()), LambdaContext()
    detail: str | None = None
    begin = time.perf_counter()
    try:
        output = handler(event, context)
    except FreshWork as stop:
        return time.perf_counter() - begin, FRESH_WORK, str(stop)
    except Exception as error:  # noqa: BLE001  whatever the handler raises is what came of it
        return time.perf_counter() - begin, "FAILED", f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - begin
    outcome = output.get("Status") if isinstance(output, dict) else None
    if not isinstance(outcome, str):
        raise BenchError("the handler is not one that perdure's @durable_execution made")
    if outcome == "FAILED":
        told = output.get("Error") or {}
        detail = f"{told.get('ErrorType')}: {told.get('ErrorMessage')}"
    return seconds, outcome, detail


@contextlib.contextmanager
def replaced(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Put other values into attributes of (target, name, value) for a while."""
    before = [(target, name, target.__dict__[name]) for target, name, _ in changes]
    for target, name, value in changes:
        setattr(target, name, value)
    try:
        yield
    finally:
        for target, name, value in before:
            setattr(target, name, value)


def _words(kind: str, name: str) -> str:
    return f"{kind.lower().replace('_', ' ')} {name!r}"
