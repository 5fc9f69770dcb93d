"""One wheel for all tests of a process."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING

import pytest

from perdure.local import LocalService, VirtualClock
from perdure.local.server.runtime import RemoteFunction
from support.sandbox import Sandbox
from support.web import served
from support.wheels import wheel_of_this_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUNTIME_CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a wheel of the tree under test, in a folder of its own."""
    if sys.platform != "linux":
        pytest.skip("Lambda is Linux")
    return wheel_of_this_tree(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with what Lambda has beside a function: the runtime client, but here without boto3."""
    if sys.platform != "linux" or sys.version_info >= (3, 15):
        pytest.skip("AWS has wheels of its runtime client for Linux and CPython 3.9 to 3.14")
    folder = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME_CLIENT:
        distribution = importlib.metadata.distribution(name)
        for first in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in {"..", "__pycache__"}}:
            (folder / first).symlink_to(distribution.locate_file(first))
    return folder


@pytest.fixture
def takes_an_order(runtime: Path, tmp_path: Path) -> Callable[[Path, str], None]:
    """Give what runs the examples' function, in a process that has a tree and the runtime client to import from."""

    def run(tree: Path, handler: str) -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        with (
            served(LocalService(clock=VirtualClock())) as (service, server, _),
            Sandbox("python3.13", server.url, "native", logs, handler=handler, path=[tree, runtime]) as sandbox,
        ):
            service.register("orders", RemoteFunction(sandbox.url))
            execution = service.run("orders", event={"order": "A-1", "amount": 42})
            log = sandbox.log()
        assert execution.status == "SUCCEEDED", (execution.error, log)
        assert execution.value == {"payment": "42 for A-1", "sent": "parcel of A-1"}
        assert len(execution.invocations) == 2
        assert len(sandbox.pids) == 1

    return run
