"""What a refusal says of when to ask again. Imported when a call has failed."""

from __future__ import annotations

import math
import time


def asked_to_wait(error: Exception) -> float:
    """Give the seconds for which a ``Retry-After`` asks, in either of its forms; 0 without one, or with a bad one."""
    response = getattr(error, "response", None)
    # Errors of the official names have the same members by themselves.
    metadata = response.get("ResponseMetadata") if isinstance(response, dict) else None
    if metadata is None:
        metadata = getattr(error, "response_metadata", None)
    headers = metadata.get("HTTPHeaders") if isinstance(metadata, dict) else None
    text = headers.get("retry-after") if isinstance(headers, dict) else None
    if not isinstance(text, str):
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = _until(text)
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def _until(text: str) -> float:
    """Give the seconds until a moment in the form of HTTP."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  hardly ever

    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError, OSError):
        return 0.0
