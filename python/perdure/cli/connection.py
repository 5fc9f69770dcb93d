"""How a command gets its client: AWS as boto3 finds it, or a local service at an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from perdure.cli.codes import USAGE, CommandError
from perdure.cli.faults import not_lambda
from perdure.local.server.endpoints import NO_CREDENTIALS, NO_PROXY, is_local, is_loopback

_REGION = "us-east-1"
_LONGEST_INVOKE = 900 + 30  # a synchronous invoke may take 15 minutes
_CONNECT, _READ = 5, 15  # seconds; nothing else takes long, and somebody sits before it
_LIKE = "An endpoint is like http://127.0.0.1:9000."


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

    def options(self) -> list[str]:
        """Write it as options of a command."""
        given = (("--endpoint", self.endpoint), ("--region", self.region), ("--profile", self.profile))
        return [word for name, value in given if value for word in (name, value)]

    def open(self, *, patient: bool = False) -> Any:
        """Make a client; a patient one waits for a synchronous invoke, and sends it only once."""
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - slow to import
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415 - the same
        from botocore.exceptions import InvalidRegionError  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

        endpoint = _checked(_with_scheme(self.endpoint)) if self.endpoint else None
        local = is_local(endpoint)
        attempts = 1 if patient or local else 4
        options: dict[str, Any] = {
            "retries": {"mode": "standard", "total_max_attempts": attempts},
            "connect_timeout": _CONNECT,
            "read_timeout": _READ,
        }
        if patient:
            options |= {"read_timeout": _LONGEST_INVOKE, "tcp_keepalive": True}
        session = boto3.Session(profile_name=self.profile, region_name=self.region)
        arguments: dict[str, Any] = {}
        if local:
            options |= NO_PROXY
            arguments |= {"region_name": session.region_name or _REGION, **NO_CREDENTIALS}
        try:
            client = session.client("lambda", endpoint_url=endpoint, config=Config(**options), **arguments)
        except InvalidRegionError:
            name = self.region or session.region_name
            raise CommandError(f"{name!r} is no region.", USAGE, "Region", "A region is like eu-central-1.") from None
        except ValueError as problem:
            raise CommandError(f"{str(problem).rstrip('.')}.", USAGE, "Endpoint", _LIKE) from None
        client.meta.events.register("after-call.lambda", _check_answer)
        return client


def _with_scheme(endpoint: str) -> str:
    """Let `localhost:9000` stand for `http://localhost:9000`."""
    return endpoint if "://" in endpoint or not is_loopback(f"//{endpoint}") else f"http://{endpoint}"


def _checked(endpoint: str) -> str:
    """Return an endpoint that is one; boto3 would ask for a region before it looks."""
    try:
        parts = urlsplit(endpoint)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or half an IPv6 address
        fits = False
    if not fits:
        raise CommandError(f"--endpoint: {endpoint!r} is not the URL of a service.", USAGE, "Endpoint", _LIKE)
    return endpoint


def _check_answer(http_response: Any, **_more: Any) -> None:
    """Refuse a page: a web server answers it to anything, with 200 perhaps, and boto3 would read an empty answer."""
    kind = str(http_response.headers.get("content-type", ""))
    if kind.lower().startswith("text/html"):
        http_response.raw.close()  # an invoke's body is a stream that nobody would read to its end
        raise not_lambda(http_response.status_code, kind.partition(";")[0])
