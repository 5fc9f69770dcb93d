"""What the operations share: serialising by a user's serdes, recorded failures as exceptions, refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from perdure._core import MAX_ERROR, MAX_WAIT
from perdure._log import Log
from perdure.exceptions import (
    ChildContextError,
    DurableOperationError,
    ExecutionError,
    InvocationError,
    InvokeError,
    NonDeterministicExecutionError,
    OrphanedChildException,
    SerDesError,
    StepError,
    WaitForConditionError,
    WrongContextError,
    operation_error,
    wire_error_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Operation
    from perdure.engine.contexts import Context
    from perdure.serdes import SerDes

logger = Log("perdure")

_ROOM_FOR_REST = 4096
_KINDS = {
    StepError: "step",
    InvokeError: "invoke",
    ChildContextError: "context",
    WaitForConditionError: "wait_for_condition",
}

REFUSALS = (NonDeterministicExecutionError, WrongContextError)
"""What ends the execution because of what its code does. The engine raises it again with every further operation."""


def wire_error(error: BaseException) -> dict[str, Any]:
    """Give the error object under which an exception is recorded.

    The service takes at most 32 KiB: of a larger one the stack trace and the data are left out and the message is cut,
    and says so.
    """
    message, error_type, data, stack_trace = wire_error_fields(error)
    wire: dict[str, Any] = {}
    if message is not None:
        wire["ErrorMessage"] = message
    wire["ErrorType"] = error_type
    if data is not None:
        wire["ErrorData"] = data
    if stack_trace is not None:
        wire["StackTrace"] = stack_trace
    return wire if _size(wire) <= MAX_ERROR else _cut(wire)


def _size(wire: dict[str, Any]) -> int:
    # No character takes more than six bytes, so a short error needs no exact measure.
    characters = sum(
        len(value) if isinstance(value, str) else sum(map(len, value)) + 4 * len(value) for value in wire.values()
    )
    if characters * 6 + 100 <= MAX_ERROR:
        return characters
    import json  # noqa: PLC0415  only for errors of some length

    return len(json.dumps(wire))


def _cut(wire: dict[str, Any]) -> dict[str, Any]:
    import json  # noqa: PLC0415  only for errors that are too large

    message = wire.get("ErrorMessage") or ""
    note = f" ... (cut by perdure: the service takes error objects of at most {MAX_ERROR} bytes)"
    room = MAX_ERROR - _ROOM_FOR_REST
    # Escaped, a character takes up to twelve bytes; what is cut off is in proportion to what is too much.
    kept = message[:room]
    while (size := len(json.dumps(kept))) > room:
        kept = kept[: min(len(kept) - 1, len(kept) * room // size)]
    return {"ErrorMessage": kept + note, "ErrorType": wire["ErrorType"][:256]}


def failure(
    cls: type[DurableOperationError],
    error: dict[str, Any] | None,
    operation: Operation | None,
    live: Exception | None = None,
) -> DurableOperationError | SerDesError:
    """Build the exception that a recorded error object surfaces as.

    Args:
        cls: Its class.
        error: What is recorded.
        operation: Which operation failed; a note of the exception names it. None for a virtual context.
        live: The exception that it was recorded of, if that was raised in this invocation. Programs see only what
            replay can give them, too; people find in the traceback where it came from.

    """
    error = error or {}
    error_type = error.get("ErrorType")
    surfaced = operation_error(
        cls, error_type, error.get("ErrorMessage"), error.get("ErrorData"), error.get("StackTrace")
    )
    if operation is not None:
        which = f"{_KINDS.get(cls, 'operation')} {operation.name or operation.id[:8]}"
        what = error_type.rpartition(".")[2] if error_type else operation.status
        surfaced.add_note(f"({which} ended with {what})")
    if live is not None and surfaced.__cause__ is not None:
        surfaced.__cause__.__context__ = live
    return surfaced


def raise_recorded(cls: type[DurableOperationError], operation: Operation) -> NoReturn:
    """Raise the recorded failure of an operation; without a recorded error, say which one ended how."""
    if operation.error:
        raise failure(cls, operation.error, operation)
    which = f"{_KINDS.get(cls, 'operation')} {operation.name or operation.id}"
    message = f"{which} ended with the status {operation.status}, and no error was recorded for it"
    unexplained = failure(cls, {"ErrorMessage": message}, operation)
    unexplained.__cause__ = None
    raise unexplained


def retry(operation: Operation, delay_seconds: int, error: dict[str, Any] | None, payload: str | None) -> int:
    """Queue RETRY; a delay longer than the service takes is cut, and a warning says so.

    It is no error: only a failure brings a strategy to its longest delays, and an error there would end an execution
    that is to be repeated.
    """
    if delay_seconds > MAX_WAIT:
        logger.warning(
            "the strategy of %s asks for a delay of %s s before attempt %d, and the service takes at most %s s (366 "
            "days, as long as an execution lasts): the delay is cut to that. Give the strategy a max_delay.",
            operation.name or operation.id,
            f"{delay_seconds:,}",
            operation.attempt + 1,
            f"{MAX_WAIT:,}",
        )
        delay_seconds = MAX_WAIT
    return operation.retry(delay_seconds, error, payload)


def used_after_its_end(error: OrphanedChildException) -> WrongContextError:
    """Give the error for code that is no orphan itself and used a context which has ended."""
    return WrongContextError(
        f"the handler used the context of a child or branch that has ended ({error}): "
        f"use each context only inside the function it was handed to"
    )


def passes_through(error: BaseException) -> bool:
    """Whether an exception out of a context ends the invocation instead of becoming the context's failure."""
    return isinstance(error, ExecutionError) or (isinstance(error, InvocationError) and error.is_retryable())


def serialise(
    context: Context, serdes: SerDes[Any] | None, value: Any, operation_id: str, name: str | None = None
) -> Any:
    """Give the payload of ``value``; a serdes may give None for no payload.

    Raises:
        SerDesError: If it cannot be serialised.

    """
    from perdure.serdes import serialize  # noqa: PLC0415  only for work that is not replayed by the fast path

    return serialize(serdes, value, operation_id, context.invocation.durable_execution_arn, name=name)


def deserialise(
    context: Context, serdes: SerDes[Any] | None, payload: Any, operation_id: str, name: str | None = None
) -> Any:
    """Give the value of a payload; None without one.

    Raises:
        SerDesError: If it cannot be read.

    """
    if payload is None:
        return None
    from perdure.serdes import deserialize  # noqa: PLC0415  only for work that is not replayed by the fast path

    return deserialize(serdes, payload, operation_id, context.invocation.durable_execution_arn, name=name)


def one_of(first: Any, second: Any, names: str) -> Any:
    """Give whichever of two ways to say the same thing was used."""
    if first is None:
        return second
    if second is not None:
        from perdure.exceptions import ValidationError  # noqa: PLC0415

        raise ValidationError(f"give {names}, not both")
    return first


_MERGED = {
    "merge_step": ("retry_strategy", "step_semantics", "serdes", "sub_type"),
    "merge_bounds": ("timeout", "retry_if", "retryable_errors"),
    "merge_callback": ("timeout", "heartbeat_timeout", "serdes", "sub_type"),
    "merge_condition": ("wait_strategy", "initial_state", "serdes"),
    "merge_invoke": ("serdes_payload", "serdes_result", "tenant_id"),
    "merge_child": ("serdes", "sub_type", "summary_generator", "is_virtual", "error_mapper"),
}


def _officially(options: tuple[str, ...], lacking: AttributeError, config: Any, *given: Any) -> tuple[Any, ...]:
    """Merge with a config of the official SDK's, which has not all of these options."""
    if not type(config).__module__.startswith("aws_durable_execution_sdk_python."):
        raise lacking
    return tuple(
        getattr(config, option, None) if one is None else one for option, one in zip(options, given, strict=True)
    )


def __getattr__(name: str) -> Callable[..., tuple[Any, ...]]:
    """Make what merges keyword arguments with a config: called with the config and them, in the order of `_MERGED`.

    Each is given as it is or, where it is None, as the config has it. Replayed operations have configs, too: so what is
    made has its expressions written out, as named tuples have. It is made when it is first needed.
    """
    options = _MERGED.get(name)
    if options is None:
        raise AttributeError(name)
    names = ", ".join(options)
    merged = ", ".join(f"config.{option} if {option} is None else {option}" for option in options)
    scope: dict[str, Any] = {"officially": lambda *given: _officially(options, *given)}
    exec(  # noqa: S102  our own text
        f"def made(config, {names}):\n"
        f" try:\n  return ({merged})\n"
        f" except AttributeError as lacking:\n  return officially(lacking, config, {names})",
        scope,
    )
    made = globals()[name] = scope["made"]
    return made  # type: ignore[no-any-return]
