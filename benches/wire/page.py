"""The page itself: what is measured, in which turns, and what comes out as plain data."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self

from peers.service import PAGE
from wire.quota import quota
from wire.runtime import Function
from wire.world import BENCHES, CALLERS, FLOOR, PAGES, World, event_text, result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from wire.world import Contender

Results = dict[str, Any]

SMALL = 0.07
"""The share of a CPU that a function of 128 MB has."""

WARM_STEPS = 20


@dataclass(frozen=True)
class Work:
    """Invocations of a process that is warm, without the runtime client.

    Attributes:
        key: In the results.
        title: In the tables.
        given: The execution's input.
        tls: Whether calls go over TLS.
        paged: Whether what is recorded has to be read from the service first.
        operations: How many operations one invocation does.

    """

    key: str
    title: str
    given: dict[str, int]
    operations: int
    tls: bool = True
    paged: bool = False


WORKS = (
    Work("steps-https", "a fresh step, of 200, HTTPS", {"steps": 200}, 200),
    Work("steps-http", "a fresh step, of 200, HTTP", {"steps": 200}, 200, tls=False),
    Work(
        "pages-https",
        f"{PAGES} pages of {PAGE:,} operations read and replayed",
        {"steps": PAGES * PAGE},
        1,
        paged=True,
    ),
    Work("map-https", "a map of 249 items, unlimited, HTTPS", {"map": 249}, 1),
)


@dataclass(frozen=True)
class Effort:
    """How often.

    Attributes:
        warm: Invocations of a warm process.
        starts: Processes.
        small: Processes with a share of a CPU.

    """

    warm: int
    starts: int
    small: int


FULL = Effort(warm=11, starts=12, small=3)
QUICK = Effort(warm=5, starts=5, small=1)


def page(effort: Effort, say: Callable[[str], None]) -> Results:
    """Measure everything."""
    with World() as world:
        works: Results = {}
        for work in WORKS:
            say(f"wire: {work.title}")
            works[work.key] = _warm(world, work, effort.warm)
        say("wire: under the runtime client")
        results: Results = {"works": works, "warm_steps": WARM_STEPS}
        results["runtime"] = _under_the_runtime_client(world, effort.starts)
        say(f"wire: with {SMALL:.0%} of a CPU")
        results["small"] = _with_a_share(world, effort.small)
    return results


# ---- a warm process


class _Prober:
    """A process of `wire.probe`."""

    def __init__(self, world: World, contender: Contender, *, tls: bool) -> None:
        self._process = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-m", "wire.probe", contender.module],
            env=world.environment(contender, tls=tls),
            cwd=BENCHES,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, event: str, wanted: str) -> tuple[float, float]:
        """Make one invocation; give its seconds, and those of CPU."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(event + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        _insist(found["output"], wanted)
        return found["wall"], found["cpu"]


def _warm(world: World, work: Work, rounds: int) -> Results:
    """Let the contenders take turns, each in a process that has made its first invocation."""
    event, wanted = event_text(work.given, paged=work.paged), result_of(work.given)
    seen: dict[str, list[tuple[float, float]]] = {contender.name: [] for contender in CALLERS}
    with ExitStack() as stack:
        probers = {c.name: stack.enter_context(_Prober(world, c, tls=work.tls)) for c in CALLERS}
        for number in range(rounds + 1):
            for name, prober in probers.items():
                found = prober.run(event, wanted)
                if number:
                    seen[name].append(found)
    contenders = {}
    for name, samples in seen.items():
        walls, cpus = zip(*samples, strict=True)
        contenders[name] = {
            "wall": median(walls) / work.operations,
            "cpu": median(cpus) / work.operations,
            "wall_min": min(walls) / work.operations,
            "cpu_min": min(cpus) / work.operations,
        }
    return {"title": work.title, "rounds": rounds, "contenders": contenders}


# ---- under the runtime client


def _under_the_runtime_client(world: World, rounds: int) -> Results:
    one, many = {"steps": 1}, {"steps": WARM_STEPS}
    seen: dict[str, dict[str, list[float]]] = {c.name: {"start": [], "kib": [], "warm": []} for c in (FLOOR, *CALLERS)}
    for number in range(rounds + 1):
        for contender in (FLOOR, *CALLERS):
            with Function(world, contender) as function:
                took, kib = _first(function, one)
                warm = [_again(function, many) for _ in range(4)]
            if number:  # the first one may have to compile
                into = seen[contender.name]
                into["start"].append(took)
                into["kib"].append(kib)
                into["warm"] += warm[1:]
    return {
        name: {
            "start": median(found["start"]),
            "start_min": min(found["start"]),
            "kib": median(found["kib"]),
            "warm": median(found["warm"]) / WARM_STEPS,
            "warm_min": min(found["warm"]) / WARM_STEPS,
            "rounds": rounds,
        }
        for name, found in seen.items()
    }


def _with_a_share(world: World, rounds: int) -> Results:
    with quota(SMALL) as group:
        if not isinstance(group, Path):
            return {"share": SMALL, "why": group}
        seen: dict[str, list[tuple[float, float]]] = {c.name: [] for c in (FLOOR, *CALLERS)}
        for _ in range(rounds):
            for contender in (FLOOR, *CALLERS):
                with Function(world, contender, group) as function:
                    took, _ = _first(function, {"steps": 1})
                    seen[contender.name].append((took, _again(function, {"steps": WARM_STEPS})))
        contenders = {
            name: {
                "start": median(start for start, _ in found),
                "warm": median(warm for _, warm in found) / WARM_STEPS,
                "rounds": rounds,
            }
            for name, found in seen.items()
        }
        return {"share": SMALL, "contenders": contenders}


def _first(function: Function, given: dict[str, int]) -> tuple[float, int]:
    """Make a process's first invocation: the seconds since its start, and the memory that it then has, in KiB."""
    response, at = function.invoke(event_text(given))
    _insist(json.loads(response), result_of(given))
    function.ready()
    return at - function.began, function.resident()


def _again(function: Function, given: dict[str, int]) -> float:
    """Make another invocation of a process that waits for it; give its seconds."""
    began = time.perf_counter()
    response, at = function.invoke(event_text(given))
    _insist(json.loads(response), result_of(given))
    function.ready()
    return at - began


def _insist(output: dict[str, Any], wanted: str) -> None:
    if output != {"Status": "SUCCEEDED", "Result": wanted}:
        raise AssertionError(f"{str(output)[:500]} is not {wanted}")
