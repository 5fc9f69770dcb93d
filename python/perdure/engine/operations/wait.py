"""A wait that is not over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure._core import FAILED, PENDING, START
from perdure.engine.operations.common import raise_recorded
from perdure.exceptions import DurableOperationError

if TYPE_CHECKING:
    from perdure._core import Operation
    from perdure.engine.contexts import Context


def run(context: Context, operation: Operation) -> None:
    """Record the wait's START and suspend, unless the service has ended it already."""
    if operation.decision == START:
        context.invocation.checkpoints.wait(operation.ticket)
        operation = operation.again()
    if operation.decision == PENDING:
        context.scope.suspend(operation.until)
    if operation.decision == FAILED:
        raise_recorded(DurableOperationError, operation)
