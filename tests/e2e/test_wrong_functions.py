"""What is no function for an operation: refused at the call, in words, by every operation alike."""

from __future__ import annotations

import functools
import gc
import warnings
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from perdure import (
    DurableContext,
    ParallelBranch,
    WithRetryConfig,
    durable_execution,
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
    durable_with_child_context,
    with_retry,
)
from perdure.config import CompletionConfig, MapConfig, NestingType, ParallelConfig
from perdure.exceptions import StepError, ValidationError
from perdure.local import LocalService
from perdure.retries import RetryStrategyConfig
from perdure.serdes import SerDes
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision, WaitStrategyConfig
from support.invocations import invoke, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local import ExecutionHandle


def stop(_state: Any, _attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


POLLING: Any = WaitForConditionConfig(wait_strategy=stop, initial_state=1)

OPERATIONS: dict[str, Callable[[DurableContext, Any], Any]] = {
    "step": lambda context, function: context.step(function),
    "child": lambda context, function: context.run_in_child_context(function),
    "virtual child": lambda context, function: context.run_in_child_context(function, is_virtual=True),
    "map": lambda context, function: context.map([1], function),
    "flat map": lambda context, function: context.map([1], function, nesting_type=NestingType.FLAT),
    "parallel": lambda context, function: context.parallel([lambda _: 1, function]),
    "named branch": lambda context, function: context.parallel([ParallelBranch(function, "n")]),
    "submitter": lambda context, function: context.wait_for_callback(function),
    "condition": lambda context, function: context.wait_for_condition(function, POLLING),
    "with_retry": lambda context, function: with_retry(context, function, WithRetryConfig()),
}


def run(handler: Callable[[DurableContext], Any]) -> ExecutionHandle:
    return LocalService().register("f", durable_execution(lambda _event, context: handler(context))).run("f", event={})


def failure(handler: Callable[[DurableContext], Any]) -> tuple[str, str]:
    """Run a handler that must fail; give the class and the words."""
    handle = run(handler)
    assert handle.status == "FAILED", handle.value
    assert handle.error is not None
    return handle.error["ErrorType"].rpartition(".")[2], handle.error["ErrorMessage"]


def add(*_: Any) -> int:
    return 1


async def fetch(*_: Any) -> int:
    return 1


async def stream(*_: Any) -> Any:
    yield 1


UNCALLED: dict[str, tuple[Any, str]] = {
    "durable_step": (durable_step(add), "context.step(add(...))"),
    "durable_with_child_context": (durable_with_child_context(add), "context.run_in_child_context(add(...))"),
    "durable_wait_for_callback": (durable_wait_for_callback(add), "context.wait_for_callback(add(...))"),
    "durable_parallel_branch": (durable_parallel_branch(name="n")(add), "context.parallel([add(...)])"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("decorator", UNCALLED)
def test_a_decorated_function_that_was_not_called(operation: str, decorator: str) -> None:
    function, use = UNCALLED[decorator]
    kind, words = failure(lambda context: OPERATIONS[operation](context, function))
    assert kind == "ValidationError"
    assert words.startswith(f"add is decorated with {decorator}: call it, as in {use}; ")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("value", [5, None, "x" * 500, [add]])
def test_what_cannot_be_called(operation: str, value: Any) -> None:
    kind, words = failure(lambda context: OPERATIONS[operation](context, value))
    assert kind == "ValidationError"
    assert "takes a function of" in words
    assert len(words) < 300


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("function", [fetch, stream])
def test_an_async_function(operation: str, function: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind, words = failure(lambda context: OPERATIONS[operation](context, function))
        gc.collect()
    assert kind == "ValidationError"
    assert words.startswith(f"{function.__name__} is an async function. Async functions are not taken by")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("returned", [fetch, stream])
def test_a_function_that_returns_a_coroutine(operation: str, returned: Any) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        kind, words = failure(lambda context: OPERATIONS[operation](context, lambda *_: returned()))
        gc.collect()
    assert kind == ("WaitForConditionError" if operation == "condition" else "ExecutionError")
    assert f"returned {returned.__name__}, a" in words
    assert "Async functions are not taken by" in words
    assert [str(warning.message) for warning in warned] == []


@pytest.mark.parametrize("decorated", [durable_step(fetch), functools.partial(fetch)])
def test_a_step_that_is_asynchronous_at_heart(decorated: Any) -> None:
    function = decorated() if hasattr(decorated, "durable_decorator") else decorated
    kind, words = failure(lambda context: context.step(function))
    assert (kind, "returned fetch, a coroutine" in words) == ("ExecutionError", True)


def test_a_submitter_that_is_a_generator() -> None:
    def submit(_callback_id: str, _context: Any) -> Any:
        yield "never run"

    kind, words = failure(lambda context: context.wait_for_callback(submit))
    assert (kind, words.startswith("the submitter has a yield in it")) == ("ExecutionError", True)


def test_a_handler_that_returns_a_coroutine() -> None:
    kind, words = failure(lambda _context: fetch())
    assert (kind, words.startswith("the handler returned fetch, a coroutine.")) == ("ExecutionError", True)


def test_a_wrong_function_is_refused_before_anything_runs_or_is_tried_again() -> None:
    ran = []
    for operation in ("step", "map", "parallel", "submitter"):
        handle = run(lambda context, operation=operation: OPERATIONS[operation](context, UNCALLED["durable_step"][0]))
        assert {update["Action"] for update in handle.updates} <= {"START"}, operation
        assert len(handle.invocations) == 1
    run(lambda context: context.parallel([lambda _: ran.append(1), 5]))  # type: ignore[list-item]
    assert ran == []


def test_a_wrapper_that_calls_what_it_wraps_is_fine() -> None:
    step = durable_step(lambda _step, number: number + 1)

    @functools.wraps(step)
    def bound(context: Any) -> Any:
        return step(1)(context)

    assert run(lambda context: context.step(bound)).value == 2


def test_whatever_else_can_be_called_is_a_function() -> None:
    class Body:
        def __call__(self, _step: Any) -> int:
            return 1

        def method(self, _step: Any) -> int:
            return 2

    functions = (Body(), Body().method, functools.partial(lambda number, _step: number, 3), lambda *_: 4)
    assert run(lambda context: [context.step(function) for function in functions]).value == [1, 2, 3, 4]


# ---- strategies


def broken(_step: Any) -> None:
    raise LookupError("lost")


class Decision:
    """A decision to go on, of a class of one's own."""

    should_retry = should_continue = True

    def __init__(self, delay: Any) -> None:
        self.delay_seconds = delay


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (3, "must be a function, such as create_retry_strategy(...) makes, not 3"),
        (RetryStrategyConfig(), "must be a function, such as create_retry_strategy(...) makes, not Retry"),
        (lambda *_: None, "must return RetryDecision.retry(delay) or RetryDecision.no_retry(), not None"),
        (lambda *_: False, "must return RetryDecision.retry(delay) or RetryDecision.no_retry(), not False"),
        (lambda *_: Decision(1.5), "must return a delay in whole seconds, not 1.5"),
        (lambda *_: Decision(None), "must return a delay in whole seconds, not None"),
    ],
)
def test_what_is_no_retry_strategy(strategy: Any, words: str) -> None:
    def retrying(context: DurableContext) -> Any:
        never: Any = WithRetryConfig(retry_strategy=strategy, wrap_with_run_in_child_context=False)
        return with_retry(context, broken_block, never, "block")

    def broken_block(_context: Any, _attempt: int) -> None:
        broken(None)

    for whose, handler in (
        ("step s", lambda context: context.step(broken, "s", retry=strategy)),
        ("step w submitter", lambda context: context.wait_for_callback(lambda *_: broken(None), "w", retry=strategy)),
        ("with_retry block", retrying),
    ):
        kind, said = failure(handler)
        assert kind in ("ValidationError", "ChildContextError")
        assert said.startswith(f"the retry strategy of {whose} {words}")


def test_a_strategy_that_does_not_decide_hides_no_failure() -> None:
    seen: list[BaseException | None] = []

    def handler(context: DurableContext) -> None:
        try:
            context.step(broken, retry=lambda *_: None)  # type: ignore[arg-type, return-value]
        except ValidationError as error:
            seen.append(error.__cause__)
            raise

    assert failure(handler)[0] == "ValidationError"
    assert repr(seen) == "[LookupError('lost')]"


def test_decisions_of_another_class_will_do() -> None:
    tries: list[int] = []

    def flaky(_step: Any) -> int:
        tries.append(1)
        return len(tries) if len(tries) > 1 else broken(None)  # type: ignore[func-returns-value]

    assert run(lambda context: context.step(flaky, retry=lambda *_: Decision(1))).value == 2


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (5, "must be a function, such as create_wait_strategy(...) makes, not 5"),
        (WaitStrategyConfig(lambda _: True), "must be a function, such as create_wait_strategy(...) makes, not Wait"),
        (lambda *_: True, "must return WaitForConditionDecision.continue_waiting(delay) or Wait"),
        (lambda *_: None, "must return WaitForConditionDecision.continue_waiting(delay) or Wait"),
        (lambda *_: Decision("5"), "must return a delay in whole seconds, not '5'"),
    ],
)
def test_what_is_no_wait_strategy(strategy: Any, words: str) -> None:
    given: Any = WaitForConditionConfig(wait_strategy=strategy, initial_state=1)
    kind, said = failure(lambda context: context.wait_for_condition(lambda state, _: state, given, "c"))
    assert kind == "WaitForConditionError"
    assert said.startswith(f"the wait strategy of wait_for_condition c {words}")


# ---- numbers and names


@pytest.mark.parametrize("limit", ["2", 0, -1])
def test_a_limit_that_is_no_number_of_branches(limit: Any) -> None:
    for config in (MapConfig, ParallelConfig):
        with pytest.raises(ValidationError, match="max_concurrency must be a number of 1 or more"):
            config(max_concurrency=limit)


@pytest.mark.parametrize("limit", ["2", 2.5, 0, -1])
def test_a_limit_that_is_no_whole_number(limit: Any) -> None:
    for operation in (
        lambda context: context.map([1], add, max_concurrency=limit),
        lambda context: context.parallel([add], max_concurrency=limit),
    ):
        kind, words = failure(operation)
        assert (kind, "max_concurrency must be a whole number" in words) == ("ValidationError", True)


@pytest.mark.parametrize("count", [0, 2])
def test_limits_beyond_all_branches_are_none(count: int) -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        completion = CompletionConfig(tolerated_failure_count=2**64)
        batch = context.map([1] * count, lambda *_: 1, max_concurrency=2**64, completion_config=completion)
        return batch.get_results()

    assert LocalService().register("f", handler).run("f").value == [1] * count


@pytest.mark.parametrize("name", ["min_successful", "tolerated_failure_count", "tolerated_failure_percentage"])
def test_a_threshold_that_is_no_number(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} must be .* not '2'|{name} must be .*: '2'"):
        CompletionConfig(**{name: "2"})


@pytest.mark.parametrize("name", ["min_successful", "tolerated_failure_count"])
def test_a_threshold_that_is_no_whole_number(name: str) -> None:
    given = CompletionConfig(**{name: 2.5})  # type: ignore[arg-type]
    kind, words = failure(lambda context: context.map([1, 2, 3], add, completion_config=given))
    assert (kind, words) == ("ValidationError", f"{name} must be a whole number, not 2.5")


def test_names_of_items_are_texts() -> None:
    _, words = failure(lambda context: context.map([1], add, item_namer=lambda item, _: item))
    assert words == "item_namer must return the name of an item as text, not 1"


@pytest.mark.parametrize("functions", [5, add])
def test_branches_come_in_a_list(functions: Any) -> None:
    kind, words = failure(lambda context: context.parallel(functions))
    assert (kind, words.startswith("parallel takes a list of functions, ")) == ("ValidationError", True)


# ---- a serdes for the items only


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class Points(SerDes[Any]):
    def serialize(self, value: Any, _context: Any) -> str:
        return (
            f"P{value.x}" if isinstance(value, Point) else "B" + ",".join(str(point.x) for point in value.get_results())
        )

    def deserialize(self, data: str, _context: Any) -> Any:
        return Point(int(data[1:])) if data[0] == "P" else [Point(int(x)) for x in data[1:].split(",")]


@pytest.mark.parametrize("operation", ["map", "parallel"])
def test_the_batch_itself_needs_a_serdes_for_what_only_one_can_hold(operation: str) -> None:
    def call(context: DurableContext, **options: Any) -> Any:
        if operation == "map":
            return context.map([1, 2], lambda _, x, *__: Point(x), **options)
        return context.parallel([lambda _: Point(1), lambda _: Point(2)], **options)

    kind, words = failure(lambda context: call(context, item_serdes=Points()))
    assert kind == "SerDesError"
    assert "item_serdes= wrote the items, but serdes= was not given" in words
    assert run(lambda context: [point.x for point in call(context, serdes=Points())]).value == [1, 2]


def test_a_serdes_of_the_items_may_give_what_the_default_can_hold() -> None:
    class Lengths(SerDes[Any]):
        def serialize(self, value: Any, _context: Any) -> str:
            return str(value)

        def deserialize(self, data: str, _context: Any) -> Any:
            return int(data)

    def handler(context: DurableContext) -> Any:
        batch = context.map([1, 2], lambda _, x, *__: x, item_serdes=Lengths())
        context.wait(5)
        return batch.get_results()

    assert run(handler).value == [1, 2]


def test_the_words_are_an_errors_that_a_handler_may_catch() -> None:
    def handler(context: DurableContext) -> str:
        try:
            context.step(5)  # type: ignore[arg-type]
        except ValidationError:
            return "told"
        except StepError:
            return "ran"
        return "nothing"

    assert run(handler).value == "told"


def test_a_mock_that_has_a_name_of_its_operation_is_a_function() -> None:
    def handler(context: DurableContext) -> list[int]:
        child = context.run_in_child_context(Mock(return_value=1), "child")
        return [child, context.step(Mock(return_value=2), "step")]

    assert invoke(handler)[0] == succeeded("[1, 2]")


@durable_step
def _added(_step: Any, one: int) -> int:
    return one + 1


def _of_two(_context: Any, _item: Any) -> int:
    return 1


@pytest.mark.parametrize(
    "function", [_added(1), _of_two, lambda: 1, lambda _a, _b, _c, _d, _e: 1, lambda _a, _b, _c, _d, *, _e: 1]
)
def test_a_function_that_takes_something_else_than_map_gives(function: Any) -> None:
    kind, words = failure(lambda context: context.map([1, 2], function))
    assert kind == "ValidationError"
    assert "map calls its function with a DurableContext, the item, its index and all items" in words
    assert "give it 4 parameters" in words


@pytest.mark.parametrize("function", [lambda: 1, lambda _a, _b: 1, lambda *, _a: 1])
def test_a_branch_that_takes_something_else(function: Any) -> None:
    kind, words = failure(lambda context: context.parallel([lambda _: 1, function]))
    assert (kind, "give it 1 parameter" in words) == ("ValidationError", True)


@pytest.mark.parametrize(
    "function",
    [
        lambda *_: 1,
        lambda _a, _b=1, _c=2, _d=3: 1,
        lambda _a, *_rest: 1,
        lambda _a, _b, _c, _d, _e=1, *, _f=2, **_: 1,
        functools.partial(lambda _a, _b, _c, _d, _e: 1, 0),
        max,
    ],
)
def test_a_function_that_can_be_called_so_is(function: Any) -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        return context.map([1], function).total_count

    assert LocalService().register("f", handler).run("f").value == 1
