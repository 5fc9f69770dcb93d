"""The contexts of an invocation that has hooks, which hear of each operation that is asked for, replayed or not."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.context import DurableContext

if TYPE_CHECKING:
    from collections.abc import Callable

    Method = TypeVar("Method", bound=Callable[..., Any])


def _announced(method: Method) -> Method:
    """Tell the hooks of an operation before it begins."""
    name = method.__name__

    @wraps(method)
    def begin(context: DurableContext, *given: Any, **named: Any) -> Any:
        hooks = context.invocation.hooks
        if hooks is not None:
            hooks.before_operation(name)
        return method(context, *given, **named)

    return begin  # type: ignore[return-value]


class WatchedContext(DurableContext):
    """A context whose operations are told of before they begin."""

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
