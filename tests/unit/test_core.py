"""The engine as a driver sees it: what it says, and what it leaves to be carried out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perdure import _core
from perdure._control import CheckpointsBroken
from perdure._core import PENDING, RUN, Execution, Operation
from perdure.exceptions import SuspendExecution, TimedSuspendExecution
from support.invocations import op

if TYPE_CHECKING:
    from collections.abc import Generator

DUE = 1_700_000_000_000


def test_what_cannot_go_on_suspends_nobody_until_the_driver_says_so() -> None:
    core = Execution("token")
    core.load([op("WAIT", "STARTED", details={"ScheduledEndTimestamp": DUE})])
    root = core.root()
    found = root.wait(None, 5)
    assert isinstance(found, Operation)
    assert (found.decision, found.until) == (PENDING, DUE)
    beside = root.step(None)
    assert isinstance(beside, Operation)
    assert beside.decision == RUN
    assert not core.is_stopped
    assert core.ending("returned", 0) == ("succeed", False)
    with pytest.raises(TimedSuspendExecution):
        root.suspend(found.until)
    with pytest.raises(SuspendExecution):
        root.step(None)
    with pytest.raises(SuspendExecution):
        beside.succeed(None)
    assert core.is_stopped
    assert core.ending("returned", 0) == ("pending", True)


def test_no_number_stands_for_two_decisions() -> None:
    names = ["RUN", "START", "INTERRUPTED", "RECORDED", "FAILED", "PENDING"]
    names += ["RUN_BRANCH", "WAIT", "SUSPEND", "DONE", "ABORT", "PASS", "HELD", "YIELD"]
    assert len({getattr(_core, name) for name in names}) == len(names)


def test_what_a_handler_did_has_its_names() -> None:
    with pytest.raises(ValueError, match="no end of a handler: gone"):
        Execution("token").ending("gone", 0)  # type: ignore[arg-type]


def test_a_flow_whose_operation_has_to_wait_is_closed_and_its_code_unwinds() -> None:
    core = Execution("token")
    core.load([op("WAIT", "STARTED", details={"ScheduledEndTimestamp": DUE})])
    root = core.root()
    ends: list[str] = []

    def flow(operation: Any) -> Generator[Any, Any, None]:
        try:
            yield operation
        except GeneratorExit:
            ends.append("closed")
            raise

    with pytest.raises(TimedSuspendExecution):
        core.run(flow(root.wait(None, 5)), None)
    assert ends == ["closed"]
    with pytest.raises(SuspendExecution):  # whatever the code makes of it
        root.step(None)


def test_a_flow_is_given_an_operation_that_can_go_on_or_hears_what_keeps_it_from_that() -> None:
    def flow(operation: Any) -> Generator[Any, Any, Any]:
        try:
            return (yield operation).decision
        except CheckpointsBroken as error:
            return error.__cause__

    def send(*_: Any) -> Any:
        raise OSError("lost")

    root = (core := Execution("token")).root()
    driver = SimpleNamespace(failure=None, send=send)
    assert core.run(flow(root.step(None)), driver) == RUN
    assert isinstance(core.run(flow(root.wait(None, 5)), driver), OSError)
