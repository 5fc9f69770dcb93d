"""Infos that are made natively are as if their classes had been called; so are the moments in them."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perdure import plugin
from perdure._core import Listeners, Told, info_recorded, moment, operation_end_info, operation_start_info
from perdure.engine.received import as_dicts
from perdure.lambda_service import Operation
from support.invocations import NOW, error, op, op_id

RECORDED = [
    op("STEP", "SUCCEEDED", 1, Name="a", details={"Result": '"x"', "Attempt": 2}, EndTimestamp=NOW + 1234),
    op("STEP", "FAILED", 2, details={"Error": error(ErrorData="d", StackTrace=["at a"]), "Attempt": 1}),
    op("STEP", "PENDING", 1, 2, details={"Attempt": 1, "NextAttemptTimestamp": NOW, "Error": error()}),
    op("CONTEXT", "STARTED", 3, SubType="Mine"),
    op("CONTEXT", "SUCCEEDED", 3, details={"Result": "", "ReplayChildren": True}),
    op("WAIT", "SUCCEEDED", 4, details={"ScheduledEndTimestamp": NOW}, EndTimestamp=NOW),
    op("CALLBACK", "TIMED_OUT", 5, details={"CallbackId": "c", "Error": {"ErrorMessage": "late"}}),
    op("CALLBACK", "SUCCEEDED", 5, details={"CallbackId": "c", "Result": "r"}, SubType=None),
    op("CHAINED_INVOKE", "STOPPED", 6, Name="i", details={}),
    op("CHAINED_INVOKE", "READY", 6, SubType="", StartTimestamp=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
]


@pytest.mark.parametrize("raw", RECORDED, ids=lambda raw: f"{raw['Type']} {raw['Status']}")
def test_a_recorded_operation_is_told_of_as_its_model_says(raw: dict[str, Any]) -> None:
    told = Told([[raw]], as_dicts)
    told.read()
    info = told.info(raw["Id"], 1)
    assert info == plugin.OperationInfo.from_operation(Operation.from_json_dict(raw))
    assert vars(info) == {one.name: getattr(info, one.name) for one in fields(info)}
    assert list(vars(info)) == [one.name for one in fields(info)]


@pytest.mark.parametrize("make", [operation_start_info, operation_end_info])
def test_an_info_is_an_instance_of_its_dataclass_in_every_way(make: Any) -> None:
    info = make(info_recorded(RECORDED[0]))
    kind = plugin.OperationStartInfo if make is operation_start_info else plugin.OperationEndInfo
    called = kind(**info_recorded(RECORDED[0]))
    assert type(info) is kind
    assert info == called
    assert hash(info) == hash(called)
    assert repr(info) == repr(called)
    assert asdict(info) == asdict(called)
    assert replace(info, name="b") == replace(called, name="b") != info
    assert pickle.loads(pickle.dumps(info)) == called  # noqa: S301 - our own
    assert copy.copy(info) == copy.deepcopy(info) == called
    with pytest.raises(FrozenInstanceError):
        info.name = "b"
    vars(info)["name"] = "mine alone"
    assert make(info_recorded(RECORDED[0])) == called


def by_datetime(value: Any) -> dt.datetime | None:
    try:
        return dt.datetime.fromtimestamp(value / 1000, dt.UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


@given(st.integers(-(2**70), 2**70) | st.integers(-(10**15), 10**15) | st.floats() | st.floats(0, 3e14))
@example(253_402_300_799_999)
@example(253_402_300_800_000)
@example(253_402_300_799_999.9995)
@example(951_782_400_000)  # the leap day of a year that is divisible by 400
@example(-1)
@example(-0.0)
@example(0.0005)
@example(0.0015)
@example(999.9995)
@example(True)
def test_a_moment_is_the_one_that_datetime_makes(milliseconds: float) -> None:
    ours, theirs = moment(milliseconds), by_datetime(milliseconds)
    assert ours == theirs
    if ours is not None:
        assert ours.tzinfo is dt.UTC
        assert (ours.microsecond, ours.fold, type(ours)) == (theirs.microsecond, 0, dt.datetime)  # type: ignore[union-attr]


@pytest.mark.parametrize("odd", [None, "1", Decimal(1), [], float("nan"), float("inf")], ids=repr)
def test_what_is_no_moment_is_none(odd: Any) -> None:
    assert moment(odd) is None


def test_a_moment_that_is_one_already_stays_as_it_is() -> None:
    given = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - as a client of somebody's may give it
    assert moment(given) is given


# ---- what was told, as it was at any moment


def test_each_part_is_read_once_and_what_it_told_is_found_by_its_number() -> None:
    begun, ended = op("STEP", "STARTED", 1, Name="a"), op("STEP", "SUCCEEDED", 1, Name="a")
    other = op("WAIT", "STARTED", 2)
    read: list[Any] = []

    def dicts(part: Any) -> list[Any]:
        read.append(part)
        return [*part]

    parts: list[Any] = [(begun,)]
    told = Told(parts, dicts)
    assert (told.at_first, told.size(), told.read()) == (1, 1, 1)
    parts += [(other,), (ended, other)]
    assert told.read() == told.read() == 3
    assert read == [(begun,), (other,), (ended, other)]
    assert [told.at(op_id(1), number) for number in range(4)] == [None, begun, begun, ended]
    assert [told.at(op_id(2), number) for number in range(4)] == [None, None, other, other]
    assert [told.ids(number) for number in range(4)] == [[], [op_id(1)], [op_id(1), op_id(2)], [op_id(1), op_id(2)]]
    assert [told.count(number) for number in range(4)] == [0, 1, 2, 2]
    assert told.latest(op_id(1)) is ended
    assert told.latest("of another") is None
    assert list(told.changed(1, 3)) == [op_id(2), op_id(1)]
    assert list(told.changed(2, 3)) == [op_id(1)]
    assert told.changed(3, 3) == {}


def test_an_end_is_taken_once_and_an_operation_that_has_ended_stays_so() -> None:
    ended = op("STEP", "SUCCEEDED", 1)
    parts: list[Any] = [[op("STEP", "SUCCEEDED", 3)]]
    told = Told(parts, as_dicts)
    told.expect([op_id(3), op_id(1), "\ud800"])
    assert told.has_unread
    parts += [[op("STEP", "STARTED", 1), ended], [op("STEP", "STARTED", 1), op("WAIT", "TIMED_OUT", 2)]]
    told.read()
    assert [key for key, _ in told.ended()] == [op_id(1), op_id(2)]
    assert told.take(op_id(1)) is ended
    assert told.take(op_id(1)) is None
    assert [key for key, _ in told.ended()] == [op_id(2)]
    assert told.latest(op_id(1)) is ended
    assert told.take(op_id(3)) == parts[0][0]
    assert not told.has_unread


def test_what_there_are_no_names_for_is_left_out() -> None:
    odd: list[Any] = [5, "text", {}, {"Id": 5}, op("STEP", "LOST", 1), {**op("STEP", "STARTED", 1), "Type": []}]
    told = Told([odd], as_dicts)
    told.read()
    assert told.ids(1) == []


# ---- how plugins are called


def test_what_a_hook_raises_is_logged_and_the_next_is_called() -> None:
    logged: list[Any] = []
    heard: list[Any] = []

    def refuse(_info: Any) -> None:
        assert listeners.is_within()
        raise LookupError("no")

    def stop(_info: Any) -> None:
        raise KeyboardInterrupt

    own = {"on_operation_start": [refuse, heard.append], "on_operation_end": [stop, heard.append]}
    listeners = Listeners(own, lambda *what: logged.append(what))
    assert listeners.any_of("on_operation_change", "on_operation_end")
    assert not listeners.any_of("on_operation_change")
    listeners.tell("on_operation_start", 1)
    assert listeners.ask("on_operation_start", 2) == [None, None]
    with pytest.raises(KeyboardInterrupt):
        listeners.tell("on_operation_end", 3)
    assert isinstance(listeners.tell_all("on_operation_end", 4), KeyboardInterrupt)
    assert heard == [1, 2, 4]
    assert [(hook, method, type(raised)) for hook, method, raised in logged] == [
        ("on_operation_start", refuse, LookupError),
        ("on_operation_start", refuse, LookupError),
        ("on_operation_end", stop, KeyboardInterrupt),
    ]
    assert all(raised.__traceback__ is not None for *_, raised in logged)
    assert not listeners.is_within()
    with pytest.raises(ValueError, match="on_dream"):
        listeners.tell("on_dream", 5)
