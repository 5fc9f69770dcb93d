"""What the local service carries: 500 executions of 20 steps at once, kept in SQLite, the handlers in the same process.

python benches/service_load.py [--workers N] [--write README.md]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from perdure import DurableContext, durable_execution
from perdure.local import LocalService, RealClock, SqliteStore

EXECUTIONS, STEPS = 500, 20
BEGIN, END = "<!-- load:begin -->", "<!-- load:end -->"


@durable_execution
def handler(_event: Any, context: DurableContext) -> int:
    """Run the steps."""
    return sum(context.step(lambda _, n=n: n) for n in range(STEPS))


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


def main() -> None:
    """Run the load, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--write", metavar="FILE", type=Path, help="put the figures between this document's markers")
    options = parser.parse_args()
    workers = options.workers
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
    figures = (
        f"{EXECUTIONS} executions of {STEPS} steps at once, in SQLite, handlers in this process, {workers} workers: "
        f"**{EXECUTIONS / took:,.0f} executions/s**, {len(ordered) / took:,.0f} checkpoints/s, "
        f"checkpoint latency p50 {p50:.1f} ms, **p99 {p99:.1f} ms**."
    )
    print(figures)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
        if BEGIN not in text or END not in text:
            parser.error(f"{options.write} lacks the markers {BEGIN} and {END}")
        options.write.write_text(f"{head}{BEGIN}\n{figures}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
