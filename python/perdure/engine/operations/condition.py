"""A condition that is polled for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._core import FAILED, RECORDED, RUN
from perdure._functions import ask, check_function, refuse_awaitable
from perdure.engine.operations.common import (
    REFUSALS,
    deserialise,
    failure,
    raise_recorded,
    retry,
    serialise,
    wire_error,
)
from perdure.exceptions import RetryableSerDesError, WaitForConditionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Operation
    from perdure.engine.contexts import Context
    from perdure.engine.flows import Flow
    from perdure.serdes import SerDes
    from perdure.types import WaitForConditionCheckContext
    from perdure.waits import WaitForConditionDecision

_A_CHECK = ("wait_for_condition", "the state and a WaitForConditionCheckContext")


def run(
    context: Context,
    operation: Operation,
    check: Callable[[Any, WaitForConditionCheckContext], Any],
    wait_strategy: Callable[[Any, int], WaitForConditionDecision],
    initial_state: Any,
    serdes: SerDes[Any] | None,
) -> Flow[Any]:
    """Carry out what the core decided for a condition."""
    hooks = context.invocation.hooks
    if hooks is None:
        return _run(context, operation, check, wait_strategy, initial_state, serdes)
    check = hooks.function("condition", operation, check)
    if hooks.steers:
        wait_strategy = hooks.steered(operation, wait_strategy)
    flow = _run(context, operation, check, wait_strategy, initial_state, serdes)
    return hooks.followed(operation, flow, serdes)


def _run(
    context: Context,
    operation: Operation,
    check: Callable[[Any, WaitForConditionCheckContext], Any],
    wait_strategy: Callable[[Any, int], WaitForConditionDecision],
    initial_state: Any,
    serdes: SerDes[Any] | None,
) -> Flow[Any]:
    """Check once, then go on, come back later, or fail."""
    at_work = operation
    try:
        at_work.enter()
        while True:
            if operation.decision != RUN:
                operation = yield operation
            if operation.decision == FAILED:
                raise_recorded(WaitForConditionError, operation)
            if operation.decision == RECORDED:
                return deserialise(context, serdes, operation.payload, operation.id, operation.name)
            check_function(check, *_A_CHECK, context.takes_async)
            id_, name = operation.id, operation.name
            try:
                payload = operation.payload
                if payload is None:
                    payload = serialise(context, serdes, initial_state, id_, name)
                state = deserialise(context, serdes, payload, id_, name)
                state = yield check, (state, context.check_context(operation))
                refuse_awaitable(state)
                payload = serialise(context, serdes, state, id_, name)
                state = deserialise(context, serdes, payload, id_, name)
                delay = ask(wait_strategy, "wait", f"wait_for_condition {name or id_}", state, operation.attempt)
            except (RetryableSerDesError, *REFUSALS):
                raise
            except Exception as error:  # noqa: BLE001  whatever the check or the strategy raises fails the operation
                failed, recorded = error, wire_error(error)
                break
            if delay is None:
                yield operation.succeed(payload)
                return state
            yield retry(operation, delay, None, payload)
            operation = operation.again()
        try:
            yield operation.fail(recorded)
            raise failure(WaitForConditionError, recorded, operation, failed)
        finally:
            del failed  # whose traceback holds this frame
    finally:
        at_work.leave()
