"""The tables, in markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peers.bars import TIMES, bars
from peers.results import difference, ratio
from peers.words import shown_seconds, shown_times, table

if TYPE_CHECKING:
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
            origin(results),
            "<details><summary>All figures</summary>",
            full(results),
            "</details>",
        )
    )


def full(results: Results) -> str:
    """Give all tables."""
    parts = (_all(results), _differences(results), _variants(results), _processes(results), _bars(results), NOTES)
    return "\n\n".join(part for part in parts if part)


def _headline(results: Results, works: Results) -> str:
    rows = []
    for key, work in works.items():
        found = work["contenders"]
        rows.append(
            (
                work["title"],
                f"**{shown_seconds(found['perdure']['median'])}**",
                shown_seconds(found["official"]["median"]),
                f"**{shown_times(ratio(results, key, 'official'))}**",
                shown_times(ratio(results, key, "patched")),
                shown_seconds(found["json"]["median"]) if "json" in found else "",
            )
        )
    processes = results["processes"]
    ours, theirs = processes["perdure"]["import_median"], processes["official"]["import_median"]
    rows.append(
        ("import", f"**{shown_seconds(ours)}**", shown_seconds(theirs), f"**{shown_times(theirs / ours)}**", "", "")
    )
    return table(("", "perdure", "official SDK", "faster", "faster than it without its waits", "bare loop"), rows)


def origin(results: Results) -> str:
    """Say where and when it was measured, and of what."""
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
                shown_times(ratio(results, key, "official")),
                shown_times(ratio(results, key, "patched")),
                shown_seconds(found["perdure"]["median"] / work["operations"]) if work["operations"] > 1 else "",
                " / ".join(calls) if any(call not in {"", "0"} for call in calls) else "",
                "" if work["parse"] is None else shown_seconds(work["parse"]),
            )
        )
    head = (
        "", "perdure", "official", "official, no waits", "json", "orjson", f"{TIMES} official", f"{TIMES} no waits",
        "perdure, per operation", "API calls: perdure / official / loop", "parsing",
    )  # fmt: skip
    return table(head, rows)


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
        rows.append(
            (title, *(shown_seconds(cost) for cost in costs.values()), *(shown_times(found) for found in ratios))
        )
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
    return table(head, rows)


def _variants(results: Results) -> str:
    """Give the works that perdure was given in several ways."""
    rows = []
    for work in results["works"].values():
        found = work["contenders"]
        for name, variant in found.items():
            sdk, _, way = name.partition("-")
            if sdk == "perdure" and way:
                alone, official = found["perdure"]["median"], found.get(f"official-{way}", found.get("official"))
                rows.append(
                    (
                        work["title"],
                        way,
                        shown_seconds(alone),
                        shown_seconds(variant["median"]),
                        f"{variant['median'] / alone:.2f}",
                        "" if official is None else shown_seconds(official["median"]),
                    )
                )
    head = ("in another way", "which", "perdure", "perdure, so", "so / without", "official")
    return table(head, rows) if rows else ""


def _processes(results: Results) -> str:
    rows = [
        (
            {"nothing": "bare interpreter"}.get(name, name),
            f"{shown_seconds(found['import_median'])} ({shown_seconds(found['import_min'])})"
            if name != "nothing"
            else "",
            ("yes" if found["boto3"] else "no") if name != "nothing" else "",
            f"{found['imported_kib'] / 1024:.1f} MiB",
            f"{found['replayed_kib'] / 1024:.1f} MiB",
        )
        for name, found in results["processes"].items()
    ]
    head = ("fresh process", "import", "boto3 imported", "RSS after import", "RSS after replaying 1,000 steps")
    return table(head, rows)


def _bars(results: Results) -> str:
    rows = [
        (bar.title, bar.promise, bar.shown, "met" if bar.met else "**missed**")
        for bar in bars(results)
        if bar.measured is not None
    ]
    return table(("bar", "promised", "measured", ""), rows)


def _both(found: Results | None) -> str:
    return "" if found is None else f"{shown_seconds(found['median'])} ({shown_seconds(found['min'])})"
