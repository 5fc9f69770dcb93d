"""How the values of durable operations become text, and back.

A `SerDes` is what an operation's config takes; three come with perdure. `ExtendedTypeSerDes`, the default, writes plain
JSON where that says it all and otherwise wraps every value in an envelope `{"t": tag, "v": value}`, so that tuples,
bytes, UUIDs, decimals, dates and batch results come back as what they were. `JsonSerDes` is `json.dumps` and
`json.loads`. `PassThroughSerDes` leaves strings alone.

The first two run in Rust. The codec classes of `_type_codecs.py` are their reference: plain, slow, and the last word on
everything unusual, which the fast path hands to `encode_reference` and `decode_reference`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from perdure._core import decode_extended, decode_json, encode_extended, encode_json
from perdure._frozen import Frozen
from perdure._functions import deserialized, drop
from perdure._type_codecs import (
    TYPE_CODEC,
    TYPE_TOKEN,
    VALUE_TOKEN,
    BytesCodec,
    Codec,
    ContainerCodec,
    DateTimeCodec,
    DecimalCodec,
    EncodedValue,
    PrimitiveCodec,
    TypeCodec,
    TypeTag,
    UuidCodec,
    is_batch_result,
    to_json,
    unknown_tag,
)
from perdure.exceptions import DurableExecutionsError, RetryableSerDesError, SerDesError, wire_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from perdure.concurrency.models import BatchResult

T = TypeVar("T")

__all__ = [
    "DEFAULT_JSON_SERDES",
    "EXTENDED_TYPES_SERDES",
    "PASS_THROUGH_SERDES",
    "TYPE_CODEC",
    "TYPE_TOKEN",
    "VALUE_TOKEN",
    "BatchResult",
    "BytesCodec",
    "Codec",
    "ContainerCodec",
    "DateTimeCodec",
    "DecimalCodec",
    "DurableExecutionsError",
    "EncodedValue",
    "ExtendedTypeSerDes",
    "JsonSerDes",
    "PassThroughSerDes",
    "PrimitiveCodec",
    "RetryableSerDesError",
    "SerDes",
    "SerDesContext",
    "SerDesError",
    "TypeCodec",
    "TypeTag",
    "UuidCodec",
    "deserialize",
    "serialize",
]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # every import from here asks for __path__
        raise AttributeError(name)
    from perdure._elsewhere import find  # noqa: PLC0415  only for names that programs import from here

    return find(__name__, name)


class SerDesContext(Frozen):
    """What a `SerDes` may know about the value in its hands.

    Args:
        operation_id: The id of the operation the value belongs to.
        durable_execution_arn: The ARN of the durable execution.

    """

    __slots__ = ("durable_execution_arn", "operation_id")
    __match_args__ = ("operation_id", "durable_execution_arn")

    operation_id: str
    durable_execution_arn: str

    def __init__(self, operation_id: str = "", durable_execution_arn: str = "") -> None:
        object.__setattr__(self, "operation_id", operation_id)
        object.__setattr__(self, "durable_execution_arn", durable_execution_arn)


class SerDes(ABC, Generic[T]):
    """Turns the values of an operation into text and back. Subclass it to encrypt, compress or offload payloads.

    Both methods must be deterministic: what was written before a replay is read after it. An error is permanent and
    fails the operation; raise `RetryableSerDesError` for one that a later invocation may not meet (a store that does
    not answer).

    Example:
        >>> class UpperCase(SerDes[str]):
        ...     def serialize(self, value, serdes_context):
        ...         return value.upper()
        ...
        ...     def deserialize(self, data, serdes_context):
        ...         return data.lower()

    """

    @abstractmethod
    def serialize(self, value: T, serdes_context: SerDesContext) -> str:
        """Write `value` as text.

        Args:
            value: What the operation returned or was given.
            serdes_context: Which operation of which execution it belongs to.

        Returns:
            The payload; None for no payload at all, which reads back as None without asking `deserialize`.

        """

    @abstractmethod
    def deserialize(self, data: str, serdes_context: SerDesContext) -> T:
        """Read back what `serialize` wrote.

        Args:
            data: The payload.
            serdes_context: Which operation of which execution it belongs to.

        """

    @staticmethod
    def is_primitive(obj: Any) -> bool:
        """Whether plain JSON keeps `obj` as it is: None, bool, int, float, str, and lists of only those."""
        if isinstance(obj, list):
            return all(SerDes.is_primitive(item) for item in obj)
        return obj is None or isinstance(obj, (str, int, float))


def encode_reference(value: Any) -> str:
    """Write what `ExtendedTypeSerDes` writes, without the fast path, which hands over what is unusual.

    Raises:
        SerDesError: The value cannot be written, nests too deep or holds itself.
        TypeError: A dict has a key that JSON has no text for; ValueError: an int has too many digits.

    """
    try:
        tree = value if SerDes.is_primitive(value) else to_json(TYPE_CODEC.encode(value))
        return json.dumps(tree, separators=(",", ":"))
    except RecursionError as error:
        raise nesting_error(value) from error


def decode_reference(data: str | bytes | bytearray) -> Any:
    """Read what `ExtendedTypeSerDes` reads, without the fast path, which hands over what is unusual or malformed.

    Raises:
        SerDesError: The text is JSON but not a payload, or nests too deep.
        ValueError: The text is not JSON, or a value not what its tag says; also TypeError and others of the value's
            type.

    """
    try:
        tree = json.loads(data)
        if SerDes.is_primitive(tree):
            return tree
        if not isinstance(tree, dict) or TYPE_TOKEN not in tree or VALUE_TOKEN not in tree:
            raise SerDesError(
                'The payload is neither plain JSON nor an envelope with "t" and "v". Was it written by another serdes?',
            )
        try:
            tag = TypeTag(tree[TYPE_TOKEN])
        except ValueError:
            raise unknown_tag(tree[TYPE_TOKEN]) from None
        return TYPE_CODEC.decode(tag, tree[VALUE_TOKEN])
    except RecursionError as error:
        raise nesting_error() from error


def nesting_error(value: Any = None) -> SerDesError:
    """Make the error for a value that nests too deep or holds itself, or for a text that nests too deep (None)."""
    if value is None:
        return SerDesError("The payload nests too deep to be read: the bound is 512 levels.")
    if _holds_itself(value):
        return SerDesError(
            "The value contains itself (a circular reference), which a payload cannot express: return a copy without "
            "the back reference.",
        )
    return SerDesError(
        "The value nests too deep to be written: the bound is 512 levels. Flatten it, or keep it elsewhere and "
        "return a reference.",
    )


class JsonSerDes(SerDes[T]):
    """What `json.dumps` writes and `json.loads` reads: for payloads that others read, or that others wrote.

    Example:
        >>> JsonSerDes().serialize({"pair": (1, 2)}, SerDesContext())
        '{"pair": [1, 2]}'

    """

    def serialize(self, value: T, _: SerDesContext) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Write JSON.

        Raises:
            TypeError: The value holds what JSON cannot express; ValueError: it holds itself.

        """
        return encode_json(value)

    def deserialize(self, data: str, _: SerDesContext) -> T:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Read JSON.

        Raises:
            json.JSONDecodeError: It is not JSON.

        """
        return cast("T", decode_json(data))


class PassThroughSerDes(SerDes[T]):
    """Leaves values alone, in both directions: for values that are strings already."""

    def serialize(self, value: T, _: SerDesContext) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return `value` itself."""
        return cast("str", value)

    def deserialize(self, data: str, _: SerDesContext) -> T:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return `data` itself."""
        return cast("T", data)


class ExtendedTypeSerDes(SerDes[T]):
    """The default: JSON that keeps tuples, bytes, UUIDs, decimals, datetimes, dates and batch results what they are.

    Subclasses of the types it knows come back as those types. Keys of dicts come back as strings, as in JSON.

    Example:
        >>> ExtendedTypeSerDes().serialize((1, "a"))
        '{"t":"t","v":[{"t":"i","v":1},{"t":"s","v":"a"}]}'
        >>> ExtendedTypeSerDes().serialize([1, "a"])
        '[1,"a"]'

    """

    def serialize(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        value: Any,
        context: SerDesContext | None = None,  # noqa: ARG002 - part of the interface
    ) -> str:
        """Write `value`.

        Args:
            value: What to write.
            context: Not used.

        Raises:
            SerDesError: The value holds what a payload cannot hold, nests deeper than 512 levels or holds itself.
            TypeError: A dict has a key that JSON has no text for; ValueError: an int has too many digits.

        """
        return encode_extended(value)

    def deserialize(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        data: str,
        context: SerDesContext | None = None,  # noqa: ARG002 - part of the interface
    ) -> Any:
        """Read what `serialize` wrote.

        Args:
            data: The payload.
            context: Not used.

        Raises:
            SerDesError: The text is JSON but not a payload, or nests deeper than 512 levels.
            ValueError: The text is not JSON, or a value not what its tag says; also TypeError and others of the value's
                type.

        """
        return decode_extended(data)


class HandlerSerDes(SerDes[T]):
    """A serdes that a handler has for all its operations: it goes before the default, and below types.

    Args:
        serdes: The user's.

    """

    __slots__ = ("_serdes",)

    def __init__(self, serdes: SerDes[T]) -> None:
        self._serdes = serdes

    def serialize(self, value: T, serdes_context: SerDesContext) -> str:
        """Write as the user's does."""
        return self._serdes.serialize(value, serdes_context)

    def deserialize(self, data: str, serdes_context: SerDesContext) -> T:
        """Read as the user's does."""
        return self._serdes.deserialize(data, serdes_context)


DEFAULT_JSON_SERDES: SerDes[Any] = JsonSerDes()
EXTENDED_TYPES_SERDES: SerDes[Any] = ExtendedTypeSerDes()
PASS_THROUGH_SERDES: SerDes[Any] = PassThroughSerDes()


def serialize(
    serdes: SerDes[T] | None, value: T, operation_id: str, durable_execution_arn: str, *, name: str | None = None
) -> str:
    """Write the `value` of an operation.

    Args:
        serdes: Whose text it is; None for the default, `ExtendedTypeSerDes`.
        value: What to write.
        operation_id: The id of the operation.
        durable_execution_arn: The ARN of the durable execution.
        name: What to call the operation in an error; its id by default.

    Returns:
        The payload.

    Raises:
        RetryableSerDesError: As the serdes raised it.
        SerDesError: As the serdes raised it, or in place of any other error, which is its cause; or if what the serdes
            gives is no text.

    """
    try:
        if serdes is None:
            return encode_extended(value)
        text = serdes.serialize(value, SerDesContext(operation_id, durable_execution_arn))
    except (SerDesError, RetryableSerDesError):
        raise
    except Exception as error:
        raise _failure("serialise the value", name or operation_id, error) from error
    if text is not None and not isinstance(text, str):
        drop(text)
        raise SerDesError(
            f"the serdes of operation {name or operation_id} must write text, or None for no payload, "
            f"and serialize() gave {type(text).__name__}"
        )
    if text is not None and not text.isascii():
        _refuse_lone_surrogates(text, name or operation_id)
    return text


def deserialize(
    serdes: SerDes[T] | None, data: str, operation_id: str, durable_execution_arn: str, *, name: str | None = None
) -> T:
    """Read the value of an operation.

    Args:
        serdes: Whose text it is; None for the default, `ExtendedTypeSerDes`.
        data: The payload.
        operation_id: The id of the operation.
        durable_execution_arn: The ARN of the durable execution.
        name: What to call the operation in an error; its id by default.

    Returns:
        The value.

    Raises:
        RetryableSerDesError: As the serdes raised it.
        SerDesError: As the serdes raised it, or in place of any other error, which is its cause.

    """
    try:
        if serdes is None or type(serdes) is ExtendedTypeSerDes:
            return cast("T", decode_extended(data))
    except Exception as error:
        raise undecodable(name or operation_id, error) from error
    try:
        return cast("T", deserialized(serdes, data, SerDesContext(operation_id, durable_execution_arn)))
    except (SerDesError, RetryableSerDesError):
        raise
    except Exception as error:
        raise undecodable(name or operation_id, error) from error


def undecodable(operation: str, error: Exception) -> SerDesError:
    """Make the error for a recorded value that cannot be read, of an operation by this name or id."""
    made = _failure("deserialise the payload", operation, error)
    made.__cause__ = error
    return made


def _refuse_lone_surrogates(payload: str, operation: str) -> None:
    try:
        payload.encode()
    except UnicodeEncodeError as error:
        raise SerDesError(
            f"the serdes of operation {operation} gave text with a lone surrogate, {payload[error.start]!r} at "
            f"position {error.start}: no UTF-8 has it, so the service cannot keep it. Escape it, as json.dumps does"
        ) from error


def _failure(what: str, operation: str, error: Exception) -> SerDesError:
    from perdure._log import Log  # noqa: PLC0415 - only on failure

    Log(__name__).error("Could not %s of operation %s.", what, operation, exc_info=error)
    kind = "" if isinstance(error, SerDesError) else f"{type(error).__name__}: "
    return SerDesError(f"Could not {what} of operation {operation}: {kind}{wire_text(error)}")


def _holds_itself(value: Any) -> bool:
    """Whether following containers from `value` leads back to one on the way. Without recursion: it may nest deep."""
    path: list[tuple[int, Iterator[Any]]] = [(id(value), _held_by(value))]
    on_path = {id(value)}
    done: set[int] = set()
    while path:
        identity, rest = path[-1]
        for item in rest:
            if id(item) in on_path:
                return True
            if isinstance(item, (list, tuple, dict)) and id(item) not in done:
                path.append((id(item), _held_by(item)))
                on_path.add(id(item))
                break
        else:
            path.pop()
            on_path.discard(identity)
            done.add(identity)
    return False


def _held_by(container: Any) -> Iterator[Any]:
    held: Iterable[Any] = ()
    if isinstance(container, dict):
        held = dict.values(container)
    elif isinstance(container, (list, tuple)):
        held = container
    elif is_batch_result(container):
        held = [item.result for item in container.all]
    return iter(held)
