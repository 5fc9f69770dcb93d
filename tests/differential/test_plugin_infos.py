"""Infos of operations keep their fields natively; to those who make, read and copy them they are the official ones."""

from __future__ import annotations

import copy
import inspect
import pickle
import weakref
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any

import pytest
from aws_durable_execution_sdk_python import plugin as official

from perdure import plugin

NAMES = ("OperationInfo", "OperationStartInfo", "OperationEndInfo", "UserFunctionStartInfo", "UserFunctionEndInfo")
GIVEN = {
    "operation_id": "a",
    "operation_type": 1,
    "sub_type": None,
    "name": "n",
    "parent_id": None,
    "start_time": None,
    "is_replayed": False,
    "status": 2,
}


def made(name: str) -> tuple[Any, Any]:
    given = {**GIVEN, "is_replay_children": True, "outcome": 3} if name == "UserFunctionEndInfo" else GIVEN
    return getattr(plugin, name)(**given), getattr(official, name)(**given)


@pytest.mark.parametrize("name", NAMES)
def test_an_info_is_made_read_and_shown_as_the_official_one(name: str) -> None:
    ours, theirs = made(name)
    assert repr(ours) == repr(theirs)
    assert vars(ours) == vars(theirs)
    assert asdict(ours) == asdict(theirs)
    for optional in ("outcome", "is_replay_children", "nothing"):
        assert hasattr(ours, optional) == hasattr(theirs, optional)
    for info in (ours, theirs):
        with pytest.raises(FrozenInstanceError):
            info.name = "m"
        with pytest.raises(FrozenInstanceError):
            del info.name
        assert info.name == "n"
        assert weakref.ref(info)() is info


@pytest.mark.parametrize("name", NAMES)
def test_the_class_of_an_info_takes_what_the_official_one_takes(name: str) -> None:
    def taken(kind: Any) -> list[tuple[str, Any, Any]]:
        return [(one.name, one.default, one.kind) for one in inspect.signature(kind).parameters.values()]

    ours, theirs = getattr(plugin, name), getattr(official, name)
    assert taken(ours) == taken(theirs)
    assert ours.__match_args__ == theirs.__match_args__
    assert [(one.name, one.default, one.kw_only) for one in fields(ours)][8:12] == [
        (one.name, one.default, one.kw_only) for one in fields(theirs)
    ][8:12]
    for kind in (ours, theirs):
        with pytest.raises(TypeError, match="missing"):
            kind("a")


@pytest.mark.parametrize("name", NAMES)
def test_copies_of_an_info_are_equal_and_their_own(name: str) -> None:
    info, _ = made(name)
    for same in (pickle.loads(pickle.dumps(info)), copy.copy(info), copy.deepcopy(info), replace(info)):  # noqa: S301
        assert type(same) is type(info)
        assert same == info
        assert hash(same) == hash(info)
    other = replace(info, result="x")
    assert (other.result, info.result) == ("x", None)
    assert other != info


@dataclass(frozen=True)
class Priced(plugin.OperationEndInfo):
    """An info of a user's own."""

    price: int = field(default=3, kw_only=True)


class Marked(plugin.OperationEndInfo):
    """One with an attribute that is no field."""

    def mark(self) -> Marked:
        object.__setattr__(self, "mark_of", self.name)
        return self


def test_classes_that_derive_from_an_info_keep_what_is_theirs() -> None:
    given: dict[str, Any] = GIVEN
    priced = Priced(**given, price=5)
    assert pickle.loads(pickle.dumps(priced)) == priced  # noqa: S301
    assert asdict(priced) == {**asdict(plugin.OperationEndInfo(**given)), "price": 5}
    assert replace(priced, price=6) != priced
    marked: Any = copy.copy(Marked(**given).mark())
    assert (marked.mark_of, marked.name) == ("n", "n")
