"""The contexts of an invocation whose hooks hear of each operation, replayed or not, before it begins and after it."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.context import DurableContext
from perdure.engine.operations.common import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Callable

    Method = TypeVar("Method", bound=Callable[..., Any])


def _announced(method: Method) -> Method:
    """Tell the hooks of an operation before it begins and after it."""
    name = method.__name__

    @wraps(method)
    def begin(context: DurableContext, *given: Any, **named: Any) -> Any:
        hooks = context.invocation.hooks
        if hooks is None:
            return method(context, *given, **named)
        hooks.before_operation(name)
        before = context.scope.position
        try:
            result = method(context, *given, **named)
        except Exception as error:
            if not isinstance(error, REFUSALS) and context.scope.position != before:  # else it was refused as it is
                hooks.after_operation(context.scope)
            raise
        hooks.after_operation(context.scope)
        return result

    return begin  # type: ignore[return-value]


class AwaitingContext(DurableContext):
    """The same for operations alone that end from outside."""

    __slots__ = ()

    wait = _announced(DurableContext.wait)
    create_callback = _announced(DurableContext.create_callback)
    invoke = _announced(DurableContext.invoke)


class WatchedContext(DurableContext):
    """A context whose operations are told of before they begin and after they have ended."""

    __slots__ = ()

    step = _announced(DurableContext.step)
    wait = _announced(DurableContext.wait)
    create_callback = _announced(DurableContext.create_callback)
    wait_for_callback = _announced(DurableContext.wait_for_callback)
    wait_for_condition = _announced(DurableContext.wait_for_condition)
    invoke = _announced(DurableContext.invoke)
    run_in_child_context = _announced(DurableContext.run_in_child_context)
    map = _announced(DurableContext.map)
    parallel = _announced(DurableContext.parallel)
