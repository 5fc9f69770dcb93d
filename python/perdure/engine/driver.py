"""The driver that blocks: it waits where it stands, calls functions as they are, and unwinds code that is to wait.

See `docs/driver.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from perdure.engine.contexts import Context
    from perdure.engine.flows import Flow

T = TypeVar("T")


def run(context: Context, flow: Flow[T]) -> T:
    """Run a flow to its end in this thread; give what it returns, or raise what it raises."""
    invocation = context.invocation
    return invocation.core.run(flow, invocation.checkpoints)
