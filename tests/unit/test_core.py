"""The engine as a driver sees it: what it says, and what it leaves to be carried out."""

from __future__ import annotations

import pytest

from perdure import _core
from perdure._core import PENDING, RUN, Execution, Operation
from perdure.exceptions import SuspendExecution, TimedSuspendExecution
from support.invocations import op

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
    assert core.ending("returned") == ("succeed", False)
    with pytest.raises(TimedSuspendExecution):
        root.suspend(found.until)
    with pytest.raises(SuspendExecution):
        root.step(None)
    with pytest.raises(SuspendExecution):
        beside.succeed(None)
    assert core.is_stopped
    assert core.ending("returned") == ("pending", True)


def test_no_number_stands_for_two_decisions() -> None:
    names = ["RUN", "START", "INTERRUPTED", "RECORDED", "FAILED", "PENDING"]
    names += ["RUN_BRANCH", "WAIT", "SUSPEND", "DONE", "ABORT", "PASS", "HELD", "YIELD"]
    assert len({getattr(_core, name) for name in names}) == len(names)


def test_what_a_handler_did_has_its_names() -> None:
    with pytest.raises(ValueError, match="no end of a handler: gone"):
        Execution("token").ending("gone")  # type: ignore[arg-type]
