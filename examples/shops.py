"""Fan out: the day's sales of many shops, a few at a time, and a report even when some shops cannot be reached.

    cd examples && perdure run shops:handler --event '{"shops": 12}' --skip-time

At most a quarter of the shops may fail; each is tried three times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import DurableContext, StepContext, durable_execution
from perdure.config import CompletionConfig
from perdure.retries import RetryPresets

if TYPE_CHECKING:
    from collections.abc import Sequence


def sales_of(context: DurableContext, shop: str, number: int, _shops: Sequence[str]) -> int:
    """Ask one shop what it sold."""

    def ask(_step: StepContext) -> int:
        if number % 5 == 4:  # noqa: PLR2004  every fifth shop is closed for renovation
            raise ConnectionError(f"{shop} does not answer")
        return 100 + number

    return context.step(ask, name="ask", retry=RetryPresets.transient())


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Report the sales of all shops that can be reached."""
    shops = [f"shop-{number}" for number in range(event.get("shops", 12))]
    batch = context.map(
        shops,
        sales_of,
        name="sales",
        max_concurrency=4,
        completion_config=CompletionConfig(tolerated_failure_percentage=25),
        item_namer=lambda shop, _index: shop,
    )
    return {
        "reported": batch.success_count,
        "missing": [shops[item.index] for item in batch.failed()],
        "total": sum(batch.get_results()),
        "why": batch.completion_reason.value,
    }
