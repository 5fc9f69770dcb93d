"""Which client makes the calls: our own where everything is understood, boto3 elsewhere."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure import ValidationError
from perdure.engine import client, native_client
from perdure.engine.client import BotoClient
from support.invocations import Recorder, invoke
from support.wire import lambda_environment, scripted

LEFT_TO_BOTO3 = {
    "AWS_PROFILE": "mine",
    "AWS_RETRY_MODE": "adaptive",
    "AWS_ENDPOINT_URL": "http://user:pass@127.0.0.1:1",
    "AWS_MAX_ATTEMPTS": "many",
    "AWS_DATA_PATH": "/models",
    "HTTPS_PROXY": "socks5://127.0.0.1:1",
}


def test_what_lambda_sets_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    lambda_environment(monkeypatch)
    found = client.default_client()
    assert not isinstance(found, BotoClient)
    assert found.endpoint == "https://lambda.us-east-1.amazonaws.com"
    assert client.default_client() is found


@pytest.mark.parametrize("name", LEFT_TO_BOTO3)
def test_what_only_boto3_understands_is_left_to_it_and_said_once(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lambda_environment(monkeypatch, **{name: LEFT_TO_BOTO3[name]})
    core, why = native_client.find()
    assert core is None
    assert why is not None
    assert name in why
    # boto3 itself would refuse some of it.
    monkeypatch.setattr("perdure.lambda_service.LambdaClient._shared", object())
    with caplog.at_level(logging.DEBUG, logger="perdure"):
        assert isinstance(client.default_client(), BotoClient)
        client.default_client()
    assert [record.message for record in caplog.records] == [f"calls to the service go through boto3: {why}"]
    monkeypatch.setattr(client, "_default", None)
    monkeypatch.setenv("PERDURE_CLIENT", "native")
    with pytest.raises(ValidationError, match=f"PERDURE_CLIENT asks for the native client, but .*{name}"):
        client.default_client()


def test_a_configuration_file_is_left_to_boto3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = eu-west-1\n")
    lambda_environment(monkeypatch, HOME=str(tmp_path))
    assert native_client.find() == (None, f"there is a configuration file at {tmp_path}/.aws/config")


def test_boto3_can_be_asked_for_and_anything_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lambda_environment(monkeypatch, PERDURE_CLIENT="boto3")
    monkeypatch.setattr("perdure.lambda_service.LambdaClient._shared", object())
    assert isinstance(client.default_client(), BotoClient)
    monkeypatch.setattr(client, "_default", None)
    monkeypatch.setenv("PERDURE_CLIENT", "curl")
    with pytest.raises(ValidationError, match="PERDURE_CLIENT is 'curl'"):
        client.default_client()


def test_a_client_that_is_handed_in_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    lambda_environment(monkeypatch, "http://127.0.0.1:1")
    recorder = Recorder()
    invoke(lambda context: context.step(lambda _: 1), client=recorder)
    assert len(recorder.calls) == 1


COLD = """
import json, sys
sys.path.insert(0, sys.argv[1])
from perdure import durable_execution
from support.invocations import LambdaContext, event

@durable_execution
def handler(event, context):
    return context.step(lambda _: 42)

given = handler(event(), LambdaContext())
foreign = sorted({"boto3", "botocore", "urllib3", "ssl", "asyncio"} & set(sys.modules))
print(json.dumps([given, foreign]))
"""


def test_a_process_with_only_lambdas_variables_never_imports_boto3() -> None:
    with scripted() as (port, requests):
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SESSION_TOKEN": "token",
            "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{port}",
        }
        tests = str(Path(__file__).parents[1])
        ran = subprocess.run(
            [sys.executable, "-c", COLD, tests], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
    assert json.loads(ran.stdout) == [{"Status": "SUCCEEDED", "Result": "42"}, []]
    assert len(requests) == 1
