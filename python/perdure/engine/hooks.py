"""What a tool may see of an invocation and steer in it: the seam for the explorer, and for whatever else looks inside.

An invocation without hooks (``Invocation.hooks`` is None, as it is in production) asks nobody anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure._core import Batch
    from perdure.concurrency.models import BatchResult


class Hooks:
    """Of one invocation. What a tool does not override is as it would be without hooks."""

    __slots__ = ()

    def batch(self, batch: Batch) -> Batch:
        """Give the schedule that a map or parallel runs by: the engine's own, or one around it.

        One around it decides which branch runs next, by holding back what `Batch.next` gives and handing it out in
        another order; and how many hands there are, since no thread is started where its `Batch.has_more` is false and
        its `Batch.due` is None.

        Args:
            batch: The engine's.

        """
        return batch

    def branch_failed(self, operation_id: str, name: str | None, error: Exception, recorded: dict[str, Any]) -> None:
        """See the failure of a branch of a map or parallel, before it is recorded. Called in the branch's thread.

        A FLAT branch that failed does so again in each invocation, until its batch is done.

        Args:
            operation_id: Of the branch's context.
            name: The branch's; of a FLAT one, its index.
            error: What the branch's function raised.
            recorded: The error object of it.

        """

    def batch_ended(self, operation_id: str, total: int, limit: int | None, result: BatchResult[Any]) -> None:
        """See what a map or parallel gives, before it is recorded; or once more, where replay has rebuilt it.

        Args:
            operation_id: The batch's.
            total: How many branches there were to admit.
            limit: How many of them might be in flight; None for all.
            result: What it gives.

        """
