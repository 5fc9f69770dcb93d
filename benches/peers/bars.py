"""The bars: what perdure promises, against the unmodified official SDK measured in the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from peers.results import difference, fastest, ratio, seconds

if TYPE_CHECKING:
    from peers.results import Results


TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Bar:
    """One promise.

    Attributes:
        title: What is promised of.
        measured: What came out; None if the run did not measure it.
        limit: The promise.
        unit: Of both; `TIMES` stands for "times as fast as the official SDK".
        at_least: Whether more is better.

    """

    title: str
    measured: float | None
    limit: float
    unit: str
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether the promise holds; what was not measured does not."""
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        return f"{'met   ' if self.met else 'MISSED'} {self.title}: {self.shown} ({self.promise})"

    @property
    def promise(self) -> str:
        """The limit, in words."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}".rstrip()

    @property
    def shown(self) -> str:
        """The measurement, in words."""
        if self.measured is None:
            return "not measured"
        digits = 0 if abs(self.measured) >= 100 else 1 if abs(self.measured) >= 10 else 2
        return f"{self.measured:,.{digits}f} {self.unit}".rstrip()


def bars(results: Results) -> list[Bar]:
    """Hold a run against the promises."""

    def faster(title: str, work: str, limit: float) -> Bar:
        return Bar(title, ratio(results, work, "official"), limit, TIMES, at_least=True)

    def at_most(title: str, measured: float | None, limit: float, unit: str) -> Bar:
        return Bar(title, measured, limit, unit, at_least=False)

    def as_long(title: str, work: str, contender: str, limit: float) -> Bar:
        found, least = fastest(results, work, contender), fastest(results, work, "perdure")
        measured = None if found is None or least is None else found / least
        return at_most(title, measured, limit, "times as long as without")

    def for_each(work: str) -> float | None:
        found = fastest(results, work, "perdure-all")
        return None if found is None else found / results["works"][work]["operations"]

    few, many = for_each("plugin-300"), for_each("plugin-3000")
    silent, alls = "perdure-silent", "perdure-all"
    idle = fastest(results, "plugin-300", "official-all")
    ours_idle = fastest(results, "plugin-300", alls)
    item_by_item = seconds(results, "map-items-3000-5ms", "perdure")
    in_batches = seconds(results, "map-items-3000-5ms", "perdure-in batches of 100")
    processes = results["processes"]["perdure"]
    empty = seconds(results, "empty", "perdure")
    loop = seconds(results, "fresh-20-5ms", "json")
    ours = seconds(results, "fresh-20-5ms", "perdure")
    per_step = difference(results, "fresh-20-0ms", "fresh-200-0ms", "perdure")
    theirs = difference(results, "fresh-20-0ms", "fresh-200-0ms", "official")
    return [
        faster("empty invocation", "empty", 100),
        at_most("empty invocation", None if empty is None else empty * 1e3, 0.5, "ms"),
        faster("replay of 1,000 steps, 45 B", "replay-1000-45 B", 20),
        faster("replay of 1,000 steps, 1 KB of 60 leaves", "replay-1000-1 KB", 15),
        faster("replay of 1,000 steps that return a dataclass of 10 fields", "replay-typed-1000", 15),
        Bar(
            "one more fresh step, 0 ms service",
            None if per_step is None or theirs is None else theirs / per_step,
            30,
            TIMES,
            at_least=True,
        ),
        at_most(
            "fresh steps, 5 ms service, against the bare loop",
            None if ours is None or loop is None else (ours / loop - 1) * 100,
            8,
            "% more",
        ),
        at_most(
            "200 fresh steps, 5 ms service, optimistic",
            fastest(results, "fresh-200-5ms", "perdure-optimistic"),
            0.05,
            "s",
        ),
        as_long("3,000 fresh steps, a plugin that overrides nothing", "plugin-3000", silent, 1.02),
        as_long("3,000 fresh steps, a plugin that overrides all", "plugin-3000", alls, 1.5),
        at_most(
            "a step with a plugin, 3,000 against 300",
            None if few is None or many is None else many / few,
            1.2,
            "times as long",
        ),
        Bar(
            "300 fresh steps, a plugin that overrides all",
            None if idle is None or ours_idle is None else idle / ours_idle,
            20,
            TIMES,
            at_least=True,
        ),
        faster("replay of 1,000 steps, traced by OpenTelemetry", "traced-1000", 10),
        faster("map of 1,000, all done, still open", "map-open-1000-none", 15),
        faster("map of 1,000, fresh, unlimited, 5 ms service", "map-fresh-none-5ms", 2.5),
        Bar(
            "map of 3,000 items in batches of 100, against a branch an item",
            None if item_by_item is None or in_batches is None else item_by_item / in_batches,
            8,
            TIMES,
            at_least=True,
        ),
        faster("large structured result, first run", "structured-first", 15),
        faster("large structured result, replay", "structured-replay", 15),
        at_most(f"import, median of {processes['rounds']}", processes["import_median"] * 1e3, 15, "ms"),
        at_most("boto3 imported along (0 = no)", float(processes["boto3"]), 0, ""),
    ]
