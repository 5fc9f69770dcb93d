"""The plainest handlers there are, where what they do does not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import durable_execution

if TYPE_CHECKING:
    from perdure import DurableContext

DONE = {"Status": "SUCCEEDED", "Result": "1"}
"""What the SDK returns for a handler that has returned 1."""


@durable_execution
def good(_event: Any, context: DurableContext) -> int:
    """Return what a step gives."""
    return context.step(lambda _: 1)
