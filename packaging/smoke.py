"""A try of an installed perdure, with nothing but itself, boto3 and the standard library: `python -I smoke.py`.

It fails if perdure is found anywhere but among the installed packages.
"""

from __future__ import annotations

import sys
import sysconfig
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import perdure
from perdure import DurableContext, StepContext, durable_execution, durable_step
from perdure.local import LocalService

LARGE = 300_000  # what does not go into a checkpoint, and is made again from the steps of its context


@durable_step
def priced(step: StepContext, amount: Decimal) -> Decimal:
    """Give a value that JSON has no type for, at the second attempt."""
    if step.attempt == 1:
        raise ConnectionError
    return amount * 2


def large(context: DurableContext) -> list[str]:
    """Give more than a record may hold."""
    return [context.step(lambda _: "x" * (LARGE // 3), name=f"third-{number}") for number in range(3)]


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Use a step that is repeated, a wait, a map and a child with a large result."""
    price = context.step(priced(Decimal(event["price"])))
    context.wait(timedelta(days=1))
    squares = context.map([1, 2, 3], lambda inner, item, *_: inner.step(lambda _: item * item))
    parts = context.run_in_child_context(large)
    context.wait(timedelta(days=1))  # and all of it again, from the history
    return {"price": str(price), "squares": squares.get_results(), "length": sum(map(len, parts))}


def main() -> None:
    """Run it, and say what it was run on."""
    installed = Path(sysconfig.get_path("platlib")).resolve()
    for module in (perdure, perdure._core):  # noqa: SLF001 - where the compiled part lies is the question
        found = Path(str(module.__file__)).resolve()
        if not found.is_relative_to(installed):
            sys.exit(f"{found} is not of what was installed in {installed}")
    service = LocalService()
    service.register("smoke", handler)
    execution = service.run("smoke", event={"price": "19.99"})
    expected = {"price": "39.98", "squares": [1, 4, 9], "length": LARGE}
    if execution.status != "SUCCEEDED" or execution.value != expected:
        sys.exit(f"the workflow ended {execution.status}: {execution.error or execution.result}")
    print(f"CPython {sys.version.split()[0]}, {sysconfig.get_platform()}")


if __name__ == "__main__":
    main()
