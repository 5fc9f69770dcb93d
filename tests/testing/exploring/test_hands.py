"""The explorer's threads go on one at a time, in the order that is chosen, and never wait for nothing."""

from __future__ import annotations

import itertools
import threading
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any

import pytest

from perdure.testing.exploring.hands import GivenUpError, HandLock, Hands, Patience

if TYPE_CHECKING:
    from collections.abc import Callable


def in_turn(_count: int, may_stay: bool) -> int:
    return int(may_stay)


def run(hands: Hands, *others: Callable[[], Any]) -> list[HandLock]:
    """Make the calling thread the first hand, and start the others; give what tells of their ends."""
    hands.begin()
    ends = []
    for other in others:
        done = HandLock(hands)
        done.acquire()
        hands.start(other, done)
        ends.append(done)
    return ends


def walking(hands: Hands, log: list[str], name: str, steps: int = 3) -> Callable[[], None]:
    def walk() -> None:
        for step in range(steps):
            hands.switch()
            log.append(f"{name}{step}")

    return walk


def test_hands_go_on_by_turns() -> None:
    log: list[str] = []
    hands = Hands(3, Patience(60), in_turn)
    ends = run(hands, walking(hands, log, "b"), walking(hands, log, "c"))
    walking(hands, log, "a")()
    assert log == ["a0", "b0", "c0", "a1", "b1", "c1", "a2"]
    assert all(done.acquire() for done in ends)
    assert log[-2:] == ["b2", "c2"]
    assert (hands.has_room, hands.held_up) == (True, 0)


def test_whoever_is_chosen_goes_on() -> None:
    log: list[str] = []
    picks = itertools.chain([2, 0, 0, 1], itertools.repeat(0))
    hands = Hands(3, Patience(60), lambda *_: next(picks))
    ends = run(hands, walking(hands, log, "b"), walking(hands, log, "c"))
    walking(hands, log, "a")()  # c goes on, and stays; then b, and stays until its end
    assert all(done.acquire() for done in ends)
    assert log == ["c0", "c1", "b0", "b1", "b2", "a0", "a1", "a2", "c2"]
    stays = Hands(2, Patience(60), lambda *_: 0)
    log.clear()
    (done,) = run(stays, walking(stays, log, "b"))
    walking(stays, log, "a")()
    assert done.acquire()
    assert log == ["a0", "a1", "a2", "b0", "b1", "b2"]


def test_who_waits_for_a_lock_lets_others_go_on() -> None:
    log: list[str] = []
    hands = Hands(2, Patience(60), in_turn)
    lock = HandLock(hands)

    def other() -> None:
        assert lock.locked()
        assert not lock.acquire(blocking=False)
        with lock:
            log.append("other")

    lock.acquire()
    (done,) = run(hands, other)
    hands.switch()
    log.append("first")
    lock.release()
    assert done.acquire()
    assert log == ["first", "other"]
    assert not lock.locked()


def test_a_lock_is_waited_for_no_longer_than_asked_for() -> None:
    hands = Hands(2, Patience(60), in_turn)
    lock, log = HandLock(hands), []
    lock.acquire()
    (done,) = run(hands, walking(hands, log, "b"))
    assert not lock.acquire(timeout=0)
    assert not lock.acquire(timeout=0.01)
    assert done.acquire(timeout=60)
    assert log == ["b0", "b1", "b2"]


def test_a_lock_is_a_plain_one_for_other_threads() -> None:
    hands = Hands(1, Patience(60), in_turn)
    run(hands)
    lock, log = HandLock(hands), []
    lock.acquire()
    other = threading.Thread(target=lambda: log.append(lock.acquire(timeout=60)))
    other.start()
    lock.release()
    other.join()
    assert log == [True]
    threading.Timer(0.01, lock.release).start()
    assert lock.acquire()  # nobody else can go on: it is waited for
    lock.release()
    with pytest.raises(RuntimeError):
        lock.release()


def test_a_hand_that_is_held_up_holds_nobody_up() -> None:
    log: list[str] = []
    patience = Patience(0.2)
    hands = Hands(2, patience, in_turn)
    mine = allocate_lock()

    def other() -> None:
        mine.acquire()
        log.append("other")
        hands.switch()
        log.append("back")

    mine.acquire()
    (done,) = run(hands, other)
    hands.switch()  # comes back although the other one has the turn, and waits
    log.append("first")
    mine.release()
    assert done.acquire()
    assert log == ["first", "other", "back"]
    assert (hands.held_up, patience.seconds) == (1, 0.1)


def test_closed_hands_end_wherever_they_wait() -> None:
    hands = Hands(3, Patience(60), in_turn)
    lock = HandLock(hands)
    lock.acquire()
    ends: list[Any] = [allocate_lock(), allocate_lock()]

    def waiting() -> None:
        try:
            lock.acquire()
        finally:
            ends[0].release()

    def ready() -> None:
        try:
            hands.switch()
            hands.switch()
        finally:
            ends[1].release()

    for end in ends:
        end.acquire()
    run(hands, waiting, ready)
    hands.switch()
    hands.close()
    assert all(end.acquire(timeout=60) for end in ends)
    with pytest.raises(GivenUpError):
        hands.switch()


def test_another_thread_is_no_hand() -> None:
    hands = Hands(2, Patience(60), in_turn)
    log: list[bool] = []
    run(hands)
    other = threading.Thread(target=lambda: log.append(hands.is_one(threading.get_ident()) or bool(hands.switch())))
    other.start()
    other.join()
    assert log == [False]
    assert hands.is_one(threading.get_ident())
    assert hands.ident == threading.get_ident()
