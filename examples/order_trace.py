"""The trace of the order, drawn: what OpenTelemetry's exporters would send, as an SVG.

    pip install "perdure[local,otel]" && cd examples && python order_trace.py ../docs/order-trace.svg

A plugin for OpenTelemetry, made for the official SDK, tells an exporter in memory of each span; nothing is sent.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from html import escape
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from perdure.local import LocalService, VirtualClock

ROW, LEFT, WIDTH = 18, 260, 700
COLOURS = {"OK": "#3b82a0", "ERROR": "#c2553f", "UNSET": "#8a93a0"}


def traced() -> list[ReadableSpan]:
    """Run the order with a plugin, in virtual time, and give its spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    os.environ["DURABLE_EXECUTION_PLUGINS"] = "otel-execution"
    from order import handler  # noqa: PLC0415  with the plugin that is named now

    def answer(_operation: Any, client: Any) -> None:
        for opened in execution.open_callbacks:
            client.send_durable_execution_callback_success(
                CallbackId=opened["CallbackDetails"]["CallbackId"], Result=b'{"tracking": "PX-1"}'
            )

    service = LocalService(clock=VirtualClock(), on_callback=answer)
    service.register("order", handler)
    execution = service.start("order", event=json.loads(Path("order.json").read_text(encoding="utf-8")))
    execution.drive()
    # A span of the execution's is sent by each invocation, under one id: the last word counts.
    return list({span.context.span_id: span for span in exporter.get_finished_spans()}.values())


def by_depth(spans: list[ReadableSpan]) -> list[tuple[int, ReadableSpan]]:
    """Give spans in the order in which they are read: each below the one that it belongs to."""
    known = {span.context.span_id for span in spans}
    below: dict[int | None, list[ReadableSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        parent = span.parent.span_id if span.parent is not None and span.parent.span_id in known else None
        below.setdefault(parent, []).append(span)

    def walk(parent: int | None, depth: int) -> list[tuple[int, ReadableSpan]]:
        found = []
        for span in below.get(parent, ()):
            found += [(depth, span), *walk(span.context.span_id, depth + 1)]
        return found

    return walk(None, 0)


def drawn(rows: list[tuple[int, ReadableSpan]]) -> str:
    """Draw spans as bars. An execution waits most of its time, so that each start and end is a step of the axis."""
    moments = sorted({moment for _, span in rows for moment in (span.start_time or 0, span.end_time or 0)})
    place = {moment: LEFT + WIDTH * index / max(len(moments) - 1, 1) for index, moment in enumerate(moments)}
    lines = []
    for row, (depth, span) in enumerate(rows):
        left, right, top = place[span.start_time or 0], place[span.end_time or 0], row * ROW + 6
        colour = COLOURS[span.status.status_code.name]
        lines += [
            f'<text x="{8 + depth * 12}" y="{top + 10}">{escape(span.name)}</text>',
            f'<rect x="{left:.1f}" y="{top}" width="{max(right - left, 3):.1f}" height="12" rx="2" fill="{colour}"/>',
        ]
    size = f'width="{LEFT + WIDTH + 20}" height="{len(rows) * ROW + 12}"'
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    style = 'font-family="sans-serif" font-size="11" fill="#30363d"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{ground}\n' + "\n".join(lines) + "\n</svg>\n"


if __name__ == "__main__":
    logging.disable()
    Path(sys.argv[1]).write_text(drawn(by_depth(traced())), encoding="utf-8")
