"""Handlers that run an event loop, called where one is running: in an asynchronous test, in a notebook."""

from __future__ import annotations

import sys
from contextvars import copy_context
from threading import Thread
from typing import TYPE_CHECKING, Any

from perdure._functions import is_coroutine

if TYPE_CHECKING:
    from collections.abc import Callable


def is_asynchronous(handler: Any) -> bool:
    """Tell whether a handler is what ``@durable_execution`` has made of an ``async def`` function."""
    return is_coroutine(getattr(handler, "run", None))


def is_in_loop() -> bool:
    """Tell whether an event loop is running in this thread."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001  documented


def callable_here(handler: Any) -> Any:
    """Give a handler, or what calls it in a thread of its own while this one waits, if it could not be called here."""
    if not is_asynchronous(handler) or not is_in_loop():
        return handler
    return lambda *given: _in_thread(handler, *given)


def _in_thread(call: Callable[..., Any], *given: Any) -> Any:
    came: list[tuple[Any, BaseException | None]] = []
    variables = copy_context()

    def run() -> None:
        try:
            came.append((variables.run(call, *given), None))
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            came.append((None, error))

    thread = Thread(target=run, name="perdure-handler", daemon=True)
    thread.start()
    thread.join()
    result, error = came.pop()
    try:
        if error is not None:
            raise error
        return result
    finally:
        del error  # whose traceback holds this frame
