"""How the runner's web service is reached."""

from __future__ import annotations

import logging
from dataclasses import dataclass

__all__ = ["WebServiceConfig"]


@dataclass(frozen=True)
class WebServiceConfig:
    """Where a `WebRunner` listens.

    Args:
        host: The address; anything but loopback is open to whoever reaches it.
        port: The port; 0 takes a free one.
        log_level: From which level on ``perdure.local`` logs.
        max_request_size: Not used: the service's own limits hold.

    """

    host: str = "localhost"
    port: int = 5000
    log_level: int = logging.INFO
    max_request_size: int = 10 * 1024 * 1024
