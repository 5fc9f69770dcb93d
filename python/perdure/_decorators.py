"""Decorators that give functions arguments of their own, and their name to the operation: see `perdure.context`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from perdure._core import typed_of
from perdure._functions import is_coroutine

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Concatenate, ParamSpec

    from perdure.config import ParallelBranch
    from perdure.types import StepContext, WaitForCallbackContext

    Params = ParamSpec("Params")

T = TypeVar("T")
C = TypeVar("C")
"""A context: whichever the function is written for."""


class _Gives:
    """What converts the results of a function, which is looked for with the first call, when all names are there."""

    __slots__ = ("_func", "annotations")

    annotations: dict[str, Any] | None

    def __init__(self, func: Callable[..., Any]) -> None:
        self._func = func

    def __getattr__(self, name: str) -> Any:
        if name != "annotations":
            raise AttributeError(name)
        typed = typed_of(self._func)
        self.annotations = None if typed is None else {"return": typed}
        return self.annotations


def _named(call: Callable[..., T], func: Callable[..., Any], gives: _Gives) -> Callable[..., T]:
    """Let the operations know the name of the function that a call is made for, and what its results are."""
    call._original_name = getattr(func, "__name__", None)  # type: ignore[attr-defined]  # noqa: SLF001  its own
    if gives.annotations is not None:
        call.__annotations__ = gives.annotations
    return call


def _uncalled(bind: Callable[Params, T], decorator: str, func: Callable[..., Any]) -> Callable[Params, T]:
    """Let the operations tell a decorated function that was handed to them without being called.

    Whose mark it is goes along: others copy it when they wrap what is marked, and may call that.

    What is decorated is called without the first argument of the function. So that is not told to be around it: a test
    that replaces it by a mock of its signature (``autospec``) could not be called as it is.
    """
    bind.durable_decorator = (decorator, id(bind), func)  # type: ignore[attr-defined]
    if not is_coroutine(func):  # which others need to know
        del bind.__wrapped__  # type: ignore[attr-defined]
    return bind


def durable_step(
    func: Callable[Concatenate[StepContext, Params], T],
) -> Callable[Params, Callable[[StepContext], T]]:
    """Make a function usable as a step with arguments: ``context.step(add(1, 2))``.

    The step is named after the function unless the call names it.

    Args:
        func: Takes a `StepContext` before its own arguments.

    Example:
        >>> @durable_step
        ... def add(step: StepContext, a: int, b: int) -> int:
        ...     return a + b
        >>> total = context.step(add(1, 2))

    """

    @functools.wraps(func)
    def bind(*args: Params.args, **kwargs: Params.kwargs) -> Callable[[StepContext], T]:
        def call(step_context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  which would be its annotations
            return func(step_context, *args, **kwargs)

        call._original_name = name  # type: ignore[attr-defined]  # noqa: SLF001  its own
        if awaits:  # to be seen, so that it gets no thread
            call.__wrapped__ = func  # type: ignore[attr-defined]
        if gives.annotations is not None:
            call.__annotations__ = gives.annotations
        return call

    gives = _Gives(func)
    awaits = is_coroutine(func)
    name = getattr(func, "__name__", None)
    return _uncalled(bind, "durable_step", func)


def durable_with_child_context(
    func: Callable[Concatenate[C, Params], T],
) -> Callable[Params, Callable[[C], T]]:
    """Make a function usable as a child context with arguments: ``context.run_in_child_context(book(order))``.

    The context is named after the function unless the call names it.

    Args:
        func: Takes a `DurableContext` before its own arguments.

    """

    @functools.wraps(func)
    def bind(*args: Params.args, **kwargs: Params.kwargs) -> Callable[[C], T]:
        return _named(lambda context: func(context, *args, **kwargs), func, gives)

    gives = _Gives(func)
    return _uncalled(bind, "durable_with_child_context", func)


def durable_wait_for_callback(
    func: Callable[Concatenate[str, WaitForCallbackContext, Params], T],
) -> Callable[Params, Callable[[str, WaitForCallbackContext], T]]:
    """Make a function usable as a submitter with arguments: ``context.wait_for_callback(ask(approver))``.

    The operation is named after the function unless the call names it.

    Args:
        func: Takes a callback id and a `WaitForCallbackContext` before its own arguments.

    """

    @functools.wraps(func)
    def bind(*args: Params.args, **kwargs: Params.kwargs) -> Callable[[str, WaitForCallbackContext], T]:
        call: Any = lambda callback_id, context: func(callback_id, context, *args, **kwargs)  # noqa: E731
        call._original_name = getattr(func, "__name__", None)  # noqa: SLF001  its own
        return call  # type: ignore[no-any-return]

    return _uncalled(bind, "durable_wait_for_callback", func)


def durable_parallel_branch(
    name: str | None = None,
) -> Callable[
    [Callable[Concatenate[C, Params], T]],
    Callable[Params, ParallelBranch[T]],
]:
    """Make a function usable as a branch with arguments: ``context.parallel([fetch("a"), fetch("b")])``.

    Args:
        name: Of the branch; by default ``parallel-branch-{index}``, as for any other function.

    Example:
        >>> @durable_parallel_branch(name="fetch")
        ... def fetch(context: DurableContext, key: str) -> bytes: ...

    """

    def decorate(
        func: Callable[Concatenate[C, Params], T],
    ) -> Callable[Params, ParallelBranch[T]]:
        @functools.wraps(func)
        def bind(*args: Params.args, **kwargs: Params.kwargs) -> ParallelBranch[T]:
            from perdure.config import ParallelBranch  # noqa: PLC0415  brings dataclasses along

            call: Any = lambda context: func(context, *args, **kwargs)  # noqa: E731
            if gives.annotations is not None:
                call.__annotations__ = gives.annotations
            return ParallelBranch(call, name)

        gives = _Gives(func)

        return _uncalled(bind, "durable_parallel_branch", func)

    return decorate


for _decorator in (durable_step, durable_with_child_context, durable_wait_for_callback, durable_parallel_branch):
    _decorator.__module__ = "perdure.context"  # where users import them from
del _decorator
