"""Typed values: what is written of them, what is read again, and what an annotation says."""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import gc
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, NotRequired, Required, TypedDict
from unittest.mock import MagicMock

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import BatchResult, durable_parallel_branch, durable_step, durable_with_child_context
from perdure._annotations import _known
from perdure._core import decode_extended, typed_of
from perdure._kinds import KEPT, LOOSE, LOST, kinds_of
from perdure._typed import MisfitError, Sent, asked_for, converter, sent_as
from perdure.exceptions import SerDesError, ValidationError
from perdure.serdes import SerDesContext
from support.typed import (
    LINE,
    PRICE,
    VALUES,
    Box,
    Card,
    Color,
    Entry,
    Hidden,
    Inner,
    Line,
    Model,
    Odd,
    Order,
    Plain,
    Point,
    Price,
    Status,
    Tree,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.typed import Cash as Elsewhere

CONTEXT = SerDesContext("id", "arn")


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_written_as_plain_data_and_read_as_what_it_was(name: str) -> None:
    of, value, plain = VALUES[name]
    typed = converter(of)
    assert typed is not None
    text = typed.serialize(value, CONTEXT)
    assert decode_extended(text) == plain
    again = typed.deserialize(text, CONTEXT)
    assert again == value
    assert type(again) is type(value)


prices = st.builds(Price, st.decimals(allow_nan=False, allow_infinity=False), st.text())
lines = st.builds(Line, st.text(), prices, st.sets(st.text()), st.tuples(st.integers(), st.text()))
trees = st.recursive(st.builds(Tree, st.text()), lambda inner: st.builds(Tree, st.text(), st.lists(inner)))
leaves = st.none() | st.booleans() | st.integers() | st.text() | st.binary()
orders = st.builds(
    Order,
    st.uuids(),
    st.datetimes(),
    st.lists(lines),
    st.binary(),
    st.none() | st.sampled_from(Color),
    st.none() | st.dates(),
    st.recursive(leaves, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner)),
    st.integers(),
)
points = st.builds(Point, st.integers(), st.sampled_from(Color))
models = st.builds(Model, theId=st.integers(-(2**60), 2**60), color=st.sampled_from(Color))
ANY = (
    st.tuples(st.just(Order), orders)
    | st.tuples(st.just(Tree), trees)
    | st.tuples(st.just(list[Line]), st.lists(lines))
    | st.tuples(st.just(set[int]), st.sets(st.integers()))
    | st.tuples(st.just(dict[int, Point]), st.dictionaries(st.integers(), points))
    | st.tuples(st.just(tuple[Point, ...]), st.lists(points).map(tuple))
    | st.tuples(st.just(frozenset[Color]), st.frozensets(st.sampled_from(Color)))
    | st.tuples(st.just(Box[Price | None]), st.builds(Box, st.none() | prices))
    | st.tuples(st.just(dict[str, Model]), st.dictionaries(st.text(), models))
    | st.tuples(st.just(Odd), st.sampled_from(Odd))
)


@given(ANY)
def test_any_value_makes_the_round_trip(typed_value: tuple[Any, Any]) -> None:
    of, value = typed_value
    typed = converter(of)
    assert typed is not None
    text = typed.serialize(value, CONTEXT)
    again = typed.deserialize(text, CONTEXT)
    assert again == value
    assert typed.deserialize(typed.serialize(again, CONTEXT), CONTEXT) == value


class FarMoment(dt.datetime):
    pass


class Cents(decimal.Decimal):
    pass


@dataclass
class Own:
    at: dt.datetime
    price: decimal.Decimal


def test_values_of_classes_of_ones_own_are_written_as_what_they_are_derived_from() -> None:
    typed = converter(Own)
    assert typed is not None
    text = typed.serialize(Own(FarMoment(2026, 1, 1), Cents("1.50")), CONTEXT)
    again = typed.deserialize(text, CONTEXT)
    assert again == Own(dt.datetime(2026, 1, 1), decimal.Decimal("1.50"))  # noqa: DTZ001  it keeps having no zone
    assert (type(again.at), type(again.price)) == (dt.datetime, decimal.Decimal)


class MyDict(dict[str, int]):
    pass


class Partial(TypedDict, total=False):
    prices: Required[list[Price]]
    tags: NotRequired[set[str]]


class Sku(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("of", "lost"),
    [
        (int, KEPT),
        (Any, KEPT),
        (object, KEPT),
        (None, KEPT),
        (dict[str, Any], KEPT),
        (list[dict[str, list[int]]], KEPT),
        (MyDict, KEPT),
        (Sku, KEPT),
        (Plain, KEPT),
        (bytes | None, KEPT),
        (Entry, LOST),
        (Iterator[Price], KEPT),
        (type[Price], KEPT),
        (Status, LOOSE),
        (list[Status], LOOSE),
        (tuple[int, str], KEPT),
        (Price, LOST),
        (dict[str, list[Price | None]], LOST),
        (Partial, LOST),
        (Literal["a", 1] | None, KEPT),
        (Literal[Color.RED], LOST),
        (Literal[Status.OPEN] | None, LOOSE),
    ],
)
def test_what_plain_data_loses_of_a_type(of: Any, lost: int) -> None:
    assert kinds_of(of).lost == lost


# ---- annotations


def returns_price(_step: Any) -> Price:
    return PRICE


def returns_anything(_step: Any) -> dict[str, Any]:
    return {}


def returns_elsewhere(_step: Any) -> Elsewhere:
    raise NotImplementedError


class Service:
    def price(self, _step: Any) -> Price:
        return PRICE

    @classmethod
    def of_class(cls, _step: Any) -> Price:
        return PRICE

    @staticmethod
    def static(_step: Any) -> Price:
        return PRICE

    def __call__(self, _step: Any) -> Price:
        return PRICE


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@durable_step
def a_step(_step: Any, _n: int) -> Price:
    return PRICE


@durable_with_child_context
def a_child(_context: Any) -> Price:
    return PRICE


@durable_parallel_branch()
def a_branch(_context: Any) -> Price:
    return PRICE


@pytest.mark.parametrize(
    "function",
    [
        returns_price,
        Service().price,
        Service.of_class,
        Service.static,
        Service(),
        functools.partial(returns_price),
        functools.partial(Service().price),
        wrapped(returns_price),
        wrapped(wrapped(returns_price)),
        a_step(1),
        a_child(),
        a_branch().func,
    ],
)
def test_what_can_be_called_is_known_by_its_annotation(function: Any) -> None:
    for _ in range(2):
        typed = typed_of(function)
        assert typed is not None
        assert typed.of is Price
    assert function(None) == PRICE


@pytest.mark.parametrize(
    "function",
    [
        returns_anything,
        lambda _step: PRICE,
        wrapped(returns_anything),
        functools.partial(returns_anything),
        print,
        Price,
        object(),
        MagicMock(),
        MagicMock(spec=returns_price),
        None,
        durable_step(returns_anything)(),
    ],
)
def test_what_says_nothing_of_interest_is_left_alone(function: Any) -> None:
    assert typed_of(function) is None
    assert typed_of(function) is None


def test_names_of_the_functions_around_are_found() -> None:
    @dataclass
    class Local:
        n: int

    def gives(_step: Any) -> list[Local]:
        return [Local(1)]

    typed = typed_of(gives)
    assert typed is not None
    assert typed.of == list[Local]


def test_a_name_that_is_only_there_for_type_checkers_leaves_values_alone_and_is_told_when_one_cannot_be_written() -> (
    None
):
    typed = typed_of(returns_elsewhere)
    assert typed.deserialize(typed.serialize({"a": 1}, CONTEXT), CONTEXT) == {"a": 1}
    with pytest.raises(SerDesError, match=r"'Elsewhere' of returns_elsewhere cannot be evaluated .* TYPE_CHECKING"):
        typed.serialize(PRICE, CONTEXT)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of CPython 3.12")
def test_type_parameters_and_type_aliases() -> None:
    names: dict[str, Any] = {"Price": Price}
    source = """
type Prices = list[Price]
type Many[T] = list[T]
def aliased(step) -> Prices: ...
def generic[T](step) -> list[T]: ...
def both[T](step) -> tuple[Price, T]: ...
def applied(step) -> Many[Price]: ...
def text[T](step) -> "tuple[Price, T]": ...
"""
    exec(source, names)  # noqa: S102  the syntax is too new for some
    assert typed_of(names["generic"]) is None
    for name in ("aliased", "applied"):
        assert typed_of(names[name]).read([{"amount": 1}]) == [Price(1)]  # type: ignore[arg-type]
    for name in ("both", "text"):
        assert typed_of(names[name]).read(({"amount": 1}, "x")) == (Price(1), "x")  # type: ignore[arg-type]


def test_fields_of_a_typed_dict_are_converted_whatever_stands_around_their_types() -> None:
    data: Partial = {"prices": [Price(1)], "tags": {"a"}}
    text = converter(Partial).serialize(data, CONTEXT)
    assert converter(Partial).deserialize(text, CONTEXT) == data


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of CPython 3.12")
def test_an_alias_may_mean_itself() -> None:
    names: dict[str, Any] = {"Price": Price}
    source = """
type Json = dict[str, Json] | list[Json] | str | int | float | bool | None
type Prices = dict[str, Prices] | list[Price]
type Many[T] = dict[str, Many[T]] | list[T]
type Nothing = Nothing | None
def json(step) -> Json: ...
def inside(step) -> dict[str, list[Json]]: ...
def nothing(step) -> Nothing: ...
def prices(step) -> Prices: ...
def many(step) -> Many[Price]: ...
"""
    exec(source, names)  # noqa: S102  the syntax is too new for some
    for name in ("json", "inside", "nothing"):
        assert typed_of(names[name]) is None
    for of in (names["Prices"], names["Many"][Price]):
        assert kinds_of(of).lost == LOST
    for name in ("prices", "many"):
        typed_of(names[name])  # which msgspec does not convert: values are left alone


def test_a_function_is_remembered_as_long_as_it_lives() -> None:
    @dataclass
    class Local:
        n: int

    def gives(_step: Any) -> Any:
        return None

    gives.__annotations__["return"] = Local
    found = typed_of(gives)
    assert found is not None
    assert typed_of(gives) is found
    known, seen = id(gives), weakref.ref(Local)
    assert known in _known
    del gives, found, Local
    gc.collect()
    assert known not in _known
    assert seen() is None


def test_functions_of_the_same_code_are_told_apart_where_their_types_differ() -> None:
    def make(of: Any) -> Any:
        def gives(_step: Any) -> of:  # type: ignore[valid-type]
            return of

        return gives

    def evaluated(of: Any) -> Any:
        gives = make(None)
        gives.__annotations__["return"] = of
        return gives

    for _ in range(2):
        for maker in (make, evaluated):
            for of in (Price, list[Color], Order):
                typed = typed_of(maker(of))
                assert typed is not None
                assert typed.of == of
            assert typed_of(maker(int)) is None


def test_an_annotation_with_evaluation_of_its_own_is_no_error() -> None:
    def gives(_step: Any) -> Any:
        return 1

    gives.__annotations__["return"] = "1 / 0"
    typed = typed_of(gives)
    assert typed.read({"a": 1}) == {"a": 1}


# ---- what does not fit


@pytest.mark.parametrize(
    ("of", "data", "words"),
    [
        (Line, {"sku": "a", "price": {"amount": "x"}}, r"it is not Line: .*at `\$\.price\.amount`"),
        (list[Line], [{"sku": "a", "price": None}], r"it is not list\[.*Line\]: .*at `\$\[0\]\.price`"),
        (Order, [], "it is not Order: Expected `object`, got `array`"),
        (Color, "green", "it is not Color: 'green' is not a valid Color"),
        (Model, {"id": 1, "inner": [{"price": "x"}]}, r"it is not Model: .* - at `\$\.inner\[0\]\.price`"),
        (Point, ["x"], r"at `\$\[0\]`"),
    ],
)
def test_data_that_does_not_fit_is_named_with_its_place(of: Any, data: Any, words: str) -> None:
    typed = converter(of)
    assert typed is not None
    with pytest.raises(MisfitError, match=words):
        typed.read(data)


@dataclass
class Settings:
    name: str
    size: int = 3
    color: Color = Color.RED
    tags: set[str] = field(default_factory=set)
    version: int = field(init=False, default=1)
    shared: ClassVar[int] = 7


class Holder(msgspec.Struct):
    settings: Settings | None = None


@dataclass(slots=True)
class Slim:
    size: int = 3
    tags: set[str] = field(default_factory=set)


WHOLE = {"name": "a", "size": 3, "color": "red", "tags": [], "version": 1}


@pytest.mark.parametrize(
    ("of", "data", "whole"),
    [
        (Settings, {"name": "a"}, WHOLE),
        (Settings | None, {"name": "a", "size": 4}, {**WHOLE, "size": 4}),
        (dict[Color, list[Settings]], {"red": [{"name": "a"}]}, {"red": [WHOLE]}),
        (tuple[Settings, int], ({"name": "a"}, 1), (WHOLE, 1)),
        (Holder, {"settings": {"name": "a"}}, {"settings": WHOLE}),
        (Slim, {}, {"size": 3, "tags": []}),
    ],
)
def test_what_was_not_recorded_is_there_by_its_default_and_written_again(of: Any, data: Any, whole: Any) -> None:
    typed = converter(of)
    read = typed.read(data)
    assert decode_extended(typed.serialize(read, CONTEXT)) == whole
    assert typed.read(whole) == read


def test_an_instance_has_its_defaults_for_itself() -> None:
    read = converter(Settings).read({"name": "a"})
    made = Settings("a")
    assert vars(read) == {**vars(made), "version": 1}
    assert decode_extended(converter(Settings).serialize(made, CONTEXT)) == WHOLE
    assert sent_as(Settings).sent(Settings("a")) == WHOLE


def test_a_row_of_instances_may_be_long() -> None:
    @dataclass
    class Link:
        number: int
        next: Any = None
        tags: set[int] = field(default_factory=set)

    row = [Link(number) for number in range(5_000)]
    assert converter(list[Link]).read(converter(list[Link]).plain(row)) == row


def test_none_is_none_whatever_the_type() -> None:
    typed = converter(Order)
    assert typed is not None
    assert typed.deserialize(typed.serialize(None, CONTEXT), CONTEXT) is None


class Derived(Inner):
    extra: int = 1


class Holder(pydantic.BaseModel):
    inner: Inner


@dataclass(frozen=True)
class Discount(Price):
    percent: int = 0


@pytest.mark.parametrize(
    ("of", "value", "path"),
    [
        (Price, Discount(PRICE.amount, "EUR", 5), r"\$\.percent"),
        (list[Price], [PRICE, Discount(PRICE.amount)], r"\$\[1\]\.percent"),
        (Box[Price], Box(Discount(PRICE.amount)), r"\$\.content\.percent"),
        (Holder, Holder(inner=Derived()), r"\$\.inner\.extra"),
        (Entry, {"line": LINE, "note": "", "extra": 1}, r"\$\.extra"),
    ],
)
def test_what_reading_would_lose_is_not_written(of: Any, value: Any, path: str) -> None:
    typed = converter(of)
    assert typed is not None
    with pytest.raises(SerDesError, match=f"{path} would be lost"):
        typed.serialize(value, CONTEXT)


class Login(pydantic.BaseModel):
    password: pydantic.SecretStr
    page: pydantic.HttpUrl | None = None


def test_a_secret_is_not_recorded_as_something_else() -> None:
    typed = converter(Login)
    assert typed is not None
    with pytest.raises(SerDesError, match="a SecretStr would be recorded as asterisks"):
        typed.serialize(Login(password=pydantic.SecretStr("x")), CONTEXT)


def test_a_type_that_cannot_be_told_apart_leaves_values_alone_and_says_why() -> None:
    typed = converter(Price | Line)
    assert typed is not None
    assert typed.read({"sku": 1}) == {"sku": 1}
    with pytest.raises(SerDesError, match=r"Unsupported type.*more than one dataclass"):
        typed.serialize(PRICE, CONTEXT)
    for hidden in (Hidden, list[Hidden]):
        with pytest.raises(ValidationError, match="begin with an underscore would be lost"):
            asked_for(hidden)
    with pytest.raises(ValidationError, match=r"returns=.*Price \| .*Line cannot be kept: .*more than one dataclass"):
        asked_for(Price | Line)


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Local:
        n: int

    class Loose(NamedTuple):
        n: int

    monkeypatch.setitem(sys.modules, "msgspec", None)
    typed = converter(Local)
    assert typed is not None
    assert typed.read(None) is None
    for use in (lambda: typed.read({"n": 1}), lambda: typed.serialize(Local(1), CONTEXT)):
        with pytest.raises(
            (MisfitError, SerDesError), match=r"Local is converted by msgspec.*pip install perdure\[typed\]"
        ):
            use()
    with pytest.raises(ValidationError, match=r"pip install perdure\[typed\]"):
        asked_for(Local)
    assert converter(Loose) is None
    member = converter(Odd)
    assert member is not None
    assert member.read(1) is Odd.NUMBER


# ---- what others send


def test_what_was_sent_is_parsed_into_the_type() -> None:
    sent = Sent(sent_as(list[Line]))
    assert sent.deserialize(
        '[{"sku": "a", "price": {"amount": "1.50"}, "tags": ["x"], "pair": [1, "b"]}]', CONTEXT
    ) == [LINE]
    assert Sent(sent_as(int)).deserialize("5", CONTEXT) == 5
    assert Sent(sent_as(Any)).deserialize('{"a": [1]}', CONTEXT) == {"a": [1]}


@pytest.mark.parametrize(
    ("of", "text", "words"),
    [
        (Line, "yes!", r"it is no JSON, and Line is wanted .* What was sent is 'yes!'"),
        (Line, '{"sku": 1}', r"at `\$\.sku`\. What was sent is '{\"sku\": 1}'"),
        (Line, "null", "got `null`"),
        (int, '"5"', "it is not int: Expected `int`, got `str`"),
        (Color, '"green"', "What was sent is '\"green\"'"),
        (Any, "{", "it is no JSON"),
        (list[int], "[" + "1," * 5000 + "null]", r"… \(10,008 characters\)"),
    ],
)
def test_what_was_sent_is_told_when_it_does_not_fit(of: Any, text: str, words: str) -> None:
    with pytest.raises(MisfitError, match=words) as caught:
        Sent(sent_as(of)).deserialize(text, CONTEXT)
    assert len(str(caught.value)) < 800


def test_items_of_a_batch_have_a_type() -> None:
    typed = converter(BatchResult[Price])
    assert typed is not None
    assert converter(BatchResult[int]) is None
    assert converter(Card) is not None
