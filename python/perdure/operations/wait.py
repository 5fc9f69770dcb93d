"""A wait that is not over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure._core import FAILED, PENDING, START
from perdure.exceptions import DurableOperationError
from perdure.operations.common import raise_recorded

if TYPE_CHECKING:
    from perdure._core import Operation
    from perdure.context import DurableContext


def run(context: DurableContext, operation: Operation) -> None:
    """Record the wait's START and suspend, unless the service has ended it already."""
    if operation.decision == START:
        context.invocation.checkpoints.wait(operation.ticket)
        operation = operation.again()
    if operation.decision == PENDING:
        context.scope.suspend(operation.until)
    if operation.decision == FAILED:
        raise_recorded(DurableOperationError, operation)
