"""What is awaited in the place of what a function of the user's gave, so that it is seen how that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class Awaited:
    """Can be awaited once, and gives what the other gives.

    Args:
        given: What can be awaited.
        gave: Is told what it gives.
        failed: Is told what it raises; also that it is closed, since its invocation ends.

    """

    __slots__ = ("_failed", "_gave", "_given")

    def __init__(self, given: Any, gave: Callable[[Any], None], failed: Callable[[BaseException], None]) -> None:
        self._given = given
        self._gave = gave
        self._failed = failed

    def __await__(self) -> Generator[Any, Any, Any]:
        """Await it."""
        try:
            value = yield from self._given.__await__()
        except BaseException as error:
            self._failed(error)
            raise
        self._gave(value)
        return value

    def close(self) -> None:
        """Drop it unawaited, as a coroutine is dropped."""
        if hasattr(self._given, "close"):
            self._given.close()
