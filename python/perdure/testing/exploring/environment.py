"""Where a run of the explorer's takes place: a local service in virtual time, and whoever may answer it."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from perdure.local.functions import Functions
from perdure.local.invoking import Invoking
from perdure.testing._driver import PATIENCE, Driver
from perdure.testing.exploring.fault import Fault
from perdure.testing.mocks import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local import ExecutionHandle, LocalService
    from perdure.local.machine.execution import Origin
    from perdure.local.machine.journal import StartedInvoke
    from perdure.testing.exploring.schedule import Schedule
    from perdure.testing.exploring.world import World

    Handler = Callable[[Any, Any], Any]

_NAMESPACE = UUID(int=0)
_SHARE = 4
"""Threads are waited for no longer than this part of the time that the run may take."""


class Environment(Driver):
    """A stage on which time stands still while threads that handlers have started may answer a callback.

    Args:
        world: The world.
        schedule: What goes wrong.
        limit: How many seconds the run may take.

    """

    def __init__(self, world: World, schedule: Schedule, limit: float) -> None:
        super().__init__(skip_time=True, patience=min(PATIENCE, limit / _SHARE))
        self._world = world
        self._calls: Counter[str] = Counter()
        self.fault = Fault(schedule, self.service, world.patience)
        self.service.on_api_call = self.fault.on_call
        self.service.identify = _Ids()
        self.service.functions = Functions()
        for name, function in world.functions.items():
            self.service.register(name, self._same_again(name, function), durable=False)
        for name, function in world.durable_functions.items():
            self.service.register(name, function)
        self.service.invoking = _TellsWhoCalls(self.service, self.fault)
        self.replies.update({name: Reply(answer) for name, answer in world.answers.items()})

    # -- functions that are invoked --------------------------------------------------------------------------------

    def _same_again(self, name: str, function: Handler) -> Handler:
        def call(payload: Any, context: Any, caller: Any = None) -> Any:
            text = f"{name} {json.dumps(payload, sort_keys=True)}"
            if caller is None:
                self._calls[text] += 1
                return self._world.again((text, self._calls[text]), function, payload, context)
            self.fault.turns[caller] = None
            in_branch = self.fault.is_in_branch((*caller[0], caller[1]))
            return self._world.again((text, caller), function, payload, context, in_branch=in_branch)

        return call

    # -- threads that handlers have started ------------------------------------------------------------------------

    def _wait_for_outside(self, deadline: float, reached: Callable[[], bool]) -> bool:
        if self._in_vain():
            return False
        return super()._wait_for_outside(min(deadline, time.monotonic() + self._patience), reached)

    def _lively(self) -> bool | None:
        return self._world.handler_threads.may_act()

    def _in_vain(self) -> bool:
        """Tell whether nobody will answer what is open: nobody did in the first run, and waiting would add up."""
        with self.service.lock:
            return all(
                (self.fault.place(handle.arn), operation["Id"]) in self._world.in_vain
                for handle in list(self.service.handles.values())
                for operation in handle.open_callbacks
            )


class _TellsWhoCalls(Invoking):
    """Lets functions know which operation calls them: branches that ask for the same may do so in any order."""

    def __init__(self, service: LocalService, fault: Fault) -> None:
        super().__init__(service, service.executions, service.drive_target)
        self._tasks = service.tasks
        self._fault = fault

    def start_chained(self, handle: ExecutionHandle, invoke: StartedInvoke) -> None:
        """Begin what a chained invoke asks for."""
        waiting = len(self._tasks)
        super().start_chained(handle, invoke)
        caller = self._fault.place(handle.arn), invoke.operation_id
        if caller[0] in self._fault.places_of_branches or _is_in_a_branch(handle, invoke.operation_id):
            self._fault.places_of_branches.add((*caller[0], caller[1]))
        for call in list(self._tasks)[waiting:]:
            handler: Any = call.function.handler  # what `_same_again` made
            call.function = replace(call.function, handler=partial(handler, caller=caller))


def _is_in_a_branch(handle: ExecutionHandle, operation_id: str | None) -> bool:
    while operation_id is not None and (operation := handle.machine.operations.get(operation_id)) is not None:
        if operation.get("SubType") in ("Map", "Parallel"):
            return True
        operation_id = operation.get("ParentId")
    return False


class _Ids:
    """Draws the same ids in each run, since outcomes of an earlier one may hold them."""

    def __init__(self) -> None:
        self._roots = count()

    def __call__(self, origin: Origin) -> str:
        """Give an id, by the invoke that leads to the execution."""
        return str(uuid5(_NAMESPACE, repr(origin.parent or next(self._roots))))
