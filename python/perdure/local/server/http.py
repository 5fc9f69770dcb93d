"""The local service over HTTP: an ASGI application, and a server of it. Needs the `local` extra.

boto3, the AWS CLI and every SDK that speaks to Lambda can be pointed at it (`endpoint_url`, `AWS_ENDPOINT_URL_LAMBDA`).
Signatures are accepted and not checked: whoever reaches the port may do everything. Keep it on loopback.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from perdure._log import Log
from perdure.local.invoking import ASYNC_BYTES, SYNC_BYTES
from perdure.local.machine.errors import REQUEST_TIMEOUT, SERVICE, TOO_LARGE, Fault
from perdure.local.machine.limits import MIB
from perdure.local.server.connections import Complaints, Impatient
from perdure.local.server.origin_check import check_sender, is_loopback
from perdure.local.server.wire import Answer, Request, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request as HttpRequest

    from perdure.local.calls import Call
    from perdure.local.handle import ExecutionHandle
    from perdure.local.service import LocalService

    Door = Callable[[bytes], tuple[int, Any]]
    """Is given the body of a request; gives a status, and what is to be the body of the answer."""

_LOG = Log("perdure.local")
_MOST_BYTES = 40 * MIB  # a payload of 6 MiB of which JSON escapes every character
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
_GRACE_SECONDS = 3
_BODY_SECONDS = _HEADER_SECONDS = 30.0
_GLANCE = 0.5
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - how to reach them


def application(
    service: LocalService,
    body_timeout: float = _BODY_SECONDS,
    *,
    of_this_machine: bool = True,
    doors: Mapping[tuple[str, str], Door] | None = None,
) -> Starlette:
    """Make the ASGI application of a service; `service.start_workers()` is the caller's.

    Beside the API it has `doors`, by method and path.

    A request of whose body no byte comes for `body_timeout` seconds is answered with 408. What a browser sends for a
    page from elsewhere is refused: nothing else here asks who calls. So is, if the application is one `of_this_machine`
    alone, what was sent to a name on the Internet that somebody has led here.
    """
    wire = Wire()
    callers = _Callers()

    async def endpoint(request: HttpRequest) -> Response:
        try:
            check_sender(request.headers, of_this_machine=of_this_machine)
            door = (doors or {}).get((request.method, request.url.path))
            if door is None:
                answer = await _handle(service, wire, request, body_timeout, callers)
            else:
                answer = await _through(door, request, body_timeout)
        except Fault as fault:
            answer = wire.refuse(fault)
            if fault.code == REQUEST_TIMEOUT:
                answer.headers["connection"] = "close"  # the rest of the body may come yet, and is no request
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except Exception:  # noqa: BLE001 - the caller gets no traceback
            _LOG.exception("%s %s could not be answered.", request.method, request.url.path)
            answer = wire.refuse(Fault(SERVICE, "The local service failed; its log says more."))
        return Response(answer.body, answer.status, answer.headers)

    app = Starlette(routes=[Route("/{path:path}", endpoint, methods=_METHODS)])
    app.state.callers = callers
    return app


class _Callers:
    """Those who wait for the end of what they invoked; everything happens in the server's loop."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()
        self._sent_home = False

    async def wait(self, ended: asyncio.Event) -> None:
        """Wait until `ended` is set, or all are sent home."""
        if self._sent_home:
            return
        self._waiting.add(ended)
        try:
            await ended.wait()
        finally:
            self._waiting.discard(ended)

    def send_home(self) -> None:
        """Let nobody wait any longer."""
        self._sent_home = True
        for ended in self._waiting:
            ended.set()


async def _handle(
    service: LocalService, wire: Wire, http: HttpRequest, body_timeout: float, callers: _Callers
) -> Answer:
    path = http.scope["raw_path"].decode("latin-1").partition("?")[0]
    method, action, labels = wire.find(http.method, path)
    limit = _MOST_BYTES
    if method == "invoke":
        limit = ASYNC_BYTES if http.headers.get("x-amz-invocation-type") == "Event" else SYNC_BYTES
    body = await _body(http, limit, body_timeout)
    request = Request(http.method, path, http.query_params.multi_items(), http.headers, body)
    arguments = wire.arguments(action, labels, request)
    if method == "invoke":
        arguments["TraceId"] = http.headers.get("x-amzn-trace-id")
        response = await _invoke(service, arguments, callers)
    else:
        response = await run_in_threadpool(service.answer, method, arguments)
    return wire.respond(action, response)


async def _through(door: Door, http: HttpRequest, body_timeout: float) -> Answer:
    """Answer what is no action of the API."""
    body = await _body(http, _MOST_BYTES, body_timeout)
    status, document = await run_in_threadpool(door, body)
    return Answer(status, json.dumps(document).encode(), {"content-type": "application/json"})


async def _body(http: HttpRequest, limit: int, patience: float) -> bytes:
    """Read a body, no more of it than the service takes, and no longer than something comes within `patience`."""
    parts, size = [], 0
    now = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(patience) as silence:
            async for part in http.stream():
                silence.reschedule(now() + patience)
                size += len(part)
                if size > limit:
                    raise Fault(TOO_LARGE, f"Request must be smaller than {limit} bytes.")
                parts.append(part)
    except TimeoutError:
        raise Fault(REQUEST_TIMEOUT, f"Nothing more of the request's body came for {patience:g} seconds.") from None
    return b"".join(parts)


async def _invoke(service: LocalService, arguments: dict[str, Any], callers: _Callers) -> dict[str, Any]:
    """Invoke, and wait for the end without holding a thread."""
    target = await run_in_threadpool(service.begin_invoke, arguments)
    if target is not None and arguments.get("InvocationType", "RequestResponse") == "RequestResponse":
        try:
            await asyncio.wait_for(_ended(service, target, callers), service.sync_timeout or None)
        except TimeoutError:
            _LOG.warning("A synchronous caller of %s stopped waiting.", arguments["FunctionName"])
        else:
            if not target.terminal:
                raise Fault(SERVICE, "The local service was stopped before the function ended.")
    return await run_in_threadpool(service.invoke_answer, arguments, target)


async def _ended(service: LocalService, target: ExecutionHandle | Call, callers: _Callers) -> None:
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
    await callers.wait(ended)


class _Uvicorn(uvicorn.Server):
    """A uvicorn server that says when it is up, and when it has ended."""

    def __init__(self, config: uvicorn.Config, callers: _Callers) -> None:
        super().__init__(config)
        self._callers = callers
        self.up = threading.Event()
        self.ended = threading.Event()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Run, and say when it is over."""
        try:
            super().run(sockets)
        finally:
            self.ended.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        asyncio.get_running_loop().set_exception_handler(Complaints())
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down; whoever waits is told so."""
        self._callers.send_home()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
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
        listening: what `listen` returned for them, if that was called before.
        body_timeout: seconds without a byte after which a request whose body has not all come is answered with 408.
        header_timeout: seconds after which one whose headers have not all come is.
        doors: what is answered beside the API, by method and path.

    Raises:
        OSError: the port is taken, or the address is not of this machine.

    """

    def __init__(
        self,
        service: LocalService,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        listening: socket.socket | None = None,
        body_timeout: float = _BODY_SECONDS,
        header_timeout: float = _HEADER_SECONDS,
        doors: Mapping[tuple[str, str], Door] | None = None,
    ) -> None:
        self.service = service
        self.host = host
        self.of_this_machine = is_loopback(host)
        self._socket = listen(host, port) if listening is None else listening
        called = _ANY.get(host, host)
        port = self._socket.getsockname()[1]
        self.url = f"http://[{called}]:{port}" if ":" in called else f"http://{called}:{port}"
        """Where this machine reaches it, on whatever address it listens."""
        app = application(service, body_timeout, of_this_machine=self.of_this_machine, doors=doors)
        config = uvicorn.Config(
            app,
            loop="asyncio",  # and not uvloop where it is installed: it has its own ways where files run out
            http=partial(Impatient, patience=header_timeout),  # type: ignore[arg-type]  # called, whatever it is
            log_config=None,  # its lines go where those of everybody go
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._server = _Uvicorn(config, app.state.callers)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the server; see `start`."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the workers and the server; the service itself stays open."""
        self.stop()

    def start(self) -> None:
        """Start the workers, and the server in a thread of its own."""
        self.service.start_workers()
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="perdure-http", daemon=True
        )
        self._thread.start()
        self._server.up.wait()

    def wait(self) -> None:
        """Wait until the server ends, as it does by itself only in trouble, or until a KeyboardInterrupt."""
        while not self._server.ended.wait(_GLANCE):  # not join(): interrupted, it may take the thread for ended
            pass

    def stop(self, grace: float = 5.0) -> bool:
        """Wait up to `grace` seconds for what runs, then answer no more; tell whether all of it came to its end."""
        try:
            return self.service.stop_workers(grace)  # first, since handlers may need the API to come to their end
        except BaseException:
            self._server.force_exit = True
            raise
        finally:
            self._server.should_exit = True
            if self._thread is not None:
                self._server.ended.wait()
                self._thread.join()
            self._socket.close()
