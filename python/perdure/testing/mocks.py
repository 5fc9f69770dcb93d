"""Stand-ins for what is outside of the function under test: functions it invokes, and whoever answers its callbacks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias, TypeGuard

from perdure.lambda_service import ErrorObject
from perdure.local.event_forms import error_object
from perdure.local.machine.errors import Fault, RemoteError
from perdure.local.machine.validation import check_error_object

UNSET: Any = object()

ErrorLike: TypeAlias = ErrorObject | BaseException | type[BaseException] | Mapping[str, Any] | str
"""What is taken as an error: an error object, an exception or its class, a dict of the API's members, a message."""


@dataclass
class MockedFunction:
    """A function that a test put in the place of one that is invoked.

    Args:
        name: What it is invoked by.
        returns: What it returns; a callable is called with the payload and gives it. An exception is raised.
        raises: What it raises instead.
        calls: The payloads it was called with, in order.

    Raises:
        TypeError: If what it returns is not JSON, or what it raises is no error.

    """

    name: str
    returns: Any = None
    raises: ErrorLike | None = None
    calls: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.raises is not None:
            _raisable(self.raises, f"raises= of the mock of {self.name!r}")
        elif not callable(self.returns) and not isinstance(self.returns, BaseException | ErrorObject):
            _as_json(self.returns, f"what the mock of {self.name!r} returns")

    @property
    def called(self) -> bool:
        """Whether it was called at all."""
        return bool(self.calls)

    def __call__(self, payload: Any, _context: Any = None) -> Any:
        """Take a call, as Lambda makes it."""
        self.calls.append(payload)
        if self.raises is not None:
            raise _raisable(self.raises, "raises=")
        outcome = self.returns
        if callable(outcome):  # a class of exceptions is, too, and is to be raised as it is
            outcome = outcome() if _is_exception_class(outcome) else outcome(payload)
        if isinstance(outcome, BaseException | ErrorObject):
            raise _raisable(outcome, "what it returns")
        return outcome


@dataclass(frozen=True)
class Reply:
    """What is sent to a callback; a result that is an error is sent as one."""

    result: Any = None
    error: ErrorLike | None = None

    def checked(self) -> Self:
        """Give the reply, if it can be sent.

        Raises:
            TypeError: If it cannot.

        """
        if self.error is not None:
            encode_error(self.error)
        elif not isinstance(self.result, BaseException | ErrorObject) and not _is_exception_class(self.result):
            encode_result(self.result)
        return self

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
    if callable(result):
        raise TypeError(f"an answer is given by a function as reply= of answer_callback(), not as {result!r}")
    if isinstance(result, BaseException | ErrorObject):
        raise TypeError(f"{result!r} is an error: answer with send_callback_failure()")
    if result is None or isinstance(result, bytes):
        return result
    return (result if isinstance(result, str) else _as_json(result, "the result of a callback")).encode()


def encode_error(error: ErrorLike | None, what: str = "error") -> dict[str, Any]:
    """Give the API's form of an error.

    Args:
        error: The error; a text is its message, and None one that says nothing.
        what: How to call it in an error.

    Raises:
        TypeError: If it is none.

    """
    if error is None:
        return {}
    given: Any = error() if _is_exception_class(error) else error
    if isinstance(given, str):
        return {"ErrorMessage": given}
    if isinstance(given, BaseException):
        return error_object(given)
    if not isinstance(given, Mapping) and not hasattr(given, "to_dict"):  # which the official package's class has, too
        raise TypeError(
            f"{what} must be an ErrorObject, an exception, a text or a dict of ErrorMessage, ErrorType, ErrorData and "
            f"StackTrace, not {error!r}"
        )
    members = given if isinstance(given, Mapping) else given.to_dict()
    told = {member: value for member, value in members.items() if value is not None}
    try:
        check_error_object(told, f"{what} is {error!r}")
    except Fault as fault:
        raise TypeError(fault.message) from None
    return told


def _is_exception_class(thing: Any) -> TypeGuard[type[BaseException]]:
    return isinstance(thing, type) and issubclass(thing, BaseException)


def _raisable(error: ErrorLike, what: str) -> BaseException | type[BaseException]:
    """Give what can be raised of an error."""
    if isinstance(error, BaseException) or _is_exception_class(error):
        return error
    raisable = RemoteError("", "")
    raisable.error_object = encode_error(error, what)
    return raisable


def payload_of(given: Any, event: Any = UNSET) -> str:
    """Give an event as JSON, or an input: JSON as it is, other text as a string, nothing as null, objects as JSON."""
    if event is not UNSET:
        if given is not None:
            raise TypeError("give an input, as JSON, or an event, as an object, not both")
        return _as_json(event, "the event")
    text = given.decode() if isinstance(given, bytes | bytearray) else given
    if not isinstance(text, str):
        return _as_json(text, "the input")
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(text)
    return text


def _as_json(value: Any, what: str) -> str:
    """Write a value as JSON, which is all that goes in and out of a function."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as problem:
        raise TypeError(f"{what} cannot be written as JSON: {problem}. It is {value!r}") from None
