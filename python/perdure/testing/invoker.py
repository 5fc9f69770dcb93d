"""Whom a test calls, and with what: Lambda contexts made by hand, and a client for functions on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perdure.local.machine.validation import function_parts

__all__ = [
    "DEFAULT_INVOCATION_TIMEOUT_SECONDS",
    "DEFAULT_LAMBDA_READ_TIMEOUT_SECONDS",
    "INVOCATION_MARKER_HEADER",
    "LATEST_PUBLISHED_QUALIFIER",
    "LambdaContext",
    "create_lambda_client",
    "create_test_lambda_context",
    "executed_version",
    "read_timeout_for",
]

_LATEST = "$LATEST"
LATEST_PUBLISHED_QUALIFIER = "$LATEST.PUBLISHED"
"""What stands for the newest published version."""

DEFAULT_INVOCATION_TIMEOUT_SECONDS = 900
"""How long an invocation may take."""

_HEADROOM = 60
DEFAULT_LAMBDA_READ_TIMEOUT_SECONDS = DEFAULT_INVOCATION_TIMEOUT_SECONDS + _HEADROOM
"""How long to wait for its response."""

INVOCATION_MARKER_HEADER = "X-Dex-Handler-Invoke"
"""Says of an invocation that the handler is to run once, and no execution to be started."""


@dataclass
class LambdaContext:
    """A Lambda context for a test that calls a handler by itself. Of its time, 15 minutes, nothing passes.

    Users import it from `perdure.testing.model`.
    """

    aws_request_id: str
    log_group_name: str | None = None
    log_stream_name: str | None = None
    function_name: str | None = None
    memory_limit_in_mb: str | None = None
    function_version: str | None = None
    invoked_function_arn: str | None = None
    tenant_id: str | None = None
    client_context: dict[str, Any] | None = None
    identity: dict[str, Any] | None = None

    def get_remaining_time_in_millis(self) -> int:
        """Give the milliseconds until the invocation is cut off."""
        return 1000 * DEFAULT_INVOCATION_TIMEOUT_SECONDS

    def log(self, msg: Any) -> None:
        """Write to the function's log, which nobody reads here."""


def executed_version(qualifier: str | None) -> str:
    """Tell which version a qualifier stands for where none is published: itself, or else ``$LATEST``."""
    known = qualifier is not None and (qualifier.isdecimal() or qualifier == LATEST_PUBLISHED_QUALIFIER)
    return qualifier or _LATEST if known else _LATEST


def create_test_lambda_context(
    *,
    region: str = "us-west-2",
    account_id: str = "123456789012",
    function_name: str = "test-function",
    tenant_id: str | None = None,
) -> LambdaContext:
    """Make a Lambda context as an invocation of a function gets it.

    Args:
        region: Of the ARN.
        account_id: Of the ARN.
        function_name: What the function is invoked by: a name, with a version or an alias or without.
        tenant_id: Of the invocation.

    """
    name, qualifier = function_parts(function_name)
    arn = f"arn:aws:lambda:{region}:{account_id}:function:{name}"
    return LambdaContext(
        "test-request",
        function_name=name,
        function_version=executed_version(qualifier),
        invoked_function_arn=arn if qualifier is None else f"{arn}:{qualifier}",
        tenant_id=tenant_id,
    )


def read_timeout_for(invocation_timeout_seconds: int) -> int:
    """Give the seconds to wait for the response of an invocation that may take so many."""
    return invocation_timeout_seconds + _HEADROOM


def create_lambda_client(
    endpoint_url: str | None,
    region_name: str,
    read_timeout_seconds: int = DEFAULT_LAMBDA_READ_TIMEOUT_SECONDS,
    *,
    mark_invocations: bool = True,
) -> Any:
    """Make a boto3 Lambda client that waits for one answer as long as an invocation may take, and asks once.

    Args:
        endpoint_url: Where functions are; None for AWS.
        region_name: The region.
        read_timeout_seconds: How long to wait for an answer.
        mark_invocations: Say in a header of each invocation that its handler is to run once, for endpoints that would
            otherwise start an execution of a durable function.

    """
    import boto3  # type: ignore[import-untyped]  # noqa: PLC0415  slow to import
    from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415  the same

    waits = Config(read_timeout=read_timeout_seconds, retries={"total_max_attempts": 1})
    client = boto3.client("lambda", endpoint_url=endpoint_url, region_name=region_name, config=waits)
    if mark_invocations:
        client.meta.events.register("before-sign.lambda.Invoke", _mark)
    return client


def _mark(request: Any, **_: Any) -> None:
    request.headers[INVOCATION_MARKER_HEADER] = "true"
