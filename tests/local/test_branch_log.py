"""The log of branches that fail: each once, with the line of the user's code, and counted."""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING, Any

import aws_durable_execution_sdk_python as official
import pytest
from aws_durable_execution_sdk_python.config import CompletionConfig as OfficialCompletion
from aws_durable_execution_sdk_python.config import MapConfig as OfficialMap

from perdure import DurableContext, durable_execution
from perdure.config import CompletionConfig, NestingType
from perdure.local import InvocationCut, LocalService
from perdure.retries import RetryPresets
from support.official import official_handler

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = CompletionConfig.all_completed()


def charge(amount: int) -> int:
    return {1: "paid"}[amount]  # type: ignore[return-value]


def paying(context: DurableContext, amount: int, *_: Any) -> int:
    return context.step(lambda _: charge(amount), retry=RetryPresets.none())


def mistyped(context: DurableContext, amount: int, *_: Any) -> int:
    context.wait(1)
    return undefined + amount  # type: ignore[name-defined,no-any-return] # noqa: F821 - what is tested


def lines(
    caplog: pytest.LogCaptureFixture, handler: Callable[[Any, DurableContext], Any], **options: Any
) -> tuple[list[str], int]:
    """Run a handler; give what was logged of branches, and how many failed."""
    caplog.set_level(logging.WARNING, "perdure.local")
    service = LocalService(**options).register("f", durable_execution(handler))
    log = service.log_branches()
    handle = service.run("f", name="n")
    assert handle.status == "SUCCEEDED", handle.error
    told = [record for record in caplog.records if record.name == "perdure.local"]
    assert {record.levelname for record in told} <= {"WARNING"}
    return [record.getMessage() for record in told], log.failed


@pytest.mark.parametrize("nesting", NestingType)
def test_each_branch_that_fails_is_told_once_with_the_line_that_failed(
    nesting: NestingType, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(_event: Any, context: DurableContext) -> None:
        context.map([1, 2, 3], paying, completion_config=ALL, nesting_type=nesting, max_concurrency=1)
        context.wait(5)
        context.map([4, 5], mistyped, completion_config=ALL, nesting_type=nesting, max_concurrency=1)
        context.wait(5)

    told, failed = lines(caplog, handler)
    name = "map-item-" if nesting is NestingType.NESTED else ""
    assert failed == len(told) == 4
    for line, index, where, what in zip(
        told,
        (1, 2, 0, 1),
        ("charge", "charge", "mistyped", "mistyped"),
        ("KeyError", "KeyError", "NameError", "NameError"),
        strict=True,
    ):
        assert re.fullmatch(
            rf"f/n: branch {name}{index} failed at \S*test_branch_log.py:\d+ in {where}\. {what}: .+", line
        )


def test_a_branch_of_a_parallel_is_told_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    told, failed = lines(caplog, lambda _event, context: [context.parallel([lambda _: 1 // 0]), None][1])
    assert failed == 1
    assert re.fullmatch(r"f/n: branch parallel-branch-0 failed at \S+:\d+ in <lambda>\. ZeroDivisionError: .+", told[0])


def test_what_is_rebuilt_or_repeated_is_told_no_second_time(caplog: pytest.LogCaptureFixture) -> None:
    """A large result is rebuilt in each invocation, and one that was cut off is repeated."""
    cuts = iter([False, False, True])

    def cut(name: str, _arguments: Any, moment: str) -> None:
        if (name, moment) == ("checkpoint_durable_execution", "after") and next(cuts, False):
            raise InvocationCut

    def item(context: DurableContext, number: int, *_: Any) -> str:
        if number == 2:
            raise LookupError("two")
        return context.step(lambda _: "x" * 150_000)

    def handler(_event: Any, context: DurableContext) -> int:
        total = 0
        for nesting in NestingType:
            batch = context.map([0, 1, 2], item, completion_config=ALL, nesting_type=nesting, max_concurrency=1)
            context.wait(5)
            total += batch.failure_count
        return total

    told, failed = lines(caplog, handler, on_api_call=cut)
    assert (failed, len(told)) == (2, 2)


def test_a_failure_that_is_handled_inside_is_none_of_the_branch(caplog: pytest.LogCaptureFixture) -> None:
    def item(context: DurableContext, amount: int, *_: Any) -> int:
        try:
            return paying(context, amount)
        except Exception:  # noqa: BLE001 - what is tested
            return 0

    def handler(_event: Any, context: DurableContext) -> list[int]:
        with pytest.raises(Exception, match="lost"):
            context.run_in_child_context(lambda _: {}["lost"])
        return context.map([2, 3], item).get_results()

    assert lines(caplog, handler) == ([], 0)


def test_branches_of_another_sdk_are_told_as_they_are_recorded(caplog: pytest.LogCaptureFixture) -> None:
    @official.durable_execution
    def handler(_event: Any, context: Any) -> None:
        given = OfficialMap(completion_config=OfficialCompletion.all_completed())
        context.map([1, 2, 3], lambda _context, amount, *_: charge(amount), config=given)

    caplog.set_level(logging.WARNING, "perdure.local")
    service = LocalService().register("f", official_handler(handler))
    log = service.log_branches()
    assert service.run("f", name="n").status == "SUCCEEDED"
    told = sorted(record.getMessage() for record in caplog.records if record.name == "perdure.local")
    assert told == ["f/n: branch map-item-1 failed. KeyError: 2", "f/n: branch map-item-2 failed. KeyError: 3"]
    assert log.failed == 2


def test_nothing_is_kept_of_executions_that_have_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "perdure.local")
    service = LocalService().register("f", durable_execution(lambda _, context: [context.map([2], paying), 1][1]))
    log = service.log_branches()
    for _ in range(3):
        service.run("f")
    assert (log.failed, log._known) == (3, {})


class Deciding:
    """An observer that knows when the first branch is recorded as failed."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def operation(self, _handle: Any, operation: Any) -> None:
        if operation["Status"] == "FAILED":
            self.over.set()

    def invocation(self, *_: Any) -> None:
        """Ignore invocations."""

    def waiting(self, *_: Any, **__: Any) -> None:
        """Ignore time."""


def test_branches_that_came_too_late_are_not_counted() -> None:
    deciding = Deciding()

    def item(_inner: Any, _item: int, index: int, _items: Any) -> None:
        assert index == 0 or deciding.over.wait(60)
        raise ValueError(index)

    handler = durable_execution(lambda _event, context: context.map(range(4), item).failure_count)
    service = LocalService().register("f", handler)
    service.observers.append(deciding)
    log = service.log_branches()
    assert service.run("f").value == log.failed == 1
