"""What the runners refuse before anything runs, in words that say what to give instead."""

from __future__ import annotations

from datetime import datetime
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from perdure.execution import durable_execution
from perdure.local import Limits
from perdure.local.durations import optional_seconds, seconds_of, span
from perdure.local.functions import LONGEST_EXECUTION_SECONDS, LONGEST_SECONDS
from perdure.local.machine.budget import Prices
from perdure.local.machine.validation import EXECUTION_NAME, function_parts
from perdure.testing.exceptions import InvalidParameterValueException

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._duration import DurationLike


_LONGEST = {"execution_timeout": LONGEST_EXECUTION_SECONDS, "invocation_timeout": LONGEST_SECONDS}


async def _nothing(_event: Any, _context: Any) -> None:
    """Do nothing."""


# What has the code of all that the decorator makes.
_DURABLE: Any = durable_execution(lambda _event, _context: None), durable_execution(_nothing)
_PLACES = {"region": "one of AWS's, such as 'us-west-2'", "account_id": "twelve digits, as text"}
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "start_time": (lambda given: isinstance(given, datetime), "a datetime with a time zone"),
    "limits": (lambda given: isinstance(given, Limits), "Limits of perdure.local, such as Limits.off()"),
    "prices": (lambda given: isinstance(given, Prices), "Prices of perdure.testing"),
    "max_invocation_page_bytes": (lambda given: isinstance(given, int), "a number of bytes"),
    "store": (lambda given: hasattr(given, "next_expiry"), "a store of perdure.local, such as SqliteStore(path)"),
    "retention_period_days": (lambda given: isinstance(given, int), "a number of days, 1 to 90"),
    "name": (lambda given: isinstance(given, str), "the name of a callback, or None for those without one"),
}


def checked_id(callback_id: str) -> str:
    """Refuse what is no id before the service looks for it, an empty one as the official package does."""
    if not callback_id:
        raise InvalidParameterValueException("the id of the callback is missing; wait_for_callback() gives it")
    if not isinstance(callback_id, str):
        raise TypeError(f"the id of a callback is a text, which wait_for_callback() gives, not {callback_id!r}")
    return callback_id


def checked_function(what: str, function: Callable[..., Any]) -> None:
    """Refuse what cannot be called, and what would give a coroutine that nobody awaits."""
    if not callable(function):
        raise TypeError(f"{what} must be a function, not {function!r}")
    if iscoroutinefunction(function):
        raise TypeError(
            f"{what} is an async function, and nobody would await it: write it with def, or decorate it with "
            "@durable_execution if it is a durable handler"
        )


def checked_name(function_name: str) -> str:
    """Refuse what is no name of a function."""
    if not isinstance(function_name, str):
        raise TypeError(f"a function is known by its name or ARN, not by {function_name!r}")
    return function_name


def checked_execution_name(name: str | None) -> None:
    """Refuse a name that AWS would not take; an execution that is given none draws one."""
    if name is not None and (not isinstance(name, str) or EXECUTION_NAME.fullmatch(name) is None):
        raise InvalidParameterValueException(
            f"{name!r} is no name of an execution: AWS takes letters, digits, - and _, at most 64"
        )


def checked_place(region: str, account_id: str) -> None:
    """Refuse what cannot stand in an ARN, in which functions would not be found."""
    for what, place in (("region", (region, "0" * 12)), ("account_id", ("us-west-2", account_id))):
        arn = f"arn:aws:lambda:{place[0]}:{place[1]}:function:f"
        if function_parts(arn)[0] == arn:
            given = region if what == "region" else account_id
            raise ValueError(f"{what} must be {_PLACES[what]}, not {given!r}")


def checked_options(**options: Any) -> None:
    """Refuse what is of another kind than the option asks for; None is what it is by default."""
    for name, value in options.items():
        fits, words = _KINDS[name]
        if value is not None and not fits(value):
            raise TypeError(f"{name} must be {words}, not {value!r}")


def checked_timeout(what: str, timeout: DurationLike | None) -> float | None:
    """Give a timeout that the service keeps in seconds, None for none.

    Raises:
        TypeError: If it is no length of time.
        ValueError: If the service would not take it.

    """
    seconds, longest = optional_seconds(timeout, what), _LONGEST[what]
    if seconds is not None and not 0 < seconds <= longest:
        raise ValueError(f"{what} must be above 0 seconds, and at most {span(longest)}, not {timeout!r}")
    return seconds


def real_seconds(timeout: DurationLike) -> float:
    """Give the time that a test takes at most in seconds; infinity means as long as it takes."""
    return seconds_of(timeout, "timeout", endless=True)


def is_durable(handler: object) -> bool:
    """Tell whether a function is what ``@durable_execution`` made."""
    return any(getattr(handler, "__code__", None) is made.__code__ for made in _DURABLE)
