"""What an execution has used of what the service allows, and about what that costs.

The service holds an execution to 3,000 operations and 100 MB written. Prices differ by region and change: `PRICE_LIST`
is one list as it stood one day, and whoever pays by another gives `Prices`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perdure.local.machine.execution import DEFAULT_RETENTION_DAYS, Execution
from perdure.local.machine.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable


GB, MILLION = 10**9, 10**6
_DEFAULT = Limits()
_DETAILS = ("StepDetails", "ContextDetails", "CallbackDetails", "ChainedInvokeDetails", "ExecutionDetails")
_MONTH = 30  # days


@dataclass(frozen=True, slots=True)
class PriceList:
    """What Lambda asks for durable executions in one region.

    Args:
        region: The region.
        date: The month in which the list was read.
        source: Where.
        currency: The currency of the prices.
        operations_million: Of one million operations.
        written_gb: Of one GB (10^9 bytes) written.
        retained_gb_month: Of one GB kept for a month.

    """

    region: str
    date: str
    source: str
    currency: str
    operations_million: float
    written_gb: float
    retained_gb_month: float


PRICE_LIST = PriceList("us-east-1", "2026-09", "https://aws.amazon.com/lambda/pricing/", "USD", 8.00, 0.25, 0.15)
"""The prices that are used unless others are given."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in one currency, by default those of `PRICE_LIST`.

    Args:
        operation: Of one durable operation (a price list names it by the million).
        written_gb: Of one GB (10^9 bytes) written.
        retained_gb_month: Of one GB kept for a month.
        retention_days: How long an execution is kept after its end; None for what it says itself.
        currency: The currency, by its code.

    """

    operation: float = PRICE_LIST.operations_million / MILLION
    written_gb: float = PRICE_LIST.written_gb
    retained_gb_month: float = PRICE_LIST.retained_gb_month
    retention_days: float | None = None
    currency: str = PRICE_LIST.currency

    def __str__(self) -> str:
        given = (self.operation, self.written_gb, self.retained_gb_month, self.currency)
        listed = (_LISTED.operation, _LISTED.written_gb, _LISTED.retained_gb_month, _LISTED.currency)
        return f"{PRICE_LIST.region} prices of {PRICE_LIST.date}" if given == listed else "at the prices given"


_LISTED = Prices()


@dataclass(frozen=True, slots=True)
class Budget:
    """What one execution has used.

    Args:
        operations: Operations recorded; an operation counts once, however often it was retried.
        written_bytes: Bytes of all checkpoints: payloads and errors.
        operations_limit: What the service allows; None for a service that was told not to look.
        written_limit: The same for bytes.
        repeats: Attempts after the first of each step and condition.
        retention_days: How long the execution is kept after its end; 14 days by default, as with Lambda.
        prices: What things cost.
        at_least: More may have been written than is known here.

    """

    operations: int
    written_bytes: int
    operations_limit: int | None = _DEFAULT.operations
    written_limit: int | None = _DEFAULT.written_bytes
    repeats: int = 0
    retention_days: float = DEFAULT_RETENTION_DAYS
    prices: Prices = _LISTED
    at_least: bool = False

    @property
    def operations_share(self) -> float:
        """The share of the operations that is used, 0 to 1."""
        return self.operations / self.operations_limit if self.operations_limit else 0.0

    @property
    def written_share(self) -> float:
        """The share of the bytes that is used, 0 to 1."""
        return self.written_bytes / self.written_limit if self.written_limit else 0.0

    @property
    def billed_operations(self) -> int:
        """What Lambda meters as operations: the start of the execution, each operation, and each attempt after a first.

        As in https://docs.aws.amazon.com/lambda/latest/dg/durable-execution-sdk.html, under metering.
        """
        return 1 + self.operations + self.repeats

    @property
    def price(self) -> float:
        """About what the execution costs, kept until its retention ends; without its invocations, billed as any."""
        written, prices = self.written_bytes / GB, self.prices
        days = self.retention_days if prices.retention_days is None else prices.retention_days
        kept = written * days / _MONTH
        return self.billed_operations * prices.operation + written * prices.written_gb + kept * prices.retained_gb_month

    @property
    def use(self) -> str:
        """What it has used, in words."""
        operations = _of(f"{self.operations:,}", self.operations_limit, self.operations_share)
        written = _of(_size(self.written_bytes), self.written_limit, self.written_share, size=True)
        return f"{operations} operations, {'at least ' if self.at_least else ''}{written} written"

    @property
    def cost(self) -> str:
        """What that costs, in words."""
        about = "at least" if self.at_least else "about"
        price = _money(self.price, self.prices.currency)
        return f"{about} {price} ({self.prices}; invocations not included)"

    def __str__(self) -> str:
        return f"{self.use}; {self.cost}"

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `--json` prints them."""
        return {
            "operations": self.operations,
            "operationsLimit": self.operations_limit,
            "billedOperations": self.billed_operations,
            "writtenBytes": self.written_bytes,
            "writtenLimit": self.written_limit,
            "price": round(self.price, 9),
            "currency": self.prices.currency,
            "prices": str(self.prices),
            "atLeast": self.at_least,
        }


def budget_of(execution: Execution, prices: Prices | None = None) -> Budget:
    """Give the budget of an execution of a local service, by the limits of that service."""
    operations = [operation for key, operation in execution.operations.items() if key != execution.execution_id]
    limits = execution.limits
    return Budget(
        len(operations),
        execution.written_bytes,
        limits.operations,
        limits.written_bytes,
        sum(map(_repeats, operations)),
        execution.origin.retention_days,
        prices or _LISTED,
    )


def budget_of_operations(
    operations: Iterable[dict[str, Any]],
    prices: Prices | None = None,
    retention_days: float | None = None,
) -> Budget:
    """Give the budget of operations as the API tells of them, for executions elsewhere.

    The bytes are those of the payloads that are still there: a lower bound of what was written.
    """
    count = written = repeats = 0
    for operation in operations:
        if operation["Type"] == "EXECUTION":
            continue
        count += 1
        repeats += _repeats(operation)
        for member in _DETAILS:
            result = (operation.get(member) or {}).get("Result")
            written += len(result.encode()) if isinstance(result, str) else 0
    days = DEFAULT_RETENTION_DAYS if retention_days is None else retention_days
    return Budget(count, written, repeats=repeats, retention_days=days, prices=prices or _LISTED, at_least=True)


def _repeats(operation: dict[str, Any]) -> int:
    return max(0, ((operation.get("StepDetails") or {}).get("Attempt") or 0) - 1)


def _money(amount: float, currency: str) -> str:
    return f"${amount:.6f}" if currency == "USD" else f"{amount:.6f} {currency}"


def _of(used: str, limit: int | None, share: float, *, size: bool = False) -> str:
    if limit is None:
        return used
    return f"{used} of {_size(limit) if size else f'{limit:,}'} ({share:.1%})"


def _size(count: int) -> str:
    if count < 1024:  # noqa: PLR2004  a kibibyte
        return f"{count} B"
    kib = count / 1024
    return f"{kib:.1f} KiB" if kib < 1024 else f"{kib / 1024:.1f} MiB"  # noqa: PLR2004  a mebibyte
