"""A workflow that knows what each operation must give, its true events, and ways to spoil what the service sends."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from perdure import DurableContext, durable_execution
from perdure.config import Duration, NestingType
from perdure.local import LocalService, VirtualClock
from perdure.retries import RetryDecision
from perdure.serdes import ExtendedTypeSerDes
from perdure.waits import WaitForConditionDecision

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local import ExecutionHandle

LARGE = 200
"""Characters of a result above which the tests have a context rebuild it; the real bound would only make them slow."""

ANSWER = '{"t":"t","v":[{"t":"i","v":1},{"t":"s","v":"yes"}]}'


class WrongValueError(Exception):
    """An operation gave another value than it ever gave."""


class Everything:
    """A workflow of all operations, which fails if one of them gives what it must not.

    Args:
        answer: Answers a callback, by its id.

    """

    def __init__(self, answer: Callable[[str], Any]) -> None:
        self.answer = answer
        self.ran: Counter[str] = Counter()
        """How often the function of each step ran."""

    def step(self, context: DurableContext, name: str, value: Any, **options: Any) -> Any:
        def body(step: Any) -> Any:
            self.ran[name] += 1
            if options and step.attempt < 3:
                raise ConnectionError("again")
            return value

        return expect(context.step(body, name, **options), value)

    def __call__(self, event: Any, context: DurableContext) -> str:
        expect(event, {"n": 1})
        self.step(context, "tuple", (1, b"x", {"k": 2.5}))
        self.step(context, "retried", [1, "two"], retry=_again)
        expect(context.wait(Duration(5), "rest"), None)
        expect(context.run_in_child_context(self.inside, "inside"), "inner")
        expect(context.run_in_child_context(self.inside, is_virtual=True), "inner")
        expect(context.run_in_child_context(self.large, "large"), "x" * 2 * LARGE)
        expect(context.wait_for_condition(_count, name="poll", wait_strategy=_until_three, initial_state=0), 3)
        callback = context.create_callback("ask", serdes=ExtendedTypeSerDes())
        context.step(lambda _: self.answer(callback.callback_id), "answer")
        expect(callback.result(), (1, "yes"))
        expect(context.wait_for_callback(lambda key, _: self.answer(key), "asked"), ANSWER)
        expect(context.invoke("double", 21, "doubled"), 42)
        for nesting in NestingType:
            items = context.map([1, 2, 3], self.item, f"map {nesting.value}", nesting_type=nesting, max_concurrency=2)
            items.throw_if_error()
            expect(items.get_results(), ["1" * LARGE, "2" * LARGE, "3" * LARGE])
        both = context.parallel([self.inside, lambda c: c.step(lambda _: 7, "seven")], "both")
        both.throw_if_error()
        expect(both.get_results(), ["inner", 7])
        expect(callback.result(), (1, "yes"))
        return "everything"

    def inside(self, context: DurableContext) -> str:
        context.wait(Duration(2))
        return str(self.step(context, "inner", "inner"))

    def large(self, context: DurableContext) -> str:
        return 2 * str(self.step(context, "half", "x" * LARGE))

    def item(self, context: DurableContext, value: int, *_: Any) -> str:
        context.wait(Duration(value))
        return str(value) * self.step(context, f"length {value}", LARGE)


def expect(found: Any, wanted: Any) -> Any:
    if found != wanted or type(found) is not type(wanted):
        raise WrongValueError(f"{found!r:.100} in place of {wanted!r:.100}")
    return found


def _again(_error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision.retry(Duration(3)) if attempt < 4 else RetryDecision.no_retry()


def _count(state: int, _context: Any) -> int:
    return state + 1


def _until_three(state: int, _attempt: int) -> WaitForConditionDecision:
    if state >= 3:
        return WaitForConditionDecision.stop_polling()
    return WaitForConditionDecision.continue_waiting(Duration(20))


class Play:
    """An execution of the workflow on a local service.

    Args:
        spoil: Makes of each answer of the service what the engine is given instead.
        options: Of the service.

    """

    def __init__(self, spoil: Any = None, **options: Any) -> None:
        self.spoil = spoil
        self.events: list[dict[str, Any]] = []
        self.service = LocalService(clock=VirtualClock(), **options)
        self.workflow = Everything(self._answer)
        handler = durable_execution(self.workflow)

        def invoked(event: Any, context: Any) -> Any:
            self.events.append(copy.deepcopy(dict(event)))
            if spoil is not None:
                event.client = Spoiled(event.client, spoil)
            return handler(event, context)

        self.service.register("everything", invoked)
        self.service.register("double", lambda event, _: 2 * event, durable=False)

    def run(self) -> ExecutionHandle:
        return self.service.run("everything", event={"n": 1})

    def _answer(self, callback_id: str) -> None:
        self.service.client.send_durable_execution_callback_success(CallbackId=callback_id, Result=ANSWER.encode())


class Spoiled:
    """A client whose answers are spoiled."""

    def __init__(self, client: Any, spoil: Callable[[str, dict[str, Any]], Any]) -> None:
        self._client = client
        self._spoil = spoil

    def checkpoint_durable_execution(self, **call: Any) -> Any:
        return self._spoil("checkpoint", copy.deepcopy(self._client.checkpoint_durable_execution(**call)))

    def get_durable_execution_state(self, **call: Any) -> Any:
        return self._spoil("state", copy.deepcopy(self._client.get_durable_execution_state(**call)))


# ---- what can be spoiled about what the service sends


class Text(str):
    """Text of somebody's own type."""

    __slots__ = ()


class Hostile:
    """An object that nothing can be done with."""

    def __repr__(self) -> str:
        raise ValueError("no")

    __str__ = __bool__ = __len__ = __eq__ = __hash__ = __repr__  # type: ignore[assignment]


_ODD: tuple[Any, ...] = (
    True, False, 0, -1, 7, 2**31, 2**32, 2**63, -(2**63) - 1, 10**400, 1.5, float("nan"), float("inf"), 1j, b"",
    b"bytes", [], [None], ["text"], (), {}, {"a": 1}, object(), Hostile(), "\ud800", "text", "9" * 100_000,
    Text("text"),
)  # fmt: skip

ODD: dict[str, Any] = {f"{index} {type(each).__name__}": each for index, each in enumerate(_ODD)}
"""Values of every kind, by names, since some cannot be shown; some are valid somewhere."""


def odd(name: str) -> Any:
    """Give a value of its own, which may be spoiled in its turn."""
    return copy.deepcopy(ODD[name])


NO_TEXT = [name for name, each in ODD.items() if not isinstance(each, str)]
"""Those that are valid nowhere where text must be."""

TEXT_OR_NOTHING = [name for name, each in ODD.items() if isinstance(each, (str, bytes, complex, Hostile))]
"""Those that are valid nowhere where something else than text must be."""

NOWHERE = [name for name, each in ODD.items() if isinstance(each, (bytes, complex, Hostile))]
"""Those that are valid nowhere."""

UNREADABLE = [
    "{",
    "",
    "nope",
    '{"t":"zz","v":1}',
    '{"t":"d","v":"x"}',
    '{"a":1}',
    '{"t":"br","v":{}}',
    '{"t":"i","v":[]}',
]
"""Payloads that no operation with the default serdes can have written, nor JSON for the first three."""


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Give the ways to everything inside a value."""
    found = [path] if path else []
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        found += paths(inside, (*path, key))
    return found


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def drop(value: Any, path: tuple[Any, ...]) -> None:
    for key in path[:-1]:
        value = value[key]
    del value[path[-1]]


def spoil_anything(pick: Callable[[list[Any]], Any], value: Any) -> None:
    """Put anything anywhere, or drop it; ``pick`` chooses."""
    found = paths(value)
    if not found:
        return
    path = pick(found)
    if pick([True, False]):
        drop(value, path)
    else:
        put(value, path, odd(pick(list(ODD))))


def canonical(update: dict[str, Any]) -> str:
    return json.dumps(update, sort_keys=True, default=str)
