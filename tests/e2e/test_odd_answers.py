"""What functions of the user's give that is not what they are asked for: one error, which names the operation."""

from __future__ import annotations

import gc
import json
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from aws_durable_execution_sdk_python import config as official

from perdure import SerDesError, durable_execution
from perdure.config import CompletionConfig, CompletionOutcome, InvokeConfig, complete_batch, continue_batch
from perdure.local import LocalService
from perdure.waits import WaitForConditionDecision
from support.invocations import Recorder, event

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


async def awaited(*_: Any) -> Any:
    return "1"


class Awaits(Writes):
    """A serdes whose methods are coroutine functions, as nobody awaits them."""

    def __init__(self) -> None:
        super().__init__(None)
        self.serialize = self.deserialize = awaited  # type: ignore[method-assign]


class AwaitsReading(Writes):
    """The same, but for the one that writes."""

    async def deserialize(self, data: str, _context: Any) -> Any:
        return data


@pytest.mark.parametrize(
    ("told", "run"),
    [
        ("serialize() gave coroutine", lambda c: c.step(lambda _: 1, serdes=Awaits())),
        ("serialize() gave coroutine", lambda c: c.invoke("plain", 1, serdes_payload=Awaits())),
        ("deserialize() gave a coroutine", lambda c: c.step(lambda _: 1, serdes=AwaitsReading("1"))),
        ("deserialize() gave a coroutine", lambda c: c.step(lambda _: 1, serdes=AwaitsReading("1"), returns=int)),
        ("deserialize() gave a coroutine", lambda c: c.run_in_child_context(lambda _: 1, serdes=AwaitsReading("1"))),
        ("must return text", lambda c: c.run_in_child_context(lambda _: LARGE, summary_generator=awaited)),
        ("map or parallel returned", lambda c: c.map([1], lambda *_: LARGE, summary_generator=awaited)),
        ("text, not <coroutine", lambda c: c.map([1], lambda *_: 1, item_namer=awaited)),
        ("True or False, not <coroutine", lambda c: c.step(lambda _: 1 / 0, retry_if=awaited)),
    ],
)
def test_what_is_asked_for_is_not_to_be_awaited(told: str, run: Callable[[Any], Any]) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        seen, _ = outcome(run)
        gc.collect()
    assert seen[0] == "raised"
    assert told in str(seen)
    assert not [str(each.message) for each in warned]


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


# ---- a predicate that does not decide


class Decision:
    """A decision to end, of a class of one's own."""

    complete = True

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome


def in_a_map(answer: Any, *, late: bool) -> Callable[[Any], Any]:
    """Have a predicate give an answer at once, or once a branch has succeeded."""

    def predicate(status: Any) -> Any:
        return answer if status.success_count or not late else continue_batch()

    def run(context: Any) -> list[Any]:
        rule = CompletionConfig(should_complete=predicate)
        done = context.map([1, 2], lambda inner, n, *_: inner.step(lambda _: n), "m", completion_config=rule)
        return [done.completion_reason.value, done.total_count]

    return run


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(
    "odd",
    [True, False, 1, "yes", Decision(None), Decision("perhaps")],
    ids=lambda odd: repr(getattr(odd, "outcome", odd)),
)
def test_a_predicate_must_decide(odd: Any, late: bool) -> None:
    seen, recorded = outcome(in_a_map(odd, late=late))
    told = f"the should_complete of m must return complete_batch(...) or continue_batch(), not {odd!r}"
    assert seen == ["raised", "ChildContextError", told, INVALID]
    assert recorded[0] == ("m", "FAILED")
    assert len(recorded) > 1 or not late


def test_a_batch_without_a_name_is_called_by_its_id() -> None:
    rule = CompletionConfig(should_complete=lambda _: True)  # type: ignore[arg-type, return-value]
    seen, _ = outcome(lambda context: context.parallel([lambda _: 1], completion_config=rule))
    assert seen[2].startswith("the should_complete of 1ced8f5be2db23a6")


def test_a_predicate_that_gives_nothing_lets_the_batch_go_on() -> None:
    seen, recorded = outcome(in_a_map(None, late=False))
    assert seen == ["gave", ["ALL_COMPLETED", 2]]
    assert recorded[0] == ("m", "SUCCEEDED")


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (complete_batch(), "CUSTOM_COMPLETION_SUCCEEDED"),
        (complete_batch(CompletionOutcome.FAILED), "CUSTOM_COMPLETION_FAILED"),
        (Decision(CompletionOutcome.FAILED), "CUSTOM_COMPLETION_FAILED"),
        (Decision("SUCCEEDED"), "CUSTOM_COMPLETION_SUCCEEDED"),
        (Decision("FAILED"), "CUSTOM_COMPLETION_FAILED"),
        (official.complete_batch(), "CUSTOM_COMPLETION_SUCCEEDED"),
        (official.complete_batch(official.CompletionOutcome.FAILED), "CUSTOM_COMPLETION_FAILED"),
    ],
    ids=lambda given: given if isinstance(given, str) else type(given).__module__.partition(".")[0],
)
def test_decisions_of_another_class_will_do(decision: Any, reason: str, late: bool) -> None:
    seen, _ = outcome(in_a_map(decision, late=late))
    assert seen == ["gave", [reason, 2 if late else 0]]
