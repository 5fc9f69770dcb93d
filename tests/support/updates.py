"""Updates as the engine hands them to a client."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from perdure._core import Execution, Operation
from support.invocations import NOW, execution

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Scope, Updates

T = TypeVar("T")


def sent(
    write: Callable[[Operation], object],
    send: Callable[[Updates], T],
    begin: Callable[[Scope], object] = lambda root: root.step(None),
) -> T:
    """Begin an operation, let ``write`` queue an update of it, and send both; give what ``send`` gives."""
    core = Execution("token")
    core.load([execution()])
    operation = begin(core.root())
    assert isinstance(operation, Operation)
    write(operation)
    given: list[T] = []

    def driven(_token: Any, updates: Updates, _number: int) -> Any:
        given.append(send(updates))
        return "next", [], NOW, 0.0, 0.0

    core.hear(0.0, SimpleNamespace(failure=None, send=driven))
    return given[0]
