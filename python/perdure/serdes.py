"""How the values of durable operations become text, and back.

A `SerDes` is what an operation's config takes; three come with perdure. `ExtendedTypeSerDes`, the default, writes plain
JSON where that says it all and otherwise wraps every value in an envelope `{"t": tag, "v": value}`, so that tuples,
bytes, UUIDs, decimals, dates and batch results come back as what they were. `JsonSerDes` is `json.dumps` and
`json.loads`. `PassThroughSerDes` leaves strings alone.

The first two run in Rust. The codec classes below are their reference: plain, slow, and the last word on everything
unusual, which the fast path hands to `encode_reference` and `decode_reference`.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from perdure._core import decode_extended, decode_json, encode_extended, encode_json
from perdure._frozen import Frozen
from perdure.exceptions import DurableExecutionsError, RetryableSerDesError, SerDesError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

TYPE_TOKEN = "t"  # noqa: S105 - a key of the envelope, no secret
VALUE_TOKEN = "v"  # noqa: S105 - the same


class TypeTag(StrEnum):
    """The tags of the envelope: what kind of value it holds."""

    NONE = "n"
    STR = "s"
    INT = "i"
    FLOAT = "f"
    BOOL = "b"
    BYTES = "B"
    UUID = "u"
    DECIMAL = "d"
    DATETIME = "dt"
    DATE = "D"
    TUPLE = "t"
    LIST = "l"
    DICT = "m"
    BATCH_RESULT = "br"


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


class EncodedValue(Frozen):
    """A value of the envelope before it is text: its tag, and what stands under `v`."""

    __slots__ = ("tag", "value")
    __match_args__ = ("tag", "value")

    tag: TypeTag
    value: Any

    def __init__(self, tag: TypeTag, value: Any) -> None:
        object.__setattr__(self, "tag", tag)
        object.__setattr__(self, "value", value)


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


class Codec(Protocol):
    """Encodes and decodes values of some types, one level of the envelope at a time."""

    def encode(self, obj: Any) -> EncodedValue:
        """Give `obj` its tag and its value for the envelope."""
        ...

    def decode(self, tag: TypeTag, value: Any) -> Any:
        """Rebuild the object from a tag and the value that stood under `v`."""
        ...


class PrimitiveCodec:
    """None, str, bool, int and float, each as JSON has them."""

    def encode(self, obj: Any) -> EncodedValue:
        """Give `obj` the tag of the primitive type it is, or derives from.

        Raises:
            SerDesError: It is none of them.

        """
        if obj is None:
            return EncodedValue(TypeTag.NONE, None)
        # bool before int, which it derives from.
        for kind, tag in (
            (str, TypeTag.STR),
            (bool, TypeTag.BOOL),
            (int, TypeTag.INT),
            (float, TypeTag.FLOAT),
        ):
            if isinstance(obj, kind):
                return EncodedValue(tag, obj)
        raise SerDesError(f"{type(obj)} is not a primitive: None, str, bool, int and float are.")

    def decode(self, tag: TypeTag, value: Any) -> Any:
        """Rebuild the primitive, converting the value where JSON brought another type.

        Raises:
            SerDesError: The tag is not that of a primitive.
            TypeError: The value cannot be converted; also ValueError and OverflowError.

        """
        match tag:
            case TypeTag.NONE:
                return None
            case TypeTag.STR:
                return str(value)
            case TypeTag.BOOL:
                return bool(value)
            case TypeTag.INT:
                return int(value)
            case TypeTag.FLOAT:
                return float(value)
            case _:
                raise SerDesError(f'The tag "{tag}" is not that of a primitive.')


class BytesCodec:
    """Bytes, bytearray and memoryview as base64; all come back as bytes."""

    def encode(self, obj: Any) -> EncodedValue:
        """Write the bytes of `obj` as base64."""
        from base64 import b64encode  # noqa: PLC0415 - rare, and not free to import

        return EncodedValue(TypeTag.BYTES, b64encode(bytes(obj)).decode("ascii"))

    def decode(self, tag: TypeTag, value: Any) -> bytes:
        """Read base64.

        Raises:
            SerDesError: The tag is another.
            ValueError: The text is not base64.

        """
        _expect_tag(TypeTag.BYTES, tag)
        from base64 import b64decode  # noqa: PLC0415 - the same

        return b64decode(value.encode("utf-8"))


class UuidCodec:
    """UUIDs as their canonical text."""

    def encode(self, obj: Any) -> EncodedValue:
        """Write a UUID."""
        return EncodedValue(TypeTag.UUID, str(obj))

    def decode(self, tag: TypeTag, value: Any) -> Any:
        """Read a UUID.

        Raises:
            SerDesError: The tag is another.
            ValueError: The text is no UUID.

        """
        _expect_tag(TypeTag.UUID, tag)
        from uuid import UUID  # noqa: PLC0415 - rare, and slow to import

        return UUID(value)


class DecimalCodec:
    """Decimals as text, which keeps their precision and their trailing zeros."""

    def encode(self, obj: Any) -> EncodedValue:
        """Write a Decimal, NaN and infinities included."""
        return EncodedValue(TypeTag.DECIMAL, str(obj))

    def decode(self, tag: TypeTag, value: Any) -> Any:
        """Read a Decimal.

        Raises:
            SerDesError: The tag is another.
            decimal.InvalidOperation: The text is no number.

        """
        _expect_tag(TypeTag.DECIMAL, tag)
        from decimal import Decimal  # noqa: PLC0415 - rare, and slow to import

        return Decimal(value)


class DateTimeCodec:
    """Datetimes and dates in ISO 8601. An aware datetime keeps its offset from UTC, not the name of its zone."""

    def encode(self, obj: Any) -> EncodedValue:
        """Write a datetime or a date.

        Raises:
            SerDesError: It is neither.

        """
        # datetime before date, which it derives from.
        if _is_instance(obj, "datetime", "datetime"):
            return EncodedValue(TypeTag.DATETIME, obj.isoformat())
        if _is_instance(obj, "datetime", "date"):
            return EncodedValue(TypeTag.DATE, obj.isoformat())
        raise SerDesError(f"{type(obj)} is neither a datetime nor a date.")

    def decode(self, tag: TypeTag, value: Any) -> Any:
        """Read a datetime or a date.

        Raises:
            SerDesError: The tag is neither that of a datetime nor that of a date.
            ValueError: The text is not in the format; TypeError: it is no text.

        """
        from datetime import date, datetime  # noqa: PLC0415 - rare

        match tag:
            case TypeTag.DATETIME:
                return datetime.fromisoformat(value)
            case TypeTag.DATE:
                return date.fromisoformat(value)
            case _:
                raise SerDesError(f'The tag "{tag}" is neither that of a datetime nor that of a date.')


class ContainerCodec(Codec):
    """Lists, tuples, dicts and batch results. What they hold goes through a dispatcher."""

    def __init__(self) -> None:
        self._dispatcher: Codec | None = None

    def set_dispatcher(self, dispatcher: Codec) -> None:
        """Set the codec that encodes and decodes what the containers hold."""
        self._dispatcher = dispatcher

    @property
    def dispatcher(self) -> Codec:
        """The codec for what the containers hold.

        Raises:
            DurableExecutionsError: None has been set.

        """
        if self._dispatcher is None:
            raise DurableExecutionsError("The ContainerCodec has no dispatcher: give it one with set_dispatcher().")
        return self._dispatcher

    def encode(self, obj: Any) -> EncodedValue:
        """Give a container its tag, and all it holds theirs.

        Raises:
            SerDesError: It is no container, or a dict with a tuple for a key.

        """
        # Loops rather than comprehensions: those take a frame each, and depth is bounded by frames.
        if _is_batch_result(obj):
            return EncodedValue(TypeTag.BATCH_RESULT, self.dispatcher.encode(obj.to_dict()).value)
        if isinstance(obj, (list, tuple)):
            items = []
            for item in obj:
                items.append(self.dispatcher.encode(item))  # noqa: PERF401 - see above
            return EncodedValue(TypeTag.LIST if isinstance(obj, list) else TypeTag.TUPLE, items)
        if isinstance(obj, dict):
            entries = {}
            for key, item in obj.items():
                if isinstance(key, tuple):
                    raise SerDesError(
                        f"The key {key!r} of a dict is a tuple, which a payload cannot hold: join it into a string.",
                    )
                entries[key] = self.dispatcher.encode(item)
            return EncodedValue(TypeTag.DICT, entries)
        raise SerDesError(f"{type(obj)} is not a container: list, tuple, dict and BatchResult are.")

    def decode(self, tag: TypeTag, value: Any) -> Any:
        """Rebuild a container. What it holds without an envelope stays as it is.

        Raises:
            SerDesError: The tag is not that of a container, or the value is not what the tag says.
            ValueError: An envelope in it has an unknown tag; also whatever else decoding what it holds raises.

        """
        match tag:
            case TypeTag.LIST | TypeTag.TUPLE:
                if not isinstance(value, list):
                    raise SerDesError(f"A list or tuple must stand in the payload as a list, not as {type(value)}.")
                items = []
                for item in value:
                    inner_tag, inner = self._open(item)
                    items.append(inner if inner_tag is None else self.dispatcher.decode(inner_tag, inner))
                return items if tag == TypeTag.LIST else tuple(items)
            case TypeTag.DICT | TypeTag.BATCH_RESULT:
                if not isinstance(value, dict):
                    raise SerDesError(
                        f"A dict or batch result must stand in the payload as a dict, not as {type(value)}.",
                    )
                entries = {}
                for key, item in value.items():
                    inner_tag, inner = self._open(item)
                    entries[key] = inner if inner_tag is None else self.dispatcher.decode(inner_tag, inner)
                return entries if tag == TypeTag.DICT else _batch_result(entries)
            case _:
                raise SerDesError(f'The tag "{tag}" is not that of a container.')

    def _open(self, item: Any) -> tuple[TypeTag | None, Any]:
        """Tell the tag and the value of an envelope, or no tag and `item` itself."""
        _ = self.dispatcher  # as the official SDK, needed for any item at all
        if isinstance(item, EncodedValue):
            return item.tag, item.value
        if isinstance(item, dict) and TYPE_TOKEN in item and VALUE_TOKEN in item:
            return TypeTag(item[TYPE_TOKEN]), item[VALUE_TOKEN]
        return None, item


class TypeCodec(Codec):
    """The codec for everything an envelope can hold: it asks the codec of the value's type."""

    def __init__(self) -> None:
        self.primitive_codec = PrimitiveCodec()
        self.bytes_codec = BytesCodec()
        self.uuid_codec = UuidCodec()
        self.decimal_codec = DecimalCodec()
        self.datetime_codec = DateTimeCodec()
        self.container_codec = ContainerCodec()
        self.container_codec.set_dispatcher(self)

    def encode(self, obj: Any) -> EncodedValue:
        """Give `obj` its tag and value, and all it holds theirs.

        Raises:
            SerDesError: It is, or holds, what an envelope cannot hold.

        """
        codec: Codec
        if obj is None or isinstance(obj, (str, int, float)):
            codec = self.primitive_codec
        elif isinstance(obj, (list, tuple, dict)) or _is_batch_result(obj):
            codec = self.container_codec
        elif isinstance(obj, (bytes, bytearray, memoryview)):
            codec = self.bytes_codec
        elif _is_instance(obj, "datetime", "date"):
            codec = self.datetime_codec
        elif _is_instance(obj, "decimal", "Decimal"):
            codec = self.decimal_codec
        elif _is_instance(obj, "uuid", "UUID"):
            codec = self.uuid_codec
        else:
            raise SerDesError(
                f"{type(obj)} cannot be serialised. A payload holds None, str, bool, int, float, bytes, UUID, Decimal, "
                "datetime, date, list, tuple, dict and BatchResult: convert the value, or configure a serdes.",
            )
        return codec.encode(obj)

    def decode(self, tag: TypeTag, value: Any) -> Any:
        """Rebuild the object from a tag and the value that stood under `v`.

        Raises:
            SerDesError: The tag is unknown; also whatever the codec of the type raises.

        """
        codec: Codec
        match tag:
            case TypeTag.NONE | TypeTag.STR | TypeTag.BOOL | TypeTag.INT | TypeTag.FLOAT:
                codec = self.primitive_codec
            case TypeTag.LIST | TypeTag.TUPLE | TypeTag.DICT | TypeTag.BATCH_RESULT:
                codec = self.container_codec
            case TypeTag.BYTES:
                codec = self.bytes_codec
            case TypeTag.DATETIME | TypeTag.DATE:
                codec = self.datetime_codec
            case TypeTag.DECIMAL:
                codec = self.decimal_codec
            case TypeTag.UUID:
                codec = self.uuid_codec
            case _:
                raise _unknown_tag(tag)
        return codec.decode(tag, value)


TYPE_CODEC = TypeCodec()


def encode_reference(value: Any) -> str:
    """Write what `ExtendedTypeSerDes` writes, without the fast path, which hands over what is unusual.

    Raises:
        SerDesError: The value cannot be written, nests too deep or holds itself.
        TypeError: A dict has a key that JSON has no text for; ValueError: an int has too many digits.

    """
    try:
        tree = value if SerDes.is_primitive(value) else _to_json(TYPE_CODEC.encode(value))
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
            raise _unknown_tag(tree[TYPE_TOKEN]) from None
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


DEFAULT_JSON_SERDES: SerDes[Any] = JsonSerDes()
EXTENDED_TYPES_SERDES: SerDes[Any] = ExtendedTypeSerDes()
PASS_THROUGH_SERDES: SerDes[Any] = PassThroughSerDes()


def serialize(serdes: SerDes[T] | None, value: T, operation_id: str, durable_execution_arn: str) -> str:
    """Write the `value` of an operation.

    Args:
        serdes: Whose text it is; None for the default, `ExtendedTypeSerDes`.
        value: What to write.
        operation_id: The id of the operation.
        durable_execution_arn: The ARN of the durable execution.

    Returns:
        The payload.

    Raises:
        RetryableSerDesError: As the serdes raised it.
        SerDesError: As the serdes raised it, or in place of any other error, which is its cause.

    """
    try:
        if serdes is None:
            return encode_extended(value)
        return serdes.serialize(value, SerDesContext(operation_id, durable_execution_arn))
    except (SerDesError, RetryableSerDesError):
        raise
    except Exception as error:
        raise _failure("serialise the value", operation_id, error) from error


def deserialize(serdes: SerDes[T] | None, data: str, operation_id: str, durable_execution_arn: str) -> T:
    """Read the value of an operation.

    Args:
        serdes: Whose text it is; None for the default, `ExtendedTypeSerDes`.
        data: The payload.
        operation_id: The id of the operation.
        durable_execution_arn: The ARN of the durable execution.

    Returns:
        The value.

    Raises:
        RetryableSerDesError: As the serdes raised it.
        SerDesError: As the serdes raised it, or in place of any other error, which is its cause.

    """
    try:
        if serdes is None:
            return cast("T", decode_extended(data))
        return serdes.deserialize(data, SerDesContext(operation_id, durable_execution_arn))
    except (SerDesError, RetryableSerDesError):
        raise
    except Exception as error:
        raise _failure("deserialise the payload", operation_id, error) from error


def _failure(what: str, operation_id: str, error: Exception) -> SerDesError:
    import logging  # noqa: PLC0415 - only on failure

    logging.getLogger(__name__).error("Could not %s of operation %s.", what, operation_id, exc_info=error)
    return SerDesError(f"Could not {what} of operation {operation_id}: {type(error).__name__}: {error}")


def _to_json(encoded: EncodedValue) -> dict[str, Any]:
    value = encoded.value
    if isinstance(value, dict):
        entries = {}
        for key, item in value.items():
            entries[key] = _to_json(item)
        value = entries
    elif isinstance(value, list):
        items = []
        for item in value:
            items.append(_to_json(item))  # noqa: PERF401 - a comprehension takes a frame, and depth is bounded by frames
        value = items
    return {TYPE_TOKEN: encoded.tag, VALUE_TOKEN: value}


def _expect_tag(expected: TypeTag, tag: TypeTag) -> None:
    if tag != expected:
        raise SerDesError(f'Here the tag must be "{expected}", not "{tag}".')


def _unknown_tag(tag: Any) -> SerDesError:
    return SerDesError(f'The payload has an unknown type tag: "{tag}". Was it written by a newer version?')


def _is_instance(obj: Any, module: str, name: str) -> bool:
    """Whether `obj` is an instance of a class whose module need not be loaded: then nothing is, and it stays so."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(obj, getattr(loaded, name))


def _is_batch_result(obj: Any) -> bool:
    return _is_instance(obj, "perdure.concurrency.models", "BatchResult")


def _batch_result(entries: dict[str, Any]) -> Any:
    from perdure.concurrency.models import BatchResult  # noqa: PLC0415 - rare, and would be circular

    return BatchResult.from_dict(entries)


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
    elif _is_batch_result(container):
        held = [item.result for item in container.all]
    return iter(held)
