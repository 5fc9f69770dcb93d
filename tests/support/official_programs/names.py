"""Every way in which programs import and use names of the official SDK."""

import importlib
import json
import pickle
import sys
import typing
import warnings
from unittest import mock

import aws_durable_execution_sdk_python
import aws_durable_execution_sdk_python as sdk
import aws_durable_execution_sdk_python.config
import aws_durable_execution_sdk_python.lambda_service as service
import aws_durable_execution_sdk_python_testing as testing
import aws_durable_execution_sdk_python_testing.runner
from aws_durable_execution_sdk_python import config
from aws_durable_execution_sdk_python import context as contexts
from aws_durable_execution_sdk_python.concurrency.models import BatchItem, BatchItemStatus, BatchResult
from aws_durable_execution_sdk_python.config import *  # noqa: F403 - programs do
from aws_durable_execution_sdk_python.exceptions import DurableExecutionsError, ExecutionError, StepError
from aws_durable_execution_sdk_python.lambda_service import ErrorObject, OperationStatus, OperationType
from aws_durable_execution_sdk_python.serdes import ExtendedTypeSerDes, SerDes, SerDesContext
from aws_durable_execution_sdk_python.types import DurableContext, StepContext
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner
from aws_durable_execution_sdk_python_testing.model import OperationType as TestedType

warnings.simplefilter("ignore", DeprecationWarning)
SDK = "aws_durable_execution_sdk_python"


class Complex(SerDes[complex]):
    """A serdes of a program's own."""

    def serialize(self, value: complex, _: SerDesContext) -> str:
        return json.dumps([value.real, value.imag])

    def deserialize(self, data: str, _: SerDesContext) -> complex:
        return complex(*json.loads(data))


class Mine(ValueError):
    """An error of a program's own."""


def annotated(context: DurableContext, step: StepContext, kind: OperationType) -> None:
    """Have hints that tools read."""


@sdk.durable_execution
def handler(event: typing.Any, context: sdk.DurableContext) -> typing.Any:
    number = context.step(lambda _: 1 + 2j, name="complex", config=config.StepConfig(serdes=Complex()))
    with mock.patch(f"{SDK}_testing.runner.patched", new=5, create=True):
        patched = aws_durable_execution_sdk_python_testing.runner.patched
    try:
        context.step(fails, name="fails", config=StepConfig(retry_strategy=never))
    except StepError as error:
        failure = [type(error) is sdk.StepError, isinstance(error, DurableExecutionsError), error.error_type]
    return {"number": [number.real, number.imag], "patched": patched, "failure": failure, "event": event}


def fails(_: StepContext) -> None:
    raise Mine("of my own")


def never(_error: Exception, _attempt: int) -> typing.Any:
    return importlib.import_module(f"{SDK}.retries").RetryDecision.no_retry()


with testing.DurableFunctionTestRunner(handler=handler) as runner:
    result = runner.run(input='"x"')

item = BatchItem(0, BatchItemStatus.SUCCEEDED, "a")
batch = BatchResult.from_items([item])
report = {
    "run": [result.status.value, json.loads(result.result or "null")],
    "modules": [
        sys.modules[f"{SDK}.config"] is config is aws_durable_execution_sdk_python.config,
        importlib.import_module(f"{SDK}.config") is config,
        getattr(sdk, "config") is config,
        sdk.retries.RetryDecision is importlib.import_module(f"{SDK}.retries").RetryDecision,
        testing.model.OperationType is TestedType,
        contexts.Duration is config.Duration is Duration,
        DurableFunctionTestRunner is aws_durable_execution_sdk_python_testing.runner.DurableFunctionTestRunner,
    ],
    "enums": [OperationType.STEP is service.OperationType.STEP is TestedType.STEP, OperationStatus("SUCCEEDED").name],
    "batch": [batch.get_results(), pickle.loads(pickle.dumps(item)) == item],
    "serdes": ExtendedTypeSerDes().serialize((1, "a"), SerDesContext()),
    "hints": sorted(typing.get_type_hints(annotated)),
    "error": ErrorObject.from_exception(StepError("x", error_type=f"{SDK}.exceptions.StepError")).type,
    "own": [issubclass(ExecutionError, DurableExecutionsError), Mine("x").args],
}
print(json.dumps(report, sort_keys=True))
