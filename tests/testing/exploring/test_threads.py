"""The explorer waits for threads of the handler's that may answer, and keeps those of one run out of the next."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import queue
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perdure import CallbackTimeoutError, durable_execution
from perdure.local import current_service
from perdure.testing import explore
from perdure.testing._driver import Driver
from perdure.testing.exploring import environment as _scene
from perdure.testing.exploring import handler_threads as _company
from support.explored import GLOBAL, search

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.testing.explorer import Report

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
HOUR = 3_600
MOMENT = 0.02


def answer(callback_id: str, text: str = "yes") -> None:
    """Answer from outside, as one that takes a refusal for what it is: somebody has answered before."""
    client = current_service().client
    with contextlib.suppress(client.exceptions.ClientError):
        client.send_durable_execution_callback_success(CallbackId=callback_id, Result=text.encode())


def soon(callback_id: str, _: Any = None) -> None:
    threading.Timer(MOMENT, answer, [callback_id]).start()


def explore_with(handler: Any, setup: Any, **options: Any) -> Report:
    return explore(durable_execution(handler), setup=setup, orders=2, **options)


def asks(context: Any, submit: Any, name: str = "ask", **options: Any) -> str:
    try:
        return context.wait_for_callback(submit, name, **{"timeout": HOUR, **options})
    except CallbackTimeoutError:
        return "nobody"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scene, "PATIENCE", 0.3)
    monkeypatch.setattr(_company, "_LINGER", 0.1)
    monkeypatch.setattr(_company, "PATIENCE", 0.1)


@pytest.fixture
def give_up() -> Iterator[threading.Event]:
    """What threads wait for that tests leave behind."""
    event = threading.Event()
    yield event
    event.set()


# ---- threads that answer


def a_timer(_event: Any, context: Any) -> str:
    return asks(context, soon)


def a_timer_and_no_timeout(_event: Any, context: Any) -> str:
    return asks(context, soon, timeout=None)


def a_timer_meanwhile(_event: Any, context: Any) -> str:
    callback = context.create_callback("ask", timeout=HOUR)
    context.step(lambda _: soon(callback.callback_id), "tell")
    context.wait(60)
    return callback.result()


def a_thread_of_a_thread(_event: Any, context: Any) -> str:
    return asks(context, lambda callback_id, _: threading.Timer(MOMENT, soon, [callback_id]).start())


def heartbeats_before_the_answer(_event: Any, context: Any) -> str:
    def work(callback_id: str) -> None:
        client = current_service().client
        with contextlib.suppress(client.exceptions.ClientError):
            for _ in range(3):
                time.sleep(MOMENT / 4)
                client.send_durable_execution_callback_heartbeat(CallbackId=callback_id)
        answer(callback_id)

    def submit(callback_id: str, _: Any) -> None:
        threading.Thread(target=work, args=[callback_id]).start()

    return asks(context, submit, heartbeat_timeout=60)


def one_for_each_branch(_event: Any, context: Any) -> list[str]:
    def item(inner: Any, number: int, *_: Any) -> str:
        return asks(inner, lambda callback_id, _: threading.Timer(MOMENT, answer, [callback_id, f"{number}"]).start())

    return context.map(range(2), item, "map", max_concurrency=2).get_results()


@pytest.mark.parametrize(
    ("handler", "result"),
    [
        (a_timer, "yes"),
        (a_timer_and_no_timeout, "yes"),
        (a_timer_meanwhile, "yes"),
        (a_thread_of_a_thread, "yes"),
        (heartbeats_before_the_answer, "yes"),
        (one_for_each_branch, ["0", "1"]),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_thread_that_answers_is_waited_for(handler: Any, result: Any) -> None:
    report = search(handler, orders=1)
    report.assert_ok()
    assert report.complete
    assert json.loads(report.expected.result or "") == result
    assert report.left_behind == []


def test_a_pool_that_was_there_before_may_answer_too() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # its thread is there, and idle

        def work(callback_id: str) -> None:
            time.sleep(MOMENT)
            answer(callback_id)

        def handler(_event: Any, context: Any) -> str:
            return asks(context, lambda callback_id, _: pool.submit(work, callback_id) and None)

        report = search(handler)
    report.assert_ok()
    assert (report.expected.result, report.left_behind) == ('"yes"', [])


def test_a_thread_that_serves_all_runs_is_waited_for_in_all_of_them(impatient: None, give_up: threading.Event) -> None:
    todo: queue.Queue[str] = queue.Queue()
    workers: list[threading.Thread] = []

    def serve() -> None:
        while not give_up.is_set():
            with contextlib.suppress(queue.Empty):
                callback_id = todo.get(timeout=0.01)
                time.sleep(MOMENT)
                answer(callback_id)

    def submit(callback_id: str, _: Any) -> None:
        if not workers:
            workers.append(threading.Thread(target=serve, daemon=True))
            workers[0].start()
        todo.put(callback_id)

    report = search(lambda _event, context: asks(context, submit))
    report.assert_ok()
    assert report.expected.result == '"yes"'
    assert len(report.left_behind) == 1


def test_threads_of_others_are_not_waited_for(give_up: threading.Event) -> None:
    other = threading.Thread(target=give_up.wait)
    other.start()
    late: list[threading.Timer] = []

    def begin_another(*_: Any) -> None:
        late.append(threading.Timer(60, int))
        late[-1].start()

    began = time.monotonic()
    report = search(lambda _event, context: asks(context, lambda *_: None), on_progress=begin_another)
    took = time.monotonic() - began
    for timer in late:
        timer.cancel()
    report.assert_ok()
    assert report.left_behind == []
    assert took < _scene.PATIENCE * len(late) / 2
    assert "nobody answered in time" in str(report)


def test_who_did_nothing_in_the_first_run_is_waited_for_in_that_alone(
    impatient: None, give_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    runs = itertools.count(1)
    wait = Driver.wait_for_outside

    def counted(stage: Driver, *given: Any) -> bool:
        waited.append(GLOBAL["run"])
        return wait(stage, *given)

    monkeypatch.setattr(Driver, "wait_for_outside", counted)

    def handler(_event: Any, context: Any) -> list[str]:
        threading.Thread(target=give_up.wait, daemon=True).start()
        return [asks(context, lambda *_: None, "nobody"), asks(context, soon, "somebody")]

    report = explore_with(handler, lambda: GLOBAL.update(run=next(runs)))
    report.assert_ok()
    assert report.expected.result == '["nobody", "yes"]'
    assert waited.count(1) > waited.count(2) == 1
    assert report.left_behind


# ---- threads that go on when their run is over


def test_a_run_has_ended_when_its_threads_have() -> None:
    alive: list[int] = []
    timers: list[threading.Timer] = []

    def setup() -> None:
        GLOBAL["sent"] = []
        alive.append(sum(timer.is_alive() for timer in timers))

    def handler(_event: Any, context: Any) -> None:
        def post(_: Any) -> None:
            timers.append(threading.Timer(MOMENT, GLOBAL["sent"].append, ["mail"]))
            timers[-1].start()

        context.step(post, "post")

    report = explore_with(handler, setup, probe=lambda: len(GLOBAL["sent"]))
    report.assert_ok()
    assert report.expected.probe == 1
    assert (set(alive), report.left_behind) == ({0}, [])


def test_threads_that_do_not_end_are_named(impatient: None, give_up: threading.Event) -> None:
    def for_ever() -> None:
        give_up.wait()

    def again_and_again() -> None:
        if not give_up.wait(0.01):
            threading.Timer(0.0, again_and_again).start()

    def handler(_event: Any, context: Any) -> None:
        context.step(lambda _: threading.Thread(target=for_ever).start(), "one")
        context.step(lambda _: again_and_again(), "two")

    report = search(handler)
    report.assert_ok()
    assert "for_ever" in report.left_behind
    assert "still at work when the next one began, and may have reached into it: " in str(report)


@pytest.mark.parametrize("is_company", [False, True], ids=["alone", "beside a thread"])
def test_what_happens_once_beside_a_thread_that_was_left_behind_is_nothing_that_was_found(
    impatient: None, give_up: threading.Event, *, is_company: bool
) -> None:
    calls = itertools.count(1)

    def handler(_event: Any, context: Any) -> str:
        if is_company:
            threading.Thread(target=give_up.wait, daemon=True).start()
        context.step(lambda _: 1, "one")
        return "reached into" if next(calls) == 6 else "as ever"  # in a run in which the world is held

    report = search(handler)
    assert report.ok is is_company
    assert bool(report.left_behind) is is_company


def test_a_bug_is_found_beside_a_thread_that_was_left_behind(impatient: None, give_up: threading.Event) -> None:
    def handler(_event: Any, context: Any) -> int:
        threading.Thread(target=give_up.wait, daemon=True).start()
        seen: list[int] = []
        context.step(lambda _: seen.append(1), "note")
        context.step(lambda _: 1, "one")
        return len(seen)

    report = search(handler)
    assert str(report.schedule) == "crash-after:1"
    assert report.differences == ["the outcome was SUCCEEDED 1, and is SUCCEEDED 0"]
    assert "may have reached into it" in str(report)


def test_operations_of_a_thread_that_was_left_behind_are_none_of_the_next_run(impatient: None) -> None:
    go_on = threading.Event()
    threads: list[threading.Thread] = []

    def late(context: Any) -> None:
        go_on.wait()
        with contextlib.suppress(BaseException):
            context.step(lambda _: 1, "too late")

    def setup() -> None:
        if threads:
            go_on.set()
            for thread in threads:
                thread.join()

    def handler(_event: Any, context: Any) -> None:
        if not threads:
            threads.append(threading.Thread(target=late, args=[context]))
            threads[0].start()
        context.step(lambda _: 1, "one")

    report = explore_with(handler, setup)
    report.assert_ok()
    assert not report.expected.own_threads
    assert len(report.left_behind) == 1


def test_a_late_answer_of_one_exploration_is_none_in_the_next() -> None:
    asked: list[str] = []

    def handler(_event: Any, context: Any) -> str:
        return asks(context, lambda callback_id, _: asked.append(callback_id))

    search(handler, orders=1).assert_ok()
    (earlier,) = set(asked)

    def answered_late(_event: Any, context: Any) -> str:
        return asks(context, lambda *_: answer(earlier))

    report = search(answered_late, orders=1)
    report.assert_ok()
    assert report.expected.result == '"nobody"'


# ---- the example


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delenv("WAREHOUSE_QUEUE_URL", raising=False)
    module = importlib.import_module("order")
    monkeypatch.setattr(importlib.import_module("warehouse"), "PACKING_SECONDS", MOMENT)
    yield module
    for name in ("order", "warehouse"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("answers", [{}, {"dispatch": {"tracking": "PX-A-1001"}}], ids=["by a thread", "by the test"])
def test_the_order_does_the_same_whatever_goes_wrong(
    order: Any, answers: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    event = (EXAMPLES / "order.json").read_text(encoding="utf-8")
    report = explore(order.handler, input=event, answers=answers, max_schedules=25)
    report.assert_ok()
    assert report.complete
    assert json.loads(report.expected.result or "")["tracking"] == "PX-A-1001"
    assert report.left_behind == []
    assert capfd.readouterr().err == ""
