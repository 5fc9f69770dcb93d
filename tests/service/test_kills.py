"""SIGKILL at random moments: nothing that was acknowledged is lost, and nothing runs twice that must not."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from perdure.local import LocalService, SqliteStore
from support.victim import STEPS

TESTS = Path(__file__).parent.parent
EACH = 3


class Life:
    """One run of the victim: what it has told, in order."""

    def __init__(self, path: Path, first: int, count: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.victim", str(path), str(first), str(count)],
            stdout=subprocess.PIPE,
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            text=True,
        )

    def kill_after(self, lines: int) -> list[list[str]]:
        """Kill the process when it has told so many lines; return all it has told by then."""
        assert self.process.stdout is not None
        told: list[list[str]] = []
        with self.process:
            for line in self.process.stdout:
                told.append(line.split(maxsplit=3))
                if len(told) == lines:
                    self.process.kill()
        return told


def check(told: list[list[str]]) -> None:
    """Check a whole record for what must not be."""
    runs: Counter[tuple[str, str]] = Counter()
    acknowledged: dict[tuple[str, str], str] = {}
    for line in told:
        if line[0] == "run":
            key = (line[1], line[2])
            runs[key] += 1
            assert key not in acknowledged, f"step {key} ran again after it was acknowledged"
        elif line[0] == "ack":
            key = (line[1], line[2])
            assert acknowledged.setdefault(key, line[3].strip()) == line[3].strip(), f"step {key} has two results"
    twice = [key for key, count in runs.items() if count > 1 and int(key[1]) % 2]
    assert not twice, f"at-most-once steps ran twice: {twice}"


def survive(path: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - moments to kill at
    told: list[list[str]] = []
    for number in range(kills):
        told += Life(path, number * EACH, EACH).kill_after(chance.randint(1, 60))
    last = Life(path, kills * EACH, 1).kill_after(-1)
    assert last[-1] == ["finished"]
    told += last
    check(told)
    started = {line[1] for line in told if line[0] == "started"}
    acknowledged = {(line[1], line[2]): line[3].strip() for line in told if line[0] == "ack"}
    service = LocalService(store=SqliteStore(path)).register("f", lambda _event, _context: None)
    pages = service.client.list_durable_executions_by_function(FunctionName="f", MaxItems=1000)
    ended = {page["DurableExecutionName"][1:]: page for page in pages["DurableExecutions"]}
    assert started <= ended.keys()
    for name, page in ended.items():
        handle = service.execution(page["DurableExecutionArn"])
        assert handle.status == "SUCCEEDED"
        assert json.loads(handle.result or "") == [acknowledged[name, str(number)] for number in range(STEPS)]
        events = service.client.get_durable_execution_history(DurableExecutionArn=handle.arn, MaxItems=1000)["Events"]
        assert [event["EventId"] for event in events] == list(range(1, len(events) + 1))
        assert [event["EventType"] for event in events].count("StepSucceeded") <= STEPS
    service.close()


def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    survive(tmp_path / "x.db", 20, seed=1)


@pytest.mark.soak
def test_two_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    survive(tmp_path / "x.db", 200, seed=2)
