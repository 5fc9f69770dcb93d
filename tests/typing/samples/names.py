"""Names that programs import from the modules where they are used."""

from typing import assert_type

from perdure import DurableContext
from perdure.context import CallbackConfig, Duration, OperationType, SerDes, StepConfig, WaitForCallbackContext
from perdure.execution import DurableExecutionInvocationOutput, ErrorObject, InvocationStatus, LambdaClient, Operation
from perdure.identifier import Operation as SameOperation
from perdure.identifier import OperationType as SameOperationType
from perdure.retries import Duration as SameDuration
from perdure.serdes import BatchResult, DurableExecutionsError
from perdure.state import ExecutionState
from perdure.testing import WebRunner, WebRunnerConfig
from perdure.testing.model import LambdaContext, OperationStatus
from perdure.testing.model import OperationType as TestedType
from perdure.testing.runner import SQLiteExecutionStore, create_test_lambda_context
from perdure.testing.stores.base import StoreType
from perdure.testing.web.server import WebServiceConfig


def submit(callback_id: str, context: WaitForCallbackContext) -> None:
    context.logger.info(callback_id)


def handler(event: dict[str, str], context: DurableContext) -> str:
    assert_type(context.state, ExecutionState)
    for operation in context.state.operations.values():
        assert_type(operation, Operation)
        assert_type(operation.operation_type, OperationType)
    answer: str = context.wait_for_callback(submit, config=None)
    return answer + event["x"]


def configured() -> WebRunner:
    config = WebRunnerConfig(WebServiceConfig(port=0), store_type=StoreType.SQLITE, max_invocation_page_bytes="x")  # E
    return WebRunner(config)


same: type[SameOperation] = Operation
kind: TestedType = SameOperationType.STEP
length: SameDuration = Duration.from_seconds(1)
status: OperationStatus | InvocationStatus = InvocationStatus.PENDING
made = (
    CallbackConfig(),
    StepConfig(),
    ErrorObject,
    DurableExecutionInvocationOutput,
    LambdaClient,
    SerDes,
    BatchResult,
)
assert_type(create_test_lambda_context(), LambdaContext)
store: SQLiteExecutionStore = SQLiteExecutionStore.create_and_initialize("x")
error: type[Exception] = DurableExecutionsError
