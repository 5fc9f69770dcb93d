"""A child context that is not simply replayed: run its function, record what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._core import FAILED, MAX_CONTEXT_RESULT, RECORDED, decode_extended, encode_extended
from perdure._functions import PLAIN, drop, refuse_awaitable
from perdure.engine.operations.common import (
    REFUSALS,
    deserialise,
    failure,
    logger,
    passes_through,
    raise_recorded,
    serialise,
    wire_error,
)
from perdure.exceptions import ChildContextError, ValidationError, well_formed

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Operation, Scope
    from perdure.engine.contexts import Context
    from perdure.engine.flows import Flow
    from perdure.engine.hooks import Hooks
    from perdure.exceptions import DurableOperationError
    from perdure.serdes import SerDes


def run(
    context: Context,
    operation: Operation,
    func: Callable[[Any], Any],
    serdes: SerDes[Any] | None,
    summary_generator: Callable[[Any], str] | None,
    *,
    branch: bool = False,
    error_class: type[DurableOperationError] = ChildContextError,
) -> Flow[Any]:
    """Carry out what the core decided for a context.

    Args:
        context: The surrounding context.
        operation: The context's operation.
        func: Called with the inner context.
        serdes: Of the result; None for the default.
        summary_generator: Makes the summary that is recorded in place of a large result.
        branch: Whether it is a branch of a map or parallel.
        error_class: What a failure surfaces as.

    """
    hooks = context.invocation.hooks
    if hooks is None:
        return _run(context, operation, func, serdes, summary_generator, branch, error_class)
    func = hooks.function("context", operation, func)
    flow = _run(context, operation, func, serdes, summary_generator, branch, error_class)
    return hooks.followed(operation, flow, serdes)


def _run(
    context: Context,
    operation: Operation,
    func: Callable[[Any], Any],
    serdes: SerDes[Any] | None,
    summary_generator: Callable[[Any], str] | None,
    branch: bool,
    error_class: type[DurableOperationError],
) -> Flow[Any]:
    """Run the function of a context, unless there is an outcome, and record what comes of it."""
    decision = operation.decision
    if decision == FAILED:
        raise_recorded(error_class, operation)
    try:
        if decision == RECORDED:
            operation.enter()
            return deserialise(context, serdes, operation.payload, operation.id, operation.name)
        inner = operation.open(branch)
        try:
            result = yield func, (context.child(inner),)
            if type(result) not in PLAIN:
                refuse_awaitable(result)
            there = operation.returned(result) if serdes is None else None
            if there is None:
                operation.close()
                settle(inner)
                payload = serialise(context, serdes, result, operation.id, operation.name)
                value = deserialise(context, serdes, payload, operation.id, operation.name)
            else:
                payload, value = there
            if not operation.write:
                inner.end()
                return value
            large = payload is not None and len(payload) > MAX_CONTEXT_RESULT
            if large:
                operation.close()
                payload = _summary(summary_generator, result, operation)
        except Exception as error:
            operation.close()
            settle(inner, error)
            if passes_through(error) or not operation.write:
                inner.end()
                raise
            failed, recorded = error, wire_error(error)
        else:
            yield operation.succeed_context(inner, payload, large)
            return value
        try:
            _tell(context, branch, operation.id, operation.name, failed, recorded)
            yield operation.fail_context(inner, recorded)
            logger.debug("context %s failed", operation.name or operation.id, exc_info=failed)
            raise failure(error_class, recorded, operation, failed)
        finally:
            del failed  # whose traceback holds this frame
    finally:
        operation.leave()


def _summary(generator: Callable[[Any], str] | None, result: Any, operation: Operation) -> str | None:
    """Give what is recorded in the place of a large result."""
    summary = "" if generator is None else generator(result)
    if summary is not None and not isinstance(summary, str):
        drop(summary)
        raise ValidationError(
            f"the summary_generator of context {operation.name or operation.id} must return text, not {summary!r:.200}"
        )
    return summary and well_formed(summary)


def _tell(context: Context, branch: bool, *what: Any) -> None:
    """Show a branch that has failed to whoever looks into the invocation."""
    hooks = context.invocation.hooks
    if branch and hooks is not None:
        hooks.branch_failed(*what)


def settle(inner: Scope, raised: Exception | None = None) -> None:
    """Raise again what the code inside must not swallow: a suspension, and whatever stops the invocation."""
    if isinstance(raised, REFUSALS):
        return  # not swallowed
    inner.settle()


def run_virtual(
    context: Context,
    inner: Scope,
    func: Callable[[Any], Any],
    serdes: SerDes[Any] | None,
    called: tuple[str | None, str],
    index: int | None = None,
) -> Flow[Any]:
    """Run a function in a context of which nothing is recorded.

    The result makes the round trip through its serdes all the same, so that going virtual changes no values.

    Args:
        context: The surrounding context.
        inner: The context itself.
        func: Called with it.
        serdes: Of the result; None for the default.
        called: Its name, if it has one, and its subtype, for those who look inside.
        index: Of a branch of a map or parallel.

    """
    hooks = context.invocation.hooks
    if hooks is None:
        return _run_virtual(context, inner, func, serdes, index)
    func = hooks.virtual_function(inner, called, func)
    return _seen_virtual(hooks, inner, called, _run_virtual(context, inner, func, serdes, index))


def _run_virtual(
    context: Context, inner: Scope, func: Callable[[Any], Any], serdes: SerDes[Any] | None, index: int | None
) -> Flow[Any]:
    try:
        inner.enter()
        result = yield func, (context.child(inner, is_virtual=True),)
        if type(result) not in PLAIN:
            refuse_awaitable(result)
        inner.settle()
        result = _round_trip(context, inner, serdes, result)
    except Exception as error:
        settle(inner, error)
        if passes_through(error):
            raise
        failed, recorded = error, wire_error(error)
    else:
        return result
    finally:
        inner.leave()
        inner.end()
    try:
        _tell(context, index is not None, inner.operation_id or "", str(index), failed, recorded)
        logger.debug("a virtual context failed", exc_info=failed)
        raise failure(ChildContextError, recorded, None, failed)
    finally:
        del failed  # whose traceback holds this frame


def _seen_virtual(hooks: Hooks, inner: Scope, called: tuple[str | None, str], flow: Flow[Any]) -> Flow[Any]:
    """Show what the flow of a context gives, or what it fails with, of which nothing is recorded."""
    try:
        value = yield from flow
    except Exception as error:
        if not passes_through(error):
            hooks.virtual_ended(inner, called, error)
        raise
    hooks.virtual_ended(inner, called, None)
    return value


def _round_trip(context: Context, inner: Scope, serdes: SerDes[Any] | None, value: Any) -> Any:
    """Give what would be read of a value if it were recorded."""
    if serdes is None:
        try:
            return decode_extended(encode_extended(value))
        except Exception:  # noqa: BLE001, S110  the longer way says what is wrong with it
            pass
    id_ = inner.operation_id or ""
    return deserialise(context, serdes, serialise(context, serdes, value, id_), id_)
