"""What an execution used of what the service allows: in a test's result, by itself, and as a warning at 80 %."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from perdure import durable_execution
from perdure.engine import budget as _budget
from perdure.engine import checkpoint
from perdure.local import Limits, LocalService
from perdure.local.machine.budget import PRICE_LIST, Budget, Prices, budget_of, budget_of_operations
from perdure.testing.model import GetDurableExecutionHistoryResponse, GetDurableExecutionResponse
from perdure.testing.result import DurableFunctionTestResult
from perdure.testing.runner import DurableFunctionTestRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _nobody_warned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    _budget._warned.clear()
    yield
    _budget._warned.clear()


def steps(event: Any, context: Any) -> int:
    for count in range(event):
        context.step(lambda _, count=count: count)
    return event


def run(count: int, **options: Any) -> Any:
    with DurableFunctionTestRunner(durable_execution(steps), **options) as runner:
        return runner.run(event=count)


def test_a_result_tells_the_operations_and_the_bytes() -> None:
    with DurableFunctionTestRunner(
        durable_execution(lambda _event, context: context.step(lambda _: "x" * 98))
    ) as runner:
        budget = runner.run().budget
    assert (budget.operations, budget.written_bytes) == (1, 100)
    assert (budget.operations_limit, budget.written_limit) == (3_000, 100 * MIB)
    assert str(budget) == (
        "1 of 3,000 (0.0%) operations, 100 B of 100.0 MiB (0.0%) written; "
        "about $0.000016 (us-east-1 prices of 2026-09; invocations not included)"
    )


def test_a_step_counts_once_and_is_billed_for_each_attempt() -> None:
    def failing(step: Any) -> int:
        if step.attempt < 4:
            raise ConnectionError("again")
        return step.attempt

    with DurableFunctionTestRunner(durable_execution(lambda _event, context: context.step(failing))) as runner:
        result = runner.run()
    assert (result.value, result.budget.operations, result.budget.repeats) == (4, 1, 3)
    assert result.budget.billed_operations == 5  # with the start of the execution


def test_the_limits_are_those_of_the_service() -> None:
    budget = run(3, limits=Limits.off()).budget
    assert (budget.operations_share, budget.written_share) == (0.0, 0.0)
    assert str(Budget(3, 2048, None, None)).startswith("3 operations, 2.0 KiB written; about $")
    assert run(3, limits=Limits(operations=4)).budget.operations_share == 0.75


def test_prices_are_those_of_the_list() -> None:
    assert (PRICE_LIST.region, PRICE_LIST.date, PRICE_LIST.currency) == ("us-east-1", "2026-09", "USD")
    million = Budget(999_999, 10**9)  # and one to start with
    assert million.price == pytest.approx(8.00 + 0.25 + 0.15 * 14 / 30)


def test_prices_are_those_that_are_given() -> None:
    prices = Prices(operation=2.0, written_gb=1000.0, retained_gb_month=3000.0, retention_days=15)
    assert Budget(9, 1_000_000, prices=prices).price == pytest.approx(20 + 1.0 + 1.5)
    budget = run(2, prices=Prices(operation=0.5, written_gb=0, retained_gb_month=0, currency="EUR")).budget
    assert (budget.price, str(budget).rpartition("; about ")[2]) == (
        1.5,
        "1.500000 EUR (at the prices given; invocations not included)",
    )
    assert budget.to_dict()["price"] == 1.5


def test_what_is_kept_costs_for_as_long_as_the_execution_is_kept() -> None:
    service = LocalService().register("f", durable_execution(steps), retention_days=30)
    handle = service.run("f", event=1)
    only_kept = Prices(operation=0, written_gb=0, retained_gb_month=1e9)
    assert budget_of(handle.machine, only_kept).price == pytest.approx(1.0)
    assert Budget(1, 1, prices=only_kept).price == pytest.approx(14 / 30)
    assert Budget(1, 1, retention_days=30, prices=Prices(0, 0, 1e9, retention_days=3)).price == pytest.approx(0.1)


def test_executions_of_a_local_service_and_operations_of_any_other_have_a_budget() -> None:
    service = LocalService().register("f", durable_execution(steps))
    handle = service.run("f", event=5)
    assert budget_of(handle.machine) == Budget(5, 5)
    assert budget_of(service.run("f", event=0).machine) == Budget(0, 0)
    told = service.client.get_durable_execution_state(
        DurableExecutionArn=handle.arn, CheckpointToken=handle.machine.token
    )
    read = budget_of_operations(told["Operations"], Prices(operation=1), 30)
    assert read == Budget(5, 5, retention_days=30, prices=Prices(operation=1), at_least=True)
    assert "at least 5 B of 100.0 MiB (0.0%) written; at least $6.000000 (at the prices given" in str(read)


def test_a_result_read_from_the_api_knows_the_retention() -> None:
    service = LocalService().register("f", durable_execution(steps), retention_days=60)
    asked = {"DurableExecutionArn": service.run("f", event=2).arn}
    result = DurableFunctionTestResult.from_execution_history(
        GetDurableExecutionResponse.from_dict(service.client.get_durable_execution(**asked)),
        GetDurableExecutionHistoryResponse.from_dict(service.client.get_durable_execution_history(**asked)),
    )
    assert result.budget == Budget(2, 2, retention_days=60, at_least=True)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_handler_warns_once_at_80_percent_of_the_operations(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoint, "CROWDED", 8)

    def handler(_event: Any, context: Any) -> None:
        for count in range(6):
            context.step(lambda _: 1)
            context.wait(60, f"wait-{count}")

    with DurableFunctionTestRunner(durable_execution(handler)) as runner:
        runner.run()
        [message] = warnings_of(caplog)
        assert "has used about 8 of the 3,000 operations" in message
        runner.run()
    assert len(warnings_of(caplog)) == 2


def test_a_handler_below_the_line_does_not_warn(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoint, "CROWDED", 8)
    run(6)
    assert warnings_of(caplog) == []


def test_a_handler_warns_once_at_80_percent_of_the_bytes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoint, "HEAVY", 5_000)

    def handler(_event: Any, context: Any) -> None:
        for _ in range(8):
            context.step(lambda _: "x" * 998)

    with DurableFunctionTestRunner(durable_execution(handler)) as runner:
        runner.run()
    [message] = warnings_of(caplog)
    assert "has written about 0 of the 100 MB" in message


def test_what_comes_by_pages_counts(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(checkpoint, "CROWDED", 8)
    monkeypatch.setattr(checkpoint, "HEAVY", 4_000)

    def handler(_event: Any, context: Any) -> None:
        for _ in range(8):
            context.step(lambda _: json.dumps("x" * 600))
            context.wait(1)

    service = LocalService(inline_operations=2).register("f", durable_execution(handler))
    service.run("f")
    assert len(warnings_of(caplog)) == 2


def test_the_warnings_remember_the_latest_executions_only() -> None:
    for count in range(_budget._REMEMBERED + 10):
        _budget.warn(f"arn-{count}", 2_400, None)
    assert len(_budget._warned) == _budget._REMEMBERED
