"""Background workers: what a served service has instead of a caller who drives it.

One thread watches the schedule; each invocation and each call of a plain function gets a thread of its own, up to a
limit. The threads are daemons: a handler that never returns does not keep the process from ending, and what it had
checkpointed is kept.
"""

from __future__ import annotations

import threading
from math import inf
from typing import TYPE_CHECKING

from perdure._log import Log
from perdure.engine.time_left import steady
from perdure.local.calls import Call
from perdure.local.machine.clock import to_seconds
from perdure.local.store import StoreError

if TYPE_CHECKING:
    from datetime import datetime

    from perdure.local.driver import Driver, Turn
    from perdure.local.executions import Executions
    from perdure.local.handle import ExecutionHandle
    from perdure.local.machine.schedule import Moment
    from perdure.local.shared import Shared

_LOG = Log("perdure.local")
_PAUSE_AFTER_TROUBLE = 1.0
_GLANCE = 0.2


class Workers:
    """The threads that run a service's functions until `stop`."""

    def __init__(self, shared: Shared, executions: Executions, driver: Driver, limit: int) -> None:
        self._shared = shared
        self._executions = executions
        self._driver = driver
        self._limit = limit
        self._stopping = False
        self._in_trouble = False  # a function could not be run: before the next one, see whether the store works
        self._told = ""  # what is in the way, and has been logged
        self._watcher = threading.Thread(target=self._watch, name="perdure-watcher", daemon=True)

    @property
    def busy(self) -> int:
        """How many functions run now."""
        return self._driver.busy

    def start(self) -> None:
        """Start to work."""
        self._driver.is_served = True
        self._watcher.start()

    def stop(self, grace: float) -> bool:
        """Begin nothing more, and wait for what runs, up to `grace` seconds; tell whether all of it came to its end."""
        shared, deadline = self._shared, steady() + grace
        with shared.wake:
            self._stopping = True
            self._driver.call_off()
            shared.wake.notify_all()
            while self._driver.busy and (left := deadline - steady()) > 0:
                shared.wake.wait(min(left, _GLANCE))  # an interrupt that another thread was given is seen in between
            idle = self._driver.idle
        self._watcher.join(max(0.0, deadline - steady()) + 1.0)
        return idle

    def _watch(self) -> None:
        shared, executions, driver = self._shared, self._executions, self._driver
        with shared.wake:
            while not self._stopping:
                try:
                    driver.fire()
                    driver.give_up_late()
                    if self._in_trouble:
                        executions.commit()
                        self._in_trouble = False
                    if driver.busy < self._limit and (job := driver.next_job()) is not None:
                        self._hand_out(job)
                        continue
                    if executions.commit():
                        continue  # while it was written, something may have come
                    moment = executions.schedule.next_moment()
                    if moment is not None and self._may_skip(*moment):
                        driver.pass_time(moment[0])
                        continue
                    self._told = ""
                    self._rest(moment)
                except Exception as problem:  # noqa: BLE001 - whatever it is, the others go on
                    self._complain("The local service could not go on; it tries again.", problem)
                    shared.wake.wait(_PAUSE_AFTER_TROUBLE)

    def _may_skip(self, moment: datetime, what: str) -> bool:
        """Tell whether time jumps to a moment: while nothing runs, and where the clock goes on, at nobody's cost."""
        shared, driver = self._shared, self._driver
        if not shared.clock.virtual or driver.busy:
            return False
        return shared.clock.timeout(to_seconds(moment)) is None or not driver.is_for_the_outside(what)

    def _rest(self, moment: Moment | None) -> None:
        """Wait until something happens, a moment comes, or a function is to be given up."""
        wait = self._driver.next_deadline() - steady()
        comes_in = None if moment is None else self._shared.clock.timeout(to_seconds(moment[0]))
        wait = wait if comes_in is None else min(wait, comes_in)
        self._shared.wake.wait(None if wait == inf else min(wait, threading.TIMEOUT_MAX))

    def _complain(self, what: str, problem: Exception) -> None:
        """Log what is in the way, once for as long as it is."""
        why = f"{type(problem)} {problem}"
        if why == self._told:
            return
        self._told = why
        if isinstance(problem, StoreError):  # it says itself what to do
            _LOG.error("%s %s", what, problem)
        else:
            _LOG.error("%s", what, exc_info=problem)

    def _hand_out(self, job: ExecutionHandle | Call) -> None:
        """Run a job in a thread of its own; it counts as busy from now on."""
        turn = self._driver.take_on(job)
        thread = threading.Thread(target=self._work, args=(turn,), name="perdure-worker", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads are to be had; the job goes back
            self._driver.drop(turn)
            if isinstance(job, Call):
                self._shared.tasks.appendleft(job)
            else:
                self._executions.schedule.touch(job.machine)
            raise

    def _work(self, turn: Turn) -> None:
        with self._shared.wake:
            try:
                self._driver.run(turn)
            except Exception as problem:  # noqa: BLE001 - whatever it is, the others go on
                self._in_trouble = True
                if not self._stopping:  # after the end the store is closed, and the next start takes over
                    self._complain("A function could not be run.", problem)
