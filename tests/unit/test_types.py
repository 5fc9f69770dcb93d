"""The small values that are made for each operation."""

from __future__ import annotations

import copy
import inspect
import pickle
import typing
from typing import Any

import pytest

from perdure.types import (
    ContextLogger,
    DurableExecutionArn,
    LoggerInterface,
    OperationContext,
    StepContext,
    WaitForCallbackContext,
    WaitForConditionCheckContext,
)

LOGGER: Any = "logger"
VALUES = [
    OperationContext(LOGGER),
    StepContext(LOGGER, 2),
    WaitForCallbackContext(LOGGER),
    WaitForConditionCheckContext(LOGGER, attempt=2),
    DurableExecutionArn("f", "e", "i"),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_are_immutable_and_without_a_dict(value: Any) -> None:
    for name in ("logger", "attempt", "else"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(value, name, 1)
    with pytest.raises(AttributeError, match="immutable"):
        del value.logger
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_can_be_copied_and_pickled(value: Any) -> None:
    assert copy.copy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301


def test_equality_is_by_class_and_fields() -> None:
    assert StepContext(LOGGER, 1) == StepContext(LOGGER, 1)
    assert StepContext(LOGGER, 1) != StepContext(LOGGER, 2)
    assert StepContext(LOGGER, 1) != WaitForConditionCheckContext(LOGGER, 1)
    assert len({StepContext(LOGGER, 1), StepContext(LOGGER, 1)}) == 1


def test_a_value_prints_its_fields_and_replaces_them() -> None:
    assert repr(StepContext(LOGGER, 1)) == "StepContext(logger='logger', attempt=1)"
    assert StepContext(LOGGER, 1).__replace__(attempt=3) == StepContext(LOGGER, 3)


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        (
            "arn:aws:lambda:eu-west-1:1:function:shop:$LATEST/durable-execution/order-7/abc",
            DurableExecutionArn("shop", "order-7", "abc"),
        ),
        ("arn:aws:lambda:eu-west-1:1:function:shop/durable-execution/order-7/abc", None),
        ("arn:aws:lambda:eu-west-1:1:function:shop:1/durable-execution/order-7", None),
        ("arn:aws:sqs:eu-west-1:1:function:shop:1/durable-execution/a/b", None),
        ("", None),
    ],
)
def test_an_arn_is_taken_apart(arn: str, expected: DurableExecutionArn | None) -> None:
    assert DurableExecutionArn.from_arn(arn) == expected


@pytest.mark.parametrize("kind", [StepContext, WaitForCallbackContext, WaitForConditionCheckContext])
def test_the_annotations_of_what_is_handed_over_can_be_evaluated(kind: type) -> None:
    assert typing.get_type_hints(kind)["logger"] is ContextLogger
    assert inspect.signature(kind, eval_str=True).parameters["logger"].annotation is LoggerInterface
