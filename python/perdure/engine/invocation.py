"""What one invocation owns: its engine, its checkpoints, its threads. All of it ends with the invocation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._core import Told
from perdure._functions import all_of
from perdure._log import Log
from perdure.engine.checkpoint import Checkpointer
from perdure.engine.received import as_dicts
from perdure.engine.time_left import MARGIN_SECONDS, MARGIN_SHARE, remaining_seconds, steady

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perdure._core import Execution
    from perdure.engine.client import Client
    from perdure.engine.hooks import Hooks
    from perdure.retries import RetryDecision

logger = Log("perdure")

PATIENCE_WITHOUT_CLOCK = 30.0
"""Seconds for which a failing call is repeated when the Lambda context does not say how much time is left."""


class Invocation:
    """One invocation of an execution.

    Args:
        core: The engine.
        client: The service.
        durable_execution_arn: The execution.
        lambda_context: What Lambda handed to the handler.
        clock: ``time() -> float`` (Unix seconds) and ``timeout(until) -> float | None`` (real seconds to block for the
            moment ``until``; None if this clock does not move by itself).
        hooks: See and steer what happens in it.

    """

    __slots__ = (
        "_told",
        "checkpoints",
        "clock",
        "core",
        "durable_execution_arn",
        "given_seconds",
        "hooks",
        "is_asynchronous",
        "lambda_context",
        "lists",
        "margin",
        "threads",
    )

    def __init__(
        self,
        core: Execution,
        client: Client,
        durable_execution_arn: str,
        lambda_context: Any,
        clock: Any,
        hooks: Hooks | None = None,
    ) -> None:
        self.core = core
        self.durable_execution_arn = durable_execution_arn
        self.lambda_context = lambda_context
        self.clock = clock
        self.threads: list[Any] = []
        self.hooks = hooks
        # Whether what functions give is awaited.
        self.is_asynchronous = False
        self._told: Told | None = None
        # Of iterators that were the items of a map: what they gave, and where.
        self.lists: dict[tuple[Any, int], tuple[Iterator[Any], list[Any]]] | None = None
        self.given_seconds = given = remaining_seconds(lambda_context)
        self.margin = 0.0 if given is None else min(MARGIN_SECONDS, given * MARGIN_SHARE)
        if hooks is not None:
            from perdure.engine.watched import WatchedClient  # noqa: PLC0415  only for those who look inside

            client, self.lambda_context = WatchedClient(client, hooks), hooks.lambda_context(lambda_context)
        self.checkpoints = Checkpointer(core, client, durable_execution_arn, clock.time, self._patience, hooks)
        if given is not None:
            core.set_end(given - self.margin)

    def add(self, hooks: Hooks) -> None:
        """Have hooks called from now on, which are around those that there were."""
        self.hooks = self.checkpoints.hooks = hooks

    def told(self) -> Told:
        """Give what the service has told of the operations, by id."""
        if self._told is None:
            self._told = Told(self.checkpoints.told, as_dicts)
        return self._told

    def listed(self, items: Iterator[Any], place: tuple[Any, int]) -> list[Any]:
        """Give the items of a map that come from an iterator.

        It gives them once, and the code that calls the map may run again in this invocation, as that of a branch does
        once what it waited for has come.

        Args:
            items: The iterator.
            place: Which operation the map is: the id of the context around it, and how many come before it there.

        """
        if self.lists is None:
            self.lists = {}
        known = self.lists.get(place)
        if known is None or known[0] is not items:
            known = self.lists[place] = items, all_of(items)
        return known[1]

    def remaining_seconds(self) -> float | None:
        """Give the seconds that Lambda leaves the invocation; None if the context does not say."""
        return remaining_seconds(self.lambda_context)

    def _patience(self) -> float:
        remaining = self.remaining_seconds()
        return PATIENCE_WITHOUT_CLOCK if remaining is None else max(0.0, remaining - self.margin)

    def default_retry_strategy(self) -> Callable[[Exception, int], RetryDecision]:
        """Give the retry strategy of steps that name none."""
        from perdure.retries import RetryPresets  # noqa: PLC0415  only when a step fails

        return RetryPresets.default()

    def end(self) -> None:
        """Return when nothing of the invocation runs any more.

        Threads that still run user code (branches whose batch is done, functions of steps that took too long) end
        with their next operation. Past the time that Lambda leaves, they are given up. If it ends since its time is
        about to be up, steps that are at work are recorded.
        """
        if self.threads and self.core.is_late:
            self._join_threads()
        self.checkpoints.close()
        if self.threads:
            self._join_threads()
        if self.checkpoints.threads:
            self.join(
                self.checkpoints.threads,
                "%d calls to the service had not returned when the invocation ran out of time; they were given up. "
                "Give the client shorter timeouts (botocore.config.Config).",
            )
        self.checkpoints.settle()

    def _join_threads(self) -> None:
        threads, self.threads = self.threads, []
        self.join(
            threads,
            "%d threads still ran user code when the invocation ran out of time; they were given up. "
            "Give long calls inside branches of map and parallel, and inside steps with a timeout, timeouts of "
            "their own.",
        )

    def join(self, threads: list[Any], given_up: str) -> None:
        """Wait for threads to end, no longer than the invocation has time; log what was given up."""
        remaining = self.remaining_seconds()
        until = None if remaining is None else steady() + max(0.0, remaining - self.margin)
        left = 0
        for ended in threads:
            timeout = -1 if until is None else max(0.0, until - steady())
            left += not ended.acquire(timeout=timeout)
        if left:
            logger.warning(given_up, left)
