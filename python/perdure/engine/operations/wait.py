"""A wait that is not over."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NoReturn

from perdure._core import FAILED
from perdure.engine.operations.common import raise_recorded
from perdure.exceptions import DurableOperationError

if TYPE_CHECKING:
    from perdure._core import Operation
    from perdure.engine.flows import Flow


def run(operation: Operation) -> Flow[None]:
    """Record the wait's START, and wait."""
    return _Wait(operation)


class _Wait(Generator["Operation", Any, None]):
    """Asks for an operation, and ends when that can go on.

    No generator, which would keep a frame, and the operation as it was at first: thousands of branches may wait.
    """

    __slots__ = ("_operation",)

    def __init__(self, operation: Operation) -> None:
        self._operation: Operation | None = operation

    def send(self, able: Operation | None) -> Operation:
        """Ask for the operation; or end, given it as it is then."""
        operation, self._operation = self._operation, None
        if operation is not None:
            return operation
        if able is not None and able.decision == FAILED:
            raise_recorded(DurableOperationError, able)
        raise StopIteration

    def throw(self, *error: Any) -> NoReturn:
        """Fail of it."""
        self._operation = None
        raise error[0]
