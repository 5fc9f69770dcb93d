"""A test suite, as one writes it with the official testing package; pytest runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_durable_execution_sdk_python.config import Duration
from aws_durable_execution_sdk_python.context import DurableContext
from aws_durable_execution_sdk_python.execution import InvocationStatus, durable_execution
from aws_durable_execution_sdk_python.lambda_service import ErrorObject, OperationStatus
from aws_durable_execution_sdk_python_testing.exceptions import DurableFunctionsTestError
from aws_durable_execution_sdk_python_testing.model import OperationType
from aws_durable_execution_sdk_python_testing.runner import DurableFunctionTestResult, DurableFunctionTestRunner


@durable_execution
def greet(event: Any, context: DurableContext) -> str:
    name: str = context.step(lambda _: event["name"].title(), name="name")
    context.wait(Duration.from_seconds(1), name="pause")
    return f"hello {name}"


@durable_execution
def ask(_event: Any, context: DurableContext) -> Any:
    return context.create_callback(name="answer").result()


@pytest.fixture
def runner() -> Any:
    with DurableFunctionTestRunner(handler=greet) as made:
        yield made


def test_it_greets(runner: DurableFunctionTestRunner) -> None:
    result: DurableFunctionTestResult = runner.run(input=json.dumps({"name": "ada"}))
    assert result.status is InvocationStatus.SUCCEEDED
    assert result.result == '"hello Ada"'
    assert result.get_step("name").result == '"Ada"'
    assert [operation.operation_type for operation in result.operations] == [OperationType.STEP, OperationType.WAIT]
    assert result.get_wait("pause").status is OperationStatus.SUCCEEDED
    with pytest.raises(DurableFunctionsTestError):
        result.get_step("nothing")


def test_a_refusal() -> None:
    with DurableFunctionTestRunner(handler=ask) as runner:
        arn = runner.run_async()
        runner.send_callback_failure(runner.wait_for_callback(arn), ErrorObject("no", "Refused", None, None))
        result = runner.wait_for_result(arn)
    assert result.status is InvocationStatus.FAILED
    assert result.error is not None
    assert result.error.message == "no"
