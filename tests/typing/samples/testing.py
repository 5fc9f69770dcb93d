"""What a type checker makes of tests: the result has the type that the handler's annotation gives."""

from typing import Any, assert_type

from perdure import DurableContext, durable_execution
from perdure.testing import Durable, DurableFunctionTestRunner, explore
from perdure.testing.result import DurableFunctionTestResult


@durable_execution
def handler(event: dict[str, int], context: DurableContext) -> list[int]:
    return [context.step(lambda _: event["a"])]


def elsewhere(_event: Any, _context: Any) -> dict[str, Any]:
    return {"Status": "SUCCEEDED", "Result": "1"}


with DurableFunctionTestRunner(handler, skip_time=True) as runner:
    runner.register_function("double", lambda event, _context: event * 2)
    result = runner.run(event={"a": 1})
    assert_type(result, DurableFunctionTestResult[list[int]])
    assert_type(result.value, list[int])
    assert_type(runner.wait_for_result(runner.run_async(event={"a": 1})).value, list[int])
    result.value.upper()  # E

assert_type(DurableFunctionTestRunner(elsewhere).run().value, Any)
explore(handler, {"a": 1}).assert_ok()


def test_with_the_fixture(durable: Durable) -> None:
    assert_type(durable(handler).run(event={"a": 1}).value, list[int])
    assert_type(durable.run(event={"a": 1}).value, Any)
    durable(3)  # E
