"""Endpoints of a local service: which are, and what a client of boto3's needs there, which is no credentials."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from perdure.local.server import origin_check as senders

_ENVIRONMENT = ("AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL")
_NOBODY = "local"

NO_CREDENTIALS: dict[str, Any] = {"aws_access_key_id": _NOBODY, "aws_secret_access_key": _NOBODY}
"""What stands for them where nobody looks at them; the caller's own have no business there."""

NO_PROXY: dict[str, Any] = {"proxies": {}}
"""The option of a client's `Config` that goes to this machine past any proxy."""


def is_local(endpoint: str | None) -> bool:
    """Tell whether a client with this endpoint, or with none but what the environment says, speaks to this machine."""
    return is_loopback(endpoint or _from_environment())


def is_loopback(endpoint: str | None) -> bool:
    """Tell whether an endpoint is this machine, which asks for no credentials."""
    if not endpoint:
        return False
    try:
        return senders.is_loopback(urlsplit(endpoint).hostname or "")
    except ValueError:
        return False


def _from_environment() -> str | None:
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return next((url for name in _ENVIRONMENT if (url := os.environ.get(name))), None)
