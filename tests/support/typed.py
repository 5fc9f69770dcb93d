"""Types that plain data does not keep, and values of them with what is recorded: for the tests of typed results."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import attrs
import msgspec
import pydantic

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Odd(enum.Enum):
    """Of which msgspec would have nothing."""

    NUMBER = 1
    TEXT = "one"
    PAIR = (1, 2)


class Status(enum.StrEnum):
    OPEN = "open"


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: Color = Color.RED


@dataclass(frozen=True, slots=True)
class Price:
    amount: decimal.Decimal
    currency: str = "EUR"


@dataclass
class Line:
    sku: str
    price: Price
    tags: set[str] = field(default_factory=set)
    pair: tuple[int, str] = (0, "")


@dataclass
class Order:
    id: uuid.UUID
    at: dt.datetime
    lines: list[Line]
    raw: bytes = b""
    color: Color | None = None
    day: dt.date | None = None
    more: Any = None
    _private: int = 7


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T


class Entry(TypedDict):
    line: Line
    note: str


class Plain(TypedDict, total=False):
    name: str
    count: int


class Struct(msgspec.Struct, omit_defaults=True):
    id: int
    color: Color = Color.RED


class Card(msgspec.Struct, tag=True):
    number: str


class Cash(msgspec.Struct, tag=True):
    amount: int


@attrs.define
class Attrs:
    id: int
    name: str = "n"


@attrs.define
class Hidden:
    id: int
    _hidden: str = "h"


class Inner(pydantic.BaseModel):
    tags: frozenset[str] = frozenset()
    price: decimal.Decimal = decimal.Decimal(0)


class Strict(pydantic.BaseModel, strict=True, extra="forbid"):
    tags: set[int] = set()
    color: Color = Color.RED
    at: dt.datetime | None = None
    parsed: pydantic.Json[list[int]] = [1]

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def count(self) -> int:
        return len(self.tags)


class Model(pydantic.BaseModel):
    id: int = pydantic.Field(alias="theId")
    inner: list[Inner] = []
    color: Color = Color.BLUE
    at: dt.datetime | None = None

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.id


@dataclass
class WithModel:
    model: Model
    kept: tuple[int, ...] = ()


ID = uuid.UUID(int=5)
MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
PRICE = Price(decimal.Decimal("1.50"))
PLAIN_PRICE = {"amount": decimal.Decimal("1.50"), "currency": "EUR"}
LINE = Line("a", PRICE, {"x"}, (1, "b"))
PLAIN_LINE = {"sku": "a", "price": PLAIN_PRICE, "tags": ["x"], "pair": (1, "b")}
ORDER = Order(ID, MOMENT, [LINE], b"\x00\xff", Color.BLUE, dt.date(2026, 1, 2), [1, (2, "three")], 8)
PLAIN_ORDER = {
    "id": ID,
    "at": MOMENT,
    "lines": [PLAIN_LINE],
    "raw": b"\x00\xff",
    "color": "blue",
    "day": dt.date(2026, 1, 2),
    "more": [1, (2, "three")],
    "_private": 8,
}
MODEL = Model(theId=3, inner=[Inner(tags=frozenset({"t"}), price=decimal.Decimal("2.5"))], at=MOMENT)
PLAIN_MODEL = {
    "id": 3,
    "inner": [{"tags": ["t"], "price": decimal.Decimal("2.5")}],
    "color": "blue",
    "at": MOMENT,
}

VALUES: dict[str, tuple[Any, Any, Any]] = {
    "dataclass": (Order, ORDER, PLAIN_ORDER),
    "frozen dataclass with slots": (Price, PRICE, PLAIN_PRICE),
    "dataclass of itself": (
        Tree,
        Tree("a", [Tree("b")]),
        {"name": "a", "children": [{"name": "b", "children": []}]},
    ),
    "generic dataclass": (Box[Color], Box(Color.RED), {"content": "red"}),
    "enum": (Color, Color.RED, "red"),
    "enum of anything": (Odd, Odd.PAIR, (1, 2)),
    "enum of texts": (Status, Status.OPEN, "open"),
    "flags": (Rights, Rights.READ | Rights.WRITE, 3),
    "set": (set[int], {1}, [1]),
    "bare set": (set, {1, 2}, [1, 2]),
    "frozenset of enums": (frozenset[Color], frozenset({Color.RED}), ["red"]),
    "named tuple": (Point, Point(1, Color.BLUE), (1, "blue")),
    "typed dict": (Entry, {"line": LINE, "note": "n"}, {"line": PLAIN_LINE, "note": "n"}),
    "struct": (Struct, Struct(1), {"id": 1}),
    "union of structs": (Card | Cash, Cash(5), {"type": "Cash", "amount": 5}),
    "attrs": (Attrs, Attrs(1, "x"), {"id": 1, "name": "x"}),
    "model": (Model, MODEL, PLAIN_MODEL),
    "strict model": (
        Strict,
        Strict(tags={1}, at=MOMENT, parsed="[2]"),
        {"tags": [1], "color": "red", "at": MOMENT, "parsed": "[2]"},
    ),
    "models": (list[Model], [MODEL], [PLAIN_MODEL]),
    "dataclass of a model": (WithModel, WithModel(MODEL, (1, 2)), {"model": PLAIN_MODEL, "kept": (1, 2)}),
    "optional": (Color | None, Color.RED, "red"),
    "optional none": (Price | None, None, None),
    "list": (list[Price], [PRICE], [PLAIN_PRICE]),
    "dict": (dict[str, Price], {"a": PRICE}, {"a": PLAIN_PRICE}),
    "dict by numbers": (dict[int, Price], {1: PRICE}, {"1": PLAIN_PRICE}),
    "dict by ids": (dict[uuid.UUID, Color], {ID: Color.RED}, {str(ID): "red"}),
    "dict by members": (dict[Color, int], {Color.RED: 1}, {"red": 1}),
    "sequence": (Sequence[Price], [PRICE], [PLAIN_PRICE]),
    "tuple": (tuple[int, Color], (1, Color.RED), (1, "red")),
    "tuple of any length": (tuple[Price, ...], (PRICE, PRICE), (PLAIN_PRICE, PLAIN_PRICE)),
    "annotated": (Annotated[Price, "by somebody"], PRICE, PLAIN_PRICE),
    "union with a literal": (Price | Literal["none"], "none", "none"),
    "length of time": (dt.timedelta, dt.timedelta(seconds=90), "PT90S"),
}
"""By a name: a type, a value of it, and what plain data is recorded of it."""
