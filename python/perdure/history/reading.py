"""Reading the history of an execution over a client of boto3's shape: by the page, whole, later only what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.history import events as shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Event = dict[str, Any]
_FIRST_PAGE, _LATER_PAGE = 1000, 50


def pages(
    client: Any, arn: str, *, data: bool, reverse: bool = False, size: int = _FIRST_PAGE
) -> Iterator[list[Event]]:
    """Give the events of an execution, a page at a time."""
    arguments: dict[str, Any] = {"DurableExecutionArn": arn, "IncludeExecutionData": data, "MaxItems": size}
    if reverse:
        arguments["ReverseOrder"] = True
    while True:
        page = client.get_durable_execution_history(**arguments)
        yield list(page.get("Events", ()))
        marker = page.get("NextMarker")
        if not marker:
            return
        arguments["Marker"] = marker


def read_history(client: Any, arn: str, *, data: bool = True) -> list[shapes.Event]:
    """Read all of a history, with or without inputs, results and errors."""
    return [shapes.Event.from_dict(event) for page in pages(client, arn, data=data) for event in page]


class History:
    """The events of one execution, in order; `refresh` asks for those that have come since.

    Args:
        client: Who is asked.
        arn: The execution.
        data: Ask for payloads and errors, too.

    """

    def __init__(self, client: Any, arn: str, *, data: bool = True) -> None:
        self._client = client
        self._arn = arn
        self._data = data
        self.events: list[Event] = []

    def refresh(self, progress: Callable[[int], None] = lambda _count: None) -> None:
        """Read what is new; `progress` hears how many events there are so far."""
        if not self.events:
            for page in pages(self._client, self._arn, data=self._data):
                self.events += page
                progress(len(self.events))
            return
        # Backwards from the newest until one is known: a marker of the end, to go on from, is not in the API.
        known = self.events[-1]["EventId"]
        fresh: list[Event] = []
        for page in pages(self._client, self._arn, data=self._data, reverse=True, size=_LATER_PAGE):
            new = [event for event in page if event["EventId"] > known]
            fresh += new
            if len(new) < len(page) or not page:
                break
        self.events += reversed(fresh)
