"""What a run measured, as plain data: kept as JSON, read by the bars and by the tables."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peers.processes import Process
    from peers.race import Samples, Work

Results = dict[str, Any]

LARGEST_RELEASE = 4_000_000
"""Bytes: an unoptimised extension is larger, one for release has a quarter of it."""

MEASURED = {
    "perdure": "perdure",
    "official": "aws-durable-execution-sdk-python",
    "boto3": "boto3",
    "orjson": "orjson",
}


def machine() -> Results:
    """Say where this runs."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
        "load": _load(),
        "versions": {name: version(package) for name, package in MEASURED.items()},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def of_work(work: Work, samples: dict[str, Samples], parse: float | None) -> Results:
    """Give one work's figures."""
    return {
        "title": work.title,
        "operations": work.operations,
        "event_bytes": None if work.event_text is None else len(work.event_text),
        "parse": parse,
        "contenders": {
            name: {
                "median": found.median,
                "min": found.minimum,
                "rounds": len(found.seconds),
                "calls": found.calls,
            }
            for name, found in samples.items()
        },
    }


def of_processes(found: dict[str, Process]) -> Results:
    """Give the figures of the fresh processes."""
    from statistics import median  # noqa: PLC0415

    return {
        name: {
            "import_median": process.median,
            "import_min": process.minimum,
            "rounds": len(process.seconds),
            "boto3": process.boto3,
            "imported_kib": median(process.imported),
            "replayed_kib": median(process.replayed),
        }
        for name, process in found.items()
    }


def seconds(results: Results, work: str, contender: str) -> float | None:
    """Give the median of a contender in a work; None if it was not measured."""
    found = results["works"].get(work, {}).get("contenders", {}).get(contender)
    return None if found is None else found["median"]


def fastest(results: Results, work: str, contender: str) -> float | None:
    """Give the minimum of a contender in a work, which other load disturbs least; None if it was not measured."""
    found = results["works"].get(work, {}).get("contenders", {}).get(contender)
    return None if found is None else found["min"]


def ratio(results: Results, work: str, contender: str) -> float | None:
    """Give how many times as long as perdure a contender takes."""
    ours, theirs = seconds(results, work, "perdure"), seconds(results, work, contender)
    return None if ours is None or theirs is None else theirs / ours


def difference(results: Results, less: str, more: str, contender: str) -> float | None:
    """Give what one more operation costs, from two works that differ only in how many they have."""
    one, other = seconds(results, less, contender), seconds(results, more, contender)
    if one is None or other is None:
        return None
    works = results["works"]
    return (other - one) / (works[more]["operations"] - works[less]["operations"])


def warn_of_debug() -> None:
    """Say so when an unoptimised extension is about to be measured."""
    from perdure import _core  # noqa: PLC0415

    if Path(str(_core.__file__)).stat().st_size > LARGEST_RELEASE:
        sys.stderr.write(f"{_core.__file__} looks like a debug build: `make bench` builds for release.\n")
