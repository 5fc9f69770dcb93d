"""Functions that operations run, from which a context is used: which operation, called how, in which thread."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from perdure import DurableContext
from perdure.config import CompletionConfig, CompletionDecision, NestingType, StepSemantics
from perdure.retries import RetryDecision, WithRetryConfig, with_retry
from perdure.waits import WaitForConditionDecision
from support.invocations import op

Act = Callable[[], Any]
Handler = Callable[[DurableContext, Act], Any]
History = list[dict[str, Any]]

FLAT, NESTED = NestingType.FLAT, NestingType.NESTED
ALL = CompletionConfig.all_completed()


class Serdes:
    """Does something while it writes, or while it reads."""

    def __init__(self, write: Act = lambda: None, read: Act = lambda: None) -> None:
        self.write, self.read = write, read

    def serialize(self, _value: Any, _context: Any) -> str:
        self.write()
        return "1"

    def deserialize(self, _data: str, _context: Any) -> Any:
        self.read()
        return 1


def stop(_state: Any, _attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


def strategy(act: Act) -> Callable[[Exception, int], RetryDecision]:
    """Make a retry strategy that does something first."""

    def decide(_error: Exception, _attempt: int) -> RetryDecision:
        act()
        return RetryDecision.no_retry()

    return decide


def fail(*_: Any) -> None:
    raise ValueError("on purpose")


def wait_strategy(act: Act) -> Callable[[Any, int], WaitForConditionDecision]:
    def decide(_state: Any, _attempt: int) -> WaitForConditionDecision:
        act()
        return WaitForConditionDecision.stop_polling()

    return decide


def predicate(act: Act) -> CompletionConfig:
    def decide(_status: Any) -> CompletionDecision:
        act()
        return CompletionDecision.continue_batch()

    return CompletionConfig(should_complete=decide)


@dataclass(frozen=True)
class Outer:
    """An operation with a function in which something is done.

    Args:
        run: Comes to it, named "outer", and has it do something.
        history: The record of it in the midst of its work, where there is one that runs the function again.
        words: What the error calls it.
        is_handed_context: Whether the function has a context that it should use instead.
        bystanders: Names of operations beside it that may well succeed.

    """

    run: Handler
    words: str
    history: History = field(default_factory=list)
    is_handed_context: bool = False
    bystanders: tuple[str, ...] = ()


STEP = op("STEP", "STARTED", Name="outer")
CONDITION = op("STEP", "STARTED", Name="outer", SubType="WaitForCondition")
CHILD = op("CONTEXT", "STARTED", Name="outer")
MAP = op("CONTEXT", "STARTED", Name="outer", SubType="Map")
PARALLEL = op("CONTEXT", "STARTED", Name="outer", SubType="Parallel")
ASKING = op("CONTEXT", "STARTED", Name="outer", SubType="WaitForCallback")
ITEM = op("CONTEXT", "STARTED", 1, 0, Name="map-item-0", SubType="MapIteration")
LARGE = {"Result": "", "ReplayChildren": True}


def _submitted(c: DurableContext, act: Act) -> Any:
    return c.wait_for_callback(lambda *_: act(), "outer")


OUTER = {
    "step": Outer(lambda c, act: c.step(lambda _: act(), "outer"), 'step "outer"', [STEP]),
    "ready step": Outer(lambda c, act: c.step(lambda _: act(), "outer"), 'step "outer"', [STEP | {"Status": "READY"}]),
    "at-most-once step": Outer(
        lambda c, act: c.step(lambda _: act(), "outer", step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY),
        'step "outer"',
    ),
    "retry strategy": Outer(lambda c, act: c.step(fail, "outer", retry=strategy(act)), 'step "outer"', [STEP]),
    "strategy of an interrupted step": Outer(
        lambda c, act: c.step(fail, "outer", retry=strategy(act), step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY),
        'step "outer"',
        [STEP],
    ),
    "writing serdes": Outer(
        lambda c, act: c.step(lambda _: 1, "outer", serdes=Serdes(write=act)), 'step "outer"', [STEP]
    ),
    "reading serdes": Outer(
        lambda c, act: c.step(lambda _: 1, "outer", serdes=Serdes(read=act)),
        'step "outer"',
        [STEP | {"Status": "SUCCEEDED", "StepDetails": {"Result": "1"}}],
    ),
    "check": Outer(
        lambda c, act: c.wait_for_condition(lambda *_: act(), name="outer", wait_strategy=stop, initial_state=0),
        'wait_for_condition "outer"',
        [CONDITION],
    ),
    "wait strategy": Outer(
        lambda c, act: c.wait_for_condition(
            lambda *_: 1, name="outer", wait_strategy=wait_strategy(act), initial_state=0
        ),
        'wait_for_condition "outer"',
        [CONDITION],
    ),
    "serdes of a condition": Outer(
        lambda c, act: c.wait_for_condition(
            lambda *_: 1, name="outer", wait_strategy=stop, initial_state=0, serdes=Serdes(write=act)
        ),
        'wait_for_condition "outer"',
        [CONDITION],
    ),
    "child": Outer(
        lambda c, act: c.run_in_child_context(lambda _: act(), "outer"),
        'child context "outer"',
        [CHILD],
        is_handed_context=True,
    ),
    "child of a child": Outer(
        lambda c, act: c.run_in_child_context(lambda k: k.run_in_child_context(lambda _: act(), "inside"), "outer"),
        'child context "outer"',
        [CHILD, op("CONTEXT", "STARTED", 1, 1, Name="inside")],
        is_handed_context=True,
    ),
    "step of a child": Outer(
        lambda c, act: c.run_in_child_context(lambda k: k.step(lambda _: act(), "inside"), "outer"),
        'child context "outer"',
        [CHILD, op("STEP", "STARTED", 1, 1, Name="inside")],
    ),
    "virtual child": Outer(
        lambda c, act: c.run_in_child_context(lambda _: act(), is_virtual=True),
        "a virtual child context",
        is_handed_context=True,
    ),
    "large child": Outer(
        lambda c, act: c.run_in_child_context(lambda _: act(), "outer"),
        'child context "outer"',
        [CHILD | {"Status": "SUCCEEDED", "ContextDetails": LARGE}],
        is_handed_context=True,
    ),
    "serdes of a child": Outer(
        lambda c, act: c.run_in_child_context(lambda _: 1, "outer", serdes=Serdes(write=act)),
        'child context "outer"',
        [CHILD],
    ),
    "summary generator": Outer(
        lambda c, act: c.run_in_child_context(lambda _: "x" * 300_000, "outer", summary_generator=lambda _: act()),
        'child context "outer"',
        [CHILD],
    ),
    "item": Outer(
        lambda c, act: c.map([1], lambda *_: act(), "outer", completion_config=ALL),
        'map "outer"',
        [MAP, ITEM],
        is_handed_context=True,
    ),
    "one of many items": Outer(
        lambda c, act: c.map(range(5), lambda _k, n, *_: act() if n == 3 else n, "outer", completion_config=ALL),
        'map "outer"',
        [MAP, ITEM],
        is_handed_context=True,
        bystanders=("map-item-0", "map-item-1", "map-item-2", "map-item-4"),
    ),
    "step of an item": Outer(
        lambda c, act: c.map([1], lambda k, *_: k.step(lambda _: act(), "inside"), "outer", completion_config=ALL),
        'map "outer"',
        [MAP, ITEM, op("STEP", "STARTED", 1, 0, 1, Name="inside")],
    ),
    "flat item": Outer(
        lambda c, act: c.map([1], lambda *_: act(), "outer", nesting_type=FLAT),
        'map "outer"',
        [MAP],
        is_handed_context=True,
    ),
    "branch": Outer(
        lambda c, act: c.parallel([lambda _: act(), lambda _: 2], "outer"),
        'parallel "outer"',
        [PARALLEL],
        is_handed_context=True,
        bystanders=("parallel-branch-1",),
    ),
    "flat branch": Outer(
        lambda c, act: c.parallel([lambda _: 1, lambda _: act()], "outer", nesting_type=FLAT),
        'parallel "outer"',
        [PARALLEL],
        is_handed_context=True,
    ),
    "branch of a branch": Outer(
        lambda c, act: c.parallel([lambda k: k.parallel([lambda _: act()])], "outer"),
        'parallel "outer"',
        [PARALLEL],
        is_handed_context=True,
    ),
    "item_namer": Outer(
        lambda c, act: c.map([1], lambda *_: 1, "outer", item_namer=lambda *_: act() or "x"), 'map "outer"', [MAP]
    ),
    "predicate": Outer(
        lambda c, act: c.map([1], lambda *_: 1, "outer", completion_config=predicate(act)),
        'map "outer"',
        [MAP],
        bystanders=("map-item-0",),
    ),
    "serdes of a map": Outer(
        lambda c, act: c.map([1], lambda *_: 1, "outer", serdes=Serdes(write=act), item_serdes=Serdes()),
        'map "outer"',
        [MAP],
        bystanders=("map-item-0",),
    ),
    "serdes of an item": Outer(
        lambda c, act: c.map([1], lambda *_: 1, "outer", item_serdes=Serdes(write=act)), 'map "outer"', [MAP]
    ),
    "submitter": Outer(_submitted, 'wait_for_callback "outer"', [ASKING]),
    "serdes of a payload": Outer(
        lambda c, act: c.invoke("f", 1, "outer", serdes_payload=Serdes(write=act)), 'invoke "outer"'
    ),
    "serdes of an invoke": Outer(
        lambda c, act: c.invoke("f", 1, "outer", serdes_result=Serdes(read=act)),
        'invoke "outer"',
        [op("CHAINED_INVOKE", "SUCCEEDED", Name="outer", details={"Result": "1"})],
    ),
    "serdes of a callback": Outer(
        lambda c, act: c.create_callback("outer", serdes=Serdes(read=act)).result(),
        "callback",
        [op("CALLBACK", "SUCCEEDED", Name="outer", details={"CallbackId": "cb", "Result": "1"})],
    ),
    "with_retry": Outer(
        lambda c, act: with_retry(c, lambda *_: act(), WithRetryConfig(), "outer"),
        'child context "outer"',
        [CHILD],
        is_handed_context=True,
    ),
    "strategy of with_retry": Outer(
        lambda c, act: with_retry(c, fail, WithRetryConfig(retry_strategy=strategy(act)), "outer"),
        'child context "outer"',
        [CHILD],
        is_handed_context=True,
    ),
}
"""By name: everything in the package that runs a function of the user's on behalf of an operation."""

ALREADY_RECORDED = ("reading serdes", "serdes of an invoke", "serdes of a callback", "large child")
"""These run no function of the user's that could misbehave unless something is recorded."""

INNER: dict[str, tuple[str, Callable[[DurableContext], Any]]] = {
    "step": ('step "inner"', lambda c: c.step(lambda _: "never", "inner")),
    "unnamed step": ("the unnamed step", lambda c: c.step(lambda _: "never")),
    "wait": ('wait "inner"', lambda c: c.wait(5, "inner")),
    "callback": ('callback "inner"', lambda c: c.create_callback("inner")),
    "wait_for_callback": ('wait_for_callback "inner"', lambda c: c.wait_for_callback(fail, "inner")),
    "condition": (
        'wait_for_condition "inner"',
        lambda c: c.wait_for_condition(fail, name="inner", wait_strategy=stop, initial_state=0),
    ),
    "invoke": ('invoke "inner"', lambda c: c.invoke("f", 1, "inner")),
    "child": ('child context "inner"', lambda c: c.run_in_child_context(fail, "inner")),
    "virtual child": ("a virtual child context", lambda c: c.run_in_child_context(fail, is_virtual=True)),
    "map": ('map "inner"', lambda c: c.map([1], fail, "inner")),
    "flat map": ('map "inner"', lambda c: c.map([1], fail, "inner", nesting_type=FLAT)),
    "parallel": ('parallel "inner"', lambda c: c.parallel([fail], "inner")),
    "with_retry": ('child context "inner"', lambda c: with_retry(c, fail, WithRetryConfig(), "inner")),
}
"""By name: every operation, and what the error calls it. None of them may come to run anything."""


def _in_plain_thread(act: Act) -> Any:
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((act(), None))
        except BaseException as error:  # noqa: BLE001  for the thread that waits
            outcome.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


async def _awaited(act: Act) -> Any:
    await asyncio.sleep(0)
    return act()


def _in_pool(act: Act) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act).result()


THREADS: dict[str, Callable[[Act], Any]] = {
    "same thread": lambda act: act(),
    "copied context": lambda act: contextvars.copy_context().run(act),
    "empty context": lambda act: contextvars.Context().run(act),
    "thread": _in_plain_thread,
    "thread with a copied context": lambda act: _in_plain_thread(partial(contextvars.copy_context().run, act)),
    "pool": _in_pool,
    "asyncio.run": lambda act: asyncio.run(_awaited(act)),
    "asyncio.to_thread": lambda act: asyncio.run(asyncio.to_thread(act)),
}
"""By name: how something is called."""

__all__ = ["ALREADY_RECORDED", "INNER", "OUTER", "THREADS", "Outer", "Serdes"]
