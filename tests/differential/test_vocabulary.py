"""The public vocabulary against the official SDK, introspected live: one changed import prefix migrates a code base."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import re
import types
import typing

import pytest

OFFICIAL = "aws_durable_execution_sdk_python"
OURS = "perdure"
MODULES = [
    "config",
    "retries",
    "waits",
    "types",
    "exceptions",
    "logger",
    "lambda_service",
    "concurrency.models",
    "serdes",
    "execution",
    "context",
    "plugin",
    "plugin_discovery",
    "filesystem_serdes",
    "preview",
]

# Made for each operation, so written by hand with slots instead of as dataclasses: held to their constructors instead.
HAND_WRITTEN = {
    ("types", name)
    for name in ("OperationContext", "StepContext", "WaitForCallbackContext", "WaitForConditionCheckContext")
} | {
    ("types", "DurableExecutionArn"),
    ("logger", "LogInfo"),
    ("context", "ExecutionContext"),
    ("serdes", "SerDesContext"),
    ("serdes", "EncodedValue"),
}


# How the official SDK calls plugins: no program names it.
MACHINERY = {("plugin", "PluginExecutor"), ("plugin", "PluginHost")}

# Takes an operation id, which only the SDK makes.
INTERNAL = {"context.DurableContext.create_child_context"}


# The official SDK makes these from its internal ExecutionState; user code never does.
def takes_internal_state(module: str, function: object) -> bool:
    return module == "context" and any(str(p.annotation) == "ExecutionState" for p in parameters(function))


def official(module: str) -> types.ModuleType:
    return importlib.import_module(f"{OFFICIAL}.{module}")


def ours(module: str) -> types.ModuleType:
    return importlib.import_module(f"{OURS}.{module}")


def public_names(module: str) -> list[str]:
    """What the official module itself defines: classes, functions and constants. Type variables are no vocabulary."""
    defined = []
    for name, value in vars(official(module)).items():
        if name.startswith("_") or name in ("annotations", "TYPE_CHECKING") or inspect.ismodule(value):
            continue
        if isinstance(value, (typing.TypeVar, typing.ParamSpec)) or (module, name) in MACHINERY:
            continue
        home = getattr(value, "__module__", None)
        if home == f"{OFFICIAL}.{module}" or isinstance(value, (str, int, types.UnionType)):
            defined.append(name)
    return sorted(defined)


def every_name() -> list[tuple[str, str]]:
    return [(module, name) for module in MODULES for name in public_names(module)]


def every_class() -> list[tuple[str, str]]:
    return [(module, name) for module, name in every_name() if inspect.isclass(getattr(official(module), name))]


def plain(value: object) -> object:
    """A default in a form that compares across the two packages."""
    if value is inspect.Parameter.empty or value is dataclasses.MISSING:
        return "none"
    if isinstance(value, enum.Enum):
        return (type(value).__name__, value.name)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return (
            type(value).__name__,
            {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)},
        )
    if callable(value):
        return "callable"
    if value is None or isinstance(value, (bool, int, float, str, bytes, tuple)):
        return value
    return re.sub(r" at 0x[0-9a-f]+", "", type(value).__name__)


def parameters(function: object) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def assert_same_signature(theirs: object, our: object, what: str) -> None:
    """Names, order, kinds and defaults agree; ours may have more optional parameters, and fewer required."""
    expected, actual = parameters(theirs), parameters(our)
    shared = [parameter for parameter in actual if parameter.name in {p.name for p in expected}]
    required = {p.name for p in expected if p.default is inspect.Parameter.empty}
    assert [(p.name, p.kind, "none" if p.name in required else plain(p.default)) for p in shared] == [
        (p.name, p.kind, plain(p.default)) for p in expected
    ], f"{what}: {inspect.signature(our)} instead of {inspect.signature(theirs)}"
    positional = [p for p in actual if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    if shared != actual:  # additions stand behind what is shared, so that positional calls mean the same
        shared_positional = [p for p in shared if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
        leading = [p for p in positional if p.kind not in variadic][: len(shared_positional)]
        assert leading == [p for p in shared_positional if p.kind not in variadic], what
    for added in actual:
        if added not in shared:
            variadic_kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            assert added.default is not inspect.Parameter.empty or added.kind in variadic_kinds, what


@pytest.mark.parametrize("module", MODULES)
def test_the_module_exists(module: str) -> None:
    assert ours(module)


@pytest.mark.parametrize(("module", "name"), every_name())
def test_the_name_exists(module: str, name: str) -> None:
    assert hasattr(ours(module), name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (m, n)
        for m, n in every_name()
        if isinstance(getattr(official(m), n), (str, int)) and (m, n) not in every_class()
    ],
)
def test_the_constant_has_the_same_value(module: str, name: str) -> None:
    assert getattr(ours(module), name) == getattr(official(module), name)


@pytest.mark.parametrize(
    ("module", "name"),
    [(m, n) for m, n in every_name() if inspect.isfunction(getattr(official(m), n))],
)
def test_the_function_has_the_same_signature(module: str, name: str) -> None:
    assert_same_signature(getattr(official(module), name), getattr(ours(module), name), f"{module}.{name}")


def constructible(module: str, name: str) -> bool:
    cls = getattr(official(module), name)
    return not (
        issubclass(cls, enum.Enum)
        or getattr(cls, "_is_protocol", False)
        or typing.is_typeddict(cls)
        or takes_internal_state(module, cls)
        or (issubclass(cls, BaseException) and "__init__" not in {k for c in cls.__mro__[:-3] for k in vars(c)})
    )


@pytest.mark.parametrize(("module", "name"), [key for key in every_class() if constructible(*key)])
def test_the_constructor_has_the_same_signature(module: str, name: str) -> None:
    theirs, our = getattr(official(module), name), getattr(ours(module), name)
    assert_same_signature(theirs, our, f"{module}.{name}")


def methods(cls: type) -> dict[str, object]:
    found = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith(OFFICIAL):
            found.update(
                {k: v for k, v in vars(base).items() if not k.startswith("_") or k in ("__call__", "__enter__")}
            )
    return found


@pytest.mark.parametrize(("module", "name"), every_class())
def test_the_methods_have_the_same_signatures(module: str, name: str) -> None:
    theirs, our = getattr(official(module), name), getattr(ours(module), name)
    for method, value in methods(theirs).items():
        what = f"{module}.{name}.{method}"
        if what in INTERNAL or (
            not isinstance(value, property) and takes_internal_state(module, getattr(theirs, method))
        ):
            continue
        if isinstance(value, property):
            assert isinstance(inspect.getattr_static(our, method), (property, types.GetSetDescriptorType)), what
        elif isinstance(value, (types.FunctionType, classmethod, staticmethod)):
            assert_same_signature(getattr(theirs, method), getattr(our, method), what)


@pytest.mark.parametrize(
    ("module", "name"), [(m, n) for m, n in every_class() if issubclass(getattr(official(m), n), enum.Enum)]
)
def test_the_enum_has_the_same_members(module: str, name: str) -> None:
    theirs, our = getattr(official(module), name), getattr(ours(module), name)
    assert [(member.name, member.value) for member in our] == [(member.name, member.value) for member in theirs]
    assert issubclass(our, str) == issubclass(theirs, str)


OURS_ALONE = {
    *(("config", name, "error_mapper") for name in ("ChildConfig", "MapConfig", "ParallelConfig")),
    *(("config", "StepConfig", field) for field in ("timeout", "retry_if", "retryable_errors")),
}
"""Fields that the official SDK lacks. They change nothing where they are not given."""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (m, n)
        for m, n in every_class()
        if dataclasses.is_dataclass(getattr(official(m), n)) and (m, n) not in HAND_WRITTEN
    ],
)
def test_the_dataclass_has_the_same_fields(module: str, name: str) -> None:
    theirs, our = getattr(official(module), name), getattr(ours(module), name)

    def shape(cls: type) -> list[tuple[object, ...]]:
        return [
            (
                field.name,
                field.kw_only,
                field.compare,
                plain(field.default_factory() if callable(field.default_factory) else field.default),
            )
            for field in dataclasses.fields(cls)
        ]

    assert dataclasses.is_dataclass(our)
    more = [field for field in dataclasses.fields(our) if (module, name, field.name) in OURS_ALONE]
    assert all(field.kw_only and field.default is None and not field.repr for field in more)
    assert [each for each in shape(our) if each[0] not in {field.name for field in more}] == shape(theirs)
    assert our.__dataclass_params__.frozen == theirs.__dataclass_params__.frozen


@pytest.mark.parametrize(("module", "name"), sorted(HAND_WRITTEN))
def test_the_hand_written_value_behaves_like_the_dataclass(module: str, name: str) -> None:
    theirs, our = getattr(official(module), name), getattr(ours(module), name)
    values = {field.name: field.name.upper() for field in dataclasses.fields(theirs)}
    one, other = our(**values), our(*values.values())
    assert one == other
    assert hash(one) == hash(other)
    assert one != our(**{**values, next(iter(values)): "else"})
    assert repr(one) == repr(theirs(**values))
    assert our.__match_args__ == theirs.__match_args__
    with pytest.raises(AttributeError):
        setattr(one, next(iter(values)), None)


@pytest.mark.parametrize(
    ("module", "name"), [(m, n) for m, n in every_class() if issubclass(getattr(official(m), n), BaseException)]
)
def test_the_exception_has_the_same_ancestors(module: str, name: str) -> None:
    def ancestors(cls: type) -> list[str]:
        return [base.__name__ for base in cls.__mro__]

    assert ancestors(getattr(ours(module), name)) == ancestors(getattr(official(module), name))
