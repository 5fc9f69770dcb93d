"""What functions of the user's give that is not what they are asked for: one error, which names the operation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from perdure import SerDesError, durable_execution
from perdure.config import InvokeConfig
from perdure.local import LocalService
from perdure.waits import WaitForConditionDecision
from support.hand import Recorder, event

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE = "x" * 300_000
INVALID = "aws_durable_execution_sdk_python.exceptions.ValidationError"
STOP = WaitForConditionDecision.stop_polling()


def outcome(body: Callable[[Any], Any]) -> tuple[list[Any], list[tuple[str, str]]]:
    """Give what a handler saw of an operation, in three runs of it that must be the same, and what is recorded."""

    def handler(_event: Any, context: Any) -> list[Any]:
        try:
            seen = ["gave", body(context)]
        except Exception as error:  # noqa: BLE001  that is the question
            seen = ["raised", type(error).__name__, str(error), getattr(error, "error_type", None)]
        context.wait(1)
        context.wait(1)
        return seen

    seen: list[Any] = []
    with LocalService() as service:
        service.register("plain", lambda payload, _: payload, durable=False)
        service.register("handler", durable_execution(handler))
        handle = service.start("handler", "{}")
        service.drive(handle)
        assert handle.status == "SUCCEEDED", handle.error
        seen = json.loads(handle.result or "null")
        recorded = [(o.get("Name") or o["SubType"], o["Status"]) for o in handle.operations if o["Type"] != "WAIT"]
    return seen, recorded


class Writes:
    """A serdes that gives whatever it is told to."""

    def __init__(self, text: Any) -> None:
        self._text = text

    def serialize(self, _value: Any, _context: Any) -> Any:
        return self._text

    def deserialize(self, data: str, _context: Any) -> Any:
        return data


# ---- a serdes that writes no text


@pytest.mark.parametrize("odd", [7, b"x", {"a": 1}, True], ids=lambda odd: type(odd).__name__)
@pytest.mark.parametrize(
    ("run", "name"),
    [
        (lambda c, serdes: c.step(lambda _: 1, "s", serdes=serdes), "s"),
        (lambda c, serdes: c.run_in_child_context(lambda _: 1, "k", serdes=serdes), "k"),
        (lambda c, serdes: c.map([1], lambda *_: 1, "m", item_serdes=serdes).throw_if_error(), "map-item-0"),
        (lambda c, serdes: c.parallel([], "p", serdes=serdes), "p"),
        (lambda c, serdes: c.invoke("plain", 1, "i", InvokeConfig(serdes_payload=serdes)), "i"),
        (lambda c, serdes: c.wait_for_callback(lambda *_: 1, "w", serdes=serdes), "w submitter"),
        (
            lambda c, serdes: c.wait_for_condition(
                lambda *_: 1, name="c", wait_strategy=lambda *_: STOP, initial_state=0, serdes=serdes
            ),
            "c",
        ),
    ],
    ids=["step", "child", "item", "parallel", "invoke", "submitter", "condition"],
)
def test_a_serdes_must_write_text(run: Callable[[Any, Any], Any], name: str, odd: Any) -> None:
    seen, recorded = outcome(lambda context: run(context, Writes(odd)))
    told = f"the serdes of operation {name} must write text, or None for no payload, and serialize() gave "
    assert seen[:3] == ["raised", "SerDesError", told + type(odd).__name__]
    assert all(status in ("FAILED", "STARTED") or name == "map-item-0" for _, status in recorded)


def test_a_serdes_may_write_nothing() -> None:
    assert outcome(lambda context: context.step(lambda _: 1, "s", serdes=Writes(None))) == (
        ["gave", None],
        [("s", "SUCCEEDED")],
    )


def test_a_payload_that_cannot_be_written_begins_no_invoke() -> None:
    sent = Recorder()

    @durable_execution(boto3_client=sent)
    def handler(_event: Any, context: Any) -> None:
        with pytest.raises(SerDesError, match="the serdes of operation i must write text"):
            context.invoke("plain", 1, "i", serdes_payload=Writes(7))

    assert handler(event(), None) == {"Status": "SUCCEEDED", "Result": "null"}
    assert sent.updates == []


# ---- a summary that is no text


@pytest.mark.parametrize("odd", [7, {"a": 1}], ids=lambda odd: type(odd).__name__)
def test_the_summary_of_a_context_must_be_text(odd: Any) -> None:
    seen, recorded = outcome(
        lambda context: context.run_in_child_context(lambda _: LARGE, "k", summary_generator=lambda _: odd)
    )
    told = f"the summary_generator of context k must return text, not {odd!r}"
    assert seen == ["raised", "ChildContextError", told, INVALID]
    assert recorded == [("k", "FAILED")]


@pytest.mark.parametrize("summary", ["short", "", None])
def test_a_context_may_have_a_summary_or_none(summary: Any) -> None:
    seen, recorded = outcome(
        lambda context: len(context.run_in_child_context(lambda _: LARGE, "k", summary_generator=lambda _: summary))
    )
    assert seen == ["gave", len(LARGE)]
    assert recorded == [("k", "SUCCEEDED")]


@pytest.mark.parametrize("summary", ["short", 7, None])
def test_the_summary_of_a_batch_may_be_anything_that_has_a_text(summary: Any) -> None:
    def run(context: Any) -> int:
        return context.map([1], lambda *_: LARGE, "m", summary_generator=lambda _: summary).success_count

    seen, recorded = outcome(run)
    assert seen == ["gave", 1]
    assert recorded == [("m", "SUCCEEDED"), ("map-item-0", "SUCCEEDED")]
