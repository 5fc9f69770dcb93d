"""A step that is not simply replayed: run the function, record what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._core import FAILED, INTERRUPTED, PENDING, RECORDED, START
from perdure._functions import PLAIN, ask, check_function, check_result
from perdure.engine.operations.common import deserialise, failure, logger, raise_recorded, retry, serialise, wire_error
from perdure.exceptions import (
    ExecutionError,
    InvocationError,
    SerDesError,
    StepError,
    StepInterruptedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Operation
    from perdure.engine.contexts import Context
    from perdure.retries import RetryDecision
    from perdure.serdes import SerDes
    from perdure.types import StepContext


_A_STEP = ("a step", "a StepContext")


def run(
    context: Context,
    operation: Operation,
    func: Callable[[StepContext], Any],
    retry_strategy: Callable[[Exception, int], RetryDecision] | None,
    serdes: SerDes[Any] | None,
) -> Any:
    """Carry out what the core decided for a step."""
    hooks = context.invocation.hooks
    if hooks is None:
        return _run(context, operation, func, retry_strategy, serdes)
    from perdure.engine import watched  # noqa: PLC0415  only for those who look inside

    func = hooks.function("step", operation, func)
    retry_strategy = retry_strategy or context.invocation.default_retry_strategy()
    retry_strategy = watched.strategy_of(hooks, operation, retry_strategy)
    with watched.seen(hooks, operation, by_default=serdes is None) as give:
        return give(_run(context, operation, func, retry_strategy, serdes))


def _run(  # noqa: C901, PLR0912, PLR0915  each decision and way to end, in one frame: a step pays for each
    context: Context,
    operation: Operation,
    func: Callable[[StepContext], Any],
    retry_strategy: Callable[[Exception, int], RetryDecision] | None,
    serdes: SerDes[Any] | None,
) -> Any:
    decision = operation.decision
    if decision == PENDING:
        context.scope.suspend(operation.until)
    if decision == FAILED:
        raise_recorded(StepError, operation)
    checkpoints = context.invocation.checkpoints
    at_work = operation
    try:
        at_work.enter()
        if decision == START:
            checkpoints.wait(operation.ticket)
            operation = operation.again()
            decision = operation.decision
            if decision == PENDING:
                context.scope.suspend(operation.until)
        elif operation.ticket:
            checkpoints.watch()
        if decision == RECORDED:
            return deserialise(context, serdes, operation.payload, operation.id, operation.name)
        if decision == FAILED:
            raise_recorded(StepError, operation)
        if decision == INTERRUPTED:
            name = operation.name or operation.id
            interrupted = StepInterruptedError(
                f"step {name} was interrupted: an invocation began it and never reported back", step_id=operation.id
            )
            return end_attempt(context, operation, interrupted, retry_strategy)
        # What is raised in the end is raised outside the handlers: the recorded error is its cause, on replay as here.
        try:
            result = func(context.step_context(operation))
            if type(result) not in PLAIN:
                check_result(result, func, *_A_STEP)
        except ExecutionError:
            raise
        except SerDesError as error:
            failed: Exception = error
            retry_strategy = _never
        except Exception as error:  # noqa: BLE001  whatever else the user's function raises goes to the retry strategy
            check_function(func, *_A_STEP)
            failed = error
        else:
            try:
                if serdes is None:
                    ticket, value = operation.succeed_value(result)
                else:
                    payload = serialise(context, serdes, result, operation.id, operation.name)
                    value = deserialise(context, serdes, payload, operation.id, operation.name)
                    ticket = operation.succeed(payload)
            except SerDesError as error:
                unserialisable = wire_error(error)
            except (ExecutionError, InvocationError):
                raise
            except Exception as error:  # noqa: BLE001  whatever the user's objects raise while they are looked at
                name = operation.name or operation.id
                unserialisable = wire_error(SerDesError(f"the result of step {name}: {error!r}"))
            else:
                checkpoints.wait(ticket)
                return value
            checkpoints.wait(operation.fail(unserialisable))
            raise failure(StepError, unserialisable, operation)
        try:
            return end_attempt(context, operation, failed, retry_strategy)
        finally:
            del failed  # whose traceback holds this frame
    finally:
        at_work.leave()


def _never(_error: Exception, _attempt: int) -> RetryDecision:
    from perdure.retries import RetryDecision  # noqa: PLC0415  only when a step fails

    return RetryDecision.no_retry()


def end_attempt(
    context: Context,
    operation: Operation,
    error: Exception,
    retry_strategy: Callable[[Exception, int], RetryDecision] | None,
) -> Any:
    """Record a failed attempt: another one later, or the step's failure."""
    if retry_strategy is None:
        retry_strategy = context.invocation.default_retry_strategy()
    delay = ask(retry_strategy, "retry", f"step {operation.name or operation.id}", error, operation.attempt)
    recorded = wire_error(error)
    checkpoints = context.invocation.checkpoints
    if delay is not None:
        logger.debug(
            "attempt %d of step %s failed; the next one is due in %s s",
            operation.attempt,
            operation.name or operation.id,
            delay,
            exc_info=error,
        )
        checkpoints.wait(retry(operation, delay, recorded, None))
        context.scope.suspend(operation.again().until)
    checkpoints.wait(operation.fail(recorded))
    raise failure(StepError, recorded, operation, error)
