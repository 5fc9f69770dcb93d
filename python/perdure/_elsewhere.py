"""Names that programs import from a module where they are used, not made: each loads when somebody asks for it.

The official SDK's modules show what they import from each other, and programs take it from there. Here a first
invocation must not pay for what it does not need, so the modules of its path know these names by this table alone.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

_HOMES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "perdure.context": {
        "perdure.concurrency.models": ("envelope_summary_generator",),
        "perdure.config": (
            "CallbackConfig",
            "ChildConfig",
            "Duration",
            "InvokeConfig",
            "MapConfig",
            "ParallelBranch",
            "ParallelConfig",
            "StepConfig",
            "WaitForCallbackConfig",
        ),
        "perdure.identifier": ("OperationIdNamespace", "OperationIdentifier"),
        "perdure.lambda_service": ("OperationSubType", "OperationType"),
        "perdure.logger": ("LogInfo", "Logger"),
        "perdure.serdes": ("PASS_THROUGH_SERDES", "PassThroughSerDes", "SerDes", "deserialize"),
        "perdure.state": ("ExecutionState",),
        "perdure.types": ("CallbackProtocol", "DurableContextProtocol", "LoggerInterface"),
    },
    "perdure.execution": {
        "perdure._invocation_input": (
            "DurableExecutionInvocationInput",
            "DurableExecutionInvocationInputWithClient",
            "InitialExecutionState",
        ),
        "perdure.lambda_service": (
            "DurableExecutionInvocationOutput",
            "DurableServiceClient",
            "ErrorObject",
            "InvocationStatus",
            "LambdaClient",
            "Operation",
            "OperationUpdate",
        ),
        "perdure.state": ("ExecutionState",),
    },
    "perdure.identifier": {"perdure.lambda_service": ("Operation", "OperationType")},
    "perdure.serdes": {"perdure.concurrency.models": ("BatchResult",)},
}


_RENAMED = {"CallbackProtocol": "Callback", "DurableContextProtocol": "DurableContext"}
"""Names by which a module knows something that is called otherwise where it is made."""


def find(module: str, name: str) -> Any:
    """Give what a module knows by a name, and let it know that from now on.

    Raises:
        AttributeError: If it knows nothing by that name.

    """
    for home, names in _HOMES[module].items():
        if name in names:
            value = getattr(import_module(home), _RENAMED.get(name, name))
            setattr(sys.modules[module], name, value)
            return value
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
