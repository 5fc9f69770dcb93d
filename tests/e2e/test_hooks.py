"""The seam for tools: what hooks see of an invocation and steer in it, and that nothing of it is there without them."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.invocations import ARN, LambdaContext, Recorder, event, op, succeeded

from perdure import DurableContext, durable_execution, run_durable_handler
from perdure.config import Duration, ParallelBranch
from perdure.engine.hooks import Hooks
from perdure.engine.hosted import HostedEvent
from perdure.exceptions import StepError
from perdure.local import LocalService
from perdure.retries import RetryDecision, RetryStrategyConfig, create_retry_strategy
from perdure.waits import WaitForConditionDecision

if TYPE_CHECKING:
    from collections.abc import Callable

SEEN: ContextVar[str] = ContextVar("seen", default="nothing")


class Telling(Hooks):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def invocation_started(self, core: Any, arn: str) -> None:
        assert arn == ARN
        assert not core.is_stopped
        self.told.append("begin")
        SEEN.set("hooks")

    def before_call(self, updates: Any) -> None:
        self.told.append("read" if updates is None else "send " + " ".join(each["Action"] for each in updates.dicts()))

    def after_call(self, updates: Any) -> None:
        self.told.append("page" if updates is None else "sent")

    def before_operation(self, method: str) -> None:
        self.told.append(f"{method}()")

    def function(self, kind: str, operation: Any, function: Any) -> Any:
        def called(*given: Any) -> Any:
            self.told.append(f"{kind} {operation.name}")
            return function(*given)

        return called

    def strategy(self, operation: Any, strategy: Any) -> Any:
        def asked(cause: Any, attempt: int) -> Any:
            self.told.append(f"strategy of {operation.name}: {cause!r}, {attempt}")
            return strategy(cause, attempt)

        return asked

    def operation_gave(self, operation: Any, value: Any, *, by_default: bool) -> None:
        self.told.append(f"{operation.name} gave {value!r}" + ("" if by_default else " by a serdes"))

    def operation_raised(self, operation: Any, error: Exception, *, by_default: bool) -> None:
        self.told.append(f"{operation.name} raised {type(error).__name__}" + ("" if by_default else " by a serdes"))


def hooked(
    hooks: Hooks | None,
    handler: Callable[[DurableContext], Any],
    *operations: Any,
    client: Any = None,
    marker: str | None = None,
) -> tuple[dict[str, Any], Recorder]:
    client = client or Recorder()
    given = HostedEvent(event(*operations, marker=marker), client, hooks=hooks)
    return run_durable_handler(given, LambdaContext(), lambda _, context: handler(context)), client


def never(_error: Exception, _attempt: int) -> RetryDecision:
    return RetryDecision.no_retry()


def once_more(state: int, _attempt: int) -> WaitForConditionDecision:
    return (
        WaitForConditionDecision.stop_polling()
        if state
        else WaitForConditionDecision.continue_waiting(Duration(seconds=5))
    )


def test_hooks_hear_of_operations_in_their_order() -> None:
    def broken(_: Any) -> None:
        raise ValueError("no")

    def handler(context: DurableContext) -> None:
        with pytest.raises(StepError):
            context.step(broken, "broken", retry=never)
        context.run_in_child_context(lambda inner: inner.step(lambda _: 1, "one"), "child")
        context.parallel([ParallelBranch(lambda inner: inner.step(lambda _: 2, "two"), "branch")], "sides")
        context.wait_for_condition(lambda state, _: state, name="poll", wait_strategy=once_more, initial_state=0)

    hooks = Telling()
    hooked(hooks, handler)
    assert hooks.told == [
        "begin",
        *("step()", "step broken", "strategy of broken: ValueError('no'), 1", "send START FAIL", "sent"),
        "broken raised StepError",
        *("run_in_child_context()", "context child", "step()", "step one"),
        *("send START START SUCCEED", "sent", "one gave 1", "send SUCCEED", "sent", "child gave 1"),
        *("parallel()", "context sides", "context branch", "step()", "step two"),
        *("send START START START SUCCEED", "sent", "two gave 2", "send SUCCEED", "sent", "branch gave 2"),
        *("send SUCCEED", "sent", f"sides gave {BATCH!r}"),
        *("wait_for_condition()", "condition poll", "strategy of poll: 0, 1", "send START RETRY", "sent"),
    ]


def the_batch() -> Any:
    results: list[Any] = []
    hooked(None, lambda context: results.append(context.parallel([lambda inner: inner.step(lambda _: 2, "two")])))
    return results[0]


BATCH = the_batch()


def test_of_a_replayed_operation_hooks_hear_that_it_is_asked_for_and_no_more() -> None:
    hooks = Telling()
    recorded = op("STEP", "SUCCEEDED", 1, details={"Result": "7"})
    response, _ = hooked(hooks, lambda context: context.step(lambda _: 1), recorded)
    assert response == succeeded("7")
    assert hooks.told == ["begin", "step()"]


def test_further_pages_are_shown_too() -> None:
    hooks = Telling()
    page = {"Operations": [op("STEP", "SUCCEEDED", 1, details={"Result": "7"})]}
    client = Recorder(pages={"m": page})
    response, _ = hooked(hooks, lambda context: context.step(lambda _: 1), client=client, marker="m")
    assert response == succeeded("7")
    assert hooks.told == ["begin", "read", "page", "step()"]


@pytest.mark.parametrize("hooks", [Hooks(), Telling()], ids=["silent ones", "telling ones"])
def test_hooks_that_only_look_change_nothing(hooks: Hooks) -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        numbers = context.map([1, 2, 3], lambda inner, item, *_: inner.step(lambda _: item * item, "square"))
        context.wait(5)
        answer = context.wait_for_callback(lambda _id, _: None, "ask")
        polled = context.wait_for_condition(lambda s, _: s + 1, name="p", wait_strategy=once_more, initial_state=0)
        return [numbers.get_results(), answer, polled]

    def answer(operation: Any, client: Any) -> None:
        callback_id = operation["CallbackDetails"]["CallbackId"]
        client.send_durable_execution_callback_success(CallbackId=callback_id, Result=b"yes")

    def run(given: Hooks | None) -> Any:
        service = LocalService(on_callback=answer, hooks=lambda _handle: given, identify=lambda _origin: "id")
        handle = service.register("f", durable_execution(handler)).run("f", event={})
        shown = [(each["Id"], each["Status"], each["Type"]) for each in handle.operations]
        return handle.status, handle.result, handle.error, sorted(shown)

    if isinstance(hooks, Telling):
        hooks.invocation_started = lambda *_: None  # type: ignore[method-assign]  # the ARN is another one here
    plain = run(None)
    assert plain[0] == "SUCCEEDED"
    assert run(hooks) == plain


def test_what_hooks_set_in_context_variables_the_handler_and_its_branches_find() -> None:
    def handler(context: DurableContext) -> list[str]:
        return [SEEN.get(), *context.map([1, 2], lambda *_: SEEN.get(), max_concurrency=2).get_results()]

    assert hooked(Telling(), handler)[0] == succeeded('["hooks", "hooks", "hooks"]')
    assert SEEN.get() == "nothing"
    assert hooked(None, handler)[0] == succeeded('["nothing", "nothing", "nothing"]')


class Controlling(Hooks):
    """Draws the highest number, does not sleep, and counts threads and locks."""

    def __init__(self) -> None:
        self.naps: list[float] = []
        self.threads = self.locks = 0

    def random(self) -> float:
        return 0.999

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)

    def lambda_context(self, given: Any) -> Any:
        given.function_name = "another"
        return given

    def start_thread(self, threads: Any, function: Any, *args: Any) -> None:
        self.threads += 1
        super().start_thread(threads, function, *args)

    def lock(self) -> Any:
        self.locks += 1
        return super().lock()


@pytest.mark.parametrize("strategy", [create_retry_strategy(RetryStrategyConfig()), None], ids=["own", "default"])
def test_hooks_draw_the_number_by_which_a_retry_is_delayed(strategy: Any) -> None:
    def broken(_: Any) -> None:
        raise ValueError("no")

    _, client = hooked(Controlling(), lambda context: context.step(broken, retry=strategy))
    assert client.updates[-1]["StepOptions"] == {"NextAttemptDelaySeconds": 5}


def test_hooks_wait_and_draw_before_a_failed_call_is_repeated() -> None:
    hooks = Controlling()
    client = Recorder(script=[ConnectionError("lost"), ConnectionError("lost")])
    response, _ = hooked(hooks, lambda context: context.step(lambda _: 1), client=client)
    assert response == succeeded("1")
    assert hooks.naps == [pytest.approx(0.05 * 0.9995), pytest.approx(0.1 * 0.9995)]


def test_what_hooks_raise_around_a_call_is_a_call_that_failed() -> None:
    class Losing(Controlling):
        lost = 0

        def after_call(self, updates: Any) -> None:  # noqa: ARG002  lost, whatever it is
            self.lost += 1
            if self.lost == 1:
                raise ConnectionError("the answer was lost")

    hooks = Losing()
    response, client = hooked(hooks, lambda context: context.step(lambda _: 1))
    assert response == succeeded("1")
    assert len(client.calls) == 2
    assert client.calls[0]["ClientToken"] == client.calls[1]["ClientToken"]
    assert len(hooks.naps) == 1


def test_the_handler_sees_the_lambda_context_that_hooks_give() -> None:
    assert hooked(Controlling(), lambda context: context.function_name)[0] == succeeded('"another"')
    assert hooked(None, lambda context: context.function_name)[0] == succeeded('"f"')


def test_hooks_start_the_threads_of_branches_and_make_their_locks() -> None:
    meeting = threading.Barrier(2)
    hooks = Controlling()
    response, _ = hooked(
        hooks, lambda context: context.map([1, 2], lambda *_: meeting.wait(20) * 0, max_concurrency=2).get_results()
    )
    assert response == succeeded("[0, 0]")
    assert hooks.threads >= 1
    assert hooks.locks >= 3


def test_no_thread_is_started_for_what_nobody_waits_for_where_hooks_have_none() -> None:
    class Without(Controlling):
        def has_flusher(self) -> bool:
            return False

    with_one, without = Controlling(), Without()
    sent = threading.Event()

    def answer(_updates: Any) -> list[Any]:
        sent.set()
        return []

    client = Recorder(answer)
    hooked(with_one, lambda context: context.step(lambda _: sent.wait(20)), client=client)
    assert client.summary == [["STEP START"], ["STEP SUCCEED"]]
    assert with_one.threads == 1
    _, client = hooked(without, lambda context: context.step(lambda _: 1))
    assert client.summary == [["STEP START", "STEP SUCCEED"]]
    assert without.threads == 0


def test_contexts_of_an_invocation_without_hooks_are_plain_ones() -> None:
    kinds: list[type] = []

    def handler(context: DurableContext) -> None:
        kinds.append(type(context))
        context.run_in_child_context(lambda inner: kinds.append(type(inner)))
        context.map([1], lambda inner, *_: kinds.append(type(inner)))

    hooked(None, handler)
    assert kinds == [DurableContext] * 3
    kinds.clear()
    hooked(Hooks(), handler)  # which hear nothing of calls
    assert kinds == [DurableContext] * 3
    kinds.clear()
    hooked(Telling(), handler)
    assert len(kinds) == 3
    assert DurableContext not in kinds
    assert all(issubclass(kind, DurableContext) for kind in kinds)
