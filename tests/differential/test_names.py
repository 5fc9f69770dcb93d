"""Every name that a program can import from an official module is importable from the module of the same name here."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
import typing
import warnings

import pytest

SDK = "aws_durable_execution_sdk_python"
TESTING = "aws_durable_execution_sdk_python_testing"

# Modules that are the works of the official packages: their engine, their emulator. No program can do anything with
# these but work the engine itself. Of some of them a few names are for programs.
WORKS = {
    f"{SDK}.__about__": set(),
    f"{SDK}.concurrency.executor": set(),
    f"{SDK}.operation": set(),
    f"{SDK}.plugin": {
        *("DurableExecutionInvocationOutput", "DurableInstrumentationPlugin", "DurableInstrumentationPluginFactory"),
        *("ErrorObject", "InvocationEndInfo", "InvocationInfo", "InvocationStartInfo", "InvocationStatus"),
        *("Operation", "OperationChangeInfo", "OperationEndInfo", "OperationInfo", "OperationStartInfo"),
        *("OperationStatus", "OperationType", "PropagationInput", "PropagationMetadata"),
        *("UserFunctionEndInfo", "UserFunctionOutcome", "UserFunctionStartInfo"),
    },
    f"{SDK}.state": {"ExecutionState"},
    f"{SDK}.suspend": set(),
    f"{SDK}.threading": set(),
    f"{TESTING}.__about__": set(),
    f"{TESTING}.checkpoint": set(),
    f"{TESTING}.child_dispatcher": {
        "DEFAULT_CHILD_EXECUTION_TIMEOUT_SECONDS",
        "DEFAULT_CHILD_RETENTION_PERIOD_DAYS",
        "FunctionConfig",
        "FunctionConfigs",
    },
    f"{TESTING}.cli": set(),
    f"{TESTING}.client": set(),
    f"{TESTING}.clock": {"RealClock"},
    f"{TESTING}.executor": set(),
    f"{TESTING}.invoker": {
        "DEFAULT_INVOCATION_TIMEOUT_SECONDS",
        "DEFAULT_LAMBDA_READ_TIMEOUT_SECONDS",
        "INVOCATION_MARKER_HEADER",
        "LambdaContext",
        "create_lambda_client",
        "create_test_lambda_context",
        "executed_version",
        "read_timeout_for",
    },
    f"{TESTING}.observer": set(),
    f"{TESTING}.scheduler": set(),
    f"{TESTING}.stores.base": {"ExecutionStore", "StoreType"},
    f"{TESTING}.stores.filesystem": {"FileSystemExecutionStore"},
    f"{TESTING}.stores.memory": {"InMemoryExecutionStore"},
    f"{TESTING}.stores.sqlite": {"SQLiteExecutionStore"},
    f"{TESTING}.threads": set(),
    f"{TESTING}.token": set(),
    f"{TESTING}.web": set(),
    f"{TESTING}.web.server": {"WebServiceConfig"},
    f"{TESTING}.worker": set(),
}

# Parts of those works that other modules show, since they use them.
SHOWN_WORKS = {
    f"{SDK}.context": {
        "CallbackOperationExecutor",
        "ChildOperationExecutor",
        "InvokeOperationExecutor",
        "OrderedCounter",
        "ReplayStatus",
        "StepOperationExecutor",
        "WaitForConditionOperationExecutor",
        "WaitOperationExecutor",
        "child_handler",
        "map_handler",
        "parallel_handler",
        "wait_for_callback_handler",
    },
    f"{SDK}.execution": {
        "DurableInstrumentationPluginFactory",  # not yet
        "PluginExecutor",
        "ReplayStatus",
        "load_configured_plugins",
    },
    f"{TESTING}.execution": {
        "CheckpointIdempotencyRecord",
        "CheckpointToken",
        "Execution",
        "OperationPaginatorState",
        "PauseState",
        "real_now",
    },
    f"{TESTING}.model": {
        "ErrorResponse",
        "EventCreationContext",
        "HISTORY_EVENT_TYPES",
        "HistoryEventTypeConfig",
        "real_now",
    },
    f"{TESTING}.runner": {
        "CheckpointProcessor",
        "ChildDispatcher",
        "Clock",
        "DEFAULT_MAX_INVOCATION_PAGE_BYTES",
        "EndpointChildDispatcher",
        "ExecutionRegistry",
        "Executor",
        "FunctionRegistry",
        "InMemoryServiceClient",
        "InProcessChildDispatcher",
        "InProcessInvoker",
        "LambdaInvoker",
        "Scheduler",
        "SkipClock",
        "UnconfiguredChildDispatcher",
        "WebServer",
    },
}


def ours(module: str) -> str:
    return module.replace(TESTING, "perdure.testing").replace(SDK, "perdure")


def official_modules() -> list[str]:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for root in (SDK, TESTING):
            package = importlib.import_module(root)
            found.append(root)
            found += [module.name for module in pkgutil.walk_packages(package.__path__, f"{root}.")]
    return found


def works_of(module: str) -> set[str] | None:
    """What programs may want of a module that is the works of an official package; None of another module."""
    around = module
    while around:
        if around in WORKS:
            return WORKS[around] if around == module else set()
        around = around.rpartition(".")[0]
    return None


def names_of(module: str) -> set[str]:
    """The public names of a module that an official package has made: not what it has of the standard library."""
    names = set()
    for name, value in vars(importlib.import_module(module)).items():
        if name.startswith("_") or name == "TYPE_CHECKING" or inspect.ismodule(value):
            continue
        if isinstance(value, (typing.TypeVar, typing.ParamSpec)):  # no vocabulary
            continue
        home = str(getattr(value, "__module__", ""))
        plain = isinstance(value, (str, int, frozenset, set, dict, list, types.UnionType))
        if home.startswith(SDK) or plain:
            names.add(name)
    return names


def wanted(module: str) -> set[str]:
    works = works_of(module)
    return names_of(module) - SHOWN_WORKS.get(module, set()) if works is None else works


IMPORTABLE = [(module, name) for module in official_modules() for name in sorted(wanted(module))]


@pytest.mark.parametrize(("module", "name"), IMPORTABLE)
def test_the_name_can_be_imported_from_the_same_module(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name), "there is no such name any more"
    namespace: dict[str, object] = {}
    exec(f"from {ours(module)} import {name}", namespace)  # noqa: S102 - as a program does it
    assert namespace[name] is not None


@pytest.mark.parametrize("module", [SDK, TESTING])
def test_a_package_lists_its_names(module: str) -> None:
    """What editors and consoles offer after the dot."""
    assert set(dir(importlib.import_module(ours(module)))) >= {"__all__", *wanted(module)}


@pytest.mark.parametrize("module", sorted({module for module, _ in IMPORTABLE}))
def test_a_star_import_brings_the_names_too(module: str) -> None:
    expected = wanted(module)
    if module == SDK:
        expected = set(importlib.import_module(module).__all__)
    if module == TESTING:
        expected = set(importlib.import_module(module).__all__)
    namespace: dict[str, object] = {}
    exec(f"from {ours(module)} import *", namespace)  # noqa: S102 - as a program does it
    assert expected - {"__version__"} <= set(namespace)


@pytest.mark.parametrize("module", sorted(SHOWN_WORKS))
def test_nothing_is_left_out_that_is_there(module: str) -> None:
    left_out = SHOWN_WORKS[module]
    assert left_out <= names_of(module)
    assert not [name for name in left_out if hasattr(importlib.import_module(ours(module)), name)]


def test_one_thing_is_one_object_wherever_it_is_imported_from() -> None:
    homes: dict[int, list[tuple[str, str]]] = {}
    for module, name in IMPORTABLE:
        value = getattr(importlib.import_module(module), name)
        if inspect.isclass(value) or inspect.isfunction(value):
            homes.setdefault(id(value), []).append((module, name))
    for places in homes.values():
        made = {id(getattr(importlib.import_module(ours(module)), name)) for module, name in places}
        assert len(made) == 1, places


def test_an_unknown_name_is_an_import_error_as_ever() -> None:
    for module in ("perdure.context", "perdure.execution", "perdure.identifier", "perdure.serdes"):
        with pytest.raises(ImportError, match="nothing_of_the_kind"):
            exec(f"from {module} import nothing_of_the_kind", {})  # noqa: S102 - as a program does it
