"""map and parallel, by hand, under both SDKs. An early end with several in flight is compared by who is in it."""

from __future__ import annotations

from collections import deque
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from support.both_sdks import OFFICIAL, PERDURE, USER, Answer, Stage, World, compare, play, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CASES: list[Any] = []


class OutOfStock(Exception):  # noqa: N818 - users name theirs as they like
    """A user's own error."""


def case(world: World | None = None) -> Callable[[Callable[[Stage], Any]], Callable[[Stage], Any]]:
    def add(body: Callable[[Stage], Any]) -> Callable[[Stage], Any]:
        CASES.append(pytest.param(body, world, id=body.__name__))
        return body

    return add


@pytest.mark.parametrize(("body", "world"), CASES)
def test_both_sdks_agree_on(body: Callable[[Stage], Any], world: World | None) -> None:
    compare(body, world)


def boom(message: str = "boom", kind: type[Exception] = ValueError) -> Callable[..., Any]:
    def fail(*_args: Any) -> Any:
        raise kind(USER + message)

    return fail


def batch_facts(batch: Any) -> Any:
    return {
        "succeeded": batch.succeeded(), "failed": batch.failed(), "started": batch.started(), "status": batch.status,
        "has_failure": batch.has_failure, "results": batch.get_results(), "errors": batch.get_errors(),
        "counts": (batch.success_count, batch.failure_count, batch.started_count, batch.total_count),
        "reason": batch.completion_reason, "all": batch.all, "dict": batch.to_dict(), "class": type(batch).__name__,
    }  # fmt: skip


def seen_batch(stage: Stage, label: str, action: Callable[[], Any]) -> Any:
    def run() -> Any:
        batch = action()
        stage.see(f"{label} throw", batch.throw_if_error)
        return batch_facts(batch)

    return stage.see(label, run)


# ---- how items fail


NESTINGS = ["NESTED", "FLAT"]


@pytest.mark.parametrize("nesting", NESTINGS)
def test_both_sdks_agree_on_the_errors_of_items(nesting: str) -> None:
    def body(stage: Stage) -> Any:
        ctx, config = stage.ctx, stage.sdk.config
        errors = stage.sdk.exceptions

        def rich(_inner: Any) -> Any:
            raise errors.InvokeError(USER + "rich", "their.Type", "data", ["line"])

        def empty(_inner: Any) -> Any:
            raise OutOfStock

        branches = [
            boom("plain", OutOfStock),
            empty,
            rich,
            lambda inner: inner.step(boom("step", OutOfStock), "s", stage.step_config(1)),
            lambda inner: inner.run_in_child_context(boom("child", OutOfStock), "c"),
            lambda inner: inner.run_in_child_context(
                lambda deep: deep.step(boom("deep", OutOfStock), "s", stage.step_config(1)), "c"
            ),
            lambda inner: inner.wait_for_condition(
                boom("check"), stage.sdk.waits.WaitForConditionConfig(lambda _s, _a: None, 0)
            ),
            lambda inner: inner.invoke("nobody", 1),
            lambda _inner: object(),
            lambda inner: inner.step(lambda _: object()),
            lambda inner: inner.parallel([boom("inner")]).throw_if_error(),
            lambda inner: inner.wait(stage.seconds(0)),
        ]
        given = config.ParallelConfig(
            max_concurrency=1, completion_config=stage.tolerant(), nesting_type=config.NestingType[nesting]
        )
        seen_batch(stage, "batch", lambda: ctx.parallel(branches, "p", given))
        for index, branch in enumerate(branches):
            alone = config.ParallelConfig(max_concurrency=1, nesting_type=config.NestingType[nesting])
            seen_batch(stage, f"alone {index}", lambda branch=branch, alone=alone: ctx.parallel([branch], None, alone))
        ctx.wait(stage.seconds(1))
        return ctx.parallel(branches[:1], "last", alone).throw_if_error()

    compare(body)


@pytest.mark.parametrize("nesting", NESTINGS)
def test_both_sdks_agree_on_the_values_of_items(nesting: str) -> None:
    values = [None, 1, "a", (1, (2,)), [1, (2,)], {"a": (1,)}, b"x", 1.5, True]

    def body(stage: Stage) -> Any:
        config = stage.sdk.config
        given = config.MapConfig(max_concurrency=2, nesting_type=config.NestingType[nesting])
        seen_batch(stage, "map", lambda: stage.ctx.map(values, lambda _c, item, _i, _all: item, "m", given))
        stage.ctx.wait(stage.seconds(1))
        return stage.ctx.map([1], lambda _c, item, index, everything: [item, index, everything], "n", given).to_dict()

    compare(body)


@case()
def a_batch_result_as_a_value(stage: Stage) -> Any:
    ctx = stage.ctx

    def inner(context: Any) -> Any:
        return context.map([1, (2,)], lambda _c, item, _i, _all: item, "m")

    stage.see("child", lambda: ctx.run_in_child_context(inner, "c"))
    kept = ctx.map([1], lambda _c, item, _i, _all: item)
    stage.see("step", lambda: ctx.step(lambda _: kept, "s"))
    stage.see("nested", lambda: ctx.map([1], lambda c, _item, _i, _all: inner(c)))
    return "end"


@case()
def a_batch_result_out_of_the_handler(stage: Stage) -> Any:
    return stage.ctx.map([1], lambda _c, item, _i, _all: item)


# ---- names and shapes


@case()
def names(stage: Stage) -> Any:
    ctx, config, top = stage.ctx, stage.sdk.config, stage.sdk.top

    def one(_inner: Any, item: Any = None, *_rest: Any) -> Any:
        return item

    ctx.map(
        [1, 2], one, "named", config.MapConfig(max_concurrency=1, item_namer=lambda item, index: f"i{item}-{index}")
    )
    ctx.map([1], one)
    ctx.map([1], one, "")
    ctx.map([1], one, "n", config.MapConfig(item_namer=lambda _item, _index: ""))
    ctx.map([1], one, "n", config.MapConfig(item_namer=lambda _item, _index: None))

    @top.durable_parallel_branch(name="given")
    def branch(_inner: Any, value: int) -> int:
        return value

    @top.durable_parallel_branch()
    def plain(_inner: Any, value: int) -> int:
        return value

    kinds = [branch(1), plain(2), config.ParallelBranch(one, "pb"), config.ParallelBranch(one), one, lambda _: 3]
    kinds += [config.ParallelBranch(one, ""), top.ParallelBranch(func=one, name=None)]
    stage.see("parallel", lambda: ctx.parallel(kinds, "p", config.ParallelConfig(max_concurrency=1)))
    stage.see("flat", lambda: ctx.parallel(
        kinds, None, config.ParallelConfig(max_concurrency=1, nesting_type=config.NestingType.FLAT)))  # fmt: skip
    return None


@case()
def a_namer_that_raises(stage: Stage) -> Any:
    config = stage.sdk.config.MapConfig(item_namer=boom("namer"), max_concurrency=1)
    stage.see("it", lambda: stage.ctx.map([1, 2], lambda _c, item, _i, _all: item, "m", config))
    return 1


@case()
def empty_batches(stage: Stage) -> Any:
    ctx, config = stage.ctx, stage.sdk.config
    seen_batch(stage, "map", lambda: ctx.map([], lambda *_: 1, "m"))
    seen_batch(stage, "parallel", lambda: ctx.parallel([], "p"))
    seen_batch(
        stage, "flat", lambda: ctx.map([], lambda *_: 1, "f", config.MapConfig(nesting_type=config.NestingType.FLAT))
    )
    given = config.MapConfig(completion_config=config.CompletionConfig(tolerated_failure_percentage=0))
    seen_batch(stage, "none", lambda: ctx.map([], lambda *_: 1, "f", given))
    given = config.MapConfig(completion_config=config.CompletionConfig(min_successful=1))
    seen_batch(stage, "min", lambda: ctx.map([], lambda *_: 1, "f", given))
    for word in ("SUCCEEDED", "FAILED"):
        outcome = config.CompletionOutcome[word]

        def predicate(status: Any, outcome: Any = outcome) -> Any:
            stage.note("asked", status)
            return config.complete_batch(outcome)

        given = config.MapConfig(completion_config=config.CompletionConfig(should_complete=predicate))
        seen_batch(stage, word, lambda given=given: ctx.map([], lambda *_: 1, "f", given))
        seen_batch(stage, f"{word} of one", lambda given=given: ctx.map([1], lambda *_: 1, "f", given))

    def never(status: Any) -> Any:
        stage.note("asked never", status)
        return config.continue_batch()

    given = config.MapConfig(completion_config=config.CompletionConfig(should_complete=never))
    seen_batch(stage, "never", lambda: ctx.map([], lambda *_: 1, "f", given))
    ctx.wait(stage.seconds(1))
    return None


@case()
def impossible_bounds(stage: Stage) -> Any:
    ctx, config = stage.ctx, stage.sdk.config
    for bound in (0, -1):
        stage.see(f"map {bound}", lambda bound=bound: config.MapConfig(max_concurrency=bound))
        stage.see(f"parallel {bound}", lambda bound=bound: config.ParallelConfig(max_concurrency=bound))
    for name, value in product(
        ("min_successful", "tolerated_failure_count", "tolerated_failure_percentage"), (0, -1, 101, 100.5)
    ):
        stage.see(f"{name} {value}", lambda name=name, value=value: config.CompletionConfig(**{name: value}))
    many = config.MapConfig(completion_config=config.CompletionConfig(min_successful=3))
    stage.see("too many", lambda: ctx.map([1, 2], lambda *_: 1, "m", many))
    many = config.ParallelConfig(completion_config=config.CompletionConfig(min_successful=3))
    stage.see("too many branches", lambda: ctx.parallel([lambda _: 1], "m", many))
    return ctx.step(lambda _: 1, "after")


@case()
def inputs_of_other_kinds(stage: Stage) -> Any:
    ctx = stage.ctx
    one = stage.sdk.config.MapConfig(max_concurrency=1)
    stage.see("tuple", lambda: ctx.map((1, 2), lambda _c, item, _i, everything: (item, everything), "t", one))
    stage.see("string", lambda: ctx.map("ab", lambda _c, item, _i, everything: (item, everything), "s", one))
    stage.see("range", lambda: ctx.map(range(2), lambda _c, item, _i, _all: item, "r", one))
    stage.see("functions", lambda: ctx.parallel((lambda _: 1, lambda _: 2), "f"))
    counts = {"a": 1, "b": 2}
    for inputs in (counts, counts.values(), counts.items(), counts.keys(), deque(counts), OnlyIterable()):
        kind = type(inputs).__name__
        stage.see(kind, lambda: ctx.map(inputs, lambda _c, *rest: [rest[0], rest[1], len(rest[2])], "o", one))  # noqa: B023  at once
    return None


class OnlyIterable:
    """Knows how many there are, and gives them in order only."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[int]:
        return iter((5, 6))


@case()
def inputs_that_change_under_the_map(stage: Stage) -> Any:
    changes: dict[str, Callable[[list[int]], Any]] = {
        "clear": list.clear, "pop": list.pop, "pop first": lambda items: items.pop(0), "append": lambda i: i.append(9),
        "overwrite": lambda items: items.__setitem__(slice(None), [7] * len(items)),
    }  # fmt: skip
    completion = stage.sdk.config.CompletionConfig.all_completed()
    for (name, change), bound in product(changes.items(), (1, 2)):

        def work(_inner: Any, item: int, _index: int, items: list[int], change: Callable[..., Any] = change) -> int:
            if items:
                change(items)
            return item

        options = stage.sdk.config.MapConfig(max_concurrency=bound, completion_config=completion)
        stage.see(f"{name} {bound}", lambda: stage.ctx.map([1, 2, 3], work, "m", options).get_results())  # noqa: B023  at once
    return None


# ---- when a batch ends

THRESHOLDS: list[dict[str, Any]] = [
    {}, {"min_successful": 1}, {"min_successful": 2}, {"min_successful": 4}, {"tolerated_failure_count": 0},
    {"tolerated_failure_count": 1}, {"tolerated_failure_count": 2}, {"tolerated_failure_percentage": 0},
    {"tolerated_failure_percentage": 25}, {"tolerated_failure_percentage": 49.9}, {"tolerated_failure_percentage": 50},
    {"tolerated_failure_percentage": 100}, {"min_successful": 2, "tolerated_failure_count": 1},
    {"min_successful": 1, "tolerated_failure_percentage": 25, "tolerated_failure_count": 3},
]  # fmt: skip


@pytest.mark.parametrize("thresholds", THRESHOLDS, ids=str)
@pytest.mark.parametrize("fates", ["....", "x...", ".x..", "..xx", "xx..", "xxxx", ".w.x"])
@pytest.mark.parametrize("nesting", NESTINGS)
def test_both_sdks_end_a_batch_at_the_same_point(thresholds: dict[str, Any], fates: str, nesting: str) -> None:
    def body(stage: Stage) -> Any:
        config = stage.sdk.config

        def item(inner: Any, fate: str, index: int, _all: Any) -> Any:
            if fate == "w":
                inner.wait(stage.seconds(5))
            return inner.step(boom("x", OutOfStock) if fate == "x" else lambda _: index, "s", stage.step_config(1))

        given = config.MapConfig(
            max_concurrency=1,
            completion_config=config.CompletionConfig(**thresholds),
            nesting_type=config.NestingType[nesting],
        )
        seen_batch(stage, "batch", lambda: stage.ctx.map(list(fates), item, "m", given))
        return None

    compare(body)


@pytest.mark.parametrize("name", ["first_successful", "all_completed", "all_successful"])
@pytest.mark.parametrize("fates", ["...", "x..", "xxx"])
def test_both_sdks_agree_on_the_ready_made_rules(name: str, fates: str) -> None:
    def body(stage: Stage) -> Any:
        config = stage.sdk.config
        given = config.ParallelConfig(max_concurrency=1, completion_config=getattr(config.CompletionConfig, name)())
        branches = [boom("x") if fate == "x" else lambda _: 1 for fate in fates]
        seen_batch(stage, "batch", lambda: stage.ctx.parallel(branches, "p", given))
        seen_batch(
            stage, "default", lambda: stage.ctx.parallel(branches, "p", config.ParallelConfig(max_concurrency=1))
        )
        return None

    compare(body)


@pytest.mark.parametrize("fates", ["....", ".x.x", "xxxx", ".w.", "ww"])
@pytest.mark.parametrize("rule", ["never", "first", "failed after two", "any started", "all", "raises"])
@pytest.mark.parametrize("nesting", NESTINGS)
def test_both_sdks_ask_a_predicate_the_same_questions(fates: str, rule: str, nesting: str) -> None:
    def body(stage: Stage) -> Any:
        config = stage.sdk.config

        def predicate(status: Any) -> Any:
            stage.note("asked", status)
            if rule == "first" and status.success_count >= 1:
                return config.complete_batch()
            if rule == "failed after two" and status.completed_count >= 2:
                return config.complete_batch(config.CompletionOutcome.FAILED)
            if rule == "any started" and any(item.status and item.status.name == "STARTED" for item in status.items):
                return config.complete_batch()
            if rule == "raises" and status.completed_count == 2:
                raise OutOfStock(USER + "predicate")
            if rule == "all" and status.completed_count == status.total_count:
                return config.complete_batch()
            return config.continue_batch()

        def item(inner: Any, fate: str, index: int, _all: Any) -> Any:
            if fate == "w":
                inner.wait(stage.seconds(5))
            return inner.step(boom("x", OutOfStock) if fate == "x" else lambda _: index, "s", stage.step_config(1))

        given = config.MapConfig(
            max_concurrency=1,
            completion_config=config.CompletionConfig(should_complete=predicate),
            nesting_type=config.NestingType[nesting],
            item_namer=lambda fate, index: f"{fate}{index}",
        )
        seen_batch(stage, "batch", lambda: stage.ctx.map(list(fates), item, "m", given))
        stage.ctx.wait(stage.seconds(1))
        return None

    compare(body)


# ---- when a batch ends with several branches in flight: who is in the result is certain


@pytest.mark.parametrize(
    ("items", "limit", "enough", "total"),
    [(60, None, 1, 60), (10, 5, 6, 10), (20, 5, 2, 6), (20, 1, 2, 2), (40, 10, 3, 12)],
)
@pytest.mark.parametrize("nesting", NESTINGS)
def test_both_sdks_admit_the_same_branches_of_many_that_end_at_once(
    nesting: str, items: int, limit: int | None, enough: int, total: int
) -> None:
    def body(stage: Stage) -> Any:
        config = stage.sdk.config
        given = config.MapConfig(
            max_concurrency=limit,
            completion_config=config.CompletionConfig(min_successful=enough),
            nesting_type=config.NestingType[nesting],
        )
        batch = stage.ctx.map(list(range(items)), lambda inner, item, *_: inner.step(lambda _: item), "m", given)
        assert batch.success_count >= enough
        stage.note("who", [item.index for item in batch.all])
        stage.note("why", batch.completion_reason)
        return None

    for sdk in (OFFICIAL, PERDURE):
        handle, seen = play(body, sdk)
        assert handle.status == "SUCCEEDED"
        assert seen.notes["who"] == [show([*range(total)])], sdk.name
        assert seen.notes["why"] == ["CompletionReason.MIN_SUCCESSFUL_REACHED"], sdk.name


# ---- suspension


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("bound", [None, 1, 2])
def test_both_sdks_agree_on_branches_that_suspend(nesting: str, bound: int | None) -> None:
    def body(stage: Stage) -> Any:
        ctx, config = stage.ctx, stage.sdk.config
        decision = stage.sdk.waits.WaitForConditionDecision

        def strategy(_state: int, attempt: int) -> Any:
            return decision.continue_waiting(stage.seconds(9)) if attempt < 3 else decision.stop_polling()

        def flaky(step: Any) -> int:
            if step.attempt < 3:
                raise ValueError(f"{USER} {step.attempt}")
            return step.attempt

        def waits(inner: Any) -> Any:
            inner.wait(stage.seconds(10))
            inner.wait(stage.seconds(5))
            return inner.step(lambda _: "waited")

        branches = [
            waits,
            lambda inner: inner.step(flaky, "r", stage.step_config(3, 7)),
            lambda inner: inner.create_callback("a").result(),
            lambda inner: inner.wait_for_callback(lambda _key, _c: None, "b"),
            lambda inner: inner.invoke("echo", 1),
            lambda inner: inner.run_in_child_context(waits, "c"),
            lambda inner: inner.wait_for_condition(
                lambda state, _: state + 1, stage.sdk.waits.WaitForConditionConfig(strategy, 0)
            ),
            lambda inner: inner.map([1, 2], lambda deep, *_: waits(deep), "deep").get_results(),
            lambda _inner: "at once",
        ]
        given = config.ParallelConfig(max_concurrency=bound, nesting_type=config.NestingType[nesting])
        seen_batch(stage, "batch", lambda: ctx.parallel(branches, "p", given))
        ctx.wait(stage.seconds(1))
        return None

    compare(body, World(functions={"echo": lambda event, _: event}, answers={"a": Answer(result="A")}))


@case()
def starts_that_are_queued_when_all_suspend(stage: Stage) -> Any:
    def item(inner: Any, _item: int, _index: int, _all: Any) -> Any:
        return inner.run_in_child_context(lambda deep: deep.wait(stage.seconds(3)), "c")

    seen_batch(stage, "map", lambda: stage.ctx.map([1, 2, 3], item, "m"))
    return None


@case()
def a_failing_item_beside_waiting_ones(stage: Stage) -> Any:
    def item(inner: Any, seconds: int, _index: int, _all: Any) -> Any:
        inner.wait(stage.seconds(seconds))
        if seconds == 7:
            raise OutOfStock(USER + "seven")
        return seconds

    config = stage.sdk.config
    given = config.MapConfig(completion_config=config.CompletionConfig(tolerated_failure_count=1))
    seen_batch(stage, "tolerated", lambda: stage.ctx.map([5, 7, 9], item, "m", given))
    return None


# ---- large results


@pytest.mark.parametrize("nesting", NESTINGS)
def test_both_sdks_agree_on_large_items(nesting: str) -> None:
    def body(stage: Stage) -> Any:
        ctx, config = stage.ctx, stage.sdk.config

        def item(inner: Any, value: int, _index: int, _all: Any) -> Any:
            stage.note(f"item {value}", inner.is_replaying() if nesting == "NESTED" else None)
            if value == 2:
                raise OutOfStock(USER + "two")
            part = inner.step(lambda _: "x" * 150_000, "part")
            return part * 2 if value == 1 else part

        given = config.MapConfig(
            max_concurrency=1,
            completion_config=config.CompletionConfig(tolerated_failure_count=1, min_successful=3),
            nesting_type=config.NestingType[nesting],
        )
        seen_batch(stage, "map", lambda: ctx.map([1, 2, 3, 4, 5], item, "m", given))
        ctx.wait(stage.seconds(2))
        return ctx.step(lambda _: 1)

    compare(body)


@pytest.mark.parametrize("nesting", NESTINGS)
def test_rebuilding_a_large_batch_runs_each_branch_once(nesting: str) -> None:
    def body(stage: Stage) -> Any:
        def item(inner: Any, value: int, _index: int, _all: Any) -> Any:
            stage.note(f"item {value}", "ran")
            kept = inner.run_in_child_context(lambda deep: deep.step(lambda _: "x" * 150_000) * 2, "large")
            stage.note(f"item {value}", "is through")
            return kept

        given = stage.sdk.config.MapConfig(nesting_type=stage.sdk.config.NestingType[nesting])
        for _ in range(3):
            stage.ctx.map(list(range(8)), item, "m", given)
        stage.ctx.wait(stage.seconds(2))
        return stage.ctx.step(lambda _: 1)

    compare(body)


@pytest.mark.parametrize("completion", ["all", "first", "failed"])
@pytest.mark.parametrize("summary", ["none", "text", "number", "null", "raises"])
def test_both_sdks_agree_on_large_batches_and_summaries(completion: str, summary: str) -> None:
    def body(stage: Stage) -> Any:
        ctx, config = stage.ctx, stage.sdk.config
        rules = {
            "all": config.CompletionConfig.all_completed(),
            "first": config.CompletionConfig(min_successful=2),
            "failed": config.CompletionConfig(tolerated_failure_count=0),
        }

        def text(batch: Any) -> str:
            return f"{batch.success_count} of {batch.total_count}"

        generators = {
            "none": None, "text": text, "number": lambda _: 7, "null": lambda _: None, "raises": boom("summary"),
        }  # fmt: skip

        def branch(inner: Any) -> Any:
            return inner.step(lambda _: "x" * 150_000, "part")

        given = config.ParallelConfig(
            max_concurrency=1, completion_config=rules[completion], summary_generator=generators[summary]
        )
        branches = [branch, branch, boom("third", OutOfStock), branch]
        seen_batch(stage, "batch", lambda: ctx.parallel(branches, "p", given))
        ctx.wait(stage.seconds(2))
        return ctx.step(lambda _: 1)

    compare(body)


@case()
def a_small_batch_needs_no_summary(stage: Stage) -> Any:
    given = stage.sdk.config.MapConfig(max_concurrency=1, summary_generator=boom("not asked"))
    seen_batch(stage, "map", lambda: stage.ctx.map([1, 2], lambda _c, item, _i, _all: item, "m", given))
    return None


@case()
def batches_in_batches(stage: Stage) -> Any:
    config = stage.sdk.config
    tolerant = {"completion_config": stage.tolerant()}

    def inner(context: Any, item: int, _index: int, _all: Any) -> Any:
        given = config.ParallelConfig(nesting_type=config.NestingType.FLAT, **tolerant)
        branches = [
            lambda c: c.step(lambda _: item, "s"),
            boom("no", OutOfStock),
            lambda c: c.wait(stage.seconds(item)),
        ]
        return context.parallel(branches, "inner", given).get_results()

    seen_batch(stage, "outer", lambda: stage.ctx.map([1, 2, 3], inner, "outer", config.MapConfig(**tolerant)))
    return None


@case()
def a_batch_in_virtual_contexts(stage: Stage) -> Any:
    config = stage.sdk.config
    virtual = config.ChildConfig(is_virtual=True)

    def inner(context: Any) -> Any:
        flat = config.MapConfig(nesting_type=config.NestingType.FLAT)
        return context.map([1, 2], lambda c, item, *_: c.step(lambda _: item, "s"), "m", flat).get_results()

    stage.see("it", lambda: stage.ctx.run_in_child_context(inner, "v", virtual))
    return stage.ctx.step(lambda _: 1)
