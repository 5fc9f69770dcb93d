"""Workflows that hypothesis writes in a small language (`workflow_language`), for either SDK (`workflow_player`).

Everything random is in the data; answers to callbacks and invoked functions follow from names (`WORLD`). Bounds that
keep the two SDKs comparable:

* early completion of a batch only at concurrency 1: elsewhere only a part is certain, which `test_batches` compares;
* no retryable errors: after one in a branch the official SDK still starts new branches, protocol.md §6 does not;
* `is_replaying` and loggers neither in nor around virtual contexts, nor inside FLAT branches: the official SDK takes
  them for the end of the recorded history; nor after a callback that was created and not asked for at once: the
  official SDK takes it for the end while it is open;
* no submitter that fails without a message: the official SDK puts one of its own in its place.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from support.both_sdks import USER, Answer, World
from support.workflow_language import (
    Ask,
    AskAndWait,
    Batch,
    Branch,
    Child,
    Fail,
    Give,
    Invoke,
    Log,
    OutOfStock,
    Poll,
    Retry,
    Step,
    Wait,
)
from support.workflow_player import Workflow


def _broken(_event: Any, _context: Any) -> Any:
    raise OutOfStock(USER + "broken")


_DENIED = {"ErrorMessage": USER + "denied", "ErrorType": "Denied", "ErrorData": "why", "StackTrace": ["line"]}
_REPLIES = {
    "yes": Answer(result="yes"),
    "nothing": Answer(result=None),
    "denied": Answer("failure", error=_DENIED),
    "silent": Answer("none"),
}
WORLD = World(
    answers={**_REPLIES, **{f"{name} create callback id": reply for name, reply in _REPLIES.items()}},
    functions={
        "echo": lambda event, _: event,
        "tenant": lambda _, context: context.tenant_id,
        "broken": _broken,
    },
    event={"n": 1},
)


NAMES = st.sampled_from([None, None, "a", "b", "name with spaces", ""])
REPLY_NAMES = st.sampled_from([None, "yes", "nothing", "denied", "silent"])
SERDES = st.sampled_from([None] * 9 + ["plain", "none", "unwritable", "unreadable"])
SUB_TYPES = st.sampled_from([None] * 6 + ["Mine", "my-kind_2"])
GUARDED = st.sampled_from([True, True, True, True, False])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.binary(max_size=4),
    st.just(uuid.UUID(int=5)),
    st.just(decimal.Decimal("1.50")),
    st.just(dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC)),
    st.just(dt.date(2026, 1, 2)),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
    ),
    max_leaves=4,
)
FAILURES = st.sampled_from(["own", "quiet", "rich", "serdes", "validation", "chained", "plain"]).map(Fail)
RARE = st.sampled_from([Give({1}), Give({1: 2}), Give(long=90_000), Give(long=300_000)])
OUTCOMES = st.one_of(*[VALUES.map(Give)] * 5, *[st.just(Give(last=True))] * 3, FAILURES, RARE)

STEPS = st.builds(
    Step,
    NAMES,
    OUTCOMES,
    failures=st.integers(0, 2),
    attempts=st.integers(1, 3),
    delay=st.integers(1, 20),
    at_most_once=st.booleans(),
    serdes=SERDES,
    sub_type=SUB_TYPES,
    guarded=GUARDED,
)
WAITS = st.builds(Wait, NAMES, st.integers(1, 30), GUARDED)
ASKS_AND_WAITS = st.builds(
    AskAndWait,
    REPLY_NAMES,
    st.one_of(st.just(Give()), st.just(Give()), FAILURES.filter(lambda fail: fail.kind != "quiet")),
    failures=st.integers(0, 1),
    serdes=SERDES,
    guarded=GUARDED,
)
INVOKES = st.builds(
    Invoke,
    NAMES,
    st.sampled_from(["echo", "tenant", "broken", "nobody"]),
    st.one_of(st.none(), st.integers(0, 9), st.text(max_size=3), st.just({"a": [1.5, None]})),
    tenant=st.sampled_from([None, "t1"]),
    serdes=SERDES,
    guarded=GUARDED,
)
POLLS = st.builds(
    Poll,
    NAMES,
    st.integers(1, 3),
    OUTCOMES,
    limit=st.sampled_from([9, 9, 2]),
    serdes=SERDES,
    guarded=GUARDED,
)
LOGS = st.builds(Log, st.sampled_from(["hello", "bye"]))
SIMPLE = st.one_of(STEPS, STEPS, WAITS, ASKS_AND_WAITS, INVOKES, POLLS, LOGS)

RULES = st.sampled_from(
    [
        (),
        (("min_successful", 1),),
        (("tolerated_failure_count", 0),),
        (("tolerated_failure_count", 1),),
        (("tolerated_failure_percentage", 40),),
        (("tolerated_failure_percentage", 100),),
        (("min_successful", 1), ("tolerated_failure_count", 1)),
        (("min_successful", 3),),
    ]
)


def bodies(nodes: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(nodes, max_size=most).map(tuple)


def compounds(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Operations that hold others."""
    branches = st.lists(
        st.builds(Branch, bodies(inner, 2), OUTCOMES, st.sampled_from([None, None, "n", ""])), max_size=4
    ).map(tuple)
    children = st.builds(
        Child,
        NAMES,
        bodies(inner),
        OUTCOMES,
        virtual=st.sampled_from([False, False, True]),
        serdes=SERDES,
        sub_type=SUB_TYPES,
        summary=st.booleans(),
        guarded=GUARDED,
    )
    batches = st.builds(
        Batch,
        NAMES,
        st.booleans(),
        branches,
        concurrency=st.sampled_from([1, 1, 2, None]),
        flat=st.booleans(),
        rule=RULES,
        predicate=st.sampled_from([None] * 5 + ["never", "two", "success", "raises"]),
        serdes=SERDES,
        item_serdes=SERDES,
        summary=st.booleans(),
        throw=st.booleans(),
        guarded=GUARDED,
    ).map(_bounded)
    asks = st.builds(Ask, REPLY_NAMES, bodies(inner, 2), SERDES, GUARDED)
    retries = st.builds(Retry, NAMES, bodies(inner, 2), st.integers(0, 2), st.integers(1, 3), st.booleans(), GUARDED)
    return st.one_of(children, children, batches, batches, asks, retries)


def _bounded(batch: Batch) -> Batch:
    """Keep early completion to concurrency 1."""
    if batch.concurrency == 1:
        return batch
    return replace(batch, rule=(("tolerated_failure_percentage", 100),), predicate=None)


def _nodes(depth: int) -> st.SearchStrategy[Any]:
    return SIMPLE if depth == 0 else st.one_of(SIMPLE, compounds(_nodes(depth - 1)))


WORKFLOWS = st.builds(
    Workflow,
    bodies(_nodes(3), 5),
    st.one_of(OUTCOMES, OUTCOMES, OUTCOMES, st.just(Fail("execution"))),
)
