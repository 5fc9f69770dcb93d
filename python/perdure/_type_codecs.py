"""The codecs of the envelope: one a kind of value. Users import them from `perdure.serdes`, which explains them."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Any, Protocol

from perdure._frozen import Frozen
from perdure.exceptions import DurableExecutionsError, SerDesError

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


class EncodedValue(Frozen):
    """A value of the envelope before it is text: its tag, and what stands under `v`."""

    __slots__ = ("tag", "value")
    __match_args__ = ("tag", "value")

    tag: TypeTag
    value: Any

    def __init__(self, tag: TypeTag, value: Any) -> None:
        object.__setattr__(self, "tag", tag)
        object.__setattr__(self, "value", value)


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
        if is_batch_result(obj):
            return EncodedValue(TypeTag.BATCH_RESULT, self.dispatcher.encode(obj.to_dict()).value)
        if isinstance(obj, (list, tuple)):
            items = []
            for item in obj:
                items.append(self.dispatcher.encode(item))  # noqa: PERF401 - see above
            return EncodedValue(TypeTag.LIST if isinstance(obj, list) else TypeTag.TUPLE, items)
        if isinstance(obj, dict):
            entries = {}
            odd = False
            for key, item in obj.items():
                odd = odd or not isinstance(key, str)
                if isinstance(key, tuple):
                    raise SerDesError(
                        f"The key {key!r} of a dict is a tuple, which a payload cannot hold: join it into a string.",
                    )
                entries[key] = self.dispatcher.encode(item)
            if odd:
                _note_odd_keys(entries)
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


def _note_odd_keys(entries: dict[Any, Any]) -> None:
    """Say once that keys which are no text come back as text."""
    from perdure import _odd_keys  # noqa: PLC0415 - only for those who have such keys

    _odd_keys.note(entries)


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
        elif isinstance(obj, (list, tuple, dict)) or is_batch_result(obj):
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
            if hasattr(type(obj), "__await__"):
                raise SerDesError(
                    "an operation or coroutine cannot be serialised that was not awaited: `await` it first"
                )
            raise SerDesError(
                f"Unsupported type: {type(obj)}. A payload holds None, str, bool, int, float, bytes, UUID, Decimal, "
                "datetime, date, list, tuple, dict and BatchResult. For a dataclass, an enum, a set or a model, "
                "annotate the function that returns it, or give returns=; or convert the value, or configure a serdes.",
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
                raise unknown_tag(tag)
        return codec.decode(tag, value)


TYPE_CODEC = TypeCodec()


def to_json(encoded: EncodedValue) -> dict[str, Any]:
    value = encoded.value
    if isinstance(value, dict):
        entries = {}
        for key, item in value.items():
            entries[key] = to_json(item)
        value = entries
    elif isinstance(value, list):
        items = []
        for item in value:
            items.append(to_json(item))  # noqa: PERF401 - a comprehension takes a frame, and depth is bounded by frames
        value = items
    return {TYPE_TOKEN: encoded.tag, VALUE_TOKEN: value}


def _expect_tag(expected: TypeTag, tag: TypeTag) -> None:
    if tag != expected:
        raise SerDesError(f'Here the tag must be "{expected}", not "{tag}".')


def unknown_tag(tag: Any) -> SerDesError:
    return SerDesError(f'The payload has an unknown type tag: "{tag}". Was it written by a newer version?')


def _is_instance(obj: Any, module: str, name: str) -> bool:
    """Whether `obj` is an instance of a class whose module need not be loaded: then nothing is, and it stays so."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(obj, getattr(loaded, name))


def is_batch_result(obj: Any) -> bool:
    return _is_instance(obj, "perdure.concurrency.models", "BatchResult")


def _batch_result(entries: dict[str, Any]) -> Any:
    from perdure.concurrency.models import BatchResult  # noqa: PLC0415 - rare, and would be circular

    return BatchResult.from_dict(entries)


for _class in (
    TypeTag,
    EncodedValue,
    Codec,
    PrimitiveCodec,
    BytesCodec,
    UuidCodec,
    DecimalCodec,
    DateTimeCodec,
    ContainerCodec,
    TypeCodec,
):
    _class.__module__ = "perdure.serdes"  # where users import them from
del _class
