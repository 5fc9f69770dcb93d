"""Results with types of their own: the same on the first run and on replay, and plain data for everybody else."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from perdure import (
    BatchResult,
    DurableContext,
    ItemBatcher,
    StepContext,
    durable_execution,
    durable_parallel_branch,
    durable_step,
    durable_with_child_context,
)
from perdure._core import decode_extended
from perdure.config import CompletionConfig, NestingType, ParallelBranch, StepConfig
from perdure.exceptions import SerDesError, StepError, ValidationError
from perdure.local import LocalService, VirtualClock
from perdure.retries import RetryPresets
from perdure.serdes import ExtendedTypeSerDes, JsonSerDes, PassThroughSerDes, SerDes, SerDesContext
from perdure.testing import explore
from perdure.waits import WaitForConditionDecision
from support.both_sdks import OFFICIAL, PERDURE, Answer, Stage, World, play, replay_writes_nothing
from support.typed import LINE, ORDER, PLAIN_ORDER, PRICE, VALUES, Color, Line, Order, Plain, Point, Price, Status

if TYPE_CHECKING:
    from collections.abc import Callable

Program = "Callable[[DurableContext], Any]"
ONCE = RetryPresets.none()


def run(program: Callable[[DurableContext], Any], *answers: str, **functions: Any) -> tuple[Any, list[Any]]:
    """Run a program twice, with a wait after it; give the handle, and what the program gave each time."""
    given: list[Any] = []

    def handler(_event: Any, context: DurableContext) -> None:
        given.append(program(context))
        context.wait(1)

    left = iter(answers)

    def answer(operation: Any, client: Any) -> None:
        key = operation["CallbackDetails"]["CallbackId"]
        client.send_durable_execution_callback_success(CallbackId=key, Result=next(left).encode())

    service = LocalService(clock=VirtualClock(), on_callback=answer)
    service.register("f", durable_execution(handler))
    for name, function in functions.items():
        service.register(name, function, durable=False)
    return service.run("f"), given


def same(program: Callable[[DurableContext], Any], value: Any, *answers: str, **functions: Any) -> Any:
    """Insist that a program gives a value, of its type, fresh and replayed."""
    handle, given = run(program, *answers, **functions)
    assert handle.status == "SUCCEEDED", handle.error
    assert len(given) >= 2
    assert given == [value] * len(given)
    assert {type(each) for each in given} == {type(value)}
    return handle


@durable_step
def make_order(_step: StepContext, order: Order) -> Order:
    return order


@durable_with_child_context
def price_of(context: DurableContext, amount: int) -> Price:
    return context.step(lambda _: Price(PRICE.amount, f"E{amount}"), returns=Price)


def price(_inner: DurableContext) -> Price:
    return PRICE


def color(_inner: DurableContext) -> Color:
    return Color.RED


def line_of(_inner: DurableContext, item: str, _index: int, _items: Any) -> Line:
    return Line(item, PRICE)


def lines_of(_inner: DurableContext, batch: list[str], _index: int, _items: Any) -> list[Line]:
    return [Line(item, PRICE) for item in batch]


@durable_parallel_branch()
def tags(_inner: DurableContext, tag: str) -> set[str]:
    return {tag}


def prices(inner: DurableContext) -> BatchResult[Price]:
    return inner.map([1, 2], lambda *_: PRICE, returns=Price)


def until_blue(state: Line, _check: Any) -> Line:
    return Line(state.sku + "+", state.price, {Color.BLUE.value})


def three_times(state: Line, _attempt: int) -> WaitForConditionDecision:
    if len(state.sku) < 4:
        return WaitForConditionDecision.continue_waiting(1)
    return WaitForConditionDecision.stop_polling()


POLLED = Line("a+++", PRICE, {"blue"})
PROGRAMS: dict[str, tuple[Callable[[DurableContext], Any], Any]] = {
    "decorated step": (lambda c: c.step(make_order(ORDER)), ORDER),
    "plain step": (lambda c: c.step(price, "name"), PRICE),
    "step with options": (lambda c: c.step(price, "name", StepConfig(sub_type="Mine", retry_strategy=ONCE)), PRICE),
    "lambda": (lambda c: c.step(lambda _: PRICE, returns=Price), PRICE),
    "child": (lambda c: c.run_in_child_context(price_of(3)), Price(PRICE.amount, "E3")),
    "virtual child": (lambda c: c.run_in_child_context(price, is_virtual=True), PRICE),
    "child by returns": (lambda c: c.run_in_child_context(lambda _: {PRICE}, returns=set[Price]), {PRICE}),
    "map": (lambda c: c.map(["a", "b"], line_of).get_results(), [Line("a", PRICE), Line("b", PRICE)]),
    "flat map": (
        lambda c: c.map(["a", "b"], line_of, nesting_type=NestingType.FLAT).get_results(),
        [Line("a", PRICE), Line("b", PRICE)],
    ),
    "map by returns": (lambda c: c.map(["a"], lambda *_: PRICE, returns=Price).get_results(), [PRICE]),
    "map in batches": (
        lambda c: c.map(["a", "c", "d"], lines_of, batcher=ItemBatcher(2)).get_results(),
        [Line("a", PRICE), Line("c", PRICE), Line("d", PRICE)],
    ),
    "map in batches by returns": (
        lambda c: c.map(
            [1, 2, 3], lambda _i, b, *_: [PRICE for _ in b], batcher=ItemBatcher(2), returns=Price
        ).get_results(),
        [PRICE] * 3,
    ),
    "map with a value a batch": (
        lambda c: c.map([1, 2], lambda *_: PRICE, batcher=ItemBatcher(2), per_batch=True, returns=Price).get_results(),
        [PRICE],
    ),
    "result of a map": (lambda c: c.run_in_child_context(prices).get_results(), [PRICE, PRICE]),
    "parallel": (
        lambda c: c.parallel([price, color, tags("t"), ParallelBranch(price, "n"), lambda _: 5]).get_results(),
        [PRICE, Color.RED, {"t"}, PRICE, 5],
    ),
    "parallel by returns": (lambda c: c.parallel([lambda _: PRICE] * 2, returns=Price).get_results(), [PRICE, PRICE]),
    "all": (lambda c: c.all((price, color, lambda _: 3)), (PRICE, Color.RED, 3)),
    "any": (lambda c: c.any([price]), PRICE),
    "race": (lambda c: c.race([color]), Color.RED),
    "all_settled": (lambda c: c.all_settled([price])[0].result, PRICE),
    "condition": (
        lambda c: c.wait_for_condition(until_blue, wait_strategy=three_times, initial_state=Line("a", PRICE)),
        POLLED,
    ),
    "condition by returns": (
        lambda c: c.wait_for_condition(
            lambda state, check: until_blue(state, check),  # noqa: PLW0108  without the annotation
            wait_strategy=three_times,
            initial_state=Line("a", PRICE),
            returns=Line,
        ),
        POLLED,
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_operation_gives_the_type_fresh_and_replayed(name: str) -> None:
    same(*PROGRAMS[name])


@pytest.mark.parametrize("name", VALUES)
def test_every_kind_of_type_comes_back_from_a_step(name: str) -> None:
    of, value, plain = VALUES[name]

    def gives(_step: Any) -> Any:
        return value

    gives.__annotations__["return"] = of
    handle = same(lambda c: c.step(gives, "gives", retry=ONCE), value)
    recorded = handle.operation("gives")["StepDetails"]["Result"]
    assert ExtendedTypeSerDes().deserialize(recorded) == plain
    official: Any = OFFICIAL.serdes.ExtendedTypeSerDes()
    assert official.deserialize(recorded, None) == plain
    assert official.serialize(plain, None) == recorded


def test_an_operation_that_is_pending_gives_nothing_yet_and_then_the_type() -> None:
    seen: list[Any] = []

    def slow(inner: DurableContext) -> Order:
        inner.wait(60)
        return ORDER

    def program(context: DurableContext) -> Any:
        seen.append("begun")
        value = context.run_in_child_context(slow)
        seen.append(value)
        return value

    same(program, ORDER)
    assert seen == ["begun", "begun", ORDER, "begun", ORDER]


def test_what_an_undo_and_a_summary_are_given_is_of_the_type() -> None:
    undone: list[Any] = []

    def program(context: DurableContext) -> Any:
        saga = context.saga("s")
        saga.step(price, undo=lambda _step, value: undone.append(value))  # type: ignore[arg-type]
        saga.compensate()
        return context.map(
            range(3),
            lambda *_: Line("x" * 100_000, PRICE),
            returns=Line,
            summary_generator=lambda found: found.all[0].result.price.currency,
        ).get_results()

    handle, given = run(program)
    assert handle.status == "SUCCEEDED"
    assert undone == [PRICE]
    assert given == [[Line("x" * 100_000, PRICE)] * 3] * 2
    (whole,) = [each for each in handle.operations if each["SubType"] == "Map"]
    assert json.loads(whole["ContextDetails"]["Result"])["summary"] == "EUR"


def test_failures_and_unfinished_branches_stay_beside_typed_items() -> None:
    def work(inner: DurableContext, item: int, _index: int, _items: Any) -> Price:
        if item == 1:
            raise ValueError("no")
        inner.wait(1000 if item == 2 else 1)  # by when the first has failed
        return PRICE

    def program(context: DurableContext) -> Any:
        enough = CompletionConfig(min_successful=1, tolerated_failure_count=3)
        found = context.map([1, 2, 3], work, completion_config=enough)
        return [(item.status.value, item.result) for item in found.all]

    same(program, [("FAILED", None), ("STARTED", None), ("SUCCEEDED", PRICE)])


# ---- what others send


def test_callbacks_and_invokes_are_parsed_into_the_type() -> None:
    sent = '{"sku": "a", "price": {"amount": "1.50"}, "tags": ["x", "x"], "pair": [1, "b"]}'

    def program(context: DurableContext) -> Any:
        return [
            context.wait_for_callback(lambda *_: None, "ask", returns=Line),
            context.create_callback("more", returns=list[Line]).result(),
            context.invoke("echo", json.loads(sent), returns=Line),
            context.wait_for_callback(lambda *_: None, returns=int),
            context.invoke("echo", [1], returns=set[int]),
            context.wait_for_callback(lambda *_: None, serdes=JsonSerDes(), returns=Color),
        ]

    handle = same(
        program, [LINE, [LINE], LINE, 5, {1}, Color.RED], sent, f"[{sent}]", "5", '"red"', echo=lambda e, _: e
    )
    recorded = handle.operation("ask")["ContextDetails"]["Result"]
    assert decode_extended(recorded)["price"] == {"amount": PRICE.amount, "currency": "EUR"}


@pytest.mark.parametrize("sent", ["yes", '{"sku": 5}', "null", '{"sku": "a", "price": "' + "9" * 5000 + '"}'])
def test_what_was_sent_and_does_not_fit_is_told(sent: str) -> None:
    def program(context: DurableContext) -> Any:
        with pytest.raises(SerDesError) as caught:
            context.create_callback("approval", returns=Line).result()
        return str(caught.value)

    _, (fresh, again) = run(program, sent)
    assert fresh == again
    assert "of operation approval" in fresh
    assert f"What was sent is '{sent[:40]}" in fresh
    assert len(fresh) < 800


def test_what_cannot_be_parsed_fails_the_wait_for_a_callback_alike_on_replay() -> None:
    def program(context: DurableContext) -> Any:
        with pytest.raises(SerDesError) as caught:
            context.wait_for_callback(lambda *_: None, "ask", returns=Line)
        return str(caught.value)

    _, (fresh, again) = run(program, "nonsense")
    assert fresh == again
    assert "What was sent is 'nonsense'" in fresh


# ---- what was recorded, and does not fit any more


def test_an_old_record_that_does_not_fit_is_an_error_with_path_type_and_operation() -> None:
    old = {"items": [{"sku": "a"}, {"sku": "b", "price": "x"}]}
    errors: list[Any] = []

    def handler(_event: Any, context: DurableContext) -> None:
        if not context.is_replaying():
            context.step(lambda _: old, "load")
        else:
            try:
                context.step(lambda _: None, "load", returns=dict[str, list[Plain | Line]])  # type: ignore[arg-type]
            except ValidationError as error:
                errors.append(error)
                context.step(lambda _: None, "load", returns=dict[str, list[Line]])  # type: ignore[arg-type]
        context.wait(1)

    service = LocalService(clock=VirtualClock())
    service.register("f", durable_execution(handler))
    handle = service.run("f")
    assert handle.status == "FAILED"
    message = handle.error["ErrorMessage"]
    assert "of operation load" in message
    assert "it is not dict[str, list[" in message
    assert "at `$[...][0]`" in message
    assert len(errors) == 1  # of the type, before the operation is come to


def test_an_item_that_does_not_fit_is_named() -> None:
    def handler(_event: Any, context: DurableContext) -> None:
        returns: Any = None if not context.is_replaying() else Price
        context.map([1, 2], lambda _i, item, *_: {"amount": 1} if item == 1 else "x", "prices", returns=returns)
        context.wait(1)

    service = LocalService(clock=VirtualClock())
    service.register("f", durable_execution(handler))
    handle = service.run("f")
    assert "operation prices" in handle.error["ErrorMessage"]
    assert "item 1: it is not Price" in handle.error["ErrorMessage"]


# ---- programs as they were


class MyDict(dict[str, int]):
    pass


def says_int(_step: Any) -> int:
    return "text"  # type: ignore[return-value]


def says_my_dict(_step: Any) -> MyDict:
    return {"a": 1}  # type: ignore[return-value]


def says_plain(_step: Any) -> Plain:
    return {"name": 5, "extra": True}  # type: ignore[typeddict-item,typeddict-unknown-key]


def says_object(_step: Any) -> object:
    return (1, {"a": None})


def says_none(_step: Any) -> None:
    return {"a": 1}  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (says_int, "text"),
        (says_my_dict, {"a": 1}),
        (says_plain, {"name": 5, "extra": True}),
        (says_object, (1, {"a": None})),
        (says_none, {"a": 1}),
        (functools.partial(says_int), "text"),
    ],
)
def test_a_value_whose_annotation_is_plain_is_left_alone(function: Any, value: Any) -> None:
    same(lambda c: c.step(function), value)
    same(lambda c: c.run_in_child_context(function), value)
    same(lambda c: c.map([1], lambda inner, *_: function(inner)).get_results(), [value])


def says_price(_step: Any) -> Price:
    return {"amount": PRICE.amount}  # type: ignore[return-value]


def says_status(_step: Any) -> Status:
    return "open"  # type: ignore[return-value]


class Lying(NamedTuple):
    x: int
    y: str = None  # type: ignore[assignment]


def says_another_status(_step: Any) -> Status:
    return "gone"  # type: ignore[return-value]


def says_lying(_step: Any) -> list[Lying]:
    return [Lying(1)]


def test_what_plain_data_equals_is_left_alone_where_it_does_not_fit_unless_it_is_asked_for() -> None:
    same(lambda c: c.step(says_another_status), "gone")
    same(lambda c: c.step(says_lying), [(1, None)])
    for program in (
        lambda c: c.step(says_another_status, retry=ONCE, returns=Status),
        lambda c: c.step(says_lying, retry=ONCE, returns=list[Lying]),
    ):
        handle, _ = run(program)
        assert handle.status == "FAILED"
        assert "it is not " in handle.error["ErrorMessage"]


def test_plain_data_in_the_place_of_a_type_becomes_the_type_unless_the_call_says_otherwise() -> None:
    same(lambda c: c.step(says_price), PRICE)
    same(lambda c: c.step(says_status), Status.OPEN)
    same(lambda c: c.step(says_price, returns=Any), {"amount": PRICE.amount})  # type: ignore[arg-type]
    same(lambda c: c.step(says_price, serdes=ExtendedTypeSerDes()), {"amount": PRICE.amount})
    same(lambda c: c.step(lambda _: None, returns=Price), None)


def test_what_cannot_be_written_says_what_to_do() -> None:
    handle, _ = run(lambda c: c.step(lambda _: PRICE, "price", retry=ONCE))
    assert handle.status == "FAILED"
    assert "annotate the function that returns it" in handle.error["ErrorMessage"]


class Upper(SerDes[Any]):
    """Writes plain data in a way of its own."""

    def serialize(self, value: Any, _: SerDesContext) -> str:
        return "U" + ExtendedTypeSerDes().serialize(value)

    def deserialize(self, data: str, _: SerDesContext) -> Any:
        assert data[0] == "U"
        return ExtendedTypeSerDes().deserialize(data[1:])


def test_a_serdes_of_the_operation_goes_before_annotations_and_under_returns() -> None:
    seen: list[Any] = []

    class Own(Upper):
        def serialize(self, value: Any, _: SerDesContext) -> str:
            seen.append(value)
            return '"own"'

        def deserialize(self, data: str, _: SerDesContext) -> Any:
            return data

    same(lambda c: c.step(says_price, serdes=Own()), '"own"')
    assert seen == [{"amount": PRICE.amount}]
    same(lambda c: c.map([1], line_of, item_serdes=Own(), serdes=Upper()).get_results(), ['"own"'])
    handle = same(lambda c: c.step(price, "p", serdes=Upper(), returns=Price), PRICE)
    assert handle.operation("p")["StepDetails"]["Result"].startswith('U{"t":"m"')
    same(lambda c: c.run_in_child_context(price, serdes=Upper(), returns=Price), PRICE)
    same(lambda c: c.map(["a"], line_of, serdes=Upper(), returns=Line).get_results(), [Line("a", PRICE)])


def test_a_returns_that_cannot_be_is_refused_before_anything_is_recorded() -> None:
    handle, _ = run(lambda c: c.step(lambda _: 1, returns=Price | Line))
    assert handle.status == "FAILED"
    assert "returns=" in handle.error["ErrorMessage"]
    assert handle.operations == []


def test_a_step_that_fails_is_no_matter_of_its_type() -> None:
    def fails(_step: Any) -> Price:
        raise ValueError("no")

    def program(context: DurableContext) -> Any:
        with pytest.raises(StepError, match="no"):
            context.step(fails, retry=ONCE)
        return True

    same(program, True)


def test_a_program_without_types_loads_nothing_for_them() -> None:
    code = """
import sys
from typing import Any
from perdure import DurableContext, durable_execution, durable_step
from perdure.local import LocalService, VirtualClock

@durable_step
def add(step, a: int) -> int:
    return a

@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> int:
    found = context.step(add(1)) + context.step(lambda _: 2)
    context.wait(1)
    return found

service = LocalService(clock=VirtualClock())
service.register("f", handler)
assert service.run("f").value == 3
ours = ("perdure._typed", "perdure._kinds", "perdure._handlers")
print([name for name in ("msgspec", "pydantic", *ours) if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- crashes, interleavings, the other SDK


def booking(_event: Any, context: DurableContext) -> Any:
    order = context.step(make_order(ORDER))
    lines = context.map(["a", "b"], line_of).get_results()
    both = context.all((price, color))
    assert (type(order), [type(each) for each in lines], both) == (Order, [Line, Line], (PRICE, Color.RED))
    return [order.id.hex, [line.sku for line in lines], both[1].value]


@pytest.mark.parametrize("options", [{}, {"serdes": Upper()}], ids=["plain", "a serdes for all"])
def test_no_order_and_no_death_changes_what_comes_out(options: Any) -> None:
    report = explore(durable_execution(**options)(booking), orders=2)
    assert report.ok, str(report)


def trip(stage: Stage) -> Any:
    """The same program with types under perdure, and with plain data by hand under the official SDK."""
    ours = stage.sdk is PERDURE

    def charge(_step: Any) -> Order:
        return ORDER if ours else PLAIN_ORDER  # type: ignore[return-value]

    def work(inner: Any, item: str, _index: int, _items: Any) -> Point:
        inner.wait(stage.seconds(1))
        return Point(len(item), Color.RED) if ours else (len(item), "red")  # type: ignore[return-value]

    def child(inner: Any) -> set[str]:
        return {inner.step(lambda _: "x")} if ours else [inner.step(lambda _: "x")]  # type: ignore[return-value]

    order: Any = stage.ctx.step(charge, "charge")
    stage.ctx.wait(stage.seconds(1))
    points = stage.ctx.map(["a", "bb"], work, "points").get_results()
    tags = stage.ctx.run_in_child_context(child, "tags")
    if ours:
        answer = stage.ctx.wait_for_callback(lambda *_: None, "yes", returns=Plain)
        assert (order, points, tags) == (ORDER, [Point(1), Point(2)], {"x"})
    else:
        options = stage.sdk.config.WaitForCallbackConfig(serdes=stage.sdk.serdes.JsonSerDes())
        answer = stage.ctx.wait_for_callback(lambda *_: None, "yes", config=options)
        assert (order, points, tags) == (PLAIN_ORDER, [(1, "red"), (2, "red")], ["x"])
    stage.ctx.wait(stage.seconds(1))
    return [sorted(tags), [list(map(str, points[0][:1])), answer["name"]]]


WORLD = World(answers={"yes create callback id": Answer(result='{"name": "n"}')})


@pytest.mark.parametrize("first", range(6))
def test_either_sdk_goes_on_with_the_types_of_the_other(first: int) -> None:
    handle, alone = play(trip, PERDURE, WORLD)
    assert handle.value == [["x"], [["1"], "n"]]
    replay_writes_nothing(trip, handle, alone)
    for turns in ([OFFICIAL] * first + [PERDURE], [PERDURE] * first + [OFFICIAL]):
        swapped, seen = play(trip, turns, WORLD)
        assert swapped.value == handle.value
        for key, operation in alone.operations.items():
            if operation.get("Name") != "yes submitter":  # whose None one serdes writes as null, and another not at all
                assert seen.operations[key] == operation


# ---- the handler's own


def started(handler: Any, event: Any) -> Any:
    service = LocalService(clock=VirtualClock())
    service.register("f", handler)
    return service.run("f", event=event)


JSON_LINE = {"sku": "a", "price": {"amount": "1.50"}, "tags": ["x"], "pair": [1, "b"]}


def test_a_handler_is_given_an_event_of_its_type_and_gives_what_json_can_hold() -> None:
    @durable_execution
    def handler(event: Line, context: DurableContext) -> Order:
        assert event == LINE
        context.wait(1)
        return Order(ORDER.id, ORDER.at, [event])

    handle = started(handler, JSON_LINE)
    assert handle.status == "SUCCEEDED", handle.error
    assert handle.value["id"] == str(ORDER.id)
    assert handle.value["lines"] == [{**JSON_LINE, "price": {"amount": "1.50", "currency": "EUR"}}]


def test_an_event_that_does_not_fit_fails_the_execution_with_place_type_and_what_was_sent() -> None:
    @durable_execution
    def handler(event: Line, _context: DurableContext) -> None:
        raise AssertionError(event)

    handle = started(handler, {"sku": 5})
    assert (handle.status, len(handle.invocations)) == ("FAILED", 1)
    assert "it is not Line: Expected `str`, got `int` - at `$.sku`. It is {'sku': 5}" in handle.error["ErrorMessage"]


def test_a_wrapper_is_given_the_event_as_it_came() -> None:
    """It may well make something of it for what it wraps."""

    def parsed(function: Callable[[Line, DurableContext], Any]) -> Callable[[Any, DurableContext], Any]:
        @functools.wraps(function)
        def wrapper(event: Any, context: DurableContext) -> Any:
            assert event == JSON_LINE
            return function(LINE, context)

        return wrapper

    @durable_execution
    @parsed
    def handler(event: Line, _context: DurableContext) -> str:
        return event.sku

    assert started(handler, JSON_LINE).value == "a"


def test_an_annotation_that_says_nothing_leaves_the_event_alone() -> None:
    @durable_execution
    def handler(event: Plain, _context: DurableContext) -> Plain:
        return event

    assert started(handler, {"name": 1, "other": True}).value == {"name": 1, "other": True}


def test_a_handler_has_serdes_for_all_operations_that_have_none() -> None:
    @durable_execution(serdes=Upper(), callback_serdes=JsonSerDes())
    def handler(_event: Any, context: DurableContext) -> Any:
        def child(inner: DurableContext) -> Price:
            inner.step(lambda _: [1], "inside")
            inner.wait(1)
            return PRICE

        assert context.step(lambda _: {"a": 1}, "step") == {"a": 1}
        assert context.step(price, "typed") == PRICE
        assert context.step(lambda _: 1, "own", serdes=JsonSerDes()) == 1
        assert context.step(lambda _: 1, "configured", StepConfig(serdes=JsonSerDes())) == 1
        assert context.run_in_child_context(child, "child") == PRICE
        assert context.map(["a"], line_of, "map").get_results() == [Line("a", PRICE)]
        assert context.parallel([color], "parallel").get_results() == [Color.RED]
        until = context.wait_for_condition(
            until_blue, wait_strategy=three_times, initial_state=Line("a", PRICE), name="condition"
        )
        assert until == POLLED
        assert context.wait_for_callback(lambda *_: None, "callback") == {"a": [1]}
        assert context.create_callback("raw", serdes=PassThroughSerDes()).result() == '{"a": [1]}'
        assert context.create_callback("typed callback", returns=dict[str, set[int]]).result() == {"a": {1}}
        with context.saga("saga") as saga:
            saga.step(price, "done", undo=lambda *_: None)
        return True

    service = LocalService(
        clock=VirtualClock(),
        on_callback=lambda operation, client: client.send_durable_execution_callback_success(
            CallbackId=operation["CallbackDetails"]["CallbackId"], Result=b'{"a": [1]}'
        ),
    )
    service.register("f", handler)
    handle = service.run("f")
    assert handle.value is True, handle.error
    recorded = {
        each["Name"]: (each.get("StepDetails") or each.get("ContextDetails"))["Result"]
        for each in handle.operations
        if each.get("Name") and (each.get("StepDetails") or each.get("ContextDetails"))
    }
    plain = {name for name, text in recorded.items() if not text.startswith("U")}
    assert plain == {"own", "configured", "callback", "callback submitter"}
    assert recorded["typed"].startswith('U{"t":"m"')
