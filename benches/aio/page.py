"""Measure async handlers against plain ones, and against async-durable-execution in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from peers.results import Results

ROOT = Path(__file__).resolve().parent.parent.parent
PEER = "async-durable-execution==2.5.0"
"""It pins an older botocore than perdure needs, and so cannot be installed beside it."""

WORKS = {
    "empty": "empty invocation",
    "replay": "replay of 1,000 awaited steps",
    "fresh": "200 fresh steps, 0 ms service",
    "map": "map of 1,000, fresh, unlimited, 5 ms service",
}


class Effort(NamedTuple):
    """How often each work is done: by perdure, and by the peer, which takes long."""

    rounds: int
    peer_rounds: int


FULL, QUICK = Effort(21, 5), Effort(9, 3)


class Contender:
    """A process that does works for one contender.

    Args:
        interpreter: Of its environment.
        kind: ``sync``, ``async`` or ``peer``.

    """

    def __init__(self, interpreter: Path, kind: str) -> None:
        worker = Path(__file__).with_name("worker.py")
        self._process = subprocess.Popen(  # noqa: S603  our own
            [str(interpreter), str(worker), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, work: str) -> dict[str, Any]:
        """Have a work done once."""
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("a worker has pipes")
        self._process.stdin.write(f"{work}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker ended with {self._process.wait()} while it did {work!r}")
        return json.loads(answer)  # type: ignore[no-any-return]

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def page(effort: Effort, say: Callable[[str], None]) -> Results:
    """Measure all works: contenders take turns, the first round does not count."""
    with ExitStack() as stack:

        def started(interpreter: Path, kind: str) -> Contender:
            contender = Contender(interpreter, kind)
            stack.callback(contender.close)
            return contender

        own = Path(sys.executable)
        say("an environment for async-durable-execution")
        contenders = {kind: started(own, kind) for kind in ("sync", "async")} | {"peer": started(_peer(), "peer")}
        found: Results = {}
        for work, title in WORKS.items():
            say(f"async: {title}")
            found[work] = {"title": title, "contenders": dict(_raced(contenders, work, effort))}
    say("async: memory of branches that wait")
    return {"works": found, "bytes": {kind: _memory(own, kind) for kind in ("async", "sync")}, "peer": PEER}


def _raced(contenders: dict[str, Contender], work: str, effort: Effort) -> Iterator[tuple[str, float]]:
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(effort.rounds + 1):
        for name, contender in contenders.items():
            if name != "peer" or number <= effort.peer_rounds:
                samples[name].append(contender.do(work)["seconds"])
    return ((name, median(seconds[1:])) for name, seconds in samples.items())


def _memory(interpreter: Path, kind: str) -> float:
    """Give the bytes of a branch that waits: the middle of three processes."""
    found = []
    for _ in range(3):
        contender = Contender(interpreter, kind)
        found.append(contender.do("memory")["bytes"])
        contender.close()
    return median(found)


def _peer() -> Path:
    """Give the interpreter of an environment with the peer, made the first time."""
    folder = ROOT / ".venv-peer"
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        venv.create(folder, with_pip=True)
    subprocess.run(  # noqa: S603  our own
        [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PEER], check=True
    )
    return interpreter
