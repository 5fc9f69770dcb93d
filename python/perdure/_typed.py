"""Values of types that plain data does not keep: how they are written, and become again what they were.

What is recorded is plain data by the default serdes: of a dataclass a dict, of an enum's member its value, of a set a
list. So any program reads it, and whoever knows the type has the value back. msgspec converts, or pydantic its own.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_args, get_origin
from uuid import UUID

from perdure._core import decode_extended, decode_json, encode_extended
from perdure._functions import deserialized
from perdure._kinds import KEPT, LOOSE, Kinds, has_default, is_batch, kinds_of, name_of, without_none
from perdure.exceptions import SerDesError, ValidationError
from perdure.serdes import SerDes

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.serdes import SerDesContext

NATIVE = (bytes, bytearray, memoryview, datetime, date, Decimal, UUID)
"""Types that the default serdes keeps, besides those of JSON and tuples."""

_LEAVES = frozenset({type(None), bool, int, float, str, bytes, datetime, date, Decimal, UUID})

_SHOWN = 200


class MisfitError(ValueError):
    """Data that is not of a type."""


class Typed(SerDes[Any]):
    """Writes values of a type as plain data, and reads that as the type.

    Args:
        of: The type.

    """

    __slots__ = ("of",)

    def __init__(self, of: Any) -> None:
        self.of = of

    def read(self, value: Any) -> Any:
        """Give what plain data stands for; None for None, whatever the type.

        Raises:
            MisfitError: If it is not of the type.

        """
        return None if value is None else self.convert(value)

    def convert(self, value: Any) -> Any:
        """Give plain data as the type, whatever it is."""
        raise NotImplementedError

    def plain(self, value: Any) -> Any:
        """Give a value as plain data."""
        raise NotImplementedError

    def sent(self, value: Any) -> Any:
        """Give a value as what JSON can hold."""
        return self.plain(value)

    def kept(self, value: Any) -> Any:
        """Give a value as plain data of which reading loses nothing.

        Raises:
            SerDesError: If a part of it would be lost.

        """
        plain = self.plain(value)
        self.refuse_loss(value, plain, self.plain(self.read(plain)))
        return plain

    def refuse_loss(self, value: Any, plain: Any, again: Any) -> None:
        """Refuse a value of whose plain data a part is not there any more."""
        lost = _lost(plain, again, "$")
        if lost is not None:
            raise SerDesError(
                f"{lost} would be lost: the {type(value).__name__} is read back as {name_of(self.of)}, which has no "
                f"such field there. Annotate the function with the type of what it returns, or give returns="
            )

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:  # noqa: ARG002  part of the interface
        """Write a value."""
        return encode_extended(self.kept(value))

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:  # noqa: ARG002  part of the interface
        """Read a value."""
        return self.read(decode_extended(data))


class Converted(Typed):
    """By msgspec.

    Args:
        of: The type.
        keys: Whether it holds dicts whose keys are not texts: looking for them takes time.
        defaults: Whether it holds dataclasses with defaults as their attributes: msgspec leaves them there where none
            is recorded, and writes none of these.

    """

    __slots__ = ("_convert", "_defaults", "_dump", "_keys")

    def __init__(self, of: Any, *, keys: bool = True, defaults: bool = True) -> None:
        msgspec: Any = import_module("msgspec")
        super().__init__(of)
        msgspec.json.Decoder(of, dec_hook=_read_other)  # a type that it cannot convert is refused here
        self._convert = msgspec.convert
        self._dump = msgspec.to_builtins
        self._keys = keys
        self._defaults = defaults

    def read(self, value: Any) -> Any:
        """Give what plain data stands for."""
        if value is None:
            return None
        if not self._keys:
            try:  # the shortest way, for each replayed operation pays for it; options cost as much as fields
                made = self._convert(value, self.of)
            except (ValueError, TypeError):  # maybe of what msgspec does not know, or of what is wrong
                pass
            else:
                return self._whole(made)
        return self.convert(value)

    def convert(self, value: Any) -> Any:
        """Give plain data as the type."""
        try:
            made = self._convert(value, self.of, str_keys=self._keys, dec_hook=_read_other)
        except (ValueError, TypeError) as error:
            raise _misfit(self.of, str(error)) from error
        return self._whole(made)

    def _whole(self, made: Any) -> Any:
        if self._defaults:
            _complete(made)
        return made

    def plain(self, value: Any) -> Any:
        """Give a value as plain data."""
        plain = self._plain(value)
        return self._plain(value) if self._defaults and _complete(value) else plain

    def _plain(self, value: Any) -> Any:
        try:
            return self._dump(value, str_keys=True, builtin_types=NATIVE, enc_hook=_plain_other)
        except TypeError as error:
            if "keys" not in str(error):
                raise
            return _with_keys(self._dump(value, builtin_types=NATIVE, enc_hook=_plain_other))

    def sent(self, value: Any) -> Any:
        """Give a value as what JSON can hold."""
        sent = self._dump(value, str_keys=True, enc_hook=_plain_other)
        if self._defaults and _complete(value):
            sent = self._dump(value, str_keys=True, enc_hook=_plain_other)
        return sent


class Validated(Typed):
    """By pydantic."""

    __slots__ = ("_adapter",)

    def __init__(self, of: Any) -> None:
        super().__init__(of)
        self._adapter: Any = import_module("pydantic").TypeAdapter(of)

    def convert(self, value: Any) -> Any:
        """Give plain data as the type."""
        try:
            return self._adapter.validate_python(value, strict=False, by_alias=True, by_name=True)
        except ValueError as error:
            raise _misfit(self.of, _pydantic_words(error)) from error

    def plain(self, value: Any) -> Any:
        """Give a value as plain data."""
        return _rest(self._adapter.dump_python(value, round_trip=True, warnings=False))

    def kept(self, value: Any) -> Any:
        """Give a value as plain data; also what a field holds of a class derived from its own must not be lost."""
        plain = super().kept(value)
        whole = self._adapter.dump_python(value, round_trip=True, warnings=False, serialize_as_any=True)
        self.refuse_loss(value, _rest(whole), plain)
        return plain

    def sent(self, value: Any) -> Any:
        """Give a value as what JSON can hold."""
        return self._adapter.dump_python(value, mode="json", by_alias=True, serialize_as_any=True)


class Member(Typed):
    """A member of an enum."""

    __slots__ = ()

    def convert(self, value: Any) -> Any:
        """Give the member that has a value."""
        try:
            return self.of(value)
        except ValueError as error:
            raise _misfit(self.of, f"{error} - at `$`") from error

    def plain(self, value: Any) -> Any:
        """Give the value of a member."""
        return value.value if isinstance(value, Enum) else value


class Loose(Typed):
    """A type whose values plain data equals, which programs may have said and never held to: what does not fit is left.

    Args:
        strict: What converts what fits.

    """

    __slots__ = ("strict",)

    def __init__(self, strict: Typed) -> None:
        super().__init__(strict.of)
        self.strict = strict

    def convert(self, value: Any) -> Any:
        """Give plain data as the type, if it fits."""
        try:
            return self.strict.convert(value)
        except MisfitError:
            return value

    def plain(self, value: Any) -> Any:
        """Give a value as plain data, which it may be as it is."""
        try:
            encode_extended(value)
        except SerDesError:
            return self.strict.plain(value)
        return value

    kept = plain

    def sent(self, value: Any) -> Any:
        """Give a value as what JSON can hold."""
        return self.strict.sent(value)


class Unconverted(Typed):
    """A type that cannot be converted: what can be written all the same is left alone.

    Args:
        of: The type, as far as it is known.
        reason: Why not.

    """

    __slots__ = ("reason",)

    def __init__(self, of: Any, reason: str) -> None:
        super().__init__(of)
        self.reason = reason

    def convert(self, value: Any) -> Any:
        """Give plain data."""
        return value

    def plain(self, value: Any) -> Any:
        """Give a value."""
        return value

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:  # noqa: ARG002  part of the interface
        """Write a value, if it needs no converting."""
        try:
            return encode_extended(value)
        except SerDesError as error:
            raise SerDesError(f"{error} The type is not converted: {self.reason}") from error


class Missing(Unconverted):
    """A type whose library is not installed: what was recorded of it must not be mistaken for it."""

    __slots__ = ()

    def convert(self, value: Any) -> Any:  # noqa: ARG002  whatever it is
        """Refuse."""
        raise MisfitError(self.reason)


class Batch(Typed):
    """The result of a map or parallel whose branches have types of their own.

    Args:
        of: Gives the type of a branch's result by its index.

    """

    __slots__ = ()

    of: Callable[[int], Typed | None]

    def convert(self, value: Any) -> Any:
        """Give a result whose items are plain data with items of their types."""
        return self._each(value, "read")

    def plain(self, value: Any) -> Any:
        """Give a result with items of plain data."""
        return self._each(value, "kept")

    kept = plain

    def _each(self, found: Any, change: str) -> Any:
        if not is_batch(type(found)):
            return found
        items = []
        for item in found.all:
            typed = None if item.result is None else self.of(item.index)
            items.append(item if typed is None else _with_result(item, getattr(typed, change)))
        return type(found)(items, found.completion_reason)


def _with_result(item: Any, change: Callable[[Any], Any]) -> Any:
    try:
        result = change(item.result)
    except MisfitError as error:
        raise MisfitError(f"item {item.index}: {error}") from error
    return type(item)(item.index, item.status, result, item.error)


class Over(SerDes[Any]):
    """A type whose plain data is written by a serdes of the user's.

    Args:
        typed: The type.
        serdes: What writes its plain data.

    """

    __slots__ = ("_serdes", "_typed")

    def __init__(self, typed: Typed, serdes: SerDes[Any]) -> None:
        self._typed = typed
        self._serdes = serdes

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        """Write a value."""
        return self._serdes.serialize(self._typed.kept(value), serdes_context)

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        """Read a value."""
        return self._typed.read(deserialized(self._serdes, data, serdes_context))


class Sent(SerDes[Any]):
    """Reads what somebody else has sent, as JSON or by a serdes of the user's; says what it was when it does not fit.

    Args:
        typed: The type; None for whatever JSON gives.
        serdes: What reads the text; None for JSON.

    """

    __slots__ = ("_serdes", "_typed")

    def __init__(self, typed: Typed | None, serdes: SerDes[Any] | None = None) -> None:
        self._typed = typed
        self._serdes = serdes

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        """Refuse: nothing is written by it."""
        raise NotImplementedError

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        """Read what was sent."""
        value = self._parsed(data) if self._serdes is None else deserialized(self._serdes, data, serdes_context)
        if self._typed is None:
            return value
        try:
            return self._typed.convert(value)
        except MisfitError as error:
            raise MisfitError(f"{error}. What was sent is {shown(data)}") from error

    def _parsed(self, data: str) -> Any:
        try:
            return decode_json(data)
        except ValueError as error:
            wanted = "" if self._typed is None else f", and {name_of(self._typed.of)} is wanted"
            raise MisfitError(f"it is no JSON{wanted} ({error}). What was sent is {shown(data)}") from error


def shown(data: Any) -> str:
    """Show data that somebody sent, no more than a line of it."""
    text = repr(data)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"


# ---- making them


def asked_for(of: Any) -> Typed | None:
    """Give what converts a type that a call asks for by ``returns=``, to which its values are held.

    None if plain data keeps them.

    Raises:
        ValidationError: If it cannot be converted.

    """
    return _asked(of, sent=False)


def sent_as(of: Any) -> Typed | None:
    """Give what converts a type that somebody else sends as JSON; None for ``Any``.

    Raises:
        ValidationError: If it cannot be converted.

    """
    return _asked(of, sent=True)


def _asked(of: Any, *, sent: bool) -> Typed | None:
    typed = of if isinstance(of, Typed) else converter(of, sent=sent)
    if isinstance(typed, Loose):
        return typed.strict
    if isinstance(typed, Unconverted):
        raise ValidationError(f"returns={name_of(of)} cannot be kept: {typed.reason}")
    return typed


def converter(of: Any, *, sent: bool = False) -> Typed | None:
    """Give what converts values of a type; None for those that need none.

    Args:
        of: The type.
        sent: Whether values come from somebody else, so that all but ``Any`` and ``object`` must be held against it.

    """
    try:
        return _remembered(of, sent)
    except TypeError:  # not to be hashed, or with a class of a function's
        return _made(of, kinds_of(of), sent)


@lru_cache(maxsize=512)
def _remembered(of: Any, sent: bool) -> Typed | None:
    kinds = kinds_of(of)
    if kinds.local:
        raise TypeError("a class that a function has made would be remembered for ever")
    return _made(of, kinds, sent)


def _made(of: Any, kinds: Kinds, sent: bool) -> Typed | None:
    alone = without_none(of)
    if is_batch(get_origin(alone)):
        inner = converter(get_args(alone)[0])
        return None if inner is None else Batch(lambda _index: inner)
    if (kinds.lost is KEPT and not sent) or alone is Any or alone is object:
        return None
    typed: Typed | None
    if isinstance(alone, type) and issubclass(alone, Enum) and not (sent and alone is not of):
        typed = Member(alone)
    else:
        typed = _by_library(of, kinds, sent)
    is_held = sent or kinds.lost is not LOOSE or typed is None or isinstance(typed, Unconverted)
    return typed if is_held else Loose(typed)  # type: ignore[arg-type]  # it is held if there is none


def _by_library(of: Any, kinds: Kinds, sent: bool) -> Typed | None:
    if kinds.hidden:
        words = "fields of an attrs class that begin with an underscore would be lost"
        return Unconverted(of, f"of {name_of(of)}, {words}")
    by_pydantic = kinds.pydantic and not kinds.msgspec
    try:
        return Validated(of) if by_pydantic else Converted(of, keys=kinds.keys, defaults=kinds.defaults)
    except ImportError as error:
        if kinds.lost is LOOSE and not sent:
            return None  # as it always was, which is equal
        library = "pydantic" if by_pydantic else "msgspec"
        return Missing(
            of,
            f"{name_of(of)} is converted by {library}, which cannot be imported ({error}): pip install perdure[typed]",
        )
    except Exception as error:  # noqa: BLE001  whatever looking at the user's classes raises
        return Unconverted(of, f"{name_of(of)}: {error}")


# ---- what is unusual in values


def _plain_other(value: Any) -> Any:
    """Give what msgspec does not know as plain data."""
    if isinstance(value, (str, int, float)):
        basic: Any = next(each for each in (str, int, float) if isinstance(value, each))
        return basic.__new__(basic, value)
    if hasattr(type(value), "__pydantic_validator__"):
        return Validated(type(value)).plain(value)
    if isinstance(value, NATIVE):  # of a class of its own: as the default serdes gives it back
        return decode_extended(encode_extended(value))
    raise NotImplementedError(f"a {type(value).__qualname__} cannot be written as plain data")


def _read_other(of: Any, value: Any) -> Any:
    """Give plain data as a type that msgspec does not know."""
    if isinstance(of, type):
        if isinstance(value, of):
            return value
        if hasattr(of, "__pydantic_validator__"):
            return Validated(of).convert(value)
        if issubclass(of, (str, int, float)) and isinstance(value, (str, int, float)):
            return of(value)
    raise TypeError(f"Expected `{name_of(of)}`, got `{type(value).__name__}`")


def _complete(value: Any) -> bool:
    """Have the dataclasses in a value keep the defaults of their classes as their own; tell whether one lacked any.

    Args:
        value: One that does not hold itself.

    """
    lacked = False
    left = [value]
    while left:
        each = left.pop()
        kind = type(each)
        if kind in _LEAVES:
            continue
        if isinstance(each, dict):
            left.extend(each.values())
        elif isinstance(each, (list, tuple, set, frozenset)):
            left.extend(each)
        elif hasattr(kind, "__dataclass_fields__"):
            lacked |= _complete_one(each)
            left.extend(getattr(each, name, None) for name in kind.__dataclass_fields__)
        else:
            names = getattr(kind, "__struct_fields__", None) or [
                one.name for one in getattr(kind, "__attrs_attrs__", ())
            ]
            left.extend(getattr(each, name, None) for name in names)
    return lacked


def _complete_one(value: Any) -> bool:
    own = getattr(value, "__dict__", None)
    if own is None or len(own) >= len(value.__dataclass_fields__):
        return False
    lacking = {one.name: one.default for one in fields(value) if one.name not in own and has_default(one)}
    own.update(lacking)
    return bool(lacking)


def _with_keys(value: Any) -> Any:
    """Give plain data whose keys are texts."""
    if isinstance(value, dict):
        return {_key(key): _with_keys(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_with_keys, value))
    return value


def _key(key: Any) -> Any:
    if isinstance(key, date):
        return key.isoformat()
    return str(key) if isinstance(key, (UUID, Decimal, int, float)) and not isinstance(key, bool) else key


def _rest(value: Any) -> Any:
    """Give what pydantic leaves as it is as plain data."""
    if value is None or isinstance(value, (bool, *NATIVE)) or type(value) in (str, int, float):
        return value
    if isinstance(value, Enum):
        return _rest(value.value)
    if isinstance(value, dict):
        return {_key(_rest(key)): _rest(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_rest, value))
    if isinstance(value, (list, set, frozenset)):
        return [_rest(inner) for inner in value]
    if hasattr(value, "get_secret_value"):
        raise SerDesError(f"a {type(value).__name__} would be recorded as asterisks: keep secrets out of results")
    return import_module("pydantic_core").to_jsonable_python(value)


def _lost(plain: Any, again: Any, path: str) -> str | None:
    """Give the path of a field that is not there any more, if there is one."""
    try:
        if plain == again:
            return None
    except ArithmeticError:
        pass  # a signalling NaN
    if isinstance(plain, dict) and isinstance(again, dict):
        for key, value in plain.items():
            if key not in again and isinstance(key, str) and key.isidentifier():
                return f"{path}.{key}"
            deeper = _lost(value, again.get(key), f"{path}.{key}")
            if deeper is not None:
                return deeper
    if isinstance(plain, (list, tuple)) and isinstance(again, (list, tuple)):
        for index, (value, other) in enumerate(zip(plain, again, strict=False)):
            deeper = _lost(value, other, f"{path}[{index}]")
            if deeper is not None:
                return deeper
    return None


def _misfit(of: Any, words: str) -> MisfitError:
    return MisfitError(f"it is not {name_of(of)}: {words}")


def _pydantic_words(error: Any) -> str:
    """Say what pydantic has found, as msgspec would."""
    try:
        first = error.errors(include_url=False, include_context=False)[0]
    except Exception:  # noqa: BLE001  a ValueError of the user's
        return str(error)
    path = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in first["loc"])
    more = error.error_count() - 1
    return f"{first['msg']} - at `${path}`" + (f", and {more} more" if more else "")
