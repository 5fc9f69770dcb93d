"""Crash everywhere, on the asynchronous side: the workflows that crash in `e2e.test_crash`, each call in them awaited.

Wherever a run is cut, or loses an answer, it ends as the undisturbed one, and that as the one of a plain handler. So do
workflows that only an ``async def`` handler can have (`OWN`). What chance decides cannot be compared: there, what was
recorded first stays (`test_what_chance_has_decided_first_stays`).
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from e2e import test_crash as crashes
from perdure import AsyncDurableContext, Checkpointing, CompensationError, StepContext
from perdure.exceptions import StepError
from perdure.local import InvocationCut
from perdure.local.event_forms import to_event_operation
from perdure.retries import RetryPresets
from perdure.serdes import deserialize
from support.asynchronous import asynchronous
from support.coroutines import as_coroutines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ONCE = RetryPresets.none()
ONCE_A_SECOND = RetryPresets.fixed(1)


async def races(c: AsyncDurableContext, j: crashes.Journal) -> Any:
    """Over operations, coroutines and tasks; losers are at all stages."""

    async def one(name: str, seconds: int) -> str:
        await c.wait(seconds, f"wait for {name}")
        return name

    async def child(k: AsyncDurableContext) -> Any:
        first = await k.step(j.body("in0"), "in0")
        await k.wait(2)
        return [first, await k.step(j.body("in1"), "in1")]

    callback = await c.create_callback("asked")
    bad = c.step(j.body("bad", fails=9), "bad", retry=RetryPresets.fixed(500))
    told = [await c.race([c.wait(700), bad, c.run_in_child_context(child, "child")], "race")]
    told.append(await c.any([one("late", 90), c.step(j.body("worse", fails=9), "worse", retry=ONCE), one("soon", 3)]))
    told.append(await c.race([asyncio.ensure_future(callback.result()), c.wait(900)]))
    settled = await c.all_settled([c.run_in_child_context(child), one("too late", 60)], "settled", timeout=20)
    told.append([each.status.value for each in settled])
    return [*told, await c.step(j.body("after"), "after")]


async def selects(c: AsyncDurableContext, j: crashes.Journal) -> Any:
    told = []
    async with c.select("next") as select:
        select.add("end", c.wait(7, "end"))
        select.add("tick", c.wait(2, "tick"))
        async for key, done in select:
            await done
            told.append([key, await c.step(j.body(f"{key}{len(told)}"), key)])
            if key == "end":
                break
            select.add("tick", c.wait(2, "tick"))
    steps = [c.step(j.body(f"s{n}", fails=n), f"s{n}", retry=ONCE_A_SECOND) for n in (2, 0, 1)]
    told.append([await done async for done in c.as_completed(steps, "done")])
    return told


async def limits(c: AsyncDurableContext, j: crashes.Journal) -> Any:
    told: list[Any] = []
    for seconds in (4, 30):
        try:
            async with c.timeout(seconds, f"limit {seconds}"):
                try:
                    told.append(await c.step(j.body("first", fails=1), "first", retry=ONCE_A_SECOND))
                    await c.wait(9)
                finally:
                    await c.step(j.body(f"clean up {seconds}"), "clean up")
        except TimeoutError:
            told.append("late")
        await c.wait(20)
    return [*told, await c.step(j.body("after"), "after")]


async def side_by_side(c: AsyncDurableContext, j: crashes.Journal) -> Any:
    """Groups of tasks with contexts of their own, an operation that nobody awaits, and failures that are kept."""

    async def branch(k: AsyncDurableContext, n: int) -> Any:
        first = await k.step(j.body(f"b{n}", n), f"b{n}")
        await k.wait(1 + n)
        return first + await k.step(j.body(f"c{n}", 10 * n, fails=n % 2), f"c{n}", retry=ONCE_A_SECOND)

    c.step(j.body("forgotten"), "forgotten")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(c.run_in_child_context(lambda k, n=n: branch(k, n), f"child{n}")) for n in range(3)]
    failed = c.step(j.body("failed", fails=9), "failed", retry=ONCE)
    found = await asyncio.gather(failed, c.wait(5), c.step(j.body("well"), "well"), return_exceptions=True)
    return [[task.result() for task in tasks], [str(each) for each in found]]


async def undone_side_by_side(c: AsyncDurableContext, j: crashes.Journal) -> Any:
    """Steps of a saga in tasks, a time limit that makes it fail, and undos that take several invocations, or fail."""

    def booked(saga: Any, n: int, *, fails: int = 0, stays: int = 0) -> Any:
        undo = j.body(f"undo{n}", fails=stays)

        async def undone(step: StepContext, value: Any) -> None:
            await asyncio.sleep(0)
            assert value == n
            undo(step)

        retry = ONCE if stays > 3 else ONCE_A_SECOND
        made = j.body(f"s{n}", n, fails=fails)
        return saga.step(made, f"s{n}", retry=ONCE_A_SECOND, undo=undone, undo_retry=retry)

    try:
        async with c.finally_(j.body("release"), name="release"), c.saga("trip") as saga, c.timeout(6, "limit"):
            await asyncio.gather(booked(saga, 0, fails=2), booked(saga, 1, stays=2), booked(saga, 2, fails=1))
            await booked(saga, 3, stays=9)
            await asyncio.gather(booked(saga, 4), c.wait(60))
    except CompensationError as error:
        return [str(error), type(error.__cause__).__name__, await c.step(j.body("after"), "after")]


async def undone_in_branches(c: AsyncDurableContext, j: crashes.Journal) -> Any:
    async def item(k: AsyncDurableContext, n: int, *_: Any) -> Any:
        async with k.saga(f"saga{n}") as saga:
            undo = j.body(f"undo{n}")
            await saga.step(j.body(f"s{n}", n), f"s{n}", undo=lambda step, _: undo(step))
            await k.wait(1 + n)
            return await saga.step(j.body(f"t{n}", n, fails=9 * (n % 2)), f"t{n}", retry=ONCE, undo=lambda *_: None)

    return crashes._ended(await c.map(range(4), item, "map", completion_config=crashes.ALL))


AWAITED = as_coroutines(crashes)
OWN = {each.__name__: each for each in (races, selects, limits, side_by_side, undone_side_by_side, undone_in_branches)}
WORKFLOWS: dict[str, Any] = {name: getattr(AWAITED, name) for name in crashes.CORPUS} | OWN


class World(crashes.World):
    """One run of a workflow by an ``async def`` handler."""

    def __init__(
        self,
        name: str,
        hurt: Callable[[int, str], None] = lambda *_: None,
        checkpointing: Checkpointing = Checkpointing.BATCHED,
    ) -> None:
        workflow = WORKFLOWS[name]
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
@pytest.mark.parametrize("name", crashes.CORPUS)
def test_it_is_recorded_as_by_a_plain_handler(name: str, mode: Checkpointing) -> None:
    expected, _, calm = crashes.undisturbed(crashes.CORPUS[name])
    found, _, journal = undisturbed(name, mode)
    assert found == expected
    assert journal.begun == calm.begun


CASES = [
    (name, way, mode)
    for name in WORKFLOWS
    for way in crashes.WAYS
    for mode in Checkpointing
    if name not in OWN or mode is Checkpointing.BATCHED or way == "cut after it is applied"
]


@pytest.mark.parametrize(("name", "way", "mode"), CASES)
def test_a_run_hurt_at_any_call_ends_the_same(name: str, way: str, mode: Checkpointing) -> None:
    crashes.hurt_at_each_call(
        lambda hurt: World(name, hurt, mode),
        undisturbed(name, mode),
        way,
        exact_attempts=name != "at_most_once",
    )


@pytest.mark.parametrize("name", WORKFLOWS)
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


@pytest.mark.parametrize("name", WORKFLOWS)
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
    journal, workflow = crashes.Journal(), WORKFLOWS[name]

    class NoService:
        def checkpoint_durable_execution(self, **_arguments: Any) -> Any:
            raise AssertionError("it was called")

        get_durable_execution_state = checkpoint_durable_execution

    handler = asynchronous(lambda _, context: workflow(context, journal), boto3_client=NoService())
    assert handler(event, None) == {"Status": "SUCCEEDED", "Result": world.handle.result}
    assert not journal.begun


# ---- what chance decides


def failing(_step: StepContext) -> None:
    raise OSError("last")


async def chance(c: AsyncDurableContext, drawn: Random, begun: dict[str, int]) -> Any:
    """A race, and a saga whose steps run side by side: who ends first, and who fails, is drawn anew in each run."""

    async def work(name: str) -> str:
        for _ in range(drawn.randrange(4)):
            await asyncio.sleep(0)
        if drawn.random() < 0.3:
            raise OSError(name)
        return name

    def undone(_step: StepContext, name: str) -> None:
        begun[name] = begun.get(name, 0) + 1

    told: list[Any] = []
    names = [f"member{n}" for n in range(3)]
    try:
        told.append(await c.race([c.step(lambda _, name=name: work(name), name, retry=ONCE) for name in names], "race"))
    except StepError as error:
        told.append(f"failed: {error}")
    await c.wait(1)
    try:
        async with c.saga("trip") as saga:
            steps = [
                saga.step(lambda _, name=name: work(name), name, retry=ONCE, undo=undone)
                for name in ("hotel", "flight", "car")
            ]
            await asyncio.gather(*steps)
            await c.step(failing, "last", retry=ONCE)
    except StepError as error:
        told.append(str(error))
    return [*told, await c.step(lambda _: "after", "after")]


class Chance(World):
    """One run of `chance`, with what was recorded of its decisions when they were first recorded."""

    def __init__(self, seed: int, hurt: Callable[[int, str], None], mode: Checkpointing) -> None:
        self.ended: dict[str, Any] = {}
        self.begun: dict[str, int] = {}
        self._mode = mode
        drawn = Random(seed)  # noqa: S311  an order, not a secret
        super().__init__("races", hurt, mode)
        self._handler = asynchronous(lambda _, c: chance(c, drawn, self.begun), checkpointing=mode)
        self.service.register("f", self._handler)

    def _on_call(self, name: str, arguments: dict[str, Any], when: str) -> None:
        for update in arguments.get("Updates", ()) if when == "after" else ():
            if update["Action"] in {"SUCCEED", "FAIL"}:
                told = update.get("Payload"), update.get("Error")
                assert self.ended.setdefault(update["Id"], told) == told  # sent again, where the answer was lost
        super()._on_call(name, arguments, when)

    def check(self) -> None:
        """See that the run has ended, and kept to what was recorded first."""
        handle = self.handle
        assert handle.status == "SUCCEEDED", handle.error
        named = {each["Name"]: each for each in handle.operations if each.get("Name")}
        for operation in named.values():
            details = operation.get("StepDetails") or operation.get("ContextDetails") or {}
            if operation["Id"] in self.ended:
                assert (details.get("Result"), details.get("Error")) == self.ended[operation["Id"]]
        won, failed, after = handle.value
        assert after == "after"
        [first] = deserialize(None, named["race"]["ContextDetails"]["Result"], "id", "arn")["ended"]
        winner = named[f"member{first}"]
        assert won == (f"member{first}" if winner["Status"] == "SUCCEEDED" else f"failed: member{first}")
        well = [name for name in ("hotel", "flight", "car") if named[name]["Status"] == "SUCCEEDED"]
        assert (failed == "last") == (len(well) == 3)
        begun = [each["Name"] for each in handle.operations if each.get("Name", "").startswith("undo-")]
        assert begun == [f"undo-{name}" for name in reversed(well)]
        assert all(named[name]["Status"] == "SUCCEEDED" for name in begun)
        assert self.begun.keys() >= set(well)
        if self._mode is not Checkpointing.OPTIMISTIC:  # by which an undo may run, and the step be lost that it undoes
            assert self.begun.keys() == set(well)


@crashes.MODES
@pytest.mark.parametrize("seed", range(3))
def test_what_chance_has_decided_first_stays(seed: int, mode: Checkpointing) -> None:
    calm = Chance(seed, lambda *_: None, mode)
    calm.run()
    calm.check()
    assert set(calm.begun.values()) <= {1}
    for way, (at, make) in crashes.WAYS.items():
        call, is_hurt = 1, True
        while is_hurt:
            hits: list[int] = []

            def hurt(number: int, when: str, call: int = call, hits: list[int] = hits, at: str = at) -> None:
                if (number, when) == (call, at) and not hits:
                    hits.append(number)
                    raise make(number)  # noqa: B023  called within this turn

            run = Chance(seed, hurt, mode)
            run.run()
            run.check()
            assert all(count <= 1 + ("cut" in way) for count in run.begun.values()), (way, call)
            call, is_hurt = call + 1, bool(hits)
