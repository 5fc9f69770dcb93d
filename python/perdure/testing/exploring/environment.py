"""Where a run of the explorer's takes place: a local service in virtual time, and whoever may answer it."""

from __future__ import annotations

import json
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import uuid5

from perdure.engine.time_left import steady
from perdure.local.functions import Functions
from perdure.testing._driver import PATIENCE, Driver
from perdure.testing.exploring.control import ControlledInvocation
from perdure.testing.exploring.fault import Fault
from perdure.testing.mocks import Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from perdure.engine.hooks import Hooks
    from perdure.local import ExecutionHandle
    from perdure.local.calls import Call
    from perdure.local.machine.execution import Origin
    from perdure.testing.exploring.schedule import Schedule
    from perdure.testing.exploring.world import World

    Handler = Callable[[Any, Any], Any]

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
        super().__init__(
            skip_time=True,
            patience=min(PATIENCE, limit / _SHARE),
            hooks=self._hooks,
            on_api_call=self._on_call,
            identify=_Ids(world.family),
            functions=Functions(),
            handler_of=self._handler_of,
        )
        self._world = world
        self._calls: Counter[str] = Counter()
        self.fault = Fault(schedule, self.service, world.patience)
        for name, function in world.functions.items():
            self.service.register(name, function, durable=False)
        for name, function in world.durable_functions.items():
            self.service.register(name, function)
        self.replies.update({name: Reply(answer) for name, answer in world.answers.items()})

    def _on_call(self, *given: Any) -> None:
        self.fault.on_call(*given)

    def _hooks(self, handle: ExecutionHandle) -> Hooks:
        """Give what an invocation of the run, or of what it invokes, is under control by."""
        parent = handle.parent
        if parent is not None and self._is_in_branch(*parent):
            self.fault.places_of_branches.add(self.fault.place(handle.arn))
        return ControlledInvocation(self._world, self.fault, handle.arn)

    def _is_in_branch(self, arn: str, operation_id: str) -> bool:
        """Tell whether an operation is in a branch, or its whole execution is."""
        if self.fault.place(arn) in self.fault.places_of_branches:
            return True
        return _is_in_a_branch(self.service.handles[arn], operation_id)

    # -- functions that are invoked --------------------------------------------------------------------------------

    def _handler_of(self, call: Call) -> Handler | None:
        """Let functions know which operation calls them: branches that ask for the same may do so in any order."""
        function, name, caller = call.function.handler, call.function.name, call.caller
        if function is None:
            return None

        def again(payload: Any, context: Any) -> Any:
            text = f"{name} {json.dumps(payload, sort_keys=True)}"
            if caller is None:
                self._calls[text] += 1
                return self._world.again((text, self._calls[text]), function, payload, context)
            key = self.fault.place(caller[0]), caller[1]
            self.fault.turns[key] = None
            in_branch = self._is_in_branch(*caller)
            return self._world.again((text, key), function, payload, context, in_branch=in_branch)

        return again

    # -- threads that handlers have started ------------------------------------------------------------------------

    def wait_for_outside(self, deadline: float, reached: Callable[[], bool]) -> bool:
        """Wait for threads of handlers, unless it is known that none will do anything."""
        if self._in_vain():
            return False
        return super().wait_for_outside(min(deadline, steady() + self.patience), reached)

    def may_act(self) -> bool | None:
        """Tell whether a thread that a handler has started may do something; None when there are none."""
        return self._world.handler_threads.may_act()

    def _in_vain(self) -> bool:
        """Tell whether nobody will answer what is open: nobody did in the first run, and waiting would add up."""
        with self.service.lock:
            return all(
                (self.fault.place(handle.arn), operation["Id"]) in self._world.in_vain
                for handle in list(self.service.handles.values())
                for operation in handle.open_callbacks
            )


def _is_in_a_branch(handle: ExecutionHandle, operation_id: str | None) -> bool:
    while operation_id is not None and (operation := handle.machine.operations.get(operation_id)) is not None:
        if operation.get("SubType") in ("Map", "Parallel"):
            return True
        operation_id = operation.get("ParentId")
    return False


class _Ids:
    """Draws the same ids in each run, since outcomes of an earlier one may hold them.

    Args:
        family: What they come of.

    """

    def __init__(self, family: UUID) -> None:
        self._family = family
        self._roots = count()

    def __call__(self, origin: Origin) -> str:
        """Give an id, by the invoke that leads to the execution."""
        return str(uuid5(self._family, repr(origin.parent or next(self._roots))))
