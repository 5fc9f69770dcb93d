"""How a coroutine is ended where it stands: from the inside out, each frame by itself.

Python closes a coroutine from the outside: one that awaits in a ``finally`` meanwhile is given up there, which its
callers see as a `RuntimeError`, as if it had failed; and Python complains of it once more when it is dropped. So here
the innermost is ended first, as often as that takes, and only then whoever awaits it.
"""

from __future__ import annotations

import gc
from asyncio import CancelledError
from types import AsyncGeneratorType, CoroutineType
from typing import TYPE_CHECKING, Any

from perdure._log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

logger = Log("perdure")

_MOST_REFUSED = 100
"""How many awaits of one task are refused when it is unwound."""

_AWAITS = ("cr_await", "gi_yieldfrom", "ag_await")

_TELL_NOTHING = frozenset({"coroutine_wrapper", "async_generator_asend", "async_generator_athrow"})
"""Types of what Python puts around a coroutine or an asynchronous generator, and that do not say around which."""

_ENDS = (GeneratorExit, StopIteration, StopAsyncIteration, CancelledError)


def close(coroutine: Any, run: Callable[..., Any]) -> None:
    """End a coroutine where it stands; what it awaits on the way is refused.

    Args:
        coroutine: What a task was made of, or the closing of an asynchronous generator.
        run: Calls a function with its arguments, where variables are those of the code.

    """
    frames, refused = awaiting(coroutine), 0
    while frames and refused < _MOST_REFUSED:
        try:
            run(frames[-1].throw, GeneratorExit)
        except _ENDS:
            frames.pop()
        except BaseException as error:
            frames.pop()
            if "already executing" not in str(error) and "already awaited" not in str(error):
                logger.debug("code that was unwound raised", exc_info=error)
        else:
            refused += 1
            frames += awaiting(frames.pop())
            logger.debug(
                "an await is refused while code is unwound, in %r: the invocation has ended, and the code runs again "
                "in the next one. Clean up with context.finally_, or a saga",
                coroutine,
            )


def awaiting(coroutine: Any) -> list[Any]:
    """Give a coroutine, what it awaits, what that awaits, and so on."""
    found: list[Any] = []
    awaited = coroutine
    while awaited is not None and hasattr(awaited, "throw"):
        found.append(awaited)
        awaited = _awaited_by(awaited)
    return found


def _awaited_by(frame: Any) -> Any:
    if type(frame).__name__ in _TELL_NOTHING:
        inside = [each for each in gc.get_referents(frame) if isinstance(each, (CoroutineType, AsyncGeneratorType))]
        if not inside or isinstance(inside[0], CoroutineType):
            return inside[0] if inside else None
        frame = inside[0]
    for name in _AWAITS:
        if (awaited := getattr(frame, name, None)) is not None:
            return awaited
    return None
