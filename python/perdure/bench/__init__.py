"""Measure how long a handler takes to replay a history. `perdure bench` shows what this finds.

The handler runs as Lambda would run it, again and again on the same event, but against a service that refuses every
call, and with guards in front of functions that would do real work: the replay stops where the record ends.

What is separated, and how: plain rounds give the total. Instrumented rounds, in turns with them, take the time inside
each operation, less what the instruments themselves cost (calibrated). Decoding is timed on its own, on the payloads
that one more replay was seen to read with the default serdes. What is left of an operation is the engine's and the
Python around it.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from typing import TYPE_CHECKING

from perdure.bench.decoding import decoding_time, payloads_read
from perdure.bench.measurement import Kind, Measurement, Times
from perdure.bench.replay import FRESH_WORK, BenchError, FreshWork, replay_once
from perdure.bench.stopwatch import HISTORY, YOUR_CODE, Stopwatch, instrumented
from perdure.history.operations import HistoryError
from perdure.history.record import event_text

if TYPE_CHECKING:
    from perdure.bench.replay import Handler, Wire

__all__ = ["FRESH_WORK", "BenchError", "FreshWork", "Kind", "Measurement", "Times", "measure"]


def measure(handler: Handler, text: str, rounds: int) -> Measurement:
    """Replay an event ``rounds`` times.

    Args:
        handler: Made with perdure's `durable_execution`.
        text: The event, or the history of an execution: see `perdure.history.record.event_text`.
        rounds: Plain ones; there are as many instrumented ones.

    Raises:
        BenchError: If the event cannot be replayed, or the handler is not perdure's.

    """
    try:
        text = event_text(text)
    except HistoryError as problem:
        raise BenchError(str(problem)) from None
    with contextlib.redirect_stdout(io.StringIO()):
        payloads, invocations = payloads_read(handler, text)
        if not invocations:
            raise BenchError("the handler is not one that perdure's @durable_execution made")
        outcome, detail = replay_once(handler, text)[1:]
        parse, replay, watches = Times(), Times(), []
        for _ in range(rounds):
            begin = time.perf_counter()
            json.loads(text)
            parse.samples.append(time.perf_counter() - begin)
            replay.samples.append(replay_once(handler, text)[0])
            watches.append(instrumented(handler, text))
    found = Stopwatch.medians(watches)
    kinds = [
        Kind(
            name,
            calls,
            seconds,
            min(seconds, decoding_time(payloads.get(name, []), rounds)),
            sum(len(payload) for _, payload in payloads.get(name, [])),
        )
        for name, (calls, seconds) in found.items()
        if name not in {YOUR_CODE, HISTORY}
    ]
    operations = json.loads(text)["InitialExecutionState"]["Operations"]
    return Measurement(
        outcome=outcome,
        detail=detail,
        recorded=_recorded(operations),
        event_bytes=len(text.encode()),
        payload_bytes=sum(map(_payload_bytes, operations)),
        parse=parse,
        replay=replay,
        kinds=sorted(kinds, key=lambda kind: -kind.seconds),
        history=found[HISTORY][1],
        your_code=found[YOUR_CODE][1],
        threads=any(watch.threads > 1 for watch in watches),
    )


def _recorded(operations: list[Wire]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for operation in operations:
        if operation["Type"] != "EXECUTION":
            kind = operation.get("SubType") or operation["Type"]
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def _payload_bytes(operation: Wire) -> int:
    return sum(
        len(details[member].encode())
        for details in operation.values()
        if isinstance(details, dict)
        for member in ("Result", "InputPayload")
        if isinstance(details.get(member), str)
    )
