"""Test durable functions: run them here, in virtual time, look at what they did, and search them for what breaks them.

    with DurableFunctionTestRunner(handler) as runner:
        result = runner.run(event={"order": 7})
        assert result.value == "shipped"
        assert result.get_step("charge").attempt == 3

A suite that was written for the official testing package migrates by its imports: ``runner``, ``model``,
``exceptions`` and the names below are here, too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from perdure._core import __version__

if TYPE_CHECKING:
    from perdure.local.machine.budget import Budget, Prices
    from perdure.testing.exceptions import DurableFunctionsTestError
    from perdure.testing.explorer import ExplorationError, Report, explore
    from perdure.testing.mocks import MockedFunction
    from perdure.testing.plugin import Durable
    from perdure.testing.runner import (
        DurableChildContextTestRunner,
        DurableFunctionCloudTestRunner,
        DurableFunctionTestResult,
        DurableFunctionTestRunner,
    )
    from perdure.testing.web_runner import WebRunner, WebRunnerConfig

__all__ = [
    "Budget",
    "Durable",
    "DurableChildContextTestRunner",
    "DurableFunctionCloudTestRunner",
    "DurableFunctionTestResult",
    "DurableFunctionTestRunner",
    "DurableFunctionsTestError",
    "ExplorationError",
    "MockedFunction",
    "Prices",
    "Report",
    "WebRunner",
    "WebRunnerConfig",
    "__version__",
    "explore",
]

# Read when they are used: the pytest plugin lives in this package, and is loaded with every run of pytest.
_HOMES = {
    "Budget": "perdure.local.machine.budget",
    "Durable": "perdure.testing.plugin",
    "DurableFunctionsTestError": "perdure.testing.exceptions",
    "ExplorationError": "perdure.testing.explorer",
    "MockedFunction": "perdure.testing.mocks",
    "Prices": "perdure.local.machine.budget",
    "Report": "perdure.testing.explorer",
    "WebRunner": "perdure.testing.web_runner",
    "WebRunnerConfig": "perdure.testing.web_runner",
    "explore": "perdure.testing.explorer",
}


_MODULES = frozenset(
    {"child_dispatcher", "clock", "exceptions", "execution", "invoker", "model", "runner", "stores", "web"}
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:  # importing the official package imports them all, and programs go by it
        return import_module(f"perdure.testing.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "perdure.testing.runner")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
