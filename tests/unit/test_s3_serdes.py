"""Values in a bucket: the same content is the same object, what is read is checked, and errors say what to do."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from hashlib import sha256
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from perdure.exceptions import RetryableSerDesError, SerDesError, ValidationError
from perdure.s3_serdes import FileSystemSerDesMode, S3SerDes, S3SerDesConfig
from perdure.serdes import SerDesContext

CONTEXT = SerDesContext("op-1", "arn")


class Bucket:
    """What a client for S3 does that holds one bucket, or only fails."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.options: dict[str, Any] = {}
        self._problem = problem

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **options: Any) -> None:  # noqa: N803  boto3's names
        if self._problem:
            raise self._problem
        assert Bucket == "orders"
        self.objects[Key] = Body
        self.options = options

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803  the same
        if self._problem:
            raise self._problem
        assert Bucket == "orders"
        return {"Body": io.BytesIO(self.objects[Key])}


def test_a_value_comes_back_as_what_it_was() -> None:
    bucket = Bucket()
    serdes = S3SerDes("orders", "p/", client=bucket)
    value = {"a": (1, Decimal("1.50")), "é": "\ud800"}
    assert serdes.deserialize(serdes.serialize(value, CONTEXT), CONTEXT) == value
    (key,) = bucket.objects
    assert key == f"p/{sha256(bucket.objects[key]).hexdigest()}.json"


@pytest.mark.parametrize("wrong", [{"bucket": ""}, {"bucket": None}, {"bucket": b"x"}, {"bucket": "x", "prefix": None}])
def test_what_names_no_place_is_refused_before_anything_is_stored(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="as text, not"):
        S3SerDes(**wrong)


def test_the_same_value_is_the_same_object() -> None:
    bucket = Bucket()
    serdes = S3SerDes("orders", client=bucket)
    assert serdes.serialize([1, 2], CONTEXT) == serdes.serialize([1, 2], SerDesContext("op-2", "arn"))
    assert len(bucket.objects) == 1


def test_only_what_is_too_large_overflows() -> None:
    bucket = Bucket()
    serdes = S3SerDes("orders", config=S3SerDesConfig(FileSystemSerDesMode.OVERFLOW), client=bucket)
    assert serdes.serialize("x", CONTEXT) == '{"data": "\\"x\\""}'
    assert bucket.objects == {}
    assert serdes.deserialize(serdes.serialize("x" * 300_000, CONTEXT), CONTEXT) == "x" * 300_000
    assert len(bucket.objects) == 1


def test_options_go_along_and_a_preview_is_recorded() -> None:
    bucket = Bucket()
    config = S3SerDesConfig(
        generate_preview=lambda value: {"id": value["id"]}, put_options={"ServerSideEncryption": "aws:kms"}
    )
    envelope = S3SerDes("orders", config=config, client=bucket).serialize({"id": 7, "x": 1}, CONTEXT)
    assert json.loads(envelope)["preview"] == {"id": 7}
    assert bucket.options["ServerSideEncryption"] == "aws:kms"


@pytest.mark.parametrize(
    "elsewhere",
    ["s3://others/p/x.json", "s3://orders/q/x.json", "s3://orders", "/etc/hostname", "", "s3://orders-2/p/x"],
)
def test_nothing_is_read_from_elsewhere(elsewhere: str) -> None:
    with pytest.raises(SerDesError, match=r"op-1 .*does not begin with s3://orders/p/"):
        S3SerDes("orders", "p/", client=Bucket()).deserialize(json.dumps({"file": elsewhere}), CONTEXT)


def test_another_content_is_noticed() -> None:
    bucket = Bucket()
    serdes = S3SerDes("orders", client=bucket)
    envelope = serdes.serialize([1], CONTEXT)
    bucket.objects = dict.fromkeys(bucket.objects, b"[2]")
    with pytest.raises(SerDesError, match="SHA-256"):
        serdes.deserialize(envelope, CONTEXT)


def answer(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject"
    )


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (answer("NoSuchKey", 404), SerDesError),
        (answer("AccessDenied", 403), SerDesError),
        (answer("SlowDown", 503), RetryableSerDesError),
        (answer("InternalError", 500), RetryableSerDesError),
        (answer("RequestTimeout", 400), RetryableSerDesError),
        (answer("TooManyRequests", 429), RetryableSerDesError),
        (EndpointConnectionError(endpoint_url="http://x"), RetryableSerDesError),
        (ReadTimeoutError(endpoint_url="http://x"), RetryableSerDesError),
        (ConnectionResetError(), RetryableSerDesError),
        (NoCredentialsError(), SerDesError),
        (KeyError("Body"), SerDesError),
    ],
)
def test_what_passes_is_tried_again_and_what_does_not_fails(problem: Exception, kind: type[Exception]) -> None:
    good = Bucket()
    envelope = S3SerDes("orders", client=good).serialize(1, CONTEXT)
    serdes = S3SerDes("orders", client=Bucket(problem))
    with pytest.raises(kind, match=r"op-1 cannot read .*s3://orders/"):
        serdes.deserialize(envelope, CONTEXT)
    with pytest.raises(kind, match=r"op-1 cannot write .*s3://orders/"):
        serdes.serialize(1, CONTEXT)


def test_the_calls_are_those_of_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    client = boto3.client("s3")
    monkeypatch.setattr(boto3, "client", {"s3": client}.__getitem__)
    serdes = S3SerDes("orders")
    content = b"[1]"
    key = f"{sha256(content).hexdigest()}.json"
    with Stubber(client) as stubber:
        stubber.add_response(
            "put_object", {}, {"Bucket": "orders", "Key": key, "Body": ANY, "ContentType": "application/json"}
        )
        stubber.add_response(
            "get_object",
            {"Body": StreamingBody(io.BytesIO(content), len(content))},
            {"Bucket": "orders", "Key": key},
        )
        assert serdes.deserialize(serdes.serialize([1], CONTEXT), CONTEXT) == [1]
        stubber.assert_no_pending_responses()
    client.close()
