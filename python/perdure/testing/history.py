"""Reading the history of an execution over boto3, or over the local service's client of the same shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.testing.model import GetDurableExecutionHistoryResponse

if TYPE_CHECKING:
    from perdure.testing.model import Event

PAGE = 1000


def read_history(client: Any, arn: str, *, data: bool = True) -> list[Event]:
    """Read all pages of a history, with or without inputs, results and errors."""
    events: list[Event] = []
    marker: str | None = None
    while True:
        request: dict[str, Any] = {"DurableExecutionArn": arn, "IncludeExecutionData": data, "MaxItems": PAGE}
        if marker:
            request["Marker"] = marker
        page = GetDurableExecutionHistoryResponse.from_dict(client.get_durable_execution_history(**request))
        events += page.events
        marker = page.next_marker
        if not marker:
            return events
