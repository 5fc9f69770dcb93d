"""The clock: contenders take turns, each call is checked, warm-up is not counted, the collector runs as usual."""

from __future__ import annotations

import gc
import math
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

SHORT = 0.01
"""Seconds: a sample of a repeatable work repeats it until it takes about so long."""

MOST_REPEATS = 200


@dataclass(frozen=True)
class Call:
    """One invocation, ready to be timed.

    Attributes:
        run: What is timed.
        verify: Looks at what ``run`` returned, after the clock has stopped; raises if it is not right.
        calls: Gives how many API calls were made.

    """

    run: Callable[[], Any]
    verify: Callable[[Any], None]
    calls: Callable[[], int] = int


@dataclass(frozen=True)
class Entry:
    """A contender in a work.

    Attributes:
        name: Of the contender.
        prepare: Makes the next call, outside the clock.
        ready: Puts the contender's settings in place.

    """

    name: str
    prepare: Callable[[], Call]
    ready: Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Work:
    """What is measured.

    Attributes:
        key: In the results.
        title: In the table.
        entries: Who takes part.
        operations: How many operations one call does, for costs per operation.
        repeatable: Whether the prepared call can be made again and again.
        event_text: The event, for the cost of parsing it.
        weight: Share of the time, and of the rounds at least, in relation to other works.

    """

    key: str
    title: str
    entries: list[Entry]
    operations: int = 1
    repeatable: bool = False
    event_text: str | None = None
    weight: float = 1.0


@dataclass
class Samples:
    """What was measured of one contender in one work, in seconds a call."""

    seconds: list[float] = field(default_factory=list)
    made: list[int] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """The middle of the numbers of API calls: under threads they vary."""
        return round(median(self.made))

    @property
    def median(self) -> float:
        """The middle."""
        return median(self.seconds)

    @property
    def minimum(self) -> float:
        """The least."""
        return min(self.seconds)


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        seconds: For a work of weight 1, all contenders together.
        fewest: Rounds at least.
        most: Rounds at most.

    """

    seconds: float
    fewest: int
    most: int


def race(work: Work, effort: Effort) -> dict[str, Samples]:
    """Measure a work: each round all contenders once, each round another one first."""
    results = {entry.name: Samples() for entry in work.entries}
    repeats: dict[str, int] = {}
    began = time.perf_counter()
    for entry in work.entries:
        took = _sample(entry, 1, results[entry.name])
        repeats[entry.name] = max(1, min(MOST_REPEATS, int(SHORT / took))) if work.repeatable else 1
    first_round = time.perf_counter() - began
    for samples in results.values():
        samples.seconds.clear()
        samples.made.clear()
    fewest = max(3, math.ceil(effort.fewest * min(work.weight, 1.0)))
    rounds = max(fewest, min(effort.most, int(effort.seconds * work.weight / first_round)))
    for number in range(rounds):
        turn = number % len(work.entries)
        for entry in work.entries[turn:] + work.entries[:turn]:
            _sample(entry, repeats[entry.name], results[entry.name])
    return results


def _sample(entry: Entry, repeats: int, samples: Samples) -> float:
    call = entry.prepare()
    run = call.run
    with entry.ready():
        gc.collect()
        if repeats == 1:
            start = time.perf_counter()
            output = run()
            took = time.perf_counter() - start
        else:
            turns = range(repeats - 1)
            start = time.perf_counter()
            for _ in turns:
                run()
            output = run()
            took = (time.perf_counter() - start) / repeats
    call.verify(output)
    samples.seconds.append(took)
    samples.made.append(call.calls())
    return took


def parse_cost(text: str, rounds: int = 5) -> float:
    """Give the median seconds that ``json.loads`` of an event takes; Lambda's runtime does it for everybody."""
    from json import loads  # noqa: PLC0415

    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        loads(text)
        seconds.append(time.perf_counter() - start)
    return median(seconds)
