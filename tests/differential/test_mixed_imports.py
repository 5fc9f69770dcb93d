"""Configs, lengths of time and decorated functions of the official SDK's, in a handler whose context is perdure's.

So is a program of which only a part has moved. What is asked for with them is done, and not passed over in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_durable_execution_sdk_python as official
import pytest
from aws_durable_execution_sdk_python import config as theirs
from aws_durable_execution_sdk_python import retries as their_retries

from perdure.exceptions import CallbackTimeoutError, ValidationError
from support.executions import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure import DurableContext


def updates(operation: Callable[[DurableContext], Any]) -> list[list[tuple[str, str]]]:
    """Give the type and action of each update, call by call, that an operation has sent."""
    handle = run(lambda context: operation(context) and None)
    return [[(update["Type"], update["Action"]) for update in batch] for batch in handle.batches]


def child(context: Any) -> int:
    result: int = context.step(lambda _: 1, "inside")
    return result


def test_a_step_that_is_to_run_at_most_once_does() -> None:
    once: Any = theirs.StepConfig(step_semantics=theirs.StepSemantics.AT_MOST_ONCE_PER_RETRY)
    waited_for = [[("STEP", "START")], [("STEP", "SUCCEED")]]
    assert updates(lambda context: context.step(lambda _: 1, config=once)) == waited_for
    assert updates(lambda context: context.step(lambda _: 1, step_semantics=once.step_semantics)) == waited_for


def test_flat_branches_and_virtual_contexts_leave_no_record_of_their_own() -> None:
    flat: Any = theirs.NestingType.FLAT
    of_map: Any = theirs.MapConfig(nesting_type=flat)
    of_child: Any = theirs.ChildConfig(is_virtual=True)
    for operation, contexts in (
        (lambda context: context.map([1, 2], lambda inner, *_: child(inner), config=of_map), 2),
        (lambda context: context.parallel([child, child], nesting_type=flat), 2),
        (lambda context: context.run_in_child_context(child, config=of_child), 0),
    ):
        sent = [kind for batch in updates(operation) for kind, _ in batch]
        assert sent.count("CONTEXT") == contexts


def test_lengths_of_time_and_retries_are_what_they_say() -> None:
    def fails_once(step: Any) -> int:
        if step.attempt == 1:
            raise ValueError("once")
        return 1

    minutes: Any = theirs.Duration.from_minutes(2)
    retries = their_retries.RetryStrategyConfig(initial_delay=minutes, jitter_strategy=theirs.JitterStrategy.NONE)
    config: Any = theirs.StepConfig(retry_strategy=their_retries.create_retry_strategy(retries))

    def handler(context: DurableContext) -> None:
        context.wait(minutes)
        context.create_callback(config=theirs.CallbackConfig(timeout=minutes))  # type: ignore[arg-type]
        context.step(official.durable_step(fails_once)(), config=config)

    sent = run(handler).updates
    assert [update["WaitOptions"]["WaitSeconds"] for update in sent if update["Type"] == "WAIT"] == [120]
    assert [update["CallbackOptions"]["TimeoutSeconds"] for update in sent if update["Type"] == "CALLBACK"] == [120]
    assert [update["StepOptions"]["NextAttemptDelaySeconds"] for update in sent if update["Action"] == "RETRY"] == [120]


def test_operations_of_decorated_functions_have_their_names() -> None:
    @official.durable_step
    def pay(_step: Any) -> int:
        return 1

    @official.durable_with_child_context
    def book(context: Any) -> int:
        return int(context.step(pay()))

    @official.durable_wait_for_callback
    def ask(_callback_id: str, _context: Any) -> None: ...

    def handler(context: DurableContext) -> None:
        context.step(pay())
        context.run_in_child_context(book())
        with pytest.raises(CallbackTimeoutError):
            context.wait_for_callback(ask(), timeout=5)

    named = {(update["SubType"], update.get("Name")) for update in run(handler).updates}
    assert named == {
        *(("Step", "pay"), ("RunInChildContext", "book"), ("WaitForCallback", "ask")),
        *(("Callback", "ask create callback id"), ("Step", "ask submitter")),
    }


class Duration:
    """Another library's, of which ``seconds`` are not all."""

    seconds = 5


def test_what_is_none_of_these_is_refused() -> None:
    def handler(context: DurableContext) -> None:
        with pytest.raises(ValidationError, match=r"nesting_type must be .*, not 'flat'"):
            context.map([1], lambda *_: 1, nesting_type="flat")  # type: ignore[arg-type]
        with pytest.raises(ValidationError, match="the wait must be a Duration"):
            context.wait(Duration())  # type: ignore[arg-type]
        with pytest.raises(AttributeError):
            context.run_in_child_context(child, config=object())  # type: ignore[arg-type]

    run(handler)
