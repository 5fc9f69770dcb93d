"""A process that does works for one contender, as often as it is told, and says how long each took.

It runs in the contender's own environment, and so with the standard library and that SDK alone. Each line it is given
names a work; each line it gives is an answer in JSON.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers.service import TOKEN, LambdaContext, Service, Wire, event_of

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS, ITEMS, WAITS = 1000, 1000, 3000
LATENCY = 0.005


class Forgetful(Service):
    """A service that keeps nothing, so that what grows is the contender's."""

    def checkpoint_durable_execution(self, **request: Any) -> Wire:
        """Take updates, and say that nothing has changed."""
        self.calls += 1
        self.updates += len(request["Updates"])
        return {"CheckpointToken": TOKEN, "NewExecutionState": {"Operations": []}}


class Perdure:
    """perdure, with a handler of either kind."""

    def __init__(self, kind: str) -> None:
        self.is_async = kind == "async"

    def durable(self, body: Callable[[Any, Any], Any], service: Any) -> Callable[[Any, Any], Any]:
        """Make a handler."""
        from perdure import durable_execution  # noqa: PLC0415  in its own environment alone

        return durable_execution(body, boto3_client=service)

    def empty(self) -> Any:
        """Return at once."""
        if not self.is_async:
            return lambda _event, _context: 0

        async def handler(_event: Any, _context: Any) -> int:
            return 0

        return handler

    def steps(self, count: int) -> Any:
        """Run steps one after the other, whose functions are of the handler's kind."""
        if not self.is_async:

            def plain(_event: Any, context: Any) -> int:
                return len([context.step(_one, name="charge") for _ in range(count)])

            return plain

        async def handler(_event: Any, context: Any) -> int:
            return len([await context.step(_awaited_one, name="charge") for _ in range(count)])

        return handler

    def map(self, count: int) -> Any:
        """Map over items without a limit, a step each."""
        if not self.is_async:

            def plain(_event: Any, context: Any) -> int:
                batch = context.map(
                    list(range(count)), lambda inner, *_: inner.step(_one, name="charge"), name="orders"
                )
                return len(batch.get_results())

            return plain

        async def item(inner: Any, *_: Any) -> Any:
            return await inner.step(_awaited_one, name="charge")

        async def handler(_event: Any, context: Any) -> int:
            return len((await context.map(list(range(count)), item, name="orders")).get_results())

        return handler

    def waits(self, count: int) -> Any:
        """Wait in that many branches at one time."""

        async def branch(inner: Any) -> None:
            await inner.wait(60)

        async def handler(_event: Any, context: Any) -> None:
            await context.parallel([branch] * count)

        def plain(_event: Any, context: Any) -> None:
            context.parallel([lambda inner: inner.wait(60)] * count)

        return handler if self.is_async else plain


class Peer:
    """async-durable-execution."""

    def durable(self, body: Any, service: Any) -> Any:
        """Make a handler."""
        from async_durable_execution import durable_execution  # noqa: PLC0415  in its own environment alone

        return durable_execution(body, boto3_client=service)

    def empty(self) -> Any:
        """Return at once."""

        async def handler(_event: Any) -> int:
            return 0

        return handler

    def steps(self, count: int) -> Any:
        """Run steps one after the other."""
        from async_durable_execution import step  # noqa: PLC0415  the same

        async def handler(_event: Any) -> int:
            return len([await step(_awaited_none, name="charge") for _ in range(count)])

        return handler

    def map(self, count: int) -> Any:
        """Map over items without a limit, a step each."""
        import async_durable_execution as sdk  # noqa: PLC0415  the same

        async def item(_item: Any) -> Any:
            return await sdk.step(_awaited_none, name="charge")

        async def handler(_event: Any) -> int:
            return len((await sdk.map(item, list(range(count)), name="orders")).get_results())

        return handler


def _one(_step: Any) -> int:
    return 1


async def _awaited_one(_step: Any) -> int:
    return 1


async def _awaited_none() -> int:
    return 1


class Worker:
    """Does works.

    Args:
        contender: Whose.

    """

    def __init__(self, contender: Any) -> None:
        self._contender = contender
        self._handlers: dict[str, tuple[Any, Any]] = {}
        self._history: list[Wire] = []

    def do(self, work: str) -> dict[str, Any]:
        """Do a work once; give the seconds it took, or the bytes."""
        if work == "memory":
            return self._memory()
        handler, service = self._handlers.get(work) or self._made(work)
        service.reset([])
        event = json.loads(json.dumps(event_of(self._recorded() if work == "replay" else [])))
        gc.collect()
        repeats = 50 if work == "empty" else 1
        began = time.perf_counter()
        for _ in range(repeats):
            answer = handler(event, LambdaContext())
        took = (time.perf_counter() - began) / repeats
        if answer.get("Status") != "SUCCEEDED":
            raise AssertionError(f"{work}: {str(answer)[:500]}")
        return {"seconds": took, "calls": service.calls}

    def _made(self, work: str) -> tuple[Any, Any]:
        service = Service(LATENCY if work == "map" else 0.0)
        contender = self._contender
        bodies = {
            "empty": contender.empty,
            "replay": partial(contender.steps, STEPS),
            "fresh": partial(contender.steps, 200),
            "map": partial(contender.map, ITEMS),
        }
        made = self._handlers[work] = contender.durable(bodies[work](), service), service
        return made

    def _recorded(self) -> list[Wire]:
        """Give the history of finished steps, as the contender has recorded it."""
        if not self._history:
            service = Service()
            self._contender.durable(self._contender.steps(STEPS), service)(event_of([]), LambdaContext())
            self._history = list(service.operations.values())
        return self._history

    def _memory(self) -> dict[str, Any]:
        """Give the bytes that a branch takes which waits, at most, over an empty invocation."""
        contender = self._contender
        contender.durable(contender.empty(), Forgetful())(event_of([]), LambdaContext())
        contender.durable(contender.waits(10), Forgetful())(event_of([]), LambdaContext())
        gc.collect()
        before = _peak(reset=True)
        answer = contender.durable(contender.waits(WAITS), Forgetful())(event_of([]), LambdaContext())
        if answer != {"Status": "PENDING"}:
            raise AssertionError(str(answer)[:500])
        return {"bytes": (_peak() - before) / WAITS}


def _peak(*, reset: bool = False) -> int:
    """Give the most memory that this process has had resident, in bytes; or what it has now, and count from here."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def main() -> None:
    """Answer each line."""
    kind = sys.argv[1]
    worker = Worker(Peer() if kind == "peer" else Perdure(kind))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(worker.do(line.strip())) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
