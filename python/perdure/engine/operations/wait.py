"""A wait that is not over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure._core import FAILED
from perdure.engine.operations.common import raise_recorded, settled
from perdure.exceptions import DurableOperationError

if TYPE_CHECKING:
    from perdure._core import Operation
    from perdure.engine.contexts import Context
    from perdure.engine.flows import Flow


def run(context: Context, operation: Operation) -> Flow[None]:
    """Record the wait's START, and wait."""
    operation = yield from settled(operation)
    if operation.decision == FAILED:
        raise_recorded(DurableOperationError, operation)
