"""The runner's public names: whatever a suite uses of the official testing package is here under the same name."""

from __future__ import annotations

import dataclasses
import inspect
from enum import Enum
from typing import Any

import aws_durable_execution_sdk_python_testing as official_top
import aws_durable_execution_sdk_python_testing.exceptions as official_exceptions
import aws_durable_execution_sdk_python_testing.execution as official_execution
import aws_durable_execution_sdk_python_testing.model as official_model
import aws_durable_execution_sdk_python_testing.runner as official_runner
import pytest

import perdure.testing as ours_top
import perdure.testing.exceptions as ours_exceptions
import perdure.testing.execution as ours_execution
import perdure.testing.model as ours_model
import perdure.testing.runner as ours_runner

ITS_OWN_WORKS = {
    # How the official emulator is built; the service's own way to say these things is `perdure.local`.
    "ErrorResponse",
    "EventCreationContext",
    "HistoryEventTypeConfig",
}
OTHER_DEFAULTS = {
    ("DurableFunctionTestRunner", "execution_timeout"),
    ("register_durable_function", "execution_timeout"),
}


def classes_of(module: Any) -> dict[str, type]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_")
    }


def plain(default: Any) -> Any:
    return (type(default).__name__, default.value) if isinstance(default, Enum) else default


RUNNER = classes_of(official_runner)
MODEL = {name: cls for name, cls in classes_of(official_model).items() if name not in ITS_OWN_WORKS}


def test_the_package_exports_what_the_official_one_does() -> None:
    assert set(official_top.__all__) <= set(ours_top.__all__)


@pytest.mark.parametrize("name", sorted(RUNNER))
def test_a_class_of_the_runner_has_the_methods_with_their_parameters(name: str) -> None:
    ours, theirs = getattr(ours_runner, name), RUNNER[name]
    for method, function in vars(theirs).items():
        if method.startswith("_") or not callable(inspect.unwrap(getattr(theirs, method))):
            continue
        expected = list(inspect.signature(getattr(theirs, method)).parameters)
        given = inspect.signature(getattr(ours, method)).parameters
        assert list(given)[: len(expected)] == expected, f"{name}.{method}"
        for parameter, known in inspect.signature(getattr(theirs, method)).parameters.items():
            if (method, parameter) not in OTHER_DEFAULTS:
                assert given[parameter].default == known.default, f"{name}.{method}({parameter})"
        assert function is not None


@pytest.mark.parametrize("name", sorted(name for name in RUNNER if not name.startswith("OperationFactory")))
def test_a_class_of_the_runner_is_made_with_the_same_parameters(name: str) -> None:
    ours, theirs = getattr(ours_runner, name), RUNNER[name]
    expected = inspect.signature(theirs).parameters
    given = inspect.signature(ours).parameters
    for parameter, known in expected.items():
        assert parameter in given, f"{name}({parameter})"
        assert given[parameter].kind == known.kind
        if (name, parameter) not in OTHER_DEFAULTS:
            default = known.default
            expected_default = (
                getattr(ours_runner, type(default).__name__)(default.value) if isinstance(default, Enum) else default
            )
            assert given[parameter].default == expected_default, f"{name}({parameter})"
    positional = [p.name for p in expected.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [p.name for p in given.values() if p.kind is p.POSITIONAL_OR_KEYWORD][: len(positional)] == positional


@pytest.mark.parametrize("name", sorted(name for name, cls in RUNNER.items() if dataclasses.is_dataclass(cls)))
def test_a_record_of_the_runner_has_the_same_fields(name: str) -> None:
    ours = [field.name for field in dataclasses.fields(getattr(ours_runner, name))]
    theirs = [field.name for field in dataclasses.fields(RUNNER[name])]
    assert set(theirs) <= set(ours)


@pytest.mark.parametrize("name", sorted(MODEL))
def test_a_class_of_the_model_is_there_with_its_fields(name: str) -> None:
    ours, theirs = getattr(ours_model, name), MODEL[name]
    if issubclass(theirs, Enum):
        assert {member.name: member.value for member in theirs}.items() <= {m.name: m.value for m in ours}.items()
        return
    fields = {field.name for field in dataclasses.fields(theirs)}
    assert fields <= {field.name for field in dataclasses.fields(ours)}


@pytest.mark.parametrize("name", sorted(classes_of(official_exceptions)))
def test_an_exception_is_there_with_its_bases(name: str) -> None:
    ours = getattr(ours_exceptions, name)
    known = {base.__name__ for base in classes_of(official_exceptions)[name].__mro__}
    assert known <= {base.__name__ for base in ours.__mro__}
    arguments = {"UnknownRouteError": ("GET", "/elsewhere")}.get(name, ("why",))
    assert arguments[-1] in str(ours(*arguments))


def test_the_module_of_exceptions_has_all_names() -> None:
    public = {name for name in dir(official_exceptions) if not name.startswith("_")}
    assert public <= set(dir(ours_exceptions))


@pytest.mark.parametrize("name", ["tree", "close", "stop_execution"])
def test_what_the_local_runner_has_beside_the_official_one_the_cloud_runner_has_too(name: str) -> None:
    local, cloud = ours_runner.DurableFunctionTestRunner, ours_runner.DurableFunctionCloudTestRunner
    parameters = [inspect.signature(getattr(runner, name)).parameters for runner in (local, cloud)]
    assert list(parameters[0]) == list(parameters[1])


def test_the_statuses_of_executions_are_the_same() -> None:
    theirs = {status.name: status.value for status in official_execution.ExecutionStatus}
    assert {status.name: status.value for status in ours_execution.ExecutionStatus} == theirs
