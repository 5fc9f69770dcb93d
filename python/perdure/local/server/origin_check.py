"""Who may send requests to a server that asks nobody for a password: not the pages that a browser shows.

A page from anywhere may have a browser send requests to this machine. It cannot keep the browser from saying so in the
header `Origin`; and where its own name was led to 127.0.0.1, that name stands in the header `Host`.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from perdure.local.machine.errors import ACCESS_DENIED, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNREADABLE = "."


def is_loopback(host: str) -> bool:
    """Tell whether an address or a name is one of this machine's own, which nobody else can reach."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_sender(headers: Mapping[str, str], *, of_this_machine: bool) -> None:
    """Refuse what a page in a browser sends, unless it is a page of this machine's.

    Args:
        headers: The request's.
        of_this_machine: Whether the server is for this machine alone, and so has none but local names.

    """
    origin = headers.get("origin")
    if origin is not None and not is_loopback(_host_of(origin)):
        raise Fault(ACCESS_DENIED, f"Pages from {origin} have no business here.")
    name = _host_of(f"//{headers.get('host', '')}")
    if of_this_machine and not _is_local(name):
        raise Fault(ACCESS_DENIED, f"{name} is no name of this machine's; call it by 127.0.0.1 or localhost.")


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return _UNREADABLE


def _is_local(name: str) -> bool:
    """Tell whether a name cannot be one that somebody has registered: it is short, reserved, or an address."""
    if "." not in name or name.endswith((".localhost", ".internal", ".local")):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
