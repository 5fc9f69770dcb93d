"""Measure perdure against the official SDK and bare loops; print the tables, keep the figures, hold the bars.

python benches/table.py                     all pages, about a quarter of an hour
python benches/table.py --page wire         only that of processes and calls over loopback; `memory` and `async` are the
                                            others
python benches/table.py --quick             what the bars need, under four minutes
python benches/table.py --check             exit 1 if a bar is missed
python benches/table.py --write README.md   put the pages between the document's markers
python benches/table.py --from bench-results/latest.json --write README.md
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

from aio import page as aio
from aio import report as aio_report
from peers import bars as memory_bars
from peers import report, works
from peers.contenders import OFFICIAL, PERDURE
from peers.processes import processes
from peers.race import Effort, parse_cost, race
from peers.results import machine, of_processes, of_work, warn_of_debug
from peers.values import nested, small
from peers.words import written_into
from wire import page as wire
from wire import report as wire_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers.bars import Bar
    from peers.race import Work
    from peers.results import Results

ROOT = Path(__file__).resolve().parent.parent
FULL = Effort(seconds=5.0, fewest=5, most=41)
QUICK = Effort(seconds=1.2, fewest=3, most=11)
EVENTS_TO_PARSE = 30_000_000


def main() -> int:
    """Do what the command line says; give the exit status."""
    options = _options()
    results = json.loads(Path(options.given).read_text(encoding="utf-8")) if options.given else _measure(options)
    sys.stdout.write(_text(results, whole=not options.summary) + "\n")
    if options.write:
        document = Path(options.write)
        document.write_text(_written(document.read_text(encoding="utf-8"), results), encoding="utf-8")
    bars = _bars(results)
    if options.check:
        sys.stderr.writelines(f"{bar}\n" for bar in bars)
    return 1 if options.check and not all(bar.met for bar in bars) else 0


def _text(results: Results, *, whole: bool) -> str:
    pages = [wire_report.summary(results)] if "wire" in results else []
    if "works" in results:
        pages.append(report.full(results) if whole else report.summary(results))
    if "async" in results:
        pages.append(aio_report.summary(results))
    return "\n\n".join(pages)


def _written(text: str, results: Results) -> str:
    """Give a document with the pages that were measured."""
    if "wire" in results:
        part = f"{wire_report.summary(results)}\n\n{report.origin(results)}"
        text = written_into(text, wire_report.BEGIN, wire_report.END, part)
    if "works" in results:
        text = written_into(text, report.BEGIN, report.END, report.summary(results))
    if "async" in results:
        text = written_into(text, aio_report.BEGIN, aio_report.END, aio_report.summary(results))
    return text


def _bars(results: Results) -> list[Bar]:
    found = wire_report.bars(results) if "wire" in results else []
    found += memory_bars.bars(results) if "works" in results else []
    return found + (aio_report.bars(results) if "async" in results else [])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    parser.add_argument("--quick", action="store_true", help="only what the bars need, in fewer rounds")
    parser.add_argument("--page", choices=("wire", "memory", "async"), help="only this page")
    parser.add_argument(
        "--only", metavar="TEXT", help="only works in memory whose key contains TEXT (no --check, no --write)"
    )
    parser.add_argument("--summary", action="store_true", help="print what --write would write")
    parser.add_argument("--write", metavar="FILE", help="put the tables between the markers of this document")
    parser.add_argument("--from", dest="given", metavar="FILE", help="use the figures of an earlier run")
    parser.add_argument("--output", metavar="FOLDER", default=ROOT / "bench-results", type=Path, help="for the figures")
    options = parser.parse_args()
    if options.only and (options.check or options.write):
        parser.error("--only measures a part, which neither --check nor --write can use")
    return options


def _measure(options: argparse.Namespace) -> Results:
    warn_of_debug()
    works.check_recorders()
    results: Results = {"machine": machine(), "quick": options.quick}
    began = time.perf_counter()
    if options.page in (None, "wire") and not options.only:
        results["wire"] = wire.page(wire.QUICK if options.quick else wire.FULL, lambda what: _say(began, what))
    if options.page in (None, "memory"):
        _measure_in_memory(options, results, began)
    if options.page in (None, "async") and not options.only:
        results["async"] = aio.page(aio.QUICK if options.quick else aio.FULL, lambda what: _say(began, what))
    results["machine"]["load_after"] = machine()["load"]
    results["took"] = round(time.perf_counter() - began, 1)
    _say(began, "done")
    if not options.only:
        _keep(options.output, results)
    return results


def _measure_in_memory(options: argparse.Namespace, results: Results, began: float) -> None:
    effort = QUICK if options.quick else FULL
    results["works"] = {}
    for make in _makers(quick=options.quick):
        for work in make():
            if options.only and options.only not in work.key:
                continue
            _say(began, work.title)
            text = work.event_text
            parse = parse_cost(text) if text is not None and len(text) < EVENTS_TO_PARSE else None
            results["works"][work.key] = of_work(work, race(work, effort), parse)
    _say(began, "imports and memory")
    results["processes"] = of_processes(processes(12 if options.quick else 30))


def _makers(*, quick: bool) -> list[Callable[[], list[Work]]]:
    """Give the works, each made when its turn comes: their histories are large."""
    counts = (100, 1000) if quick else (10, 100, 1000, 10_000)
    makers: list[Callable[[], list[Work]]] = [lambda: [works.empty()]]
    makers += [
        lambda count=count, value=value, label=label: [  # type: ignore[misc]
            works.replay(count, value, label, weight=1.0 if count <= works.ITEMS else 0.5)
        ]
        for value, label in ((small, "45 B"), (nested, "1 KB"))
        for count in counts
    ]
    makers += [
        lambda: [works.replay_typed(works.ITEMS)],
        lambda: [works.pages()],
        works.structured_works,
        lambda: [works.fresh(20, 0.0)],
        lambda: [works.fresh(200, 0.0)],
        lambda: [works.fresh(20, 0.005, weight=4)],
        lambda: [works.plugged(3000)],
        lambda: [works.plugged(300, (PERDURE, OFFICIAL))],
        lambda: [works.map_in_batches(3000, 100, 0.005, weight=2)],
        lambda: [works.traced(1000)],
        lambda: [works.map_replay(parent_open=True, count=100)],
        lambda: [works.map_replay(parent_open=True)],
        lambda: [works.map_fresh(None, 0.005, weight=2)],
    ]
    if not quick:
        makers += [
            lambda: [works.replay_in_contexts((1,), 1000)],
            lambda: [works.replay_in_contexts((10, 10), 10)],
            lambda: [works.fresh(200, 0.005)],
            lambda: [works.map_replay(parent_open=False)],
            *(
                lambda limit=limit: [works.map_replay(parent_open=True, concurrency=limit)]  # type: ignore[misc]
                for limit in (1, 10, 100)
            ),
            *(lambda limit=limit: [works.map_fresh(limit, weight=0.5)] for limit in (1, 10, 100, None)),  # type: ignore[misc]
            lambda: [works.map_fresh(10, 0.005, weight=0.5)],
        ]
    return makers


def _keep(folder: Path, results: Results) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1)
    for name in (time.strftime("%Y%m%d-%H%M%S"), "latest"):
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


def _say(began: float, what: str) -> None:
    sys.stderr.write(f"[{time.perf_counter() - began:5.1f} s] {what}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
