"""Calls to the service, of an invocation that has hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure._core import Updates
    from perdure.engine.client import Client
    from perdure.engine.hooks import Hooks
    from perdure.engine.received import Checkpoint, Operations


class WatchedClient:
    """A client whose calls are shown before and after."""

    __slots__ = ("_client", "_hooks", "begin", "most_calls", "prepare", "settle")

    def __init__(self, client: Client, hooks: Hooks) -> None:
        self._client = client
        self._hooks = hooks
        self.begin, self.prepare, self.settle = client.begin, client.prepare, client.settle
        self.most_calls = client.most_calls

    def checkpoint(self, arn: str, token: str, updates: Updates, client_token: str) -> Checkpoint:
        """Record updates."""
        self._hooks.before_call(updates)
        answer = self._client.checkpoint(arn, token, updates, client_token)
        self._hooks.after_call(updates)
        return answer

    def state(self, arn: str, token: str, marker: str) -> tuple[Operations, str | None]:
        """Read a further page of the recorded operations."""
        self._hooks.before_call(None)
        page = self._client.state(arn, token, marker)
        self._hooks.after_call(None)
        return page
