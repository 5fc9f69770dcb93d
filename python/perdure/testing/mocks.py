"""Stand-ins for what is outside of the function under test: functions it invokes, and whoever answers its callbacks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perdure.local.events import error_object

if TYPE_CHECKING:
    from perdure.lambda_service import ErrorObject

UNSET: Any = object()


@dataclass
class MockedFunction:
    """A function that a test put in the place of one that is invoked.

    Args:
        name: What it is invoked by.
        returns: What it returns; a callable is called with the payload and gives it.
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
        return self.returns(payload) if callable(self.returns) else self.returns


@dataclass(frozen=True)
class Reply:
    """What is sent to a callback."""

    result: Any = None
    error: ErrorObject | BaseException | None = None

    def send(self, client: Any, callback_id: str) -> None:
        """Send it over a client."""
        if self.error is None:
            client.send_durable_execution_callback_success(CallbackId=callback_id, Result=encode_result(self.result))
        else:
            client.send_durable_execution_callback_failure(CallbackId=callback_id, Error=encode_error(self.error))


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


def payload_of(text: str | None) -> str:
    """Give an event as JSON: JSON as it is, other text as a string, nothing as null."""
    if text is None:
        return "null"
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(text)
    return text
