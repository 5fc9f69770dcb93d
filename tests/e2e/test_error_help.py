"""What errors tell the people who read them: the line of theirs, the operation, and what to do."""

from __future__ import annotations

import logging
import re
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, StepContext, durable_execution, durable_step
from perdure.config import NestingType
from perdure.local import LocalService
from perdure.retries import RetryPresets
from perdure.waits import WaitForConditionDecision

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = RetryPresets.none()


def the_line_at_fault(*_: Any) -> Any:
    return {}["sku"]


def stop(_state: Any, _attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


FAILING: dict[str, tuple[Callable[[DurableContext], Any], str | None]] = {
    "step": (lambda c: c.step(the_line_at_fault, "pay", retry=NEVER), "(step pay ended with KeyError)"),
    "child": (lambda c: c.run_in_child_context(the_line_at_fault, "book"), "(context book ended with KeyError)"),
    "step in a child": (
        lambda c: c.run_in_child_context(lambda k: k.step(the_line_at_fault, "pay", retry=NEVER), "book"),
        "(context book ended with StepError)",
    ),
    "virtual child": (lambda c: c.run_in_child_context(the_line_at_fault, is_virtual=True), None),
    "condition": (
        lambda c: c.wait_for_condition(the_line_at_fault, name="poll", wait_strategy=stop, initial_state=0),
        "(wait_for_condition poll ended with KeyError)",
    ),
    "submitter": (lambda c: c.wait_for_callback(the_line_at_fault, "ask", retry=NEVER), None),
}


@pytest.mark.parametrize("what", FAILING)
def test_the_traceback_of_a_failure_leads_to_the_line_at_fault(what: str) -> None:
    fail, note = FAILING[what]
    caught: list[Exception] = []

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> None:
        try:
            fail(context)
        except Exception as error:  # noqa: BLE001  whatever it is
            caught.append(error)
        context.wait(1)

    LocalService().register("f", handler).run("f")
    first, again = ("".join(traceback.format_exception(error)) for error in caught)
    assert "in the_line_at_fault" in first
    assert "KeyError: 'sku'" in first
    if what != "virtual child":  # of which nothing is recorded, so that its function runs again
        assert "in the_line_at_fault" not in again
    for error in caught:
        assert getattr(error, "__notes__", []) == ([note] if note else [])


def test_a_failed_invoke_names_the_call() -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> list[str]:
        with pytest.raises(Exception, match="sku") as caught:
            context.invoke("child", 1, "look up")
        return caught.value.__notes__

    service = LocalService().register("f", handler).register("child", the_line_at_fault, durable=False)
    assert service.run("f").value == ["(invoke look up ended with KeyError)"]


def test_attempts_that_fail_are_in_the_log_for_those_who_debug(caplog: pytest.LogCaptureFixture) -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> None:
        context.map([1], lambda k, *_: k.step(the_line_at_fault, "pay", retry=RetryPresets.fixed()), "all")

    with caplog.at_level(logging.DEBUG, "perdure"):
        LocalService().register("f", handler).run("f")
    told = [record.getMessage() for record in caplog.records if record.name == "perdure" and record.exc_info]
    attempts = [f"attempt {n} of step pay failed; the next one is due in 5 s" for n in range(1, 5)]
    assert told == [*attempts, "context map-item-0 failed"]
    assert caplog.text.count("in the_line_at_fault") == 5


def test_a_flat_branch_that_fails_is_in_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> None:
        context.map([1], the_line_at_fault, "all", nesting_type=NestingType.FLAT)

    with caplog.at_level(logging.DEBUG, "perdure"):
        LocalService().register("f", handler).run("f")
    assert "in the_line_at_fault" in caplog.text


@durable_step
def charge(_step: StepContext, amount: int = 1) -> int:
    return amount


MISUSED: dict[str, tuple[Callable[[DurableContext], Any], str]] = {
    "a durable step that was not called": (
        lambda c: c.step(charge),
        r"call it, as in context\.step\(charge\(\.\.\.\)\)",
    ),  # type: ignore[arg-type,return-value]
    "a step that is no function": (lambda c: c.step(5), "a step takes a function of a StepContext, not 5"),  # type: ignore[arg-type]
    "a batch as the result": (lambda c: c.map([1], lambda *_: 1), r"handler's result .* Return its get_results\(\)"),
    "a set as the result": (lambda _: {"found": {1}}, "handler's result .* set is not JSON serializable. Return what"),
    "a payload that is a set": (lambda c: c.invoke("x", {1}, "look up"), "the value of operation look up: TypeError"),
}


@pytest.mark.parametrize("what", MISUSED)
def test_what_is_wrong_is_told_at_once_and_what_to_do(what: str) -> None:
    use, told = MISUSED[what]
    handle = LocalService().register("f", durable_execution(lambda _event, context: use(context))).run("f")
    assert handle.error is not None
    assert re.search(told, handle.error["ErrorMessage"])
    assert len(handle.invocations) == 1


def test_the_users_own_error_out_of_a_result_stays_as_it_is() -> None:
    class Odd(dict[str, Any]):
        def __iter__(self) -> Any:
            raise LookupError("mine")

        def items(self) -> Any:
            raise LookupError("mine")

    handle = LocalService().register("f", durable_execution(lambda _event, _context: Odd(a=1))).run("f")
    assert handle.error is not None
    assert handle.error["ErrorMessage"] == "mine"
