"""What the local service carries: 500 executions of 20 steps at once in SQLite, and a year of a test in virtual time.

python benches/service_load.py [--workers N] [--write README.md]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from perdure import DurableContext, StepContext, durable_execution
from perdure.local import LocalService, RealClock, SqliteStore
from perdure.retries import RetryStrategyConfig, create_retry_strategy
from perdure.testing.runner import DurableFunctionTestRunner

EXECUTIONS, STEPS = 500, 20
DAY, HEARTBEAT = timedelta(days=1), timedelta(days=31)
YEAR_BAR = 1.0  # seconds
PATIENT = create_retry_strategy(RetryStrategyConfig(max_attempts=4))
BEGIN, END = "<!-- load:begin -->", "<!-- load:end -->"


@durable_execution
def handler(_event: Any, context: DurableContext) -> int:
    """Run the steps."""
    return sum(context.step(lambda _, n=n: n) for n in range(STEPS))


@durable_execution
def year(_event: Any, context: DurableContext) -> str:
    """Wait day by day for 365 days, with a step every month that succeeds the third time, and a callback all along."""
    licence = context.create_callback("licence", heartbeat_timeout=HEARTBEAT)
    for day in range(365):
        context.wait(DAY, f"day-{day}")
        if day % 30 == 0:
            context.step(_inspect, f"inspect-{day}", retry=PATIENT)
    return str(licence.result())


def _inspect(step: StepContext) -> int:
    if step.attempt < 3:
        raise ConnectionError("not yet")
    return step.attempt


class Latencies:
    """How long each checkpoint took, from the call to its answer."""

    def __init__(self, service: LocalService) -> None:
        self.seconds: list[float] = []
        self._began: dict[int, float] = {}
        service.on_api_call = self

    def __call__(self, _name: str, arguments: dict[str, Any], phase: str) -> None:
        now = time.perf_counter()
        if phase == "before":
            self._began[id(arguments)] = now
        else:
            self.seconds.append(now - self._began.pop(id(arguments)))


def load(workers: int) -> str:
    """Run 500 executions at once, and tell how it went."""
    with tempfile.TemporaryDirectory() as folder:
        service = LocalService(store=SqliteStore(Path(folder) / "load.db"), clock=RealClock(), record=False)
        service.register("f", handler)
        latencies = Latencies(service)
        handles = [service.start("f") for _ in range(EXECUTIONS)]
        began = time.perf_counter()
        service.start_workers(workers)
        for handle in handles:
            assert handle.drive().status == "SUCCEEDED"
        took = time.perf_counter() - began
        service.close()
    ordered = sorted(latencies.seconds)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1e3 for share in (0.5, 0.99))
    return (
        f"{EXECUTIONS} executions of {STEPS} steps at once, in SQLite, handlers in this process, {workers} workers: "
        f"**{EXECUTIONS / took:,.0f} executions/s**, {len(ordered) / took:,.0f} checkpoints/s, "
        f"checkpoint latency p50 {p50:.1f} ms, **p99 {p99:.1f} ms**."
    )


def live_a_year() -> float:
    """Test a workflow of a year; return the real seconds that it takes."""
    began = time.perf_counter()
    with DurableFunctionTestRunner(year) as runner:
        arn = runner.run_async()
        callback_id = runner.wait_for_callback(arn, "licence")
        for _ in range(12):
            runner.advance(30 * DAY)
            runner.send_callback_heartbeat(callback_id)
        runner.advance(5.5 * DAY)
        runner.send_callback_success(callback_id, b"granted")
        assert runner.wait_for_result(arn).value == "granted"
    return time.perf_counter() - began


def told_of_a_year(seconds: float) -> str:
    """Tell how long a year takes, and fail if it is too long."""
    if seconds > YEAR_BAR:
        raise SystemExit(f"A year in a test took {seconds:.2f} s; the bar is {YEAR_BAR} s.")
    return (
        "A test of a workflow that waits day by day for a year, with a heartbeat and a step with retries every month: "
        f"**{seconds * 1e3:,.0f} ms**."
    )


def main() -> None:
    """Run both, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--write", metavar="FILE", type=Path, help="put the figures between this document's markers")
    options = parser.parse_args()
    seconds = median(live_a_year() for _ in range(5))
    figures = f"{load(options.workers)}\n\n{told_of_a_year(seconds)}"
    print(figures)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
        if BEGIN not in text or END not in text:
            parser.error(f"{options.write} lacks the markers {BEGIN} and {END}")
        options.write.write_text(f"{head}{BEGIN}\n{figures}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
