"""What varies between runs though nothing went wrong: the places that comparing two runs leaves out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_VARIES = "(varies)"


class JsonText(str):
    """JSON, of which parts may vary; what cannot be read as JSON is one part."""

    __slots__ = ()


class Mask:
    """The places of a value, by the keys that lead there, that are not the same each time."""

    def __init__(self) -> None:
        self._places: set[tuple[Any, ...]] = set()

    def __bool__(self) -> bool:
        return bool(self._places)

    def learn(self, one: Any, other: Any, *place: Any) -> None:
        """Take note of where two values differ that should be the same."""
        if isinstance(one, JsonText) and isinstance(other, JsonText):
            self._learn_text(one, other, *place)
        elif isinstance(one, dict) and isinstance(other, dict):
            for key in one.keys() | other.keys():
                if key in one and key in other:
                    self.learn(one[key], other[key], *place, key)
                else:
                    self._places.add((*place, key))
        elif isinstance(one, list | tuple) and type(one) is type(other) and len(one) == len(other):
            for index, (mine, others) in enumerate(zip(one, other, strict=True)):
                self.learn(mine, others, *place, index)
        elif not same(one, other):
            self._places.add(place)

    def hides(self, keys: Iterable[Any], *place: Any) -> bool:
        """Tell whether any of these keys is left out at a place."""
        return any((*place, key) in self._places for key in keys)

    def over(self, value: Any, *place: Any) -> Any:
        """Give a value without what varies."""
        if place in self._places:
            return _VARIES
        if isinstance(value, JsonText):
            read = _read(value)
            masked = self.over(read, *place)
            return value if masked is read or masked == read else JsonText(json.dumps(masked))
        if isinstance(value, dict):
            return {
                key: self.over(item, *place, key) for key, item in value.items() if (*place, key) not in self._places
            }
        if isinstance(value, list | tuple):
            masked = [self.over(item, *place, index) for index, item in enumerate(value)]
            return value if masked == list(value) else masked
        return value

    def _learn_text(self, one: JsonText, other: JsonText, *place: Any) -> None:
        if one == other:
            return
        self.learn(_read(one), _read(other), *place)
        if self.over(one, *place) != self.over(other, *place):  # it says the same in other words
            self._places.add(place)


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal; of those that cannot tell, whether they look the same."""
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  whatever comparing the user's objects raises
        return repr(one) == repr(other)


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return str(text)
