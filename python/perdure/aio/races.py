"""What is made of several operations that are under way: combinators, and the order in which operations end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.aio.job import Awaitable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class Then(Awaitable):
    """What is awaited, and what is made of it."""

    __slots__ = ("_after", "_found")

    def __init__(self, found: Any, after: Callable[[Any], Any]) -> None:
        self._steps = None
        self._found = found
        self._after = after

    def __await__(self) -> Generator[Any, Any, Any]:
        """Await it, and give what is made of it."""
        return self._after((yield from self._found.__await__()))
