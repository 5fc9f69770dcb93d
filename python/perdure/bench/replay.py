"""One replay of an event: against a service that refuses every call, with guards in front of real work."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from perdure._core import FAILED, RECORDED, Operation
from perdure.engine.operations import child, condition, step
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


class ReplayEvent(dict[str, Any]):
    """An event that brings along the service to use, whatever client the handler was decorated with."""

    @property
    def service_client(self) -> Refusal:
        """A service that refuses."""
        return Refusal()

    def to_dict(self) -> Wire:
        """Give the event itself."""
        return self


class Refusal:
    """A `DurableServiceClient` that answers nothing."""

    def checkpoint(self, _arn: str, _token: str, updates: list[Any], _client_token: str | None) -> Any:
        """Stop the replay."""
        if not updates:
            raise FreshWork("it asks the service for news")
        first = updates[0]
        words = _words(first.operation_type.value, first.name or first.operation_id)
        more = f", and {len(updates) - 1} more" if len(updates) > 1 else ""
        raise FreshWork(f"it would send {first.action.value} of {words}{more}")

    def get_execution_state(self, *_: Any) -> Any:
        """Stop the replay."""
        raise FreshWork("it asks for a further page of the history")


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


def replay_once(handler: Handler, text: str) -> tuple[float, str, str | None]:
    """Replay once; give the seconds and what came of it."""
    event, context = ReplayEvent(json.loads(text)), LambdaContext()
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


@contextlib.contextmanager
def guards() -> Iterator[None]:
    """Stop before a function would do work that is not recorded, instead of after."""
    run_step, run_condition, run_child = step.run, condition.run, child.run

    def step_or_stop(context: Any, operation: Operation, *rest: Any) -> Any:
        _stop_unless(operation.decision in {RECORDED, FAILED}, operation, "step")
        return run_step(context, operation, *rest)

    def condition_or_stop(context: Any, operation: Operation, *rest: Any) -> Any:
        _stop_unless(operation.decision in {RECORDED, FAILED}, operation, "condition")
        return run_condition(context, operation, *rest)

    def child_or_stop(context: Any, operation: Operation, *rest: Any, **options: Any) -> Any:
        _stop_unless(not operation.ticket, operation, "context")
        return run_child(context, operation, *rest, **options)

    with replaced((step, "run", step_or_stop), (condition, "run", condition_or_stop), (child, "run", child_or_stop)):
        yield


def _stop_unless(recorded: bool, operation: Operation, kind: str) -> None:
    if not recorded:
        raise FreshWork(f"it comes to {_words(kind, operation.name or operation.id)}, which is not recorded as done")


def _words(kind: str, name: str) -> str:
    return f"{kind.lower().replace('_', ' ')} {name!r}"
