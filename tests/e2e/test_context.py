"""`DurableContext` as its user sees it: names, and the Lambda context behind it."""

from __future__ import annotations

import json
import weakref
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from perdure import (
    DurableContext,
    StepContext,
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
    durable_with_child_context,
)
from support.invocations import ARN, LambdaContext, invoke, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

# ---- the Lambda context behind it


def test_unknown_attributes_are_those_of_the_lambda_context() -> None:
    context = LambdaContext()
    context.anything = "mine"  # type: ignore[attr-defined]

    def handler(c: DurableContext) -> Any:
        assert c.lambda_context is context
        assert c.get_remaining_time_in_millis() == 900_000
        return [c.aws_request_id, c.function_name, c.anything, c.execution_context.durable_execution_arn]

    got, _ = invoke(handler, context=context)
    assert json.loads(got["Result"]) == ["request", "f", "mine", ARN]


@pytest.mark.parametrize("name", ["nothing_here", "__html__", "_private"])
def test_an_attribute_that_neither_has_is_an_attribute_error(name: str) -> None:
    def handler(c: DurableContext) -> None:
        assert not hasattr(c, name)
        with pytest.raises(AttributeError, match=name):
            getattr(c, name)

    assert invoke(handler)[0] == succeeded("null")


def test_inner_contexts_pass_attributes_on_too() -> None:
    got, _ = invoke(
        lambda c: c.run_in_child_context(lambda k: k.map([1], lambda b, *_: b.aws_request_id).get_results())
    )
    assert got == succeeded('["request"]')


def test_a_context_can_be_given_attributes_and_other_operations() -> None:
    def handler(c: Any) -> list[Any]:
        c.tenant = "mine"
        own = c.step

        def counted(*given: Any, **options: Any) -> Any:
            c.steps = getattr(c, "steps", 0) + 1
            return own(*given, **options)

        with mock.patch.object(c, "step", counted):
            c.step(lambda _: 1)
            c.step(lambda _: 2, name="named")
        inner = c.run_in_child_context(lambda k: [getattr(k, "steps", None), k.step(lambda _: 3)])
        assert weakref.ref(c)() is c
        return [c.tenant, c.steps, inner, c.step(lambda _: 4)]

    got, client = invoke(handler)
    assert json.loads(got["Result"]) == ["mine", 2, [None, 3], 4]
    assert len({update["Id"] for update in client.updates}) == 5


# ---- names


@durable_step
def charge(_step: StepContext, amount: int, *, currency: str) -> str:
    return f"{amount} {currency}"


@durable_with_child_context
def book(context: DurableContext, what: str) -> str:
    return context.step(lambda _: what)


@durable_wait_for_callback
def ask(_callback_id: str, _context: Any, _whom: str) -> None:
    """Ask."""


@durable_parallel_branch()
def fetch(_context: DurableContext, key: str) -> str:
    return key


@durable_parallel_branch(name="named")
def fetch_named(_context: DurableContext, key: str) -> str:
    return key


def plain(*_: Any) -> int:
    return 1


@pytest.mark.parametrize(
    ("operate", "names"),
    [
        (lambda c: c.step(charge(3, currency="EUR")), ["charge"]),
        (lambda c: c.step(charge(3, currency="EUR"), "mine"), ["mine"]),
        (lambda c: c.run_in_child_context(book("x")), ["book", None]),
        (lambda c: c.wait_for_callback(ask("you")), ["ask", "ask create callback id", "ask submitter"]),
        (lambda c: c.wait_for_callback(lambda *_: None), [None, "create callback id", "submitter"]),
        (lambda c: c.parallel([fetch("a"), fetch_named("b")], max_concurrency=1), [None, "parallel-branch-0", "named"]),
        (lambda c: c.step(plain), [None]),
        (lambda c: c.run_in_child_context(plain), [None]),
        (lambda c: c.map([1], plain), [None, "map-item-0"]),
        (lambda c: c.map([7], plain, item_namer=lambda item, n: f"{item}/{n}"), [None, "7/0"]),
        (lambda c: c.parallel([plain]), [None, "parallel-branch-0"]),
    ],
)
def test_names_are_given_or_remembered_and_never_guessed(
    operate: Callable[[DurableContext], Any], names: list[str | None]
) -> None:
    _, client = invoke(lambda c: operate(c) and None)
    assert list(dict.fromkeys(each.get("Name") for each in client.updates)) == names


def test_a_decorated_function_gets_its_arguments() -> None:
    got, _ = invoke(lambda c: [c.step(charge(3, currency="EUR")), c.run_in_child_context(book("trip"))])
    assert got == succeeded('["3 EUR", "trip"]')
