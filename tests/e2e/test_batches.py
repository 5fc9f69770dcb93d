"""Who is in the result of a map or parallel: a matter of the record and of the policy, never of threads."""

from __future__ import annotations

import threading
from _thread import allocate_lock
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, InvocationError, complete_batch, continue_batch, durable_execution
from perdure._core import RUN_BRANCH, Batch, Execution, hands_at_work
from perdure.config import CompletionConfig, CompletionOutcome, NestingType
from perdure.engine import batch as executor
from perdure.exceptions import InvalidStateError, ValidationError
from perdure.local import InvocationCut, LocalService
from perdure.retries import RetryPresets
from support.executions import run
from support.invocations import PENDING, Recorder, error, invoke, op, op_id, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Branch = Callable[[DurableContext], Any]

pytestmark = pytest.mark.timeout(60)

NESTED, FLAT = NestingType.NESTED, NestingType.FLAT
BOTH = pytest.mark.parametrize("nesting", [NESTED, FLAT], ids=["nested", "flat"])
ALL = CompletionConfig.all_completed()


def facts(batch: Any) -> Any:
    """Give what a result says: the items, by their statuses and results, and why the batch is done."""
    items = [[item.status.value, item.result] for item in batch.all]
    return [items, batch.total_count, batch.completion_reason.value]


def branches_of(handle: Any) -> list[dict[str, Any]]:
    return [each for each in handle.operations if each.get("SubType") in ("MapIteration", "ParallelBranch")]


def waiting(seconds: int, value: Any) -> Branch:
    def branch(context: DurableContext) -> Any:
        context.wait(seconds)
        return value

    return branch


def instant(value: Any) -> Branch:
    return lambda context: context.step(lambda _: value)


def late_bad(context: DurableContext) -> Any:
    context.wait(1)
    raise ValueError("late")


# ---- who is in


@BOTH
def test_a_late_failure_leaves_no_recorded_success_out(nesting: NestingType) -> None:
    def handler(context: DurableContext) -> Any:
        found = context.parallel([late_bad, instant(1), instant(2)], nesting_type=nesting)
        return [*facts(found), found.get_results(), found.success_count]

    assert run(handler).value == [
        [["FAILED", None], ["SUCCEEDED", 1], ["SUCCEEDED", 2]], 3, "FAILURE_TOLERANCE_EXCEEDED", [1, 2], 2,
    ]  # fmt: skip


@BOTH
def test_whoever_was_admitted_has_an_item(nesting: NestingType) -> None:
    def handler(context: DurableContext) -> Any:
        found = context.parallel(
            [waiting(60, "soon"), waiting(3600, "late")],
            completion_config=CompletionConfig.first_successful(),
            nesting_type=nesting,
        )
        return [*facts(found), found.started_count, found.all[1].index]

    assert run(handler).value == [[["SUCCEEDED", "soon"], ["STARTED", None]], 2, "MIN_SUCCESSFUL_REACHED", 1, 1]


@BOTH
@pytest.mark.parametrize("waits", [(5, 5), (5, 9), (9, 5)])
def test_what_was_recorded_before_counts_before_what_comes(nesting: NestingType, waits: tuple[int, int]) -> None:
    def handler(context: DurableContext) -> Any:
        branches = [waiting(waits[0], "late"), waiting(waits[1], "late"), instant("early")]
        return context.parallel(
            branches, completion_config=CompletionConfig(min_successful=2), nesting_type=nesting
        ).get_results()

    assert run(handler).value == ["late", "early"]


TOTALS = [
    (300, None, 1, 300),
    (10, 5, 6, 10),
    (20, 5, 2, 6),
    (20, 1, 2, 2),
    (40, 10, 3, 12),
    (7, 3, 7, 7),
    (7, 9, 1, 7),
]


@BOTH
@pytest.mark.parametrize("hands", [0, 1, 3, 256])
@pytest.mark.parametrize(("items", "limit", "enough", "total"), TOTALS)
def test_totals_follow_from_the_rule(
    nesting: NestingType,
    hands: int,
    items: int,
    limit: int | None,
    enough: int,
    total: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor, "MAX_THREADS", hands)

    def handler(context: DurableContext) -> Any:
        found = context.map(
            range(items),
            lambda inner, item, *_: inner.step(lambda _: item),
            max_concurrency=limit,
            completion_config=CompletionConfig(min_successful=enough),
            nesting_type=nesting,
        )
        return [found.total_count, found.success_count, [item.index for item in found.all] == [*range(total)]]

    handle = run(handler)
    assert handle.value == [total, enough, True]
    assert len(branches_of(handle)) == (total if nesting is NESTED else 0)
    starts = [
        each["Name"] for each in handle.updates if each["Action"] == "START" and each["SubType"] == "MapIteration"
    ]
    assert starts == [f"map-item-{index}" for index in range(total if nesting is NESTED else 0)]


def test_starts_leave_together_in_index_order() -> None:
    _, client = invoke(lambda c: c.map(range(600), lambda k, *_: k.wait(9), "m").success_count)
    assert client.summary[0] == ["CONTEXT START m", *(f"CONTEXT START map-item-{index}" for index in range(249))]
    starts = [each for batch in client.summary for each in batch if each.startswith("CONTEXT")]
    assert starts == ["CONTEXT START m", *(f"CONTEXT START map-item-{index}" for index in range(600))]


def test_one_after_another_nothing_is_started_ahead() -> None:
    _, client = invoke(
        lambda c: c.map(range(3), lambda k, item, *_: k.step(lambda _: item, "s"), "m", max_concurrency=1).success_count
    )
    assert client.summary == [
        ["CONTEXT START m", "CONTEXT START map-item-0", "STEP START s", "STEP SUCCEED s"],
        ["CONTEXT SUCCEED map-item-0"],
        ["CONTEXT START map-item-1", "STEP START s", "STEP SUCCEED s"],
        ["CONTEXT SUCCEED map-item-1"],
        ["CONTEXT START map-item-2", "STEP START s", "STEP SUCCEED s"],
        ["CONTEXT SUCCEED map-item-2"],
        ["CONTEXT SUCCEED m"],
    ]


def test_no_outcome_is_recorded_after_the_one_that_decides() -> None:
    """Both are at their ends at the same moment: only one of them is in the record, and it is the one in the result."""
    both = threading.Barrier(2)

    def branch(_context: DurableContext, item: int, *_: Any) -> int:
        both.wait(10)
        return item

    def handler(context: DurableContext) -> Any:
        found = context.map(range(2), branch, completion_config=CompletionConfig(min_successful=1))
        return [item.status.value for item in found.all]

    handle = run(handler)
    assert sorted(handle.value) == ["STARTED", "SUCCEEDED"]
    assert [each["Status"] for each in branches_of(handle)] == handle.value


def test_outcomes_before_the_one_that_decides_are_in_whoever_reports_first() -> None:
    """The failure is on its way to the service while the success that decides is reported."""
    failing, ended = threading.Event(), threading.Event()

    class Slow(Recorder):
        def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
            if any(each["Action"] == "FAIL" for each in call["Updates"]):
                failing.set()
                assert ended.wait(10)
            return super().checkpoint_durable_execution(**call)

    def bad(_context: DurableContext) -> Any:
        raise ValueError("bad")

    def good(_context: DurableContext) -> str:
        assert failing.wait(10)
        ended.set()
        return "good"

    got, _ = invoke(
        lambda c: facts(c.parallel([bad, good], completion_config=CompletionConfig(min_successful=1))), client=Slow()
    )
    assert got == succeeded('[[["FAILED", null], ["SUCCEEDED", "good"]], 2, "ALL_COMPLETED"]')


# ---- on a resume


def history(nesting: NestingType, *outcomes: str | None, kind: str = "Parallel") -> list[dict[str, Any]]:
    """Build the record of a batch whose branches are each a step: ``+`` and ``-`` have ended, ``.`` has begun."""
    branch_type, prefix = ("MapIteration", "map-item-") if kind == "Map" else ("ParallelBranch", "parallel-branch-")
    operations = [op("CONTEXT", "STARTED", 1, SubType=kind)]
    for index, outcome in enumerate(outcomes):
        if outcome is None:
            continue
        status = {"+": "SUCCEEDED", "-": "FAILED"}.get(outcome, "STARTED")
        details = {"Error": error()} if outcome == "-" else {"Result": str(index)} if outcome == "+" else None
        if nesting is NESTED:
            name = f"{prefix}{index}"
            operations.append(op("CONTEXT", status, 1, index, SubType=branch_type, Name=name, details=details))
        step = op("STEP", status, 1, index, 1, details=details)
        operations.append(step if nesting is NESTED else step | {"ParentId": op_id(1)})
    return operations


class Bodies:
    """Branches of one step each, which note what runs."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.begun: Counter[int] = Counter()
        self._lock = threading.Lock()

    def item(self, context: DurableContext, item: int, *_: Any) -> Any:
        with self._lock:
            self.begun[item] += 1
        return context.step(lambda _: self.ran.append(item) or item, retry=RetryPresets.none())


@BOTH
@pytest.mark.parametrize("where", range(12))
def test_a_sandbox_that_dies_after_a_failure_loses_no_recorded_success(nesting: NestingType, where: int) -> None:
    outcomes = ["+"] * 12
    outcomes[where] = "-"
    bodies = Bodies()
    got, client = invoke(
        lambda c: facts(c.map(range(12), bodies.item, nesting_type=nesting)),
        *history(nesting, *outcomes, kind="Map"),
    )
    items = ", ".join('["FAILED", null]' if n == where else f'["SUCCEEDED", {n}]' for n in range(12))
    assert got == succeeded(f'[[{items}], 12, "FAILURE_TOLERANCE_EXCEEDED"]')
    assert bodies.ran == []
    assert [each["Action"] for each in client.updates] == ["SUCCEED"]


@BOTH
@pytest.mark.parametrize("hands", [0, 1, 256])
def test_nobody_goes_on_where_the_record_is_enough(
    nesting: NestingType, hands: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "MAX_THREADS", hands)
    bodies = Bodies()
    got, client = invoke(
        lambda c: facts(
            c.map(range(6), bodies.item, completion_config=CompletionConfig(min_successful=2), nesting_type=nesting)
        ),
        *history(nesting, ".", "+", None, ".", "+", None, kind="Map"),
    )
    statuses = [["STARTED", None], ["SUCCEEDED", 1], ["STARTED", None], ["STARTED", None], ["SUCCEEDED", 4]]
    expected = [[*statuses, ["STARTED", None]], 6, "MIN_SUCCESSFUL_REACHED"]
    assert got == succeeded(str(expected).replace("'", '"').replace("None", "null"))
    assert bodies.ran == []
    assert not [each for each in client.updates if each["Type"] == "STEP"]
    started = [each["Name"] for each in client.updates if each["Action"] == "START"]
    assert started == (["map-item-2", "map-item-5"] if nesting is NESTED else [])


@BOTH
@pytest.mark.parametrize("hands", [0, 1, 2, 256])
@pytest.mark.parametrize("limit", [None, 1, 2, 5])
def test_a_resumed_batch_ends_as_it_would_have(
    nesting: NestingType, hands: int, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "MAX_THREADS", hands)
    bodies = Bodies()
    got, _ = invoke(
        lambda c: facts(c.map(range(8), bodies.item, max_concurrency=limit, nesting_type=nesting)),
        *history(nesting, "+", ".", "+", kind="Map"),
    )
    items = ", ".join(f'["SUCCEEDED", {n}]' for n in range(8))
    assert got == succeeded(f'[[{items}], 8, "ALL_COMPLETED"]')
    assert sorted(bodies.ran) == [1, 3, 4, 5, 6, 7]
    if hands == 256:
        assert max(bodies.begun.values()) == 1


def test_a_flat_branch_runs_its_code_once_an_invocation_where_there_are_hands() -> None:
    bodies = Bodies()
    got, _ = invoke(
        lambda c: c.map(range(40), bodies.item, nesting_type=FLAT).success_count,
        *history(FLAT, *("+." * 20), kind="Map"),
    )
    assert got == succeeded("40")
    assert set(bodies.begun.values()) == {1}
    assert sorted(bodies.ran) == [*range(1, 40, 2)]


def test_a_flat_branch_that_ends_without_operations_counts_before_the_others_go_on() -> None:
    bodies = Bodies()
    got, _ = invoke(
        lambda c: facts(
            c.parallel(
                [lambda k: bodies.item(k, 0), lambda _: "plain"],
                completion_config=CompletionConfig(min_successful=1),
                nesting_type=FLAT,
            )
        ),
        *history(FLAT, "."),
    )
    assert got == succeeded('[[["STARTED", null], ["SUCCEEDED", "plain"]], 2, "MIN_SUCCESSFUL_REACHED"]')
    assert bodies.ran == []


def test_what_a_held_branch_holds_inside_virtual_contexts_waits_too() -> None:
    bodies = Bodies()

    def deep(context: DurableContext) -> Any:
        return context.run_in_child_context(
            lambda k: k.run_in_child_context(lambda d: bodies.item(d, 0), is_virtual=True), is_virtual=True
        )

    batch = op("CONTEXT", "STARTED", 1, SubType="Parallel")
    done = op("STEP", "SUCCEEDED", 1, 1, 1, details={"Result": "1"}) | {"ParentId": op_id(1)}
    got, client = invoke(
        lambda c: facts(
            c.parallel([deep, instant(0)], completion_config=CompletionConfig(min_successful=1), nesting_type=FLAT)
        ),
        batch,
        done,
    )
    assert got == succeeded('[[["STARTED", null], ["SUCCEEDED", 1]], 2, "MIN_SUCCESSFUL_REACHED"]')
    assert bodies.ran == []
    assert [each["Action"] for each in client.updates] == ["SUCCEED"]


@BOTH
def test_a_suspended_branch_of_a_resumed_batch_suspends_it(nesting: NestingType) -> None:
    got, client = invoke(
        lambda c: c.parallel([lambda k: k.create_callback("c").result(), instant(1)], nesting_type=nesting),
        *history(nesting, None, "+"),
    )
    assert got == PENDING
    assert [each["Type"] for each in client.updates] == (["CONTEXT", "CALLBACK"] if nesting is NESTED else ["CALLBACK"])


@BOTH
def test_a_retryable_error_out_of_what_is_counted_lets_nobody_go_on(nesting: NestingType) -> None:
    bodies = Bodies()

    def later(_context: DurableContext) -> Any:
        raise InvocationError("later")

    with pytest.raises(InvocationError, match="later"):
        invoke(
            lambda c: c.parallel([lambda k: bodies.item(k, 0), later, instant(1)], nesting_type=nesting),
            *history(nesting, ".", None, "+"),
        )
    assert nesting is NESTED or bodies.ran == []


def test_a_held_branch_that_is_interrupted_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C, while the main thread waits for the others to be tried."""
    waits, hold, main = threading.Event(), executor.BranchThreads._hold, threading.get_ident()

    def interrupted(run: Any, index: int) -> bool:
        if threading.get_ident() == main:
            waits.set()
            raise KeyboardInterrupt
        return hold(run, index)

    def branch(context: DurableContext, item: int, *_: Any) -> Any:
        if threading.get_ident() != main:
            assert waits.wait(10)
        return context.step(lambda _: item)

    monkeypatch.setattr(executor.BranchThreads, "_hold", interrupted)
    with pytest.raises(KeyboardInterrupt):
        invoke(lambda c: c.map(range(3), branch, nesting_type=FLAT), *history(FLAT, ".", ".", ".", kind="Map"))


def test_branches_beyond_a_lowered_limit_stay_admitted_and_take_turns() -> None:
    at_work: Counter[str] = Counter()
    most: list[int] = []

    def branch(context: DurableContext, item: int, *_: Any) -> Any:
        at_work["now"] += 1
        most.append(at_work["now"])
        try:
            return context.step(lambda _: item)
        finally:
            at_work["now"] -= 1

    got, _ = invoke(
        lambda c: facts(c.map(range(4), branch, max_concurrency=1)), *history(NESTED, ".", ".", ".", kind="Map")
    )
    items = ", ".join(f'["SUCCEEDED", {n}]' for n in range(4))
    assert got == succeeded(f'[[{items}], 4, "ALL_COMPLETED"]')
    assert max(most) == 1


# ---- predicates


@BOTH
def test_a_predicate_watches_what_is_counted_in_index_order(nesting: NestingType) -> None:
    seen: list[str] = []

    def predicate(status: Any) -> Any:
        seen.append("".join(item.status.value[:2] if item.status else "--" for item in status.items))
        return complete_batch(CompletionOutcome.FAILED) if status.success_count == 2 else continue_batch()

    bodies = Bodies()
    got, _ = invoke(
        lambda c: facts(
            c.map(
                range(5),
                bodies.item,
                max_concurrency=3,
                completion_config=CompletionConfig(should_complete=predicate),
                nesting_type=nesting,
            )
        ),
        *history(nesting, ".", "-", "+", "+", "+", kind="Map"),
    )
    # The third success, recorded though the second was enough, is in as well; nothing is asked any more.
    items = '["STARTED", null], ["FAILED", null], ["SUCCEEDED", 2], ["SUCCEEDED", 3], ["SUCCEEDED", 4]'
    assert got == succeeded(f'[[{items}], 5, "CUSTOM_COMPLETION_FAILED"]')
    assert seen == ["----------", "STFAST----", "STFASUST--", "STFASUSUST"]
    assert bodies.ran == []


@BOTH
def test_a_predicate_that_raises_about_what_is_counted_fails_the_batch(nesting: NestingType) -> None:
    def predicate(status: Any) -> Any:
        if status.completed_count:
            raise ValueError("not that")
        return continue_batch()

    bodies = Bodies()
    got, _ = invoke(
        lambda c: c.map(
            range(3), bodies.item, completion_config=CompletionConfig(should_complete=predicate), nesting_type=nesting
        ),
        *history(nesting, ".", "+", "+", kind="Map"),
    )
    assert (got["Status"], got["Error"]["ErrorMessage"]) == ("FAILED", "not that")
    assert bodies.ran == []


# ---- names


@pytest.mark.parametrize("name", ["né", "x" * 257, "tab\t", "\udc80", 7, b"b", ["x"]])
@pytest.mark.parametrize("index", [0, 2])
def test_a_name_that_would_be_refused_is_an_error_before_anything_is_recorded(name: Any, index: int) -> None:
    from perdure import ParallelBranch  # noqa: PLC0415

    def names(_item: int, at: int) -> Any:
        return name if at == index else None

    def handler(context: DurableContext) -> Any:
        branches: list[Any] = [ParallelBranch(instant(1), names(0, at)) for at in range(3)]
        with pytest.raises(ValidationError, match="name"):
            context.map(range(3), lambda *_: 1, item_namer=names)
        with pytest.raises(ValidationError, match="name"):
            context.parallel(branches)
        return context.step(lambda _: "after")

    got, client = invoke(handler)
    assert got == succeeded('"after"')
    assert client.summary == [["STEP START", "STEP SUCCEED"]]
    assert client.updates[0]["Id"] == op_id(3)


# ---- one report a branch


def test_a_branch_reports_once() -> None:
    scope = Execution("token").root()
    batch = Batch(
        scope, 3, 1, None, None, None, False, [], "map-item-", "MapIteration", False, allocate_lock(), allocate_lock()
    )
    batch.open(False)
    assert batch.next(0)[:2] == (RUN_BRANCH, 0)
    batch.finish(0, True)
    for report in (
        lambda: batch.finish(0, True),
        lambda: batch.suspend(0, None, 0),
        lambda: batch.abort(0, False),
        lambda: batch.finish(1, True),
        lambda: batch.finish(3, True),
    ):
        with pytest.raises(InvalidStateError, match=r"branch \d reports"):
            report()
    assert (batch.admitted, batch.next(0)[:2]) == (2, (RUN_BRANCH, 1))


# ---- a crash between any two updates


class Cut:
    """A service's client that dies after so many updates."""

    def __init__(self, client: Any, left: list[int]) -> None:
        self._client = client
        self._left = left

    def checkpoint_durable_execution(self, **call: Any) -> Any:
        updates, left = call["Updates"], self._left[0]
        self._left[0] -= len(updates)
        if left > len(updates) or left < 0:
            return self._client.checkpoint_durable_execution(**call)
        if left:
            self._client.checkpoint_durable_execution(**call | {"Updates": updates[:left]})
        self._left[0] = -1
        raise InvocationCut

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def cut_after(handler: Callable[[DurableContext], Any], updates: int) -> Any:
    """Run an execution whose sandbox dies once, after so many updates."""
    left = [updates]
    durable = durable_execution(lambda _event, context: handler(context))

    def dying(event: Any, context: Any) -> Any:
        if left[0] > 0:
            event.client = Cut(event.client, left)
        return durable(event, context)

    handle = LocalService(retry_delay=lambda _: 0.0).register("f", dying).run("f")
    assert handle.status == "SUCCEEDED", (updates, handle.error)
    return handle


def early_by_successes(nesting: NestingType, context: DurableContext) -> Any:
    found = context.map(
        range(9),
        lambda k, item, *_: k.step(lambda _: item),
        max_concurrency=3,
        completion_config=CompletionConfig(min_successful=4),
        nesting_type=nesting,
    )
    return [found.total_count, found.completion_reason.value]


def early_by_a_failure(nesting: NestingType, context: DurableContext) -> Any:
    found = context.parallel([late_bad, instant(1), waiting(50, 0), instant(2)], nesting_type=nesting)
    return facts(found)


def early_and_serial(nesting: NestingType, context: DurableContext) -> Any:
    branches = [instant(0), late_bad, instant(1), waiting(2, 2), instant(3)]
    rule = CompletionConfig(min_successful=3, tolerated_failure_count=1)
    return facts(context.parallel(branches, max_concurrency=1, completion_config=rule, nesting_type=nesting))


def early_after_ends_without_a_trace(nesting: NestingType, context: DurableContext) -> Any:
    """FLAT, those who let the next one begin have failed without recording it."""
    branches = [late_bad, late_bad, instant(1), instant(2)]
    rule = CompletionConfig(min_successful=1)
    return facts(context.parallel(branches, max_concurrency=1, completion_config=rule, nesting_type=nesting))


def early_by_a_predicate(nesting: NestingType, context: DurableContext) -> Any:
    rule = CompletionConfig(
        should_complete=lambda status: complete_batch() if status.success_count == 2 else continue_batch()
    )
    branches = [waiting(9, 0), instant(1), waiting(3, 2), waiting(60, 3)]
    return facts(context.parallel(branches, completion_config=rule, nesting_type=nesting))


def early_inside_early(nesting: NestingType, context: DurableContext) -> Any:
    def inner(k: DurableContext, item: int, *_: Any) -> Any:
        return facts(
            k.parallel(
                [waiting(item + 1, "a"), waiting(90, "b"), instant("c")],
                completion_config=CompletionConfig(min_successful=2),
                nesting_type=nesting,
            )
        )

    found = context.map(range(3), inner, completion_config=CompletionConfig(min_successful=2), nesting_type=nesting)
    return facts(found)


EARLY = [
    early_by_successes,
    early_by_a_failure,
    early_and_serial,
    early_after_ends_without_a_trace,
    early_by_a_predicate,
    early_inside_early,
]


def in_record(handle: Any) -> list[tuple[Any, ...]]:
    return sorted((each["Id"], each["Type"], each.get("Name")) for each in branches_of(handle))


@BOTH
@pytest.mark.parametrize("workflow", EARLY)
@pytest.mark.parametrize("hands", [0, 256])
def test_a_crash_between_any_two_updates_changes_no_result(
    workflow: Callable[..., Any], nesting: NestingType, hands: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "MAX_THREADS", hands)

    def handler(context: DurableContext) -> Any:
        return workflow(nesting, context)

    calm = run(handler)
    for updates in range(1, len(calm.updates) + 1):
        handle = cut_after(handler, updates)
        assert handle.value == calm.value, updates
        assert in_record(handle) == in_record(calm), updates


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert hands_at_work() == 0
