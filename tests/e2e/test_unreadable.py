"""A recorded result that cannot be read is a `SerDesError` that names the operation, whatever operation it is."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, SerDesError
from perdure.config import NestingType
from perdure.serdes import ExtendedTypeSerDes, JsonSerDes
from perdure.waits import WaitForConditionDecision
from support.invocations import invoke, op, op_id, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[DurableContext], Any]

OFFICIAL = "aws_durable_execution_sdk_python.exceptions.SerDesError"

BAD = {
    "broken JSON": ("{broken", "JSONDecodeError"),
    "no text at all": ("", "JSONDecodeError"),
    "unknown tag": ('{"t":"zz","v":1}', "unknown type tag"),
    "no envelope": ('{"a":1}', "neither plain JSON nor an envelope"),
    "bad Decimal": ('{"t":"d","v":"abc"}', "InvalidOperation"),
    "bad UUID": ('{"t":"u","v":"abc"}', "ValueError"),
    "bad date": ('{"t":"dt","v":"soon"}', "ValueError"),
    "bad base64": ('{"t":"B","v":"a"}', "Error"),
    "bad int": ('{"t":"i","v":"x"}', "ValueError"),
    "bad type": ('{"t":"i","v":[]}', "TypeError"),
    "batch without items": ('{"t":"br","v":{}}', "KeyError"),
    "batch of odd items": ('{"t":"br","v":{"all":{"t":"l","v":[1]}}}', "Error"),
    "many digits": ("1" * 5_000, "ValueError"),
    "deep": ("[" * 100_000 + "]" * 100_000, "nests too deep|RecursionError"),
}
BAD_JSON = ("broken JSON", "no text at all", "many digits", "deep")


def once(_state: Any, _attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


def never(*_: Any) -> Any:
    raise AssertionError("what is recorded ran again")


ENVELOPE = json.dumps(
    {
        "type": "MapResult",
        "totalCount": 1,
        "completionReason": "ALL_COMPLETED",
        "startedIndexes": [],
        "startedCount": 0,
        "successCount": 1,
        "failureCount": 0,
        "status": "SUCCEEDED",
    }
)


def ended(kind: str, result: str, *path: int, **members: Any) -> dict[str, Any]:
    replay = members.pop("replay", None)
    return op(kind, "SUCCEEDED", *path, details={"Result": result, "ReplayChildren": replay}, **members)


def callback(result: str, *path: int) -> dict[str, Any]:
    return op("CALLBACK", "SUCCEEDED", *path, details={"CallbackId": "cb", "Result": result})


OPERATIONS: dict[str, tuple[Handler, Callable[..., dict[str, Any]]]] = {
    "step": (lambda c: c.step(never), lambda bad, *path: ended("STEP", bad, *path)),
    "step with a serdes": (
        lambda c: c.step(never, serdes=ExtendedTypeSerDes()),
        lambda bad, *path: ended("STEP", bad, *path),
    ),
    "child": (lambda c: c.run_in_child_context(never), lambda bad, *path: ended("CONTEXT", bad, *path)),
    "child with a serdes": (
        lambda c: c.run_in_child_context(never, serdes=ExtendedTypeSerDes()),
        lambda bad, *path: ended("CONTEXT", bad, *path),
    ),
    "condition": (
        lambda c: c.wait_for_condition(never, wait_strategy=once, initial_state=0),
        lambda bad, *path: ended("STEP", bad, *path, SubType="WaitForCondition"),
    ),
    "map": (lambda c: c.map([1], never), lambda bad, *path: ended("CONTEXT", bad, *path, SubType="Map")),
    "parallel": (
        lambda c: c.parallel([never]),
        lambda bad, *path: ended("CONTEXT", bad, *path, SubType="Parallel"),
    ),
    "wait_for_callback": (
        lambda c: c.wait_for_callback(never),
        lambda bad, *path: ended("CONTEXT", bad, *path, SubType="WaitForCallback"),
    ),
    "callback with a serdes": (lambda c: c.create_callback(serdes=ExtendedTypeSerDes()).result(), callback),
    "invoke": (lambda c: c.invoke("f:1", None), lambda bad, *path: ended("CHAINED_INVOKE", bad, *path)),
    "invoke with a serdes": (
        lambda c: c.invoke("f:1", None, serdes_result=JsonSerDes()),
        lambda bad, *path: ended("CHAINED_INVOKE", bad, *path),
    ),
}

CASES = [
    (operation, bad) for operation in OPERATIONS for bad in BAD if not operation.startswith("invoke") or bad in BAD_JSON
]


@pytest.mark.parametrize(("operation", "bad"), CASES)
def test_it_is_a_serdes_error_that_names_the_operation(operation: str, bad: str) -> None:
    call, recorded = OPERATIONS[operation]
    caught: list[SerDesError] = []

    def handler(context: DurableContext) -> None:
        try:
            call(context)
        except (ValueError, ArithmeticError, LookupError, TypeError):
            raise AssertionError("the codec's own error came out") from None
        except SerDesError as error:
            caught.append(error)

    got, client = invoke(handler, recorded(BAD[bad][0]))
    assert got == succeeded("null")
    assert client.calls == []
    assert caught[0].error_type == OFFICIAL
    assert f"operation {op_id(1)}: " in str(caught[0])
    assert re.search(BAD[bad][1], str(caught[0]))
    assert caught[0].__cause__ is not None


@pytest.mark.parametrize("operation", OPERATIONS)
def test_uncaught_it_fails_the_execution_as_one(operation: str) -> None:
    call, recorded = OPERATIONS[operation]
    got, client = invoke(call, recorded("{broken"))
    assert (got["Status"], got["Error"]["ErrorType"]) == ("FAILED", OFFICIAL)
    assert client.calls == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_inside_a_child_it_is_recorded_as_the_childs_failure(operation: str) -> None:
    call, recorded = OPERATIONS[operation]
    got, client = invoke(lambda c: c.run_in_child_context(call), op("CONTEXT", "STARTED"), recorded("{broken", 1, 1))
    assert (got["Status"], got["Error"]["ErrorType"]) == ("FAILED", OFFICIAL)
    (failed,) = client.updates
    assert (failed["Action"], failed["Error"]["ErrorType"]) == ("FAIL", OFFICIAL)


@pytest.mark.parametrize("nesting", NestingType)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_inside_a_branch_it_is_recorded_as_the_items_failure(operation: str, nesting: NestingType) -> None:
    call, recorded = OPERATIONS[operation]
    inside = recorded("{broken", 1, 0, 1)
    branch = op("CONTEXT", "STARTED", 1, 0, SubType="MapIteration", Name="map-item-0")
    if nesting is NestingType.FLAT:
        inside["ParentId"] = op_id(1)
    branches = [] if nesting is NestingType.FLAT else [branch]
    got, _ = invoke(
        lambda c: c.map([1], lambda inner, *_: call(inner), nesting_type=nesting).to_dict()["all"][0]["error"],
        op("CONTEXT", "STARTED", SubType="Map"),
        *branches,
        inside,
    )
    assert got["Status"] == "SUCCEEDED"
    assert json.loads(got["Result"])["ErrorType"] == OFFICIAL


def test_an_item_itself_fails_as_one() -> None:
    item = ended("CONTEXT", "{broken", 1, 0, SubType="MapIteration", Name="map-item-0")
    got, _ = invoke(lambda c: c.map([1], never).to_dict(), op("CONTEXT", "STARTED", SubType="Map"), item)
    (failed,) = json.loads(got["Result"])["all"]
    assert (failed["status"], failed["error"]["ErrorType"]) == ("FAILED", OFFICIAL)
    assert "operation map-item-0: " in failed["error"]["ErrorMessage"]


def test_the_state_of_a_condition_fails_it_as_one() -> None:
    recorded = op("STEP", "READY", SubType="WaitForCondition", details={"Result": "{broken", "Attempt": 1})
    got, client = invoke(lambda c: c.wait_for_condition(never, wait_strategy=once, initial_state=0), recorded)
    assert (got["Status"], got["Error"]["ErrorType"]) == ("FAILED", OFFICIAL)
    assert client.summary == [["STEP START", "STEP FAIL"]]


# ---- what is rebuilt from its children


def rebuilt(**members: Any) -> dict[str, Any]:
    return ended("CONTEXT", members.pop("summary", ""), replay=True, **members)


def test_a_child_that_is_rebuilt_raises_it_and_writes_nothing() -> None:
    got, client = invoke(
        lambda c: c.run_in_child_context(lambda inner: inner.step(never)), rebuilt(), ended("STEP", "{broken", 1, 1)
    )
    assert (got["Status"], got["Error"]["ErrorType"]) == ("FAILED", OFFICIAL)
    assert client.calls == []


@pytest.mark.parametrize("nesting", NestingType)
def test_a_batch_that_is_rebuilt_never_turns_an_item_that_succeeded_into_one_that_failed(nesting: NestingType) -> None:
    item = ended("CONTEXT", "{broken", 1, 0, SubType="MapIteration", Name="map-item-0")
    inside = ended("STEP", "{broken", 1, 0, 1) | {"ParentId": op_id(1)}
    got, client = invoke(
        lambda c: c.map([1], lambda inner, *_: inner.step(never), nesting_type=nesting).to_dict(),
        rebuilt(SubType="Map", summary=ENVELOPE),
        inside if nesting is NestingType.FLAT else item,
    )
    assert (got["Status"], got["Error"]["ErrorType"]) == ("FAILED", OFFICIAL)
    assert client.calls == []


def test_a_batch_that_is_rebuilt_keeps_the_items_that_had_failed_so() -> None:
    failed = {"ErrorMessage": "unreadable", "ErrorType": OFFICIAL}
    item = op("CONTEXT", "FAILED", 1, 0, SubType="MapIteration", Name="map-item-0", details={"Error": failed})
    summary = ENVELOPE.replace('"failureCount": 0', '"failureCount": 1')
    got, _ = invoke(lambda c: c.map([1], never).to_dict()["all"], rebuilt(SubType="Map", summary=summary), item)
    assert json.loads(got["Result"]) == [{"index": 0, "status": "FAILED", "result": None, "error": failed}]


def test_it_is_logged_once_with_the_codecs_own_error(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        invoke(lambda c: c.step(never, "pay"), ended("STEP", "{broken", Name="pay"))
    (line,) = caplog.records
    assert "operation pay" in line.getMessage()
    assert line.exc_info is not None
    assert line.exc_info[0] is json.JSONDecodeError
