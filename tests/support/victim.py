"""A process to be killed: a service on a file, always busy, that tells on standard output what it does.

    python -m support.victim FILE FIRST COUNT

starts executions number FIRST to FIRST + COUNT - 1, and works until every execution in the file has ended.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from perdure import DurableContext, durable_execution
from perdure.config import Duration, StepConfig, StepSemantics
from perdure.exceptions import StepError
from perdure.local import LocalService, RealClock, SqliteStore
from perdure.retries import RetryPresets

STEPS = 8


def tell(*words: Any) -> None:
    """Write a line in one piece: a pipe keeps what was written when the process is killed."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


@durable_execution
def handler(event: Any, context: DurableContext) -> Any:
    """Run eight steps, half of them at most once, with a wait in the middle."""
    results = []
    for number in range(STEPS):
        semantics = StepSemantics.AT_MOST_ONCE_PER_RETRY if number % 2 else StepSemantics.AT_LEAST_ONCE_PER_RETRY
        config = StepConfig(step_semantics=semantics, retry_strategy=RetryPresets.none())

        def body(_context: Any, number: int = number) -> str:
            tell("run", event, number)
            return f"{os.getpid()}-{number}"

        try:
            value = context.step(body, name=f"s{number}", config=config)
        except StepError:
            value = "interrupted"
        tell("ack", event, number, value)
        results.append(value)
        if number == STEPS // 2:
            context.wait(Duration.from_seconds(1))
    return results


def main() -> None:
    """Work until nothing is left."""
    path, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    service = LocalService(store=SqliteStore(path), clock=RealClock(), record=False)
    service.register("f", handler)
    left = list(service.handles.values())
    service.start_workers()
    tell("up")
    for number in range(first, first + count):
        left.append(service.start("f", event=number, name=f"e{number}"))
        tell("started", number)
    for handle in left:
        handle.drive()
        tell("done", handle.name[1:], handle.machine.result)
    service.close()
    tell("finished")


if __name__ == "__main__":
    main()
