"""Whole invocations of perdure alone, for telling one version from another; `table.py` compares with the peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from peers import works
from peers.contenders import PERDURE
from peers.values import nested, small

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from peers.race import Work

WORKS: dict[str, Callable[[], Work]] = {
    "empty": works.empty,
    "replay-1000-45B": lambda: works.replay(1000, small, "45 B"),
    "replay-1000-1KB": lambda: works.replay(1000, nested, "1 KB"),
    "replay-typed-1000": lambda: works.replay_typed(1000),
    "pages": works.pages,
    "structured-first": lambda: works.structured_works()[0],
    "structured-replay": lambda: works.structured_works()[1],
    "fresh-200": lambda: works.fresh(200, 0.0),
    "map-open": lambda: works.map_replay(parent_open=True),
    "map-finished": lambda: works.map_replay(parent_open=False),
    "map-fresh-1": lambda: works.map_fresh(1),
    "map-fresh-10": lambda: works.map_fresh(10),
    "map-fresh-none": lambda: works.map_fresh(None),
}


@pytest.mark.parametrize("key", WORKS)
def test_invocation(benchmark: BenchmarkFixture, key: str) -> None:
    benchmark.group = "invocation"
    entry = next(entry for entry in WORKS[key]().entries if entry.name == PERDURE.name)
    call = entry.prepare()

    def setup() -> None:
        nonlocal call
        call = entry.prepare()

    def run() -> Any:
        return call.run()

    output = benchmark.pedantic(run, setup=setup, rounds=20, iterations=1, warmup_rounds=2)
    call.verify(output)
    benchmark.extra_info["api_calls"] = call.calls()
