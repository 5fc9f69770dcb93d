"""The fast path of the codec against its reference, and against its own depth bound."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import serdes
from perdure._core import decode_extended, decode_json, encode_extended, encode_json
from perdure.exceptions import SerDesError

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 512
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.uuids(), st.dates()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.text(max_size=8), inner, max_size=5),
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(VALUES)
def test_what_is_written_reads_back_as_it_was_on_either_path(value: Any) -> None:
    text = encode_extended(value)
    assert text == serdes.encode_reference(value)
    assert text.isascii()
    assert repr(decode_extended(text)) == repr(serdes.decode_reference(text)) == repr(value)


def test_the_fast_path_takes_what_is_usual_by_itself() -> None:
    # This deep the reference gives up: an answer can only be the fast path's own.
    value: Any = {
        "i": 1,
        "s": "é",
        "f": 1e-05,
        "n": None,
        "b": True,
        "l": [1, (2,)],
        "big": 2**100,
        "nan": float("inf"),
    }
    text = encode_extended(value)
    for _ in range(BOUND - 5):
        value = [value]
        text = '{"t":"l","v":[' + text + "]}"
    with pytest.raises(SerDesError):
        serdes.encode_reference(value)
    assert encode_extended(value) == text
    assert encode_extended(decode_extended(text)) == text


def test_records_keep_their_own_keys_however_many_and_in_whatever_order() -> None:
    keys = [f"key {index}" for index in range(40)] + ["é", "\n", "", '"']
    records = [dict.fromkeys(keys[start:] + keys[:start:-1], start) for start in range(0, 40, 7)]
    value = [{"record": record, "more": records[index - 1]} for index, record in enumerate(records)]
    read = decode_extended(encode_extended(value))
    assert read == value
    assert [list(one["record"]) for one in read] == [list(record) for record in records]


def wrapped(levels: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"list": [value], "tuple": (value,), "dict": {"a": value}}[kind]
    return value


@pytest.mark.parametrize("kind", ["list", "tuple", "dict"])
def test_values_nest_up_to_the_bound_and_no_further(kind: str) -> None:
    text = encode_extended(wrapped(BOUND, kind))
    assert encode_extended(decode_extended(text)) == text
    with pytest.raises(SerDesError, match="nests too deep to be written: the bound is 512 levels"):
        encode_extended(wrapped(BOUND + 1, kind))


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("[", "]"), ('{"t":"l","v":[', "]}"), ('{"t":"m","v":{"a":', "}}")],
    ids=["plain", "list", "dict"],
)
def test_texts_nest_up_to_the_bound_and_no_further(opening: str, closing: str) -> None:
    leaf = "1" if opening == "[" else '{"t":"i","v":1}'
    decode_extended(opening * BOUND + leaf + closing * BOUND)
    for levels in (BOUND + 1, 100_000):
        with pytest.raises(SerDesError, match="nests too deep to be read: the bound is 512 levels"):
            decode_extended(opening * levels + leaf + closing * levels)


def test_the_reference_bears_300_levels_and_says_so_when_it_does_not() -> None:
    assert serdes.decode_reference(serdes.encode_reference(wrapped(300, "dict"))) == wrapped(300, "dict")
    with pytest.raises(SerDesError, match="nests too deep to be written"):
        serdes.encode_reference(wrapped(5_000, "dict"))
    with pytest.raises(SerDesError, match="nests too deep to be read"):
        serdes.decode_reference('{"t":"l","v":[' * 5_000 + "]}" * 5_000)


def test_the_bound_leaves_room_on_the_stack_of_a_small_thread() -> None:
    deep = wrapped(BOUND, "dict")
    results: list[str] = []
    before = threading.stack_size(2 * 1024 * 1024)
    try:
        thread = threading.Thread(
            target=lambda: results.append(encode_extended(decode_extended(encode_extended(deep))))
        )
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert results == [encode_extended(deep)]


def test_what_holds_itself_is_named_as_such() -> None:
    ring: list[Any] = []
    ring.append(ring)
    knot: dict[str, Any] = {"wide": list(range(100))}
    knot["knot"] = ({"again": knot}, 1)
    for value in (ring, {"a": ring}, knot):
        for write in (encode_extended, serdes.encode_reference):
            with pytest.raises(SerDesError, match="contains itself"):
                write(value)
        with pytest.raises(ValueError, match="Circular reference"):
            encode_json(value)


def test_a_value_that_shares_parts_is_no_circle() -> None:
    value: Any = [1]
    for _ in range(BOUND + 1):
        value = [value]
    shared = [value, value]
    with pytest.raises(SerDesError, match="nests too deep"):
        encode_extended(shared)
    assert decode_extended(encode_extended([(1,), (1,)] * 2)) == [(1,), (1,)] * 2


def made_of(call: Callable[[], Any]) -> Any:
    """Return what a call gives, or the class of what it raises; of a nested list, how deep it is."""
    try:
        value = call()
    except (RecursionError, ValueError) as error:
        return type(error)
    levels = 0
    while isinstance(value, list):
        levels, value = levels + 1, value[0]
    return levels, value


@pytest.mark.parametrize("levels", [700, 5_000, 400_000])
def test_json_nests_as_deep_as_the_json_module_allows(levels: int) -> None:
    # How deep that is depends on the interpreter: 1,000 levels up to 3.12, 10,000 in 3.13, the stack's size after.
    deep, text = wrapped(levels, "list"), "[" * levels + "1" + "]" * levels
    assert made_of(lambda: encode_json(deep)) == made_of(lambda: json.dumps(deep))
    assert made_of(lambda: decode_json(text)) == made_of(lambda: json.loads(text))


def test_json_that_no_interpreter_could_nest_is_refused() -> None:
    for call in (lambda: encode_json(wrapped(400_000, "list")), lambda: decode_json("[" * 400_000)):
        with pytest.raises(RecursionError):
            call()
