"""What a type checker makes of tests: the result has the type that the handler's annotation gives."""

from datetime import timedelta
from typing import Any, assert_type

from perdure import DurableContext, durable_execution
from perdure.config import Duration
from perdure.lambda_service import ErrorObject
from perdure.local import LocalService
from perdure.testing import Durable, DurableFunctionCloudTestRunner, DurableFunctionTestRunner, explore
from perdure.testing.model import InvocationCompletedDetails
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
    if result.invocations is not None:
        count: int = result.invocations
        assert_type(result.invocations[0], InvocationCompletedDetails)
        assert_type([each.request_id for each in result.invocations[1:]], list[str])
        result.invocations.append(1)  # E

assert_type(DurableFunctionTestRunner(elsewhere).run().value, Any)
explore(handler, {"a": 1}).assert_ok()


def of_any_type(runner: DurableFunctionTestRunner) -> DurableFunctionTestResult:
    """Name no type, as tests that were written for the official package do."""
    result: DurableFunctionTestResult = runner.run()
    assert_type(result.value, Any)
    return result


def lengths(runner: DurableFunctionTestRunner[Any], cloud: DurableFunctionCloudTestRunner, arn: str) -> None:
    """Give lengths of time in all ways there are."""
    DurableFunctionTestRunner(handler, 1, None, timedelta(days=1), Duration(60), patience=timedelta(seconds=1))
    runner.advance(30)
    runner.advance(Duration.from_seconds(30))
    runner.advance(timedelta(seconds=30))
    runner.run(timeout=timedelta(minutes=1), execution_timeout=Duration.from_hours(1))
    runner.run_async(timeout=timedelta(minutes=1), execution_timeout=3600.5)
    runner.wait_for_result(arn, timedelta(minutes=1))
    runner.wait_for_callback(arn, timeout=Duration(60))
    runner.pause_execution(arn, timedelta(minutes=1))
    runner.register_durable_function("child", handler, timedelta(hours=1))
    cloud.wait_for_result(arn, timeout=timedelta(minutes=1))
    LocalService().register("f", handler, execution_timeout=timedelta(hours=1)).start(
        "f", execution_timeout=Duration(5)
    )
    runner.advance("30")  # E
    runner.run(timeout="30")  # E
    cloud.run(timeout="30")  # E


def errors(runner: DurableFunctionTestRunner[Any], cloud: DurableFunctionCloudTestRunner, callback_id: str) -> None:
    """Give errors in all ways there are."""
    runner.send_callback_failure(callback_id, "no")
    runner.send_callback_failure(callback_id, ValueError("no"))
    runner.send_callback_failure(callback_id, ErrorObject.from_message("no"))
    cloud.send_callback_failure(callback_id, {"ErrorMessage": "no"})
    runner.stop_execution(callback_id, ValueError)
    runner.answer_callback("ask", error="no")
    runner.mock_invoke("child", raises="no")
    runner.mock_invoke("child", raises=5)  # E
    runner.send_callback_failure(callback_id, 5)  # E
    assert_type(runner.run().failure, BaseException | None)


def test_with_the_fixture(durable: Durable) -> None:
    assert_type(durable(handler).run(event={"a": 1}).value, list[int])
    assert_type(durable.run(event={"a": 1}).value, Any)
    durable(3)  # E
