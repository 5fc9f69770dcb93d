"""What an error about a changed handler tells its author."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perdure import durable_execution
from perdure.exceptions import NonDeterministicExecutionError
from perdure.local import LocalService

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure import DurableContext


def plainly(context: DurableContext, name: str) -> None:
    context.step(lambda _: None, name=name)
    context.wait(60)


def in_a_child(context: DurableContext, name: str) -> None:
    context.run_in_child_context(lambda inner: plainly(inner, name))


def in_a_branch(context: DurableContext, name: str) -> None:
    context.parallel([lambda inner: plainly(inner, "same"), lambda inner: plainly(inner, name)])


def message(draw: Callable[[DurableContext, str], None]) -> str:
    names = iter(["even", "odd"])

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> None:
        draw(context, next(names))

    execution = LocalService().register("handler", handler).run("handler")
    assert execution.status == "FAILED"
    assert execution.error is not None
    assert execution.error["ErrorType"].endswith("NonDeterministicExecutionError")
    return execution.error["ErrorMessage"]


@pytest.mark.parametrize("draw", [plainly, in_a_child, in_a_branch])
def test_the_error_names_both_sides_and_the_users_line(draw: Callable[[DurableContext, str], None]) -> None:
    line = plainly.__code__.co_firstlineno + 1
    text = message(draw)
    assert 'STEP of subtype Step named "even" in the recorded history' in text
    assert 'STEP of subtype Step named "odd"' in text
    assert f"{__file__}:{line} in plainly" in text


def test_a_swallowed_error_names_the_line_that_was_refused_first() -> None:
    def swallowing(context: DurableContext, name: str) -> None:
        try:
            plainly(context, name)
        except NonDeterministicExecutionError:
            return

    def quiet(context: DurableContext, name: str) -> None:
        swallowing(context, name)
        if name == "odd":
            context.step(lambda _: None, name="next")

    text = message(quiet)
    assert 'named "odd"' in text
    assert f"{__file__}:{plainly.__code__.co_firstlineno + 1} in plainly" in text
