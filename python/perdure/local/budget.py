"""What an execution has used of what the service allows, and what that costs.

The service holds an execution to 3,000 operations and 100 MB written. Prices differ by region and change, so there are
none in here: give those of the AWS price list (https://aws.amazon.com/lambda/pricing/) as `Prices` to get an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perdure.local.limits import Limits
from perdure.local.machine import DEFAULT_RETENTION_DAYS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.local.handle import ExecutionHandle

GB = 10**9
_DEFAULT = Limits()
_DETAILS = ("StepDetails", "ContextDetails", "CallbackDetails", "ChainedInvokeDetails", "ExecutionDetails")


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in one currency; what is None is not estimated.

    Args:
        operation: Of one durable operation (a price list names it by the million).
        written_gb: Of one GB (10^9 bytes) written.
        retained_gb_month: Of one GB kept for a month.
        retention_days: How long an execution is kept after its end; 14 days by default, as with Lambda.

    """

    operation: float | None = None
    written_gb: float | None = None
    retained_gb_month: float | None = None
    retention_days: float = DEFAULT_RETENTION_DAYS

    @property
    def known(self) -> bool:
        """Whether any price is given."""
        return not (self.operation is None and self.written_gb is None and self.retained_gb_month is None)


@dataclass(frozen=True, slots=True)
class Budget:
    """What one execution has used.

    Args:
        operations: Operations recorded; an operation counts once, however often it was retried.
        written_bytes: Bytes of all checkpoints.
        operations_limit: What the service allows; None for a service that was told not to look.
        written_limit: The same for bytes.
        price: The estimate, in the currency of the prices; None without prices.

    """

    operations: int
    written_bytes: int
    operations_limit: int | None = _DEFAULT.operations
    written_limit: int | None = _DEFAULT.written_bytes
    price: float | None = None

    @property
    def operations_share(self) -> float:
        """The share of the operations that is used, 0 to 1."""
        return self.operations / self.operations_limit if self.operations_limit else 0.0

    @property
    def written_share(self) -> float:
        """The share of the bytes that is used, 0 to 1."""
        return self.written_bytes / self.written_limit if self.written_limit else 0.0

    def __str__(self) -> str:
        operations = _of(f"{self.operations:,}", self.operations_limit, self.operations_share)
        written = _of(_size(self.written_bytes), self.written_limit, self.written_share, size=True)
        price = "" if self.price is None else f", about {self.price:.6f}"
        return f"{operations} operations, {written} written{price}"

    def to_dict(self) -> dict[str, Any]:
        """Give the figures for JSON."""
        return {
            "operations": self.operations,
            "operations_limit": self.operations_limit,
            "written_bytes": self.written_bytes,
            "written_limit": self.written_limit,
            "price": self.price,
        }


def estimate(operations: int, written_bytes: int, prices: Prices | None) -> float | None:
    """Give the price of an execution; None without prices. Invocations, billed as any others, are not part of it."""
    if prices is None or not prices.known:
        return None
    written = written_bytes / GB
    months = prices.retention_days / 30
    return (
        operations * (prices.operation or 0)
        + written * (prices.written_gb or 0)
        + written * months * (prices.retained_gb_month or 0)
    )


def budget_of(handle: ExecutionHandle, prices: Prices | None = None) -> Budget:
    """Give the budget of an execution of a local service, by the limits of that service."""
    machine = handle.machine
    operations = max(0, len(machine.operations) - 1)
    limits = machine.limits
    price = estimate(operations, machine.written_bytes, prices)
    return Budget(operations, machine.written_bytes, limits.operations, limits.written_bytes, price)


def budget_of_operations(operations: Iterable[dict[str, Any]], prices: Prices | None = None) -> Budget:
    """Give the budget of operations as the API tells of them, for executions elsewhere.

    The bytes are those of the payloads that are still there: a lower bound of what was written.
    """
    count = written = 0
    for operation in operations:
        if operation["Type"] == "EXECUTION":
            continue
        count += 1
        for member in _DETAILS:
            result = (operation.get(member) or {}).get("Result")
            written += len(result.encode()) if isinstance(result, str) else 0
    return Budget(count, written, price=estimate(count, written, prices))


def _of(used: str, limit: int | None, share: float, *, size: bool = False) -> str:
    if limit is None:
        return used
    return f"{used} of {_size(limit) if size else f'{limit:,}'} ({share:.1%})"


def _size(count: int) -> str:
    if count < 1024:  # noqa: PLR2004  a kibibyte
        return f"{count} B"
    kib = count / 1024
    return f"{kib:.1f} KiB" if kib < 1024 else f"{kib / 1024:.1f} MiB"  # noqa: PLR2004  a mebibyte
