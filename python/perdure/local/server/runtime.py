"""Functions that run elsewhere, behind a Lambda Runtime Interface endpoint: one POST an invocation."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from perdure.local.machine.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BRIEF = 200


class RemoteFunction:
    """A handler that sends its event to an endpoint such as `…/2015-03-31/functions/function/invocations`."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError(f"{url!r} is no HTTP URL.")
        self.url = url
        self._headers = dict(headers or {})
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __call__(self, event: Any, context: Any) -> Any:
        """Send the event, and return what the function returned; `RemoteError` if it failed."""
        told = {
            "x-amzn-requestid": context.aws_request_id,
            "x-amz-tenant-id": context.tenant_id,
            "x-amzn-trace-id": context.trace_id,
        }
        headers = {name: value for name, value in told.items() if value and value.isascii() and value.isprintable()}
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.url,
            json.dumps(event).encode(),
            {"content-type": "application/json", **headers, **self._headers},
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=context.get_remaining_time_in_millis() / 1000) as response:
                body, failed = response.read(), response.headers.get("x-amz-function-error") is not None
        except urllib.error.HTTPError as problem:
            with problem:
                body, failed = problem.read(), True
        except OSError as problem:
            raise RemoteError(f"{self.url} cannot be reached: {problem}", "Runtime.Unreachable") from problem
        return _output(body, failed=failed)


def _output(body: bytes, *, failed: bool) -> Any:
    try:
        output = json.loads(body) if body.strip() else None
    except ValueError:
        shown = body[:_BRIEF].decode("utf-8", "replace")
        raise RemoteError(f"The function returned no JSON: {shown}", "Runtime.InvalidResponse") from None
    described = output if isinstance(output, dict) else {}
    if failed or {"errorMessage", "errorType"} <= described.keys():
        message, kind = described.get("errorMessage"), described.get("errorType")
        trace = described.get("stackTrace")
        lines = [str(line) for line in trace] if isinstance(trace, list) else None
        raise RemoteError(str(message or "The function failed."), str(kind or "Runtime.Unknown"), lines)
    return output
