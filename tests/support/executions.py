"""Executions on the embedded service, from a handler to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import DurableContext, durable_execution
from perdure.local import LocalService

if TYPE_CHECKING:
    from collections.abc import Callable


def run(handler: Callable[[DurableContext], Any], **options: Any) -> Any:
    """Run an execution to its end on the embedded service, and give its handle."""

    @durable_execution
    def durable(_event: Any, context: DurableContext) -> Any:
        return handler(context)

    handle = LocalService(**options).register("f", durable).run("f")
    assert handle.status == "SUCCEEDED", handle.error
    return handle
