"""Dataclasses that speak the API's form: a field ``retry_details`` is the member ``RetryDetails``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """How one field goes over the wire."""

    name: str
    wire: str
    required: bool
    cls: Any
    many: bool


class Shape:
    """The base of the models. Fields that are None are left out of the API's form."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the API's form; members that are not known are passed over."""
        values = {}
        for member in _members(cls):
            if member.required or data.get(member.wire) is not None:
                values[member.name] = _read(member, data[member.wire])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Give the API's form."""
        wire = {}
        for member in _members(type(self)):
            value = getattr(self, member.name)
            if value is not None:
                wire[member.wire] = _write(member, value)
        return wire


def wired(name: str, **options: Any) -> Any:
    """Make a dataclass field whose member has a name of its own."""
    return dataclasses.field(metadata={"wire": name}, **options)


_known: dict[type, tuple[Member, ...]] = {}


def _members(cls: type[Any]) -> tuple[Member, ...]:
    """Give the members of a model, found out once."""
    if cls in _known:
        return _known[cls]
    hints = get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        wire = field.metadata.get("wire") or "".join(word.capitalize() for word in field.name.split("_"))
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        hint = _bare(hints[field.name])
        many = get_origin(hint) is list
        inner = get_args(hint)[0] if many else hint
        found.append(Member(field.name, wire, required, inner if hasattr(inner, "from_dict") else None, many))
    _known[cls] = tuple(found)
    return _known[cls]


def _bare(hint: Any) -> Any:
    """Take the ``| None`` off a type."""
    choices = [choice for choice in get_args(hint) if choice is not type(None)]
    return choices[0] if get_origin(hint) is not list and len(choices) == 1 else hint


def _read(member: Member, value: Any) -> Any:
    if member.cls is None or value is None:
        return value
    return [member.cls.from_dict(item) for item in value] if member.many else member.cls.from_dict(value)


def _write(member: Member, value: Any) -> Any:
    if member.cls is None:
        return value
    return [item.to_dict() for item in value] if member.many else value.to_dict()
