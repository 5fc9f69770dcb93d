"""A service on a file, whose end closes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.raw import Life

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    with Life(tmp_path / "executions.db") as life:
        yield life
