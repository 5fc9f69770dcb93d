"""The codec against the official SDK, run live: the same texts, the same values of the same types, the same errors."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import json
import random
import struct
import uuid
from typing import Any, NamedTuple

import aws_durable_execution_sdk_python.concurrency.models as official_models
import aws_durable_execution_sdk_python.serdes as official
import pytest
from aws_durable_execution_sdk_python.lambda_service import ErrorObject as OfficialErrorObject
from hypothesis import example, given, settings
from hypothesis import strategies as st

import perdure.concurrency.models as our_models
import perdure.serdes as ours
from perdure._core import decode_extended, decode_json, encode_extended, encode_json
from perdure.lambda_service import ErrorObject

OFFICIAL = official.ExtendedTypeSerDes()
QUICK = settings(max_examples=300, deadline=None, derandomize=True)


class Colour(enum.IntEnum):
    RED = 1
    HUGE = 2**70


class Flag(enum.IntFlag):
    A = 1
    B = 2


class Name(enum.StrEnum):
    X = "x"
    ODD = 'é"\n'


class Mixed(str, enum.Enum):  # noqa: UP042 - what people had before StrEnum
    X = "x"


class Plain(enum.Enum):
    A = 1


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "overridden"


class Whole(int):
    def __repr__(self) -> str:
        return "overridden"


class Real(float):
    def __repr__(self) -> str:
        return "overridden"


class Items(list):
    pass


class Pair(NamedTuple):
    a: Any
    b: Any


class Row(tuple):
    __slots__ = ()


class Table(dict):
    pass


class Shouting(dict):
    def items(self) -> Any:
        return [(str(key).upper(), value) for key, value in dict.items(self)]


class Nine(list):
    def __iter__(self) -> Any:
        return iter([9])


class Moment(dt.datetime):
    pass


class Key(uuid.UUID):
    def __str__(self) -> str:
        return "00000000-0000-0000-0000-00000000000f"


class Money(decimal.Decimal):
    pass


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=24)
OFFSETS = st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)).map(dt.timezone)
PRIMITIVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**66), 2**66),
    st.floats(),
    ANY_TEXT,
    st.text('abc"\\/\x00\x1f\x7f\u00e9\u2028\U0001f600\ud800', max_size=40),
)
EXTENDED = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=9).map(bytearray),
    st.binary(max_size=9).map(memoryview),
    st.uuids(),
    st.decimals(),
    st.sampled_from([decimal.Decimal("sNaN"), decimal.Decimal("-0.00"), decimal.Decimal("1E+400")]),
    st.datetimes(),
    st.datetimes(timezones=OFFSETS),
    st.dates(),
)
EXOTIC = st.sampled_from(
    [
        *Colour,
        *Name,
        Flag.A | Flag.B,
        Mixed.X,
        Text("content"),
        Whole(7),
        Whole(2**80),
        Real(2.5),
        Real("nan"),
        Items([1, "a"]),
        Nine([1, 2, {}]),
        Pair(1, "b"),
        Row((1,)),
        Table(a=1),
        Shouting(a=1, b={"c": 2}),
        collections.OrderedDict(b=1, a=2),
        collections.defaultdict(list, a=[1]),
        collections.Counter("aab"),
        Moment(2020, 1, 2, 3, 4, 5),
        Key(int=1),
        Money("1.50"),
        memoryview(b"abcdef")[::2],
    ]
)
UNSUPPORTED = st.sampled_from(
    [
        {1},
        frozenset(),
        object(),
        1j,
        dt.time(1),
        dt.timedelta(1),
        Plain.A,
        range(3),
        collections.deque([1]),
        int,
        official.EncodedValue(official.TypeTag.INT, 1),
    ]
)
KEYS = st.one_of(
    ANY_TEXT,
    ANY_TEXT,
    st.sampled_from(["t", "v", "", "a", Name.X, Text("k"), Mixed.X]),
    st.integers(-(2**66), 2**66),
    st.booleans(),
    st.none(),
    st.floats(),
    st.sampled_from([Colour.RED, Whole(3), Real(0.5), (1, 2), b"a", Plain.A, uuid.UUID(int=1)]),
)


def nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(keys, inner, max_size=4),
            st.builds(Pair, inner, inner),
            st.lists(inner, max_size=2).map(Items),
            st.dictionaries(keys, inner, max_size=2).map(Table),
        ),
        max_leaves=12,
    )


SUPPORTED_VALUES = nested(st.one_of(PRIMITIVES, EXTENDED, EXOTIC), ANY_TEXT)
ALL_VALUES = nested(st.one_of(PRIMITIVES, EXTENDED, EXOTIC, UNSUPPORTED), KEYS)
JSON_VALUES = nested(st.one_of(PRIMITIVES, PRIMITIVES, EXOTIC, UNSUPPORTED), KEYS)
PLAIN_VALUES = st.recursive(PRIMITIVES, lambda inner: st.lists(inner, max_size=5), max_leaves=12)


def canonical(value: Any) -> Any:  # noqa: PLR0911 - one for each kind
    """Make a form that is equal only for equal values of the very same types."""
    kind = type(value)
    if kind.__name__ == "BatchResult":
        return ("BatchResult", canonical(value.to_dict()))
    if kind is float:
        return (kind, struct.pack("d", value) if value == value else "nan")  # noqa: PLR0124
    if kind is dict:
        return (kind, [(canonical(key), canonical(item)) for key, item in value.items()])
    if kind in (list, tuple):
        return (kind, [canonical(item) for item in value])
    if kind is decimal.Decimal:
        return (kind, value.as_tuple())
    if kind is dt.datetime:
        return (kind, value.isoformat(), type(value.tzinfo), value.fold)
    if kind is uuid.UUID:
        return (kind, value.int, value.is_safe)
    return (kind, value)


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return ("value", canonical(function(*arguments)))
    except Exception as error:  # noqa: BLE001 - every error is an outcome to compare
        return ("error", type(error).__name__)


def same_encoding(value: Any) -> None:
    expected = outcome(OFFICIAL.serialize, value)
    assert outcome(encode_extended, value) == expected
    assert outcome(ours.encode_reference, value) == expected


def same_decoding(text: Any) -> None:
    expected = outcome(OFFICIAL.deserialize, text)
    assert outcome(decode_extended, text) == expected
    assert outcome(ours.decode_reference, text) == expected


@QUICK
@given(SUPPORTED_VALUES)
def test_supported_values_are_written_and_read_as_the_official_sdk_does(value: Any) -> None:
    text = OFFICIAL.serialize(value)
    assert encode_extended(value) == text
    assert ours.encode_reference(value) == text
    same_decoding(text)


@QUICK
@given(ALL_VALUES)
def test_any_value_has_the_same_text_or_the_same_class_of_error(value: Any) -> None:
    same_encoding(value)


@QUICK
@given(PLAIN_VALUES)
def test_plain_values_stay_plain(value: Any) -> None:
    same_encoding(value)
    same_decoding(json.dumps(value))
    same_decoding(json.dumps(value, indent=1, ensure_ascii=False))


@settings(QUICK, max_examples=2000)
@given(st.floats())
@example(1e16)
@example(1e-5)
@example(9.999999999999999e-5)
@example(5e-324)
@example(2e23)
@example(9007199254740993.0)
@example(1.7976931348623157e308)
def test_a_float_is_its_repr(value: float) -> None:
    same_encoding(value)
    same_decoding(json.dumps(value))


def test_random_bit_patterns_of_floats_are_their_reprs() -> None:
    chosen = random.Random(7)  # noqa: S311 - a seed, no secret
    values = [struct.unpack("d", chosen.randbytes(8))[0] for _ in range(50_000)]
    values += [chosen.uniform(0, 10) * 10.0 ** chosen.randrange(-8, 25) for _ in range(50_000)]
    text = json.dumps(values)
    assert encode_json(values) == text
    assert canonical(decode_json(text)) == canonical(json.loads(text))
    assert canonical(decode_extended(text)) == canonical(json.loads(text))


UNUSUAL_VALUES = {
    "int key": {1: 2},
    "other scalar keys": {True: 1, None: 2, 1.5: 3, float("nan"): 4, float("inf"): 5},
    "keys of one text": {"1": 1, 1: 2},
    "tuple key": {(1, 2): 1},
    "bytes key, then tuple key": {b"a": 1, (1, 2): {1}},
    "bytes key, then set": {b"a": {1}},
    "dict that resembles an envelope": {"t": "i", "v": 1},
    "enum in a list": [Plain.A],
    "enum": Plain.A,
    "enum in a dict": {"a": Plain.A},
    "int of too many digits": 10**5000,
    "int of too many digits inside": {"a": [10**5000]},
    "lone surrogates": {"\ud800": "\udfff"},
    "surrogates that are no pair in Python": "\ud83d\ude00",
    "list with its own iteration": Nine([{}]),
    "list with its own iteration inside": [Nine([{}])],
    "encoded value": official.EncodedValue(official.TypeTag.INT, 1),
    "long string": "x" * 100_000 + '"',
    "long string to escape": "é" * 10_000,
}


@pytest.mark.parametrize("value", UNUSUAL_VALUES.values(), ids=UNUSUAL_VALUES)
def test_unusual_values_have_the_official_outcome(value: Any) -> None:
    same_encoding(value)


def test_a_dict_that_changes_while_it_is_written_raises_what_python_raises() -> None:
    class Growing(uuid.UUID):
        def __str__(self) -> str:
            value[len(value)] = 1
            return "00000000-0000-0000-0000-00000000000f"

    value: dict[Any, Any] = {"a": Growing(int=1), "b": 2}
    assert outcome(encode_extended, value) == ("error", "RuntimeError")


def test_an_interrupt_in_a_value_is_no_error_of_the_value() -> None:
    class Interrupting(uuid.UUID):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_extended({"a": Interrupting(int=1)})


TAGS = ["n", "s", "i", "f", "b", "B", "u", "d", "dt", "D", "t", "l", "m", "br"]
LEAVES = [
    "null", "true", "false", "1", "-0", "-0.0", "1.5", "1e400", "NaN", "-Infinity", '""', '"1"', '"1.5"', '"nan"',
    '"x"',
    '"aGk="', '"aGk"', '"a G k ="', '"YR=="', '"YQ==="', '"!!!!"', '"é"', '"a"', '"2020-01-02"', '"20200102"',
    '"2020-01-02T03:04:05.5Z"', '"2020-01-02T03:04:05+05:30:07"', '"2020-W01-1"', '" 1_0 "', '"sNaN"', '"\\ud800"',
    '"00000000-0000-0000-0000-00000000000A"', '"{0000000000000000000000000000000a}"', "[]", "[1]", "[[1]]", "{}",
    '{"a":1}', "[0,[1],2]", '[{"t":"i","v":1}]', '[{"t":"i","v":1},2]', '{"a":{"t":"i","v":1}}', '{"t":"i","v":3}',
    '[[{"t":"i","v":1}]]', '[{"t":"q","v":1}]', '[{"t":"i"}]', '[{"t":"i","v":1,"x":2}]', '[{"v":1,"t":"i"}]',
    '{"a":{"t":"q","v":1},"a":{"t":"i","v":2}}', '{"a":{"t":"i","v":1},"b":{"t":"i","v":2},"a":{"t":"i","v":3}}',
    "123456789012345678901234567890", "1" * 5000, "0.1e-5", "1." + "1" * 400, "12345678901234567890.5", "-", "01",
    "[1,]", "{,}",
]  # fmt: skip


@pytest.mark.parametrize("tag", TAGS)
def test_every_tag_meets_every_kind_of_value_as_the_official_sdk_does(tag: str) -> None:
    for leaf in LEAVES:
        same_decoding(f'{{"t":"{tag}","v":{leaf}}}')


@pytest.mark.parametrize(
    "text",
    [
        *LEAVES,
        "", " ", "nul", "nulll", "tru", " 1 ", "\t[ 1 , 2 ]\n", "1 2", "[1,2", "[1 2]", "[,]", "\ufeff1", "\x0b1",
        "\u00a01", "+1", ".5", "1.", "1e5", "1E+5", "--1", "0x1", "// 1", "Infinity", "-NaN", "Inf", "nan", "'a'",
        '"a', '"\\q"', '"\t"', '"\x7f"', '"\\u00zz"', '"\\ud83d\\ude00"', '"\\ud800\\u0041"', '"\ud800"', '"\\',
        '"\\u12', '"\\/"', '{"a":1}', '[{"a":1}]', "[{}]", '{"t":1}', '{"v":1}', '{"t":"i"}', '{"v":1,"t":"i"}',
        '{"t":"i","v":1,"x":2}', '{"x":2,"t":"i","v":1}', '{"t":"zz","v":1}', '{"t":"","v":1}', '{"t":1,"v":1}',
        '{"t":null,"v":1}', '{"t":["i"],"v":1}', '{"t":{},"v":1}', '{"t":"i","t":"s","v":1}',
        '{"t":"i","v":1,"v":2}', '{"t":"i","v":{"t":"q","v":1}, "v":1}', '{ "t" : "l" , "v" : [ {"t":"i","v":1} ] }',
        '{"t":"\\u0069","v":1}', '{"\\u0074":"i","v":1}', '{"t":"i","v":1} x', '{"t":"i","v":1}\n', '{"t":"i","v":1',
        '{"t":"i","v":', '{"t":"i","v', '{"t":"i', '{"t":"', "{", '{"t":"i" "v":1}', '{"t":"l","v":[{"t":"i","v":1}',
        '{"t":"m","v":{"a":{"t":"i","v":1}', '{"t":"m","v":{"a"', '{"t":"m","v":{1:2}}',
    ],
    ids=lambda text: ascii(text)[:40],
)  # fmt: skip
def test_odd_and_malformed_texts_have_the_official_outcome(text: str) -> None:
    same_decoding(text)
    assert outcome(decode_json, text) == outcome(json.loads, text)


@pytest.mark.parametrize(
    "data", [None, 5, 1.5, b"[1]", bytearray(b'{"t":"i","v":1}'), {"t": "i"}, b"\xff", "[1]".encode("utf-16")]
)
def test_what_is_no_string_is_treated_as_json_loads_treats_it(data: Any) -> None:
    same_decoding(data)
    assert outcome(decode_json, data) == outcome(json.loads, data)


ENVELOPES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.sampled_from(["", "x", "1", "2020-01-02", "aGk="])
    ),
    lambda inner: st.one_of(
        st.builds(lambda tag, value: {"t": tag, "v": value}, st.sampled_from([*TAGS, "l", "m", "t", "q", 1]), inner),
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["t", "v", "a", "all", "completionReason"]), inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(QUICK, max_examples=1000)
@given(ENVELOPES, st.sampled_from([(",", ":"), (", ", ": ")]))
def test_trees_that_resemble_envelopes_have_the_official_outcome(tree: Any, separators: tuple[str, str]) -> None:
    same_decoding(json.dumps(tree, separators=separators))


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    text = draw(texts)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 3)))
        text = text[:at] + draw(st.sampled_from(["", "", *'{}[]",:tvi1-.e\\ n\x00é'])) + text[end:]
    return text


@settings(QUICK, max_examples=1000)
@given(damaged(SUPPORTED_VALUES.map(OFFICIAL.serialize)))
def test_damaged_payloads_have_the_official_outcome(text: str) -> None:
    same_decoding(text)


@QUICK
@given(JSON_VALUES)
def test_json_is_what_json_dumps_writes(value: Any) -> None:
    assert outcome(encode_json, value) == outcome(json.dumps, value)


@settings(QUICK, max_examples=600)
@given(
    nested(PRIMITIVES, ANY_TEXT).map(json.dumps).flatmap(lambda text: st.one_of(st.just(text), damaged(st.just(text))))
)
def test_json_is_read_as_json_loads_reads_it(text: str) -> None:
    assert outcome(decode_json, text) == outcome(json.loads, text)


def test_duplicate_keys_keep_the_first_place_and_the_last_value() -> None:
    text = '{"a": 1, "b": 2, "a": 3}'
    assert outcome(decode_json, text) == outcome(json.loads, text)


# Batch results: each SDK has its own classes, so their dicts are compared.


def batches(models: Any, error_object: Any, value: Any) -> Any:
    """Make the same batch result of either SDK's classes."""
    status = models.BatchItemStatus
    return models.BatchResult(
        [
            models.BatchItem(0, status.SUCCEEDED, value, None),
            models.BatchItem(1, status.FAILED, None, error_object("message", "Type", "data", ["frame"])),
            models.BatchItem(2, status.FAILED, None, error_object("message", None, None, None)),
            models.BatchItem(4, status.STARTED),
        ],
        models.CompletionReason.FAILURE_TOLERANCE_EXCEEDED,
    )


def both_batches(value: Any) -> tuple[Any, Any]:
    return batches(our_models, ErrorObject, value), batches(official_models, OfficialErrorObject, value)


@settings(QUICK, max_examples=60)
@given(SUPPORTED_VALUES)
def test_batch_results_have_the_same_text_and_read_back(value: Any) -> None:
    mine, theirs = both_batches(value)
    text = OFFICIAL.serialize(theirs)
    assert encode_extended(mine) == text
    assert ours.encode_reference(mine) == text
    assert type(decode_extended(text)) is our_models.BatchResult
    same_decoding(text)


def test_batch_results_nest_in_values_and_in_each_other() -> None:
    inner = both_batches((1, b"x"))
    for wrap in (lambda batch: [batch], lambda batch: {"a": (batch,)}):
        mine, theirs = (wrap(batch) for batch in inner)
        text = OFFICIAL.serialize(theirs)
        assert encode_extended(mine) == text
        same_decoding(text)
    mine, theirs = batches(our_models, ErrorObject, inner[0]), batches(official_models, OfficialErrorObject, inner[1])
    text = OFFICIAL.serialize(theirs)
    assert encode_extended(mine) == text
    same_decoding(text)


@pytest.mark.parametrize(
    "value",
    [
        "{}", "5", '{"all":[],"completionReason":"ALL_COMPLETED"}', '{"all":{"t":"l","v":[]}}',
        '{"all":{"t":"l","v":[]},"completionReason":{"t":"s","v":"NOPE"}}',
        '{"completionReason":{"t":"s","v":"ALL_COMPLETED"}}',
        '{"all":{"t":"l","v":[{"t":"m","v":{"index":{"t":"i","v":0},"status":{"t":"s","v":"STARTED"}}}]}}',
        '{"all":{"t":"l","v":[{"t":"m","v":{"index":{"t":"i","v":0}}}]},"completionReason":{"t":"s","v":"ALL_COMPLETED"}}',
        '{"all":{"t":"l","v":[{"t":"i","v":0}]}}', '{"all":{"t":"n","v":null}}',
    ],
)  # fmt: skip
def test_malformed_batch_results_have_the_official_outcome(value: str) -> None:
    same_decoding(f'{{"t":"br","v":{value}}}')
    same_decoding(f'{{"t":"br","v":{value}')


# The codec classes, which users may call too.

CODECS = ["PrimitiveCodec", "BytesCodec", "UuidCodec", "DecimalCodec", "DateTimeCodec", "ContainerCodec", "TypeCodec"]


def encoded(value: Any) -> Any:
    """Make the encoded values of both SDKs comparable."""
    if type(value).__name__ == "EncodedValue":
        return ("EncodedValue", str(value.tag), encoded(value.value))
    if isinstance(value, list):
        return [encoded(item) for item in value]
    if isinstance(value, dict):
        return {key: encoded(item) for key, item in value.items()}
    return canonical(value)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(
    "value",
    [None, True, 1, 1.5, "a", b"x", bytearray(b"x"), [1], [], (1,), {}, {"a": 1}, {1}, uuid.UUID(int=1),
     decimal.Decimal(1),
     dt.datetime(2020, 1, 1),  # noqa: DTZ001 - naive on purpose
     dt.date(2020, 1, 1), Colour.RED, Name.X, Pair(1, 2), {1: (2,)}, {(1,): 2}, dt.time(1)],
    ids=repr,
)  # fmt: skip
def test_each_codec_encodes_what_its_official_namesake_does(name: str, value: Any) -> None:
    results = [outcome(lambda codec: encoded(codec.encode(value)), getattr(sdk, name)()) for sdk in (ours, official)]
    assert results[0] == results[1]


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(
    "value", ["1", 1, None, [], [1], {}, {"a": 1}, [{"t": "i", "v": 1}], [{"t": "q", "v": 1}], (1,)], ids=repr
)
def test_each_codec_decodes_what_its_official_namesake_does(name: str, value: Any) -> None:
    for tag in [*ours.TypeTag, "zz"]:
        theirs = official.TypeTag(tag) if tag != "zz" else tag
        mine = outcome(getattr(ours, name)().decode, tag, value)
        assert mine == outcome(getattr(official, name)().decode, theirs, value), tag


@QUICK
@given(ALL_VALUES)
def test_what_is_primitive_is_what_the_official_sdk_calls_so(value: Any) -> None:
    assert ours.SerDes.is_primitive(value) is official.SerDes.is_primitive(value)
