"""Executions of trees (`support.trees`): run, cut, replayed; and what must be so in each."""

from __future__ import annotations

import asyncio
import gc
import logging
import warnings
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from perdure import AsyncDurableContext, Checkpointing, durable_execution
from perdure.local import InvocationCut, LocalService, VirtualClock
from perdure.local.event_forms import to_event_operation
from support.both_sdks import FAR_AWAY
from support.invocations import LambdaContext
from support.tree_player import Journal, Player

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.trees import Within

    Operations = dict[str, dict[str, Any]]

OVER = {"SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "CANCELLED"}


PATIENCE = 30.0
"""Real seconds that an invocation may take: it takes some thousandths, unless it hangs."""

MOST = 400
"""Invocations in which each execution ends."""

EXPECTED = (
    "an operation failed that nobody has awaited",
    "an operation (",
    "an operation was cancelled",
    "an operation in a context (",
)
"""Of what is logged: operations that a tree has forgotten, or cancelled."""

_SETTLED = ("StepDetails", "ContextDetails", "ChainedInvokeDetails", "CallbackDetails")


def handler_of(tree: Within, journal: Journal, factory: Any = None, **options: Any) -> Any:
    """Make the handler that a tree is, with a factory of tasks."""

    async def handler(_event: Any, context: AsyncDurableContext) -> Any:
        loop = asyncio.get_running_loop()
        journal.invocations += 1
        assert journal.invocations < MOST, "it goes on without end"
        loop.set_task_factory(factory)
        return await Player(journal).run(context, tree, "t")

    return durable_execution(handler, **options)


def _broken(_event: Any, _context: Any) -> Any:
    raise OSError("broken")


def _is_unique(name: str) -> bool:
    """Whether a name is that of one operation: decisions, and branches that have none, share theirs."""
    return name.startswith("t.") and "#" not in name


def _shape(operation: dict[str, Any]) -> dict[str, Any]:
    kept = {key: operation.get(key) for key in ("ParentId", "Type", "SubType", "Name", "Status")}
    for key in _SETTLED:
        details = dict(operation.get(key) or {})
        for moment in ("NextAttemptTimestamp", "CallbackId"):
            details.pop(moment, None)
        kept[key] = details
    return kept


class Run:
    """One execution of a tree.

    Args:
        tree: The handler.
        hurt: Called with the number of each call to the service (from 1) and "before" or "after"; raises to hurt.
        factory: Makes tasks.
        checkpointing: Of the handler.

    """

    def __init__(
        self,
        tree: Within,
        hurt: Callable[[int, str], None] = lambda *_: None,
        factory: Any = None,
        checkpointing: Checkpointing = Checkpointing.BATCHED,
    ) -> None:
        self.calls = 0
        self.journal = Journal()
        self.states: list[Operations] = []
        self._hurt = hurt
        service = LocalService(
            clock=VirtualClock(FAR_AWAY),
            on_api_call=self._on_call,
            on_callback=self._answer,
            retry_delay=lambda _: 0.0,
        )
        handler = handler_of(tree, self.journal, factory, checkpointing=checkpointing)
        service.register("f", handler, timeout_seconds=PATIENCE)
        service.register("echo", lambda event, _: event, durable=False)
        service.register("broken", _broken, durable=False)
        self.handle = service.start("f")
        self.handle.drive()

    def _on_call(self, name: str, _arguments: dict[str, Any], when: str) -> None:
        if name.startswith("send_"):
            return
        if when == "before":
            self.calls += 1
        else:
            operations = self.operations
            self.states.append(deepcopy(operations))
            self.journal.done |= {
                each["Name"] for each in operations.values() if each["Status"] in OVER and "Name" in each
            }
        self._hurt(self.calls, when)

    def _answer(self, operation: dict[str, Any], client: Any) -> None:
        for each in self.handle.open_callbacks or [operation]:
            key = each["CallbackDetails"]["CallbackId"]
            if "denied" in each["Name"]:
                client.send_durable_execution_callback_failure(CallbackId=key, Error={"ErrorMessage": "denied"})
            else:
                client.send_durable_execution_callback_success(CallbackId=key, Result=b"yes")

    @property
    def operations(self) -> Operations:
        return {
            each["Id"]: to_event_operation(each)
            for each in self.handle.machine.operations.values()
            if each["Type"] != "EXECUTION"
        }

    @property
    def shape(self) -> dict[str, Any]:
        """Each operation, but for its times and what is drawn by chance."""
        return {key: _shape(each) for key, each in self.operations.items()}

    @property
    def ids(self) -> dict[str, set[str]]:
        """The ids that operations of each name have had."""
        found: dict[str, set[str]] = {}
        for each in self.handle.updates:
            if each.get("Name"):
                found.setdefault(each["Name"], set()).add(each["Id"])
        return found

    def check(self) -> None:
        """See that what must hold of every run holds of this one."""
        journal, handle = self.journal, self.handle
        assert journal.invocations < MOST
        assert handle.terminal, (handle.status, self.operations)
        assert not journal.contradictions, journal.contradictions
        assert not journal.ran_again, journal.ran_again
        shared = {name: ids for name, ids in self.ids.items() if len(ids) > 1 and _is_unique(name)}
        assert not shared, shared
        ended = [each["Id"] for each in handle.updates if each["Action"] in {"SUCCEED", "FAIL"}]
        assert len(set(ended)) == len(ended)
        begun = [each["Id"] for each in handle.updates if each["Action"] == "START" and each["Type"] != "STEP"]
        assert len(set(begun)) == len(begun)


class Writing:
    """A client of an invocation that goes on from a state: it takes down what is sent."""

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []

    def checkpoint_durable_execution(self, **arguments: Any) -> dict[str, Any]:
        sent = arguments["Updates"]
        self.updates += sent
        callbacks = [
            {
                **{key: each[key] for key in ("Id", "Type", "SubType", "Name", "ParentId") if key in each},
                "Status": "STARTED",
                "CallbackDetails": {"CallbackId": f"of {each['Id']}"},
                "StartTimestamp": 1.0,
            }
            for each in sent
            if each["Type"] == "CALLBACK" and each["Action"] == "START"
        ]
        return {"CheckpointToken": "next", "NewExecutionState": {"Operations": callbacks}}

    def get_durable_execution_state(self, **_arguments: Any) -> Any:
        raise AssertionError("everything was in the event")


def replay(tree: Within, run: Run, state: Operations, factory: Any = None, *, is_certain: bool = False) -> Any:
    """Invoke the handler once, with what was recorded of a run at some moment, and hold it against that run."""
    over = {each["Name"] for each in state.values() if each["Status"] in OVER and "Name" in each}
    known = (
        run.journal.seen if is_certain else {name: run.journal.seen[name] for name in over & run.journal.seen.keys()}
    )
    journal = Journal(known)
    journal.done = over
    client = Writing()
    execution = to_event_operation(
        next(each for each in run.handle.machine.operations.values() if each["Type"] == "EXECUTION")
    )
    event = {
        "DurableExecutionArn": run.handle.arn,
        "CheckpointToken": "first",
        "InitialExecutionState": {"Operations": [execution, *state.values()], "NextMarker": None},
    }
    output = handler_of(tree, journal, factory, boto3_client=client)(event, LambdaContext(PATIENCE))
    assert not journal.contradictions, journal.contradictions
    assert not journal.ran_again, journal.ran_again
    for update in client.updates:
        known_operation = state.get(update["Id"])
        if known_operation is not None:
            assert known_operation["Status"] not in OVER, update
            assert update["Action"] != "START" or update["Type"] == "STEP", update
        name = update.get("Name")
        assert not name or not _is_unique(name) or run.ids.get(name, {update["Id"]}) == {update["Id"]}, (
            update,
            run.ids[name],
        )
    return output, client.updates


@contextmanager
def nothing_is_told() -> Iterator[None]:
    """See that asyncio complains of nothing, nor is anything told that a tree does not give cause for."""
    told: list[str] = []

    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = self.format(record)
            if not text.startswith(EXPECTED):
                told.append(text)

    telling = Telling(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("asyncio", "perdure")]
    for logger in loggers:
        logger.addHandler(telling)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
            gc.collect()
    finally:
        for logger in loggers:
            logger.removeHandler(telling)
    assert not told, told
    assert not [str(each.message) for each in warned]


def cut(call: int, way: str) -> Callable[[int, str], None]:
    """Make what ends the invocation at a call."""

    def hurt(number: int, when: str) -> None:
        if (number, when) == (call, way):
            raise InvocationCut

    return hurt
