"""An interpreter that runs workflows which are data, under either SDK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.both_sdks import USER
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
    Outcome,
    OutOfStock,
    Poll,
    Retry,
    Step,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.both_sdks import Stage


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
