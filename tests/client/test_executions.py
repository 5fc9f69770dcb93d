"""Whole executions whose calls go over HTTP and TLS: the same records and results as within the process."""

from __future__ import annotations

import datetime as dt
import json
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import trustme
from botocore.exceptions import ClientError

from perdure.local import LocalService
from support import corpus
from support.wire import Connection, Request, answer, lambda_environment, scripted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def forwarding(service: LocalService, dies: Callable[[Request], bool]) -> Callable[[Connection], None]:
    """Hand the requests of a connection to a service; before an answer the connection may die."""

    def script(connection: Connection) -> None:
        while (request := connection.request()) is not None:
            text = called(service, request)
            if dies(request):
                return
            connection.send(text)

    return script


def called(service: LocalService, request: Request) -> bytes:
    target = urlsplit(request.target)
    given: dict[str, Any] = {"DurableExecutionArn": unquote(target.path.split("/")[3])}
    try:
        if request.method == "POST":
            found = service.client.checkpoint_durable_execution(**given, **json.loads(request.body))
        else:
            query = {name: values[0] for name, values in parse_qs(target.query).items()}
            query["MaxItems"] = int(query["MaxItems"])
            found = service.client.get_durable_execution_state(**given, **query)
    except ClientError as refused:
        error = refused.response["Error"]
        status = f"{refused.response['ResponseMetadata']['HTTPStatusCode']} Refused"
        return answer(json.dumps({"message": error["Message"]}).encode(), status, f"x-amzn-errortype: {error['Code']}")
    found.pop("ResponseMetadata", None)
    return answer(json.dumps(found, default=lambda moment: moment.timestamp()).encode())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def run(name: str, handler: Callable[[Any, Any], Any], service: LocalService) -> dict[str, Any]:
    """Run a handler of the corpus to its end; give how it ended and what is recorded."""
    service.register("double", corpus.double, durable=False).register("breaks", corpus.breaks, durable=False)
    handle = service.register("f", handler).run("f", event={"n": 1}, stop_at_callback=True)
    for callback, kind, content in corpus.ANSWERS[name]:
        key = handle.callback_id(callback)
        if kind == "success":
            service.client.send_durable_execution_callback_success(CallbackId=key, Result=content)
        else:
            failure = {"ErrorMessage": content.decode()}
            service.client.send_durable_execution_callback_failure(CallbackId=key, Error=failure)
        handle.drive()
    recorded = sorted(map(timeless, handle.operations), key=lambda operation: operation["Id"])
    return {"status": handle.status, "result": handle.result, "error": handle.error, "operations": recorded}


def timeless(value: Any) -> Any:
    """Give a record without its moments and its callbacks' ids."""
    if isinstance(value, dict):
        varies = ("Timestamp", "CallbackId")
        return {key: timeless(inner) for key, inner in value.items() if not key.endswith(varies)}
    return value


def over_the_wire(name: str) -> Callable[[Any, Any], Any]:
    """Give a handler whose event brings no client of its own, as on Lambda."""
    return lambda event, context: corpus.HANDLERS[name](dict(event), context)


@pytest.mark.parametrize("name", corpus.HANDLERS)
@pytest.mark.parametrize("transport", ["http", "https", "http, every fifth answer lost"])
def test_an_execution_over_the_wire_is_recorded_as_one_within_the_process(
    name: str, transport: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.checkpoint.sleep", lambda _seconds: None)
    service, context, calls = LocalService(), None, iter(range(10_000))
    if transport == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
    lossy = transport.endswith("lost")
    script = forwarding(service, lambda _: lossy and next(calls) % 5 == 4)
    with scripted(script, context) as (port, requests):
        url = f"https://localhost:{port}" if context else f"http://127.0.0.1:{port}"
        lambda_environment(monkeypatch, url, PERDURE_CLIENT="native")
        if context:
            authority.cert_pem.write_to_path(tmp_path / "ca.pem")
            monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        there = run(name, over_the_wire(name), service)
    assert requests or not there["operations"]
    assert there == run(name, corpus.HANDLERS[name], LocalService())


@pytest.mark.parametrize(
    ("host", "bundle", "message"),
    [
        ("elsewhere.example", True, "not valid for name"),
        ("localhost", False, "UnknownIssuer"),
    ],
)
def test_a_certificate_that_cannot_be_trusted_is_refused_by_words_that_help(
    native: Any,
    host: str,
    bundle: bool,
    message: str,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    with scripted(context=context) as (port, requests):
        lambda_environment(monkeypatch, f"https://localhost:{port}")
        if bundle:
            authority.cert_pem.write_to_path(tmp_path / "ca.pem")
            monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        with pytest.raises(ConnectionError) as refused:
            native().checkpoint("arn", "t", [], "ct")
    assert requests == []
    for part in (message, f"localhost:{port}", "AWS_CA_BUNDLE"):
        assert part in str(refused.value)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_an_old_version_of_tls_is_refused(
    native: Any, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with scripted(context=context) as (port, requests):
        lambda_environment(monkeypatch, f"https://localhost:{port}", AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
        with pytest.raises(ConnectionError):
            native().checkpoint("arn", "t", [], "ct")
    assert requests == []


def test_a_certificate_that_has_expired_is_refused(
    native: Any, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    expired = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    authority.issue_cert("localhost", not_before=expired, not_after=expired).configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with scripted(context=context) as (port, requests):
        lambda_environment(monkeypatch, f"https://localhost:{port}", AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
        with pytest.raises(ConnectionError, match="expired"):
            native().checkpoint("arn", "t", [], "ct")
    assert requests == []


def test_a_bundle_that_is_none_is_named(native: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lambda_environment(monkeypatch, AWS_CA_BUNDLE=str(tmp_path / "missing.pem"))
    with pytest.raises(OSError, match=r"missing\.pem cannot be read.*AWS_CA_BUNDLE"):
        native()
