"""Workers that come and go: what they had taken on is left to whoever drives then, and a caller may drive again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perdure import durable_execution
from perdure.local import LocalService, VirtualClock
from perdure.local.http import LocalServer
from support.handlers import DONE

if TYPE_CHECKING:
    from perdure import DurableContext


@durable_execution
def napping(_event: Any, context: DurableContext) -> str:
    context.wait(3600)
    return "rested"


@pytest.mark.parametrize("served", [False, True], ids=["workers alone", "a server"])
def test_where_workers_have_stopped_a_caller_drives_again(served: bool) -> None:
    with LocalService(clock=VirtualClock()) as service:
        service.register("f", napping)
        if served:
            with LocalServer(service):
                assert service.run("f", name="first", wait=20).value == "rested"
                assert service.stop_workers()
                assert service.run("f", name="inside").value == "rested"
        else:
            service.start_workers()
            assert service.run("f", name="first", wait=20).value == "rested"
            assert service.stop_workers()
        assert service.run("f", name="second").value == "rested"
        service.start_workers()
        assert service.run("f", name="third", wait=20).value == "rested"


def test_what_was_taken_on_and_is_called_off_does_not_begin() -> None:
    began: list[str] = []

    def handler(_event: Any, _context: Any) -> Any:
        began.append("began")
        return DONE

    service = LocalService().register("f", handler)
    handle, driver = service.start("f"), service._driver
    with service.wake:
        driver.fire()
        job = driver.next_job()
        assert job is not None
        turn = driver.take_on(job)
        driver.call_off()
        driver.run(turn)
    assert began == []
    assert (handle.status, handle.invocations) == ("RUNNING", [])
    assert service.drive(handle).status == "SUCCEEDED"
    assert began == ["began"]
