"""The thread for what may never return: given up, it ends in silence, and nobody else is interrupted in its place."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest

from perdure.testing.exploring import watchdog
from perdure.testing.exploring.watchdog import StuckError, Worker

LIMIT = 20.0


def of(worker: Worker) -> threading.Thread:
    thread: Any = worker._thread
    return thread


def test_a_worker_does_one_task_after_another() -> None:
    worker = Worker()
    assert [worker.do(lambda n=n: (n, threading.get_ident()), LIMIT) for n in range(2)] == [
        (0, of(worker).ident),
        (1, of(worker).ident),
    ]
    with pytest.raises(LookupError, match="no"):
        worker.do(lambda: {}["no"], LIMIT)
    worker.close()
    of(worker).join(LIMIT)
    assert not of(worker).is_alive()


def test_what_does_not_return_is_told_of_and_given_up() -> None:
    ended: list[str] = []

    def stuck() -> None:
        try:
            while True:
                time.sleep(0.001)
        finally:
            ended.append("interrupted")

    worker = Worker()
    with pytest.raises(StuckError) as told:
        worker.do(stuck, 0.2)
    assert "time.sleep(0.001)" in told.value.where
    of(worker).join(LIMIT)
    assert ended == ["interrupted"]


def test_a_thread_that_has_the_number_of_one_that_ended_is_not_interrupted() -> None:
    worker = Worker()
    worker.close()
    of(worker).join(LIMIT)
    outcome: list[str] = []
    go = threading.Event()

    def other() -> None:
        try:
            assert go.wait(LIMIT)
            for _ in range(1000):
                pass
            outcome.append("undisturbed")
        except KeyboardInterrupt:
            outcome.append("interrupted")

    thread = threading.Thread(target=other)
    thread.start()  # systems give the number again at once
    worker.give_up()
    go.set()
    thread.join(LIMIT)
    assert outcome == ["undisturbed"]


@pytest.mark.parametrize("lines", range(1, 20))
def test_given_up_at_any_line_a_worker_ends_in_silence(lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits has lost patience when the task returns, or a few lines later."""
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    worker = Worker()
    impatient = threading.Thread(target=worker.give_up)
    count = 0

    def traced(frame: Any, _event: str, _argument: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename != watchdog.__file__:
            return None
        count += 1
        if count == lines:
            impatient.start()
            impatient.join(0.02)  # it may be that it waits for this thread
        return traced

    def task() -> None:
        sys._getframe(1).f_trace = traced
        sys.settrace(traced)

    worker._tasks.put(task)
    worker.close()
    of(worker).join(LIMIT)
    assert not of(worker).is_alive()
    if impatient.ident is not None:
        impatient.join(LIMIT)
        assert not impatient.is_alive()
    assert told == []
    assert (impatient.ident is not None) == (lines <= count)


@pytest.mark.parametrize("is_given_up", [False, True])
def test_what_ended_leaves_no_interrupt_behind_that_traced_threads_would_wait_for(is_given_up: bool) -> None:
    """On CPython 3.11 they would not come past their first instruction, for ever."""
    worker = Worker()
    worker.do(lambda: None, LIMIT)
    (worker.give_up if is_given_up else worker.close)()
    of(worker).join(LIMIT)
    before = threading.gettrace()
    threading.settrace(lambda *_: None)
    try:
        traced = threading.Thread(target=lambda: None, daemon=True)
        traced.start()
        traced.join(LIMIT)
    finally:
        threading.settrace(before)  # type: ignore[arg-type]
    assert not traced.is_alive()
