"""A small language of workflows: data that hypothesis can write, and an interpreter that runs it under either SDK.

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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from support.both_sdks import USER, Answer, Stage, World

if TYPE_CHECKING:
    from collections.abc import Callable


class OutOfStock(Exception):  # noqa: N818 - users name theirs as they like
    """A user's own error."""


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


# ---- the language


@dataclass(frozen=True)
class Fail:
    """An outcome: an error of some kind."""

    kind: str

    def throw(self, stage: Stage) -> Any:
        errors = stage.sdk.exceptions
        match self.kind:
            case "own":
                raise OutOfStock(USER + "own")
            case "quiet":
                raise OutOfStock
            case "rich":
                raise errors.InvokeError(USER + "rich", "their.Type", "data", ["line"])
            case "serdes":
                raise errors.SerDesError(USER + "serdes")
            case "validation":
                raise errors.ValidationError(USER + "validation")
            case "execution":
                raise errors.ExecutionError(USER + "execution")
            case "chained":
                try:
                    int("x")
                except ValueError as error:
                    raise KeyError(USER + "chained") from error
        raise ValueError(USER + self.kind)


@dataclass(frozen=True)
class Give:
    """An outcome: a value; `last` gives what the last operation gave, `long` a text of that length."""

    value: Any = None
    last: bool = False
    long: int = 0


Outcome = Fail | Give


@dataclass(frozen=True)
class Step:
    name: str | None
    outcome: Outcome
    failures: int = 0
    attempts: int = 1
    delay: int = 5
    at_most_once: bool = False
    serdes: str | None = None
    sub_type: str | None = None
    guarded: bool = True


@dataclass(frozen=True)
class Wait:
    name: str | None
    seconds: int
    guarded: bool = True


@dataclass(frozen=True)
class Ask:
    """A callback, something in between, and its result."""

    name: str | None
    between: tuple[Any, ...]
    serdes: str | None = None
    guarded: bool = True


@dataclass(frozen=True)
class AskAndWait:
    """A wait_for_callback."""

    name: str | None
    submitter: Outcome
    failures: int = 0
    serdes: str | None = None
    guarded: bool = True


@dataclass(frozen=True)
class Invoke:
    name: str | None
    function: str
    payload: Any
    tenant: str | None = None
    serdes: str | None = None
    guarded: bool = True


@dataclass(frozen=True)
class Child:
    name: str | None
    body: tuple[Any, ...]
    outcome: Outcome
    virtual: bool = False
    serdes: str | None = None
    sub_type: str | None = None
    summary: bool = False
    guarded: bool = True


@dataclass(frozen=True)
class Poll:
    """A wait_for_condition."""

    name: str | None
    polls: int
    outcome: Outcome
    limit: int = 9
    serdes: str | None = None
    guarded: bool = True


@dataclass(frozen=True)
class Branch:
    body: tuple[Any, ...]
    outcome: Outcome
    name: str | None = None


@dataclass(frozen=True)
class Batch:
    name: str | None
    parallel: bool
    branches: tuple[Branch, ...]
    concurrency: int | None = 1
    flat: bool = False
    rule: tuple[tuple[str, Any], ...] = ()
    predicate: str | None = None
    serdes: str | None = None
    item_serdes: str | None = None
    summary: bool = False
    throw: bool = False
    guarded: bool = True


@dataclass(frozen=True)
class Retry:
    """A with_retry."""

    name: str | None
    body: tuple[Any, ...]
    failures: int
    attempts: int
    wrapped: bool = True
    guarded: bool = True


@dataclass(frozen=True)
class Log:
    message: str


@dataclass(frozen=True)
class Workflow:
    body: tuple[Any, ...]
    outcome: Outcome

    def __call__(self, stage: Stage) -> Any:
        stage.ctx.set_logger(stage.logger("unordered log"))
        return run_nodes(stage, self.body, self.outcome, stage.ctx, "w", observe=True)


def run_nodes(
    stage: Stage, body: tuple[Any, ...], outcome: Outcome, ctx: Any, path: str, *, observe: bool = False
) -> Any:
    """Run descriptions in a context; `path` is where their notes are kept."""
    return _Player(stage).run(body, outcome, ctx, path, observe=observe)


def _obscures(node: Any) -> bool:
    """Whether the official SDK takes a context for replayed no more because of this operation."""
    match node:
        case Child():
            return node.virtual
        case Ask():
            return any(map(_obscures, node.between))
        case Retry():
            return not node.wrapped and any(isinstance(inner, Ask) or _obscures(inner) for inner in node.body)
    return False


# ---- the interpreter


class _Player:
    """Runs descriptions with one SDK's modules."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.config = stage.sdk.config

    def run(self, body: tuple[Any, ...], outcome: Outcome, ctx: Any, path: str, *, observe: bool) -> Any:
        last = None
        observe = observe and not any(map(_obscures, body))
        for index, node in enumerate(body):
            place = f"{path}.{index}"
            if observe:
                self.stage.note(f"{place} replaying", ctx.is_replaying())
            if isinstance(node, Log):
                if observe:
                    ctx.logger.info("%s %s", place, node.message, extra={"at": place})
                continue
            observe = observe and not isinstance(node, Ask)
            last = self._guarded(node, ctx, place, observe=observe)
        return self._come_out(outcome, last)

    def _come_out(self, outcome: Outcome, last: Any = None) -> Any:
        if isinstance(outcome, Fail):
            return outcome.throw(self.stage)
        if outcome.long:
            return "x" * outcome.long
        return last if outcome.last else outcome.value

    def _guarded(self, node: Any, ctx: Any, place: str, *, observe: bool) -> Any:
        play = getattr(self, f"_{type(node).__name__.lower()}")
        try:
            value = play(node, ctx, place, observe)
        except Exception as error:
            self.stage.note(place, error)
            if node.guarded:
                return None
            raise
        self.stage.note(place, value)
        return value

    def _step(self, node: Step, ctx: Any, place: str, _observe: bool) -> Any:
        def body(context: Any) -> Any:
            self.stage.note(f"{place} body", (context.attempt, isinstance(context, self.stage.sdk.types.StepContext)))
            context.logger.warning("in step")
            if context.attempt <= node.failures:
                raise OutOfStock(f"{USER} attempt {context.attempt}")
            return self._come_out(node.outcome)

        semantics = self.config.StepSemantics
        given = self.stage.step_config(
            node.attempts,
            node.delay,
            serdes=self._serdes(node.serdes),
            sub_type=node.sub_type,
            step_semantics=semantics.AT_MOST_ONCE_PER_RETRY if node.at_most_once else semantics.AT_LEAST_ONCE_PER_RETRY,
        )
        return ctx.step(body, node.name, given)

    def _wait(self, node: Wait, ctx: Any, _place: str, _observe: bool) -> Any:
        return ctx.wait(self.stage.seconds(node.seconds), node.name)

    def _ask(self, node: Ask, ctx: Any, place: str, observe: bool) -> Any:
        given = self.config.CallbackConfig(timeout=self.stage.seconds(600), serdes=self._serdes(node.serdes))
        callback = ctx.create_callback(node.name, given)
        self.run(node.between, Give(None), ctx, f"{place}.between", observe=observe)
        return callback.result()

    def _askandwait(self, node: AskAndWait, ctx: Any, place: str, _observe: bool) -> Any:
        submitted: list[None] = []

        def submit(_key: str, context: Any) -> None:
            submitted.append(None)
            self.stage.note(f"{place} submitter", type(context).__name__)
            self._come_out(node.submitter)

        given = self.config.WaitForCallbackConfig(
            timeout=self.stage.seconds(600),
            serdes=self._serdes(node.serdes),
            retry_strategy=self.stage.retries(node.failures + 1, 3),
        )
        return ctx.wait_for_callback(submit, node.name, given)

    def _invoke(self, node: Invoke, ctx: Any, _place: str, _observe: bool) -> Any:
        given = self.config.InvokeConfig(tenant_id=node.tenant, serdes_result=self._serdes(node.serdes))
        return ctx.invoke(node.function, node.payload, node.name, given)

    def _child(self, node: Child, ctx: Any, place: str, observe: bool) -> Any:
        observe = observe and not node.virtual
        given = self.config.ChildConfig(
            is_virtual=node.virtual,
            serdes=self._serdes(node.serdes),
            sub_type=node.sub_type,
            summary_generator=(lambda result: f"{type(result).__name__} summary") if node.summary else None,
        )
        return ctx.run_in_child_context(
            lambda inner: self.run(node.body, node.outcome, inner, place, observe=observe), node.name, given
        )

    def _poll(self, node: Poll, ctx: Any, place: str, _observe: bool) -> Any:
        waits = self.stage.sdk.waits

        def check(state: Any, context: Any) -> Any:
            self.stage.note(f"{place} check", (state, context.attempt))
            if context.attempt >= node.polls:
                return self._come_out(node.outcome)
            return [context.attempt]

        def strategy(_state: Any, attempt: int) -> Any:
            if attempt >= node.limit:
                raise OutOfStock(USER + "exhausted")
            if attempt < node.polls:
                return waits.WaitForConditionDecision.continue_waiting(self.stage.seconds(attempt + 1))
            return waits.WaitForConditionDecision.stop_polling()

        given = waits.WaitForConditionConfig(strategy, ("start",), serdes=self._serdes(node.serdes))
        return ctx.wait_for_condition(check, given, node.name)

    def _batch(self, node: Batch, ctx: Any, place: str, observe: bool) -> Any:
        observe = observe and not node.flat
        config = self.config
        completion = config.CompletionConfig(**dict(node.rule))
        if node.predicate is not None:
            completion = config.CompletionConfig(should_complete=self._predicate(node.predicate, place))
        given: dict[str, Any] = {
            "max_concurrency": node.concurrency,
            "completion_config": completion,
            "nesting_type": config.NestingType.FLAT if node.flat else config.NestingType.NESTED,
            "serdes": self._serdes(node.serdes),
            "item_serdes": self._serdes(node.item_serdes),
            "summary_generator": (lambda batch: f"{batch.success_count} well") if node.summary else None,
        }

        def run(branch: Branch, index: int) -> Callable[[Any], Any]:
            return lambda inner: self.run(branch.body, branch.outcome, inner, f"{place}[{index}]", observe=observe)

        if node.parallel:
            branches = [
                run(branch, index) if branch.name is None else config.ParallelBranch(run(branch, index), branch.name)
                for index, branch in enumerate(node.branches)
            ]
            batch = ctx.parallel(branches, node.name, config.ParallelConfig(**given))
        else:
            if any(branch.name for branch in node.branches):
                given["item_namer"] = lambda branch, _index: branch.name
            batch = ctx.map(
                node.branches,
                lambda inner, branch, index, _all: run(branch, index)(inner),
                node.name,
                config.MapConfig(**given),
            )
        self.stage.note(f"{place} facts", (batch.status, batch.get_errors(), batch.total_count))
        if node.throw:
            batch.throw_if_error()
        return batch

    def _predicate(self, rule: str, place: str) -> Callable[[Any], Any]:
        self.stage.note(f"{place} asked", "of a batch that begins here")

        def predicate(status: Any) -> Any:
            self.stage.note_change(f"{place} asked", status)
            if rule == "two" and status.completed_count >= 2:
                return self.config.complete_batch(self.config.CompletionOutcome.FAILED)
            if rule == "success" and status.success_count:
                return self.config.complete_batch()
            if rule == "raises" and status.completed_count:
                raise OutOfStock(USER + "predicate")
            return self.config.continue_batch()

        return predicate

    def _retry(self, node: Retry, ctx: Any, place: str, observe: bool) -> Any:
        top = self.stage.sdk.top

        def body(inner: Any, attempt: int) -> Any:
            self.stage.note(f"{place} attempt", attempt)
            outcome: Outcome = Fail("own") if attempt <= node.failures else Give(attempt)
            return self.run(node.body, outcome, inner, place, observe=observe)

        given = top.WithRetryConfig(
            retry_strategy=self.stage.retries(node.attempts, 4), wrap_with_run_in_child_context=node.wrapped
        )
        return top.with_retry(ctx, body, given, node.name)

    def _serdes(self, kind: str | None) -> Any:
        if kind is None:
            return None
        errors = self.stage.sdk.exceptions

        class Custom(self.stage.sdk.serdes.SerDes):  # type: ignore[misc, name-defined]
            def serialize(self, value: Any, context: Any) -> Any:
                if kind == "unwritable":
                    raise errors.SerDesError(USER + "write")
                return None if kind == "none" else f"{type(value).__name__} {context.operation_id[:4]}"

            def deserialize(self, data: Any, _context: Any) -> Any:
                if kind == "unreadable":
                    raise errors.SerDesError(USER + "read")
                return {"read": data}

        return Custom()


# ---- what hypothesis writes

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
