"""Text with half a character in it: nothing that leaves holds any, whatever it came by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.config import ChildConfig, InvokeConfig, MapConfig, StepConfig
from perdure.exceptions import InvocationError, SerDesError
from perdure.local import LocalService
from perdure.serdes import SerDes
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.serdes import SerDesContext

ODD = "caf\udce9.txt"
ESCAPED = r"caf\udce9.txt"


class AsItIs(SerDes[str]):
    def serialize(self, value: str, serdes_context: SerDesContext) -> str:  # noqa: ARG002
        return value

    def deserialize(self, data: str, serdes_context: SerDesContext) -> str:  # noqa: ARG002
        return data


def condition(context: DurableContext) -> Any:
    config = WaitForConditionConfig(lambda *_: WaitForConditionDecision.stop_polling(), ODD, serdes=AsItIs())
    return context.wait_for_condition(lambda state, _: state, config)


OPERATIONS: dict[str, Callable[[DurableContext], Any]] = {
    "step": lambda c: c.step(lambda _: ODD, config=StepConfig(serdes=AsItIs())),
    "child": lambda c: c.run_in_child_context(lambda _: ODD, config=ChildConfig(serdes=AsItIs())),
    "virtual child": lambda c: c.run_in_child_context(
        lambda _: ODD, config=ChildConfig(serdes=AsItIs(), is_virtual=True)
    ),
    "item": lambda c: c.map([1], lambda *_: ODD, config=MapConfig(item_serdes=AsItIs())).throw_if_error(),
    "condition": condition,
    "invoke": lambda c: c.invoke("other", ODD, config=InvokeConfig(serdes_payload=AsItIs())),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_serdes_whose_text_has_one_fails_and_says_what_to_do(name: str) -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> None:
        with pytest.raises(SerDesError, match=r"lone surrogate, '.udce9' at position 3.*Escape it"):
            OPERATIONS[name](context)

    handle = LocalService().register("f", handler).run("f")
    assert handle.status == "SUCCEEDED", handle.error
    assert all("Payload" not in update for update in handle.updates if update["SubType"] != "Map")


def test_a_serdes_whose_text_goes_beyond_ascii_is_taken_at_its_word() -> None:
    whole = "café \U0001f600"

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        return context.step(lambda _: whole, config=StepConfig(serdes=AsItIs()))

    assert LocalService().register("f", handler).run("f").value == whole


def test_the_default_serdes_carries_them() -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        value = context.step(lambda _: {ODD: ODD})
        context.wait(1)
        return [value, context.invoke("echo", value)]

    service = LocalService().register("echo", lambda event, _: event, durable=False).register("f", handler)
    handle = service.run("f")
    assert handle.value == [{ODD: ODD}] * 2
    json.dumps(handle.updates, ensure_ascii=False).encode()


def test_a_summary_is_recorded_without() -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> int:
        config = ChildConfig(summary_generator=lambda _result: ODD)
        return len(context.run_in_child_context(lambda _: "x" * 300_000, config=config))

    handle = LocalService().register("f", handler).run("f")
    assert handle.value == 300_000
    assert handle.updates[-1]["Payload"] == ESCAPED


class UnspeakableError(InvocationError):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InvocationError(ODD), r"^aws_durable_execution_sdk_python\.exceptions\.InvocationError: caf.udce9\.txt$"),
        (UnspeakableError(""), r"UnspeakableError: \(no message: str\(\) of this exception raised RuntimeError\)$"),
    ],
)
def test_an_exception_that_leaves_can_be_written_and_names_the_one_it_stands_for(
    error: InvocationError, message: str
) -> None:
    raised: list[BaseException] = []

    @durable_execution
    def handler(_event: Any, _context: DurableContext) -> None:
        raise error

    def called(event: Any, context: Any) -> Any:
        try:
            return handler(event, context)
        except BaseException as leaving:
            raised.append(leaving)
            raise

    LocalService(retry_delay=lambda _: 1e9).register("f", called).run("f")
    with pytest.raises(InvocationError, match=message):
        raise raised[0]
    assert raised[0].__cause__ is error
    str(raised[0]).encode()


def test_an_exception_that_can_be_written_leaves_as_it_is() -> None:
    error = InvocationError("Grüße")
    raised: list[BaseException] = []

    @durable_execution
    def handler(_event: Any, _context: DurableContext) -> None:
        raise error

    def called(event: Any, context: Any) -> Any:
        try:
            return handler(event, context)
        except InvocationError as leaving:
            raised.append(leaving)
            raise

    LocalService(retry_delay=lambda _: 1e9).register("f", called).run("f")
    assert raised[0] is error
