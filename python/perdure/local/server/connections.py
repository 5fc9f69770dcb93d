"""What the server does about its connections: it waits for no headers for ever, and tells in few words of too many.

Bodies have a patience of their own, with whoever reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from perdure._log import Log

if TYPE_CHECKING:
    import asyncio

_LOG = Log("perdure.local")
_BRIEFLY = 60.0
_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Impatient(H11Protocol):
    """A connection whose requests must begin: their headers have to be there, all of them, within `patience` seconds.

    However they come, byte by byte perhaps: the time runs from the connection's begin, or from the first byte after the
    request before.
    """

    def __init__(self, *given: Any, patience: float, **named: Any) -> None:
        super().__init__(*given, **named)
        self._patience = patience
        self._late: asyncio.TimerHandle | None = None
        self._begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(transport)
        self._late = self.loop.call_later(self._patience, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        self._begun = True
        super().data_received(data)
        has_headers = self.cycle is not None and not self.cycle.response_complete
        if has_headers:
            self._wait_no_longer()
        elif self._late is None:
            self._late = self.loop.call_later(self._patience, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        self._wait_no_longer()
        super().connection_lost(exc)

    def _wait_no_longer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            if self._begun:
                self.transport.write(_LATE)
            self.transport.close()


class Complaints:
    """A loop's handler of exceptions, in front of its own: that an accept failed is told once a minute, and briefly.

    While a process may open no more files, asyncio tells of it thousands of times a second.
    """

    def __init__(self) -> None:
        self._quiet_until = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take what has gone wrong in the loop."""
        what = str(context.get("message", ""))
        if "_start_serving" in what:  # a port that was closed while its accepts were to be tried again
            return
        if "accept" not in what:
            loop.default_exception_handler(context)
        elif loop.time() >= self._quiet_until:
            self._quiet_until = loop.time() + _BRIEFLY
            _LOG.error(
                "No more connections can be accepted: %s. It is tried again, and told once a minute at most. "
                "`ulimit -n` says how many files a process may have open.",
                context.get("exception"),
            )
