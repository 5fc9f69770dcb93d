"""A served local service and its boto3 client; and a Lambda Runtime Interface endpoint around a handler."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from perdure.local import LocalService, RealClock
from perdure.local.events import LocalLambdaContext
from perdure.local.server.http import LocalServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def lambda_client(url: str, *, validate: bool = True) -> Any:
    """Make a boto3 client of a server; one that does not validate sends whatever it is given."""
    return boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="anybody",
        aws_secret_access_key="anything",  # noqa: S106 - nothing checks it
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30, proxies={}, parameter_validation=validate),
    )


@contextmanager
def served(service: LocalService | None = None) -> Iterator[tuple[LocalService, LocalServer, Any]]:
    """Serve a service; give it with its server and a boto3 client."""
    with service or LocalService(clock=RealClock()) as opened, LocalServer(opened) as server:
        client = lambda_client(server.url)
        try:
            yield opened, server, client
        finally:
            client.close()


@contextmanager
def runtime_interface(handler: Callable[[Any, Any], Any]) -> Iterator[str]:
    """Run a handler behind a Lambda Runtime Interface endpoint; give its URL."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                tenant, trace = self.headers.get("x-amz-tenant-id"), self.headers.get("x-amzn-trace-id")
                output = handler(event, LocalLambdaContext("function", "arn", tenant, trace_id=trace))
            except Exception as problem:  # noqa: BLE001 - as the runtime does
                output = {"errorMessage": str(problem), "errorType": type(problem).__name__, "stackTrace": ["here"]}
            body = json.dumps(output).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/2015-03-31/functions/function/invocations"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
