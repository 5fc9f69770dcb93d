"""The base of the small values that are made for each operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from typing import Self


class Frozen:
    """A small value with slots: immutable, compared by class and fields. A cheap frozen dataclass.

    A subclass names its fields in ``__match_args__`` and writes them in ``__init__`` through its slots' descriptors.
    """

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        from dataclasses import FrozenInstanceError  # noqa: PLC0415  only for those who do what they should not

        raise FrozenInstanceError(f"cannot change {name!r}: a {type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frozen) or type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({fields})"

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), self._values()

    def __replace__(self, **changes: Any) -> Self:
        """Copy with some fields changed, for `copy.replace`."""
        return type(self)(**{**dict(zip(self.__match_args__, self._values(), strict=True)), **changes})
