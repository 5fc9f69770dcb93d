"""perdure by its asynchronous front end, beside both SDKs: the same workflows, each call in them awaited."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from perdure import durable_execution
from support import workflow_player
from support.both_sdks import Sdk, Seen
from support.coroutines import as_coroutines, in_classes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.both_sdks import Stage
    from support.workflow_player import Workflow

PLAYER_AWAITED = as_coroutines(workflow_player, also=["_guarded"])


def asynchronous(handler: Callable[[Any, Any], Any], **options: Any) -> Any:
    """Make a durable handler of a function that gives a coroutine."""

    async def awaits(event: Any, context: Any) -> Any:
        return await handler(event, context)

    return durable_execution(awaits, **options)


class Asynchronous(Sdk):
    def durable(self, handler: Callable[[Any, Any], Any]) -> Any:
        options = {} if self.checkpointing is None else {"checkpointing": self.checkpointing}
        return asynchronous(handler, **options)


ASYNC = Asynchronous("perdure, async", "perdure")


def each_way(workflow: Workflow) -> Callable[[Stage], Any]:
    """Give the body of a workflow for whichever way it runs."""
    awaited = in_classes_of(PLAYER_AWAITED, workflow)
    return lambda stage: awaited(stage) if isinstance(stage.sdk, Asynchronous) else workflow(stage)


def comparable(seen: Seen) -> Seen:
    """Leave out how often user code runs, of which it may tell: code that waits is kept where it is, by one of them."""
    notes = {
        label: sorted({repr(each) for each in told})
        for label, told in seen.notes.items()
        if not label.endswith((" replaying", "log", " asked"))
    }
    return replace(seen, notes=notes)
