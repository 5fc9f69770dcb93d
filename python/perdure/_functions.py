"""What an operation is handed as its function, and a map as its items: mistakes are refused before anything runs.

They would else end as a failed item of a batch that succeeds, as six attempts, or as the word "coroutine".
"""

from __future__ import annotations

from types import CoroutineType, FunctionType, GeneratorType
from typing import TYPE_CHECKING, Any

from perdure._core import Ready
from perdure.exceptions import ExecutionError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ASYNC = 0x80 | 0x200
"""The flags of the code of coroutine functions and of asynchronous generators."""

_VARARGS = 0x04
"""The flag of the code of functions with ``*args``."""

_USES = {
    "durable_step": "context.step({}(...))",
    "durable_with_child_context": "context.run_in_child_context({}(...))",
    "durable_wait_for_callback": "context.wait_for_callback({}(...))",
    "durable_parallel_branch": "context.parallel([{}(...)])",
}
_LONGEST_SHOWN = 80
PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})
"""Types of results that tell of no mistake, as almost always: nobody need look at what gave them."""

PLAIN_ANNOTATIONS: set[Any] = {
    *(None, bool, int, float, str, bytes, list, tuple, dict, object),
    *("None", "bool", "int", "float", "str", "bytes", "list", "tuple", "dict", "object", "Any", "dict[str, Any]"),
    *(Any, dict[str, Any], "DurableContext"),
}
"""Annotations of results that need no converting: the core looks here, and `perdure._annotations` adds its own."""


def is_async(function: Any) -> bool:
    """Tell whether a function's own code is asynchronous; `inspect` would take longer to import than all else here."""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _ASYNC)


def is_coroutine(function: Any) -> bool:
    """Tell whether a function gives a coroutine, as far as can be seen without calling it, or what it is around."""
    for _ in range(_MOST_AROUND):
        if is_async(function):
            return True
        inner = getattr(function, "func", None) if type(function) is not FunctionType else None
        inner = inner or getattr(function, "__wrapped__", None)
        if inner is None:
            call = getattr(type(function), "__call__", None)  # noqa: B004  the function of an object that is called
            return call is not None and is_async(call)
        function = inner
    return False


def coroutine_function_in(function: Any) -> Any:
    """Give the coroutine function that a plain one is around, and may run by itself; None if there is none such."""
    for _ in range(_MOST_AROUND):
        if type(function) is FunctionType or getattr(function, "func", None) is None:  # no partial
            break
        function = function.func
    inner = function
    for _ in range(_MOST_AROUND):
        if is_async(inner):
            return None if inner is function else inner
        inner = getattr(inner, "__wrapped__", None)
    return None


_MOST_AROUND = 8
"""How many functions around one another are looked at."""


def check_function(function: Any, operation: str, takes: str, takes_async: bool = False) -> None:
    """Refuse what cannot be the function of an operation.

    Args:
        function: What was handed over.
        operation: What takes it.
        takes: What it will be called with.
        takes_async: Whether it may be asynchronous.

    Raises:
        ValidationError: If it cannot be called, is decorated and was not called, or is asynchronous and may not be.

    """
    if (
        type(function) is FunctionType
        and "durable_decorator" not in function.__dict__
        and not function.__code__.co_flags & _ASYNC
    ):
        return  # as almost always
    mark = getattr(function, "durable_decorator", None)
    # A mock has whatever attribute is asked for.
    decorator, whose, _ = mark if type(mark) is tuple else (None, None, None)
    if whose != id(getattr(function, "__func__", function)):
        decorator = None  # the mark was copied by another wrapper, which may well call what it wraps
    if decorator is None and callable(function) and (takes_async or not is_async(function)):
        return
    name = getattr(function, "__name__", None) or _shown(function)
    if decorator is not None:
        raise ValidationError(
            f"{name} is decorated with {decorator}: call it, as in {_USES[decorator].format(name)}; "
            f"{operation} takes a function of {takes}"
        )
    if callable(function):
        raise ValidationError(f"{name} is an async function. {_NO_ASYNC}")
    if is_operation(function):
        name = "an operation that was called"
    elif type(function) is CoroutineType:
        drop(function)
        name = f"the coroutine of {name}"
    raise ValidationError(f"{operation} takes a function of {takes}, not {name}: pass the function, not what it gives")


def check_arguments(function: Any, operation: str, takes: str, count: int) -> None:
    """Refuse a plain function that cannot be called with so many arguments; of any other it is not known.

    Raises:
        ValidationError: It would raise a TypeError for each branch.

    """
    if type(function) is not FunctionType:
        return
    code = function.__code__
    least = code.co_argcount - len(function.__defaults__ or ())
    needs_more = code.co_kwonlyargcount > len(function.__kwdefaults__ or ())
    if least <= count and not needs_more and (count <= code.co_argcount or code.co_flags & _VARARGS):
        return
    name = function.__dict__.get("_original_name") or function.__name__
    raise ValidationError(
        f"{operation} calls its function with {takes}, and {name} does not take that: "
        f"give it {count} parameter{'s' * (count > 1)}"
    )


def items_of(inputs: Any) -> Sequence[Any]:
    """Give the items of a map, in their order and as they are now, whatever its functions do to ``inputs``.

    Raises:
        ValidationError: If there is no order that is the same on every replay.

    """
    if isinstance(inputs, (set, frozenset)) or not hasattr(inputs, "__len__"):
        raise ValidationError(
            f"map needs a sequence, whose order is the same on every replay, not a {type(inputs).__name__}: "
            f"pass a list, for example sorted(…) or list(…)"
        )
    return inputs if type(inputs) in _UNCHANGING else list(inputs)


_UNCHANGING = frozenset({tuple, range, str, bytes})
"""Sequences that stay what they are, and need no copy."""


_MOST_ITEMS = 1_000_000
"""How many items an iterator may give: more than an execution can do anything with."""


def all_of(items: Iterator[Any]) -> list[Any]:
    """Give what an iterator gives.

    Raises:
        ValidationError: If there is no end.

    """
    found = [item for item, _ in zip(items, range(_MOST_ITEMS + 1), strict=False)]
    if len(found) > _MOST_ITEMS:
        raise ValidationError(f"map was given a {type(items).__name__} without an end: pass a list of the items")
    return found


def refuse_awaitable(result: Any, who: str = "the function of an operation") -> None:
    """Refuse the coroutine that a function returned instead of a result; ``who`` says whose function it was.

    Raises:
        ExecutionError: It is the code that is wrong: no attempt more, and no other branch, would mend it.

    """
    kind = type(result)
    if kind in PLAIN:
        return
    if not hasattr(kind, "__await__") and not hasattr(kind, "__anext__"):
        return
    if is_operation(result):
        raise ExecutionError(f"{who} returned an operation that was not awaited: `return await ...`")
    drop(result)
    name = getattr(result, "__qualname__", None) or kind.__name__
    article = "an" if kind.__name__[0] in "aeiou" else "a"
    raise ExecutionError(
        f"{who} returned {name}, {article} {kind.__name__}. Await it there, if that is async def. {_NO_ASYNC}"
    )


def is_operation(value: Any) -> bool:
    """Whether something is an operation of an asynchronous handler that was called, and not awaited."""
    return type(value) is Ready or getattr(type(value), "is_operation", False) is True


def unawaited_in(value: Any, depth: int = 4) -> bool:
    """Whether something holds what was to be awaited; looked for in so many lists and dicts inside of one another."""
    if hasattr(type(value), "__await__"):
        return True
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return depth > 0 and any(unawaited_in(each, depth - 1) for each in inside)


def check_result(result: Any, function: Any, operation: str, takes: str, takes_async: bool = False) -> None:
    """Refuse the result of what cannot be the function of an operation: of it nothing has run.

    Args:
        result: What it returned, or what came of that.
        function: As for `check_function`.
        operation: The same.
        takes: The same.
        takes_async: The same.

    """
    try:
        check_function(function, operation, takes, takes_async)
    except ValidationError:
        drop(result)
        raise
    refuse_awaitable(result)


def drop(result: Any) -> None:
    """Drop a coroutine, of which Python else warns, wherever it is when it drops it, that nobody awaited it."""
    if hasattr(type(result), "__await__") and hasattr(result, "close"):
        result.close()


def deserialized(serdes: Any, data: str, context: Any) -> Any:
    """Give what a serdes of the user's reads; a coroutine is nothing that was read."""
    value = serdes.deserialize(data, context)
    if type(value) is CoroutineType:
        drop(value)
        raise TypeError("deserialize() gave a coroutine: make it a plain function")
    return value


def refuse_unrun(result: Any) -> None:
    """Refuse what a submitter returned of which nothing has run: its result is not looked at otherwise.

    Raises:
        ExecutionError: The callback would be waited for although nobody was told of it.

    """
    refuse_awaitable(result, "the submitter")
    if type(result) is GeneratorType:
        raise ExecutionError("the submitter has a yield in it, so that nothing of it has run: make it a plain function")


def ask(strategy: Any, kind: str, whose: str, *about: Any) -> int | None:
    """Ask a strategy of the user's what is to come; decisions of other classes will do, if they have the members.

    Args:
        strategy: The function.
        kind: ``retry`` or ``wait``.
        whose: The operation it is the strategy of.
        about: What it is asked about.

    Returns:
        The seconds until the next attempt; None if there is to be none.

    Raises:
        ValidationError: If it is no function, or does not decide.

    """
    cause = about[0] if isinstance(about[0], BaseException) else None
    if not callable(strategy):
        raise ValidationError(
            f"the {kind} strategy of {whose} must be a function, such as create_{kind}_strategy(...) makes, "
            f"not {_shown(strategy)}"
        ) from cause
    goes_on, answers = _DECISIONS[kind]
    decision: Any = strategy(*about)
    try:
        if not getattr(decision, goes_on):
            return None
        delay = decision.delay_seconds
    except AttributeError:
        raise ValidationError(
            f"the {kind} strategy of {whose} must return {answers}, not {_shown(decision)}"
        ) from cause
    if not isinstance(delay, int):
        raise ValidationError(
            f"the {kind} strategy of {whose} must return a delay in whole seconds, not {_shown(delay)}"
        ) from cause
    return delay


_DECISIONS = {
    "retry": ("should_retry", "RetryDecision.retry(delay) or RetryDecision.no_retry()"),
    "wait": (
        "should_continue",
        "WaitForConditionDecision.continue_waiting(delay) or WaitForConditionDecision.stop_polling()",
    ),
}

_NO_ASYNC = (
    "Async functions are not taken by the context of a plain handler: make the handler async def, whose context takes "
    "both, or make this a plain function"
)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
