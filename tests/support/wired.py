"""A local service behind the server of `perdure serve` and a wire that can be cut; the native client at its other end.

Handlers that are `dressed` keep their event's clock, so that time stays virtual; their calls go over HTTP or TLS.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import trustme
from botocore.config import Config

from perdure import execution
from perdure.engine import native_client
from perdure.engine.client import BotoClient
from perdure.local import InvocationCut
from perdure.local.http import LocalServer
from support.invocations import LambdaContext
from support.wire import Connection, Request, answer, lambda_environment, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from perdure.local import LocalService

    Handler = Callable[[Any, Any], Any]

CUT_BEFORE, CUT_AFTER = "the invocation dies before it is applied", "the invocation dies after it is applied"
LOST_BEFORE, LOST_AFTER = "lost before it is applied", "lost after it is applied"
HALF, THROTTLED = "half of the answer", "throttled"
WAYS = (LOST_AFTER, CUT_BEFORE, HALF, LOST_BEFORE, CUT_AFTER, THROTTLED)
"""How a request may be hurt."""

_REFUSAL = answer(b'{"message": "slow down"}', "429 Too Many", "x-amzn-errortype: TooManyRequestsException")


@functools.cache
def authority() -> trustme.CA:
    """Give the throw-away authority of this run."""
    return trustme.CA()


@functools.cache
def _session() -> boto3.Session:
    """Give what clients are made of: it reads the models once."""
    return boto3.Session()


def certified(host: str = "localhost") -> ssl.SSLContext:
    """Give what a server needs that the authority vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(host).configure_cert(context)
    return context


class Wire:
    """The wire, while it is up.

    Args:
        server: Whom it leads to.
        hurt: Tells for each request, by its number from 1, in which of the `WAYS` it is hurt, if in any.

    """

    def __init__(self, server: LocalServer, hurt: Callable[[int], str | None]) -> None:
        self.requests: list[Request] = []
        self.hits: list[str] = []
        self.closing = contextlib.ExitStack()
        self._address = urlsplit(server.url)
        self._hurt = hurt
        self._is_cut = False

    def dressed(self, handler: Handler, native: bool = True) -> Handler:
        """Let a handler's calls go over the wire, whatever client its event has: by the native client, or by boto3."""
        client = self._native() if native else self._boto3()

        @functools.wraps(handler)
        def call(event: Any, context: Any) -> Any:
            event.client = client
            return handler(event, context)

        return call

    def _native(self) -> _Client:
        core, why = native_client.find()
        assert core is not None, why
        return _Client(self, core)

    def _boto3(self) -> Any:
        client = _session().client("lambda", config=Config(retries={"total_max_attempts": 1}, proxies={}))
        self.closing.callback(client.close)
        return client

    def serve(self, connection: Connection) -> None:
        """Hand the requests of a connection on."""
        assert self._address.hostname is not None
        onward = http.client.HTTPConnection(self._address.hostname, self._address.port)
        with contextlib.closing(onward):
            while (request := connection.request()) is not None and not self._is_cut:
                self.requests.append(request)
                way = self._hurt(len(self.requests))
                if way is not None:
                    self.hits.append(way)
                self._is_cut = way in (CUT_BEFORE, CUT_AFTER)
                if way in (CUT_BEFORE, LOST_BEFORE):
                    return
                text = _REFUSAL if way == THROTTLED else _handed_on(onward, request)
                if way in (CUT_AFTER, LOST_AFTER):
                    return
                connection.send(text[: len(text) // 2] if way == HALF else text)
                if way == HALF:
                    return

    def died(self) -> bool:
        """Tell whether the invocation that called has died with its call; the next one finds the wire whole."""
        died, self._is_cut = self._is_cut, False
        return died


def _handed_on(onward: http.client.HTTPConnection, request: Request) -> bytes:
    headers = {"content-type": request.headers["content-type"]} if "content-type" in request.headers else {}
    onward.request(request.method, request.target, request.body or None, headers)
    given = onward.getresponse()
    kept = [f"{name}: {value}" for name, value in given.getheaders() if name.lower().startswith("x-amz")]
    return answer(given.read(), f"{given.status} {given.reason}", *kept)


class _Client(native_client.NativeClient):
    """The native client, which tells of an invocation that was cut with its call."""

    def __init__(self, wire: Wire, core: Any) -> None:
        super().__init__(core, LambdaContext())
        self._wire = wire

    def checkpoint(self, *arguments: Any) -> Any:
        with self._survived():
            return super().checkpoint(*arguments)

    def state(self, *arguments: Any) -> Any:
        with self._survived():
            return super().state(*arguments)

    @contextlib.contextmanager
    def _survived(self) -> Iterator[None]:
        try:
            yield
        except ConnectionError:
            if self._wire.died():
                raise InvocationCut from None
            raise


def _client(client: Any) -> Any:
    """Give the engine a client of ours as it is, which would else be taken for one of boto3's."""
    return client if isinstance(client, _Client) else BotoClient(client)


@contextlib.contextmanager
def wire(
    service: LocalService,
    patch: pytest.MonkeyPatch,
    folder: Path,
    transport: str,
    hurt: Callable[[int], str | None] = lambda _: None,
) -> Iterator[Wire]:
    """Serve a service at the end of a wire, to which the environment leads."""
    context = certified() if transport == "https" else None
    patch.setattr(execution, "BotoClient", _client)
    patch.setattr(service, "start_workers", lambda: None)  # whoever tests drives executions, in virtual time
    with LocalServer(service) as server:
        found = Wire(server, hurt)
        with scripted(found.serve, context) as (port, _):
            url = f"https://localhost:{port}" if context else f"http://127.0.0.1:{port}"
            lambda_environment(patch, url, PERDURE_CLIENT="native")
            if context:
                bundle = folder / "ca.pem"
                authority().cert_pem.write_to_path(str(bundle))
                patch.setenv("AWS_CA_BUNDLE", str(bundle))
            with found.closing:
                yield found
