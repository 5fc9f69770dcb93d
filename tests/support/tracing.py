"""The X-Ray SDK, imported so that it leaves nothing open: its import takes an event loop and a socket."""

from __future__ import annotations

import asyncio

_loop = asyncio.new_event_loop()
asyncio.set_event_loop(_loop)
try:
    from aws_xray_sdk.core import xray_recorder
finally:
    asyncio.set_event_loop(None)
    _loop.close()
xray_recorder._emitter._socket.close()

__all__ = ["xray_recorder"]
