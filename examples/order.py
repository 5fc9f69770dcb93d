"""An order, from the cart to the parcel: every kind of operation in one workflow.

    cd examples && perdure run order:handler --event order.json --skip-time

The payment provider fails at first and is asked again, the customer has an hour to change their mind, the items are
picked side by side, and a warehouse that knows nothing of this program answers when the parcel has left.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, TypedDict

from perdure import (
    DurableContext,
    StepContext,
    durable_execution,
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
)
from perdure.config import Duration, JitterStrategy
from perdure.retries import RetryStrategyConfig, create_retry_strategy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.types import WaitForCallbackContext


class Item(TypedDict):
    """A line of the order; the price is in cents."""

    sku: str
    quantity: int
    price: int


class Order(TypedDict):
    """What the customer sent."""

    id: str
    customer: str
    items: list[Item]


PATIENT = create_retry_strategy(
    RetryStrategyConfig(
        max_attempts=5,
        initial_delay=Duration.from_seconds(10),
        jitter_strategy=JitterStrategy.NONE,
        retryable_error_types=[ConnectionError],
    )
)


@durable_step
def add_up(_step: StepContext, items: list[Item]) -> int:
    """Give the total in cents."""
    return sum(item["price"] * item["quantity"] for item in items)


@durable_parallel_branch(name="screen-customer")
def screen(context: DurableContext, customer: str) -> str:
    """Look the customer up."""
    return context.step(lambda _step: f"{customer} is known", name="look-up")


@durable_parallel_branch(name="reserve-stock")
def reserve(context: DurableContext, items: list[Item]) -> str:
    """Hold the items for this order."""
    count = context.step(lambda _step: sum(item["quantity"] for item in items), name="hold-items")
    return f"{count} items held"


@durable_step
def charge(step: StepContext, order: Order, total: int) -> str:
    """Charge the card. The provider is not at its best today: the first two attempts fail."""
    step.logger.info("charging %s cents", total)
    if step.attempt <= 2:  # noqa: PLR2004  a made-up outage
        raise ConnectionError("the payment provider did not answer")
    return f"payment-{order['id']}"


def pick(context: DurableContext, item: Item, index: int, _items: Sequence[Item]) -> str:
    """Fetch one line of the order from its shelf."""
    return context.step(lambda _step: f"{item['quantity']} x {item['sku']} from shelf {index + 1}", name="fetch")


@durable_wait_for_callback
def dispatch(callback_id: str, _context: WaitForCallbackContext, order: Order, picked: list[str]) -> None:
    """Tell the warehouse what to send; it will answer under the callback's id."""
    hand_over({"callback": callback_id, "order": order["id"], "contents": picked})


def hand_over(message: dict[str, Any]) -> None:
    """Put a message into the warehouse's queue, or, on this machine, into the hands of a pretended warehouse."""
    queue = os.environ.get("WAREHOUSE_QUEUE_URL")
    if queue:
        import boto3  # noqa: PLC0415  slow to import, and not needed here when there is no queue

        boto3.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(message))
    else:
        import warehouse  # noqa: PLC0415  not part of what is deployed

        warehouse.receive(message)


@durable_execution
def handler(order: Order, context: DurableContext) -> dict[str, Any]:
    """Take an order."""
    total = context.step(add_up(order["items"]))

    checks = context.parallel([screen(order["customer"]), reserve(order["items"])], name="checks")
    checks.throw_if_error()

    payment = context.step(charge(order, total), retry=PATIENT)
    context.wait(Duration.from_hours(1), name="time-to-reconsider")

    picked = context.map(
        order["items"], pick, name="pick", max_concurrency=2, item_namer=lambda item, _index: f"pick-{item['sku']}"
    )
    picked.throw_if_error()

    parcel = json.loads(context.wait_for_callback(dispatch(order, picked.get_results()), timeout=Duration.from_days(2)))

    return {
        "order": order["id"],
        "total": f"{total / 100:.2f} EUR",
        "payment": payment,
        "checks": checks.get_results(),
        "picked": picked.get_results(),
        "tracking": parcel["tracking"],
    }
