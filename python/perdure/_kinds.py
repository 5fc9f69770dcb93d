"""What plain data loses of a type: whether values of it come back as what they were, and who can convert them."""

from __future__ import annotations

import collections.abc
import sys
import types
import typing
from dataclasses import MISSING, Field, fields
from enum import Enum, Flag
from typing import Annotated, Any, NamedTuple, get_args, get_origin, is_typeddict

KEPT, LOOSE, LOST = range(3)
"""Comes back as it is; as a value that equals it, as a tuple for a NamedTuple; or cannot be written as it is."""

_SETS = (set, frozenset, collections.abc.Set)
_HOLDERS = (
    *(list, dict, tuple, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Collection),
    *(collections.abc.Mapping, collections.abc.MutableMapping, *_SETS, collections.abc.MutableSet),
)
"""Generics whose items are converted; those of others, such as an iterator, are nobody's to look at."""
_QUALIFIERS = (typing.Required, typing.NotRequired, typing.Final, getattr(typing, "ReadOnly", None))
"""What may stand around the type of a field."""

_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_BASICS = (str, int, float, bytes, list, dict, tuple)
_ALIAS: Any = getattr(typing, "TypeAliasType", None)


class Kinds(NamedTuple):
    """What there is in a type.

    Args:
        lost: How much plain data loses of it.
        pydantic: Whether it holds what pydantic converts.
        msgspec: Whether it holds what msgspec alone converts.
        local: Whether it holds a class that a function has made, which may make another one each time.
        hidden: Whether it holds an attrs class with fields that msgspec does not write.
        keys: Whether it holds a dict by other keys than texts, as which they are written.
        defaults: Whether it holds a dataclass that has defaults as its own attributes.

    """

    lost: int = KEPT
    pydantic: bool = False
    msgspec: bool = False
    local: bool = False
    hidden: bool = False
    keys: bool = False
    defaults: bool = False

    def __or__(self, other: Any) -> Kinds:
        """Put together."""
        lost, *others = map(max, self, other)
        return Kinds(lost, *map(bool, others))


def kinds_of(annotation: Any, seen: frozenset[Any] = frozenset()) -> Kinds:
    """Look through a type, and the types of its fields."""
    if _ALIAS is not None and isinstance(annotation, _ALIAS):
        # One may mean itself, as that of what JSON can hold does.
        return Kinds() if annotation in seen else kinds_of(annotation.__value__, seen | {annotation})
    if hasattr(annotation, "__supertype__"):
        return kinds_of(annotation.__supertype__, seen)
    origin = get_origin(annotation)
    if origin is None:
        return _of_class(annotation, seen) if isinstance(annotation, type) else Kinds()
    if origin is typing.Literal:  # an enum's member is lost as its enum is, and nobody converts it
        found = Kinds()
        for literal in get_args(annotation):
            found |= kinds_of(type(literal), seen)
        return found
    arguments = get_args(annotation)[:1] if origin is Annotated else get_args(annotation)
    found = Kinds()
    if origin in _DICTS and arguments[:1] != (str,):
        found = Kinds(keys=True)
    for argument in arguments:
        found |= kinds_of(argument, seen)
    if origin in (Annotated, typing.Union, types.UnionType, *_HOLDERS, *_QUALIFIERS):
        return found | kinds_of(origin, seen)
    own = kinds_of(origin, seen)
    is_alias = _ALIAS is not None and isinstance(origin, _ALIAS)
    return own | found if is_alias or own.lost is not KEPT else own


def _of_class(cls: type, seen: frozenset[Any]) -> Kinds:
    if cls in seen:
        return Kinds()
    own, has_fields = _of_itself(cls)
    if "<locals>" in cls.__qualname__:
        own |= Kinds(local=True)
    inside = _of_fields(cls, seen | {cls}) if has_fields else Kinds()
    if is_typeddict(cls) and inside.lost is not LOST:
        return own  # a dict, whatever is in it: what may be missing or more is nobody's business
    return own | inside


def _of_itself(cls: type) -> tuple[Kinds, bool]:
    """Tell what a class is, and whether it has fields to be looked at."""
    if issubclass(cls, Enum):
        is_loose = issubclass(cls, (str, int, float)) and not issubclass(cls, Flag)
        return Kinds(LOOSE if is_loose else LOST), False
    by_pydantic = hasattr(cls, "__pydantic_validator__")
    if by_pydantic or _is_of_time(cls) or issubclass(cls, _SETS):
        return Kinds(LOST, pydantic=by_pydantic), False
    if hasattr(cls, "__struct_fields__") or hasattr(cls, "__attrs_attrs__"):
        hidden = any(each.name.startswith("_") for each in getattr(cls, "__attrs_attrs__", ()))
        return Kinds(LOST, msgspec=True, hidden=hidden), True
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return Kinds(LOOSE), True
    if hasattr(cls, "__dataclass_fields__") and not issubclass(cls, _BASICS) and not _is_ours(cls):
        own: Any = cls
        return Kinds(LOST, defaults=cls.__dictoffset__ != 0 and any(map(has_default, fields(own)))), True
    return Kinds(), is_typeddict(cls)


def has_default(field: Field[Any]) -> bool:
    """Whether a class has the default of a field as its own attribute, where it stands for what an instance lacks."""
    return field.default is not MISSING and not hasattr(field.default, "__get__")


def _is_of_time(cls: type) -> bool:
    """Whether it is a `timedelta` or a `time`, which the default serdes does not know, and msgspec does."""
    return cls.__module__ == "datetime" and cls.__name__ in ("timedelta", "time")


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("perdure.")


def _of_fields(cls: type, seen: frozenset[Any]) -> Kinds:
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001  whatever evaluating them raises; who converts says so
        return Kinds(keys=True)
    found = Kinds()
    for hint in hints.values():
        found |= kinds_of(hint, seen)
    return found


def is_batch(cls: Any) -> bool:
    """Whether a type is `BatchResult`, whose items have a type of their own."""
    models = sys.modules.get("perdure.concurrency.models")
    return models is not None and isinstance(cls, type) and issubclass(cls, models.BatchResult)


def without_none(annotation: Any) -> Any:
    """Give a type without what it is wrapped in: aliases, metadata, and a None that it may be instead."""
    seen = set()
    while True:
        origin = get_origin(annotation)
        if _ALIAS is not None and isinstance(annotation, _ALIAS):
            if annotation in seen:  # it means nothing but itself
                return annotation
            seen.add(annotation)
            annotation = annotation.__value__
        elif origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin is typing.Union or origin is types.UnionType:
            others = [each for each in get_args(annotation) if each is not type(None)]
            if len(others) != 1:
                return annotation
            annotation = others[0]
        else:
            return annotation


def name_of(annotation: Any) -> str:
    """Say a type in words."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")
