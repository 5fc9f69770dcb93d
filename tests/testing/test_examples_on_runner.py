"""The examples on the test runner, and under the explorer: what they return, and that they always do."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perdure.testing import explore
from perdure.testing.runner import DurableFunctionTestRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ORDER = json.loads((EXAMPLES / "order.json").read_text(encoding="utf-8"))
NAMES = ("approval", "order", "render", "saga", "shops", "trip", "warehouse")


@pytest.fixture(autouse=True)
def _examples_importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delenv("WAREHOUSE_QUEUE_URL", raising=False)
    yield
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def runner_of() -> Iterator[Callable[[str], DurableFunctionTestRunner]]:
    made: list[DurableFunctionTestRunner] = []

    def make(example: str) -> DurableFunctionTestRunner:
        made.append(DurableFunctionTestRunner(importlib.import_module(example).handler))
        return made[-1]

    yield make
    for runner in made:
        runner.close()


def test_the_order_is_answered_by_its_pretended_warehouse(runner_of) -> None:
    result = runner_of("order").run(event=ORDER, timeout=60)
    assert result.value["tracking"] == "PX-A-1001"
    assert result.get_step("charge").attempt == 3
    assert result.duration == timedelta(hours=1, seconds=30)


def test_the_order_is_answered_by_the_test(runner_of, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = runner_of("order")
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(sys.modules["order"], "hand_over", sent.append)
    arn = runner.run_async(event=ORDER)
    callback_id = runner.wait_for_callback(arn, "dispatch")
    assert sent[0]["callback"] == callback_id
    runner.send_callback_success(callback_id, {"tracking": "PX-7"})
    result = runner.wait_for_result(arn)
    assert result.value["tracking"] == "PX-7"
    assert [operation.name for operation in result.get_context("pick").child_operations] == [
        "pick-teapot",
        "pick-cup",
        "pick-assam-250g",
    ]


def test_the_approval_goes_to_the_manager_after_three_days(runner_of) -> None:
    runner = runner_of("approval")
    arn = runner.run_async(event={})
    runner.wait_for_callback(arn, "ask-Grace")
    runner.advance(timedelta(days=3))
    runner.send_callback_success(runner.wait_for_callback(arn, "ask-Edsger"), '"yes"')
    assert runner.wait_for_result(arn).value == {"approved": True, "by": "Edsger"}


def test_the_saga_gives_back_what_it_booked(runner_of) -> None:
    result = runner_of("trip").run(event={"sold_out": "car"})
    assert result.value["undone"] == ["hotel-4711 cancelled", "flight-4711 cancelled"]
    assert result.get_step("book-car").error.message == "no car left"


def test_the_polling_job_is_looked_at_less_and_less_often(runner_of) -> None:
    result = runner_of("render").run(event={})
    assert result.get_step("rendered").attempt == 4
    assert result.duration == timedelta(seconds=10 + 20 + 40)


def test_the_fan_out_reports_what_it_can_reach(runner_of) -> None:
    result = runner_of("shops").run(event={"shops": 12})
    assert result.value["missing"] == ["shop-4", "shop-9"]
    assert result.get_context("sales").get_context("shop-4").get_step("ask").attempt == 3


CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("approval", {}, {"answers": {"ask-Grace": '"no"'}}),
    ("approval", {}, {}),
    ("trip", {}, {}),
    ("trip", {"sold_out": "hotel"}, {}),
    ("saga", {"missing": "van"}, {}),
    ("render", {}, {}),
    ("shops", {"shops": 5}, {}),
    ("order", ORDER, {"answers": {"dispatch": {"tracking": "PX-1"}}}),
]


@pytest.mark.parametrize(("example", "event", "options"), CASES)
def test_an_example_does_the_same_whatever_goes_wrong(
    example: str, event: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(example)
    if example == "order":
        monkeypatch.setattr(module, "hand_over", lambda _message: None)
    report = explore(module.handler, event, orders=5, max_schedules=150, **options)
    report.assert_ok()
    assert report.complete
