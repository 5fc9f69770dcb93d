"""The official testing package on perdure: run as a program, since it must never share a process with the real SDK.

Every import of the official SDK is answered with the perdure module of the same name. Prints what the corpus did, as
JSON.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

OFFICIAL = "aws_durable_execution_sdk_python"


class Redirect(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds perdure where the official SDK is asked for."""

    def find_spec(self, fullname: str, _path: Any, _target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname == OFFICIAL or fullname.startswith(f"{OFFICIAL}."):
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return importlib.import_module("perdure" + spec.name.removeprefix(OFFICIAL))

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: the module has been executed under its own name."""


def plain(operation: Any) -> dict[str, Any]:
    """Give what is compared of an operation of the testing package."""
    error = getattr(operation, "error", None)
    return {
        "id": operation.operation_id,
        "type": operation.operation_type.value,
        "sub_type": operation.sub_type,
        "name": operation.name,
        "parent": operation.parent_id,
        "status": operation.status.value,
        "result": getattr(operation, "result", None),
        "error": error and error.message,
        "attempt": getattr(operation, "attempt", None),
    }


def run(runner_class: Any, name: str) -> dict[str, Any]:
    """Run one handler of the corpus under the testing package's runner."""
    from support import corpus  # noqa: PLC0415 - after the redirection

    with runner_class(handler=corpus.HANDLERS[name], poll_interval=0.01) as runner:
        runner.register_function("double", corpus.double)
        runner.register_function("breaks", corpus.breaks)
        arn = runner.run_async(input=json.dumps({"n": 1}), execution_timeout=60)
        for callback, kind, content in corpus.ANSWERS[name]:
            key = runner.wait_for_callback(arn, name=callback, timeout=20)
            if kind == "success":
                runner.send_callback_success(key, content)
            else:
                model = importlib.import_module("perdure.lambda_service")
                runner.send_callback_failure(key, model.ErrorObject.from_message(content.decode()))
        result = runner.wait_for_result(arn, timeout=60)
    return {
        "status": result.status.value,
        "result": result.result,
        "error": result.error and result.error.message,
        "operations": sorted((plain(each) for each in result.get_all_operations()), key=lambda each: each["id"]),
    }


def main() -> None:
    logging.disable(logging.CRITICAL)
    sys.meta_path.insert(0, Redirect())
    testing = importlib.import_module(f"{OFFICIAL}_testing")
    from support import corpus  # noqa: PLC0415 - after the redirection

    report = {name: run(testing.DurableFunctionTestRunner, name) for name in corpus.HANDLERS}
    real = [
        name for name, module in sys.modules.items()
        if name.startswith(f"{OFFICIAL}.") and not module.__name__.startswith("perdure")
    ]  # fmt: skip
    json.dump({"report": report, "real": real}, sys.stdout)


if __name__ == "__main__":
    main()
