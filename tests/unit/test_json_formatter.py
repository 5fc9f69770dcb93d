"""Logs as JSON: the fields of Lambda's own, and no line is lost for a value in it."""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.logger import JsonFormatter, log_as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

lambda_logs = pytest.importorskip("awslambdaric.lambda_runtime_log_utils")


def record(**fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("shop", logging.ERROR, "/x/y.py", 5, "hello %s", ("you",), None, "buy")
    vars(made).update(fields)
    return made


def lines(made: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(made)
    assert "\n" not in text
    return json.loads(text)  # type: ignore[no-any-return]


def test_the_fields_are_those_of_lambdas_own_logs() -> None:
    try:
        raise KeyError("x")  # noqa: TRY301  to have one
    except KeyError:
        raised = sys.exc_info()
    known = {"executionArn": "arn", "operationId": "op", "operationName": "n", "attempt": 1, "parentId": "p"}
    made = record(exc_info=raised, aws_request_id="r", tenant_id="t", customer={"a": 1}, **known)
    theirs = json.loads(lambda_logs.JsonFormatter().format(made))
    ours = lines(made)
    assert ours.keys() == theirs.keys()
    moments = ("timestamp", "stackTrace")  # theirs are without milliseconds, and the trace without its first line
    assert {name: ours[name] for name in ours if name not in (*moments, "errorMessage")} == {
        name: theirs[name] for name in theirs if name not in (*moments, "errorMessage")
    }
    assert dt.datetime.fromisoformat(ours["timestamp"]).timestamp() == pytest.approx(made.created, abs=0.002)


def test_what_is_not_known_is_left_out() -> None:
    assert lines(record()).keys() == {"timestamp", "level", "message", "logger"}


class Odd:
    def __str__(self) -> str:
        raise ValueError


def ring() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (dt.date(2026, 1, 1), "2026-01-01"),
        (float("nan"), "nan"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (ring(), "[[...]]"),
        (Odd(), "<Odd, whose text cannot be had: ValueError>"),
        ("\ud800", "\ud800"),
    ],
)
def test_what_json_has_no_form_for_is_written_as_text(value: Any, written: str) -> None:
    said = lines(record(value=value, other="kept"))
    assert said["value"] == written
    assert said["other"] == "kept"


def test_a_value_without_a_form_leaves_the_others_theirs() -> None:
    said = lines(record(value=float("nan"), attempt=2, items=[1, {"a": None}], dated={"on": dt.date(2026, 1, 1)}))
    assert said["attempt"] == 2
    assert said["items"] == [1, {"a": None}]
    assert said["dated"] == {"on": "2026-01-01"}


@pytest.mark.parametrize("key", [1, None, (1, 2)])
def test_no_line_is_lost_for_a_key_that_is_no_text(key: Any) -> None:
    made = record()
    vars(made)[key] = "x"  # as a logger does with an extra={1: "x"}
    said = lines(made)
    assert (said["message"], said[str(key)]) == ("hello you", "x")


def test_the_stack_is_written_where_it_is_asked_for() -> None:
    said = lines(record(stack_info="Stack (most recent call last):\n  File x"))
    assert said["stackInfo"] == ["Stack (most recent call last):", "  File x"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner),
)


@given(message=st.text(), value=VALUES)
def test_every_line_is_one_line_of_json(message: str, value: Any) -> None:
    made = record(value=value)
    made.msg, made.args = message, ()
    assert lines(made)["message"] == message


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """Give a root logger of one's own."""
    made = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr(logging, "getLogger", lambda *_: made)
    monkeypatch.delenv("AWS_LAMBDA_LOG_FORMAT", raising=False)
    monkeypatch.delenv("AWS_LAMBDA_LOG_LEVEL", raising=False)
    yield made
    made.handlers.clear()


class Bare(logging.Handler):
    """Ends no line, as Lambda's."""

    def __init__(self) -> None:
        super().__init__()
        self.written = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.written += self.format(record)


def test_each_handler_writes_whole_lines(root: logging.Logger) -> None:
    bare, stream = Bare(), io.StringIO()
    root.handlers[:] = [bare, logging.StreamHandler(stream)]
    log_as_json()
    root.warning("a")
    root.warning("b")
    for written in (bare.written, stream.getvalue()):
        assert [json.loads(line)["message"] for line in written.splitlines()] == ["a", "b"]


def test_where_lambda_writes_json_its_formatters_stay(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_LOG_FORMAT", "JSON")
    theirs = Bare()
    theirs.setFormatter(lambda_logs.JsonFormatter())
    root.handlers[:] = [theirs]
    log_as_json()
    root.warning("once", extra={"executionArn": "arn"})
    assert theirs.written.count("executionArn") == theirs.written.count("once") == 1


@pytest.mark.parametrize(
    ("named", "given", "level"),
    [
        ("", None, logging.WARNING),
        ("DEBUG", None, logging.DEBUG),
        ("trace", None, 5),
        ("FATAL", None, logging.CRITICAL),
        ("loud", None, logging.WARNING),
        ("DEBUG", "ERROR", logging.ERROR),
    ],
)
def test_the_level_is_lambdas(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, named: str, given: str | None, level: int
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", named)
    root.handlers[:] = [Bare()]
    log_as_json(given)
    assert root.level == level


def test_a_logger_without_handlers_gets_one(root: logging.Logger) -> None:
    root.handlers.clear()  # of pytest's own, which serves all tests
    log_as_json()
    assert len(root.handlers) == 1
    assert isinstance(root.handlers[0].formatter, JsonFormatter)
