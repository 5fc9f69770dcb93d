"""The page's table, in markdown, and its bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peers.bars import TIMES, Bar
from peers.words import shown_seconds, shown_times, table

if TYPE_CHECKING:
    from peers.results import Results

BEGIN, END = "<!-- wire:begin -->", "<!-- wire:end -->"
CONTENDERS = ("perdure", "boto3", "official")

NOTES = """\
* Each contender runs in processes of its own, with Lambda's environment variables alone and the client that it takes \
by default: perdure its own, the official SDK boto3. *perdure over boto3* is `PERDURE_CLIENT=boto3`. One server in \
another process answers all of them; it is Python, and its time is in every wall figure. Calls are signed; HTTPS is \
TLS 1.3 with a throw-away CA, the only one in the bundle that all are given.
* *Under the runtime client* is AWS's `awslambdaric`, from the start of its process until the response of the first \
invocation is there; *no SDK, no calls* is the same function without either, and the least that anybody can take.
* CPU is that of the process, all threads of it. Contenders took turns; each answer was checked; medians."""


def summary(results: Results) -> str:
    """Give what stands in the README."""
    return "\n\n".join((_rows(results["wire"]), _bars(results), NOTES))


def _rows(wire: Results) -> str:
    head = ("", "perdure", "official SDK", "faster", "perdure over boto3", "no SDK, no calls")
    rows = []
    for work in wire["works"].values():
        found = work["contenders"]
        for kind, name in (("cpu", "CPU"), ("wall", "wall")):
            rows.append(_row(f"{work['title']}: {name}", {who: found[who][kind] for who in found}))
    runtime, small = wire["runtime"], wire["small"]
    rows.append(_row("under the runtime client: process start → first response of one step", _each(runtime, "start")))
    rows.append(_row(f"a warm invocation of {wire['warm_steps']} steps under it, per step", _each(runtime, "warm")))
    if "why" not in small:
        share, found = f"with {small['share']:.0%} of a CPU", small["contenders"]
        rows.append(_row(f"{share}: process start → first response", _each(found, "start")))
        rows.append(_row(f"{share}: a warm step", _each(found, "warm")))
    kib = _each(runtime, "kib")
    rows.append(("memory after the first invocation", *(_mib(kib[who]) for who in ("perdure", "official")), "",
                 *(_mib(kib[who]) for who in ("boto3", "floor"))))  # fmt: skip
    text = table(head, rows)
    return text if "why" not in small else f"{text}\n\nNot measured with {small['share']:.0%} of a CPU: {small['why']}."


def _each(found: Results, kind: str) -> dict[str, float]:
    return {who: figures[kind] for who, figures in found.items()}


def _row(title: str, found: dict[str, float]) -> tuple[str, ...]:
    ours, theirs = found["perdure"], found["official"]
    return (
        title,
        f"**{shown_seconds(ours)}**",
        shown_seconds(theirs),
        f"**{shown_times(theirs / ours)}**",
        shown_seconds(found["boto3"]),
        shown_seconds(found.get("floor")),
    )


def _mib(kib: float) -> str:
    return f"{kib / 1024:.1f} MiB"


def _bars(results: Results) -> str:
    rows = [(bar.title, bar.promise, bar.shown, "met" if bar.met else "**missed**") for bar in bars(results)]
    return table(("bar", "promised", "measured", ""), rows)


def bars(results: Results) -> list[Bar]:
    """Hold the page against its promises."""
    wire = results["wire"]
    runtime, small = wire["runtime"], wire["small"]

    def faster(title: str, found: Results, kind: str, limit: float) -> Bar:
        return Bar(title, found["official"][kind] / found["perdure"][kind], limit, TIMES, at_least=True)

    def work(key: str) -> Results:
        return wire["works"][key]["contenders"]  # type: ignore[no-any-return]

    def over_the_floor(kind: str) -> float:
        return float(runtime["perdure"][kind] - runtime["floor"][kind])

    found = [
        faster("CPU of a fresh step over HTTPS", work("steps-https"), "cpu", 12),
        faster("wall of a fresh step over HTTP", work("steps-http"), "wall", 10),
        faster("three pages of 1,000 operations and their replay", work("pages-https"), "wall", 15),
        faster("first response under the runtime client", runtime, "start", 6),
        Bar("first response, over the floor", over_the_floor("start") * 1e3, 35, "ms more", at_least=False),
        faster("a warm step under the runtime client", runtime, "warm", 20),
        Bar("memory, over the floor", over_the_floor("kib") / 1024, 6, "MiB more", at_least=False),
    ]
    if "why" not in small:
        title = f"first response with {small['share']:.0%} of a CPU"
        found.append(faster(title, small["contenders"], "start", 4.5))
    return found
