"""Small views of large values, to be seen where the values themselves are stored elsewhere.

A serdes that stores values outside the history (`perdure.filesystem_serdes`, `perdure.s3_serdes`, or one of your own)
can leave a preview beside its pointer: the few fields that somebody who looks at the execution wants to see.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure.exceptions import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_Keys: TypeAlias = tuple[str, ...]

__all__ = ["FieldMatchMode", "PreviewConfig", "PreviewField", "PreviewMode", "build_preview"]

_DEEPEST = 512  # as deep as a payload may nest


class PreviewMode(StrEnum):
    """Which fields a preview shows."""

    INCLUDE_ALL = "INCLUDE_ALL"
    """All but those of ``exclude``."""
    EXCLUDE_ALL = "EXCLUDE_ALL"
    """Those of ``include`` and ``mask`` alone."""


class FieldMatchMode(StrEnum):
    """What the name of a `PreviewField` is compared with."""

    ANYWHERE = "ANYWHERE"
    """The key of a field, at any depth, or of anything that it stands in."""
    PATH = "PATH"
    """The whole path of a field: its keys from the root, joined by dots."""


@dataclass(frozen=True)
class PreviewField:
    """A field, or all of that name.

    Args:
        name: A key, or keys from the root joined by dots. A key that holds a dot itself cannot be named.
        match: What the name is compared with.

    """

    name: str
    match: FieldMatchMode = FieldMatchMode.ANYWHERE


@dataclass(frozen=True)
class PreviewConfig:
    """What a preview shows.

    What several rules meet is hidden rather than shown: ``exclude`` wins over ``mask``, and ``mask`` over ``include``.

    Args:
        mode: Whether to begin with all fields or with none.
        include: What is shown beside nothing (`PreviewMode.EXCLUDE_ALL`).
        exclude: What is never shown, nor anything in it.
        mask: What is shown as ``mask_string``, and with it everything in it.
        mask_string: What stands in the place of a masked value.
        max_preview_bytes: The most that fields and values may take, as JSON. The first that does not fit ends it.

    Raises:
        ValidationError: For a mode that is none.

    """

    mode: PreviewMode
    include: list[PreviewField] = field(default_factory=list)
    exclude: list[PreviewField] = field(default_factory=list)
    mask: list[PreviewField] = field(default_factory=list)
    mask_string: str = "***"
    max_preview_bytes: int = 4096

    def __post_init__(self) -> None:
        if self.mode not in tuple(PreviewMode):
            raise ValidationError(f"mode must be a PreviewMode, not {self.mode!r}")


def build_preview(value: Any, config: PreviewConfig) -> dict[str, Any] | None:
    """Make a small view of a value: of its dicts, as deep as they nest, the fields that the rules let through.

    Lists are gone through as if their dicts were one: of what several of them say, the last one shows. What stands in a
    list without a key is left out, as are empty dicts and fields whose key holds a dot. What stands under an empty key
    of the root stands in the root.

    Args:
        value: What the preview is of.
        config: The rules.

    Returns:
        A dict that is written as JSON as it is; None if the value is no dict, or nothing of it is to be seen.

    Example:
        >>> order = {"id": 7, "customer": {"name": "Ann", "card": "4242"}, "lines": [{"sku": "a"}]}
        >>> build_preview(order, PreviewConfig(PreviewMode.INCLUDE_ALL, mask=[PreviewField("card")]))
        {'id': 7, 'customer': {'name': 'Ann', 'card': '***'}, 'lines': {'sku': 'a'}}
        >>> build_preview(order, PreviewConfig(PreviewMode.EXCLUDE_ALL, include=[PreviewField("name")]))
        {'customer': {'name': 'Ann'}}

    """
    if not isinstance(value, dict):
        return None
    shown: dict[str, Any] = {}
    room = config.max_preview_bytes - len("{}")
    for keys, field_value in _visible(value, config):
        plain, text = _json(field_value)
        room -= len(f'"{".".join(keys)}": '.encode("utf-8", "surrogatepass")) + len(text)
        if room < 0:
            break
        _put(shown, keys, plain)
    return shown or None


class _Rules:
    """The names of one list of fields, by what they are compared with. A text is the name of a `PreviewField`."""

    def __init__(self, fields: Iterable[PreviewField | str]) -> None:
        named = [PreviewField(wanted) if isinstance(wanted, str) else wanted for wanted in fields]
        self._keys = {wanted.name for wanted in named if wanted.match == FieldMatchMode.ANYWHERE}
        self._paths = {wanted.name for wanted in named if wanted.match != FieldMatchMode.ANYWHERE}

    def match(self, keys: _Keys) -> bool:
        return not self._keys.isdisjoint(keys) or ".".join(keys) in self._paths


def _visible(value: dict[Any, Any], config: PreviewConfig) -> Iterator[tuple[_Keys, Any]]:
    """Give the fields to be seen, in order, with what is shown of each."""
    include, exclude, mask = map(_Rules, (config.include, config.exclude, config.mask))
    entered: list[tuple[Any, Iterator[tuple[_Keys, Any]]]] = [(value, _inside((), value))]
    while entered:
        keys, found = next(entered[-1][1], ((), None))
        if not keys:
            entered.pop()
        elif exclude.match(keys):
            continue
        elif mask.match(keys):
            yield keys, config.mask_string
        elif isinstance(found, dict | list):
            if len(entered) < _DEEPEST and all(found is not outer for outer, _ in entered):
                entered.append((found, _inside(keys, found)))
        elif config.mode == PreviewMode.INCLUDE_ALL or include.match(keys):
            yield keys, found


def _inside(keys: _Keys, container: dict[Any, Any] | list[Any]) -> Iterator[tuple[_Keys, Any]]:
    if isinstance(container, list):
        return ((keys, item) for item in container if isinstance(item, dict | list))
    around = () if keys == ("",) else keys  # an empty key of the root is no part of the paths below it
    return (((*around, str(key)), value) for key, value in container.items() if "." not in str(key))


def _put(shown: dict[str, Any], keys: _Keys, value: Any) -> None:
    for key in keys[:-1]:
        inner = shown.get(key)
        if not isinstance(inner, dict):
            inner = shown[key] = {}
        shown = inner
    shown[keys[-1]] = value


def _json(value: Any) -> tuple[Any, str]:
    """Give a value and its JSON; of one that has none, its text: a preview is for people, no program reads it back."""
    try:
        return value, json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        cls: Any = type(value)
        shows_its_address = cls.__str__ is object.__str__ and cls.__repr__ is object.__repr__
        text = f"<{cls.__name__}>" if shows_its_address else str(value)
        return text, json.dumps(text)
