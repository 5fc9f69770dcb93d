"""Stand-ins for what is outside of the function under test: functions it invokes, and whoever answers its callbacks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from perdure.lambda_service import ErrorObject
from perdure.local.events import error_object
from perdure.testing.exceptions import InvalidParameterValueException

if TYPE_CHECKING:
    from collections.abc import Callable

UNSET: Any = object()


@dataclass
class MockedFunction:
    """A function that a test put in the place of one that is invoked.

    Args:
        name: What it is invoked by.
        returns: What it returns; a callable is called with the payload and gives it. An exception is raised.
        raises: What it raises instead.
        calls: The payloads it was called with, in order.

    """

    name: str
    returns: Any = None
    raises: BaseException | type[BaseException] | None = None
    calls: list[Any] = field(default_factory=list)

    @property
    def called(self) -> bool:
        """Whether it was called at all."""
        return bool(self.calls)

    def __call__(self, payload: Any, _context: Any = None) -> Any:
        """Take a call, as Lambda makes it."""
        self.calls.append(payload)
        if self.raises is not None:
            raise self.raises
        outcome = self.returns
        if callable(outcome):  # a class of exceptions is, too, and is to be raised as it is
            outcome = outcome() if _is_exception_class(outcome) else outcome(payload)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@dataclass(frozen=True)
class Reply:
    """What is sent to a callback; a result that is an error is sent as one."""

    result: Any = None
    error: ErrorObject | BaseException | None = None

    def send(self, client: Any, callback_id: str) -> None:
        """Send it over a client."""
        error = self.error
        if error is None and isinstance(self.result, BaseException | ErrorObject):
            error = self.result
        elif error is None and _is_exception_class(self.result):
            error = self.result()
        if error is None:
            client.send_durable_execution_callback_success(CallbackId=callback_id, Result=encode_result(self.result))
        else:
            client.send_durable_execution_callback_failure(CallbackId=callback_id, Error=encode_error(error))


def encode_result(result: Any) -> bytes | None:
    """Give the bytes of a callback's result: bytes and text as they are, anything else as JSON."""
    if result is None or isinstance(result, bytes):
        return result
    return (result if isinstance(result, str) else json.dumps(result)).encode()


def encode_error(error: ErrorObject | BaseException | None) -> dict[str, Any]:
    """Give the API's form of an error."""
    if error is None:
        return {}
    return error_object(error) if isinstance(error, BaseException) else dict(error.to_dict())


def checked_id(callback_id: str) -> str:
    """Refuse an empty id before the service looks for it, as the official package does."""
    if not callback_id:
        raise InvalidParameterValueException("the id of the callback is missing; wait_for_callback() gives it")
    return callback_id


def checked_function(what: str, function: Callable[..., Any]) -> None:
    """Refuse what would give a coroutine that nobody awaits."""
    if iscoroutinefunction(function):
        raise TypeError(f"{what} is an async function, and nobody would await it: write it with def")


def _is_exception_class(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseException)


def payload_of(given: Any) -> str:
    """Give an event as JSON: JSON as it is, other text as a string, nothing as null, objects as they are in JSON."""
    text = given.decode() if isinstance(given, bytes | bytearray) else given
    if not isinstance(text, str):
        return json.dumps(text)
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(text)
    return text
