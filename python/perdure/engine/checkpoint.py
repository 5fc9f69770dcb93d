"""Group commit: who sends what is queued, and who waits.

Whoever needs its update durable sends everything that is queued, unless somebody is sending already; then it waits and
leaves with the next batch. No timer and no second thread take part, but for one case: an update that nobody waits for
(the START of a long step) leaves with the next batch, or, if none follows, with a thread that is started for it and
gone when there is nothing more to watch.
"""

from __future__ import annotations

import functools
import sys
import time
from _thread import allocate_lock
from os import urandom
from typing import TYPE_CHECKING, Any, TypeVar

from perdure._core import MAX_OPERATIONS, MAX_WRITTEN
from perdure._log import Log
from perdure.engine import threads as _threads
from perdure.engine.time_left import steady
from perdure.exceptions import CheckpointError, ExecutionError, GetExecutionStateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Execution, Updates
    from perdure.engine.client import Client
    from perdure.engine.hooks import Hooks
    from perdure.engine.received import Checkpoint, Operations
    from perdure.exceptions import BotoClientError

T = TypeVar("T")

LINGER = 0.010
"""Seconds that an update which nobody waits for may stay queued."""

CROWDED, HEAVY = MAX_OPERATIONS * 4 // 5, MAX_WRITTEN * 4 // 5
"""Operations, and bytes written, of which to warn: 80 % of what the service allows an execution."""

sleep = time.sleep
logger = Log("perdure")
stopwatch = time.perf_counter


class Checkpointer:
    """Sends the updates of one invocation.

    Args:
        core: The invocation's engine.
        client: The service.
        arn: The execution.
        now: The time, in Unix seconds.
        patience: How many seconds repeating a failed call may still take, asked when one fails.
        hooks: Of the invocation.

    """

    __slots__ = (
        "_arn",
        "_client",
        "_core",
        "_now",
        "_patience",
        "_prefix",
        "_stop",
        "failure",
        "hooks",
        "threads",
        "told",
        "used",
        "written",
    )

    def __init__(
        self,
        core: Execution,
        client: Client,
        arn: str,
        now: Callable[[], float],
        patience: Callable[[], float],
        hooks: Hooks | None = None,
    ) -> None:
        self._core = core
        self._client = client
        self._arn = arn
        self._now = now
        self._patience = patience
        self.hooks = hooks
        # The lock that the watching thread waits for, to end; and what tells of the ends of such threads.
        self._stop = allocate_lock()
        self._stop.acquire()
        self.threads: list[Any] = []
        self._prefix = ""
        # What broke the checkpoints first; kept by the core.
        self.failure: BaseException | None = None
        # The operations that the service has told of, as they came; for `perdure.state`.
        self.told: list[Operations] = []
        # Operations and bytes of the execution so far, as far as this invocation knows.
        self.used = 0
        self.written = 0

    def wait(self, ticket: int) -> None:
        """Return once the update with ``ticket`` is durable, sending it if nobody else does.

        Raises:
            CheckpointsBroken: If it never will be.
            SuspendExecution: If the service has revoked the checkpoint token.

        """
        self._core.wait(ticket, self)

    def flush(self) -> None:
        """Return once everything queued so far is durable, and everything that was handed on."""
        ticket = self._core.outstanding()
        if ticket:
            self.wait(ticket)

    def ask_for_news(self, since: float) -> None:
        """Return once the service has been heard from after the moment ``since`` (Unix seconds)."""
        self._core.hear(since, self)

    # ---- what the core asks for, inside of `wait` and `hear`

    def send(
        self, token: str | None, updates: Updates, number: int
    ) -> tuple[str | None, list[Operations], int, float, float]:
        """Make one call to the service.

        Args:
            token: The checkpoint token.
            updates: What is to be recorded.
            number: Of the call: the same when a call is repeated because it was cut short.

        Returns:
            The next token, lists of the operations that have changed, the present moment in milliseconds, and in
            seconds the one at which the service was asked, and how long the call took.

        """
        hooks = self.hooks
        watch = stopwatch if hooks is None else hooks.stopwatch
        count, asked_at = len(updates), self._now()
        sent_at = watch()
        next_token, operations, marker = self._checkpoint(token or "", updates, number)
        took = watch() - sent_at
        if logger.has_debug():
            logger.debug("a checkpoint of %d updates took %.1f ms", count, took * 1e3)
        told = [operations] if operations else []
        if marker and next_token:  # what nobody goes on from need not be known
            told += self.pages(next_token, marker)
        self.told += told
        if hooks is not None:
            hooks.heard()
        self._count(updates)
        return next_token, told, int(self._now() * 1000), asked_at, took

    # ---- what nobody waits for

    def watch(self) -> None:
        """See to it that what was queued without a waiter leaves before long."""
        hooks = self.hooks
        if (hooks is None or hooks.has_flusher()) and self._core.watch():
            try:
                (_threads.start if hooks is None else hooks.start_thread)(self.threads, self._flusher)
            except RuntimeError:  # the system has no more threads: it leaves with the next batch
                self._core.unwatch()

    def close(self) -> None:
        """End every context, and tell the watching thread to end. Nothing is watched from now on."""
        self._core.close(self._stop)

    def begin(self) -> None:
        """Begin to connect: the invocation is sure to make calls."""
        self._client.begin()

    def settle(self) -> None:
        """Return when nothing is made ahead any more."""
        self._client.settle()

    def _flusher(self) -> None:
        try:
            began = steady()
            if self._core.backlog()[0]:  # else a short step has left already, with a call of its own
                self._client.prepare()
            pause = max(0.0, began + LINGER - steady())
            while not self._stop.acquire(timeout=pause):
                if not self._core.look(self):
                    break
                pause = LINGER
        except BaseException:  # noqa: BLE001, S110  the core has kept it as the failure; every caller is told
            pass

    # ---- one call

    def _count(self, updates: Updates) -> None:
        """Keep count of what the service limits, and warn when a batch crosses the line."""
        started, written = updates.sizes()
        used, written = self.used + started, self.written + written
        crowded = self.used < CROWDED <= used
        heavy = self.written < HEAVY <= written
        self.used, self.written = used, written
        if crowded or heavy:
            from perdure.engine import budget as _budget  # noqa: PLC0415  only to warn

            _budget.warn(self._arn, used if crowded else None, written if heavy else None)

    def _checkpoint(self, token: str, updates: Updates, number: int) -> Checkpoint:
        # Unique to the call, and the same each time it is repeated: a call whose answer was lost is not carried out
        # twice. Drawn with the first call, not with the process, which a snapshot may have started many times over.
        if not self._prefix:
            self._prefix = urandom(16).hex()
        client_token = f"{self._prefix}-{number + 1}"
        handled = sys.exception()
        try:
            return self._client.checkpoint(self._arn, token, updates, client_token)
        except Exception as error:  # noqa: BLE001  classified there
            return self._repeat(
                lambda: self._client.checkpoint(self._arn, token, updates, client_token),
                CheckpointError,
                error,
                handled,
            )
        finally:
            del handled  # whose traceback may hold this frame

    def pages(self, token: str, marker: str | None) -> list[Operations]:
        """Read all further pages of the recorded operations.

        Raises:
            ExecutionError: If the service's markers lead nowhere.
            GetExecutionStateError: If the service does not give the pages, or not within the invocation's time.

        """
        pages: list[Operations] = []
        asked: set[str] = set()
        until = steady() + self._patience()
        handled = sys.exception()
        while marker:
            _check_marker(marker, asked)
            if asked and steady() > until:
                raise GetExecutionStateError(
                    f"the invocation's time was over after {len(asked)} further pages of the recorded operations, and "
                    "the service has more"
                )
            asked.add(marker)
            read = functools.partial(self._client.state, self._arn, token, marker)
            try:
                page, marker = read()
            except Exception as error:  # noqa: BLE001  classified there
                page, marker = self._repeat(read, GetExecutionStateError, error, handled)
            pages.append(page)
        return pages

    def _repeat(
        self, call: Callable[[], T], kind: type[BotoClientError], error: Exception, handled: BaseException | None
    ) -> T:
        """Repeat a throttled or lost call while the invocation's time allows: see `perdure.engine.repeats.repeat`."""
        from perdure.engine import repeats  # noqa: PLC0415  only in trouble

        try:
            means = repeats.Means(self._patience, self._client.most_calls(), *self._chance_and_sleep())
            return repeats.repeat(call, kind, error, handled, means)
        finally:
            del error, handled  # whose tracebacks hold this frame

    def _chance_and_sleep(self) -> tuple[Callable[[], float], Callable[[float], None]]:
        """Give what spreads the calls of a repetition, and what waits between them."""
        if self.hooks is not None:
            return self.hooks.random, self.hooks.sleep
        from random import random  # noqa: PLC0415  only in trouble

        return random, sleep


def _check_marker(marker: Any, asked: set[str]) -> None:
    """Refuse a NextMarker that would have the pages go on for ever."""
    if not isinstance(marker, str):
        raise ExecutionError(f"the NextMarker of a page of recorded operations is no text but {marker!r:.200}")
    if marker in asked:
        raise ExecutionError(
            f"the service gave the NextMarker {marker!r:.200} a second time: the pages of recorded operations go round"
        )
