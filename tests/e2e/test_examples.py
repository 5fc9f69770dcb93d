"""The examples as a reader runs them: by the command, and on a local service."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perdure.local import LocalService, VirtualClock
from perdure.testing import explore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.local import ExecutionHandle

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ORDER = json.loads((EXAMPLES / "order.json").read_text(encoding="utf-8"))

ORDERED = {
    "order": "A-1001",
    "total": "91.90 EUR",
    "payment": "payment-A-1001",
    "checks": ["Ada is known", "7 items held"],
    "picked": ["1 x teapot from shelf 1", "4 x cup from shelf 2", "2 x assam-250g from shelf 3"],
    "tracking": "PX-A-1001",
}
RESULTS: dict[str, tuple[Any, Any]] = {
    "order": (ORDER, ORDERED),
    "order_async": (ORDER, ORDERED),
    "shops": (
        {"shops": 12},
        {"reported": 10, "missing": ["shop-4", "shop-9"], "total": 1053, "why": "ALL_COMPLETED"},
    ),
    "approval": ({}, {"approved": False, "by": None}),
    "trip": (
        {"sold_out": "car"},
        {"booked": [], "undone": ["hotel-4711 cancelled", "flight-4711 cancelled"], "because": "no car left"},
    ),
    "saga": ({"missing": "van"}, {"reserved": [], "because": "no van to be had"}),
    "fan_out": (
        {"articles": 250},
        {
            "list": "list-4",
            "rate": 1.1,
            "prices": 150,
            "missing": ["no price: article 137"],
            "headline": "STARTED",
            "took": 602,
        },
    ),
    "render": ({}, {"job": "job-metropolis", "percent": 100}),
}


@pytest.fixture(autouse=True)
def _examples_importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delenv("WAREHOUSE_QUEUE_URL", raising=False)
    yield
    for name in ("warehouse", *RESULTS):
        sys.modules.pop(name, None)


def start(example: str, event: Any) -> tuple[LocalService, ExecutionHandle]:
    service = LocalService(clock=VirtualClock())
    service.register(example, importlib.import_module(example).handler)
    return service, service.start(example, event=event)


def test_every_example_is_tested() -> None:
    files = {path.stem for path in EXAMPLES.glob("*.py")}
    assert files == {"warehouse", "order_trace", *RESULTS}


@pytest.mark.parametrize("example", RESULTS)
def test_an_example_runs_from_the_command_line(example: str) -> None:
    event, expected = RESULTS[example]
    given = "order.json" if event is ORDER else json.dumps(event)
    code = "from perdure.cli import main; main()"
    command = [sys.executable, "-c", code, "run", f"{example}:handler", "--event", given, "--skip-time", "--json"]
    done = subprocess.run(
        command, cwd=EXAMPLES, capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] == expected


@pytest.mark.parametrize("example", RESULTS)
def test_an_example_gives_its_result_on_a_local_service(example: str) -> None:
    event, expected = RESULTS[example]
    service, handle = start(example, event)
    # Real time for those who answer from outside; where nobody does, the callback's own timeout then passes.
    service.drive(handle, stop_at_callback=True, wait=30 if event is ORDER else 0)
    service.drive(handle)
    assert (handle.status, handle.value, handle.error) == ("SUCCEEDED", expected, None)


def test_the_order_shows_each_kind_of_operation() -> None:
    service, handle = start("order", ORDER)
    service.drive(handle, stop_at_callback=True, wait=30)
    kinds = {operation.get("SubType") for operation in handle.operations}
    assert kinds >= {"Step", "Wait", "Parallel", "ParallelBranch", "Map", "MapIteration", "WaitForCallback", "Callback"}
    assert handle.operation("charge")["StepDetails"]["Attempt"] == 3


def test_the_order_written_with_async_does_side_by_side_what_can_be() -> None:
    service, handle = start("order_async", ORDER)
    service.drive(handle, stop_at_callback=True, wait=30)
    kinds = {operation.get("SubType") for operation in handle.operations}
    assert kinds >= {"Step", "Wait", "RunInChildContext", "Map", "MapIteration", "WaitForCallback", "Callback"}
    assert handle.operation("charge")["StepDetails"]["Attempt"] == 3
    first = {update.get("Name") for update in handle.updates[:12]}
    assert {"add_up", "look_up", "reserve-stock", "hold-teapot", "hold-cup", "hold-assam-250g"} <= first


@pytest.mark.parametrize("example", ["order", "order_async"])
def test_the_order_stands_whatever_goes_wrong(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = importlib.import_module(example).handler
    monkeypatch.setattr("order.hand_over", lambda _message: None)
    monkeypatch.setattr(f"{example}.hand_over", lambda _message: None)
    report = explore(handler, ORDER, answers={"dispatch": {"tracking": "PX-A-1001"}}, orders=5, time_limit=300)
    report.assert_ok()
    assert report.tried > 20
    assert json.loads(report.expected.result or "") == ORDERED


@pytest.mark.parametrize("example", ["order", "order_async"])
def test_the_order_waits_for_a_real_warehouse_where_there_is_a_queue(
    example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []

    class Queue:
        def send_message(self, **message: Any) -> None:
            sent.append(message)

    monkeypatch.setenv("WAREHOUSE_QUEUE_URL", "https://queue.example/warehouse")
    monkeypatch.setattr("boto3.client", {"sqs": Queue()}.__getitem__)
    service, handle = start(example, ORDER)
    service.drive(handle, stop_at_callback=True)
    (message,) = sent
    assert message["QueueUrl"] == "https://queue.example/warehouse"
    callback_id = json.loads(message["MessageBody"])["callback"]
    assert callback_id == handle.callback_id("dispatch")
    answer = service.client.send_durable_execution_callback_success
    answer(CallbackId=callback_id, Result=b'{"tracking": "PX-7"}')
    assert service.drive(handle).value["tracking"] == "PX-7"


@pytest.mark.parametrize(("answer", "approved"), [(b'"yes"', True), (b'"no"', False)])
def test_the_first_who_answers_decides_on_an_expense(answer: bytes, approved: bool) -> None:
    service, handle = start("approval", {"approvers": ["Barbara", "Donald"]})
    service.drive(handle, stop_at_callback=True)
    service.client.send_durable_execution_callback_success(CallbackId=handle.callback_id("ask-Barbara"), Result=answer)
    assert service.drive(handle).value == {"approved": approved, "by": "Barbara"}


def test_the_manager_decides_on_an_expense_after_three_days() -> None:
    service, handle = start("approval", {})
    began = service.clock.time()

    def answer_the_second(operation: Any, client: Any) -> None:
        if "Edsger" in operation["Name"]:
            callback_id = operation["CallbackDetails"]["CallbackId"]
            client.send_durable_execution_callback_success(CallbackId=callback_id, Result=b'"yes"')

    service.on_callback = answer_the_second
    assert service.drive(handle).value == {"approved": True, "by": "Edsger"}
    assert service.clock.time() - began == 3 * 86_400


def test_too_many_unreachable_shops_end_the_report_early() -> None:
    _, handle = start("shops", {"shops": 5})
    handle.drive()
    assert handle.value["why"] == "ALL_COMPLETED"
    _, handle = start("shops", {"shops": 3})
    handle.drive()
    assert handle.value == {"reported": 3, "missing": [], "total": 303, "why": "ALL_COMPLETED"}


def test_a_trip_without_trouble_is_booked_whole() -> None:
    _, handle = start("trip", {})
    handle.drive()
    assert handle.value == {"booked": ["flight-4711", "hotel-4711", "car-4711"], "undone": [], "because": None}


def test_the_picture_of_the_orders_trace_shows_the_order(tmp_path: Path) -> None:
    picture = tmp_path / "trace.svg"
    subprocess.run([sys.executable, "order_trace.py", picture], cwd=EXAMPLES, check=True, timeout=100)
    spans, shown = (
        sorted(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8")))
        for path in (picture, EXAMPLES.parent / "docs" / "order-trace.svg")
    )
    assert spans == shown
    assert {"Workflow", "charge attempt 3", "time-to-reconsider", "pick-teapot"} <= set(spans)
