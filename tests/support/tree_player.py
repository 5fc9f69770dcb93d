"""Runs trees (`support.trees`), and takes down what the code in them sees."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from perdure.concurrency.models import BatchItem, BatchResult
from perdure.config import CompletionConfig, NestingType
from perdure.retries import RetryDecision
from perdure.waits import WaitForConditionDecision
from support.trees import (
    Ask,
    Await,
    Call,
    Cancel,
    Choose,
    Combine,
    Gather,
    Group,
    InOrder,
    Later,
    Limit,
    Member,
    Opened,
    Poll,
    Rest,
    Spread,
    Step,
    Within,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure import AsyncDurableContext, StepContext

RULES = {
    "all": CompletionConfig.all_completed(),
    "default": None,
    "first": CompletionConfig(min_successful=1, tolerated_failure_percentage=100),
}


CLEAN_UP = Step(turns=1, failures=0, attempts=1)


def show(value: Any) -> str:
    """Give a value in words that compare."""
    if isinstance(value, BatchResult):
        return f"{value.completion_reason} {show(value.all)}"
    if isinstance(value, BatchItem):
        return f"{value.index} {value.status} {show(value.result)} {value.error and value.error.message}"
    if isinstance(value, list):
        return str([show(each) for each in value])
    text = repr(value)
    return text if len(text) < 500 else f"{len(text)} characters"


class Journal:
    """What the code of one execution has seen, over all of its invocations.

    Args:
        known: What it must see, if it sees it at all, by the name of the operation.

    """

    def __init__(self, known: dict[str, Any] | None = None) -> None:
        self.seen: dict[str, Any] = dict(known or {})
        self.contradictions: list[str] = []
        self.done: set[str] = set()
        self.ran_again: list[str] = []
        self.invocations = 0

    def note(self, name: str, what: Any) -> None:
        """Take down what came of an operation: once it was seen, it is the same ever after."""
        if isinstance(what, asyncio.CancelledError):
            return  # which is no outcome
        shown = show(what)
        if self.seen.setdefault(name, shown) != shown:
            self.contradictions.append(f"{name} was {self.seen[name]}, and is {shown}")


class Player:
    """Runs one tree in one invocation."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._done = frozenset(journal.done)

    async def run(self, context: AsyncDurableContext, tree: Within, path: str) -> str:
        """Run the statements of a body, one after the other."""
        for index, statement in enumerate(tree.body):
            play: Callable[..., Awaitable[None]] = getattr(self, f"_{type(statement).__name__.lower()}")
            await play(context, statement, f"{path}.{index}")
        if tree.outcome == "error":
            raise KeyError(path)
        return "x" * 300_000 if tree.outcome == "large" else path

    async def see(self, name: str, operation: Awaitable[Any]) -> Any:
        """Await an operation, and take down what comes of it."""
        try:
            value = await operation
        except Exception as error:
            self.journal.note(name, error)
            raise
        self.journal.note(name, value)
        return value

    async def see_quietly(self, name: str, operation: Awaitable[Any]) -> None:
        try:
            await self.see(name, operation)
        except Exception:  # noqa: BLE001  taken down
            return

    # ---- operations

    def call(self, context: AsyncDurableContext, operation: Any, name: str) -> Awaitable[Any]:
        """Call an operation, which takes its position."""
        play: Callable[..., Awaitable[Any]] = getattr(self, f"_call_{type(operation).__name__.lower()}")
        return play(context, operation, name)

    def _call_step(self, context: AsyncDurableContext, step: Step, name: str) -> Awaitable[Any]:
        return context.step(self._function(step, name), name, retry=self._retry(step))

    def _call_rest(self, context: AsyncDurableContext, rest: Rest, name: str) -> Awaitable[Any]:
        return context.wait(rest.seconds, name)

    def _call_ask(self, context: AsyncDurableContext, ask: Ask, name: str) -> Awaitable[Any]:
        return context.wait_for_callback(self._ask, f"{name} {ask.reply}")

    def _call_call(self, context: AsyncDurableContext, call: Call, name: str) -> Awaitable[Any]:
        return context.invoke(call.function, name, name)

    def _call_within(self, context: AsyncDurableContext, tree: Within, name: str) -> Awaitable[Any]:
        return context.run_in_child_context(lambda inner: self.run(inner, tree, name), name)

    def _function(self, step: Step, name: str) -> Callable[[StepContext], Any]:
        def plain(given: StepContext) -> str:
            if name in self._done:
                self.journal.ran_again.append(name)
            if given.attempt <= step.failures:
                raise OSError(f"{name}, attempt {given.attempt}")
            return f"{name}, attempt {given.attempt}"

        async def awaits(given: StepContext) -> str:
            for _ in range(step.turns or 0):
                await asyncio.sleep(0)
            return plain(given)

        return plain if step.turns is None else awaits

    def _retry(self, step: Step) -> Callable[[Exception, int], RetryDecision]:
        return lambda _, attempt: RetryDecision.retry(5) if attempt < step.attempts else RetryDecision.no_retry()

    async def _ask(self, _callback_id: str, _context: Any) -> None:
        await asyncio.sleep(0)

    def _call_poll(self, context: AsyncDurableContext, poll: Poll, name: str) -> Awaitable[Any]:
        def plain(state: int, _check: Any) -> int:
            return state + 1

        async def awaits(state: int, _check: Any) -> int:
            await asyncio.sleep(0)
            return state + 1

        def strategy(state: int, _attempt: int) -> WaitForConditionDecision:
            if state >= poll.checks:
                return WaitForConditionDecision.stop_polling()
            return WaitForConditionDecision.continue_waiting(7)

        check: Any = plain if poll.is_plain else awaits
        return context.wait_for_condition(check, name=name, wait_strategy=strategy, initial_state=0)

    def _call_spread(self, context: AsyncDurableContext, spread: Spread, name: str) -> Awaitable[Any]:
        options = {
            "max_concurrency": spread.limit,
            "completion_config": RULES[spread.rule],
            "nesting_type": NestingType.FLAT if spread.is_flat else NestingType.NESTED,
        }

        async def item(inner: AsyncDurableContext, body: Within, index: int, _all: Any) -> str:
            return await self.run(inner, body, f"{name}[{index}]")

        if spread.is_map:
            return context.map(spread.bodies, item, name, **options)
        branches = [
            lambda inner, index=index, body=body: item(inner, body, index, None)
            for index, body in enumerate(spread.bodies)
        ]
        return context.parallel(branches, name, **options)

    def member(self, context: AsyncDurableContext, member: Member, name: str) -> Any:
        """Give an operation in its form. That of a coroutine is called when it begins."""

        async def coroutine() -> Any:
            return await self.see(name, self.call(context, member.operation, name))

        match member.form:
            case "operation":
                return self.call(context, member.operation, name)
            case "task":
                return asyncio.ensure_future(self.call(context, member.operation, name))
            case "coroutine":
                return coroutine()
        return asyncio.create_task(coroutine())

    def members(self, context: AsyncDurableContext, members: tuple[Member, ...], path: str) -> list[Any]:
        return [self.member(context, each, f"{path}.{index}") for index, each in enumerate(members)]

    # ---- statements

    async def _await(self, context: AsyncDurableContext, statement: Await, path: str) -> None:
        see = self.see_quietly if statement.is_guarded else self.see
        await see(path, self.call(context, statement.operation, path))

    async def _gather(self, context: AsyncDurableContext, statement: Gather, path: str) -> None:
        members = self.members(context, statement.members, path)
        if statement.is_tolerant:
            for index, each in enumerate(await asyncio.gather(*members, return_exceptions=True)):
                self.journal.note(f"{path}.{index}", each)
            return
        try:
            found = await asyncio.gather(*members)
        except Exception:  # noqa: BLE001  of several that fail, it may be that of any
            self.journal.note(path, "failed")
        else:
            self.journal.note(path, found)

    async def _group(self, context: AsyncDurableContext, statement: Group, path: str) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = []
                for index, each in enumerate(statement.members):
                    member = self.member(context, each, f"{path}.{index}")
                    if isinstance(member, asyncio.Task):
                        member = _awaiting(member)
                    tasks.append(group.create_task(member))
        except* Exception:  # noqa: BLE001  the same
            self.journal.note(path, "failed")
        else:
            self.journal.note(path, [task.result() for task in tasks])

    async def _later(self, context: AsyncDurableContext, statement: Later, path: str) -> None:
        member = self.member(context, statement.member, f"{path}.0")
        is_coroutine = statement.member.form == "coroutine"
        if is_coroutine:
            member = asyncio.create_task(member)
        if not statement.is_awaited and isinstance(member, asyncio.Task):
            member.add_done_callback(lambda done: done.cancelled() or done.exception())
        for index, each in enumerate(statement.between):
            await self._await(context, each, f"{path}.between.{index}")
        if statement.is_awaited:
            await self.see_quietly(f"{path}.0", member)

    async def _combine(self, context: AsyncDurableContext, statement: Combine, path: str) -> None:
        if isinstance(statement.members[0], Within):
            members: list[Any] = [
                lambda inner, index=index, body=body: self.run(inner, body, f"{path}[{index}]")
                for index, body in enumerate(statement.members)
            ]
        else:
            members = self.members(context, statement.members, path)
        combine = getattr(context, statement.kind)
        options = {} if statement.timeout is None else {"timeout": statement.timeout}
        await self.see_quietly(path, combine(members, path, **options))

    async def _inorder(self, context: AsyncDurableContext, statement: InOrder, path: str) -> None:
        members = self.members(context, statement.members, path)
        found, count = context.as_completed(members, f"{path} #"), 0
        async for done in found:
            await self.see_quietly(f"{path} #{count}", done)
            count += 1
            if count == statement.most:
                break

    async def _choose(self, context: AsyncDurableContext, statement: Choose, path: str) -> None:
        more = iter(enumerate(statement.more))
        count = 0
        async with context.select(f"{path} #") as select:
            for index, each in enumerate(self.members(context, statement.members, path)):
                select.add(index, each)
            async for key, done in select:
                self.journal.note(f"{path} #{count} key", key)
                await self.see_quietly(f"{path} #{count}", done)
                count += 1
                if count == statement.most:
                    break
                for index, each in more:
                    select.add(f"more {index}", self.member(context, each, f"{path}.more.{index}"))
                    break

    async def _limit(self, context: AsyncDurableContext, statement: Limit, path: str) -> None:
        try:
            async with context.timeout(statement.seconds, path):
                try:
                    await self.run(context, Within(statement.body, "text"), path)
                finally:
                    if statement.is_cleaned:
                        await self.see_quietly(f"{path} clean up", self.call(context, CLEAN_UP, f"{path} clean up"))
        except Exception as error:  # noqa: BLE001  taken down: its own, or that of its body
            self.journal.note(path, error)
        else:
            self.journal.note(path, "in time")

    async def _cancel(self, context: AsyncDurableContext, statement: Cancel, path: str) -> None:
        task = self.member(context, statement.member, f"{path}.0")
        if isinstance(statement.after, int):
            for _ in range(statement.after):
                await asyncio.sleep(0)
        else:
            await self.see_quietly(f"{path}.after", self.call(context, statement.after, f"{path}.after"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _opened(self, context: AsyncDurableContext, statement: Opened, path: str) -> None:
        callback: Any = await context.create_callback(f"{path} {statement.reply}")
        for index, each in enumerate(statement.between):
            await self._await(context, each, f"{path}.between.{index}")
        await self.see_quietly(path, callback.result())


async def _awaiting(task: asyncio.Task[Any]) -> Any:
    return await task
