"""The engine by itself: loading a history, coming to a step, beginning and finishing one. No Python around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from peers.service import NOW_MS, TOKEN, event_of
from peers.values import nested, small
from peers.works import BATCH, NAME, step_history
from perdure._core import RUN, Execution

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

COUNT = 1000
VALUES = {"45 B": small, "1 KB": nested}


class Driver:
    """Answers every call at once."""

    def __init__(self) -> None:
        self.sent = 0
        self.failure: BaseException | None = None

    def send(self, _token: str, updates: list[Any], _number: int) -> tuple[str, list[Any], int, float, float]:
        """Count the updates."""
        self.sent += len(updates)
        return TOKEN, [], NOW_MS, 0.0, 0.0


def operations(count: int, kind: str = "45 B") -> list[dict[str, Any]]:
    return event_of(step_history(count, VALUES[kind]))["InitialExecutionState"]["Operations"]  # type: ignore[no-any-return]


def loaded(recorded: list[dict[str, Any]]) -> Execution:
    execution = Execution(TOKEN)
    execution.load(recorded)
    return execution


@pytest.mark.parametrize("count", [10, 100, COUNT, 10_000])
def test_load(benchmark: BenchmarkFixture, count: int) -> None:
    """`Execution.load` of a history of steps."""
    benchmark.group = "load a history"
    benchmark.extra_info["operations"] = count
    execution = benchmark(loaded, operations(count))
    assert len(execution.conclude()) == count
    step = execution.root().step
    for _ in range(count):
        step(NAME)
    assert execution.conclude() == []


@pytest.mark.parametrize("kind", VALUES)
def test_replayed_steps(benchmark: BenchmarkFixture, kind: str) -> None:
    """`Scope.step` on recorded steps, all of a history: index, checks, and decoding."""
    benchmark.group = f"{COUNT} times Scope.step, recorded"
    recorded = operations(COUNT, kind)

    def come_to_all(execution: Execution) -> list[Any]:
        step = execution.root().step
        return [step(NAME) for _ in range(COUNT)]

    values = benchmark.pedantic(
        come_to_all, setup=lambda: ((loaded(recorded),), {}), rounds=50, iterations=1, warmup_rounds=3
    )
    assert values == [VALUES[kind](number) for number in range(COUNT)]


@pytest.mark.parametrize("kind", VALUES)
def test_fresh_steps(benchmark: BenchmarkFixture, kind: str) -> None:
    """Begin a step, finish it, send the batch; what a fresh step costs without its I/O."""
    benchmark.group = f"{COUNT} times begin and finish"
    value = VALUES[kind](0)

    def run_all(execution: Execution, driver: Driver) -> int:
        step, wait = execution.root().step, execution.wait
        for _ in range(COUNT):
            operation = step(NAME)
            ticket, _ = operation.succeed_value(value)
            wait(ticket, driver)
        return driver.sent

    sent = benchmark.pedantic(
        run_all, setup=lambda: ((loaded(operations(0)), Driver()), {}), rounds=30, iterations=1, warmup_rounds=3
    )
    assert sent == 2 * COUNT


def test_begin(benchmark: BenchmarkFixture) -> None:
    """Begin steps that are not recorded: the START is queued, nothing is sent."""
    benchmark.group = f"{COUNT} times begin"

    def begin_all(execution: Execution) -> list[Any]:
        step = execution.root().step
        return [step(NAME) for _ in range(COUNT)]

    begun = benchmark.pedantic(
        begin_all, setup=lambda: ((loaded(operations(0)),), {}), rounds=50, iterations=1, warmup_rounds=3
    )
    assert all(operation.decision == RUN for operation in begun)


def test_a_full_batch(benchmark: BenchmarkFixture) -> None:
    """Send what one call carries at most: 125 steps' START and SUCCEED, as the wire's dicts."""
    benchmark.group = f"a batch of {BATCH} updates"
    value = small(0)

    def queued() -> tuple[tuple[Execution, Driver, int], dict[str, Any]]:
        execution = loaded(operations(0))
        step, ticket = execution.root().step, 0
        for _ in range(BATCH // 2):
            ticket, _ = step(NAME).succeed_value(value)
        return (execution, Driver(), ticket), {}

    def send(execution: Execution, driver: Driver, ticket: int) -> int:
        execution.wait(ticket, driver)
        return driver.sent

    assert benchmark.pedantic(send, setup=queued, rounds=50, iterations=1, warmup_rounds=3) == BATCH
