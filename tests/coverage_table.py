"""Puts what the tests reach, of Python and of Rust, into one table: `make coverage`.

    python tests/coverage_table.py --floor 95 rust.info python.info

Each file is a trace of lines as lcov has it. Names of the engine's files below the floor, with the lines that no test
reached, come after the table, and then the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
ENGINE = ("python/perdure/engine/", "python/perdure/aio/", "rust/core/")
DEPTH = 3  # folders: python/perdure/engine, rust/core/src


class Lines(NamedTuple):
    """How many lines there are, and how many were reached."""

    total: int
    reached: int

    @property
    def share(self) -> float:
        return 100 * self.reached / self.total if self.total else 100.0


def traced(*paths: Path) -> dict[str, dict[int, int]]:
    """Read traces: how often each line of each file was reached."""
    files: dict[str, dict[int, int]] = defaultdict(dict)
    name = ""
    for line in (line for path in paths for line in path.read_text().splitlines()):
        kind, _, rest = line.partition(":")
        if kind == "SF":
            source = (REPOSITORY / rest).resolve()
            name = source.relative_to(REPOSITORY).as_posix() if source.is_relative_to(REPOSITORY) else ""
        elif kind == "DA" and name:
            number, count = map(int, rest.split(",")[:2])
            files[name][number] = files[name].get(number, 0) + count
    return files


def counted(files: dict[str, dict[int, int]], *starts: str) -> Lines:
    """Add up the files whose names start so."""
    counts = [count for name, lines in files.items() if name.startswith(starts) for count in lines.values()]
    return Lines(len(counts), sum(count > 0 for count in counts))


def missed(lines: dict[int, int]) -> str:
    """Name the lines that were not reached: 3, 7-9."""
    numbers = sorted(number for number, count in lines.items() if not count)
    runs = groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ends = ((run[0][1], run[-1][1]) for run in (list(run) for _, run in runs))
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ends)


def table(files: dict[str, dict[int, int]]) -> list[str]:
    """Give a row for each folder, each language, and all."""
    folders = sorted({"/".join(name.split("/")[:-1][:DEPTH]) + "/" for name in files})
    rows = [
        (folder, counted({name: files[name] for name in files if belongs(name, folder, folders)}, ""))
        for folder in folders
    ]
    rows += [
        ("Python", counted(files, "python/")),
        ("Rust", counted(files, "rust/")),
        ("the engine", counted(files, *ENGINE)),
        ("all", counted(files, "")),
    ]
    return [f"{name:34} {lines.total:7,} lines {lines.share:6.1f} %" for name, lines in rows]


def belongs(name: str, folder: str, folders: list[str]) -> bool:
    """Tell whether of the folders this one is the innermost that a file is in."""
    return folder == max((other for other in folders if name.startswith(other)), key=len)


def main() -> int:
    parser = argparse.ArgumentParser(description="What the tests reach, of Python and of Rust.")
    parser.add_argument("traces", nargs="+", type=Path)
    parser.add_argument(
        "--floor", type=float, default=0.0, help="the least share of lines of a file of the engine, in percent"
    )
    asked = parser.parse_args()
    files = traced(*asked.traces)
    print("\n".join(table(files)))
    poor = {
        name: lines
        for name, lines in sorted(files.items())
        if name.startswith(ENGINE) and counted({name: lines}, "").share < asked.floor
    }
    for name, lines in poor.items():
        print(f"{name}: {counted({name: lines}, '').share:.1f} %, not reached: {missed(lines)}")
    return 1 if poor else 0


if __name__ == "__main__":
    sys.exit(main())
