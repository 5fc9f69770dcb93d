"""A step whose attempts may take so long: what fails by it, and what a function that runs on may do."""

from __future__ import annotations

import contextvars
import json
import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, StepContext, StepError, ValidationError, durable_execution
from perdure.config import Duration, StepConfig, StepSemantics
from perdure.exceptions import OrphanedChildException, StepTimeoutError
from perdure.local import LocalService, RealClock, VirtualClock
from perdure.retries import RetryDecision, RetryPresets
from support.executions import run
from support.explored import search
from support.invocations import PENDING, LambdaContext, Recorder, error, invoke, op, succeeded, update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_thread_is_left")]

OFFICIAL = "aws_durable_execution_sdk_python.exceptions."
ONCE = RetryPresets.none()
SOON = 0.02
"""Seconds that are over soon; what is to take longer waits for an event."""


def gave(value: Any) -> dict[str, Any]:
    return succeeded(json.dumps(value))


class Stuck:
    """A step's function that does not end before it is let."""

    def __init__(self, then: Callable[[], Any] = lambda: "late") -> None:
        self.let, self.begun, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.then = then
        self.calls = 0

    def __call__(self, _step: StepContext) -> Any:
        self.calls += 1
        self.begun.set()
        try:
            assert self.let.wait(30)
            return self.then()
        finally:
            self.ended.set()


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    function = Stuck()
    yield function
    function.let.set()


def caught(context: DurableContext, function: Any, **options: Any) -> StepError:
    with pytest.raises(StepError) as raised:
        context.step(function, "slow", **options)
    return raised.value


# ---- fresh, replayed, pending


@pytest.mark.parametrize("timeout", [SOON, timedelta(seconds=SOON)])
def test_an_attempt_that_takes_longer_fails_as_any_other(stuck: Stuck, timeout: Any) -> None:
    def handler(context: DurableContext) -> Any:
        failed = caught(context, stuck, retry=ONCE, timeout=timeout)
        stuck.let.set()
        return [failed.error_type, failed.message]

    response, client = invoke(handler)
    message = "attempt 1 of step slow took longer than its timeout of 0.02 s"
    kind = OFFICIAL + "StepTimeoutError"
    assert response == gave([kind, message])
    start = update("STEP", "START", Name="slow")
    assert client.updates == [start, update("STEP", "FAIL", Name="slow", Error=error(message, kind))]


def test_a_failure_by_timeout_is_replayed_without_a_thread(stuck: Stuck) -> None:
    def handler(context: DurableContext) -> Any:
        failed = caught(context, stuck, retry=ONCE, timeout=SOON)
        return [failed.error_type, failed.message, type(failed.__cause__).__name__]

    recorded = op("STEP", "FAILED", Name="slow", details={"Error": error("m", OFFICIAL + "StepTimeoutError")})
    response, client = invoke(handler, recorded)
    assert response == gave([OFFICIAL + "StepTimeoutError", "m", "DurableOperationError"])
    assert (client.calls, stuck.calls) == ([], 0)


def test_the_next_attempt_is_pending_as_after_any_failure(stuck: Stuck) -> None:
    asked: list[Any] = []

    def retry(problem: Exception, attempts: int) -> RetryDecision:
        asked.append((problem, attempts))
        stuck.let.set()
        return RetryDecision.retry(7)

    def handler(context: DurableContext) -> Any:
        return context.step(stuck, "slow", retry=retry, timeout=SOON)

    response, client = invoke(handler)
    assert response == PENDING
    assert client.updates[-1]["Action"] == "RETRY"
    assert client.updates[-1]["StepOptions"] == {"NextAttemptDelaySeconds": 7}
    ((problem, attempts),) = asked
    assert isinstance(problem, StepTimeoutError)
    assert isinstance(problem, TimeoutError)
    assert attempts == 1
    pending = op("STEP", "PENDING", Name="slow", details={"Attempt": 1, "NextAttemptTimestamp": 2**42})
    response, client = invoke(handler, pending)
    assert (response, client.calls, stuck.calls) == (PENDING, [], 1)


def test_what_ends_in_time_is_as_without(caplog: pytest.LogCaptureFixture) -> None:
    def failing(_step: StepContext) -> None:
        raise ValueError("mine")

    def handler(context: DurableContext) -> Any:
        value = context.step(lambda step: [step.attempt, (1, 2)], "quick", timeout=60)
        failed = caught(context, failing, retry=ONCE, timeout=60)
        return [value[0], list(value[1]), failed.error_type, context.step(lambda _: 1, config=StepConfig(timeout=60))]

    with caplog.at_level(logging.WARNING):
        assert run(handler).value == [1, [1, 2], "ValueError", 1]
    assert caplog.records == []


def test_a_later_attempt_may_succeed_while_the_first_runs_on(stuck: Stuck) -> None:
    """In a branch the step goes on within the invocation, which ends when both functions have."""

    def body(step: StepContext) -> str:
        if step.attempt == 1:
            return str(stuck(step))
        stuck.let.set()
        return "in time"

    def handler(context: DurableContext) -> Any:
        def branch(inner: DurableContext) -> Any:
            return inner.step(body, "slow", retry=RetryPresets.fixed(1), timeout=timedelta(seconds=SOON * 10))

        def beside(_inner: DurableContext) -> None:
            assert stuck.ended.wait(30)

        return context.parallel([branch, beside]).get_results()

    assert run(handler, clock=RealClock()).value == ["in time", None]


def test_an_at_most_once_step_is_timed_from_its_start_on(stuck: Stuck) -> None:
    once = StepSemantics.AT_MOST_ONCE_PER_RETRY

    def handler(context: DurableContext) -> Any:
        failed = caught(context, stuck, retry=ONCE, timeout=SOON, step_semantics=once)
        stuck.let.set()
        return failed.error_type

    response, client = invoke(handler)
    assert response == gave(OFFICIAL + "StepTimeoutError")
    assert client.summary == [["STEP START slow"], ["STEP FAIL slow"]]


# ---- a function that runs on


def test_it_is_said_once_and_the_invocation_waits_for_the_function(
    stuck: Stuck, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(context: DurableContext) -> Any:
        caught(context, stuck, retry=ONCE, timeout=SOON)
        threading.Timer(0.05, stuck.let.set).start()
        return "over"

    with caplog.at_level(logging.WARNING):
        response, _ = invoke(handler)
    assert response == gave("over")
    assert stuck.ended.is_set()
    (record,) = caplog.records
    assert record.getMessage().startswith("attempt 1 of step slow took longer than its timeout of 0.02 s. ")


def test_past_the_time_of_the_invocation_it_is_given_up(stuck: Stuck, caplog: pytest.LogCaptureFixture) -> None:
    def handler(context: DurableContext) -> Any:
        caught(context, stuck, retry=ONCE, timeout=SOON)
        return "over"

    with caplog.at_level(logging.WARNING):
        response, _ = invoke(handler, context=LambdaContext(900.0, 1.0), deadline_reserve=None)
    assert response == gave("over")
    assert not stuck.ended.is_set()
    assert any("threads still ran user code" in record.getMessage() for record in caplog.records)
    stuck.let.set()
    assert stuck.ended.wait(30)


def test_what_it_raises_too_late_is_logged_and_no_more(stuck: Stuck, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("too late")

    stuck.then = fail

    def handler(context: DurableContext) -> Any:
        failed = caught(context, stuck, retry=ONCE, timeout=SOON)
        stuck.let.set()
        return failed.error_type

    with caplog.at_level(logging.WARNING):
        response, _ = invoke(handler)
    assert response == gave(OFFICIAL + "StepTimeoutError")
    late = caplog.records[-1]
    assert "raised ValueError" in late.getMessage()
    assert late.exc_info is not None
    assert str(late.exc_info[1]) == "too late"


OPERATIONS: dict[str, Callable[[DurableContext], Any]] = {
    "step": lambda c: c.step(lambda _: "stolen"),
    "wait": lambda c: c.wait(5),
    "child": lambda c: c.run_in_child_context(lambda _: "stolen"),
    "virtual child": lambda c: c.run_in_child_context(lambda _: "stolen", is_virtual=True),
    "map": lambda c: c.map([1], lambda *_: "stolen"),
    "callback": lambda c: c.create_callback(),
    "invoke": lambda c: c.invoke("f", 1),
}


@pytest.mark.parametrize("method", OPERATIONS)
def test_its_late_operations_are_refused_and_take_no_place(method: str, stuck: Stuck) -> None:
    raised: list[BaseException] = []

    def handler(context: DurableContext) -> Any:
        def operate() -> None:
            try:
                OPERATIONS[method](context)
            except BaseException as problem:
                raised.append(problem)
                raise

        stuck.then = operate
        caught(context, stuck, retry=ONCE, timeout=SOON)
        stuck.let.set()
        assert stuck.ended.wait(30)
        return context.step(lambda _: "mine", "next")

    response, client = invoke(handler)
    assert response == gave("mine")
    assert [type(each) for each in raised] == [OrphanedChildException]
    assert client.updates[2:] == [
        update("STEP", "START", 2, Name="next"),
        update("STEP", "SUCCEED", 2, Name="next", Payload='"mine"'),
    ]


def test_it_may_not_wait_for_a_callback_of_the_handler_s(stuck: Stuck) -> None:
    def handler(context: DurableContext) -> Any:
        callback = context.create_callback()
        stuck.then = callback.result
        caught(context, stuck, retry=ONCE, timeout=SOON)
        stuck.let.set()
        assert stuck.ended.wait(30)
        return context.step(lambda _: "goes on")

    response, _ = invoke(handler)
    assert response == gave("goes on")


def test_in_time_an_operation_on_a_context_is_refused_as_ever() -> None:
    def handler(context: DurableContext) -> Any:
        return context.step(lambda _: context.step(lambda _: 1), timeout=60)

    response, _ = invoke(handler)
    assert response["Error"]["ErrorType"] == OFFICIAL + "WrongContextError"


# ---- threads


COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


def test_a_function_with_a_timeout_runs_in_a_thread_of_its_own_with_the_variables_of_the_caller() -> None:
    def body(_step: StepContext) -> list[Any]:
        seen = COLOUR.get()
        COLOUR.set("of the step")
        return [seen, threading.get_ident()]

    def handler(context: DurableContext) -> Any:
        COLOUR.set("of the handler")
        seen, thread = context.step(body, timeout=60)
        return [seen, COLOUR.get(), thread != threading.get_ident()]

    assert run(handler).value == ["of the handler", "of the handler", True]


def test_without_a_timeout_it_runs_where_it_is_called() -> None:
    def handler(context: DurableContext) -> Any:
        return context.step(lambda _: threading.get_ident()) == threading.get_ident()

    assert run(handler).value is True


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_no_error_goes_through(kind: type[BaseException]) -> None:
    def interrupted(_step: StepContext) -> None:
        raise kind

    client = Recorder()
    with pytest.raises(kind):
        invoke(lambda context: context.step(interrupted, timeout=60), client=client)
    assert [each["Action"] for each in client.updates if each["Action"] != "START"] == []


def test_without_another_thread_the_attempt_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from perdure.engine import threads  # noqa: PLC0415

    def no_more(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start", no_more)
    # The linger's own thread does not begin either, and is not missed.
    response, _ = invoke(lambda context: caught(context, lambda _: 1, retry=ONCE, timeout=60).message)
    assert response == gave("can't start new thread")


def test_an_interrupt_while_it_is_waited_for_gives_the_function_up(
    stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What strikes the handler's thread ends the invocation, whose end still joins the function."""
    from perdure.engine.operations import timeout  # noqa: PLC0415

    class Struck:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.release = self.lock.release

        def acquire(self, timeout: float | None = None) -> bool:
            if timeout is None:
                return self.lock.acquire()
            assert stuck.begun.wait(30)
            threading.Timer(0.05, stuck.let.set).start()
            raise KeyboardInterrupt

    struck = [Struck()]
    monkeypatch.setattr(timeout, "allocate_lock", lambda: struck.pop() if struck else threading.Lock())
    with pytest.raises(KeyboardInterrupt):
        invoke(lambda context: context.step(stuck, timeout=60))
    assert stuck.ended.is_set()


# ---- the local service, the explorer


def test_a_timeout_is_real_time_whatever_the_service_s_clock_says() -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        context.wait(timedelta(days=300))
        return context.step(lambda _: time.sleep(SOON) or "in time", timeout=60)

    assert LocalService(clock=VirtualClock()).register("f", handler).run("f").value == "in time"


def test_the_explorer_finds_nothing_in_a_step_with_a_timeout() -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        first = context.step(lambda _: 1, "a", timeout=60)
        return first + sum(
            context.map([1, 2], lambda inner, n, *_: inner.step(lambda _: n, "b", timeout=60)).get_results()
        )

    report = search(handler)
    assert report.ok, str(report)


# ---- mistakes


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), Duration(0), "30", timedelta(0)])
def test_what_is_no_timeout_is_refused_in_words(timeout: Any) -> None:
    called: list[Any] = []

    def handler(context: DurableContext) -> Any:
        with pytest.raises(ValidationError, match=r"the timeout of step slow must be a Duration, .* and more than 0"):
            context.step(called.append, "slow", timeout=timeout)
        return "refused"

    response, _ = invoke(handler)
    assert response == gave("refused")
    assert called == []


def test_a_mistaken_function_is_refused_in_the_same_words() -> None:
    async def body(_step: StepContext) -> None: ...

    def handler(context: DurableContext) -> Any:
        for function, words in [(3, "takes a function of a StepContext"), (body, "is an async function")]:
            with pytest.raises(ValidationError, match=words):
                context.step(function, timeout=60)  # type: ignore[arg-type]
        return "refused"

    assert invoke(handler)[0] == gave("refused")


def test_a_function_that_gives_a_coroutine_is_refused() -> None:
    async def body() -> None: ...

    response, _ = invoke(lambda context: context.step(lambda _: body(), timeout=60))
    assert response["Status"] == "FAILED"
    assert "Async functions are not taken" in response["Error"]["ErrorMessage"]
