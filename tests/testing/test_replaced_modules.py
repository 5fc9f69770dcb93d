"""Tests that put something else in the place of what Python offers: the handler sees it, and the service goes on."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from perdure import durable_execution
from perdure.testing import DurableFunctionTestRunner

if TYPE_CHECKING:
    from perdure import DurableContext

CONSTANT = uuid.UUID(int=7)


@durable_execution
def child(event: Any, context: DurableContext) -> Any:
    context.wait(5)
    return event


@durable_execution
def handler(_event: Any, context: DurableContext) -> list[Any]:
    drawn = context.step(lambda _: [str(uuid.uuid4()), os.urandom(1).hex()])
    callbacks = [context.create_callback(name) for name in "ab"]
    invoked = [context.invoke("child", number) for number in (1, 2)]
    return [drawn, invoked, [callback.result() for callback in callbacks]]


@pytest.mark.parametrize(
    ("name", "options", "drawn"),
    [
        ("uuid.uuid4", {"return_value": CONSTANT}, lambda ids, _: ids == str(CONSTANT)),
        ("os.urandom", {"side_effect": bytes}, lambda _, byte: byte == "00"),
        ("random.random", {"return_value": 0.5}, lambda *_: True),
    ],
)
def test_a_constant_in_the_place_of_chance_keeps_apart_what_is(name: str, options: Any, drawn: Any) -> None:
    with mock.patch(name, **options), DurableFunctionTestRunner(handler) as runner:
        runner.register_durable_function("child", child)
        for turn in (1, 2):
            arn = runner.run_async(execution_name=f"turn-{turn}")
            for callback in "ba":
                runner.send_callback_success(runner.wait_for_callback(arn, callback), f"{callback}{turn}")
            ids, invoked, answers = runner.wait_for_result(arn).value
            assert drawn(*ids)
            assert (invoked, answers) == ([1, 2], [f"a{turn}", f"b{turn}"])
