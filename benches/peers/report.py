"""The tables, in markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peers.bars import TIMES, bars
from peers.results import difference, ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from peers.results import Results

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

HEADLINE = (
    "empty",
    "replay-1000-45 B",
    "replay-1000-1 KB",
    "pages",
    "structured-first",
    "structured-replay",
    "fresh-200-0ms",
    "fresh-20-5ms",
    "map-fresh-none-5ms",
    "map-open-1000-none",
)

DIFFERENCES = (
    ("a replayed step, 45 B (100 → 1,000)", "replay-100-45 B", "replay-1000-45 B"),
    ("a replayed step, 45 B (1,000 → 10,000)", "replay-1000-45 B", "replay-10000-45 B"),
    ("a replayed step, 1 KB (100 → 1,000)", "replay-100-1 KB", "replay-1000-1 KB"),
    ("a replayed step, 1 KB (1,000 → 10,000)", "replay-1000-1 KB", "replay-10000-1 KB"),
    ("a fresh step, 0 ms service (20 → 200)", "fresh-20-0ms", "fresh-200-0ms"),
    ("a fresh step, 5 ms service (20 → 200)", "fresh-20-5ms", "fresh-200-5ms"),
    ("a done item of an open map (100 → 1,000)", "map-open-100-none", "map-open-1000-none"),
)

NOTES = """\
* Time is that of `handler(event, context)`, with the event already parsed, as Lambda's runtime does for everyone; the \
column *parsing* is what `json.loads` of the event took, for information.
* *official* is the official SDK as it is published. Its return from an invocation waits for up to 100 ms; *official, \
no waits* is the same with its two waiting constants set to 0.1 ms. Ratios are how many times as long as perdure each \
takes. Where the wait hides what an operation costs, see the costs of one more operation: differences between two \
sizes. The unmodified SDK's wait runs beside its work, so that below 100 ms of work its differences come out too \
small; the column without waits has its real cost.
* *json* and *orjson* are bare loops that keep no promise: they decode each payload (fresh: make the same API calls \
with the same updates), with no engine and no checks, and read plain JSON where the SDKs read typed envelopes.
* Contenders took turns; each answer was checked; medians, minima in brackets; the garbage collector ran as usual."""


def summary(results: Results) -> str:
    """Give the table for the README, with everything else folded away."""
    works = {key: results["works"][key] for key in HEADLINE if key in results["works"]}
    return "\n\n".join(
        (
            _headline(results, works),
            _origin(results),
            "<details><summary>All figures</summary>",
            full(results),
            "</details>",
        )
    )


def full(results: Results) -> str:
    """Give all tables."""
    return "\n\n".join((_all(results), _differences(results), _processes(results), _bars(results), NOTES))


def written_into(text: str, results: Results) -> str:
    """Give a document with the part between the markers replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no part between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{summary(results)}\n{END}{after}"


def _headline(results: Results, works: Results) -> str:
    rows = []
    for key, work in works.items():
        found = work["contenders"]
        rows.append(
            (
                work["title"],
                f"**{_time(found['perdure']['median'])}**",
                _time(found["official"]["median"]),
                f"**{_times(ratio(results, key, 'official'))}**",
                _times(ratio(results, key, "patched")),
                _time(found["json"]["median"]) if "json" in found else "",
            )
        )
    processes = results["processes"]
    ours, theirs = processes["perdure"]["import_median"], processes["official"]["import_median"]
    rows.append(("import", f"**{_time(ours)}**", _time(theirs), f"**{_times(theirs / ours)}**", "", ""))
    return _table(("", "perdure", "official SDK", "faster", "faster than it without its waits", "bare loop"), rows)


def _origin(results: Results) -> str:
    machine = results["machine"]
    versions = machine["versions"]
    return (
        f"{machine['date']} · {machine['cpu']}, {machine['cores']} cores, {machine['system']} · {machine['python']} · "
        f"perdure {versions['perdure']}, aws-durable-execution-sdk-python {versions['official']}, "
        f"orjson {versions['orjson']} · load average {machine['load']} before, {machine['load_after']} after · "
        "`make bench`"
    )


def _all(results: Results) -> str:
    rows = []
    for key, work in results["works"].items():
        found = work["contenders"]
        calls = [str(found[name]["calls"]) if name in found else "" for name in ("perdure", "official", "json")]
        rows.append(
            (
                work["title"],
                *(_both(found.get(name)) for name in ("perdure", "official", "patched", "json", "orjson")),
                _times(ratio(results, key, "official")),
                _times(ratio(results, key, "patched")),
                _time(found["perdure"]["median"] / work["operations"]) if work["operations"] > 1 else "",
                " / ".join(calls) if any(call not in {"", "0"} for call in calls) else "",
                "" if work["parse"] is None else _time(work["parse"]),
            )
        )
    head = (
        "", "perdure", "official", "official, no waits", "json", "orjson", f"{TIMES} official", f"{TIMES} no waits",
        "perdure, per operation", "API calls: perdure / official / loop", "parsing",
    )  # fmt: skip
    return _table(head, rows)


def _differences(results: Results) -> str:
    rows = []
    for title, less, more in DIFFERENCES:
        costs = {
            name: difference(results, less, more, name) for name in ("perdure", "official", "patched", "json", "orjson")
        }
        ours = costs["perdure"]
        if ours is None:
            continue
        ratios = [None if costs[name] is None else costs[name] / ours for name in ("official", "patched")]
        rows.append((title, *(_time(cost) for cost in costs.values()), *(_times(found) for found in ratios)))
    head = (
        "one more operation",
        "perdure",
        "official",
        "official, no waits",
        "json",
        "orjson",
        f"{TIMES} official",
        f"{TIMES} no waits",
    )
    return _table(head, rows)


def _processes(results: Results) -> str:
    rows = [
        (
            {"nothing": "bare interpreter"}.get(name, name),
            f"{_time(found['import_median'])} ({_time(found['import_min'])})" if name != "nothing" else "",
            ("yes" if found["boto3"] else "no") if name != "nothing" else "",
            f"{found['imported_kib'] / 1024:.1f} MiB",
            f"{found['replayed_kib'] / 1024:.1f} MiB",
        )
        for name, found in results["processes"].items()
    ]
    head = ("fresh process", "import", "boto3 imported", "RSS after import", "RSS after replaying 1,000 steps")
    return _table(head, rows)


def _bars(results: Results) -> str:
    rows = [
        (bar.title, bar.promise, bar.shown, "met" if bar.met else "**missed**")
        for bar in bars(results)
        if bar.measured is not None
    ]
    return _table(("bar", "promised", "measured", ""), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _both(found: Results | None) -> str:
    return "" if found is None else f"{_time(found['median'])} ({_time(found['min'])})"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= size:
            return f"{_three(seconds / size)} {unit}"
    return f"{_three(seconds / 1e-9)} ns"


def _three(number: float) -> str:
    """Give about three significant digits."""
    size = abs(number)
    return f"{number:,.0f}" if size >= 100 else f"{number:.1f}" if size >= 10 else f"{number:.2f}"


def _times(found: float | None) -> str:
    if found is None:
        return ""
    return f"{found:,.0f}{TIMES}" if found >= 10 else f"{found:.1f}{TIMES}"
