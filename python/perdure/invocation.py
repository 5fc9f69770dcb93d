"""What one invocation owns: its engine, its checkpoints, its threads. All of it ends with the invocation."""

from __future__ import annotations

import time
from _thread import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any

from perdure._log import Log
from perdure.checkpoint import Checkpointer

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Execution
    from perdure._hooks import Hooks
    from perdure.client import Client
    from perdure.retries import RetryDecision

logger = Log("perdure")

MARGIN_SECONDS, MARGIN_SHARE = 1.0, 0.05
"""What is left to return in when threads are given up or calls no longer repeated: so many seconds, or this share."""

PATIENCE_WITHOUT_CLOCK = 30.0
"""Seconds for which a failing call is repeated when the Lambda context does not say how much time is left."""


class WallClock:
    """The time of the world."""

    time = staticmethod(time.time)

    @staticmethod
    def timeout(until: float) -> float:
        """Give the seconds to block until a moment, or as many as a lock takes."""
        return min(max(0.0, until - time.time()), TIMEOUT_MAX)


WALL_CLOCK = WallClock()


def remaining_seconds(lambda_context: Any) -> float | None:
    """Give the seconds that Lambda leaves an invocation; None if its context does not say."""
    try:
        remaining = lambda_context.get_remaining_time_in_millis()
    except AttributeError:
        return None
    return remaining / 1000 if isinstance(remaining, (int, float)) else None


class Invocation:
    """One invocation of an execution.

    Args:
        core: The engine.
        client: The service.
        durable_execution_arn: The execution.
        lambda_context: What Lambda handed to the handler.
        clock: ``time() -> float`` (Unix seconds) and ``timeout(until) -> float | None`` (real seconds to block for the
            moment ``until``; None if this clock does not move by itself).

    """

    __slots__ = (
        "_margin",
        "checkpoints",
        "clock",
        "core",
        "durable_execution_arn",
        "given_seconds",
        "hooks",
        "lambda_context",
        "threads",
    )

    def __init__(
        self, core: Execution, client: Client, durable_execution_arn: str, lambda_context: Any, clock: Any
    ) -> None:
        self.core = core
        self.durable_execution_arn = durable_execution_arn
        self.lambda_context = lambda_context
        self.clock = clock
        self.threads: list[Any] = []
        self.hooks: Hooks | None = None
        self.given_seconds = given = self.remaining_seconds()
        self._margin = 0.0 if given is None else min(MARGIN_SECONDS, given * MARGIN_SHARE)
        self.checkpoints = Checkpointer(core, client, durable_execution_arn, clock.time, self._patience)
        if given is not None:
            core.set_end(given - self._margin)

    def remaining_seconds(self) -> float | None:
        """Give the seconds that Lambda leaves the invocation; None if the context does not say."""
        return remaining_seconds(self.lambda_context)

    def _patience(self) -> float:
        remaining = self.remaining_seconds()
        return PATIENCE_WITHOUT_CLOCK if remaining is None else max(0.0, remaining - self._margin)

    def default_retry_strategy(self) -> Callable[[Exception, int], RetryDecision]:
        """Give the retry strategy of steps that name none."""
        from perdure.retries import RetryPresets  # noqa: PLC0415  only when a step fails

        return RetryPresets.default()

    def end(self) -> None:
        """Return when nothing of the invocation runs any more.

        Threads that still run user code (branches whose batch is done) end with their next operation. Past the time
        that Lambda leaves, they are given up.
        """
        self.checkpoints.close()
        if self.threads:
            self._join(
                self.threads,
                "%d branch threads still ran user code when the invocation ran out of time; they were given up. "
                "Give long calls inside map and parallel branches timeouts of their own.",
            )
        if self.checkpoints.threads:
            self._join(
                self.checkpoints.threads,
                "%d calls to the service had not returned when the invocation ran out of time; they were given up. "
                "Give the client shorter timeouts (botocore.config.Config).",
            )
        self.checkpoints.settle()

    def _join(self, threads: list[Any], given_up: str) -> None:
        """Wait for threads to end, no longer than the invocation has time; log what was given up."""
        remaining = self.remaining_seconds()
        until = None if remaining is None else time.monotonic() + max(0.0, remaining - self._margin)
        left = 0
        for ended in threads:
            timeout = -1 if until is None else max(0.0, until - time.monotonic())
            left += not ended.acquire(timeout=timeout)
        if left:
            logger.warning(given_up, left)
