"""A condition that is polled for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._core import FAILED, PENDING, RECORDED
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
    from perdure.serdes import SerDes
    from perdure.types import WaitForConditionCheckContext
    from perdure.waits import WaitForConditionDecision


def run(
    context: Context,
    operation: Operation,
    check: Callable[[Any, WaitForConditionCheckContext], Any],
    wait_strategy: Callable[[Any, int], WaitForConditionDecision],
    initial_state: Any,
    serdes: SerDes[Any] | None,
) -> Any:
    """Carry out what the core decided for a condition: check once, then go on, come back later, or fail."""
    hooks = context.invocation.hooks
    if hooks is None:
        return _run(context, operation, check, wait_strategy, initial_state, serdes)
    from perdure.engine import watched  # noqa: PLC0415  only for those who look inside

    check = hooks.function("condition", operation, check)
    wait_strategy = watched.strategy_of(hooks, operation, wait_strategy)
    with watched.seen(hooks, operation, by_default=serdes is None) as give:
        return give(_run(context, operation, check, wait_strategy, initial_state, serdes))


def _run(
    context: Context,
    operation: Operation,
    check: Callable[[Any, WaitForConditionCheckContext], Any],
    wait_strategy: Callable[[Any, int], WaitForConditionDecision],
    initial_state: Any,
    serdes: SerDes[Any] | None,
) -> Any:
    if operation.decision == PENDING:
        context.scope.suspend(operation.until)
    if operation.decision == FAILED:
        raise_recorded(WaitForConditionError, operation)
    try:
        operation.enter()
        return _checked(context, operation, check, wait_strategy, initial_state, serdes)
    finally:
        operation.leave()


def _checked(
    context: Context,
    operation: Operation,
    check: Callable[[Any, WaitForConditionCheckContext], Any],
    wait_strategy: Callable[[Any, int], WaitForConditionDecision],
    initial_state: Any,
    serdes: SerDes[Any] | None,
) -> Any:
    if operation.decision == RECORDED:
        return deserialise(context, serdes, operation.payload, operation.id, operation.name)
    check_function(check, "wait_for_condition", "the state and a WaitForConditionCheckContext")
    checkpoints = context.invocation.checkpoints
    if operation.ticket:
        checkpoints.watch()
    id_ = operation.id
    try:
        payload = operation.payload
        if payload is None:
            payload = serialise(context, serdes, initial_state, id_, operation.name)
        state = deserialise(context, serdes, payload, id_, operation.name)
        state = check(state, context.check_context(operation))
        refuse_awaitable(state)
        payload = serialise(context, serdes, state, id_, operation.name)
        state = deserialise(context, serdes, payload, id_, operation.name)
        delay = ask(wait_strategy, "wait", f"wait_for_condition {operation.name or id_}", state, operation.attempt)
    except (RetryableSerDesError, *REFUSALS):
        raise
    except Exception as error:  # noqa: BLE001  whatever the check or the strategy raises fails the operation
        failed, recorded = error, wire_error(error)
    else:
        if delay is not None:
            checkpoints.wait(retry(operation, delay, None, payload))
            context.scope.suspend(operation.again().until)
        checkpoints.wait(operation.succeed(payload))
        return state
    try:
        checkpoints.wait(operation.fail(recorded))
        raise failure(WaitForConditionError, recorded, operation, failed)
    finally:
        del failed  # whose traceback holds this frame
