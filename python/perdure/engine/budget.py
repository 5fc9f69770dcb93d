"""A warning for executions that come near what the service allows. Imported when there is something to warn of."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from perdure._core import MAX_OPERATIONS, MAX_WRITTEN
from perdure._log import Log

if TYPE_CHECKING:
    from perdure.engine.received import Operations

logger = Log("perdure")

_DETAILS = ("StepDetails", "ContextDetails", "CallbackDetails", "ChainedInvokeDetails")
_REMEMBERED = 1_000
_warned: OrderedDict[tuple[str, str], None] = OrderedDict()


def warn(arn: str, operations: int | None, written: int | None) -> None:
    """Log once a process and execution how much of one limit, or of both, is used.

    Both figures are estimates: what lies below finished contexts is not part of the history that an invocation gets.
    """
    if operations is not None and _is_new(arn, "operations"):
        logger.warning(
            "execution %s has used about %s of the %s operations that the service allows it; beyond them it fails. "
            "Move a part of the work into an execution of its own with context.invoke(), or do more in each step.",
            arn,
            f"{operations:,}",
            f"{MAX_OPERATIONS:,}",
        )
    if written is not None and _is_new(arn, "written"):
        logger.warning(
            "execution %s has written about %d of the %d MB that the service allows it; beyond them it fails. "
            "Keep large results elsewhere (in S3, say) and return references to them.",
            arn,
            written // 2**20,
            MAX_WRITTEN // 2**20,
        )


def recorded_bytes(operations: Operations) -> int:
    """Give how much the results of recorded operations take, about."""
    if not isinstance(operations, list):
        return operations.written
    written = 0
    for operation in operations:
        for member in _DETAILS:
            details = operation.get(member)
            result = details.get("Result") if isinstance(details, dict) else None
            written += len(result) if isinstance(result, str) else 0
    return written


def _is_new(arn: str, what: str) -> bool:
    if (arn, what) in _warned:
        return False
    _warned[arn, what] = None
    if len(_warned) > _REMEMBERED:
        _warned.popitem(last=False)
    return True
