"""An invoke of another function that has not ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._core import FAILED, PENDING, START
from perdure.engine.operations.common import deserialise, raise_recorded, serialise
from perdure.exceptions import InvokeError
from perdure.serdes import DEFAULT_JSON_SERDES

if TYPE_CHECKING:
    from perdure._core import Operation
    from perdure.engine.contexts import Context
    from perdure.serdes import SerDes


def run(
    context: Context,
    operation: Operation,
    function_name: str,
    payload: Any,
    config: tuple[SerDes[Any] | None, SerDes[Any] | None, str | None],
) -> Any:
    """Carry out what the core decided for an invoke."""
    if operation.decision == PENDING:
        context.scope.suspend(operation.until)
    try:
        operation.enter()
        return _run(context, operation, function_name, payload, config)
    finally:
        operation.leave()


def _run(
    context: Context,
    operation: Operation,
    function_name: str,
    payload: Any,
    config: tuple[SerDes[Any] | None, SerDes[Any] | None, str | None],
) -> Any:
    serdes_payload, serdes_result, tenant_id = config
    if operation.decision == START:
        text = serialise(context, serdes_payload or DEFAULT_JSON_SERDES, payload, operation.id, operation.name)
        ticket = operation.start_invoke(text, function_name, tenant_id, None)
        context.invocation.checkpoints.wait(ticket)
        operation = operation.again()
        if operation.decision == PENDING:
            context.scope.suspend(operation.until)
    if operation.decision == FAILED:
        raise_recorded(InvokeError, operation)
    return deserialise(context, serdes_result or DEFAULT_JSON_SERDES, operation.payload, operation.id, operation.name)
