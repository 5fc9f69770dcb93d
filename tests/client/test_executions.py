"""Whole executions whose calls go over HTTP and TLS: the same records and results as within the process."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from perdure import durable_execution
from perdure._core import Updates
from perdure.local import LocalService, VirtualClock
from perdure.retries import RetryDecision
from support import corpus
from support.wire import lambda_environment, scripted
from support.wired import LOST_AFTER, authority, certified, wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
@pytest.mark.parametrize(
    ("transport", "lossy"),
    [("http", False), ("https", False), ("http", True)],
    ids=["http", "https", "http, every fifth answer lost"],
)
def test_an_execution_over_the_wire_is_recorded_as_one_within_the_process(
    name: str, transport: str, lossy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.engine.checkpoint.sleep", lambda _seconds: None)
    service = LocalService()

    def hurt(number: int) -> str | None:
        return LOST_AFTER if lossy and number % 5 == 0 else None

    with wire(service, monkeypatch, tmp_path, transport, hurt) as over:
        there = run(name, over_the_wire(name), service)
    assert over.requests or not there["operations"]
    assert there == run(name, corpus.HANDLERS[name], LocalService())


def looks(context: Any, seen: list[Any]) -> None:
    """Look at what is recorded, after each of some operations that bring moments along."""

    def look() -> None:
        state = context.state.operations
        seen.append({key: operation for key, operation in state.items() if key in state})

    def fail_once(step: Any) -> int:
        if step.attempt == 1:
            raise ValueError("once")
        return 1

    look()
    context.step(lambda _: look() or 1, name="a")
    look()
    context.step(fail_once, name="again", retry=lambda _error, _attempt: RetryDecision.retry(timedelta(seconds=5)))
    look()
    context.run_in_child_context(lambda inner: inner.wait(7, name="w"), name="child")
    look()
    context.create_callback(name="cb", timeout=timedelta(hours=1))
    look()


def test_the_state_has_the_same_moments_whichever_client_has_read_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer's bytes have them in seconds; boto3 makes datetimes of these, and an event has milliseconds."""

    def run_with(dressed: Callable[[Any], Any], service: LocalService) -> list[Any]:
        seen: list[Any] = []
        handler = durable_execution(lambda _event, context: looks(context, seen))
        assert service.register("f", dressed(handler)).run("f").status == "SUCCEEDED"
        return seen

    moment = dt.datetime(2100, 1, 2, 3, 4, 5, 678_000, dt.UTC)
    service = LocalService(clock=VirtualClock(moment))
    with wire(service, monkeypatch, tmp_path, "http", lambda _number: None) as over:
        natively = run_with(over.dressed, service)
    by_dicts = run_with(lambda handler: handler, LocalService(clock=VirtualClock(moment)))
    assert len(over.requests) > 5
    assert [[*map(of_state, state.values())] for state in natively] == [
        [*map(of_state, state.values())] for state in by_dicts
    ]
    last = {operation.name: operation for operation in natively[-1].values()}
    again, child, callback = (last[name] for name in ("again", "child", "cb"))
    assert again.end_timestamp - again.start_timestamp == timedelta(seconds=5)
    assert child.end_timestamp - child.start_timestamp == timedelta(seconds=7)
    assert last["w"].wait_details.scheduled_end_timestamp == child.end_timestamp
    assert callback.start_timestamp == child.end_timestamp
    assert callback.start_timestamp.microsecond == moment.microsecond


def of_state(operation: Any) -> dict[str, Any]:
    """Give an operation of the state without what is drawn anew for each execution."""
    varies = {"operation_id", "parent_id"} if operation.operation_type.value == "EXECUTION" else set()
    found = {one.name: getattr(operation, one.name) for one in fields(operation) if one.name not in varies}
    found.pop("callback_details")
    if varies:
        del found["name"]
    return found


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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = certified(host)
    with scripted(context=context) as (port, requests):
        lambda_environment(monkeypatch, f"https://localhost:{port}")
        if bundle:
            authority().cert_pem.write_to_path(tmp_path / "ca.pem")
            monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        with pytest.raises(ConnectionError) as refused:
            native().checkpoint("arn", "t", Updates(), "ct")
    assert requests == []
    for part in (message, f"localhost:{port}", "AWS_CA_BUNDLE"):
        assert part in str(refused.value)


def test_a_certificate_that_nobody_has_signed_but_itself_is_refused(
    native: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    moments = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), *moments)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    authority().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with scripted(context=context) as (port, requests):
        lambda_environment(monkeypatch, f"https://localhost:{port}", AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
        with pytest.raises(ConnectionError, match="AWS_CA_BUNDLE"):
            native().checkpoint("arn", "t", Updates(), "ct")
    assert requests == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_an_old_version_of_tls_is_refused(native: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = certified()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    with scripted(context=context) as (port, requests):
        lambda_environment(monkeypatch, f"https://localhost:{port}", AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
        with pytest.raises(ConnectionError):
            native().checkpoint("arn", "t", Updates(), "ct")
    assert requests == []


def test_a_certificate_that_has_expired_is_refused(
    native: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    expired = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    authority().issue_cert("localhost", not_before=expired, not_after=expired).configure_cert(context)
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    with scripted(context=context) as (port, requests):
        lambda_environment(monkeypatch, f"https://localhost:{port}", AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
        with pytest.raises(ConnectionError, match="expired"):
            native().checkpoint("arn", "t", Updates(), "ct")
    assert requests == []


def test_a_bundle_that_is_none_is_named(native: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lambda_environment(monkeypatch, AWS_CA_BUNDLE=str(tmp_path / "missing.pem"))
    with pytest.raises(OSError, match=r"missing\.pem cannot be read.*AWS_CA_BUNDLE"):
        native()
