"""What an operation asks of whoever drives it.

An operation that is not simply replayed is written once, as a flow: a generator that decides nothing which the core can
decide, and does nothing that may block. It yields a request for what must be done outside, is resumed with what came of
it (or has it raised where it stands), and returns the operation's result. Drivers differ in how they wait; see
`docs/driver.md`, and `perdure.engine.driver` for the one that blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from perdure._core import Operation

T = TypeVar("T")


Call: TypeAlias = "tuple[Callable[..., Any], tuple[Any, ...]]"
"""A request: call this function with these arguments, and give what it returns; or what comes of that, if it is
awaitable and the driver awaits."""

Request: TypeAlias = "int | Call | Operation"
"""An int is a ticket: go on when that update is durable. An operation: go on when that can, and with what it is then.

While it is `START`, it can once that is durable (`Operation.again`). While it is `PENDING`, nothing can be done before
`Operation.until`, if that is known, or before there is news: a driver has the code unwind, and closes the flow; or it
keeps both, and looks again when there may be news (`Operation.resume`).
"""

Flow: TypeAlias = Generator[Request, Any, T]


def itself(found: Any) -> Any:
    """Give what is there already; as a request, it is awaited where its driver awaits."""
    return found
