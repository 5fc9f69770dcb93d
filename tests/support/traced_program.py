"""A program with a plugin package in it, written for the official SDK: ``python -m support.traced_program SDK PLUGIN``.

It runs an execution over several invocations on the local service and prints what the plugin made of it, as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from datetime import UTC, datetime
from typing import Any

from perdure.local import LocalService, VirtualClock

SDK, PLUGIN = sys.argv[1:3]
if SDK == "perdure":
    importlib.import_module("perdure.compat")

sdk: Any = importlib.import_module("aws_durable_execution_sdk_python")
config: Any = importlib.import_module("aws_durable_execution_sdk_python.config")
retries: Any = importlib.import_module("aws_durable_execution_sdk_python.retries")
waits: Any = importlib.import_module("aws_durable_execution_sdk_python.waits")

ONCE = config.StepConfig(retry_strategy=lambda _error, _attempt: retries.RetryDecision.no_retry())
TWICE = config.StepConfig(
    retry_strategy=lambda _error, attempt: (
        retries.RetryDecision.retry(config.Duration.from_seconds(5))
        if attempt < 2
        else retries.RetryDecision.no_retry()
    )
)
attempts: list[int] = []


def flaky(_step: Any) -> int:
    attempts.append(1)
    if len(attempts) == 1:
        raise ValueError("once")
    return 3


def lost(_step: Any) -> None:
    raise KeyError("lost")


def branch(context: Any, item: int, _index: int, _items: Any) -> int:
    doubled = context.step(lambda _: item * 2, name="double")
    if item == 1:
        context.wait(config.Duration.from_seconds(9), name="pause")
    return int(doubled)


def reserve(context: Any) -> str:
    context.step(lambda _: "seat", name="seat")
    context.wait(config.Duration.from_seconds(3), name="hold")
    return "reserved"


def poll(state: int, _context: Any) -> int:
    return state + 1


def go_on(state: int, _attempt: int) -> Any:
    decision = waits.WaitForConditionDecision
    return decision.stop_polling() if state > 1 else decision.continue_waiting(config.Duration.from_seconds(2))


def body(_event: Any, context: Any) -> Any:
    context.step(lambda _: 1, name="first")
    context.step(flaky, name="flaky", config=TWICE)
    context.run_in_child_context(reserve, name="reserve")
    context.map([1, 2], branch, name="lines", config=config.MapConfig(max_concurrency=1))
    approval = context.create_callback(name="approval")
    approval.result()
    context.invoke("pay", {"amount": 3}, name="pay")
    polling = waits.WaitForConditionConfig(wait_strategy=go_on, initial_state=0)
    context.wait_for_condition(poll, config=polling, name="delivered")
    try:
        context.step(lost, name="lost", config=ONCE)
    except Exception:  # noqa: BLE001  the execution goes on
        context.step(lambda _: "told", name="tell")
    return "done"


def answer(_operation: Any, client: Any) -> None:
    for operation in handle.open_callbacks:
        key = operation["CallbackDetails"]["CallbackId"]
        client.send_durable_execution_callback_success(CallbackId=key, Result=b"yes")


def otel(view: str) -> tuple[Any, Any]:
    """Give a factory of the package for OpenTelemetry, and what gives the spans it made."""
    package: Any = importlib.import_module("aws_durable_execution_sdk_python_otel")
    trace: Any = importlib.import_module("opentelemetry.sdk.trace")
    export: Any = importlib.import_module("opentelemetry.sdk.trace.export")
    memory: Any = importlib.import_module("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    provider = trace.TracerProvider(id_generator=package.DeterministicIdGenerator())
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    factory = getattr(package, f"{view}OtelPluginFactory")(package.OtelPluginConfig(tracer_provider=provider))

    def spans() -> Any:
        return [
            {
                "name": span.name,
                "kind": span.kind.name,
                "trace": f"{span.context.trace_id:032x}",
                "id": f"{span.context.span_id:016x}",
                "parent": span.parent and f"{span.parent.span_id:016x}",
                "links": [f"{link.context.span_id:016x}" for link in span.links],
                "status": span.status.status_code.name,
                "said": span.status.description,
                "attributes": {key: str(value) for key, value in sorted((span.attributes or {}).items())},
                "events": [[event.name, sorted(event.attributes or ())] for event in span.events],
            }
            for span in exporter.get_finished_spans()
        ]

    return factory, spans


def telemetry() -> tuple[Any, Any]:
    """Give a factory of the package that exports records, and what gives the records."""
    package: Any = importlib.import_module("aws_durable_execution_sdk_python_telemetry_exporter")
    records: list[Any] = []

    class Exporter:
        max_record_size_bytes = None

        def render(self, record: Any) -> Any:
            return record

        def export(self, record: Any, *_: Any) -> None:
            records.append(json.loads(json.dumps(record, default=str)))

        def flush(self) -> None:
            """Have nothing left to send."""

    made = package.durable_execution_telemetry(package.DurableExecutionTelemetryConfig(exporters=[Exporter()]))
    return made, lambda: records


factory, made = {
    "execution": lambda: otel("Execution"),
    "invocation": lambda: otel("Invocation"),
    "telemetry": telemetry,
}[PLUGIN]()
handler = sdk.durable_execution(body, plugins=[factory])
if SDK != "perdure":
    handler = importlib.import_module("support.official").official_handler(handler)

service = LocalService(
    clock=VirtualClock(datetime(2100, 1, 1, tzinfo=UTC)), on_callback=answer, identify=lambda _: "one"
)
service.register("pay", lambda event, _context: event["amount"], durable=False)
service.register("f", handler)
handle = service.start("f", name="order")
handle.drive()
assert handle.status == "SUCCEEDED", handle.error
sys.stdout.write(json.dumps({"arn": handle.arn, "invocations": len(handle.invocations), "made": made()}))
