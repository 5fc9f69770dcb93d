"""The codec: results of steps to payload text and back, beside json and orjson on the same values.

json and orjson read and write plain JSON, which loses types; the envelope that the service's histories hold names each
value's type, and so has about twice the text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from peers.values import nested, small, structured
from perdure._core import decode_extended, decode_json, encode_extended, encode_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

VALUES: dict[str, Any] = {
    "int": 42,
    "text": "a result of one line, as many steps return",
    "45 B": small(0),
    "1 KB": nested(0),
    "550 KB": structured(),
}


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


ENCODERS: dict[str, Callable[[Any], Any]] = {
    "envelope": encode_extended,
    "perdure-json": encode_json,
    "json": compact,
    "orjson": orjson.dumps,
}
DECODERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "envelope": (encode_extended, decode_extended),
    "perdure-json": (encode_json, decode_json),
    "json": (compact, json.loads),
    "orjson": (compact, orjson.loads),
}


@pytest.mark.parametrize("codec", ENCODERS)
@pytest.mark.parametrize("kind", VALUES)
def test_encode(benchmark: BenchmarkFixture, kind: str, codec: str) -> None:
    benchmark.group = f"encode {kind}"
    text = benchmark(ENCODERS[codec], VALUES[kind])
    assert DECODERS[codec][1](text) == VALUES[kind]


@pytest.mark.parametrize("codec", DECODERS)
@pytest.mark.parametrize("kind", VALUES)
def test_decode(benchmark: BenchmarkFixture, kind: str, codec: str) -> None:
    benchmark.group = f"decode {kind}"
    encode, decode = DECODERS[codec]
    assert benchmark(decode, encode(VALUES[kind])) == VALUES[kind]
