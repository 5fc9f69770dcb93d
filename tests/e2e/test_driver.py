"""Another driver runs the same operations: a toy, of one thread, which awaits and keeps waiting code where it is.

Whatever workflow runs by it, in whatever order its branches take turns, the history and the result are the same.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e import test_crash as crashes
from perdure import Checkpointing, DurableContext, StepContext, durable_execution
from perdure.config import CompletionConfig
from perdure.local import LocalService, VirtualClock
from perdure.retries import RetryPresets, WithRetryConfig, with_retry
from support import corpus, workflow_player, workflows
from support.both_sdks import PERDURE, Sdk, play
from support.cooperative import cooperative
from support.coroutines import as_coroutines, in_classes_of
from support.invocations import invoke, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[Any, Any], Any]

CORPUS_AWAITED = as_coroutines(corpus)
CRASHES_AWAITED = as_coroutines(crashes)
WORKFLOWS_AWAITED = as_coroutines(workflow_player, also=["_guarded"])
SEEDS = range(3)
COMPARED = ("Result", "Error", "Attempt")


def history(handle: Any) -> Any:
    """Give what is recorded of an execution, and how it ended; not the moments, nor what the service has drawn."""
    operations = {
        operation["Id"]: [operation.get(key) for key in ("Type", "SubType", "Name", "ParentId", "Status")]
        + [
            {key: value for key, value in (operation.get(details) or {}).items() if key in COMPARED}
            for details in ("StepDetails", "ContextDetails", "CallbackDetails", "ChainedInvokeDetails")
        ]
        for operation in handle.operations
    }
    return handle.status, handle.result, handle.error, len(handle.invocations), operations


def drawing(seed: int) -> Callable[[int], int]:
    """Give what chooses the task that goes on."""
    return Random(seed).randrange  # noqa: S311  an order, not a secret


# ---- the corpora


def run_of_the_corpus(name: str, handler: Handler) -> Any:
    answers = {answer[0]: answer[1:] for answer in corpus.ANSWERS[name]}

    def answer(operation: Any, client: Any) -> None:
        kind, content = answers[operation["Name"]]
        callback_id = operation["CallbackDetails"]["CallbackId"]
        if kind == "success":
            client.send_durable_execution_callback_success(CallbackId=callback_id, Result=content)
        else:
            client.send_durable_execution_callback_failure(CallbackId=callback_id, Error={"ErrorMessage": "no"})

    service = LocalService(clock=VirtualClock(), on_callback=answer)
    for function in (corpus.double, corpus.breaks):
        service.register(function.__name__, function, durable=False)
    service.register("f", handler)
    return history(service.run("f", event={"n": 1}))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", corpus.HANDLERS)
def test_the_corpus_runs_alike(name: str, seed: int) -> None:
    awaited = cooperative(getattr(CORPUS_AWAITED, name), drawing(seed))
    assert run_of_the_corpus(name, awaited) == run_of_the_corpus(name, corpus.HANDLERS[name])


@pytest.mark.parametrize("mode", [Checkpointing.EAGER, Checkpointing.OPTIMISTIC])
@pytest.mark.parametrize("name", corpus.HANDLERS)
def test_the_corpus_runs_alike_whenever_its_updates_are_sent(name: str, mode: Checkpointing) -> None:
    awaited = cooperative(getattr(CORPUS_AWAITED, name), drawing(SEEDS[0]), checkpointing=mode)
    assert run_of_the_corpus(name, awaited) == run_of_the_corpus(name, corpus.HANDLERS[name])


def run_of_the_crashes(make: Callable[[Handler], Handler], workflow: Any) -> Any:
    world = crashes.World(workflow)
    world.service.register("f", make(lambda _event, context: workflow(context, world.journal)))
    return history(world.run()), world.journal.attempts


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "name", [name for name in crashes.CORPUS if not name.startswith(("early", "saga", "combined"))]
)
def test_the_workflows_that_crash_elsewhere_run_alike(name: str, seed: int) -> None:
    """Those that end early end by whoever comes first, which is drawn here. Sagas and combinators await nothing."""
    found, attempts = run_of_the_crashes(
        lambda handler: cooperative(handler, drawing(seed)), getattr(CRASHES_AWAITED, name)
    )
    expected, expected_attempts = run_of_the_crashes(durable_execution, crashes.CORPUS[name])
    assert found == expected
    assert attempts == expected_attempts, "each function runs as often"


class Cooperative(Sdk):
    """perdure by the toy driver."""

    def __init__(self, seed: int) -> None:
        super().__init__("cooperative", "perdure")
        object.__setattr__(self, "_draw", drawing(seed))

    def durable(self, handler: Handler) -> Handler:
        return cooperative(handler, self._draw)


@settings(max_examples=settings.default.max_examples * 2)
@given(workflows.WORKFLOWS, st.integers(0, 99))
def test_generated_workflows_run_alike(workflow: workflow_player.Workflow, seed: int) -> None:
    """But for how often code runs again, of which user code may tell: what rests is kept."""
    _, by_threads = play(workflow, PERDURE, workflows.WORLD)
    _, by_tasks = play(in_classes_of(WORKFLOWS_AWAITED, workflow), Cooperative(seed), workflows.WORLD)
    by_threads.notes.clear()
    by_tasks.notes.clear()
    different = by_threads.differences(by_tasks)
    assert not different, "threads first, tasks second\n" + "\n".join(different)


# ---- what only a driver does that keeps code where it is


@pytest.mark.parametrize("at_most_once", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_that_is_due_again_goes_on_where_it_is(seed: int, at_most_once: bool) -> None:
    clock = VirtualClock()
    ran: list[str] = []

    def flaky(step: StepContext) -> int:
        ran.append(f"attempt {step.attempt}")
        if step.attempt < 3:
            raise ValueError("not yet")
        return step.attempt

    async def retried(context: Any) -> Any:
        ran.append("branch")
        semantics = crashes.AT_MOST_ONCE if at_most_once else None
        return await context.step(flaky, "flaky", retry=RetryPresets.fixed(5), step_semantics=semantics)

    async def busy(context: Any) -> None:
        for _ in range(12):
            await context.step(lambda _: clock.advance(10), "time goes by")

    async def handler(_event: Any, context: Any) -> Any:
        batch = context.parallel([retried, busy], completion_config=CompletionConfig.all_completed())
        return (await batch).get_results()

    service = LocalService(clock=clock)
    service.register("f", cooperative(handler, drawing(seed)))
    handle = service.run("f")
    assert handle.value == [3, None]
    assert ran == ["branch", "attempt 1", "attempt 2", "attempt 3"], "the branch's own code ran once"
    assert len(handle.invocations) == 1


# ---- what no flow may change


def stop(*_: Any) -> Any:
    raise StopIteration("user's")


def test_a_stop_iteration_of_the_users_is_an_error_like_others() -> None:
    """Python makes another error of one that leaves a generator."""

    def handler(context: DurableContext) -> list[str]:
        never = RetryPresets.none()
        found = []
        for operation in (
            lambda: context.step(stop, retry=never),
            lambda: context.run_in_child_context(stop),
            lambda: context.run_in_child_context(stop, is_virtual=True),
            lambda: context.map([1], stop).throw_if_error(),
            lambda: with_retry(context, stop, WithRetryConfig(never, wrap_with_run_in_child_context=False)),
        ):
            try:
                operation()
            except Exception as error:  # noqa: BLE001  told
                found.append(f"{type(error).__name__} of {getattr(error, 'error_type', None)}")
        return found

    response, _ = invoke(handler)
    failed = [f"{kind} of StopIteration" for kind in ("StepError", *["ChildContextError"] * 3)]
    assert response == succeeded(str([*failed, "StopIteration of None"]).replace("'", '"'))
