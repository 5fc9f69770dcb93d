"""The asynchronous front end: `AsyncDurableContext` for ``async def`` handlers.

It drives the same operations by the same engine as the synchronous one (see ``docs/driver.md``). What is deterministic,
and why, is in ``docs/async.md``.
"""

from perdure.aio.context import AsyncDurableContext

__all__ = ["AsyncDurableContext"]
