"""How far an exploration is, on standard error. A bar where rich is installed, a line elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from perdure.testing.exploring.schedule import Schedule

    Progress = Callable[[int, int, Schedule], None]


@contextmanager
def shown() -> Iterator[Progress | None]:
    """Show progress while the block runs; not at all unless standard error is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console  # noqa: PLC0415  may not be installed
    except ModuleNotFoundError:
        with _line() as told:
            yield told
    else:
        with bar(Console(stderr=True)) as told:
            yield told


@contextmanager
def bar(console: Console) -> Iterator[Progress]:
    """Draw a bar on a terminal."""
    from rich import progress  # noqa: PLC0415  may not be installed

    columns = (
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.description}"),
    )
    with progress.Progress(*columns, console=console, transient=True) as drawing:
        task = drawing.add_task("undisturbed", total=None)

        def told(done: int, planned: int, schedule: Schedule) -> None:
            drawing.update(task, completed=done, total=planned, description=str(schedule))

        yield told


@contextmanager
def _line() -> Iterator[Progress]:
    def told(done: int, planned: int, schedule: Schedule) -> None:
        sys.stderr.write(f"\r\x1b[K{done} of {planned} schedules, now {schedule}")
        sys.stderr.flush()

    try:
        yield told
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
