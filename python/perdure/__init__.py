"""perdure: AWS Lambda durable functions with a Rust replay engine.

    from perdure import DurableContext, StepContext, durable_execution, durable_step

    @durable_step
    def charge(step: StepContext, amount: int) -> str: ...

    @durable_execution
    def handler(event: dict, context: DurableContext) -> str:
        return context.step(charge(event["amount"]))

The names are those of the official SDK; names that a first invocation does not need are loaded when they are used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from perdure._core import __version__
from perdure._handed import StepContext
from perdure.context import (
    DurableContext,
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
    durable_with_child_context,
)
from perdure.exceptions import (
    CallbackError,
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    ChildContextError,
    DurableExecutionsError,
    DurableOperationError,
    ErrorMappingError,
    ExecutionError,
    InvocationError,
    InvokeError,
    PluginLoadError,
    RetryableSerDesError,
    SerDesError,
    StepError,
    ValidationError,
    WaitForConditionError,
)
from perdure.execution import durable_execution, run_durable_handler

if TYPE_CHECKING:
    from perdure.aio import AsyncDurableContext
    from perdure.batching import ItemBatcher
    from perdure.combinators import AllFailedError, CombinatorTimeoutError
    from perdure.concurrency.models import BatchCompletionError, BatchResult
    from perdure.config import (
        BatchItemStatus,
        Checkpointing,
        CompletionDecision,
        CompletionItemStatus,
        CompletionOutcome,
        CompletionStatus,
        ParallelBranch,
        complete_batch,
        continue_batch,
    )
    from perdure.retries import WithRetryConfig, with_retry
    from perdure.sagas import CompensationError, Saga

_MODULES = frozenset(
    {
        "concurrency",
        "config",
        "constants",
        "context",
        "exceptions",
        "execution",
        "identifier",
        "lambda_service",
        "logger",
        "retries",
        "serdes",
        "state",
        "types",
        "waits",
    }
)

_LAZY = {
    "AllFailedError": "combinators",
    "AsyncDurableContext": "aio",
    "BatchCompletionError": "concurrency.models",
    "BatchItemStatus": "config",
    "BatchResult": "concurrency.models",
    "Checkpointing": "_checkpointing",
    "CombinatorTimeoutError": "combinators",
    "CompensationError": "sagas",
    "CompletionDecision": "config",
    "CompletionItemStatus": "config",
    "CompletionOutcome": "config",
    "CompletionStatus": "config",
    "ItemBatcher": "batching",
    "ParallelBranch": "config",
    "Saga": "sagas",
    "WithRetryConfig": "retries",
    "complete_batch": "config",
    "continue_batch": "config",
    "with_retry": "retries",
}

__all__ = [
    "AllFailedError",
    "AsyncDurableContext",
    "BatchCompletionError",
    "BatchItemStatus",
    "BatchResult",
    "CallbackError",
    "CallbackExternalError",
    "CallbackSubmitterError",
    "CallbackTimeoutError",
    "Checkpointing",
    "ChildContextError",
    "CombinatorTimeoutError",
    "CompensationError",
    "CompletionDecision",
    "CompletionItemStatus",
    "CompletionOutcome",
    "CompletionStatus",
    "DurableContext",
    "DurableExecutionsError",
    "DurableOperationError",
    "ErrorMappingError",
    "ExecutionError",
    "InvocationError",
    "InvokeError",
    "ItemBatcher",
    "ParallelBranch",
    "PluginLoadError",
    "RetryableSerDesError",
    "Saga",
    "SerDesError",
    "StepContext",
    "StepError",
    "ValidationError",
    "WaitForConditionError",
    "WithRetryConfig",
    "__version__",
    "complete_batch",
    "continue_batch",
    "durable_execution",
    "durable_parallel_branch",
    "durable_step",
    "durable_wait_for_callback",
    "durable_with_child_context",
    "run_durable_handler",
    "with_retry",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415  only for names that load lazily

    if name in _MODULES:  # importing the official SDK imports them all, and programs go by it
        return import_module(f"perdure.{name}")
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"perdure.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if os.environ.get("PERDURE_COMPAT", "0").lower() not in ("", "0", "false", "no", "off"):
    import perdure.compat  # noqa: F401 - whose import is what it does
