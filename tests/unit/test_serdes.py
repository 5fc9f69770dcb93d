"""The serdes classes, and the functions that operations call."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle
from typing import Any

import pytest

from perdure import serdes
from perdure.exceptions import InvocationError, RetryableSerDesError, SerDesError
from perdure.serdes import (
    DEFAULT_JSON_SERDES,
    EXTENDED_TYPES_SERDES,
    PASS_THROUGH_SERDES,
    EncodedValue,
    ExtendedTypeSerDes,
    JsonSerDes,
    PassThroughSerDes,
    SerDes,
    SerDesContext,
    TypeTag,
)
from support import imports

CONTEXT = SerDesContext("operation", "arn")


class Failing(SerDes[Any]):
    """Raises what it was given, and remembers the context."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.contexts: list[SerDesContext] = []

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:  # noqa: ARG002
        self.contexts.append(serdes_context)
        raise self.error

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:  # noqa: ARG002
        self.contexts.append(serdes_context)
        raise self.error


def test_a_context_compares_hashes_and_shows_its_fields() -> None:
    assert SerDesContext(operation_id="operation", durable_execution_arn="arn") == CONTEXT
    assert SerDesContext("operation", "other") != CONTEXT
    assert CONTEXT != ("operation", "arn")
    assert len({CONTEXT, SerDesContext("operation", "arn")}) == 1
    assert repr(CONTEXT) == "SerDesContext(operation_id='operation', durable_execution_arn='arn')"
    assert SerDesContext() == SerDesContext("", "")


def test_records_cannot_change_but_can_be_copied() -> None:
    for record in (CONTEXT, EncodedValue(TypeTag.INT, 1)):
        for name in (*record.__match_args__, "other"):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(record, name, 1)
            with pytest.raises(dataclasses.FrozenInstanceError):
                delattr(record, name)
        assert copy.deepcopy(record) == record
        assert pickle.loads(pickle.dumps(record)) == record  # noqa: S301 - our own


def test_an_encoded_value_shows_its_fields() -> None:
    assert repr(EncodedValue(TypeTag.INT, [1])) == "EncodedValue(tag=<TypeTag.INT: 'i'>, value=[1])"


def test_a_serdes_without_both_methods_cannot_be_made() -> None:
    class Half(SerDes[str]):
        def serialize(self, value: str, serdes_context: SerDesContext) -> str:  # noqa: ARG002
            return value

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]


def test_the_three_serdes_write_and_read() -> None:
    value = {"a": (1, None)}
    assert (
        ExtendedTypeSerDes().serialize(value)
        == '{"t":"m","v":{"a":{"t":"t","v":[{"t":"i","v":1},{"t":"n","v":null}]}}}'
    )
    assert EXTENDED_TYPES_SERDES.deserialize(ExtendedTypeSerDes().serialize(value, CONTEXT), CONTEXT) == value
    assert JsonSerDes().serialize(value, CONTEXT) == '{"a": [1, null]}'
    assert DEFAULT_JSON_SERDES.deserialize('{"a": [1, null]}', CONTEXT) == {"a": [1, None]}
    text = "as it is"
    assert PassThroughSerDes().serialize(text, CONTEXT) is text
    assert PASS_THROUGH_SERDES.deserialize(text, CONTEXT) is text


def test_no_serdes_means_the_extended_one() -> None:
    assert serdes.serialize(None, (1,), "op", "arn") == '{"t":"t","v":[{"t":"i","v":1}]}'
    assert serdes.deserialize(None, '{"t":"t","v":[{"t":"i","v":1}]}', "op", "arn") == (1,)


def test_a_serdes_learns_which_operation_its_value_belongs_to() -> None:
    failing = Failing(SerDesError("no"))
    with pytest.raises(SerDesError):
        serdes.serialize(failing, 1, "op", "arn")
    with pytest.raises(SerDesError):
        serdes.deserialize(failing, "1", "op", "arn")
    assert failing.contexts == [SerDesContext("op", "arn")] * 2


@pytest.mark.parametrize(
    "error", [SerDesError("m", "t", "d", ["s"]), RetryableSerDesError("later"), KeyboardInterrupt(), SystemExit(3)]
)
def test_serdes_errors_and_interrupts_pass_as_they_are(error: BaseException) -> None:
    for call, argument in ((serdes.serialize, 1), (serdes.deserialize, "1")):
        with pytest.raises(type(error)) as caught:
            call(Failing(error), argument, "op", "arn")
        assert caught.value is error


def test_an_error_without_a_text_becomes_one_too() -> None:
    class SpeechlessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    for call, argument in ((serdes.serialize, 1), (serdes.deserialize, "1")):
        with pytest.raises(SerDesError, match=r"of operation op: SpeechlessError: .no message"):
            call(Failing(SpeechlessError()), argument, "op", "arn")


@pytest.mark.parametrize("error", [ValueError("broken"), KeyError("k"), RecursionError("r"), InvocationError("i")])
def test_any_other_error_becomes_a_serdes_error_and_is_logged(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    for call, argument, what in (
        (serdes.serialize, 1, "serialise the value"),
        (serdes.deserialize, "1", "deserialise the payload"),
    ):
        caplog.clear()
        with pytest.raises(SerDesError) as caught:
            call(Failing(error), argument, "op-1", "arn")
        assert str(caught.value) == f"Could not {what} of operation op-1: {type(error).__name__}: {error}"
        assert caught.value.__cause__ is error
        assert [(record.name, record.levelno) for record in caplog.records] == [("perdure.serdes", logging.ERROR)]
        assert caplog.records[0].exc_info[1] is error


def test_errors_say_what_to_do() -> None:
    cases = [
        ({1}, "Unsupported type: <class 'set'>.*convert the value, or configure a serdes"),
        ({"a": [object()]}, "Unsupported type: <class 'object'>"),
        ({(1, 2): 3}, r"The key \(1, 2\) of a dict is a tuple.*join it into a string"),
    ]
    for value, message in cases:
        with pytest.raises(SerDesError, match=message):
            EXTENDED_TYPES_SERDES.serialize(value, CONTEXT)
    for text, message in [
        ('{"a":1}', "neither plain JSON nor an envelope.*another serdes"),
        ('{"t":"zz","v":1}', 'unknown type tag: "zz"'),
        ('{"t":"l","v":5}', "as a list, not as <class 'int'>"),
        ('{"t":"m","v":5}', "as a dict, not as <class 'int'>"),
    ]:
        with pytest.raises(SerDesError, match=message):
            EXTENDED_TYPES_SERDES.deserialize(text, CONTEXT)


def test_the_module_imports_nothing_that_a_first_invocation_may_not_need() -> None:
    # Those that `perdure/__init__` or the exceptions bring are theirs to answer for.
    slow = {"dataclasses", "inspect", "decimal", "uuid", "base64", "logging", "datetime"}
    assert not slow & imports.brought("import perdure.serdes", before="import perdure.exceptions")


def test_writing_plain_values_loads_no_module_for_rare_ones() -> None:
    writing = "import perdure.serdes as s; s.EXTENDED_TYPES_SERDES.serialize({'a': [1, b'x', None]})"
    assert not {"decimal", "uuid", "datetime", "perdure.concurrency.models"} & imports.brought(writing)
