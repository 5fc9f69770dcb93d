"""The page *wire* in small: whether it still runs, and says what it must. `table.py` measures with it."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import pytest

from wire import page, report

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform != "linux" or sys.version_info >= (3, 15):
    pytest.importorskip("awslambdaric", reason="AWS has wheels of its runtime client for Linux and CPython 3.9 to 3.14")


def test_the_page_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def no_quota(_share: float) -> Iterator[str]:
        yield "this is a test"

    monkeypatch.setattr(page, "quota", no_quota)
    small = [page.Work(work.key, work.title, _few(work), 1, work.tls, work.paged) for work in page.WORKS]
    monkeypatch.setattr(page, "WORKS", small)
    said: list[str] = []
    wire = page.page(page.Effort(warm=1, starts=1, small=1), said.append)
    assert len(said) == len(small) + 2
    text = report.summary({"wire": wire})
    assert "Not measured with 7% of a CPU: this is a test" in text
    assert all(work.title in text for work in small)
    bars = report.bars({"wire": wire})
    assert len(bars) == 7
    assert all(bar.measured is not None for bar in bars)


def _few(work: page.Work) -> dict[str, int]:
    return {kind: min(count, 5) for kind, count in work.given.items()}
