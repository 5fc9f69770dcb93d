"""What varies between runs though nothing went wrong: the places that comparing two runs leaves out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_VARIES = "(varies)"


class Mask:
    """The places of a value, by the keys that lead there, that are not the same each time."""

    def __init__(self) -> None:
        self._places: set[tuple[Any, ...]] = set()

    def __bool__(self) -> bool:
        return bool(self._places)

    def learn(self, one: Any, other: Any, *place: Any) -> None:
        """Take note of where two values differ that should be the same."""
        if isinstance(one, dict) and isinstance(other, dict):
            for key in one.keys() | other.keys():
                if key in one and key in other:
                    self.learn(one[key], other[key], *place, key)
                else:
                    self._places.add((*place, key))
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            for index, (mine, others) in enumerate(zip(one, other, strict=True)):
                self.learn(mine, others, *place, index)
        elif not _same(one, other):
            self._places.add(place)

    def hides(self, keys: Iterable[Any], *place: Any) -> bool:
        """Tell whether any of these keys is left out at a place."""
        return any((*place, key) in self._places for key in keys)

    def over(self, value: Any, *place: Any) -> Any:
        """Give a value without what varies."""
        if place in self._places:
            return _VARIES
        if isinstance(value, dict):
            return {
                key: self.over(item, *place, key) for key, item in value.items() if (*place, key) not in self._places
            }
        if isinstance(value, list):
            return [self.over(item, *place, index) for index, item in enumerate(value)]
        return value

    def over_text(self, text: str | None, *place: Any) -> str | None:
        """Give JSON without what varies, in the very words if nothing does."""
        value = read(text)
        masked = self.over(value, *place)
        return text if masked is value or masked == value else json.dumps(masked)


def read(text: str | None) -> Any:
    """Read JSON; what is none stays text."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  whatever comparing the user's objects raises
        return False
