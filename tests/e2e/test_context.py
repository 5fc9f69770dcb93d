"""`DurableContext` as its user sees it: names, options, lengths of time, the Lambda context behind it, logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    DurableContext,
    StepContext,
    ValidationError,
    durable_execution,
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
    durable_with_child_context,
    run_durable_handler,
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
from perdure.local import LocalService
from perdure.retries import RetryDecision
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from support.invocations import ARN, PENDING, LambdaContext, Recorder, event, invoke, op, op_id, succeeded

# ---- the Lambda context behind it


def test_unknown_attributes_are_those_of_the_lambda_context() -> None:
    context = LambdaContext()
    context.anything = "mine"  # type: ignore[attr-defined]

    def handler(c: DurableContext) -> Any:
        assert c.lambda_context is context
        assert c.get_remaining_time_in_millis() == 900_000
        return [c.aws_request_id, c.function_name, c.anything, c.execution_context.durable_execution_arn]

    got, _ = invoke(handler, context=context)
    assert json.loads(got["Result"]) == ["request", "f", "mine", ARN]


@pytest.mark.parametrize("name", ["nothing_here", "__html__", "_private"])
def test_an_attribute_that_neither_has_is_an_attribute_error(name: str) -> None:
    def handler(c: DurableContext) -> None:
        assert not hasattr(c, name)
        with pytest.raises(AttributeError, match=name):
            getattr(c, name)

    assert invoke(handler)[0] == succeeded("null")


def test_inner_contexts_pass_attributes_on_too() -> None:
    got, _ = invoke(
        lambda c: c.run_in_child_context(lambda k: k.map([1], lambda b, *_: b.aws_request_id).get_results())
    )
    assert got == succeeded('["request"]')


# ---- keyword arguments beside config objects


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


def many(n: int) -> list[Callable[[DurableContext], Any]]:
    return [lambda c: c.step(lambda _: "x")] * n


RETRY_DELAY = path(-1, "StepOptions", "NextAttemptDelaySeconds")
TIMEOUTS = path(0, "CallbackOptions")
COND = path(-1, "Payload")

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


# ---- names


@durable_step
def charge(_step: StepContext, amount: int, *, currency: str) -> str:
    return f"{amount} {currency}"


@durable_with_child_context
def book(context: DurableContext, what: str) -> str:
    return context.step(lambda _: what)


@durable_wait_for_callback
def ask(_callback_id: str, _context: Any, _whom: str) -> None:
    """Ask."""


@durable_parallel_branch()
def fetch(_context: DurableContext, key: str) -> str:
    return key


@durable_parallel_branch(name="named")
def fetch_named(_context: DurableContext, key: str) -> str:
    return key


def plain(*_: Any) -> int:
    return 1


@pytest.mark.parametrize(
    ("operate", "names"),
    [
        (lambda c: c.step(charge(3, currency="EUR")), ["charge"]),
        (lambda c: c.step(charge(3, currency="EUR"), "mine"), ["mine"]),
        (lambda c: c.run_in_child_context(book("x")), ["book", None]),
        (lambda c: c.wait_for_callback(ask("you")), ["ask", "ask create callback id", "ask submitter"]),
        (lambda c: c.wait_for_callback(lambda *_: None), [None, "create callback id", "submitter"]),
        (lambda c: c.parallel([fetch("a"), fetch_named("b")], max_concurrency=1), [None, "parallel-branch-0", "named"]),
        (lambda c: c.step(plain), [None]),
        (lambda c: c.run_in_child_context(plain), [None]),
        (lambda c: c.map([1], plain), [None, "map-item-0"]),
        (lambda c: c.map([7], plain, item_namer=lambda item, n: f"{item}/{n}"), [None, "7/0"]),
        (lambda c: c.parallel([plain]), [None, "parallel-branch-0"]),
    ],
)
def test_names_are_given_or_remembered_and_never_guessed(operate: Operate, names: list[str | None]) -> None:
    _, client = invoke(lambda c: operate(c) and None)
    assert list(dict.fromkeys(each.get("Name") for each in client.updates)) == names


def test_a_decorated_function_gets_its_arguments() -> None:
    got, _ = invoke(lambda c: [c.step(charge(3, currency="EUR")), c.run_in_child_context(book("trip"))])
    assert got == succeeded('["3 EUR", "trip"]')


# ---- replaying, and logs


class Lines(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def lines() -> Any:
    handler = Lines()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def extras(record: logging.LogRecord) -> dict[str, Any]:
    names = ("executionArn", "parentId", "operationName", "attempt", "operationId", "mine")
    return {name: record.__dict__[name] for name in names if name in record.__dict__}


def test_lines_say_where_they_were_written(lines: Lines) -> None:
    def handler(c: DurableContext) -> None:
        c.logger.info("root %s", 1, extra={"mine": 2})
        c.step(lambda s: s.logger.info("step"), "charge")

        def child(k: DurableContext) -> None:
            k.logger.info("child")
            k.step(lambda s: s.logger.info("inner"), "inner")

        c.run_in_child_context(child)

    invoke(handler)
    assert lines.texts == ["root 1", "step", "child", "inner"]
    assert [extras(record) for record in lines.records] == [
        {"executionArn": ARN, "mine": 2},
        {"executionArn": ARN, "operationName": "charge", "attempt": 1, "operationId": op_id(1)},
        {"executionArn": ARN, "parentId": op_id(2)},
        {
            "executionArn": ARN,
            "parentId": op_id(2),
            "operationName": "inner",
            "attempt": 1,
            "operationId": op_id(2, 1),
        },
    ]
    assert {record.filename for record in lines.records} == {"test_context.py"}


def test_each_line_is_logged_once_in_the_life_of_an_execution(lines: Lines) -> None:
    @durable_execution
    def handler(_event: Any, c: DurableContext) -> None:
        c.logger.info("begin")
        c.step(lambda s: s.logger.info("step"))
        c.logger.info("before the wait")
        c.wait(5)
        c.logger.info("after the wait")

        def child(k: DurableContext) -> None:
            k.logger.info("child")
            k.wait(5)
            k.logger.info("child, later")

        c.run_in_child_context(child)
        c.logger.info("end")

    LocalService().register("f", handler).run("f")
    assert lines.texts == ["begin", "step", "before the wait", "after the wait", "child", "child, later", "end"]


def test_a_context_knows_whether_it_replays() -> None:
    seen: list[bool] = []

    def handler(c: DurableContext) -> None:
        seen.append(c.is_replaying())
        c.step(lambda _: seen.append(c.is_replaying()))
        seen.append(c.is_replaying())
        c.step(lambda _: seen.append(c.is_replaying()))
        seen.append(c.is_replaying())

    invoke(handler, op("STEP", "SUCCEEDED", details={"Result": "null"}))
    assert seen == [True, False, False, False]


def test_lines_may_go_elsewhere() -> None:
    got: list[tuple[str, dict[str, Any]]] = []

    class Mine:
        """A logger that is no `logging.Logger`."""

        def info(self, msg: object, *_args: object, extra: Any = None, **more: Any) -> None:
            assert not more
            got.append((str(msg), dict(extra)))

        debug = warning = error = exception = info

    def handler(c: DurableContext) -> None:
        c.set_logger(Mine())  # type: ignore[arg-type]
        c.logger.info("root")
        c.step(lambda s: s.logger.warning("step"), "s")
        c.run_in_child_context(lambda k: k.logger.error("child"))
        c.map([1], lambda k, *_: k.logger.debug("item"))

    invoke(handler)
    assert [text for text, _ in got] == ["root", "step", "child", "item"]
    assert got[1][1]["operationName"] == "s"


# ---- code that has changed


def test_operations_that_nobody_came_to_are_named_in_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    history = [
        op("STEP", "SUCCEEDED", 1, Name="kept", details={"Result": "1"}),
        op("STEP", "SUCCEEDED", 2, Name="dropped", details={"Result": "1"}),
        op("WAIT", "SUCCEEDED", 3, details={}),
    ]
    got, _ = invoke(lambda c: c.step(fail, "kept"), *history)
    assert got == succeeded("1")
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "2 recorded operation(s)" in record.getMessage()
    assert 'Step "dropped"' in record.getMessage()
    assert "Wait" in record.getMessage()


def test_what_an_orphaned_branch_did_not_come_to_is_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    history = [
        op("CONTEXT", "STARTED", SubType="Parallel"),
        *(
            operation
            for n in range(2)
            for operation in (
                op("CONTEXT", "STARTED", 1, n, SubType="ParallelBranch", Name=f"parallel-branch-{n}"),
                op("WAIT", "STARTED", 1, n, 1, details={"ScheduledEndTimestamp": 4_000_000_000_000}),
                op("STEP", "SUCCEEDED", 1, n, 2, details={"Result": "1"}),
            )
        ),
    ]
    quick: Callable[[DurableContext], Any] = lambda _: 1  # noqa: E731
    history = [operation for operation in history if operation.get("ParentId") != op_id(1, 1)]
    got, _ = invoke(
        lambda c: (
            c.parallel(
                [lambda k: (k.wait(5), k.step(plain)), quick],
                completion_config=CompletionConfig(min_successful=1),
                max_concurrency=2,
            ).success_count
        ),
        *history,
    )
    assert got == succeeded("1")
    assert "recorded operation" not in caplog.text


def test_many_operations_that_nobody_came_to_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    invoke(lambda _: None, *(op("STEP", "SUCCEEDED", n, Name=f"s{n}", details={}) for n in range(1, 15)))
    assert "14 recorded operation(s)" in caplog.text
    assert "and 4 more" in caplog.text


def test_a_suspended_execution_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    history = [op("WAIT", "STARTED", 1, details={}), op("STEP", "SUCCEEDED", 2, details={})]
    got, _ = invoke(lambda c: c.wait(5), *history)
    assert got == PENDING
    assert "recorded operation" not in caplog.text


DIFFERENT: dict[str, tuple[Operate, dict[str, Any], tuple[str, ...]]] = {
    "type": (lambda c: c.step(fail, "a"), op("WAIT", "STARTED", Name="a"), ("WAIT of subtype Wait", "STEP of subtype")),
    "subtype": (
        lambda c: c.step(fail, "a", sub_type="B"),
        op("STEP", "STARTED", Name="a"),
        ("subtype Step", "subtype B"),
    ),
    "name": (lambda c: c.step(fail, "new"), op("STEP", "STARTED", Name="old"), ('"old"', '"new"')),
    "name gone": (lambda c: c.step(fail), op("STEP", "STARTED", Name="old"), ('"old"', "without a name")),
    "parent": (
        lambda c: c.step(fail, "a"),
        op("STEP", "STARTED", Name="a", ParentId=op_id(9)),
        ("inside context " + op_id(9), "at the root"),
    ),
    "virtual": (
        lambda c: c.run_in_child_context(fail, is_virtual=True),
        op("CONTEXT", "STARTED", Name="real"),
        ('"real"', "a virtual context"),
    ),
    "parallel instead of map": (
        lambda c: c.parallel([]),
        op("CONTEXT", "STARTED", SubType="Map"),
        ("subtype Map", "subtype Parallel"),
    ),
}


@pytest.mark.parametrize("difference", DIFFERENT)
def test_a_difference_names_both_sides_and_the_users_line(difference: str) -> None:
    operate, recorded, words = DIFFERENT[difference]

    def handler(context: DurableContext) -> None:
        operate(context)

    got, client = invoke(handler, recorded)
    assert got["Status"] == "FAILED"
    message = got["Error"]["ErrorMessage"]
    for word in words:
        assert word in message
    assert f"{__file__}:{operate.__code__.co_firstlineno}" in message
    assert client.calls == []


def test_the_place_of_a_difference_is_counted_in_its_context() -> None:
    def handler(c: DurableContext) -> None:
        c.run_in_child_context(lambda k: [k.step(plain), k.step(plain, "second")])

    history = [
        op("CONTEXT", "STARTED", 1),
        op("STEP", "SUCCEEDED", 1, 1, details={"Result": "1"}),
        op("STEP", "SUCCEEDED", 1, 2, Name="other", details={"Result": "1"}),
    ]
    got, _ = invoke(handler, *history)
    assert got["Error"]["ErrorMessage"].startswith("operation 2 of its context is STEP")


def test_the_handler_gets_its_event_and_may_be_run_undecorated() -> None:
    seen: list[Any] = []

    def handler(given: Any, context: DurableContext) -> Any:
        seen.append(given)
        return context.step(lambda _: given["a"])

    assert run_durable_handler(
        event(payload='{"a": 1}'), LambdaContext(), handler, boto3_client=Recorder()
    ) == succeeded("1")
    assert seen == [{"a": 1}]
