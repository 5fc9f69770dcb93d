"""Maps with a batcher: which batches there are, what is recorded, and who can go on with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import BatchResult, DurableContext, ItemBatcher, durable_execution
from perdure._core import encode_extended
from perdure.config import CompletionConfig, MapConfig, NestingType
from perdure.exceptions import SerDesError, ValidationError
from perdure.local import LocalService, VirtualClock
from perdure.testing import explore
from support.both_sdks import OFFICIAL, PERDURE, Stage, play, replay_writes_nothing

if TYPE_CHECKING:
    from collections.abc import Callable


def run(handler: Callable[[Any, DurableContext], Any], event: Any = None) -> Any:
    service = LocalService(clock=VirtualClock())
    service.register("f", durable_execution(handler))
    return service.run("f", event=event)


def doubled(_inner: Any, batch: list[int], _index: int, _items: Any) -> list[int]:
    return [2 * item for item in batch]


def test_three_thousand_items_in_thirty_branches_are_31_operations() -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        found = context.map(range(3000), doubled, "double", batcher=ItemBatcher(max_items=100))
        context.wait(1)
        return [found.get_results() == [2 * item for item in range(3000)], found.success_count]

    handle = run(handler)
    assert handle.value == [True, 30]
    contexts = [each for each in handle.operations if each["Type"] == "CONTEXT"]
    assert len(contexts) == 31
    assert [each["Name"] for each in contexts if each["SubType"] == "MapIteration"] == [
        f"map-item-{first}" for first in range(0, 3000, 100)
    ]
    assert len(handle.invocations) == 2


def test_a_function_is_given_its_batch_its_first_index_and_all_items() -> None:
    seen: list[Any] = []

    def work(inner: DurableContext, batch: list[str], index: int, items: Any) -> list[str]:
        seen.append((batch, index, list(items)))
        inner.wait(1)
        return [inner.step(lambda _, item=item: item.upper(), item) for item in batch]

    def handler(_event: Any, context: DurableContext) -> Any:
        return context.map(("a", "b", "c"), work, batcher=ItemBatcher(2), max_concurrency=1).get_results()

    assert run(handler).value == ["A", "B", "C"]
    assert seen[0] == (["a", "b"], 0, ["a", "b", "c"])
    assert seen[-1] == (["c"], 2, ["a", "b", "c"])


@pytest.mark.parametrize("gives", [list, lambda _: []], ids=["results", "nothing"])
def test_a_function_may_empty_the_list_that_it_is_given(gives: Callable[[list[int]], list[int]]) -> None:
    told: list[Any] = []

    def work(_inner: DurableContext, batch: list[int], _index: int, _items: Any) -> list[int]:
        return gives([batch.pop(0) for _ in range(len(batch))])

    def handler(_event: Any, context: DurableContext) -> Any:
        found = context.map(range(3), work, batcher=ItemBatcher(2), completion_config=CompletionConfig.all_completed())
        told.append([(item.status.value, item.result, item.error and item.error.message) for item in found.all])
        context.wait(1)

    assert run(handler).status == "SUCCEEDED"
    assert told[0] == told[1]
    if gives is list:
        assert [result for _, result, _ in told[0]] == [[0, 1], [2]]
    else:
        assert [status for status, _, _ in told[0]] == ["FAILED", "FAILED"]


def test_one_value_a_batch_and_names_of_ones_own() -> None:
    def total(_inner: Any, batch: list[int], _index: int, _items: Any) -> int:
        return sum(batch)

    def handler(_event: Any, context: DurableContext) -> Any:
        namer = MapConfig[Any](item_namer=lambda batch, first: f"{first}+{len(batch)}")
        found = context.map(range(5), total, None, namer, batcher=ItemBatcher(2), per_batch=True)
        return [type(found) is BatchResult, found.get_results()]

    handle = run(handler)
    assert handle.value == [True, [1, 5, 4]]
    assert [each["Name"] for each in handle.operations if each.get("SubType") == "MapIteration"] == [
        "0+2",
        "2+2",
        "4+1",
    ]


def test_no_items_are_no_batches() -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        return context.map([], doubled, batcher=ItemBatcher(2, 2)).get_results()

    assert run(handler).value == []


def test_a_batch_that_fails_is_a_failed_item() -> None:
    def work(_inner: Any, batch: list[int], _index: int, _items: Any) -> list[int]:
        if 2 in batch:
            raise ValueError("two")
        return batch

    def handler(_event: Any, context: DurableContext) -> Any:
        found = context.map(range(6), work, batcher=ItemBatcher(2), completion_config=CompletionConfig.all_completed())
        context.wait(1)
        return [found.get_results(), [each.index for each in found.failed()]]

    assert run(handler).value == [[0, 1, 4, 5], [1]]


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda _i, batch, _n, _a: batch[1:], "returned 1 results for the 2 items from 0 on"),
        (lambda *_: 5, "not a int: give per_batch=True"),
        (lambda *_: "ab", "not a str"),
    ],
)
def test_other_than_a_result_for_each_item_fails_with_words(work: Any, words: str) -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        context.map(range(2), work, batcher=ItemBatcher(2)).throw_if_error()

    handle = run(handler)
    assert handle.status == "FAILED"
    assert words in handle.error["ErrorMessage"]


def test_mistakes_are_refused_before_anything_is_recorded() -> None:
    async def asynchronous(*_: Any) -> list[Any]:
        return []

    def handler(_event: Any, context: DurableContext) -> Any:
        for wrong in ({}, {"max_items": 0}, {"max_bytes": -1}, {"max_items": True}, {"max_bytes": 1.5}):
            with pytest.raises(ValidationError, match="bound"):
                ItemBatcher(**wrong)
        small: Any = ItemBatcher(2)
        for inputs, function, batcher in (
            ({1}, doubled, small),
            ("ab", doubled, small),
            (5, doubled, small),
            ([1], asynchronous, small),
            ([1], None, small),
            ([1], doubled, 5),
        ):
            with pytest.raises(ValidationError):
                context.map(inputs, function, batcher=batcher)  # type: ignore[call-overload]
        with pytest.raises(ValidationError, match="batcher"):
            context.map([1], doubled, per_batch=True)  # type: ignore[call-overload]
        with pytest.raises(SerDesError, match="item 1 of a map has no size"):
            context.map([1, object()], doubled, batcher=ItemBatcher(max_bytes=9))
        return context.map([1], doubled, "right", batcher=small).get_results()

    handle = run(handler)
    assert handle.value == [2]
    assert handle.operations[0]["Name"] == "right"


def test_other_items_on_replay_are_said_to_be_other_items() -> None:
    lengths = iter((4, 3))

    def finished(_event: Any, context: DurableContext) -> Any:
        context.map(range(next(lengths)), doubled, batcher=ItemBatcher(2))
        context.wait(1)

    handle = run(finished)
    assert handle.error["ErrorType"].endswith("NonDeterministicExecutionError")
    assert "the items of a map with a batcher are not those" in handle.error["ErrorMessage"]

    bounds = iter((2, 3))

    def pending(_event: Any, context: DurableContext) -> Any:
        def work(inner: DurableContext, batch: list[int], _index: int, _items: Any) -> list[int]:
            inner.wait(5)
            return batch

        return context.map(range(6), work, batcher=ItemBatcher(next(bounds))).get_results()

    handle = run(pending)
    assert handle.error["ErrorType"].endswith("NonDeterministicExecutionError")
    assert '"map-item-2"' in handle.error["ErrorMessage"]
    assert '"map-item-3"' in handle.error["ErrorMessage"]


def test_a_large_result_is_rebuilt_in_batches() -> None:
    def work(inner: DurableContext, batch: list[int], _index: int, _items: Any) -> list[str]:
        return [inner.step(lambda _, item=item: str(item) * 100_000, f"s{item}") for item in batch]

    def handler(_event: Any, context: DurableContext) -> Any:
        found = context.map(range(5), work, batcher=ItemBatcher(2))
        context.wait(1)
        return [text[0] for text in found.get_results()]

    assert run(handler).value == ["0", "1", "2", "3", "4"]


def test_flat_batches() -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        return context.map(range(5), doubled, batcher=ItemBatcher(2), nesting_type=NestingType.FLAT).get_results()

    handle = run(handler)
    assert handle.value == [0, 2, 4, 6, 8]
    assert len(handle.operations) == 1


def test_a_result_that_is_handed_on_is_a_plain_one_on_the_first_run_as_on_replay() -> None:
    seen: list[Any] = []

    def handler(_event: Any, context: DurableContext) -> Any:
        found = context.run_in_child_context(lambda k: k.map(range(3), doubled, batcher=ItemBatcher(2)), "child")
        seen.append((type(found), found.get_results()))
        context.wait(1)

    handle = run(handler)
    assert handle.status == "SUCCEEDED", handle.error
    assert seen == [(BatchResult, [[0, 2], [4]])] * 2


def test_the_explorer_finds_no_difference() -> None:
    def work(inner: DurableContext, batch: list[int], _index: int, _items: Any) -> list[int]:
        inner.wait(1)
        return [inner.step(lambda _, item=item: item, f"s{item}") for item in batch]

    def handler(_event: Any, context: DurableContext) -> Any:
        return context.map(range(3), work, batcher=ItemBatcher(2)).get_results()

    report = explore(durable_execution(handler), orders=2)
    report.assert_ok()


ITEMS = st.lists(st.one_of(st.integers(), st.text(max_size=40), st.lists(st.booleans(), max_size=5)), max_size=40)


@given(
    items=ITEMS,
    bounds=st.tuples(st.none() | st.integers(1, 9), st.none() | st.integers(1, 60)).filter(any),
)
def test_batches_are_all_items_in_order_as_full_as_they_may_be(items: list[Any], bounds: tuple[Any, Any]) -> None:
    most, room = bounds
    firsts = ItemBatcher(most, room).firsts(items)
    ends = [*firsts[1:], len(items)] if items else []
    batches = [items[first:end] for first, end in zip(firsts, ends, strict=True)]
    assert [item for batch in batches for item in batch] == items
    sizes = [len(encode_extended(item).encode()) for item in items]
    for first, end in zip(firsts, ends, strict=True):
        assert first < end
        assert most is None or end - first <= most
        assert room is None or sum(sizes[first:end]) <= room or end - first == 1
        if end < len(items):  # no item more would have fitted
            assert end - first == most or (room is not None and sum(sizes[first : end + 1]) > room)


def test_bytes_are_counted_as_the_default_serdes_writes_them() -> None:
    assert ItemBatcher(max_bytes=10).firsts(["abc", "def", "g"]) == [0, 2]  # "abc" takes 5
    assert ItemBatcher(max_bytes=9).firsts(["abc", "x" * 100, "g", "h"]) == [0, 1, 2]
    assert ItemBatcher(max_items=2, max_bytes=10).firsts([1, 2, 3, 1234567890, 4]) == [0, 2, 3, 4]


# ---- hot swap


def orders(stage: Stage) -> Any:
    """A map in batches under perdure, and the same written out by hand under the official SDK."""
    items = [f"order-{n}" for n in range(7)]

    def work(inner: Any, batch: list[str], first: int, _items: Any) -> list[str]:
        inner.wait(stage.seconds(1 + first))
        return inner.step(lambda _: [item.upper() for item in batch], f"ship-{first}")  # type: ignore[no-any-return]

    config = stage.sdk.config
    if stage.sdk is PERDURE:
        found = stage.ctx.map(items, work, "ship", batcher=ItemBatcher(3)).get_results()
    else:
        batches = [items[first : first + 3] for first in range(0, len(items), 3)]
        named = config.MapConfig(item_namer=lambda _batch, index: f"map-item-{3 * index}")
        lists = stage.ctx.map(
            batches, lambda inner, batch, index, _: work(inner, batch, 3 * index, items), "ship", named
        ).get_results()
        found = [result for results in lists for result in results]
    stage.ctx.wait(stage.seconds(1), "after")
    return found


@pytest.mark.parametrize("first", range(6))
def test_either_sdk_goes_on_with_the_batches_of_the_other(first: int) -> None:
    handle, alone = play(orders, PERDURE)
    assert handle.value == [f"ORDER-{n}" for n in range(7)]
    replay_writes_nothing(orders, handle, alone)
    for turns in ([OFFICIAL] * first + [PERDURE], [PERDURE] * first + [OFFICIAL]):
        swapped, seen = play(orders, turns)
        assert swapped.value == handle.value
        assert seen.operations == alone.operations
