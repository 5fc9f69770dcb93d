"""The service on a port: the documented name of `perdure.local.server.http`."""

from __future__ import annotations

from perdure.local.server.http import LocalServer, listen

__all__ = ["LocalServer", "listen"]
