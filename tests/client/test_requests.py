"""What goes over the wire: byte for byte what botocore would sign, and what boto3 sends for the same call."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure._core import Operation, Scope, Updates
from perdure.engine import native_client
from support.updates import sent
from support.wire import Request, lambda_environment, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/name/execution-id"
# What Python's strings may hold and JSON, headers and paths have to carry; a lone surrogate cannot be sent at all.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)

VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[Request]]]:
    with scripted() as (port, requests):
        url = f"http://127.0.0.1:{port}"
        lambda_environment(monkeypatch, url)
        yield url, requests


def expected_authorization(url: str, request: Request, token: str | None) -> str:
    """Sign a request that came as botocore would have signed it at that moment."""
    headers = {name: value for name, value in request.headers.items() if name in {"host", "content-type"}}
    target = urlsplit(request.target)
    query = {name: values[0] for name, values in parse_qs(target.query, keep_blank_values=True).items()}
    ours = AWSRequest(request.method, url + target.path, headers, request.body or None, query or None)
    ours.context["timestamp"] = request.headers["x-amz-date"]
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token)
    signer = SigV4Auth(credentials, "lambda", "us-east-1")
    signer._modify_request_before_signing(ours)
    canonical = signer.canonical_request(ours)
    signature = signer.signature(signer.string_to_sign(ours, canonical), ours)
    signer._inject_signature_to_request(ours, signature)
    return str(ours.headers["Authorization"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(arn=TEXT.filter(bool), token=TEXT, marker=TEXT, payload=TEXT, session=st.none() | VISIBLE)
def test_requests_are_signed_as_botocore_signs_them(
    native: Any, server: tuple[str, list[Request]], arn: str, token: str, marker: str, payload: str, session: str | None
) -> None:
    url, requests = server
    with pytest.MonkeyPatch.context() as patch:
        if session is None:
            patch.delenv("AWS_SESSION_TOKEN")
        else:
            patch.setenv("AWS_SESSION_TOKEN", session)
        client = native()
        sent(lambda step: step.succeed(payload), lambda updates: client.checkpoint(arn, token, updates, "ct"))
        client.state(arn, token, marker)
    for request in requests[-2:]:
        assert request.headers["authorization"] == expected_authorization(url, request, session)
        assert request.headers.get("x-amz-security-token") == session
        assert unquote(request.target.split("/")[3].split("?")[0]) == arn


@pytest.mark.parametrize(
    ("arn", "path"),
    [("a/../b", "a%2F..%2Fb"), ("..", ".."), (".", "."), ("~-_.", "~-_."), ("a b+c%", "a%20b%2Bc%25")],
)
def test_a_path_with_odd_segments_is_signed_as_botocore_signs_it(
    native: Any, server: tuple[str, list[Request]], arn: str, path: str
) -> None:
    url, requests = server
    native().checkpoint(arn, "t", Updates(), "ct")
    assert requests[0].target == f"/2025-12-01/durable-executions/{path}/checkpoint"
    assert requests[0].headers["authorization"] == expected_authorization(url, requests[0], "session/token+==")


def test_the_calls_are_those_of_boto3(native: Any, server: tuple[str, list[Request]]) -> None:
    url, requests = server
    ours = native()

    def call(updates: Updates) -> list[dict[str, Any]]:
        ours.checkpoint(ARN, "token", updates, "client token")
        return updates.dicts()

    updates = sent(
        lambda step: step.retry(3, {"ErrorMessage": "né"}, '{"t": "é\\n😀"}'), call, lambda root: root.step('a "step"')
    )
    assert [update["Action"] for update in updates] == ["START", "RETRY"]
    ours.state(ARN, "to/ken", "mark er")
    boto = boto3.Session().client(
        "lambda", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}, proxies={})
    )
    boto.checkpoint_durable_execution(
        DurableExecutionArn=ARN, CheckpointToken="token", Updates=updates, ClientToken="client token"
    )
    boto.get_durable_execution_state(
        DurableExecutionArn=ARN, CheckpointToken="to/ken", Marker="mark er", MaxItems=native_client.PAGE
    )
    boto.close()
    for one, other in zip(requests[:2], requests[2:], strict=True):
        assert one.method == other.method
        ours_at, theirs_at = urlsplit(one.target), urlsplit(other.target)
        assert (ours_at.path, parse_qs(ours_at.query)) == (theirs_at.path, parse_qs(theirs_at.query))
        assert (one.body and json.loads(one.body)) == (other.body and json.loads(other.body))
        for name in ("host", "content-type", "x-amz-security-token"):
            assert one.headers.get(name) == other.headers.get(name), name
        assert one.headers["user-agent"].startswith("perdure/")


ANY_TEXT = st.text(max_size=40) | st.text('"\\\n\ud800\udc00 né😀\x7f', max_size=20)
NAMES = st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)
ERRORS = st.fixed_dictionaries(
    {"ErrorMessage": ANY_TEXT}, optional={"ErrorType": ANY_TEXT, "StackTrace": st.lists(ANY_TEXT, max_size=2)}
)


@st.composite
def written_updates(draw: st.DrawFn) -> tuple[Callable[[Operation], object], Callable[[Scope], object]]:
    """Give an operation to begin, and an update of it to queue."""
    name, payload, error, seconds = draw(NAMES), draw(st.none() | ANY_TEXT), draw(ERRORS), draw(st.integers(1, 99))
    step, child = (lambda root: root.step(name)), (lambda root: root.child(name, "RunInChildContext", True))
    invoke, wait = (lambda root: root.invoke(name, True)), (lambda root: root.wait(name, seconds))
    callback = lambda root: root.callback(name, "Mine", 7, 0)  # noqa: E731  one of several
    texts = (draw(ANY_TEXT), draw(st.none() | ANY_TEXT), draw(st.none() | ANY_TEXT))
    cases: list[tuple[Callable[[Any], object], Callable[[Any], object]]] = [
        (lambda operation: operation.succeed(payload), step),
        (lambda operation: operation.fail(error), step),
        (lambda operation: operation.retry(3, error, None), step),
        (lambda operation: operation.retry(30, None, payload), lambda root: root.condition(name, True)),
        (lambda operation: operation.succeed_context(operation.open(False), payload, True), child),
        (lambda operation: operation.fail_context(operation.open(False), error), child),
        (lambda operation: operation.start_invoke(payload, *texts), invoke),
        (lambda _: None, wait),
        (lambda _: None, callback),
    ]
    return draw(st.sampled_from(cases))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(update=written_updates(), token=ANY_TEXT)
def test_a_body_is_what_json_would_write_of_the_wires_dicts(
    native: Any,
    server: tuple[str, list[Request]],
    update: tuple[Callable[[Operation], object], Callable[[Scope], object]],
    token: str,
) -> None:
    write, begin = update

    def call(updates: Updates) -> list[dict[str, Any]]:
        native().checkpoint(ARN, token, updates, "ct")
        assert len(updates) == len(updates.dicts())
        return updates.dicts()

    updates = sent(write, call, begin)
    expected = json.dumps({"CheckpointToken": token, "Updates": updates, "ClientToken": "ct"})
    assert server[1][-1].body == expected.encode()


def test_updates_are_lent_for_as_long_as_the_call_lasts() -> None:
    kept = sent(lambda step: step.succeed("1"), lambda updates: (updates, updates.sizes()))
    assert kept[1] == (1, 1)
    assert kept[0].dicts() == []
    assert len(kept[0]) == 0


@pytest.mark.parametrize("name", ["shop", "a b/c#d\r\nX-Evil: yes", "!$%&'*+-.^_`|~,", "ä"])
def test_an_application_is_named_as_botocore_names_it(
    native: Any, server: tuple[str, list[Request]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    url, requests = server
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", name)
    native().checkpoint(ARN, "t", Updates(), "ct")
    boto = boto3.Session().client(
        "lambda", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}, proxies={})
    )
    boto.checkpoint_durable_execution(DurableExecutionArn=ARN, CheckpointToken="t", Updates=[])
    boto.close()
    ours, theirs = (
        [part for part in request.headers["user-agent"].split(" ") if part.startswith("app/")] for request in requests
    )
    assert ours == theirs
    assert len(ours) == 1


def test_the_moment_of_a_signature_is_now(native: Any, server: tuple[str, list[Request]]) -> None:
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    native().checkpoint(ARN, "t", Updates(), "ct")
    signed = dt.datetime.strptime(server[1][0].headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    assert before <= signed <= dt.datetime.now(dt.UTC)


def test_credentials_and_the_trace_are_read_anew_at_each_call(
    native: Any, server: tuple[str, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = native()
    client.checkpoint(ARN, "t", Updates(), "ct")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDNEW")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
    client.checkpoint(ARN, "t", Updates(), "ct")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1\r\nX-Evil: yes")
    client.checkpoint(ARN, "t", Updates(), "ct")
    first, second, third = server[1]
    assert "Credential=AKIDEXAMPLE/" in first.headers["authorization"]
    assert "x-amzn-trace-id" not in first.headers
    assert "Credential=AKIDNEW/" in second.headers["authorization"]
    assert second.headers["x-amzn-trace-id"].startswith("Root=1-5759e988")
    assert "x-evil" not in third.headers


def test_a_key_with_a_line_break_reaches_no_header(
    native: Any, server: tuple[str, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = native()
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a\r\nX-Evil: yes")
    with pytest.raises(OSError, match="AWS_SESSION_TOKEN is no plain text"):
        client.checkpoint(ARN, "t", Updates(), "ct")
    assert server[1] == []
