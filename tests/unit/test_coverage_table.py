"""`make coverage`: what its table says of traces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
STEP, IDS, CONTEXT = "python/perdure/engine/operations/step.py", "rust/core/src/id.rs", "python/perdure/context.py"


def trace(path: Path, **files: dict[int, int]) -> Path:
    lines = (
        [f"SF:{name}", *(f"DA:{number},{count}" for number, count in counts.items()), "end_of_record"]
        for name, counts in files.items()
    )
    path.write_text("\n".join(line for record in lines for line in record))
    return path


def printed(*arguments: str | Path) -> tuple[int, list[str]]:
    command = [sys.executable, REPOSITORY / "tests" / "coverage_table.py", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not ran.stderr
    return ran.returncode, ran.stdout.splitlines()


def test_python_and_rust_are_in_one_table(tmp_path: Path) -> None:
    python = trace(tmp_path / "python", **{STEP: {1: 1, 2: 0}, CONTEXT: {1: 7}})
    rust = trace(tmp_path / "rust", **{str(REPOSITORY / IDS): {3: 1, 4: 2, 5: 0}, "/elsewhere/lib.rs": {1: 0}})
    code, lines = printed(rust, python)
    assert code == 0
    assert [line.split() for line in lines] == [
        ["python/perdure/", "1", "lines", "100.0", "%"],
        ["python/perdure/engine/", "2", "lines", "50.0", "%"],
        ["rust/core/src/", "3", "lines", "66.7", "%"],
        ["Python", "3", "lines", "66.7", "%"],
        ["Rust", "3", "lines", "66.7", "%"],
        ["the", "engine", "5", "lines", "60.0", "%"],
        ["all", "6", "lines", "66.7", "%"],
    ]


def test_a_file_of_the_engine_below_the_floor_is_named_with_its_lines_and_fails(tmp_path: Path) -> None:
    counts = {number: int(number not in {3, 7, 8, 9}) for number in range(1, 21)}
    path = trace(tmp_path / "trace", **{IDS: counts, CONTEXT: {1: 0}})
    assert printed("--floor", "80", path)[0] == 0
    code, lines = printed("--floor", "80.1", path)
    assert (code, lines[-1]) == (1, f"{IDS}: 80.0 %, not reached: 3, 7-9")
    assert not any(line.startswith(CONTEXT) for line in lines)


def test_a_line_is_reached_that_one_of_the_traces_reached(tmp_path: Path) -> None:
    one, other = trace(tmp_path / "one", **{IDS: {1: 1, 2: 0}}), trace(tmp_path / "other", **{IDS: {1: 0, 2: 1}})
    assert printed("--floor", "100", one, other)[0] == 0
