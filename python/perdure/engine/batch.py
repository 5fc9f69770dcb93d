"""The branches of map and parallel, run by the caller and by as many threads as they can use.

The core schedules (`_core.Batch`) and says who is admitted; here are the hands, which bound only how many branches run
at one moment. The caller is one of them, so a batch of concurrency 1 needs no thread, and a thread that waits for an
inner batch runs that batch's branches, so nesting cannot deadlock. A suspended branch holds no thread: its code
unwinds, and it is run again when it is due.

Branches that leave no record of their own (FLAT) are tried when their batch goes on with a record: each runs over what
is recorded, up to its end or to its first new operation. What is new must not begin before all have been tried and the
policy has judged, so they wait for that at a gate, each with its thread.

Whatever is raised here, between whichever bytecodes, nobody waits for ever: what must not fail (a thread's place given
back, those who wait woken) is done by the core, and a thread that ends with an error leaves it behind as the `loss`.
"""

from __future__ import annotations

from _thread import allocate_lock
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure._core import (
    HELD,
    MAX_THREADS,
    PASS,
    RUN,
    RUN_BRANCH,
    STARTED,
    SUSPEND,
    WAIT,
    Operation,
    while_held,
)
from perdure.engine import threads as _threads
from perdure.engine.operations.batch import Branches, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.concurrency.models import BatchResult
    from perdure.engine.contexts import Context
    from perdure.engine.invocation import Invocation


class BranchThreads(Branches):
    """The branches of one batch at work in threads."""

    __slots__ = ("_caller_wakeup", "_invocation", "_judge", "_lock", "_timer_wakeup", "_watch")

    def __init__(self, context: Context, operation: Operation, plan: Plan, names: list[str | None]) -> None:
        self._invocation: Invocation = context.invocation
        hooks = context.invocation.hooks
        self._lock = lock = allocate_lock if hooks is None else hooks.lock
        # Rung when the caller, if it waits, should look again: a binary semaphore, silent at first.
        self._caller_wakeup = lock()
        self._caller_wakeup.acquire()
        # Rung for the thread that waits for the next timer while the caller is busy, and held by that thread.
        self._timer_wakeup = lock()
        self._timer_wakeup.acquire()
        self._watch = lock()
        self._judge = lock() if plan.options.completion.should_complete else None
        super().__init__(context, operation, plan, names)

    def wakeups(self) -> tuple[Any, Any]:
        """Give those of the caller and of the thread that keeps the time."""
        return self._caller_wakeup, self._timer_wakeup

    def drive(self, is_resumed: bool) -> BatchResult[Any]:
        """Run the batch until it is done; raises when it suspends instead."""
        try:
            self.open(is_resumed)
            code, moment = self._work_as_caller()
            while code == SUSPEND and (ticket := self.context.scope.due_before_suspending()):
                self._invocation.checkpoints.wait(ticket)
                code, moment = self._work_as_caller()
        except BaseException:
            self.schedule.stop(False)
            raise
        if code == SUSPEND:
            self.context.scope.suspend(moment)
        return self.conclude(code)

    # ---- the hands

    def _work_as_caller(self) -> tuple[int, int | None]:
        next_ = self.schedule.next
        clock, core = self._invocation.clock, self._invocation.core
        while True:
            code, index, moment = next_(self.now())
            if code == RUN_BRANCH:
                self._run_branch(index, moment)
            elif code == WAIT:
                timeout = None if moment is None else clock.timeout(moment / 1000)
                core.leave()
                try:
                    self._caller_wakeup.acquire(timeout=-1 if timeout is None else timeout)
                finally:
                    core.enter()
            else:
                return code, moment

    def work(self) -> None:
        """Run branches in a thread of its own; called by the core."""
        while True:
            code, index, moment = self.schedule.next(self.now())
            if code == RUN_BRANCH:
                self._run_branch(index, moment)
            elif code != WAIT or moment is None or not self._keep_time(moment):
                break

    def _keep_time(self, moment: int) -> bool:
        """Wait until a timer is due or there are reports; False if another thread does so, or if the clock stands."""
        timeout = self._invocation.clock.timeout(moment / 1000)
        if timeout is None or not self._watch.acquire(blocking=False):
            return False
        core = self._invocation.core
        core.leave()
        try:
            self._timer_wakeup.acquire(timeout=timeout)
        finally:
            core.enter()
            self._watch.release()
        return True

    def _needs_hand(self) -> bool:
        """Whether one more thread would find something to do, if only to wait for the next timer."""
        if self.schedule.has_more(self.now()):
            return True
        due = self.schedule.due
        return due is not None and not self._watch.locked() and self._invocation.clock.timeout(due / 1000) is not None

    def _start_worker(self) -> bool:
        """Start a thread, if it would be of use and the process may have one more; tell whether one was started."""
        if self.is_rebuilding or not self._needs_hand():
            return False
        hooks = self._invocation.hooks
        start = _threads.start if hooks is None else hooks.start_thread
        return self.schedule.hire(self, MAX_THREADS, partial(start, self._invocation.threads))

    def _hold(self, index: int) -> bool:
        """Keep a branch that is tried from going on until all are counted. False if it is to unwind instead."""
        batch = self.schedule
        if not self.is_tried:
            return True
        while True:
            waiter = self._lock()
            waiter.acquire()
            batch.queue(waiter)
            self.report(partial(batch.hold, index))
            code = batch.held(index)
            if code != HELD:
                self._start_worker()
                return code == PASS
            if batch.has_more(self.now()) and not self._start_worker():
                return batch.give_way(index) == PASS
            if not batch.wait(waiter):
                return batch.give_way(index) == PASS

    # ---- one branch

    def _run_branch(self, index: int, since: int | None) -> None:
        """Run a branch and report what came of it. Never raises."""
        try:
            if since is not None:
                self._catch_up(since)
            result = self.branch(index)
        except BaseException as error:  # noqa: BLE001  reported, and the worst of it raised again in the caller's thread
            if isinstance(error, RecursionError):  # told by an assignment, since a call might find no room
                self.context.scope.is_exhausted = True
            self.raised(index, error)
        else:
            self.returned(index, result)

    def _catch_up(self, since: int) -> None:
        """Hear from the service after a moment, and know what it knows: no START of the branch is on its way twice."""
        checkpoints = self._invocation.checkpoints
        checkpoints.ask_for_news(since / 1000)
        checkpoints.wait(self._invocation.core.backlog()[1])

    def branch(self, index: int) -> Any:
        """Run a branch in a copy of the caller's variables."""
        return self.variables.copy().run(self._branch, index)

    def _branch(self, index: int) -> Any:
        if self.plan.options.flat:
            self._start_worker()
            gate = partial(self._hold, index) if self.is_tried else None
            return self.context.drive(self.flat(index, gate))
        found = self.schedule.come(index)
        if type(found) is not Operation:
            return found
        if found.decision == RUN:
            self._start_worker()
        return self.context.drive(self.nested(index, found))

    def report(self, change: Callable[[], int]) -> int:
        """Change the schedule, one thread at a time if there is a predicate to ask."""
        calls = change() if self._judge is None else while_held(self._judge, self.answered, change)
        if calls & STARTED:
            self._invocation.checkpoints.watch()
        return calls
