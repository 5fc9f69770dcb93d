"""Which plugins a handler has, and which are refused: as in the official SDK, in words of our own."""

from __future__ import annotations

from importlib import import_module, metadata
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

SDKS = ("aws_durable_execution_sdk_python", "perdure")
GROUP = "aws_durable_execution.plugins"


class Factory:
    def create_plugin(self, info: Any) -> Any:
        raise NotImplementedError


class ByClass:
    @classmethod
    def create_plugin(cls, info: Any) -> Any:
        raise NotImplementedError


class Static:
    @staticmethod
    def create_plugin(info: Any) -> Any:
        raise NotImplementedError


class Optional:
    def create_plugin(self, info: Any = None) -> Any:
        raise NotImplementedError


class Anything:
    def create_plugin(self, *given: Any) -> Any:
        raise NotImplementedError


class Two:
    def create_plugin(self, one: Any, two: Any) -> Any:
        raise NotImplementedError


class Nothing:
    def create_plugin(self) -> Any:
        raise NotImplementedError


class Keyword:
    def create_plugin(self, *, info: Any) -> Any:
        raise NotImplementedError


class Text:
    create_plugin = "no function"


def function(info: Any) -> Any:
    raise NotImplementedError


SHARED = Factory()
SHAPES = [
    *(Factory, ByClass, Static, Optional, Anything, Two, Nothing, Keyword, Text, function, SHARED),
    *(Factory(), ByClass(), Static(), Optional(), Anything(), Two(), Nothing(), Keyword(), Text(), None, 1, "x", print),
]


def outcome(sdk: str, explicit: Any, environment: dict[str, str]) -> Any:
    """Give the factories, or the kind of error and the last words of the module that it is of."""
    discovery = import_module(f"{sdk}.plugin_discovery")
    try:
        return discovery.load_configured_plugins(explicit, environment=environment)
    except Exception as error:  # noqa: BLE001  whichever it is, the other must raise the same
        return type(error).__name__


@given(st.lists(st.sampled_from(SHAPES), max_size=3) | st.none())
def test_what_is_a_factory(explicit: list[Any] | None) -> None:
    theirs, ours = (outcome(sdk, explicit, {}) for sdk in SDKS)
    assert ours == theirs


class Marked:
    __durable_registration_api__ = 1
    exclusive_group: Any = "traces"
    told: list[Any]

    def __init__(self) -> None:
        self.told = []

    def create_plugin(self, info: Any) -> Any:
        raise NotImplementedError

    def on_registration_result(self, registered: bool) -> None:
        self.told.append(("Marked", registered))


class Below(Marked):
    def on_registration_result(self, registered: bool) -> None:
        self.told.append(("Below", registered))


class Again(Marked):
    __durable_registration_api__ = 1
    exclusive_group = "again"

    def on_registration_result(self, registered: bool) -> None:
        self.told.append(("Again", registered))


class Other(Marked):
    __durable_registration_api__ = 1
    exclusive_group = None


class Both(Other, Again):
    pass


class Newer(Marked):
    __durable_registration_api__ = 2


class ABool(Marked):
    __durable_registration_api__ = True


class NoMore(Marked):
    __durable_registration_api__ = None


class Number(Marked):
    __durable_registration_api__ = 1
    exclusive_group = 5


class Empty(Marked):
    __durable_registration_api__ = 1
    exclusive_group = ""


class Raising(Marked):
    __durable_registration_api__ = 1
    exclusive_group = None

    def on_registration_result(self, registered: bool) -> None:
        self.told.append(("Raising", registered))
        raise ValueError


class NotCallable(Marked):
    __durable_registration_api__ = 1
    on_registration_result = None  # type: ignore[assignment]


class Unmarked(Factory):
    exclusive_group = "traces"
    told: tuple[Any, ...] = ()


CLASSES = [Marked, Below, Again, Other, Both, Newer, ABool, NoMore, Number, Empty, Raising, NotCallable, Unmarked]


@given(classes=st.lists(st.sampled_from(CLASSES), max_size=3), spoilt=st.booleans(), twice=st.booleans())
def test_what_excludes_what_and_who_is_told(classes: list[type], spoilt: bool, twice: bool) -> None:
    results = []
    for sdk in SDKS:
        factories = [cls() for cls in classes]
        given_ones: list[Any] = [*factories, *(factories[:1] if twice else ()), *([3] if spoilt else ())]
        found = outcome(sdk, given_ones, {})
        shown = [type(one).__name__ for one in found] if isinstance(found, list) else found
        results.append((shown, [list(factory.told) for factory in factories]))
    assert results[0] == results[1]


POINTS = {
    "good": "shared",
    "same": "shared",
    "class": "by_class",
    "plain": "number",
    "missing": "nothing",
    "nowhere": None,
}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register entry points, two of one name among them."""
    module = SimpleNamespace(shared=SHARED, by_class=ByClass, number=3)
    monkeypatch.setitem(__import__("sys").modules, "some_plugins", module)
    points = [
        metadata.EntryPoint(name, f"some_plugins:{target}" if target else "no_such_module:x", GROUP)
        for name, target in [*POINTS.items(), ("double", "shared"), ("double", "by_class")]
    ]

    def entry_points(**wanted: Any) -> Any:
        return metadata.EntryPoints(
            point for point in points if all(getattr(point, key) == value for key, value in wanted.items())
        )

    monkeypatch.setattr(metadata, "entry_points", entry_points)


@given(
    names=st.lists(st.sampled_from([*POINTS, "double", "unknown", "", " ", "GOOD"]), max_size=3),
    explicit=st.sampled_from([None, [], [SHARED], [ByClass], [1]]),
)
def test_what_the_environment_names(names: list[str], explicit: Any) -> None:
    environment = {"DURABLE_EXECUTION_PLUGINS": ",".join(names)} if names else {}
    theirs, ours = (outcome(sdk, explicit, environment) for sdk in SDKS)
    assert ours == theirs


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (",", "names of plugins with commas"),
        ("good,good", "'good' twice"),
        ("unknown", r"'unknown', and no package .*Installed are: class, double, good"),
        ("double", "several packages"),
        ("missing", "cannot be imported: .*nothing"),
        ("nowhere", "cannot be imported: No module named 'no_such_module'"),
        ("plain", "an instance of builtins.int, and must be a plugin factory"),
    ],
)
def test_the_words_say_what_to_do(value: str, words: str) -> None:
    from perdure.plugin_discovery import PluginLoadError, load_configured_plugins  # noqa: PLC0415  after the fixture

    with pytest.raises(PluginLoadError, match=words):
        load_configured_plugins(None, environment={"DURABLE_EXECUTION_PLUGINS": value})


def test_the_environment_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_EXECUTION_PLUGINS", "good, class")
    from perdure.plugin_discovery import load_configured_plugins  # noqa: PLC0415  after the fixture

    assert load_configured_plugins(None) == [SHARED, ByClass]
