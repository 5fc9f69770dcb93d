"""Plugins in the engine: what the official SDK cannot be asked about, and what the engine promises besides."""

from __future__ import annotations

import _thread
import contextlib
import copy
import gc
import logging
import pickle
import sys
import threading
import traceback
import weakref
from contextvars import ContextVar
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.invocations import NOW, LambdaContext, Recorder, event, op, op_id, succeeded

from perdure import DurableContext, durable_execution, run_durable_handler
from perdure.engine.hooks import Hooks
from perdure.engine.hosted import HostedEvent
from perdure.plugin import DurableInstrumentationPlugin, InvocationStatus, PropagationMetadata
from perdure.retries import RetryPresets
from support.ledger import Ledger
from support.plugged import HOOKS

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30
SEEN: ContextVar[str] = ContextVar("seen", default="")


class Made:
    """A factory of plugins whose methods are given by name."""

    def __init__(self, **hooks: Callable[[Any], Any]) -> None:
        def method(hook: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
            return lambda _self, info: hook(info)

        own = {name: method(hook) for name, hook in hooks.items()}
        self._plugin = type("Plugin", (DurableInstrumentationPlugin,), own)

    def create_plugin(self, _info: Any) -> DurableInstrumentationPlugin:
        return self._plugin()


def one_step(_event: Any, context: DurableContext) -> Any:
    return context.step(lambda _: 1, "a")


_DETAILS = {
    "STEP": "StepDetails",
    "CONTEXT": "ContextDetails",
    "CALLBACK": "CallbackDetails",
}
_STATUSES = {"START": "STARTED", "SUCCEED": "SUCCEEDED", "FAIL": "FAILED"}


def echo(updates: list[Any]) -> list[Any]:
    """Answer as the service does: with what the updates have made of the operations."""
    told: dict[str, dict[str, Any]] = {}
    for update in updates:
        one = told.setdefault(update["Id"], {**_told(update), "StartTimestamp": NOW})
        one["Status"] = _STATUSES[update["Action"]]
        if update["Action"] == "SUCCEED":
            one |= {"EndTimestamp": NOW, _DETAILS[update["Type"]]: {"Result": update.get("Payload")}}
    return list(told.values())


def _told(update: Any) -> dict[str, Any]:
    return {key: update[key] for key in ("Id", "Type", "SubType", "Name", "ParentId") if key in update}


def run(handler: Any, *plugins: Any, operations: tuple[Any, ...] = (), updated: Any = (), **members: Any) -> Any:
    given = {**event(*operations), "UpdatedOperationIds": updated, **members}
    return run_durable_handler(given, LambdaContext(), handler, boto3_client=Recorder(echo), plugins=list(plugins))


# ---- who is told


def test_a_plugin_that_overrides_nothing_is_not_looked_at() -> None:
    contexts = []

    def handler(_event: Any, context: DurableContext) -> int:
        contexts.append((type(context), context.invocation.hooks))
        return 1

    assert run(handler, Made()) == succeeded("1")
    assert run(handler, Made(on_invocation_start=id, on_invocation_end=id)) == succeeded("1")
    assert contexts == [(DurableContext, None)] * 2


def test_hooks_of_an_instance_count() -> None:
    told: list[str] = []

    class Late(DurableInstrumentationPlugin):
        def __init__(self) -> None:
            self.on_operation_end = lambda info: told.append(info.name)  # type: ignore[method-assign]

    class Factory:
        def create_plugin(self, _info: Any) -> Late:
            return Late()

    run(one_step, Factory())
    assert told == ["a"]


@pytest.mark.parametrize("given", [None, 5, Made()], ids=["nothing", "a number", "a factory"])
def test_what_is_no_plugin_is_left_out_and_named(given: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        def create_plugin(self, _info: Any) -> Any:
            return given

    ledger = Ledger()
    assert run(one_step, Odd(), ledger) == succeeded("1")
    ledger.check(1)
    assert "no DurableInstrumentationPlugin" in caplog.text


def test_a_factory_that_fails_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        def create_plugin(self, _info: Any) -> Any:
            raise LookupError("no plugin today")

    ledger = Ledger()
    assert run(one_step, Failing(), ledger) == succeeded("1")
    ledger.check(1)
    assert "no plugin today" in caplog.text


def test_a_failing_hook_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_info: Any) -> None:
        raise LookupError("not this one")

    assert run(one_step, Made(on_operation_start=refuse)) == succeeded("1")
    assert "on_operation_start" in caplog.text
    assert "not this one" in caplog.text
    assert all(record.levelno == logging.ERROR for record in caplog.records)


@pytest.mark.parametrize("odd", ["Root=1-0", 5, PropagationMetadata(x_amzn_trace_id=5)])  # type: ignore[arg-type]
def test_what_is_no_trace_header_is_left_out_and_named(odd: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert _sent_with_an_invoke(odd) == [None]
    assert f"not {odd!r}" in caplog.text


@pytest.mark.parametrize("given", [None, PropagationMetadata(), PropagationMetadata(x_amzn_trace_id="")])
def test_no_trace_header_is_none(given: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert _sent_with_an_invoke(given) == [None]
    assert caplog.text == ""


def _sent_with_an_invoke(answer: Any) -> list[Any]:
    """Give the trace headers that went along with an invoke, under a plugin that answers so."""
    factory = Made(provide_propagation_metadata=lambda _info: answer)
    client = Recorder()
    run_durable_handler(
        event(), LambdaContext(), lambda _, context: context.invoke("f", 1, "i"), boto3_client=client, plugins=[factory]
    )
    return [update["ChainedInvokeOptions"].get("XAmznTraceId") for call in client.calls for update in call["Updates"]]


# ---- what must not be swallowed


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(
    "hook", ["on_invocation_start", "on_operation_start", "on_user_function_start", "on_user_function_end"]
)
def test_what_is_no_exception_goes_on_and_the_end_is_told(hook: str, error: type[BaseException]) -> None:
    ends: list[Any] = []

    def stop(_info: Any) -> None:
        raise error

    with pytest.raises(error):
        run(one_step, Made(**{hook: stop, "on_invocation_end": ends.append}))
    assert [info.status for info in ends] == [InvocationStatus.RETRY]
    assert ends[0].error.type == error.__name__


def test_an_interrupt_in_the_end_of_one_that_nobody_read_stops_no_other() -> None:
    ends: list[str] = []

    def stop(info: Any) -> None:
        ends.append(info.name)
        raise KeyboardInterrupt

    def handler(_event: Any, context: DurableContext) -> None:
        for name in ("one", "two"):
            context.create_callback(name)
        context.step(lambda _: 1, "a")

    def answer(updates: list[Any]) -> list[Any]:
        if all(update["Type"] != "STEP" for update in updates):
            return [_callback(update, "STARTED") for update in updates]
        step = next(update for update in updates if update["Action"] == "SUCCEED")
        done = {"Id": step["Id"], "Type": "STEP", "Status": "STARTED", "StartTimestamp": NOW}
        return [done, *(_callback({"Id": op_id(number), "Name": name}, "SUCCEEDED") for number, name in NAMES)]

    last: list[Any] = []
    plugin = Made(on_operation_end=stop, on_invocation_end=last.append)
    with pytest.raises(KeyboardInterrupt):
        run_durable_handler(event(), LambdaContext(), handler, boto3_client=Recorder(answer), plugins=[plugin])
    assert sorted(ends) == ["one", "two"]
    assert len(last) == 1


NAMES = ((1, "one"), (2, "two"))


def _callback(update: Any, status: str) -> dict[str, Any]:
    told = {"Id": update["Id"], "Type": "CALLBACK", "SubType": "Callback", "Name": update["Name"], "Status": status}
    return {**told, "StartTimestamp": NOW, "CallbackDetails": {"CallbackId": f"id-{update['Name']}"}}


# ---- views


def test_mappings_are_of_their_moment_and_are_read_only() -> None:
    kept: list[Any] = []

    def handler(_event: Any, context: DurableContext) -> None:
        for name in ("a", "b", "c"):
            context.step(lambda _: 1, name)

    run(handler, Made(on_invocation_start=kept.append, on_operation_change=kept.append, on_invocation_end=kept.append))
    first, last = kept[0].operations, kept[-1].operations
    assert [operation.operation_type.value for operation in first.values()] == ["EXECUTION"]
    assert [operation.name for operation in last.values()] == [None, "a", "b", "c"]
    assert len(first) == 1
    assert op_id(1) not in first
    assert last[op_id(1)].status.value == "SUCCEEDED"
    with pytest.raises(TypeError):
        last[op_id(1)] = None
    changed = [operation.name for info in kept[1:-1] for operation in info.updated_operations.values()]
    assert changed == ["a", "b", "c"]
    assert len(last) == 4
    assert repr(first) == repr(dict(first))


@pytest.mark.parametrize(
    "taken",
    [copy.copy, copy.deepcopy, lambda info: pickle.loads(pickle.dumps(info))],  # noqa: S301  one's own
    ids=["copy", "deepcopy", "pickle"],
)
def test_what_a_plugin_is_told_can_be_taken_away(taken: Callable[[Any], Any]) -> None:
    """An audit puts it into a queue, sends it to another process, writes it as a dict."""
    kept: list[Any] = []
    run(one_step, Made(**dict.fromkeys(HOOKS, lambda info: kept.append((info, taken(info), asdict(info))))))
    assert {type(info).__name__ for info, *_ in kept} == {
        *("InvocationStartInfo", "InvocationEndInfo", "OperationStartInfo", "OperationEndInfo"),
        *("UserFunctionStartInfo", "UserFunctionEndInfo", "OperationChangeInfo"),
    }
    assert {hash(info) for info, *_ in kept if hasattr(info, "request_id")}
    for info, taken_away, as_dict in kept:
        assert taken_away == info
        assert as_dict.keys() == {field.name for field in fields(info)}
        if "operations" in as_dict:
            assert as_dict["operations"] == taken_away.operations == info.operations


def test_the_event_says_what_is_new() -> None:
    ended, begun = [], []
    operations = (
        op("STEP", "SUCCEEDED", 1, Name="a", details={"Result": "1", "Attempt": 1}, EndTimestamp=NOW),
        op("WAIT", "SUCCEEDED", 2, Name="w", details={}, EndTimestamp=NOW),
    )

    def handler(_event: Any, context: DurableContext) -> None:
        context.step(lambda _: 1, "a")
        context.wait(5, "w")

    plugin = Made(on_invocation_start=begun.append, on_operation_end=ended.append)
    for updated, told in (([op_id(2)], ["w"]), ([op_id(1), "of another"], ["a"]), (None, []), ("odd", [])):
        run(handler, plugin, operations=operations, updated=updated)
        assert [info.name for info in ended] == told
        assert list(begun[-1].updated_operations) == [op_id(1 + (name == "w")) for name in told]
        assert not begun[-1].is_first_invocation
        ended.clear()


@pytest.mark.parametrize("odd", [{}, {"Id": 5}, {"Id": "x", "Type": [], "Status": "STARTED"}, "text"], ids=repr)
def test_an_odd_answer_ends_the_execution_as_without_plugins(odd: Any) -> None:
    def outcome(*plugins: Any) -> Any:
        client = Recorder(lambda updates: [*echo(updates), odd])
        try:
            return run_durable_handler(event(), LambdaContext(), one_step, boto3_client=client, plugins=[*plugins])
        except Exception as error:  # noqa: BLE001 - to be compared
            return repr(error)

    ledger = Ledger()
    assert outcome(ledger) == outcome()
    assert ledger.invocations[0].hooks[-1][0] == "end"


# ---- threads and context variables


def test_nothing_outlives_the_invocation() -> None:
    def branch(context: DurableContext, item: int, *_: Any) -> int:
        return context.step(lambda _: item)

    def handler(_event: Any, context: DurableContext) -> int:
        return len(context.map(range(20), branch).get_results())

    for _ in range(5):
        before = _thread._count()
        ledger = Ledger()
        assert run(handler, ledger) == succeeded("20")
        ledger.check(1)
        assert _thread._count() == before


def test_no_plugin_is_kept_when_its_invocation_is_over() -> None:
    kept: list[Any] = []
    hooks: dict[str, Any] = dict.fromkeys((*HOOKS, "provide_propagation_metadata"), id)

    class Weakly(Made):
        def create_plugin(self, info: Any) -> DurableInstrumentationPlugin:
            plugin = super().create_plugin(info)
            kept.append(weakref.ref(plugin))
            return plugin

    for _ in range(3):
        assert run(one_step, Weakly(**hooks)) == succeeded("1")
    gc.collect()
    assert [one() for one in kept] == [None] * 3


def test_a_hook_at_the_end_of_what_failed_finds_the_error_being_handled_and_leaves_it_as_it_was() -> None:
    seen: list[Any] = []
    raised: list[Any] = []

    def broken(_step: Any) -> None:
        try:
            raise LookupError("first")  # noqa: TRY301 - to be handled here
        except LookupError:
            error = ValueError("then")
            raised.append(error)
            raise error  # noqa: B904 - what is handled becomes its context

    def handler(_event: Any, context: DurableContext) -> None:
        try:
            raise KeyError("around")  # noqa: TRY301 - the same
        except KeyError:
            with contextlib.suppress(Exception):
                context.step(broken, "a", retry=RetryPresets.none())

    plugin = Made(on_user_function_end=lambda _: seen.append(sys.exception()))
    assert run(handler, plugin) == succeeded("null")
    assert seen == raised
    assert isinstance(seen[0].__context__, LookupError)
    frames = [frame.name for frame in traceback.extract_tb(seen[0].__traceback__)]
    assert frames[-1] == "broken"
    assert "function_failed" not in frames


def test_answers_that_come_while_a_plugin_is_told_are_told_together() -> None:
    goes_on, told = threading.Event(), []

    def hear(info: Any) -> None:
        told.append([operation.name for operation in info.updated_operations.values()])
        assert goes_on.wait(PATIENCE)

    def handler(_event: Any, context: DurableContext) -> None:
        for name in "abcdef":
            context.step(lambda _: 1, name)
        goes_on.set()

    run(handler, Made(on_operation_change=hear))
    assert [name for names in told for name in names] == list("abcdef")
    assert len(told) <= 3


def test_an_interrupt_in_the_thread_of_changes_is_carried_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    def stop(_info: Any) -> None:
        raise KeyboardInterrupt

    others: list[Any] = []
    assert run(one_step, Made(on_operation_change=stop), Made(on_operation_change=others.append)) == succeeded("1")
    assert others
    assert "on_operation_change" in caplog.text


def test_without_a_thread_changes_are_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("perdure.engine.plugin_changes._threads.start", none_left)
    ledger = Ledger()
    assert run(one_step, ledger) == succeeded("1")
    ledger.check(1)
    assert ledger.invocations[0].changed == {op_id(1): "SUCCEEDED"}


def test_what_start_hooks_set_is_seen_by_the_code_that_follows() -> None:
    seen: list[tuple[str, str]] = []

    def add(letter: str) -> Callable[[Any], None]:
        return lambda _info: SEEN.set(SEEN.get() + letter) and None

    def look(place: str) -> str:
        seen.append((place, SEEN.get()))
        return place

    def handler(_event: Any, context: DurableContext) -> None:
        look("handler")
        context.step(lambda _: look("step"), "a")
        context.map([1, 2], lambda _context, item, *_: look(f"branch {item}"))

    plugin = Made(on_invocation_start=add("I"), on_operation_start=add("O"), on_user_function_start=add("U"))
    run(handler, plugin)
    assert sorted(seen) == [
        ("branch 1", "IOUOUOU"),
        ("branch 2", "IOUOUOU"),
        ("handler", "I"),
        ("step", "IOU"),
    ]
    assert SEEN.get() == ""


def test_a_callback_that_two_branches_read_is_told_of_once_and_first() -> None:
    told, order = threading.Barrier(2), []

    def hear(info: Any) -> None:
        if info.operation_type.value == "CALLBACK":
            order.append("told")

    def handler(_event: Any, context: DurableContext) -> int:
        callback = context.create_callback("cb")

        def read(_context: DurableContext) -> Any:
            told.wait(PATIENCE)
            value = callback.result()
            order.append("read")
            return value

        return len(context.parallel([read, read]).get_results())

    known = op("CALLBACK", "SUCCEEDED", 1, Name="cb", details={"CallbackId": "x", "Result": "y"}, EndTimestamp=NOW)
    assert run(handler, Made(on_operation_end=hear), operations=(known,), updated=[op_id(1)]) == succeeded("2")
    assert order == ["told", "read", "read"]


def test_a_read_within_a_hook_tells_of_nothing() -> None:
    told: list[Any] = []
    callbacks: list[Any] = []

    def hear(info: Any) -> None:
        told.append(info.name)
        if info.name == "a":
            callbacks[0].result()

    def handler(_event: Any, context: DurableContext) -> None:
        callbacks.append(context.create_callback("cb"))
        context.step(lambda _: 1, "a")

    known = op("CALLBACK", "SUCCEEDED", 1, Name="cb", details={"CallbackId": "x", "Result": "y"}, EndTimestamp=NOW)
    run(handler, Made(on_operation_end=hear), operations=(known,))
    assert told == ["a"]


# ---- beside a tool


def test_plugins_and_the_hooks_of_a_tool_both_hear() -> None:
    heard: list[str] = []

    class Tool(Hooks):
        def before_operation(self, method: str) -> None:
            heard.append(method)

        def function(self, kind: str, operation: Any, function: Any) -> Any:
            heard.append(f"{kind} {operation.name}")
            return function

        def after_operation(self, scope: Any) -> None:
            heard.append(f"after {scope.latest_id[:4]}")

    ledger = Ledger()
    handler = durable_execution(one_step, plugins=[ledger])
    assert handler(HostedEvent(event(), Recorder(echo), hooks=Tool()), LambdaContext()) == succeeded("1")  # type: ignore[arg-type]
    ledger.check(1)
    assert heard == ["step", "step a", f"after {op_id(1)[:4]}"]


_OF_OPERATIONS = ("on_operation_start", "on_operation_end", "on_user_function_start", "on_user_function_end")


def three_steps(_event: Any, context: DurableContext) -> Any:
    return [context.step(lambda _: 1, name) for name in ("a", "b", "c")]


def test_an_info_that_a_plugin_keeps_goes_on_telling_what_it_told() -> None:
    kept: list[Any] = []
    others: list[str] = []  # this one keeps none
    keeps = Made(**dict.fromkeys(_OF_OPERATIONS, kept.append))
    run(three_steps, keeps, Made(**dict.fromkeys(_OF_OPERATIONS, lambda info: others.append(info.name))))
    assert [info.name for info in kept] == others == [name for name in "abc" for _ in _OF_OPERATIONS]
    assert len({id(info) for info in kept}) == len(kept)
    for began, ended in zip(kept[1::4], kept[2::4], strict=True):
        assert began.start_time == ended.start_time <= ended.end_time
        assert began.end_time is None
        assert ended.end_time is ended.end_time


def test_an_info_that_a_plugin_refers_to_weakly_never_tells_of_something_else() -> None:
    weak: list[Any] = []
    alive: list[bool] = []

    def look(info: Any) -> None:
        alive.extend(one() is not None for one in weak)
        weak.append(weakref.ref(info))

    run(three_steps, Made(**dict.fromkeys(_OF_OPERATIONS, look)))
    assert len(weak) == 12
    assert not any(alive)
    assert all(one() is None for one in weak)


def test_an_info_that_a_plugin_has_changed_or_added_to_hands_nothing_on() -> None:
    told: list[Any] = []

    def meddle(info: Any) -> None:
        told.append((type(info).__name__, info.name, info.error, info.result))
        object.__setattr__(info, "name", "changed")
        object.__setattr__(info, "error", "mine")

    run(three_steps, Made(on_operation_start=meddle, on_user_function_start=meddle))
    assert told == [
        (kind, name, None, None) for name in "abc" for kind in ("OperationStartInfo", "UserFunctionStartInfo")
    ]


def test_what_an_info_told_is_gone_when_the_invocation_is() -> None:
    class Error:
        """What a plugin puts into an info, since texts have no weak references."""

    weak: list[Any] = []

    def put(info: Any) -> None:
        error = Error()
        weak.append(weakref.ref(error))
        object.__setattr__(info, "error", error)

    run(three_steps, Made(**dict.fromkeys(_OF_OPERATIONS, put)))
    assert len(weak) == 12
    assert all(one() is None for one in weak)
