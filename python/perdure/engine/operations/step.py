"""A step that is not simply replayed: run the function, record what comes of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from perdure._core import FAILED, INTERRUPTED, RECORDED, RUN
from perdure._functions import PLAIN, ask, check_function, check_result
from perdure.engine.operations import common
from perdure.engine.operations.common import (
    deserialise,
    failure,
    logger,
    one_of,
    raise_recorded,
    retry,
    serialise,
    wire_error,
)
from perdure.exceptions import (
    ExecutionError,
    InvocationError,
    SerDesError,
    StepError,
    StepInterruptedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypedDict

    from perdure._core import Operation
    from perdure._duration import DurationLike
    from perdure._retry_decision import RetryableErrors
    from perdure.config import StepConfig
    from perdure.engine.contexts import Context
    from perdure.engine.flows import Flow
    from perdure.retries import RetryDecision
    from perdure.serdes import SerDes
    from perdure.types import StepContext

    RetryStrategy = Callable[[Exception, int], RetryDecision]

    class StepOptions(TypedDict, total=False):
        """Keyword arguments of a step that are seldom given."""

        retry_strategy: RetryStrategy | None
        sub_type: str | None
        timeout: DurationLike | None
        retry_if: Callable[[Exception], bool] | None
        retryable_errors: RetryableErrors | None


_A_STEP = ("a step", "a StepContext")


class Bounds:
    """What bounds the attempts of a step. No named tuple: to make its class takes longer than the rest of the module.

    Args:
        timeout: How long one may take.
        retry_if: Says of an error whether it is worth another.
        retryable_errors: Those that are.

    """

    __slots__ = ("retry_if", "retryable_errors", "timeout")

    def __init__(
        self,
        timeout: DurationLike | None,
        retry_if: Callable[[Exception], bool] | None,
        retryable_errors: RetryableErrors | None,
    ) -> None:
        self.timeout = timeout
        self.retry_if = retry_if
        self.retryable_errors = retryable_errors


def unpacked(options: dict[str, Any], retry: RetryStrategy | None) -> tuple[Any, Any, Any, Any, Any, Bounds | None]:
    """Give a step's retry strategy, semantics, serdes, type, subtype and bounds, of its keyword arguments.

    Args:
        options: But for ``retry``; it is used up.
        retry: That one.

    Raises:
        TypeError: If there are others.
        ValidationError: If there are two retry strategies.

    """
    take = options.pop
    found = (
        one_of(retry, take("retry_strategy", None), "retry= or retry_strategy="),
        take("step_semantics", None),
        take("serdes", None),
        take("returns", None),
        take("sub_type", None),
        _bounds(take("timeout", None), take("retry_if", None), take("retryable_errors", None)) if options else None,
    )
    if options:
        raise TypeError(f"DurableContext.step() got an unexpected keyword argument {min(options)!r}")
    return found


def bounds_of(config: StepConfig, given: Bounds | None) -> Bounds | None:
    """Give what bounds a step by its config, but for what it was given besides."""
    options = (None, None, None) if given is None else (given.timeout, given.retry_if, given.retryable_errors)
    return _bounds(*common.merge_bounds(config, *options))


def _bounds(timeout: Any, retry_if: Any, errors: Any) -> Bounds | None:
    return None if timeout is None and retry_if is None and errors is None else Bounds(timeout, retry_if, errors)


def bounded(
    context: Context,
    operation: Operation,
    func: Callable[[StepContext], Any],
    retry: RetryStrategy | None,
    bounds: Bounds,
) -> tuple[Callable[[StepContext], Any], RetryStrategy | None]:
    """Give a step's function and retry strategy within its bounds.

    Raises:
        ValidationError: If these are none.

    """
    whose = f"step {operation.name or operation.id}"
    if bounds.retry_if is not None or bounds.retryable_errors is not None:
        from perdure.engine.operations.retryable import Narrowed  # noqa: PLC0415  seldom needed

        retry = context.invocation.default_retry_strategy() if retry is None else retry
        narrowed = Narrowed(retry, whose, bounds.retry_if, bounds.retryable_errors)
        retry = narrowed if callable(retry) else retry  # what is none is refused in words where it is asked
    if bounds.timeout is not None:
        from perdure.engine.operations.timeout import seconds_of, timed  # noqa: PLC0415  the same

        seconds = seconds_of(bounds.timeout, whose)
        check_function(func, *_A_STEP, context.takes_async)
        func = timed(context, operation, func, seconds)
    return func, retry


def run(
    context: Context,
    operation: Operation,
    func: Callable[[StepContext], Any],
    retry_strategy: RetryStrategy | None,
    serdes: SerDes[Any] | None,
) -> Flow[Any]:
    """Carry out what the core decided for a step."""
    hooks = context.invocation.hooks
    if hooks is None:
        return _run(context, operation, func, retry_strategy, serdes)
    func = hooks.function("step", operation, func)
    if hooks.steers:
        retry_strategy = retry_strategy or context.invocation.default_retry_strategy()
        retry_strategy = hooks.steered(operation, retry_strategy)
    flow = _run(context, operation, func, retry_strategy, serdes)
    return hooks.followed(operation, flow, serdes)


def _run(  # noqa: C901, PLR0912  an attempt in one frame: a step pays for each
    context: Context,
    operation: Operation,
    func: Callable[[StepContext], Any],
    retry_strategy: RetryStrategy | None,
    serdes: SerDes[Any] | None,
) -> Flow[Any]:
    """Make attempts, until one succeeds or there is to be none more."""
    if operation.decision == FAILED:
        raise_recorded(StepError, operation)
    at_work = operation
    try:
        at_work.enter()
        while True:
            if operation.decision != RUN:
                operation = yield operation
                if operation.decision == RECORDED:
                    return deserialise(context, serdes, operation.payload, operation.id, operation.name)
                if operation.decision == FAILED:
                    raise_recorded(StepError, operation)
                if operation.decision == INTERRUPTED:
                    interrupted = _Failed(operation, _interrupted(operation), False)
                    operation = yield from _end_attempt(context, operation, interrupted, retry_strategy)
                    continue
            returned = False
            try:
                result = yield func, (context.step_context(operation),)
                if type(result) not in PLAIN:
                    check_result(result, func, *_A_STEP, context.takes_async)
                returned = True
                write = operation.succeed_value if serdes is None else partial(_succeed, context, operation, serdes)
                ticket, value = write(result)
            except Exception as error:
                if isinstance(error, ExecutionError) or (returned and isinstance(error, InvocationError)):
                    raise
                if not returned:  # of what is no function nothing has run; looked at now, since a step pays for it
                    check_function(func, *_A_STEP, context.takes_async)
                failed = _Failed(operation, error, returned)
            else:
                yield ticket
                return value
            try:
                operation = yield from _end_attempt(context, operation, failed, retry_strategy)
            finally:
                del failed  # whose error's traceback holds this frame
    finally:
        at_work.leave()


class _Failed:
    """An attempt that has failed.

    Args:
        error: Of what; an error in writing the result as a `SerDesError`.
        returned: Whether the function had returned.

    """

    __slots__ = ("error", "is_final")

    def __init__(self, operation: Operation, error: Exception, returned: bool) -> None:
        if returned and not isinstance(error, SerDesError):
            error = SerDesError(f"the result of step {operation.name or operation.id}: {error!r}")
        self.error = error
        self.is_final = isinstance(error, SerDesError)


def _succeed(context: Context, operation: Operation, serdes: SerDes[Any], result: Any) -> tuple[int, Any]:
    """Queue a result by a serdes of the user's; give the ticket, and the value as it reads back."""
    payload = serialise(context, serdes, result, operation.id, operation.name)
    value = deserialise(context, serdes, payload, operation.id, operation.name)
    return operation.succeed(payload), value


def _interrupted(operation: Operation) -> StepInterruptedError:
    name = operation.name or operation.id
    return StepInterruptedError(
        f"step {name} was interrupted: an invocation began it and never reported back", step_id=operation.id
    )


def _end_attempt(
    context: Context, operation: Operation, failed: _Failed, retry_strategy: RetryStrategy | None
) -> Flow[Operation]:
    """Record a failed attempt: the step fails, or another attempt is made once it is due. Gives the operation then."""
    name, error = operation.name or operation.id, failed.error
    try:
        delay = None
        if not failed.is_final:
            if retry_strategy is None:
                retry_strategy = context.invocation.default_retry_strategy()
            delay = ask(retry_strategy, "retry", f"step {name}", error, operation.attempt)
        recorded = wire_error(error)
        if delay is None:
            yield operation.fail(recorded)
            raise failure(StepError, recorded, operation, error)
        logger.debug(
            "attempt %d of step %s failed; the next one is due in %s s", operation.attempt, name, delay, exc_info=error
        )
        yield retry(operation, delay, recorded, None)
        return operation.again()
    finally:
        del error, failed  # the traceback holds this frame
