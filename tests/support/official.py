"""The official SDK on the local service: turns a local event into the input the official decorator accepts."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python.execution import (
    DurableExecutionInvocationInput,
    DurableExecutionInvocationInputWithClient,
)
from aws_durable_execution_sdk_python.lambda_service import LambdaClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local import LocalEvent


def official_handler(handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Wrap a handler decorated with the official `durable_execution` so that a LocalService can call it."""

    @wraps(handler)
    def call(event: LocalEvent, context: Any) -> Any:
        plain = DurableExecutionInvocationInput.from_json_dict(event)
        client: Any = event.client
        return handler(
            DurableExecutionInvocationInputWithClient.from_durable_execution_invocation_input(
                plain, LambdaClient(client)
            ),
            context,
        )

    return call
