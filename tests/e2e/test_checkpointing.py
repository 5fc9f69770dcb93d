"""When updates leave, and which are waited for: the calls of each mode, its ends, failures that come late."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from perdure import Checkpointing, DurableContext, InvocationError, StepError, ValidationError, durable_execution
from perdure.config import NestingType, StepSemantics
from perdure.engine import checkpoint
from perdure.local import LocalService, client_error
from perdure.plugin import DurableInstrumentationPlugin
from perdure.retries import RetryPresets
from perdure.waits import WaitForConditionDecision
from support.explored import search
from support.invocations import PENDING, LambdaContext, Recorder, invoke, op, succeeded
from support.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_thread_is_left")]

EAGER, BATCHED, OPTIMISTIC = Checkpointing
ONCE = StepSemantics.AT_MOST_ONCE_PER_RETRY
MODES = pytest.mark.parametrize("mode", Checkpointing)


@pytest.fixture(autouse=True)
def no_linger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing leave because a body takes long on a busy machine."""
    monkeypatch.setattr(checkpoint.Checkpointer, "watch", lambda _: None)
    return


def steps(context: DurableContext, count: int = 3) -> int:
    return sum(context.step(lambda _, n=n: n, f"s{n}") for n in range(count))


# ---- which calls are made


def test_by_default_a_short_step_is_a_call() -> None:
    batches = [[f"STEP START s{n}", f"STEP SUCCEED s{n}"] for n in range(3)]
    for options in ({}, {"checkpointing": BATCHED}):
        response, client = invoke(steps, **options)
        assert (response, client.summary) == (succeeded("3"), batches)


def test_eagerly_each_update_is_a_call_and_a_start_is_recorded_before_the_function_runs() -> None:
    client = Recorder()
    seen: list[int] = []

    def handler(context: DurableContext) -> Any:
        context.step(lambda _: seen.append(len(client.calls)), "s")

        def child(inner: DurableContext) -> None:
            seen.append(len(client.calls))
            inner.step(lambda _: seen.append(len(client.calls)), "in")

        context.run_in_child_context(child, "child")
        context.map([1, 2], lambda *_: seen.append(len(client.calls)), "map", max_concurrency=1)

    invoke(handler, client=client, checkpointing=EAGER)
    assert client.summary == [
        ["STEP START s"],
        ["STEP SUCCEED s"],
        ["CONTEXT START child"],
        ["STEP START in"],
        ["STEP SUCCEED in"],
        ["CONTEXT SUCCEED child"],
        ["CONTEXT START map"],
        ["CONTEXT START map-item-0"],
        ["CONTEXT SUCCEED map-item-0"],
        ["CONTEXT START map-item-1"],
        ["CONTEXT SUCCEED map-item-1"],
        ["CONTEXT SUCCEED map"],
    ]
    assert seen == [1, 3, 4, 8, 10]


def test_optimistically_steps_share_a_call_at_the_end() -> None:
    response, client = invoke(steps, checkpointing=OPTIMISTIC)
    assert response == succeeded("3")
    assert client.summary == [[f"STEP {action} s{n}" for n in range(3) for action in ("START", "SUCCEED")]]


@pytest.mark.parametrize("count", [124, 125, 126, 250, 1000])
def test_so_many_steps_as_fill_a_batch_are_a_call(count: int) -> None:
    _, client = invoke(lambda context: steps(context, count), checkpointing=OPTIMISTIC)
    assert len(client.calls) == -(-count // 125)
    assert len(client.updates) == 2 * count


def test_large_results_leave_when_they_fill_a_call() -> None:
    def handler(context: DurableContext) -> None:
        for _ in range(20):
            context.step(lambda _: "x" * 100_000)

    _, client = invoke(handler, checkpointing=OPTIMISTIC)
    assert len(client.calls) in (3, 4)


def condition(context: DurableContext) -> None:
    context.wait_for_condition(
        lambda state, _: state, wait_strategy=lambda *_: WaitForConditionDecision.stop_polling(), initial_state=0
    )


def failing(context: DurableContext) -> None:
    def fail(_step: Any) -> None:
        raise ValueError

    with pytest.raises(StepError):
        context.step(fail, retry=RetryPresets.none())


WAITED_FOR: dict[str, Callable[[DurableContext], Any]] = {
    "wait": lambda c: c.wait(5),
    "callback": lambda c: c.create_callback(),
    "invoke": lambda c: c.invoke("f", 1),
    "at most once": lambda c: c.step(lambda _: 1, step_semantics=ONCE),
    "condition": condition,
    "failure": failing,
}


@pytest.mark.parametrize("name", WAITED_FOR)
def test_what_must_be_waited_for_has_all_before_it_on_record(name: str) -> None:
    """What it is recorded with, or after: nothing is told to the outside before."""
    client = Recorder()
    before: list[str] = []

    def handler(context: DurableContext) -> None:
        steps(context, 2)
        context.run_in_child_context(lambda inner: steps(inner, 1), "child")
        assert client.calls == []
        WAITED_FOR[name](context)
        before.extend(client.summary[0])
        context.step(lambda _: 1, "after")

    invoke(handler, client=client, checkpointing=OPTIMISTIC)
    first = client.summary[0]
    assert first[:2] == ["STEP START s0", "STEP SUCCEED s0"]
    assert first[7] == "CONTEXT SUCCEED child"
    assert len(first) in (9, 10)
    assert before in ([], first)


def test_an_at_most_once_step_runs_after_all_is_recorded_and_its_end_is_waited_for() -> None:
    client = Recorder()
    seen: list[int] = []

    def handler(context: DurableContext) -> None:
        steps(context, 1)
        context.step(lambda _: seen.append(len(client.calls)), "once", step_semantics=ONCE)
        seen.append(len(client.calls))

    invoke(handler, client=client, checkpointing=OPTIMISTIC)
    assert seen == [1, 2]
    assert client.summary == [["STEP START s0", "STEP SUCCEED s0", "STEP START once"], ["STEP SUCCEED once"]]


@pytest.mark.parametrize("nesting", NestingType)
@pytest.mark.parametrize("concurrency", [1, 4])
def test_branches_do_not_wait_for_each_other_s_record(nesting: NestingType, concurrency: int) -> None:
    def handler(context: DurableContext) -> Any:
        found = context.map(
            range(20), lambda inner, n, *_: inner.step(lambda _: n), nesting_type=nesting, max_concurrency=concurrency
        )
        return sum(found.get_results())

    response, client = invoke(handler, checkpointing=OPTIMISTIC)
    assert response == succeeded("190")
    assert len(client.calls) == 1


# ---- whatever the end


ENDS: dict[str, tuple[Callable[[DurableContext], Any], str]] = {
    "error": (lambda _: 1 / 0, "FAILED"),
    "suspension": (lambda c: c.wait_for_callback(lambda *_: None), "PENDING"),
    "interrupt": (lambda _: (_ for _ in ()).throw(KeyboardInterrupt), "KeyboardInterrupt"),
    "exit": (lambda _: (_ for _ in ()).throw(SystemExit), "SystemExit"),
    "repetition": (lambda _: (_ for _ in ()).throw(InvocationError("again")), "InvocationError"),
    "wrong context": (lambda c: c.step(lambda _: c.step(lambda _: 1)), "FAILED"),
    "unserialisable": (lambda _: object(), "FAILED"),
    "large result": (lambda _: "x" * 6_200_000, "SUCCEEDED"),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_was_handed_on_is_recorded_whatever_the_end(end: str) -> None:
    last, expected = ENDS[end]

    def handler(context: DurableContext) -> Any:
        steps(context)
        return last(context)

    client = Recorder()
    try:
        response, _ = invoke(handler, client=client, checkpointing=OPTIMISTIC)
        ended = response["Status"]
    except BaseException as raised:  # noqa: BLE001  what the test is about
        ended = type(raised).__name__
    assert ended == expected
    assert [each.get("Name") for each in client.updates if each["Action"] == "SUCCEED"][:3] == ["s0", "s1", "s2"]


def test_an_interrupt_is_raised_though_what_was_handed_on_cannot_be_recorded() -> None:
    def handler(context: DurableContext) -> Any:
        steps(context)
        raise KeyboardInterrupt

    client = Recorder(script=[client_error("ValidationException", "no", "CheckpointDurableExecution")])
    with pytest.raises(KeyboardInterrupt):
        invoke(handler, client=client, checkpointing=OPTIMISTIC)
    assert len(client.calls) == 1


def test_a_history_that_differs_fails_after_what_was_handed_on_is_recorded() -> None:
    def handler(context: DurableContext) -> Any:
        context.step(lambda _: 1, "new")
        return context.step(lambda _: 2, "renamed")

    response, client = invoke(handler, op("STEP", "SUCCEEDED", 2, Name="old"), checkpointing=OPTIMISTIC)
    assert response["Status"] == "FAILED"
    assert client.summary == [["STEP START new", "STEP SUCCEED new"]]


def test_what_was_handed_on_leaves_before_long_though_the_code_comes_to_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()  # here it lingers
    arrived = threading.Event()

    class Watched(Recorder):
        def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
            answer = super().checkpoint_durable_execution(**call)
            if any(each["Action"] == "SUCCEED" for each in call["Updates"]):
                arrived.set()
            return answer

    def handler(context: DurableContext) -> bool:
        threads = context.invocation.checkpoints.threads

        def until_nobody_looks(_step: Any) -> None:
            """The START has left by then, and with it the thread that saw to it."""
            with threads[0]:
                pass

        context.step(until_nobody_looks)
        return arrived.wait(30)

    response, _ = invoke(handler, client=Watched(), checkpointing=OPTIMISTIC)
    assert response == succeeded("true")


# ---- failures that come late


@MODES
def test_a_lasting_failure_of_the_service_fails_the_execution_however_late_it_comes(mode: Checkpointing) -> None:
    client = Recorder(script=[client_error("ValidationException", "no", "CheckpointDurableExecution")])
    response, _ = invoke(steps, client=client, checkpointing=mode)
    assert response["Status"] == "FAILED"
    assert response["Error"]["ErrorType"].endswith("CheckpointError")


@MODES
def test_a_passing_one_has_the_invocation_repeated(mode: Checkpointing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "sleep", lambda _: None)
    failure = client_error("TooManyRequestsException", "slow down", "CheckpointDurableExecution")
    client = Recorder(script=[failure] * 100)
    with pytest.raises(InvocationError):
        invoke(steps, client=client, context=LambdaContext(900.0, 0.0), checkpointing=mode)


@MODES
def test_a_revoked_token_ends_the_invocation_and_nothing_goes_on(mode: Checkpointing) -> None:
    ran: list[str] = []

    def handler(context: DurableContext) -> Any:
        steps(context, 1)
        context.step(lambda _: ran.append("once"), step_semantics=ONCE)
        return "over"

    client = Recorder(script=[{"NewExecutionState": {"Operations": []}}])
    response, _ = invoke(handler, client=client, checkpointing=mode)
    assert (response, ran) == (PENDING, [])


def test_a_failure_in_the_middle_stops_the_next_operation_and_no_code_can_swallow_it() -> None:
    ran: list[int] = []

    def handler(context: DurableContext) -> Any:
        for n in range(300):
            try:
                context.step(lambda _, n=n: ran.append(n))
            except Exception:  # noqa: BLE001  which it is not
                ran.append(-1)
        return "over"

    client = Recorder(script=[client_error("ValidationException", "no", "CheckpointDurableExecution")])
    response, _ = invoke(handler, client=client, checkpointing=OPTIMISTIC)
    assert response["Status"] == "FAILED"
    assert ran == list(range(125))


def test_the_end_waits_for_a_call_that_carries_what_was_handed_on() -> None:
    """Made by a thread that looked after it meanwhile, and that the end of the time gave up."""
    begun, let = threading.Event(), threading.Event()

    class Slow(Recorder):
        def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
            begun.set()
            assert let.wait(30)
            return super().checkpoint_durable_execution(**call)

    held = threading.Lock()

    def handler(context: DurableContext) -> Any:
        steps(context)
        checkpoints = context.invocation.checkpoints
        held.acquire()

        def send() -> None:
            try:
                checkpoints.flush()
            finally:
                held.release()

        threading.Thread(target=send).start()
        assert begun.wait(30)
        threading.Timer(0.05, let.set).start()
        return "over"

    client = Slow()
    response, _ = invoke(handler, client=client, checkpointing=OPTIMISTIC)
    assert response == succeeded('"over"')
    assert len(client.calls) == 1, "which has returned by now"
    assert held.acquire(timeout=30)


# ---- those who look on


class Told(DurableInstrumentationPlugin):
    """Takes down starts and ends."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def create_plugin(self, _info: Any) -> Told:
        return self

    def on_operation_start(self, info: Any) -> None:
        self.lines.append(f"{info.name} begins")

    def on_operation_end(self, info: Any) -> None:
        self.lines.append(f"{info.name} is {info.status.value}")


def on_the_service(handler: Callable[[DurableContext], Any], **options: Any) -> Any:
    @durable_execution(**options)
    def durable(_event: Any, context: DurableContext) -> Any:
        return handler(context)

    handle = LocalService().register("f", durable).run("f")
    assert handle.status == "SUCCEEDED", handle.error
    return handle


def test_plugins_hear_of_an_end_with_the_next_operation_after_it_is_recorded() -> None:
    told = Told()

    def handler(context: DurableContext) -> None:
        steps(context, 2)
        context.step(lambda _: 1, "once", step_semantics=ONCE)
        context.step(lambda _: 1, "last")

    on_the_service(handler, plugins=[told], checkpointing=OPTIMISTIC)
    ends = ["s0 is SUCCEEDED", "s1 is SUCCEEDED"]
    assert told.lines[:3] == ["s0 begins", "s1 begins", "once begins"]
    assert told.lines[3:] in (
        [*ends, "once is SUCCEEDED", "last begins", "last is SUCCEEDED"],
        ["once is SUCCEEDED", *ends, "last begins", "last is SUCCEEDED"],
    )


@MODES
def test_plugins_hear_of_everything_once(mode: Checkpointing) -> None:
    ledger = Ledger()

    def handler(context: DurableContext) -> None:
        steps(context)
        context.map(range(5), lambda inner, n, *_: inner.step(lambda _: n))
        context.wait(1)
        steps(context)

    handle = on_the_service(handler, plugins=[ledger], checkpointing=mode)
    ledger.check(len(handle.invocations))
    ended = [place for entries in ledger.invocations for hook, place in entries.hooks if hook == "ended"]
    assert len(ended) == len(set(ended)) == 3 + 11 + 1 + 3


@MODES
def test_the_explorer_finds_nothing_in_what_is_right(mode: Checkpointing) -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        first = steps(context)
        second = context.map([1, 2], lambda inner, n, *_: inner.step(lambda _: n)).get_results()
        context.wait(1)
        third = context.run_in_child_context(lambda inner: steps(inner, 2))
        return [first, second, third, context.step(lambda _: "once", step_semantics=ONCE, retry=RetryPresets.fixed(1))]

    report = search(handler, checkpointing=mode)
    assert report.ok, str(report)


def test_now_waits_for_the_record_that_it_is_told_by() -> None:
    def handler(context: DurableContext) -> Any:
        context.step(lambda _: 1, "s")
        before = context.now()
        context.wait(5)
        return before.isoformat()

    handle = on_the_service(handler, checkpointing=OPTIMISTIC)
    (step,) = [each for each in handle.operations if each.get("Name") == "s"]
    assert handle.value.startswith(step["EndTimestamp"].isoformat()[:19])


@pytest.mark.parametrize("wrong", ["OPTIMISTIC", None, 1])
def test_what_is_no_mode_is_refused_in_words(wrong: Any) -> None:
    with pytest.raises(ValidationError, match=r"checkpointing must be one of Checkpointing.EAGER, .*, not "):
        durable_execution(checkpointing=wrong)(lambda _event, _context: None)
