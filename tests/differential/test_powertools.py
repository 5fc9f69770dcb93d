"""AWS Powertools around a durable handler: each of its decorators does what it does with the official SDK."""

from __future__ import annotations

from support.tracing import xray_recorder  # before Powertools, which imports it, too

# isort: split

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.provider import cold_start
from aws_lambda_powertools.shared.functions import is_durable_context
from aws_lambda_powertools.utilities.data_classes import SQSEvent, event_source
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.base import BasePersistenceLayer
from aws_lambda_powertools.utilities.parser import event_parser
from pydantic import BaseModel

from perdure.local import LocalService, VirtualClock
from support.both_sdks import FAR_AWAY, OFFICIAL, PERDURE, Sdk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord

    from perdure.local import ExecutionHandle


@dataclass
class Stage:
    """One of the two SDKs, on a local service of its own."""

    sdk: Sdk
    service: LocalService

    @property
    def name(self) -> str:
        return self.sdk.name

    def run(self, handler: Callable[[Any, Any], Any], event: Any, name: str = "one") -> ExecutionHandle:
        self.service.register("test-function", self.sdk.durable(handler))
        return self.service.run("test-function", event=event, name=name)

    def value(self, handler: Callable[[Any, Any], Any], event: Any, name: str = "one") -> Any:
        """Run a handler; give what it returns."""
        done = self.run(handler, event, name)
        assert done.status == "SUCCEEDED", done.error
        return json.loads(done.result or "null")

    def seconds(self, count: int) -> Any:
        return self.sdk.config.Duration.from_seconds(count)


@pytest.fixture(params=[PERDURE, OFFICIAL], ids=lambda sdk: sdk.name)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with LocalService(clock=VirtualClock(start=FAR_AWAY)) as service:
        yield Stage(request.param, service)


class Memory(BasePersistenceLayer):
    """Idempotency records in a dict, as a table of DynamoDB would keep them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, DataRecord] = {}

    def _get_record(self, idempotency_key: str) -> DataRecord:
        if idempotency_key not in self.records:
            raise IdempotencyItemNotFoundError
        return self.records[idempotency_key]

    def _put_record(self, data_record: DataRecord) -> None:
        known = self.records.get(data_record.idempotency_key)
        if known is not None and not known.is_expired:
            raise IdempotencyItemAlreadyExistsError(old_data_record=known)
        self.records[data_record.idempotency_key] = data_record

    def _update_record(self, data_record: DataRecord) -> None:
        self.records[data_record.idempotency_key] = data_record

    def _delete_record(self, data_record: DataRecord) -> None:
        self.records.pop(data_record.idempotency_key, None)

    @property
    def statuses(self) -> list[str]:
        return [record.status for record in self.records.values()]


def kept_once(handler: Callable[[Any, Any], Any], store: Memory) -> Callable[[Any, Any], Any]:
    """Give a handler under `@idempotent`, which takes functions only."""

    @idempotent(persistence_store=store, config=IdempotencyConfig(event_key_jmespath="id"))
    def decorated(event: Any, context: Any) -> Any:
        return handler(event, context)

    return decorated


@dataclass
class Payment:
    """A handler that suspends twice, under `@idempotent`; it says what it saw."""

    stage: Stage
    store: Memory = field(default_factory=Memory)
    runs: list[int] = field(default_factory=list)
    charged: list[str] = field(default_factory=list)

    def handler(self, event: Any, context: Any) -> Any:
        self.runs.append(len(context.state.operations))
        paid = context.step(lambda _: self.charge(event["id"]), name="charge")
        context.wait(self.stage.seconds(5), name="settle")
        context.wait(self.stage.seconds(5), name="again")
        return {"paid": paid}

    def charge(self, order: str) -> str:
        self.charged.append(order)
        return f"{order} paid"

    def decorated(self) -> Callable[[Any, Any], Any]:
        return kept_once(self.handler, self.store)


def test_an_idempotent_execution_goes_on_after_it_was_suspended(stage: Stage) -> None:
    payment = Payment(stage)
    assert stage.value(payment.decorated(), {"id": "o-1"}) == {"paid": "o-1 paid"}
    assert payment.charged == ["o-1"]
    assert payment.runs == [1, 3, 4]
    assert payment.store.statuses == ["COMPLETED"]


def test_a_second_execution_of_the_same_event_gets_the_first_ones_result(stage: Stage) -> None:
    payment = Payment(stage)
    first = stage.value(payment.decorated(), {"id": "o-1"})
    assert stage.value(payment.decorated(), {"id": "o-1"}, "two") == first
    assert payment.charged == ["o-1"]


def test_a_second_execution_of_an_event_in_progress_fails(stage: Stage) -> None:
    payment = Payment(stage)
    with LocalService(clock=VirtualClock(start=FAR_AWAY)) as elsewhere:
        second = Stage(stage.sdk, elsewhere)

        def handler(event: Any, context: Any) -> Any:
            refused = second.run(payment.decorated(), event, "two")
            return [refused.status, (refused.error or {})["ErrorType"], payment.handler(event, context)]

        status, kind, own = stage.value(kept_once(handler, payment.store), {"id": "o-1"})
    assert (status, own) == ("FAILED", {"paid": "o-1 paid"})
    assert kind.endswith("IdempotencyAlreadyInProgressError")


def test_a_failed_execution_leaves_no_record(stage: Stage) -> None:
    store = Memory()

    def handler(_event: Any, context: Any) -> Any:
        context.wait(stage.seconds(1))
        raise ValueError("declined")

    done = stage.run(kept_once(handler, store), {"id": 1})
    assert (done.status, (done.error or {})["ErrorMessage"]) == ("FAILED", "declined")
    assert store.records == {}


def test_a_durable_context_is_known_as_one(stage: Stage) -> None:
    seen = []

    def handler(_event: Any, context: Any) -> Any:
        seen.append(is_durable_context(context))
        seen.append(is_durable_context(context.lambda_context))
        return context.run_in_child_context(is_durable_context, name="inner")

    assert stage.value(handler, {}) is True
    assert seen == [True, False]


def test_the_logger_takes_the_lambda_context_and_lines_of_a_replay_are_silent(stage: Stage) -> None:
    out = io.StringIO()
    logger = Logger(service=f"orders-{stage.name}", stream=out)

    @logger.inject_lambda_context(correlation_id_path="id", clear_state=True)
    def handler(_event: Any, context: Any) -> Any:
        context.set_logger(logger)
        context.logger.info("begun", extra={"customer": 7})
        context.step(lambda step: step.logger.info("charging"), name="charge")
        context.wait(stage.seconds(1))
        context.logger.info("done")
        return 1

    stage.value(handler, {"id": "o-1"})
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["begun", "charging", "done"]
    assert {line["correlation_id"] for line in lines} == {"o-1"}
    assert {line["function_name"] for line in lines} == {"test-function"}
    assert lines[0]["customer"] == 7
    assert lines[1]["operationName"] == "charge"


def test_metrics_are_written_at_the_end_of_each_invocation(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics(namespace="shop", service=f"orders-{stage.name}")

    @metrics.log_metrics(raise_on_empty_metrics=True)
    def handler(_event: Any, context: Any) -> Any:
        metrics.add_metric(name="Invocations", unit=MetricUnit.Count, value=1)
        context.wait(stage.seconds(1))
        metrics.add_metric(name="Orders", unit=MetricUnit.Count, value=3)
        return 1

    stage.value(handler, {})
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [line.get("Orders") for line in written] == [None, [3.0]]
    assert [line["Invocations"] for line in written] == [[1.0], [1.0]]


def test_the_cold_start_metric_knows_the_function(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    cold_start.is_cold_start = True
    metrics = Metrics(namespace="shop", service=f"cold-{stage.name}")

    @metrics.log_metrics(capture_cold_start_metric=True)
    def handler(_event: Any, context: Any) -> Any:
        metrics.add_metric(name="Orders", unit=MetricUnit.Count, value=3)
        context.wait(stage.seconds(1))
        return 1

    stage.value(handler, {})
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "ColdStart" in line]
    assert [line["function_name"] for line in written] == ["test-function"]


class Order(BaseModel):
    id: str
    amount: int = 1


def test_the_parser_gives_the_handler_a_model(stage: Stage) -> None:
    @event_parser(model=Order)
    def handler(event: Order, context: Any) -> Any:
        context.wait(stage.seconds(1))
        return context.step(lambda _: f"{event.id}: {event.amount}", name="read")

    assert stage.value(handler, {"id": "o-1", "amount": "7"}) == "o-1: 7"
    refused = stage.run(handler, {"amount": 1}, "two")
    assert refused.status == "FAILED"
    assert (refused.error or {})["ErrorType"].endswith("ValidationError")


def test_an_event_source_gives_the_handler_its_data_class(stage: Stage) -> None:
    @event_source(data_class=SQSEvent)
    def handler(event: SQSEvent, context: Any) -> Any:
        bodies = [record.body for record in event.records]
        return context.step(lambda _: bodies, name="read")

    assert stage.value(handler, {"Records": [{"body": "a"}, {"body": "b"}]}) == ["a", "b"]


class Emitter:
    """Takes what the tracer sends."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send_entity(self, entity: Any) -> None:
        self.sent.append(entity)


@pytest.fixture
def emitter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emitter]:
    made = Emitter()
    monkeypatch.setattr(xray_recorder, "_emitter", made)
    monkeypatch.setattr(xray_recorder, "_sampling", False)
    yield made
    xray_recorder.clear_trace_entities()


def test_the_tracer_makes_a_subsegment_of_each_invocation(stage: Stage, emitter: Emitter) -> None:
    tracer = Tracer(service=f"orders-{stage.name}", disabled=False, auto_patch=False)

    @tracer.capture_lambda_handler
    def handler(_event: Any, context: Any) -> Any:
        context.wait(stage.seconds(1))
        return {"done": 1}

    def in_a_segment(event: Any, context: Any) -> Any:
        xray_recorder.begin_segment("invocation")  # as Lambda has one for each
        try:
            return handler(event, context)
        finally:
            xray_recorder.end_segment()

    assert stage.value(in_a_segment, {}) == {"done": 1}
    assert [entity.name for entity in emitter.sent] == ["## handler", "invocation"] * 2
    assert {"done": 1} in emitter.sent[2].metadata[f"orders-{stage.name}"].values()
