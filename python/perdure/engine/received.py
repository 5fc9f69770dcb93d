"""What the service sends, held to the shapes that the engine takes. What is odd raises an `ExecutionError` naming it.

Whether a member says something is asked once it is known to be text: an object's truth is code of its own.
The operations themselves are read by the core, which names what is odd about them by the same error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from perdure._core import decode_json
from perdure.exceptions import ExecutionError

if TYPE_CHECKING:
    from perdure._core import Answer

Wire = dict[str, Any]
Operations: TypeAlias = "list[Wire] | Answer"
"""Operations as the wire's dicts, or as an answer that the core has read."""

Checkpoint: TypeAlias = "tuple[str | None, Operations, str | None]"
"""What a checkpoint is answered with: the next token, the changed operations, where their next page begins."""

ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "STOPPED"})
"""The statuses of operations that are over."""

_INFINITY = float("inf")

THE_EVENT, THE_ANSWER, A_PAGE = "the event", "the answer to a checkpoint", "a page of recorded operations"


def read_event(event: Any) -> tuple[str, str, list[Wire], str | None]:
    """Give an event's execution, its checkpoint token, the operations it brings, and where their next page begins."""
    try:
        arn, token, state = event["DurableExecutionArn"], event["CheckpointToken"], event["InitialExecutionState"]
    except (LookupError, TypeError, AttributeError):
        arn = token = state = None
    if type(arn) is str and arn and type(token) is str and token and type(state) is dict:
        operations, marker = state.get("Operations"), state.get("NextMarker")
        if type(operations) is list and (marker is None or (type(marker) is str and not marker)):  # as nearly always
            return arn, token, operations, None
    if arn is None or token is None or state is None:
        raise ExecutionError(
            "this event is not of a durable execution: it lacks DurableExecutionArn, CheckpointToken or "
            "InitialExecutionState. Configure the function with DurableConfig and invoke a version or alias of it"
        )
    if not (isinstance(arn, str) and arn):
        _refuse(THE_EVENT, "DurableExecutionArn", arn, "text")
    if not (isinstance(token, str) and token):
        _refuse(THE_EVENT, "CheckpointToken", token, "text")
    return arn, token, *_operations(state, THE_EVENT, "InitialExecutionState")


def read_checkpoint(answer: Any) -> tuple[str | None, list[Wire], str | None]:
    """Give the next token (None if it was revoked), the changed operations, and where their next page begins."""
    if not isinstance(answer, dict):
        _refuse(THE_ANSWER, "it", answer, "object")
    token, state = answer.get("CheckpointToken"), answer.get("NewExecutionState")
    if type(token) is str and token and type(state) is dict:
        operations, marker = state.get("Operations"), state.get("NextMarker")
        if marker is None and type(operations) is list:  # as nearly always: each call of the service comes this way
            return token, operations, None
    if token is not None and not (isinstance(token, str) and token):
        _refuse(THE_ANSWER, "CheckpointToken", token, "text")
    if state is None:
        return token, [], None
    return token, *_operations(state, THE_ANSWER, "NewExecutionState")


def read_page(answer: Any) -> tuple[list[Wire], str | None]:
    """Give the operations of a page, and where the next one begins.

    Without any, it is no page: what is recorded would be begun again.
    """
    if isinstance(answer, dict) and answer.get("Operations") is None:
        _refuse(A_PAGE, "Operations", None, "list")
    return _operations(answer, A_PAGE, "it")


def read_input(payload: str | None) -> Any:
    """Give the user's event: the input of the execution, read as JSON; ``{}`` without one."""
    if not payload or payload.isspace():
        return {}
    try:
        return decode_json(payload)
    except Exception as error:
        raise ExecutionError(f"the input of this execution (its InputPayload) is no JSON: {error}") from error


def as_dicts(operations: Operations) -> list[Wire]:
    """Give operations as the wire's dicts, for those who look at them."""
    return operations if isinstance(operations, list) else in_milliseconds(decode_json(operations.json))


_OWN_MOMENTS = ("StartTimestamp", "EndTimestamp")
_MOMENTS = (("StepDetails", "NextAttemptTimestamp"), ("WaitDetails", "ScheduledEndTimestamp"))


def in_milliseconds(operations: list[Wire]) -> list[Wire]:
    """Give operations of an answer their moments in milliseconds, as an event has them; what is odd stays as it is."""
    for operation in operations:
        if not isinstance(operation, dict):
            continue
        for member in _OWN_MOMENTS:
            if member in operation:
                _in_milliseconds(operation, member)
        for details, member in _MOMENTS:
            if details in operation and isinstance(inside := operation[details], dict) and member in inside:
                _in_milliseconds(inside, member)
    return operations


def _in_milliseconds(inside: Wire, member: str) -> None:
    moment = inside[member]
    if isinstance(moment, str):
        moment = _seconds(moment)
    if type(moment) is int or (isinstance(moment, float) and -_INFINITY < moment * 1000 < _INFINITY):
        inside[member] = round(moment * 1000)


def _seconds(moment: str) -> float | None:
    """Give the Unix seconds of a moment by the calendar, the other form that answers may have; None if it is none."""
    from datetime import UTC, datetime  # noqa: PLC0415  hardly ever

    try:
        found = datetime.fromisoformat(moment)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _operations(state: Any, source: str, what: str) -> tuple[list[Wire], str | None]:
    if not isinstance(state, dict):
        _refuse(source, what, state, "object")
    operations, marker = state.get("Operations"), state.get("NextMarker")
    if operations is None:
        operations = []
    elif not isinstance(operations, list):
        _refuse(source, "Operations", operations, "list")
    if marker is not None and not isinstance(marker, str):
        _refuse(source, "NextMarker", marker, "text")
    return operations, marker or None


def _refuse(source: str, what: str, value: Any, expected: str) -> NoReturn:
    try:
        shown = f"{value!r:.80}"
    except Exception:  # noqa: BLE001  whatever the object's own repr raises
        shown = f"a {type(value).__name__}"
    raise ExecutionError(f"{source} cannot be read: {what} is no {expected} but {shown}")
