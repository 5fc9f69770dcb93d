"""An invoke of another function that has not ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._core import FAILED, START
from perdure.engine.operations.common import deserialise, raise_recorded, serialise
from perdure.exceptions import InvokeError
from perdure.serdes import DEFAULT_JSON_SERDES

if TYPE_CHECKING:
    from perdure._core import Operation
    from perdure.engine.contexts import Context
    from perdure.engine.flows import Flow
    from perdure.serdes import SerDes


def run(
    context: Context,
    operation: Operation,
    function_name: str,
    payload: Any,
    config: tuple[SerDes[Any] | None, SerDes[Any] | None, str | None],
) -> Flow[Any]:
    """Carry out what the core decided for an invoke."""
    serdes_payload, serdes_result, tenant_id = config
    at_work = operation
    try:
        at_work.enter()
        if operation.decision == START:
            text = serialise(context, serdes_payload or DEFAULT_JSON_SERDES, payload, operation.id, operation.name)
            hooks = context.invocation.hooks
            trace_id = None if hooks is None else hooks.trace_id(operation, function_name)
            yield operation.start_invoke(text, function_name, tenant_id, trace_id)
            operation = operation.again()
        operation = yield operation
        if operation.decision == FAILED:
            raise_recorded(InvokeError, operation)
        return deserialise(
            context, serdes_result or DEFAULT_JSON_SERDES, operation.payload, operation.id, operation.name
        )
    finally:
        at_work.leave()
