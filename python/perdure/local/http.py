"""The local service over HTTP: an ASGI application, and a server of it. Needs the `local` extra.

boto3, the AWS CLI and every SDK that speaks to Lambda can be pointed at it (`endpoint_url`, `AWS_ENDPOINT_URL_LAMBDA`).
Signatures are accepted and not checked: whoever reaches the port may do everything. Keep it on loopback.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from perdure.local.errors import SERVICE, TOO_LARGE, Fault
from perdure.local.invoking import ASYNC_BYTES, SYNC_BYTES
from perdure.local.limits import MIB
from perdure.local.wire import Answer, Request, Wire

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

    from perdure.local.calls import Call
    from perdure.local.handle import ExecutionHandle
    from perdure.local.service import LocalService

_LOG = logging.getLogger("perdure.local")
_MOST_BYTES = 40 * MIB  # a payload of 6 MiB of which JSON escapes every character
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
_GRACE_SECONDS = 3


def application(service: LocalService) -> Starlette:
    """Make the ASGI application of a service; `service.start_workers()` is the caller's."""
    wire = Wire()

    async def endpoint(request: HttpRequest) -> Response:
        try:
            answer = await _handle(service, wire, request)
        except Fault as fault:
            answer = wire.refuse(fault)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except Exception:  # noqa: BLE001 - the caller gets no traceback
            _LOG.exception("%s %s could not be answered.", request.method, request.url.path)
            answer = wire.refuse(Fault(SERVICE, "The local service failed; its log says more."))
        return Response(answer.body, answer.status, answer.headers)

    return Starlette(routes=[Route("/{path:path}", endpoint, methods=_METHODS)])


async def _handle(service: LocalService, wire: Wire, http: HttpRequest) -> Answer:
    path = http.scope["raw_path"].decode("latin-1").partition("?")[0]
    method, action, labels = wire.find(http.method, path)
    limit = _MOST_BYTES
    if method == "invoke":
        limit = ASYNC_BYTES if http.headers.get("x-amz-invocation-type") == "Event" else SYNC_BYTES
    body = await _body(http, limit)
    request = Request(http.method, path, http.query_params.multi_items(), http.headers, body)
    arguments = wire.arguments(action, labels, request)
    if method == "invoke":
        response = await _invoke(service, arguments)
    else:
        response = await run_in_threadpool(service.answer, method, arguments)
    return wire.respond(action, response)


async def _body(http: HttpRequest, limit: int) -> bytes:
    """Read a body, no more of it than the service takes."""
    parts, size = [], 0
    async for part in http.stream():
        size += len(part)
        if size > limit:
            raise Fault(TOO_LARGE, f"Request must be smaller than {limit} bytes.")
        parts.append(part)
    return b"".join(parts)


async def _invoke(service: LocalService, arguments: dict[str, Any]) -> dict[str, Any]:
    """Invoke, and wait for the end without holding a thread."""
    target = await run_in_threadpool(service.begin_invoke, arguments)
    if target is not None and arguments.get("InvocationType", "RequestResponse") == "RequestResponse":
        try:
            await asyncio.wait_for(_ended(service, target), service.sync_timeout or None)
        except TimeoutError:
            _LOG.warning("A synchronous caller of %s stopped waiting.", arguments["FunctionName"])
    return await run_in_threadpool(service.invoke_answer, arguments, target)


async def _ended(service: LocalService, target: ExecutionHandle | Call) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def listener() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(ended.set)

    def listen() -> None:
        with service.wake:
            if target.terminal:
                listener()
            else:
                target.listeners.append(listener)

    await run_in_threadpool(listen)
    await ended.wait()


class _Uvicorn(uvicorn.Server):
    """A uvicorn server that says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.up.set()


def _listen(host: str, port: int) -> socket.socket:
    """Open a port. Its sockets say that they are TCP, without which asyncio leaves 40 ms of delay in every response."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except BaseException:
        listener.close()
        raise
    return listener


class LocalServer:
    """A service on a port of this machine.

        with LocalServer(service) as server:
            boto3.client("lambda", endpoint_url=server.url, ...)

    Args:
        service: what to serve; its functions run in background workers while the server is up.
        host: the address to listen on; anything but loopback is open to whoever reaches it.
        port: the port, 0 for any that is free.

    Raises:
        OSError: the port is taken, or the address is not of this machine.

    """

    def __init__(self, service: LocalService, host: str = "127.0.0.1", port: int = 0) -> None:
        self.service = service
        self._socket = _listen(host, port)
        port = self._socket.getsockname()[1]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            application(service),
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._server = _Uvicorn(config)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the server in a thread of its own."""
        self.service.start_workers()
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="perdure-http", daemon=True
        )
        self._thread.start()
        self._server.up.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server and the workers; the service itself stays open."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self.service.stop_workers()
        self._socket.close()

    def run(self) -> None:
        """Serve in this thread until it is interrupted; stop the server and the workers then."""
        self.service.start_workers()
        try:
            self._server.run(sockets=[self._socket])
        except KeyboardInterrupt:
            pass
        finally:
            self.service.stop_workers()
            self._socket.close()
