"""Each context serves the function that it was handed to, and no other: what is refused, and what is not."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.config import CompletionConfig, NestingType
from perdure.exceptions import ExecutionError, WrongContextError
from perdure.local import LocalService
from support.custody import ALREADY_RECORDED, INNER, OUTER, THREADS
from support.invocations import invoke, op, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(60)

OFFICIAL = "aws_durable_execution_sdk_python.exceptions."
BOTH = pytest.mark.parametrize("nesting", [NestingType.NESTED, NestingType.FLAT], ids=["nested", "flat"])


def misusing(outer: str, inner: str = "step", thread: str = "same thread", *, is_careless: bool = False) -> Any:
    """Make a handler that uses its context inside an operation of it, and a list of what that call raised."""
    raised: list[BaseException] = []

    def handler(context: DurableContext) -> Any:
        def act() -> Any:
            try:
                return THREADS[thread](lambda: INNER[inner][1](context))
            except BaseException as error:
                raised.append(error)
                if is_careless:
                    return "never mind"
                raise

        found = OUTER[outer].run(context, act)
        return found if not hasattr(found, "get_results") else found.get_results()

    return handler, raised


def needed(outer: str) -> list[dict[str, Any]]:
    """Give what must be recorded for the function of an operation to run at all."""
    return OUTER[outer].history if outer in ALREADY_RECORDED else []


def assert_refused(outer: str, inner: str, got: dict[str, Any], client: Any, raised: list[BaseException]) -> None:
    """The call is refused where it is made, the execution FAILS for it, and nothing is written for it."""
    assert got["Status"] == "FAILED"
    assert got["Error"]["ErrorType"] == OFFICIAL + "WrongContextError"
    message = got["Error"]["ErrorMessage"]
    assert message.startswith(INNER[inner][0])
    assert OUTER[outer].words in message
    assert "on the context of the handler" in message
    assert "/support/custody.py:" in message
    assert [str(error) for error in raised[:1]] == [message]
    assert isinstance(raised[0], WrongContextError)
    ended = [update for update in client.updates if update["Action"] != "START"]
    assert {update["Name"] for update in ended} <= set(OUTER[outer].bystanders)
    assert "inner" not in {update.get("Name") for update in client.updates}


@pytest.mark.parametrize("outer", OUTER)
def test_a_context_takes_no_operation_while_one_of_its_own_is_at_work(outer: str) -> None:
    for inner in INNER:
        handler, raised = misusing(outer, inner)
        assert_refused(outer, inner, *invoke(handler, *needed(outer)), raised)


@pytest.mark.parametrize("outer", [name for name in OUTER if OUTER[name].history])
def test_nor_when_the_operation_is_recorded_and_runs_again(outer: str) -> None:
    for inner in INNER:
        handler, raised = misusing(outer, inner)
        assert_refused(outer, inner, *invoke(handler, *OUTER[outer].history), raised)


@pytest.mark.parametrize("outer", OUTER)
def test_nor_from_a_thread_or_task_that_it_has_started(outer: str) -> None:
    for thread in THREADS:
        handler, raised = misusing(outer, thread=thread)
        assert_refused(outer, "step", *invoke(handler, *needed(outer)), raised)


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("thread", ["same thread", "thread"])
def test_code_that_swallows_the_refusal_does_not_turn_it_into_a_success(outer: str, thread: str) -> None:
    handler, raised = misusing(outer, thread=thread, is_careless=True)

    def careless(context: DurableContext) -> str:
        with suppress(BaseException):
            handler(context)
        return "as if nothing had happened"

    assert_refused(outer, "step", *invoke(careless, *needed(outer)), raised)


@pytest.mark.parametrize("outer", [name for name in OUTER if OUTER[name].is_handed_context])
def test_the_error_says_which_context_to_use(outer: str) -> None:
    handler, raised = misusing(outer)
    invoke(handler, *needed(outer))
    assert "Use the context that the function of" in str(raised[0])


@pytest.mark.parametrize("outer", ["step", "step of a child", "step of an item", "check", "submitter"])
def test_the_error_says_where_no_context_may_be_used(outer: str) -> None:
    handler, raised = misusing(outer)
    invoke(handler)
    assert "runs may use no context" in str(raised[0])


def test_the_error_names_the_users_line() -> None:
    def nested(context: DurableContext) -> None:
        context.step(lambda _: context.step(lambda _: 1))

    got, _ = invoke(nested)
    assert f"at {__file__}:{nested.__code__.co_firstlineno + 1} in <lambda>" in got["Error"]["ErrorMessage"]


def test_the_line_is_that_of_the_first_refusal_whatever_is_called_later() -> None:
    def nested(context: DurableContext) -> None:
        with suppress(ExecutionError):
            context.step(lambda _: context.wait(1))
        context.step(lambda _: 2, "later")

    got, _ = invoke(nested)
    assert f"{__file__}:{nested.__code__.co_firstlineno + 2} in" in got["Error"]["ErrorMessage"]


def test_results_are_never_given_to_each_other() -> None:
    """What gave ``["A", "A", "B"]`` for ``["A", "B", "C"]`` when it was replayed."""

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> list[str]:
        given = [
            context.step(lambda _: context.step(lambda _: "A")),
            context.step(lambda _: "B"),
            context.step(lambda _: "C"),
        ]
        context.step(lambda _: context.wait(5))
        return given

    execution = LocalService().register("f", handler).run("f")
    assert execution.status == "FAILED"
    assert execution.error is not None
    assert execution.error["ErrorType"] == OFFICIAL + "WrongContextError"
    assert [update["Action"] for update in execution.updates] in ([], ["START"])


@pytest.mark.parametrize("place", ["child", "virtual child", "branch", "flat branch"])
def test_contexts_of_children_and_branches_are_no_different(place: str) -> None:
    def misuse(inner: DurableContext) -> None:
        inner.step(lambda _: inner.step(lambda _: 1, "within"), "at work")

    places: dict[str, Callable[[DurableContext], Any]] = {
        "child": lambda c: c.run_in_child_context(misuse, "place"),
        "virtual child": lambda c: c.run_in_child_context(misuse, is_virtual=True),
        "branch": lambda c: c.parallel([misuse], "place"),
        "flat branch": lambda c: c.parallel([misuse], "place", nesting_type=NestingType.FLAT),
    }
    got, client = invoke(places[place])
    message = got["Error"]["ErrorMessage"]
    assert message.startswith('step "within" was called at ')
    assert 'while step "at work" is at work' in message
    assert "on the context of the handler" not in message
    assert {update["Action"] for update in client.updates} <= {"START"}


# ---- contexts elsewhere


@BOTH
def test_a_branch_may_not_use_the_context_of_another(nesting: NestingType) -> None:
    handed: list[DurableContext] = []
    is_handed, is_used = threading.Event(), threading.Event()

    def one(context: DurableContext) -> None:
        handed.append(context)
        is_handed.set()
        is_used.wait(30)

    def other(context: DurableContext) -> None:
        context.step(lambda _: is_handed.wait(30))
        try:
            handed[0].step(lambda _: "never")
        finally:
            is_used.set()

    got, client = invoke(lambda c: c.parallel([one, other], nesting_type=nesting))
    assert got["Error"]["ErrorType"] == OFFICIAL + "WrongContextError"
    assert "which is not inside it" in got["Error"]["ErrorMessage"]
    assert len([update for update in client.updates if update["Type"] == "STEP"]) == 2  # START and SUCCEED of the wait


@BOTH
def test_a_branch_that_its_batch_has_left_behind_may_not_use_the_context_around_it(nesting: NestingType) -> None:
    is_there, go_on, is_refused = threading.Event(), threading.Event(), threading.Event()

    def handler(context: DurableContext) -> str:
        def left_behind(_inner: DurableContext) -> None:
            is_there.set()
            go_on.wait(30)
            try:
                context.step(lambda _: "never")
            finally:
                is_refused.set()

        context.parallel(
            [lambda _: is_there.wait(30), left_behind],  # the first one in the handler's own thread
            completion_config=CompletionConfig.first_successful(),
            nesting_type=nesting,
        )
        go_on.set()
        is_refused.wait(30)
        return context.step(lambda _: "on")

    got, client = invoke(handler)
    assert got["Error"]["ErrorType"] == OFFICIAL + "WrongContextError"
    assert [update for update in client.updates if update["Type"] == "STEP"] == []


def test_a_context_whose_function_has_ended_serves_nobody() -> None:
    kept: list[DurableContext] = []

    def handler(context: DurableContext) -> None:
        context.run_in_child_context(kept.append)
        context.step(lambda _: kept[0].step(lambda _: 1))

    got, client = invoke(handler)
    assert got["Error"]["ErrorType"] == OFFICIAL + "WrongContextError"
    assert {update["Action"] for update in client.updates if update["Type"] == "STEP"} <= {"START"}


# ---- threads of the handler's own


def test_threads_of_the_handlers_own_may_use_its_context_in_turn() -> None:
    def handler(context: DurableContext) -> list[int]:
        with ThreadPoolExecutor(2) as pool:
            return [pool.submit(context.step, lambda _, n=n: n).result() for n in range(4)]

    assert invoke(handler)[0] == succeeded("[0, 1, 2, 3]")


@pytest.mark.parametrize("bearing", ["plain", "with the handler's variables"])
def test_and_at_one_time_as_long_as_their_operations_can_be_told_apart(bearing: str) -> None:
    both = threading.Barrier(2, timeout=30)

    def handler(context: DurableContext) -> list[int]:
        def work(number: int) -> int:
            return context.step(lambda _: both.wait() * 0 + number, f"step-{number}")

        with ThreadPoolExecutor(2) as pool:
            variables = [contextvars.copy_context() for _ in range(2)]
            calls = [
                pool.submit(work, n) if bearing == "plain" else pool.submit(variables[n].run, work, n) for n in range(2)
            ]
            return [call.result() for call in calls]

    assert invoke(handler)[0] == succeeded("[0, 1]")


@pytest.mark.parametrize("bearing", ["plain", "with the handler's variables"])
def test_but_not_if_each_might_get_the_others_result_on_replay(bearing: str) -> None:
    is_at_work, is_refused = threading.Event(), threading.Event()

    def handler(context: DurableContext) -> None:
        def first() -> None:
            context.step(lambda _: (is_at_work.set(), is_refused.wait(30)), "same")

        def second() -> None:
            is_at_work.wait(30)
            try:
                context.step(lambda _: "never", "same")
            finally:
                is_refused.set()

        with ThreadPoolExecutor(2) as pool:
            calls = [
                pool.submit(act) if bearing == "plain" else pool.submit(contextvars.copy_context().run, act)
                for act in (first, second)
            ]
        for call in calls:
            call.result()

    got, client = invoke(handler)
    assert got["Error"]["ErrorType"] == OFFICIAL + "WrongContextError"
    assert "by another thread" in got["Error"]["ErrorMessage"]
    assert {update["Action"] for update in client.updates} <= {"START"}


# ---- what is right


@BOTH
def test_branches_use_their_own_contexts_at_one_time(nesting: NestingType) -> None:
    together = threading.Barrier(4, timeout=30)

    def branch(context: DurableContext, number: int, *_: Any) -> list[int]:
        first = context.step(lambda _: together.wait() * 0 + number)
        inner = context.run_in_child_context(lambda k: k.step(lambda _: together.wait() * 0 + number))
        virtual = context.run_in_child_context(lambda k: k.step(lambda _: number), is_virtual=True)
        batch = context.map([number], lambda k, n, *_: k.step(lambda _: n), nesting_type=nesting)
        return [first, inner, virtual, *batch.get_results()]

    got, _ = invoke(lambda c: c.map(range(4), branch, nesting_type=nesting).get_results())
    assert json.loads(got["Result"]) == [[n] * 4 for n in range(4)]


def test_each_function_uses_the_context_that_it_is_handed_however_deep() -> None:
    def deeper(context: DurableContext, left: int) -> int:
        value = context.step(lambda _: left)
        return value + (context.run_in_child_context(lambda k: deeper(k, left - 1)) if left else 0)

    got, _ = invoke(lambda c: deeper(c, 20) + c.step(lambda _: 1))
    assert got == succeeded("211")


@pytest.mark.parametrize("thread", THREADS)
@pytest.mark.parametrize("place", ["handler", "child", "virtual child", "branch", "flat branch"])
def test_a_context_may_be_used_in_any_thread_that_its_function_waits_for(thread: str, place: str) -> None:
    def work(context: DurableContext) -> int:
        one = THREADS[thread](lambda: context.step(lambda _: 1))
        return one + context.step(lambda _: 1)

    places: dict[str, Callable[[DurableContext], int]] = {
        "handler": work,
        "child": lambda c: c.run_in_child_context(work),
        "virtual child": lambda c: c.run_in_child_context(work, is_virtual=True),
        "branch": lambda c: sum(c.parallel([work, work]).get_results()) // 2,
        "flat branch": lambda c: sum(c.parallel([work, work], nesting_type=NestingType.FLAT).get_results()) // 2,
    }
    assert invoke(lambda c: places[place](c) + c.step(lambda _: 0))[0] == succeeded("2")


@pytest.mark.parametrize("place", ["child", "branch", "step", "check"])
def test_a_callback_may_be_asked_for_its_result_anywhere(place: str) -> None:
    answered = op("CALLBACK", "SUCCEEDED", details={"CallbackId": "cb", "Result": "yes"})
    places: dict[str, Callable[[DurableContext, Any], Any]] = {
        "child": lambda c, ask: c.run_in_child_context(lambda _: ask()),
        "branch": lambda c, ask: c.parallel([lambda _: ask()]).get_results()[0],
        "step": lambda c, ask: c.step(lambda _: ask()),
        "check": OUTER["check"].run,
    }

    def handler(context: DurableContext) -> Any:
        callback = context.create_callback()
        return places[place](context, callback.result)

    assert invoke(handler, answered)[0] == succeeded('"yes"')


def test_variables_that_were_taken_along_from_the_handler_do_not_matter_inside_a_child() -> None:
    def handler(context: DurableContext) -> int:
        variables = contextvars.copy_context()
        one = context.run_in_child_context(lambda k: variables.run(lambda: k.step(lambda _: 1)))
        batch = context.parallel([lambda k: variables.run(lambda: k.step(lambda _: 2))] * 1)
        return one + sum(batch.get_results())

    assert invoke(handler)[0] == succeeded("3")


@pytest.mark.parametrize("birth", ["step", "child", "branch"])
def test_a_thread_that_was_started_in_an_operation_may_serve_the_handler_when_that_has_ended(birth: str) -> None:
    """A pool that keeps its threads, and their context variables, however they came about."""

    def handler(context: DurableContext) -> list[int]:
        with ThreadPoolExecutor(1) as pool:

            def start(*_: Any) -> int:
                # A thread of the pool that begins like this carries the mark of the operation from then on.
                variables = contextvars.copy_context()
                kept.append(lambda act: pool.submit(variables.run, act).result())
                return 0

            kept: list[Callable[[Callable[[], Any]], Any]] = []
            births: dict[str, Callable[[], Any]] = {
                "step": lambda: context.step(start),
                "child": lambda: context.run_in_child_context(start),
                "branch": lambda: context.parallel([start]),
            }
            births[birth]()
            return [kept[0](lambda n=n: context.step(lambda _: n)) for n in range(2)]

    assert invoke(handler)[0] == succeeded("[0, 1]")


def test_coroutines_of_the_handler_use_its_context() -> None:
    async def work(context: DurableContext, number: int) -> int:
        await asyncio.sleep(0)
        return context.step(lambda _: number, f"step-{number}")

    async def gather(context: DurableContext) -> list[int]:
        return await asyncio.gather(*(work(context, number) for number in range(3)))

    assert invoke(lambda c: asyncio.run(gather(c)))[0] == succeeded("[0, 1, 2]")


def test_a_handler_may_run_another_one_in_a_step() -> None:
    @durable_execution
    def inner(_event: Any, context: DurableContext) -> int:
        return context.step(lambda _: 1)

    def outer(context: DurableContext) -> Any:
        return context.step(lambda _: LocalService().register("inner", inner).run("inner").value)

    assert invoke(outer)[0] == succeeded("1")


def test_a_refused_execution_leaves_no_thread_and_nothing_for_the_next_one() -> None:
    handler, _ = misusing("one of many items")
    before = threading.active_count()
    assert invoke(handler)[0]["Status"] == "FAILED"
    assert threading.active_count() == before
    assert invoke(lambda c: c.step(lambda _: 1))[0] == succeeded("1")
