"""The explorer gives up what hangs, stays within its bounds, and runs the schedule that is asked for."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.engine.operations import condition, step
from perdure.testing import ExplorationError, explore
from perdure.testing.explorer import Schedule
from support.explored import GLOBAL, batches, polling, search

# ---- runs that do not come back


def explorers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "perdure explorer"]


def patched() -> list[Any]:
    return [step.run, condition.run, DurableContext.step]


def test_a_run_that_hangs_ends_the_exploration_and_shows_where() -> None:
    before, lock = patched(), threading.Lock()

    def handler(_event: Any, context: Any) -> None:
        lock.acquire()
        context.step(lambda _: 1, "one")
        lock.release()  # not after a crash

    report = search(handler, trial_limit=0.5)
    assert not report.ok
    assert str(report.schedule) == "crash-after:1"
    assert "it had not come to its end after 0.5 s, and was here:" in report.differences[0]
    assert "lock.acquire()" in report.differences[0]
    assert "perdure/operations" not in report.differences[0]
    assert "└─ one  Step  SUCCEEDED" in str(report).partition("under crash-after:1: RUNNING")[2]
    assert patched() == before
    lock.release()
    search(batches, 2).assert_ok()


def test_a_loop_without_end_is_ended() -> None:
    def handler(_event: Any, context: Any) -> None:
        GLOBAL["count"] += 1
        context.step(lambda _: 1, "one")
        while GLOBAL["count"] > 1:
            pass

    report = search(handler, trial_limit=0.5)
    assert str(report.schedule) == "crash-after:1"
    assert "in handler" in str(report)
    assert not explorers()


def test_a_handler_that_goes_on_whatever_is_raised_is_found_to_hang() -> None:
    give_up = threading.Event()

    def handler(_event: Any, context: Any) -> str:
        while not give_up.is_set():
            with contextlib.suppress(BaseException):
                context.wait(5)
                return "waited"
        return "gave up"

    try:
        report = search(handler, trial_limit=0.5)
    finally:
        give_up.set()
    assert "the undisturbed run had not come to its end after 0.5 s (trial_limit)" in (report.unfit or "")
    assert "in handler" in str(report)


def test_an_undisturbed_run_that_hangs_is_unfit() -> None:
    go_on = threading.Event()
    try:
        report = search(lambda _event, context: context.step(lambda _: go_on.wait(60), "wait"), trial_limit=0.2)
        assert report.schedule is None
        assert "the undisturbed run had not come to its end after 0.2 s" in (report.unfit or "")
        assert "go_on.wait(60)" in str(report)
        alone = search(lambda _event, _context: go_on.wait(60), trial_limit=0.2, schedule="crash-after:1")
        assert "the undisturbed run had not come to its end" in (alone.unfit or "")
    finally:
        go_on.set()


def test_what_is_left_of_the_time_bounds_a_run_that_hangs() -> None:
    go_on = threading.Event()

    def handler(_event: Any, context: Any) -> None:
        GLOBAL["count"] += 1
        context.step(lambda _: 1, "one")
        if GLOBAL["count"] > 1:
            go_on.wait(60)

    began = time.monotonic()
    try:
        report = search(handler, time_limit=0.1)
    finally:
        go_on.set()
    assert time.monotonic() - began < 20
    assert str(report.schedule) == "crash-after:1"


def test_an_interrupt_comes_through_at_once_and_leaves_nothing_patched() -> None:
    before, go_on, hangs = patched(), threading.Event(), threading.Event()

    def handler(_event: Any, context: Any) -> None:
        context.step(lambda _: (hangs.set(), go_on.wait(60)), "wait")

    def interrupt() -> None:
        assert hangs.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    handled = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    began = time.monotonic()
    other = threading.Thread(target=interrupt)
    try:
        other.start()
        with pytest.raises(KeyboardInterrupt):
            search(handler)
    finally:
        other.join()
        signal.signal(signal.SIGINT, handled)
        go_on.set()
    assert time.monotonic() - began < 20
    assert patched() == before
    search(polling).assert_ok()


def test_what_is_raised_around_a_run_is_raised() -> None:
    def fails() -> None:
        raise OSError("cannot be put back")

    with pytest.raises(OSError, match="cannot be put back"):
        explore(durable_execution(polling), setup=fails)
    with pytest.raises(OSError, match="cannot be put back"):
        explore(durable_execution(polling), probe=fails)
    settle = time.monotonic() + 10
    while explorers() and time.monotonic() < settle:
        time.sleep(0.01)
    assert not explorers()


def test_all_runs_are_made_in_one_thread() -> None:
    threads = set()
    search(
        lambda _event, context: context.step(lambda _: threads.add(threading.get_ident())), probe=threading.get_ident
    )
    assert len(threads) == 1
    assert threading.get_ident() not in threads


# ---- one schedule alone


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("crash-after:99", "the undisturbed run makes 1 API call"),
        ("crash-before:2", "the undisturbed run makes 1 API call"),
        ("lost:0", "the undisturbed run makes 1 API call"),
        ("late:7", "the undisturbed run makes 1 API call"),
        ("order:1", "there never was more than one branch to go on with"),
    ],
)
def test_a_schedule_that_does_not_come_about_is_not_ok(schedule: str, why: str) -> None:
    report = search(lambda _event, context: context.step(lambda _: 1), schedule=schedule)
    assert not report
    assert report.unfit == f"{schedule} did not come about: {why}"
    with pytest.raises(ExplorationError, match="did not come about"):
        report.assert_ok()


@pytest.mark.parametrize("schedule", ["undisturbed", "crash-after:1", "crash-before:2", "lost:2", "late:1", "order:1"])
def test_a_schedule_that_comes_about_is_ok(schedule: str) -> None:
    search(batches, 3, schedule=schedule).assert_ok()


# ---- bounds


def test_the_schedule_found_is_the_smallest_of_its_kind_even_if_many_were_left_out() -> None:
    def handler(_event: Any, context: Any) -> list[int]:
        seen: list[int] = []
        for number in range(20):
            context.step(lambda _, number=number: seen.append(number) if number > 9 else None, f"step-{number}")
        return seen

    for most in (2_000, 30, 7, 3):
        found = search(handler, max_schedules=most).schedule
        assert found is not None
        assert found.at == {"crash-after": 11, "late": 11, "lost": 0, "crash-before": 12}[found.kind]


def test_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    search(polling, progress=True).assert_ok()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    search(polling, progress=True).assert_ok()
    out, err = capsys.readouterr()
    assert out == ""
    assert "crash-after:1" in err or "/" in err


def test_progress_is_a_line_where_rich_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    search(polling, progress=True).assert_ok()
    out, err = capsys.readouterr()
    assert out == ""
    assert "schedules, now crash-after:1" in err
    assert err.endswith("\r\x1b[K")


def test_time_and_count_are_bounded_and_progress_is_told() -> None:
    told: list[tuple[int, int, str]] = []
    report = search(batches, 8, max_schedules=5, on_progress=lambda *now: told.append((now[0], now[1], str(now[2]))))
    assert report.ok
    assert [each[0] for each in told] == [0, 1, 2, 3, 4]
    assert (told[0], report.tried, report.planned) == ((0, 5, "undisturbed"), 5, 5)
    report = search(batches, 4, time_limit=0)
    assert (report.ok, report.tried) == (False, 0)


@pytest.mark.parametrize("text", ["undisturbed", "crash-before:3", "crash-after:12", "lost:1", "late:9", "order:7/3"])
def test_a_schedule_reads_back_from_its_text(text: str) -> None:
    assert str(Schedule.parse(text)) == text


@pytest.mark.parametrize("text", ["", "crash:1", "lost", "lost:x", "order:1/x", "order:"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no schedule"):
        Schedule.parse(text)
