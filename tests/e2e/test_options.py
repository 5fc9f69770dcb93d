"""Options of operations: by a config object, by keyword, and by both."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    DurableContext,
    ValidationError,
)
from perdure.config import (
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    Duration,
    InvokeConfig,
    MapConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
    StepSemantics,
    WaitForCallbackConfig,
)
from perdure.engine.operations import common
from perdure.retries import RetryDecision
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from support.invocations import Recorder, invoke, succeeded


class Tagged:
    """A serdes that marks what it wrote."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def serialize(self, value: Any, _context: Any) -> str:
        return f"{self.tag}:{json.dumps(value)}"

    def deserialize(self, data: str, _context: Any) -> Any:
        return json.loads(data.partition(":")[2])


A: Any = Tagged("a")
B: Any = Tagged("b")


def retry_in(seconds: int) -> Callable[[Exception, int], RetryDecision]:
    return lambda *_: RetryDecision.retry(seconds)


def fail(*_: Any) -> Any:
    raise OSError("broken")


def stop(*_: Any) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


def go_on(seconds: int) -> Callable[[Any, int], WaitForConditionDecision]:
    return lambda *_: WaitForConditionDecision.continue_waiting(seconds)


def path(*keys: Any) -> Callable[[Recorder], Any]:
    def find(client: Recorder) -> Any:
        found: Any = client.updates
        for key in keys:
            found = found[key]
        return found

    return find


def kinds(client: Recorder) -> list[str]:
    return sorted({each["SubType"] for each in client.updates})


RETRY_DELAY = path(-1, "StepOptions", "NextAttemptDelaySeconds")

# Each option by a config object, by a keyword, and by both: (config, keywords) -> what is sent shows which one counted.
Operate = Callable[..., Any]
OPTIONS: dict[str, tuple[Operate, Any, dict[str, Any], Callable[[Recorder], Any], Any, Any]] = {
    "step retry_strategy": (
        lambda c, config, **k: c.step(fail, None, config, **k),
        StepConfig(retry_strategy=retry_in(3)),
        {"retry_strategy": retry_in(4)},
        RETRY_DELAY,
        3,
        4,
    ),
    "step retry": (
        lambda c, config, **k: c.step(fail, None, config, **k),
        StepConfig(retry_strategy=retry_in(3)),
        {"retry": retry_in(4)},
        RETRY_DELAY,
        3,
        4,
    ),
    "step serdes": (
        lambda c, config, **k: c.step(lambda _: 1, None, config, **k),
        StepConfig(serdes=A),
        {"serdes": B},
        path(-1, "Payload"),
        "a:1",
        "b:1",
    ),
    "step step_semantics": (
        lambda c, config, **k: c.step(lambda _: 1, None, config, **k),
        StepConfig(step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY),
        {"step_semantics": StepSemantics.AT_LEAST_ONCE_PER_RETRY},
        lambda client: len(client.calls),
        2,
        1,
    ),
    "step sub_type": (
        lambda c, config, **k: c.step(lambda _: 1, None, config, **k),
        StepConfig(sub_type="A"),
        {"sub_type": "B"},
        kinds,
        ["A"],
        ["B"],
    ),
    "child serdes": (
        lambda c, config, **k: c.run_in_child_context(lambda _: 1, None, config, **k),
        ChildConfig(serdes=A),
        {"serdes": B},
        path(-1, "Payload"),
        "a:1",
        "b:1",
    ),
    "child sub_type": (
        lambda c, config, **k: c.run_in_child_context(lambda _: 1, None, config, **k),
        ChildConfig(sub_type="A"),
        {"sub_type": "B"},
        kinds,
        ["A"],
        ["B"],
    ),
    "child summary_generator": (
        lambda c, config, **k: len(c.run_in_child_context(lambda _: "x" * 300_000, None, config, **k)),
        ChildConfig(summary_generator=lambda _: "A"),
        {"summary_generator": lambda _: "B"},
        path(-1, "Payload"),
        "A",
        "B",
    ),
    "child is_virtual": (
        lambda c, config, **k: c.run_in_child_context(lambda _: 1, None, config, **k),
        ChildConfig(is_virtual=True),
        {"is_virtual": False},
        lambda client: len(client.updates),
        0,
        2,
    ),
    "callback timeout": (
        lambda c, config, **k: c.create_callback(None, config, **k).callback_id,
        CallbackConfig(timeout=Duration(3)),
        {"timeout": 4},
        path(0, "CallbackOptions", "TimeoutSeconds"),
        3,
        4,
    ),
    "callback heartbeat_timeout": (
        lambda c, config, **k: c.create_callback(None, config, **k).callback_id,
        CallbackConfig(heartbeat_timeout=Duration(3)),
        {"heartbeat_timeout": 4},
        path(0, "CallbackOptions", "HeartbeatTimeoutSeconds"),
        3,
        4,
    ),
    "callback sub_type": (
        lambda c, config, **k: c.create_callback(None, config, **k).callback_id,
        CallbackConfig(sub_type="A"),
        {"sub_type": "B"},
        kinds,
        ["A"],
        ["B"],
    ),
    "wait_for_callback timeout": (
        lambda c, config, **k: c.wait_for_callback(lambda *_: None, None, config, **k),
        WaitForCallbackConfig(timeout=Duration(3)),
        {"timeout": timedelta(seconds=4)},
        path(1, "CallbackOptions", "TimeoutSeconds"),
        3,
        4,
    ),
    "wait_for_callback heartbeat_timeout": (
        lambda c, config, **k: c.wait_for_callback(lambda *_: None, None, config, **k),
        WaitForCallbackConfig(heartbeat_timeout=Duration(3)),
        {"heartbeat_timeout": timedelta(seconds=4)},
        path(1, "CallbackOptions", "HeartbeatTimeoutSeconds"),
        3,
        4,
    ),
    "wait_for_callback retry_strategy": (
        lambda c, config, **k: c.wait_for_callback(fail, None, config, **k),
        WaitForCallbackConfig(retry_strategy=retry_in(3)),
        {"retry_strategy": retry_in(4)},
        RETRY_DELAY,
        3,
        4,
    ),
    "wait_for_callback serdes": (
        lambda c, config, **k: c.wait_for_callback(lambda *_: None, None, config, **k),
        WaitForCallbackConfig(serdes=A),
        {"serdes": B},
        path(-1, "Payload"),
        "a:null",
        "b:null",
    ),
    "condition wait_strategy": (
        lambda c, config, **k: c.wait_for_condition(lambda s, _: s, config, **k),
        WaitForConditionConfig(wait_strategy=go_on(3), initial_state=1),
        {"wait_strategy": go_on(4)},
        RETRY_DELAY,
        3,
        4,
    ),
    "condition initial_state": (
        lambda c, config, **k: c.wait_for_condition(lambda s, _: s, config, **k),
        WaitForConditionConfig(wait_strategy=stop, initial_state=1),
        {"initial_state": 2},
        path(-1, "Payload"),
        "1",
        "2",
    ),
    "condition serdes": (
        lambda c, config, **k: c.wait_for_condition(lambda s, _: s, config, **k),
        WaitForConditionConfig(wait_strategy=stop, initial_state=1, serdes=A),
        {"serdes": B},
        path(-1, "Payload"),
        "a:1",
        "b:1",
    ),
    "invoke serdes_payload": (
        lambda c, config, **k: c.invoke("fn", 1, None, config, **k),
        InvokeConfig(serdes_payload=A),
        {"serdes_payload": B},
        path(-1, "Payload"),
        "a:1",
        "b:1",
    ),
    "invoke tenant_id": (
        lambda c, config, **k: c.invoke("fn", 1, None, config, **k),
        InvokeConfig(tenant_id="a"),
        {"tenant_id": "b"},
        path(-1, "ChainedInvokeOptions", "TenantId"),
        "a",
        "b",
    ),
    "map max_concurrency": (
        lambda c, config, **k: c.map([1] * 9, lambda k, *_: k.wait(3), None, config, **k),
        MapConfig(max_concurrency=2),
        {"max_concurrency": 3},
        lambda client: len({each["Id"] for each in client.updates if each["Type"] == "WAIT"}),
        2,
        3,
    ),
    "map completion_config": (
        lambda c, config, **k: len(c.map([1] * 9, fail, None, config, max_concurrency=1, **k).all),
        MapConfig(completion_config=CompletionConfig(tolerated_failure_count=1)),
        {"completion_config": CompletionConfig(tolerated_failure_count=2)},
        lambda client: len({each["Id"] for each in client.updates if each["Action"] == "FAIL"}),
        2,
        3,
    ),
    "map item_serdes": (
        lambda c, config, **k: c.map([1], lambda *_: 1, None, config, **k) and None,
        MapConfig(item_serdes=A),
        {"item_serdes": B},
        lambda client: next(each["Payload"] for each in client.updates if each.get("Payload", "")[1:] == ":1"),
        "a:1",
        "b:1",
    ),
    "map nesting_type": (
        lambda c, config, **k: c.map([1], lambda *_: 1, None, config, **k) and None,
        MapConfig(nesting_type=NestingType.FLAT),
        {"nesting_type": NestingType.NESTED},
        lambda client: len({each["Id"] for each in client.updates}),
        1,
        2,
    ),
    "map item_namer": (
        lambda c, config, **k: c.map([1], lambda *_: 1, None, config, **k) and None,
        MapConfig(item_namer=lambda *_: "a"),
        {"item_namer": lambda *_: "b"},
        lambda client: {each.get("Name") for each in client.updates} - {None},
        {"a"},
        {"b"},
    ),
    "parallel max_concurrency": (
        lambda c, config, **k: c.parallel([lambda b: b.wait(3)] * 9, None, config, **k),
        ParallelConfig(max_concurrency=2),
        {"max_concurrency": 3},
        lambda client: len({each["Id"] for each in client.updates if each["Type"] == "WAIT"}),
        2,
        3,
    ),
    "parallel completion_config": (
        lambda c, config, **k: len(c.parallel([fail] * 9, None, config, max_concurrency=1, **k).all),
        ParallelConfig(completion_config=CompletionConfig(tolerated_failure_count=1)),
        {"completion_config": CompletionConfig(tolerated_failure_count=2)},
        lambda client: len({each["Id"] for each in client.updates if each["Action"] == "FAIL"}),
        2,
        3,
    ),
    "parallel nesting_type": (
        lambda c, config, **k: c.parallel([lambda _: 1], None, config, **k) and None,
        ParallelConfig(nesting_type=NestingType.FLAT),
        {"nesting_type": NestingType.NESTED},
        lambda client: len({each["Id"] for each in client.updates}),
        1,
        2,
    ),
    "parallel item_serdes": (
        lambda c, config, **k: c.parallel([lambda _: 1], None, config, **k) and None,
        ParallelConfig(item_serdes=A),
        {"item_serdes": B},
        lambda client: next(each["Payload"] for each in client.updates if each.get("Payload", "")[1:] == ":1"),
        "a:1",
        "b:1",
    ),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_is_taken_from_a_config_or_a_keyword_which_wins(option: str) -> None:
    operate, config, keywords, find, by_config, by_keyword = OPTIONS[option]
    for given, extra, expected in ((config, {}, by_config), (config, keywords, by_keyword)):
        _, client = invoke(lambda c, given=given, extra=extra: operate(c, given, **extra) and None)  # type: ignore[misc]
        if expected == 0:
            assert client.updates == []
        else:
            assert find(client) == expected


@pytest.mark.parametrize("operate", [lambda c, **k: c.step(fail, **k), lambda c, **k: c.wait_for_callback(fail, **k)])
def test_two_strategies_are_one_too_many(operate: Operate) -> None:
    def handler(context: DurableContext) -> None:
        with pytest.raises(ValidationError, match="retry= or retry_strategy=, not both"):
            operate(context, retry=retry_in(1), retry_strategy=retry_in(2))

    got, client = invoke(handler)
    assert got == succeeded("null")
    assert client.calls == []


def test_a_condition_without_a_strategy_is_refused() -> None:
    def handler(context: DurableContext) -> None:
        with pytest.raises(ValidationError, match="wait_strategy="):
            context.wait_for_condition(fail, initial_state=0)  # type: ignore[call-overload]

    assert invoke(handler)[0] == succeeded("null")


@pytest.mark.parametrize("length", [90, 90.0, Duration(90), Duration.from_minutes(1.5), timedelta(minutes=1.5)])
def test_a_length_of_time_may_be_written_in_any_way(length: Any) -> None:
    _, client = invoke(lambda c: (c.create_callback(timeout=length, heartbeat_timeout=length), c.wait(length)))
    assert client.updates[0]["CallbackOptions"] == {"TimeoutSeconds": 90, "HeartbeatTimeoutSeconds": 90}
    assert client.updates[1]["WaitOptions"] == {"WaitSeconds": 90}
    _, client = invoke(lambda c: c.step(fail, retry=lambda *_: RetryDecision.retry(length)))
    assert client.updates[1]["StepOptions"] == {"NextAttemptDelaySeconds": 90}


class Empty(Tagged):
    """A serdes that is false, as a container without items is."""

    def __len__(self) -> int:
        return 0


def test_an_option_is_given_whatever_it_is_worth_as_a_truth_value() -> None:
    def handler(context: DurableContext) -> Any:
        return context.step(lambda _: 1, "a", StepConfig(serdes=A), serdes=Empty("empty"))

    _, client = invoke(handler)
    assert [update.get("Payload") for update in client.updates] == [None, "empty:1"]


@pytest.mark.parametrize(
    ("merge", "config"),
    [
        ("merge_step", StepConfig),
        ("merge_callback", CallbackConfig),
        ("merge_callback", WaitForCallbackConfig),
        ("merge_condition", WaitForConditionConfig),
        ("merge_invoke", InvokeConfig),
        ("merge_child", ChildConfig),
    ],
)
def test_a_config_has_what_is_merged_with_it(merge: str, config: Any) -> None:
    assert set(common._MERGED[merge]) <= {field.name for field in dataclasses.fields(config)}
