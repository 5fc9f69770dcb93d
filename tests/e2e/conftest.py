"""What no test of the engine's threads may leave behind."""

from __future__ import annotations

import threading
import time
from _thread import _count
from typing import TYPE_CHECKING

import pytest

from perdure._core import hands_at_work

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """Fail a test after which there are other threads than before, once those that have nothing left to do are gone."""
    at_rest = _count()
    named = set(threading.enumerate())
    yield
    for _ in range(200):
        if _count() <= at_rest:
            break
        time.sleep(0.001)
    assert _count() == at_rest
    assert set(threading.enumerate()) == named
    assert hands_at_work() == 0
