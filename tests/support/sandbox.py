"""A function as Lambda runs it: in a process of its own, under AWS's runtime client, with a Runtime API on loopback."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from support import lambda_app

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RESPONSE_BYTES = 6 * 1024 * 1024 + 100
"""What Lambda takes as a response; it answers a larger one with 413."""

TIMEOUT_MILLIS = 120_000
_API = "/2018-06-01/runtime/"
_INVOKE = "/2015-03-31/functions/function/invocations"


class _Server(ThreadingHTTPServer):
    """A server that makes no words about processes that have died."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.sandbox = sandbox

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Invocation:
    """An event on its way to the process, and what came of it."""

    def __init__(self, number: int, event: bytes) -> None:
        self.id = f"request-{number}"
        self.event = event
        self.is_too_large = False
        self.outcome: queue.Queue[tuple[bytes, bool]] = queue.Queue()

    def fails(self, kind: str, message: str) -> None:
        self.outcome.put((json.dumps({"errorType": kind, "errorMessage": message}).encode(), True))


class Sandbox:
    """A function in a process of its own. Its `url` is a Runtime Interface endpoint, as `perdure serve` drives them.

    A process that ends, or prints that its time is up, takes its invocation with it; the next one gets a new process.

    Args:
        runtime: Whose `AWS_EXECUTION_ENV` to set: by it the client decides how it writes responses.
        service_url: Where the handler finds the durable execution API.
        client: How it calls it: `native` or `boto3`.
        folder: Where the processes' output is kept.
        handler: Module and name of the handler.
        path: What the processes import from, with AWS's runtime client in it; this process's path, if it is not given.

    """

    def __init__(
        self,
        runtime: str,
        service_url: str,
        client: str,
        folder: Path,
        *,
        handler: str = f"{lambda_app.__name__}.handler",
        path: Sequence[Path] | None = None,
    ) -> None:
        self.pids: list[int] = []
        self.responses: list[bytes] = []
        self.failures: list[dict[str, Any]] = []
        self._folder = folder
        # Without `site`, a process that is given its path finds nothing beside it.
        self._command = [sys.executable, *([] if path is None else ["-S"]), "-m", "awslambdaric", handler]
        self._count = 0
        self._process: subprocess.Popen[str] | None = None
        self._waiting: queue.Queue[_Invocation | None] = queue.Queue()
        self._under_way: _Invocation | None = None
        self._watcher: threading.Thread | None = None
        self._server = _Server(self)
        address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{address}{_INVOKE}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": "function",
            "AWS_ENDPOINT_URL_LAMBDA": service_url,
            "PERDURE_CLIENT": client,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "anybody",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join(map(str, sys.path if path is None else path)),
            "PYTHONUTF8": "1",
        }
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if (process := self._process) is not None:
            process.kill()
        if self._watcher is not None:
            self._watcher.join()
        self._waiting.put(None)  # for the process that was asking
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def invoke(self, event: bytes) -> tuple[bytes, bool]:
        """Hand an event to the process; give the response, and whether the invocation failed."""
        self._count += 1
        invocation = self._under_way = _Invocation(self._count, event)
        self._waiting.put(invocation)
        if self._process is None:
            self._start()
        body, failed = invocation.outcome.get(timeout=TIMEOUT_MILLIS / 1000)
        if failed:
            self.failures.append(json.loads(body))
        else:
            self.responses.append(body)
        return body, failed

    def log(self) -> str:
        """Give what all processes have printed."""
        return "".join(path.read_text("utf-8", "backslashreplace") for path in sorted(self._folder.iterdir()))

    def _start(self) -> None:
        self._process = process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
        )
        self.pids.append(process.pid)
        self._watcher = threading.Thread(target=self._watch, args=(process,))
        self._watcher.start()

    def _watch(self, process: subprocess.Popen[str]) -> None:
        """Follow a process to its end."""
        assert process.stdout is not None
        kind, message = "Runtime.ExitError", "Runtime exited"
        with (self._folder / f"{len(self.pids):03}.log").open("w", encoding="utf-8") as log, process:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if line == lambda_app.TIME_IS_UP + "\n":
                    kind, message = "Sandbox.Timedout", "Task timed out"
                    process.kill()
        self._process = None
        if (invocation := self._under_way) is not None:
            self._under_way = None
            kind = "Function.ResponseSizeTooLarge" if invocation.is_too_large else kind
            invocation.fails(kind, f"RequestId: {invocation.id} Error: {message}")

    # -- the Runtime API -----------------------------------------------------------------------------------------------

    def next(self) -> _Invocation | None:
        """Wait for the next event."""
        return self._waiting.get()

    def ended(self, request: str, body: bytes, *, failed: bool) -> bool:
        """Take the outcome of an invocation; tell whether it was accepted."""
        invocation = self._under_way
        if invocation is None or invocation.id != request:
            return False
        if len(body) > RESPONSE_BYTES:
            invocation.is_too_large = True
            if (process := self._process) is not None:
                process.kill()  # as its runtime client would end it, whenever it comes to that
            return False
        self._under_way = None
        invocation.outcome.put((body, failed))
        return True


class _Endpoint(BaseHTTPRequestHandler):
    """Both sides: the Runtime API for the process, the Runtime Interface endpoint for whoever invokes."""

    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert self.path == f"{_API}invocation/next"
        invocation = self.server.sandbox.next()
        if invocation is None:
            self.close_connection = True
            return
        self._answer(
            200,
            invocation.event,
            {
                "Lambda-Runtime-Aws-Request-Id": invocation.id,
                "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + TIMEOUT_MILLIS),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:function",
                "Content-Type": "application/json",
            },
        )

    def do_POST(self) -> None:
        body = self._body()
        if self.path == _INVOKE:
            answer, failed = self.server.sandbox.invoke(body)
            self._answer(200, answer, {"X-Amz-Function-Error": "Unhandled"} if failed else {})
            return
        request, _, what = self.path.removeprefix(f"{_API}invocation/").partition("/")
        taken = self.server.sandbox.ended(request, body, failed=what == "error")
        self._answer(202 if taken else 413, b"{}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
