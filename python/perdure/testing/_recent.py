"""The executions that the running test has started, for the report of a test that fails. Filled only under pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.local import ExecutionHandle

started: list[ExecutionHandle] | None = None


def watch() -> None:
    """Forget what was, and take down what is started from now on."""
    global started  # noqa: PLW0603  there is one running test
    started = []


def note(handle: ExecutionHandle) -> None:
    """Take down an execution, if somebody watches."""
    if started is not None and handle not in started:
        started.append(handle)
