"""A wait that is not over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure._core import FAILED
from perdure.engine.operations.common import raise_recorded
from perdure.exceptions import DurableOperationError

if TYPE_CHECKING:
    from perdure._core import Operation
    from perdure.engine.flows import Flow


def run(operation: Operation) -> Flow[None]:
    """Record the wait's START, and wait."""
    operation = yield operation
    if operation.decision == FAILED:
        raise_recorded(DurableOperationError, operation)
