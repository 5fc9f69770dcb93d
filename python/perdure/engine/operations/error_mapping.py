"""``map_error=`` of child contexts, map and parallel: what the user's exception is recorded and raised as.

The mapper stands around the user's function, so that all that comes after it (the record, the item, plugins, the error
that surfaces) knows the exception it gave, fresh and replayed alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from perdure.engine.operations.common import REFUSALS, passes_through
from perdure.exceptions import ErrorMappingError, ValidationError, wire_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def mapped(function: Callable[..., Any], mapper: Callable[[Exception], Exception]) -> Callable[..., Any]:
    """Give a function whose errors are what the mapper makes of them.

    What is no failure of the function's but ends the invocation goes on as it is: a suspension, an `ExecutionError`, a
    history that does not match, an error by which the invocation is to be repeated.

    Args:
        function: The user's function of a context.
        mapper: Given an exception, gives the one to be recorded and raised.

    Raises:
        ValidationError: If the mapper cannot be called.

    """
    check_mapper(mapper)

    def body(*given: Any) -> Any:
        try:
            result = function(*given)
        except Exception as error:
            if _ends_invocation(error):
                raise
            _raise_mapped(mapper, error)
        # Where nothing is awaited, the operation refuses it as it is.
        is_awaited = hasattr(type(result), "__await__") and given[0].takes_async
        return _mapped_later(result, mapper) if is_awaited else result

    return body


async def _mapped_later(result: Awaitable[Any], mapper: Callable[[Exception], Exception]) -> Any:
    try:
        return await result
    except Exception as error:
        if _ends_invocation(error):
            raise
        _raise_mapped(mapper, error)


def _ends_invocation(error: Exception) -> bool:
    """Whether an error is no failure of the function's."""
    return passes_through(error) or isinstance(error, REFUSALS)


def check_mapper(mapper: Any) -> None:
    """Refuse what cannot map errors.

    Raises:
        ValidationError: If it cannot be called.

    """
    if not callable(mapper):
        raise ValidationError(f"map_error must be a function that is given an exception and gives one, not {mapper!r}")


def _raise_mapped(mapper: Callable[[Exception], Exception], error: Exception) -> NoReturn:
    try:
        found = mapper(error)
    except REFUSALS:
        raise
    except Exception as failure:  # noqa: BLE001  told of
        raise ErrorMappingError(f"map_error raised {_told(failure)}; it was asked about {_told(error)}") from error
    if not isinstance(found, Exception):
        raise ErrorMappingError(
            f"map_error must give an exception, not {found!r:.80}; it was asked about {_told(error)}"
        ) from error
    if found is error:
        raise error
    raise found from error


def _told(error: Exception) -> str:
    text = wire_text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
