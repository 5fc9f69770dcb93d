"""The status of an execution."""

from __future__ import annotations

from enum import Enum

from perdure.lambda_service import (
    ChainedInvokeDetails,
    DurableExecutionInvocationOutput,
    ErrorObject,
    ExecutionDetails,
    InvocationStatus,
    Operation,
    OperationStatus,
    OperationType,
    OperationUpdate,
)
from perdure.testing.exceptions import IllegalStateException, InvalidParameterValueException
from perdure.testing.model import InvocationCompletedDetails, StartDurableExecutionInput, executed_version

__all__ = [
    "ChainedInvokeDetails",
    "DurableExecutionInvocationOutput",
    "ErrorObject",
    "ExecutionDetails",
    "ExecutionStatus",
    "IllegalStateException",
    "InvalidParameterValueException",
    "InvocationCompletedDetails",
    "InvocationStatus",
    "Operation",
    "OperationStatus",
    "OperationType",
    "OperationUpdate",
    "StartDurableExecutionInput",
    "executed_version",
]


class ExecutionStatus(Enum):
    """Where an execution stands."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    TIMED_OUT = "TIMED_OUT"
