"""The second oracle: the official testing package runs perdure handlers, its imports redirected to perdure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perdure.local import LocalService
from support import corpus

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What the testing package says of the corpus; in a process of its own, so that the real SDK stays the real one."""
    paths = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "support.testing_package"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert not told["real"], "these modules of the real SDK were loaded beside perdure"
    return told["report"]  # type: ignore[no-any-return]


DETAILS = {
    "STEP": "StepDetails",
    "CONTEXT": "ContextDetails",
    "CALLBACK": "CallbackDetails",
    "CHAINED_INVOKE": "ChainedInvokeDetails",
}


def run_locally(name: str) -> dict[str, Any]:
    service = LocalService()
    service.register("double", corpus.double, durable=False).register("breaks", corpus.breaks, durable=False)
    service.register("f", corpus.HANDLERS[name])
    handle = service.run("f", event={"n": 1}, stop_at_callback=True)
    for callback, kind, content in corpus.ANSWERS[name]:
        key = handle.callback_id(callback)
        if kind == "success":
            service.client.send_durable_execution_callback_success(CallbackId=key, Result=content)
        else:
            error = {"ErrorMessage": content.decode()}
            service.client.send_durable_execution_callback_failure(CallbackId=key, Error=error)
        handle.drive()
    operations = []
    for operation in handle.operations:
        details = operation.get(DETAILS.get(operation["Type"], "")) or {}
        operations.append(
            {
                "id": operation["Id"],
                "type": operation["Type"],
                "sub_type": operation["SubType"],
                "name": operation.get("Name"),
                "parent": operation.get("ParentId"),
                "status": operation["Status"],
                "result": details.get("Result"),
                "error": (details.get("Error") or {}).get("ErrorMessage"),
                "attempt": details.get("Attempt"),
            }
        )
    return {
        "status": handle.status,
        "result": handle.result,
        "error": handle.error and handle.error["ErrorMessage"],
        "operations": sorted(operations, key=lambda operation: operation["id"]),
    }


@pytest.mark.parametrize("name", corpus.HANDLERS)
def test_the_testing_package_sees_what_the_local_service_sees(name: str, report: dict[str, Any]) -> None:
    assert report[name] == run_locally(name)
