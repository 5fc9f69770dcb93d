"""Group commit: who sends what is queued, and who waits.

Whoever needs its update durable sends everything that is queued, unless somebody is sending already; then it waits and
leaves with the next batch. No timer and no second thread take part, but for one case: an update that nobody waits for
(the START of a long step) leaves with the next batch, or, if none follows, with a thread that is started for it and
gone when there is nothing more to watch.
"""

from __future__ import annotations

import functools
import os
import time
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any, TypeVar

from perdure import _threads
from perdure._control import CheckpointsBroken
from perdure.exceptions import BotoClientError, CheckpointError, ExecutionError, GetExecutionStateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Execution
    from perdure.client import Checkpoint, Client, Wire

T = TypeVar("T")

DONE, LEAD, MUSTER = 0, 1, 2

_NO_MORE = object()

LINGER = 0.010
"""Seconds that an update which nobody waits for may stay queued."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds before a throttled or lost call is repeated: at first, and at most."""

CROWDED, HEAVY = 2_400, 80 * 1024 * 1024
"""Operations, and bytes written, of which to warn: 80 % of what the service allows an execution."""

MUSTER_SHARE, SHORTEST_MUSTER, LONGEST_MUSTER, MOST_LONE_CALLS = 0.25, 0.0002, 0.010, 32
"""How long a call waits for branches at work to join, as a share of what calls take lately; below which seconds it does
not wait, and the most it waits; and how many calls in a row do not wait, after waits that were in vain."""

_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500

sleep = time.sleep


class Checkpointer:
    """Sends the updates of one invocation.

    Args:
        core: The invocation's engine.
        client: The service.
        arn: The execution.
        now: The time, in Unix seconds.
        patience: How many seconds repeating a failed call may still take, asked when one fails.

    """

    __slots__ = (
        "_arn",
        "_call_seconds",
        "_calls",
        "_client",
        "_core",
        "_futile",
        "_guard",
        "_is_sending",
        "_lone_calls",
        "_now",
        "_patience",
        "_prefix",
        "_watch",
        "_watcher",
        "failure",
        "informed_at",
        "told",
        "used",
        "written",
    )

    def __init__(
        self, core: Execution, client: Client, arn: str, now: Callable[[], float], patience: Callable[[], float]
    ) -> None:
        self._core = core
        self._client = client
        self._arn = arn
        self._now = now
        self._patience = patience
        # The lock that stops the watching thread, None when nobody watches; and the one that tells its end.
        self._watch: Any = None
        self._watcher: Any = None
        self._guard = allocate_lock()
        self._is_sending = False
        self._calls = 0
        self._call_seconds = 0.0
        self._futile = self._lone_calls = 0
        self._prefix = ""
        self.failure: BaseException | None = None
        self.informed_at = 0.0
        # The operations that the service has told of, as they came; for `perdure.state`.
        self.told: list[list[Wire]] = []
        # Operations and bytes of the execution so far, as far as this invocation knows.
        self.used = 0
        self.written = 0

    def wait(self, ticket: int) -> None:
        """Return once the update with ``ticket`` is durable, sending it if nobody else does.

        Raises:
            CheckpointsBroken: If it never will be.
            SuspendExecution: If the service has revoked the checkpoint token.

        """
        lead = self._core.lead
        while True:
            waiter = allocate_lock()
            waiter.acquire()
            role = lead(ticket, waiter)
            if role == LEAD:
                self._send()
            elif role == DONE:
                return
            elif role == MUSTER:
                self._muster(waiter)
                self._send()
            else:
                self._follow(waiter)

    def flush(self) -> None:
        """Return once everything queued so far is durable."""
        oldest, latest = self._core.backlog()
        if oldest:
            self.wait(latest)

    def ask_for_news(self, since: float) -> None:
        """Return once the service has been heard from after the moment ``since`` (Unix seconds)."""
        while self.informed_at <= since:
            waiter = allocate_lock()
            waiter.acquire()
            if self._core.lead(None, waiter) in (LEAD, MUSTER):
                self._send()
                return
            self._follow(waiter)

    def _muster(self, leader: Any) -> None:
        """Give the branches that are at work a moment to join, so that they need no call of their own.

        The moment is a quarter of what a call takes, and ends when all have joined. Where it runs out, since branches
        are busy with work of their own, ever more calls leave without it.
        """
        limit = min(self._call_seconds * MUSTER_SHARE, LONGEST_MUSTER)
        if limit < SHORTEST_MUSTER:
            return
        if self._lone_calls > 0:
            self._lone_calls -= 1
        elif self._interruptible(leader, limit):
            self._futile = 0
        else:
            self._futile = min(2 * self._futile + 1, MOST_LONE_CALLS)
            self._lone_calls = self._futile

    def _follow(self, waiter: Any) -> None:
        """Wait until the leader reports back."""
        self._interruptible(waiter, -1)

    def _interruptible(self, waiter: Any, timeout: float) -> bool:
        """Wait for a lock; an interrupt (Ctrl-C) breaks the checkpoints, since it may be this thread's turn to lead."""
        try:
            return waiter.acquire(timeout=timeout)  # type: ignore[no-any-return]
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        for waiter in self._core.fail():
            waiter.release()

    def watch(self) -> None:
        """See to it that what was queued without a waiter leaves before long."""
        if self._watch is None:
            stop = allocate_lock()
            stop.acquire()
            if self._take_watch(None, stop):
                try:
                    self._watcher = _threads.start(self._linger, stop)
                except RuntimeError:  # the system has no more threads: it leaves with the next batch
                    self._watch = None

    def stop_watching(self) -> None:
        """End the watching thread, and wait for its end. Nothing is watched from now on."""
        with self._guard:
            stop, self._watch = self._watch, _NO_MORE
        if stop is not None and stop is not _NO_MORE:
            stop.release()
        if self._watcher is not None:
            self._watcher.acquire()
            self._watcher = None

    def _take_watch(self, before: Any, after: Any) -> bool:
        """Hand the watch on, unless somebody else has it by now."""
        with self._guard:
            if self._watch is not before:
                return False
            self._watch = after
            return True

    def _linger(self, stop: Any) -> None:
        try:
            _, seen = self._core.backlog()
            while not stop.acquire(timeout=LINGER):
                oldest, latest = self._core.backlog()
                if not oldest and self._is_sending:
                    continue
                if not oldest:
                    # What is queued from here on finds nobody watching, or is seen by the second look.
                    if not self._take_watch(stop, None) or not self._core.backlog()[0]:
                        return
                    if not self._take_watch(None, stop):
                        return
                    continue
                if oldest <= seen:
                    self._core.enter()
                    try:
                        self.flush()
                    finally:
                        self._core.leave()
                seen = latest
        except BaseException:  # noqa: BLE001, S110  kept as the failure; every caller is told
            pass
        finally:
            self._take_watch(stop, None)

    def _send(self) -> None:
        core = self._core
        self._is_sending = True
        try:
            token, updates = core.take_batch()
            asked_at = self._now()
            sent_at = time.perf_counter()
            next_token, operations, marker = self._checkpoint(token or "", updates)
            self._call_seconds += (time.perf_counter() - sent_at - self._call_seconds) / 4
            if marker and next_token:  # what nobody goes on from need not be known
                operations = operations + self.pages(next_token, marker)
            waiters = core.acknowledge(next_token, operations, int(self._now() * 1000))
            self.told.append(operations)
            self.informed_at = asked_at
        except BaseException as error:
            self._fail(error)
            if isinstance(error, Exception):
                # Not the error itself: user code could catch it, and go on as if this were an operation's failure.
                raise CheckpointsBroken(str(error)) from error
            raise
        finally:
            self._is_sending = False
        for waiter in waiters:
            waiter.release()
        self._count(updates)

    def _count(self, updates: list[Wire]) -> None:
        """Keep count of what the service limits, and warn when a batch crosses the line."""
        used, written = self.used, self.written
        for update in updates:
            if update["Action"] == "START":
                used += 1
            else:
                written += len(update.get("Payload") or "")
        crowded = self.used < CROWDED <= used
        heavy = self.written < HEAVY <= written
        self.used, self.written = used, written
        if crowded or heavy:
            from perdure import _budget  # noqa: PLC0415  only to warn

            _budget.warn(self._arn, used if crowded else None, written if heavy else None)

    def _checkpoint(self, token: str, updates: list[Wire]) -> Checkpoint:
        # Unique to the call, and the same each time it is repeated: a call whose answer was lost is not carried out
        # twice. Drawn with the first call, not with the process, which a snapshot may have started many times over.
        if self._calls == 0:
            self._prefix = os.urandom(16).hex()
        self._calls += 1
        client_token = f"{self._prefix}-{self._calls}"
        try:
            return self._client.checkpoint(self._arn, token, updates, client_token)
        except Exception as error:  # noqa: BLE001  classified there
            return self._repeat(
                lambda: self._client.checkpoint(self._arn, token, updates, client_token), CheckpointError, error
            )

    def pages(self, token: str, marker: str | None) -> list[Wire]:
        """Read all further pages of the recorded operations.

        Raises:
            ExecutionError: If the service's markers lead nowhere.
            GetExecutionStateError: If the service does not give the pages, or not within the invocation's time.

        """
        operations: list[Wire] = []
        asked: set[str] = set()
        until = time.monotonic() + self._patience()
        while marker:
            _check_marker(marker, asked)
            if asked and time.monotonic() > until:
                raise GetExecutionStateError(
                    f"the invocation's time was over after {len(asked)} further pages of the recorded operations, and "
                    "the service has more"
                )
            asked.add(marker)
            read = functools.partial(self._client.state, self._arn, token, marker)
            try:
                page, marker = read()
            except Exception as error:  # noqa: BLE001  classified there
                page, marker = self._repeat(read, GetExecutionStateError, error)
            operations += page
        return operations

    def _repeat(self, call: Callable[[], T], kind: type[BotoClientError], error: Exception) -> T:
        """Repeat a throttled or lost call while the invocation's time allows."""
        from random import random  # noqa: PLC0415  only in trouble

        pause, until = FIRST_PAUSE, None
        try:
            while True:
                now = time.monotonic()
                delay = pause * (0.5 + random() / 2)  # noqa: S311  spreads load, guards nothing
                until = now + self._patience() if until is None else until
                if not _is_passing(error) or now + delay > until:
                    if isinstance(error, (kind, ExecutionError)):  # classified already, or an odd answer
                        raise error
                    raise kind.from_exception(error) from error
                sleep(delay)
                pause = min(pause * 2, LONGEST_PAUSE)
                try:
                    return call()
                except Exception as again:  # noqa: BLE001  classified above
                    error = again
        finally:
            del error  # whose traceback holds this frame


def _check_marker(marker: Any, asked: set[str]) -> None:
    """Refuse a NextMarker that would have the pages go on for ever."""
    if not isinstance(marker, str):
        raise ExecutionError(f"the NextMarker of a page of recorded operations is no text but {marker!r:.200}")
    if marker in asked:
        raise ExecutionError(
            f"the service gave the NextMarker {marker!r:.200} a second time: the pages of recorded operations go round"
        )


def _is_passing(error: Exception) -> bool:
    """Whether the same call may succeed a moment later: throttling, the service's own trouble, a lost connection."""
    response = getattr(error, "response", None)
    if isinstance(error, BotoClientError):
        if error.response_metadata is None:
            return error.is_retryable()
        response = {"Error": error.error, "ResponseMetadata": error.response_metadata}
    if isinstance(response, dict):
        code = str((response.get("Error") or {}).get("Code", ""))
        status = (response.get("ResponseMetadata") or {}).get("HTTPStatusCode") or 0
        return not code.startswith("KMS") and (status == _TOO_MANY_REQUESTS or status >= _SERVER_ERROR)
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    return any(base.__module__ == "botocore.exceptions" and base.__name__ in _LOST for base in type(error).__mro__)


_LOST = frozenset({"HTTPClientError", "ConnectionError"})
