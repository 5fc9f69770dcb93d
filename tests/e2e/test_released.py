"""What a failure's traceback goes through is let go with it: nothing waits for the garbage collector."""

from __future__ import annotations

import contextlib
import gc
import logging
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from perdure import ExecutionError, InvocationError, SerDesError, ValidationError, durable_execution
from perdure.config import CompletionConfig, NestingType, StepSemantics, continue_batch
from perdure.engine import checkpoint
from perdure.exceptions import OrphanedChildException
from perdure.local import LocalService
from perdure.retries import RetryDecision, RetryPresets, WithRetryConfig, with_retry
from perdure.waits import WaitForConditionDecision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEVER = RetryPresets.none()
AT_MOST_ONCE = StepSemantics.AT_MOST_ONCE_PER_RETRY
LARGE = "x" * 300_000


class Resource:
    """Something that a function holds in a local, and that is to be let go with it: a connection, say."""


class Held:
    """Makes what functions hold, and tells what of it still lives."""

    def __init__(self) -> None:
        self._made: list[tuple[str, weakref.ref[Resource]]] = []

    def make(self, holder: str) -> Resource:
        resource = Resource()
        self._made.append((holder, weakref.ref(resource)))
        return resource

    def alive(self) -> list[str]:
        return [holder for holder, made in self._made if made() is not None]

    def made(self) -> list[str]:
        return [holder for holder, _ in self._made]


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """Nothing that the collector would find is found; and no log keeps an exception."""
    gc.collect()
    gc.disable()
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)
    gc.enable()


def failing(held: Held, error: type[BaseException] = ValueError) -> Callable[..., Any]:
    """Make a function that fails while it holds something: as a step, child, branch, check, strategy, …."""

    def fail(*_: Any) -> Any:
        resource = held.make("function")
        raise error(f"with {type(resource).__name__} held")

    return fail


def failing_once(held: Held) -> Callable[..., Any]:
    fail, tries = failing(held), []

    def fail_once(*_: Any) -> str:
        tries.append(1)
        return "done" if len(tries) > 1 else fail()

    return fail_once


def failing_once_asked(held: Held) -> Callable[..., Any]:
    """Make a predicate that fails when it is asked once a branch has moved."""
    fail = failing(held)

    def predicate(status: Any) -> Any:
        return fail() if any(item.status for item in status.items) else continue_batch()

    return predicate


def with_operations(held: Held) -> Callable[..., Any]:
    """Make the function of a child or branch that fails by a step of its own."""

    def inside(inner: Any, *_: Any) -> Any:
        resource = held.make("child")
        inner.step(failing(held), retry=NEVER)
        return resource

    return inside


def waiting(held: Held) -> Callable[..., Any]:
    def inside(inner: Any, *_: Any) -> str:
        resource = held.make("child")
        inner.wait(5)
        return type(resource).__name__

    return inside


def stop(_state: Any, _attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


def again(_cause: Any, attempt: int) -> RetryDecision:
    return RetryDecision.retry(5) if attempt < 2 else RetryDecision.no_retry()


def poll(_state: Any, attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.continue_waiting(5) if attempt < 2 else WaitForConditionDecision.stop_polling()


class NotWritable:
    """A serdes that writes nothing."""

    def serialize(self, *_: Any) -> str:
        raise ValueError("no")

    deserialize = serialize


class NotReadable:
    """A serdes that reads nothing."""

    def serialize(self, *_: Any) -> str:
        return '"text"'

    def deserialize(self, *_: Any) -> Any:
        raise ValueError("no")


class Odd(dict[str, Any]):
    def items(self) -> Any:
        raise OSError("no")


def raises_where_it_is_looked_at(held: Held) -> Any:
    return Odd(a=held.make("value"))


def swallowed(context: Any, held: Held) -> Any:
    """Swallow a suspension: it is raised again."""

    def inside(inner: Any) -> None:
        resource = held.make("child")
        try:
            inner.wait(1)
        except BaseException as error:
            raise ValueError(type(resource).__name__) from error

    return context.run_in_child_context(inside)


CASES: dict[str, Callable[[Any, Held], Any]] = {
    "step": lambda c, held: c.step(failing(held), retry=NEVER),
    "retried step": lambda c, held: c.step(failing(held), retry=again),
    "retried step that succeeds": lambda c, held: c.step(failing_once(held), retry=again),
    "step whose strategy fails": lambda c, held: c.step(failing(held), retry=failing(held)),
    "step by SerDesError": lambda c, held: c.step(failing(held, SerDesError)),
    "step by ExecutionError": lambda c, held: c.step(failing(held, ExecutionError)),
    "step by InvocationError": lambda c, held: c.step(failing(held, InvocationError), retry=NEVER),
    "step by ValidationError": lambda c, held: c.step(failing(held, ValidationError), retry=NEVER),
    "step that gives what cannot be written": lambda c, held: c.step(lambda _: held.make("value")),
    "step that gives what cannot be looked at": lambda c, held: c.step(lambda _: raises_where_it_is_looked_at(held)),
    "step whose serdes cannot write": lambda c, held: c.step(lambda _: held.make("value"), serdes=NotWritable()),
    "step whose serdes cannot read": lambda c, held: c.step(lambda _: held.make("value"), serdes=NotReadable()),
    "what is no step": lambda c, held: c.step(held.make("value")),
    "child": lambda c, held: c.run_in_child_context(failing(held)),
    "child by its step": lambda c, held: c.run_in_child_context(with_operations(held)),
    "child in a child": lambda c, held: c.run_in_child_context(
        lambda inner: inner.run_in_child_context(with_operations(held))
    ),
    "child by ExecutionError": lambda c, held: c.run_in_child_context(failing(held, ExecutionError)),
    "virtual child": lambda c, held: c.run_in_child_context(with_operations(held), is_virtual=True),
    "child that gives what cannot be written": lambda c, held: c.run_in_child_context(lambda _: held.make("value")),
    "child that waits": lambda c, held: c.run_in_child_context(waiting(held)),
    "child whose summary fails": lambda c, held: c.run_in_child_context(
        lambda _: LARGE, summary_generator=failing(held)
    ),
    "child that swallows": swallowed,
    "branch": lambda c, held: c.map(range(3), failing(held)).throw_if_error(),
    "branch by its step": lambda c, held: c.map(range(3), with_operations(held)).throw_if_error(),
    "one branch at a time": lambda c, held: c.map(
        range(3), failing(held), max_concurrency=1, completion_config=CompletionConfig.all_completed()
    ).throw_if_error(),
    "flat branch": lambda c, held: c.map(
        range(3), with_operations(held), nesting_type=NestingType.FLAT
    ).throw_if_error(),
    "branch that waits": lambda c, held: c.map(range(3), waiting(held)),
    "branch by ExecutionError": lambda c, held: c.map(range(3), failing(held, ExecutionError)),
    "branch that gives what cannot be written": lambda c, held: c.parallel(
        [lambda _: held.make("value"), lambda inner: inner.wait(1)]
    ).throw_if_error(),
    "batch whose predicate fails": lambda c, held: c.map(
        range(3), waiting(held), completion_config=CompletionConfig(should_complete=failing(held))
    ),
    "batch whose predicate fails later": lambda c, held: c.map(
        range(3), waiting(held), completion_config=CompletionConfig(should_complete=failing_once_asked(held))
    ),
    "batch whose namer fails": lambda c, held: c.map(range(3), waiting(held), item_namer=failing(held)),
    "batch whose summary fails": lambda c, held: c.map(range(2), lambda *_: LARGE, summary_generator=failing(held)),
    "batch within a batch": lambda c, held: c.map(
        range(2), lambda inner, *_: inner.map(range(2), with_operations(held)).throw_if_error()
    ).throw_if_error(),
    "condition": lambda c, held: c.wait_for_condition(failing(held), wait_strategy=stop, initial_state=0),
    "condition whose strategy fails": lambda c, held: c.wait_for_condition(
        lambda *_: 1, wait_strategy=failing(held), initial_state=0
    ),
    "condition that is polled": lambda c, held: c.wait_for_condition(
        lambda *_: type(held.make("function")).__name__, wait_strategy=poll, initial_state=0
    ),
    "condition with what cannot be written": lambda c, held: c.wait_for_condition(
        lambda *_: held.make("value"), wait_strategy=stop, initial_state=0
    ),
    "callback": lambda c, _held: c.create_callback("no").result(),
    "callback that is late": lambda c, _held: c.create_callback("late", timeout=5).result(),
    "wait for callback": lambda c, _held: c.wait_for_callback(lambda *_: None, "no"),
    "wait for callback that is late": lambda c, _held: c.wait_for_callback(lambda *_: None, "late", timeout=5),
    "submitter": lambda c, held: c.wait_for_callback(failing(held), "late", retry=NEVER),
    "invoke": lambda c, _held: c.invoke("failing", {}),
    "invoke whose payload cannot be written": lambda c, held: c.invoke("failing", held.make("value")),
    "invoke whose result cannot be read": lambda c, _held: c.invoke("plain", {}, serdes_result=NotReadable()),
    "with_retry": lambda c, held: with_retry(
        c, lambda inner, _: with_operations(held)(inner), WithRetryConfig(retry_strategy=again)
    ),
    "with_retry without a child": lambda c, held: with_retry(
        c,
        lambda inner, _: with_operations(held)(inner),
        WithRetryConfig(retry_strategy=again, wrap_with_run_in_child_context=False),
    ),
    "the handler": lambda _c, held: failing(held)(),
    "a bad name": lambda c, held: c.step(lambda _: 1, f"{held.make('value')}\n"),
}


AT_ONE_TIME = [case for case in CASES if case.startswith(("branch", "flat", "batch"))]
"""Where branches may still be at work when the failure is handled."""


def run(handler: Callable[[Any, Any], Any], held: Held, **options: Any) -> list[str]:
    """Run a handler to its end; whenever an invocation is over, nothing of it may be alive. Give how each ended."""
    durable = durable_execution(handler)
    left: list[str] = []
    ends: list[str] = []

    def invoked(event: Any, lambda_context: Any) -> Any:
        try:
            output = durable(event, lambda_context)
        except BaseException as error:  # noqa: BLE001  an interrupt, too
            ends.append(type(error).__name__)
            output = {"Status": "FAILED", "Error": {"ErrorMessage": "raised"}}
        else:
            ends.append(output["Status"])
        event.failures.clear()  # the local service keeps them for whoever reads its record
        left.extend(held.alive())
        return output

    def answer(operation: Any, client: Any) -> None:
        if operation.get("Name", "").startswith("no"):
            error = {"ErrorMessage": "no", "ErrorType": "ValueError"}
            callback_id = operation["CallbackDetails"]["CallbackId"]
            client.send_durable_execution_callback_failure(CallbackId=callback_id, Error=error)

    def fail(_event: Any, _context: Any) -> None:
        raise ValueError("no")

    with LocalService(on_callback=answer, **options) as service:
        service.register("failing", fail, durable=False)
        service.register("plain", lambda _event, _context: "text", durable=False)
        service.register("handler", invoked)
        handle = service.start("handler", "{}")
        service.drive(handle)
        assert handle.terminal
    assert left == []
    return ends


@pytest.mark.parametrize("case", CASES)
def test_what_a_failure_went_through_is_let_go_with_the_invocation(case: str) -> None:
    held = Held()

    def handler(_event: Any, context: Any) -> str:
        resource = held.make("handler")
        CASES[case](context, held)
        return type(resource).__name__

    run(handler, held)
    assert "handler" in held.made()


@pytest.mark.parametrize("case", [case for case in CASES if case not in AT_ONE_TIME])
def test_what_a_failure_went_through_is_let_go_as_soon_as_it_is_handled(case: str) -> None:
    held, left = Held(), []

    def handler(_event: Any, context: Any) -> None:
        with contextlib.suppress(Exception):  # whatever a case raises
            CASES[case](context, held)
        left.extend(held.alive())
        context.wait(1)  # then it is replayed

    run(handler, held)
    assert left == []


# ---- how invocations end


def holding(held: Held, error: type[BaseException]) -> Callable[..., Any]:
    def handler(_event: Any, context: Any) -> None:
        resource = held.make("handler")
        context.step(lambda _: type(resource).__name__)
        raise error("no")

    return handler


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (ValueError, "FAILED"),
        (KeyboardInterrupt, "KeyboardInterrupt"),
        (SystemExit, "SystemExit"),
        (ExecutionError, "FAILED"),
        (InvocationError, "InvocationError"),
        (OrphanedChildException, "FAILED"),
    ],
)
def test_what_a_handler_ends_with_is_let_go(error: type[BaseException], end: str) -> None:
    held = Held()
    assert run(holding(held, error), held)[0] == end
    assert held.made()[:1] == ["handler"]


def test_a_result_that_cannot_be_written_is_let_go() -> None:
    held = Held()
    assert run(lambda *_: held.make("result"), held) == ["FAILED"]
    assert held.made() == ["result"]


def test_an_interrupt_in_a_step_is_let_go_by_who_handles_it() -> None:
    held = Held()
    interrupted = failing(held, KeyboardInterrupt)
    ends = run(lambda _event, context: context.step(interrupted, step_semantics=AT_MOST_ONCE, retry=NEVER), held)
    assert ends[0] == "KeyboardInterrupt"
    assert held.made() == ["function"]


class Failing:
    """Makes calls of the service fail."""

    def __init__(self, error: Callable[[], Exception], *calls: int) -> None:
        self._error = error
        self._calls = calls
        self._count = 0

    def __call__(self, _name: str, _arguments: Any, stage: str) -> None:
        self._count += stage == "before"
        if stage == "before" and self._count in self._calls:
            raise self._error()


def lost() -> Exception:
    return ConnectionError("lost")


def broken() -> Exception:
    return OSError("broken")


def refused() -> Exception:
    response: Any = {"Error": {"Code": "ValidationException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(response, "CheckpointDurableExecution")


@pytest.mark.parametrize(
    ("fails", "end"),
    [
        (lambda: Failing(lost, 1, 2, 3), "SUCCEEDED"),
        (lambda: Failing(lost, 2), "SUCCEEDED"),
        (lambda: Failing(refused, 1), "FAILED"),
        (lambda: Failing(refused, 2), "FAILED"),
        (lambda: Failing(broken, 1), "CheckpointError"),
    ],
    ids=["lost three times", "lost once", "refused", "refused later", "broken"],
)
def test_what_a_call_failed_with_is_let_go(
    monkeypatch: pytest.MonkeyPatch, fails: Callable[[], Failing], end: str
) -> None:
    held = Held()
    monkeypatch.setattr(checkpoint, "sleep", lambda _seconds: None)

    def handler(_event: Any, context: Any) -> str:
        resource = held.make("handler")
        for _ in range(3):
            context.step(lambda _: type(held.make("step")).__name__)
        return type(resource).__name__

    assert run(handler, held, on_api_call=fails())[0] == end
