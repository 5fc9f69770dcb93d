"""Crash everywhere, on the asynchronous side: the workflows that crash in `e2e.test_crash`, each call in them awaited.

Wherever a run is cut, or loses an answer, it ends as the undisturbed one, and that as the one of a plain handler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e import test_crash as crashes
from perdure import Checkpointing
from perdure.local import InvocationCut
from perdure.local.event_forms import to_event_operation
from support.asynchronous import asynchronous
from support.coroutines import as_coroutines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AWAITED = as_coroutines(crashes)
NAMES = [name for name in crashes.CORPUS if name not in {"saga", "combined", "early_race", "typed"}]


class World(crashes.World):
    """One run of a workflow by an ``async def`` handler."""

    def __init__(
        self,
        name: str,
        hurt: Callable[[int, str], None] = lambda *_: None,
        checkpointing: Checkpointing = Checkpointing.BATCHED,
    ) -> None:
        workflow = getattr(AWAITED, name)
        super().__init__(workflow, hurt)
        self._handler = asynchronous(lambda _, context: workflow(context, self.journal), checkpointing=checkpointing)
        self.service.register("f", self._handler)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(crashes.checkpoint, "sleep", lambda _: None)
    monkeypatch.setattr(crashes.checkpoint.Checkpointer, "watch", lambda _: None)
    return


def undisturbed(name: str, mode: Checkpointing = Checkpointing.BATCHED) -> tuple[Any, int, crashes.Journal]:
    world = World(name, checkpointing=mode)
    world.run()
    assert world.handle.status == "SUCCEEDED", world.handle.error
    return crashes.shape(world.handle), world.calls, world.journal


@crashes.MODES
@pytest.mark.parametrize("name", NAMES)
def test_it_is_recorded_as_by_a_plain_handler(name: str, mode: Checkpointing) -> None:
    expected, _, calm = crashes.undisturbed(crashes.CORPUS[name])
    found, _, journal = undisturbed(name, mode)
    assert found == expected
    assert journal.begun == calm.begun


@crashes.MODES
@pytest.mark.parametrize("way", crashes.WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_run_hurt_at_any_call_ends_the_same(name: str, way: str, mode: Checkpointing) -> None:
    crashes.hurt_at_each_call(
        lambda hurt: World(name, hurt, mode),
        undisturbed(name, mode),
        way,
        exact_attempts=name != "at_most_once",
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_invocation_dies_after_its_first_call(name: str) -> None:
    expected, _, _ = undisturbed(name)
    world = World(name)
    died: set[int] = set()

    def hurt(called: str, _arguments: dict[str, Any], when: str) -> None:
        invocations = len(handle.invocations)
        if (
            when == "after"
            and not called.startswith("send_")
            and invocations not in died
            and invocations % 7 in {1, 2, 4, 5}
        ):
            died.add(invocations)
            raise InvocationCut

    world.service.on_api_call = hurt
    handle = world.service.start("f")
    world.service.drive(handle)
    assert died
    assert crashes.shape(handle)[:2] == expected[:2], handle.error


@pytest.mark.parametrize("name", NAMES)
def test_an_execution_replayed_from_its_end_writes_nothing(name: str) -> None:
    world = World(name)
    world.run()
    operations = [
        to_event_operation({**each, "Status": "STARTED"} if each["Type"] == "EXECUTION" else each)
        for each in world.handle.machine.operations.values()
    ]
    event = {
        "DurableExecutionArn": world.handle.arn,
        "CheckpointToken": "none",
        "InitialExecutionState": {"Operations": operations},
    }
    journal, workflow = crashes.Journal(), getattr(AWAITED, name)

    class NoService:
        def checkpoint_durable_execution(self, **_arguments: Any) -> Any:
            raise AssertionError("it was called")

        get_durable_execution_state = checkpoint_durable_execution

    handler = asynchronous(lambda _, context: workflow(context, journal), boto3_client=NoService())
    assert handler(event, None) == {"Status": "SUCCEEDED", "Result": world.handle.result}
    assert not journal.begun
