"""The hands of a run: threads of which one goes on at a time, so that how branches meet is a choice, and no chance.

Whoever has the turn keeps it until it comes to an operation, waits for a lock of the engine's, or ends. The lock of a
handler's own may keep a hand from coming to either: then, after a while, another one goes on beside it.
"""

from __future__ import annotations

import threading
from _thread import allocate_lock, get_ident, start_new_thread
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perdure.engine import threads as _threads
from perdure.engine.time_left import steady
from perdure.local.foreign_threads import frame_of

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST_PATIENCE = 0.1


@dataclass
class Patience:
    """How many seconds nothing moves until the hand that has the turn counts as held up: fewer each time that one was.

    Else hundreds of runs would add up, in which branches wait for a lock of the handler's.
    """

    seconds: float = 1.0

    def lose(self) -> None:
        """Take that it was needed."""
        self.seconds = max(_LEAST_PATIENCE, self.seconds / 2)


class GivenUpError(BaseException):
    """The run was given up: whatever a hand does ends here."""


class _Hand:
    __slots__ = ("ident", "lock", "turn")

    def __init__(self) -> None:
        self.ident = 0
        self.turn = allocate_lock()
        self.turn.acquire()
        self.lock: HandLock | None = None
        """What it waits for."""


class Hands:
    """Threads that take turns.

    Args:
        most: How many there are at most.
        patience: With those that do not come to where they would give their turn away.
        choose: Chooses one of so many that may go on, those first that have waited longest; and is told whether the
            very first is the one that has the turn.

    """

    def __init__(self, most: int, patience: Patience, choose: Callable[[int, bool], int]) -> None:
        self.most = most
        self.held_up = 0
        """How often a hand was held up by something that is not the engine's, and another went on beside it."""
        self._patience = patience
        self._choose = choose
        self._mutex = threading.Lock()
        self._hands: dict[int, _Hand] = {}
        self._ready: list[_Hand] = []
        self._waiting: list[_Hand] = []
        self._holder: _Hand | None = None
        self._away: list[_Hand] = []
        self._moves = 0
        self._count = 0
        self._is_closed = False

    def begin(self) -> None:
        """Make the calling thread the first hand."""
        hand = _Hand()
        hand.ident = get_ident()
        self._hands[hand.ident] = self._holder = hand
        self._count = 1

    @property
    def has_room(self) -> bool:
        """Whether there may be one more."""
        return self._count < self.most

    @property
    def ident(self) -> int:
        """The thread that goes on, or that was held up and never came back."""
        at_work = [*self._away, *([self._holder] if self._holder is not None else [])]
        return next((hand.ident for hand in at_work if hand.ident), 0) or next(iter(self._hands), 0)

    def is_one(self, ident: int) -> bool:
        """Tell whether a thread is a hand."""
        return ident in self._hands

    def start(self, function: Callable[[], Any], done: HandLock) -> None:
        """Start another hand, which waits for its turn.

        Args:
            function: What it does.
            done: A held lock, which is released when it has ended.

        """
        hand = _Hand()

        def run() -> None:
            hand.ident = get_ident()
            try:
                self._take_turn(hand)
                self._hands[hand.ident] = hand
                function()
            except GivenUpError:
                pass
            finally:
                _threads.forget()  # as the engine's own threads do
                done.release()  # while it has the turn: who waits for it goes on after it, and not beside it
                self._end(hand)

        with self._mutex:
            self._count += 1
            self._ready.append(hand)
        try:
            start_new_thread(run, ())
        except RuntimeError:  # the system has no more threads
            with self._mutex:
                self._count -= 1
                self._ready.remove(hand)
            raise

    def switch(self) -> None:
        """Let another hand go on, or not, as is chosen."""
        me = self._hands.get(get_ident())
        if me is None:
            return
        self._come_back(me)
        with self._mutex:
            self._moves += 1
            chosen = self._choose(len(self._ready) + 1, True) if self._ready else 0
            if not chosen:
                return
            other = self._ready.pop(chosen - 1)
            self._ready.append(me)
            self._give(other)
        self._take_turn(me)

    def wait_for(self, lock: HandLock, timeout: float) -> bool:
        """Let others go on until a lock is released; tells whether that has come within so many seconds."""
        me = self._hands[get_ident()]
        self._come_back(me)
        with self._mutex:
            self._moves += 1
            if not lock.locked():  # another thread has just released it
                return True
            me.lock = lock
            self._waiting.append(me)
            self._pass_on(me)
        if self._take_turn(me, None if timeout < 0 else steady() + timeout):
            return True
        with self._mutex:
            me.lock = None
            self._waiting.remove(me)
            self._line_up(me)
        self._take_turn(me)
        return False

    def released(self, lock: HandLock) -> None:
        """Take that a lock was released: those who wait for it may go on."""
        with self._mutex:
            self._moves += 1
            for hand in [hand for hand in self._waiting if hand.lock is lock]:
                self._waiting.remove(hand)
                hand.lock = None
                self._line_up(hand)

    def close(self) -> None:
        """End all hands wherever they wait."""
        with self._mutex:
            self._is_closed = True
            for hand in [*self._ready, *self._waiting]:
                if hand.turn.locked():  # one that an exception took away from where it waited may be here twice
                    hand.turn.release()
            self._ready.clear()
            self._waiting.clear()

    def _check(self) -> None:
        if self._is_closed:
            raise GivenUpError

    def _give(self, hand: _Hand) -> None:
        self._moves += 1
        self._holder = hand
        hand.turn.release()

    def _pass_on(self, me: _Hand) -> None:
        """Give the turn to another that may go on, if there is one and this hand has it."""
        if self._holder is not me:
            return
        self._holder = None
        if self._ready:
            self._give(self._ready.pop(self._choose(len(self._ready), False) if len(self._ready) > 1 else 0))

    def _line_up(self, hand: _Hand) -> None:
        """Let a hand wait for its turn, or have it if nobody has."""
        self._ready.append(hand)
        if self._holder is None:
            self._give(self._ready.pop(0))

    def _take_turn(self, me: _Hand, until: float | None = None) -> bool:
        """Wait for the turn; after a while in which nothing moves, take it. False if a lock is not released in time."""
        before: Any = None
        while not me.turn.acquire(timeout=self._patience.seconds if until is None else max(0.0, until - steady())):
            with self._mutex:
                if until is not None and me in self._waiting:
                    return False
                until = None
                now = self._moves, self._place()
                if self._ready[:1] == [me] and now == before:
                    self._take_over(me)
                    return True
                before = now
        self._check()
        return True

    def _place(self) -> Any:
        """Tell where the hand that has the turn is: it is held up if it does not move from there."""
        frame = frame_of(self._holder.ident) if self._holder is not None else None
        return frame, frame.f_lasti if frame is not None else None

    def _take_over(self, me: _Hand) -> None:
        self.held_up += 1
        self._patience.lose()
        if self._holder is not None:
            self._away.append(self._holder)
        self._ready.remove(me)
        self._holder = me

    def _come_back(self, me: _Hand) -> None:
        """Wait for the turn, if another has taken it meanwhile."""
        self._check()
        with self._mutex:
            if self._holder is me:
                return
            if me in self._away:
                self._away.remove(me)
            self._line_up(me)
        self._take_turn(me)

    def _end(self, me: _Hand) -> None:
        with self._mutex:
            self._count -= 1
            if me in self._away:
                self._away.remove(me)
            self._hands.pop(me.ident, None)
            self._pass_on(me)


class HandLock:
    """A lock of the engine's: a hand that waits for it lets the others go on. It is a plain one for other threads."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._lock = allocate_lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it."""
        if not self._hands.is_one(get_ident()):
            return self._lock.acquire(blocking, timeout)
        while not self._lock.acquire(blocking=False):
            if not blocking or not self._hands.wait_for(self, timeout):
                return False
        return True

    def release(self) -> None:
        """Give it back."""
        self._lock.release()
        self._hands.released(self)

    def locked(self) -> bool:
        """Tell whether somebody has it."""
        return self._lock.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
