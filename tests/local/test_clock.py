"""Clocks: milliseconds, jumps, and how long to block."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Condition

import pytest

from perdure.local import RealClock, VirtualClock
from perdure.local.machine.clock import DEFAULT_START, from_millis, to_millis, to_seconds


def test_milliseconds_survive_the_round_trip() -> None:
    for millis in (0, 1, 1_767_225_600_001, 99_999_999_999_999):
        assert to_millis(from_millis(millis)) == millis
    assert to_seconds(from_millis(1500)) == 1.5


def test_a_virtual_clock_stands_still_and_jumps_forward_only() -> None:
    clock = VirtualClock()
    assert clock.now() == clock.now() == DEFAULT_START
    clock.advance(1.5)
    assert clock.time() == to_seconds(DEFAULT_START) + 1.5
    clock.advance_to(DEFAULT_START)
    assert clock.now() == DEFAULT_START + timedelta(seconds=1.5)
    wake = Condition()
    with wake:
        clock.sleep_until(DEFAULT_START + timedelta(days=1), wake)
    assert clock.now() == DEFAULT_START + timedelta(days=1)


def test_a_virtual_clock_starts_where_it_is_told() -> None:
    start = datetime(2030, 5, 6, 7, 8, 9, 123_999, tzinfo=UTC)
    assert VirtualClock(start).now() == start.replace(microsecond=123_000)
    with pytest.raises(ValueError, match="tzinfo"):
        VirtualClock(datetime(2030, 1, 1))  # noqa: DTZ001 - that is the mistake


def test_waiting_does_not_move_a_virtual_clock() -> None:
    clock = VirtualClock()
    assert clock.timeout(clock.time() + 1) is None
    assert clock.timeout(clock.time()) == 0.0


def test_a_real_clock_tells_how_long_to_block() -> None:
    clock = RealClock()
    assert clock.now().microsecond % 1000 == 0
    assert abs(to_seconds(clock.now()) - clock.time()) < 5
    assert clock.timeout(clock.time() - 1) == 0.0
    remaining = clock.timeout(clock.time() + 100)
    assert remaining is not None
    assert 90 < remaining <= 100
