"""How a command gets its client: AWS as boto3 finds it, or a local service at an endpoint."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from perdure.commands.codes import USAGE, CommandError

_ENVIRONMENT = ("AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL")
_REGION, _NOBODY = "us-east-1", "local"
_LONGEST_INVOKE = 900 + 30  # a synchronous invoke may take 15 minutes


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a command sends its requests.

    Args:
        endpoint: The URL of a service; None for what boto3 finds, AWS_ENDPOINT_URL_LAMBDA included.
        region: The AWS region; None for what boto3 finds.
        profile: The profile of the AWS configuration; None for what boto3 finds.

    """

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None

    def open(self, *, patient: bool = False) -> Any:
        """Make a client; a patient one waits for a synchronous invoke, and sends it only once."""
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - slow to import
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

        endpoint = _with_scheme(self.endpoint) if self.endpoint else None
        local = is_loopback(endpoint or _from_environment())
        attempts = 1 if patient or local else 4
        options: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": attempts}}
        if patient:
            options |= {"read_timeout": _LONGEST_INVOKE, "tcp_keepalive": True}
        session = boto3.Session(profile_name=self.profile, region_name=self.region)
        arguments: dict[str, Any] = {}
        if local:
            options["proxies"] = {}
            arguments |= {
                "region_name": session.region_name or _REGION,
                "aws_access_key_id": _NOBODY,
                "aws_secret_access_key": _NOBODY,
            }
        try:
            return session.client("lambda", endpoint_url=endpoint, config=Config(**options), **arguments)
        except ValueError as problem:
            raise CommandError(f"{problem}.", USAGE, "Endpoint", "An endpoint is like http://127.0.0.1:9000.") from None


def is_loopback(endpoint: str | None) -> bool:
    """Tell whether an endpoint is this machine, which asks for no credentials."""
    if not endpoint:
        return False
    try:
        host = urlsplit(endpoint).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _with_scheme(endpoint: str) -> str:
    """Let `localhost:9000` stand for `http://localhost:9000`."""
    return endpoint if "://" in endpoint or not is_loopback(f"//{endpoint}") else f"http://{endpoint}"


def _from_environment() -> str | None:
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return next((url for name in _ENVIRONMENT if (url := os.environ.get(name))), None)
