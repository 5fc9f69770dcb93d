"""The contexts of an invocation that has hooks, which hear of each operation that is asked for, replayed or not."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.context import DurableContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Scope

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

    def child(self, scope: Scope, *, is_virtual: bool = False) -> DurableContext:
        """Make the context of an inner scope, which is watched, too."""
        log_parent = self._log_place() if is_virtual else None
        return WatchedContext(self.invocation, scope, log_parent, is_virtual, self._log_target)
