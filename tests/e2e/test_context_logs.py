"""What a context logs, once in the life of an execution, and where lines go."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from perdure import (
    DurableContext,
    durable_execution,
)
from perdure.local import LocalService
from support.invocations import ARN, invoke, op, op_id


class Lines(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def lines() -> Any:
    handler = Lines()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def extras(record: logging.LogRecord) -> dict[str, Any]:
    names = ("executionArn", "parentId", "operationName", "attempt", "operationId", "mine")
    return {name: record.__dict__[name] for name in names if name in record.__dict__}


def test_lines_say_where_they_were_written(lines: Lines) -> None:
    def handler(c: DurableContext) -> None:
        c.logger.info("root %s", 1, extra={"mine": 2})
        c.step(lambda s: s.logger.info("step"), "charge")

        def child(k: DurableContext) -> None:
            k.logger.info("child")
            k.step(lambda s: s.logger.info("inner"), "inner")

        c.run_in_child_context(child)

    invoke(handler)
    assert lines.texts == ["root 1", "step", "child", "inner"]
    assert [extras(record) for record in lines.records] == [
        {"executionArn": ARN, "mine": 2},
        {"executionArn": ARN, "operationName": "charge", "attempt": 1, "operationId": op_id(1)},
        {"executionArn": ARN, "parentId": op_id(2)},
        {
            "executionArn": ARN,
            "parentId": op_id(2),
            "operationName": "inner",
            "attempt": 1,
            "operationId": op_id(2, 1),
        },
    ]
    assert {record.filename for record in lines.records} == {"test_context_logs.py"}


def test_each_line_is_logged_once_in_the_life_of_an_execution(lines: Lines) -> None:
    @durable_execution
    def handler(_event: Any, c: DurableContext) -> None:
        c.logger.info("begin")
        c.step(lambda s: s.logger.info("step"))
        c.logger.info("before the wait")
        c.wait(5)
        c.logger.info("after the wait")

        def child(k: DurableContext) -> None:
            k.logger.info("child")
            k.wait(5)
            k.logger.info("child, later")

        c.run_in_child_context(child)
        c.logger.info("end")

    LocalService().register("f", handler).run("f")
    assert lines.texts == ["begin", "step", "before the wait", "after the wait", "child", "child, later", "end"]


def test_a_context_knows_whether_it_replays() -> None:
    seen: list[bool] = []

    def handler(c: DurableContext) -> None:
        seen.append(c.is_replaying())
        c.step(lambda _: seen.append(c.is_replaying()))
        seen.append(c.is_replaying())
        c.step(lambda _: seen.append(c.is_replaying()))
        seen.append(c.is_replaying())

    invoke(handler, op("STEP", "SUCCEEDED", details={"Result": "null"}))
    assert seen == [True, False, False, False]


def test_lines_may_go_elsewhere() -> None:
    got: list[tuple[str, dict[str, Any]]] = []

    class Mine:
        """A logger that is no `logging.Logger`."""

        def info(self, msg: object, *_args: object, extra: Any = None, **more: Any) -> None:
            assert not more
            got.append((str(msg), dict(extra)))

        debug = warning = error = exception = info

    def handler(c: DurableContext) -> None:
        c.set_logger(Mine())  # type: ignore[arg-type]
        c.logger.info("root")
        c.step(lambda s: s.logger.warning("step"), "s")
        c.run_in_child_context(lambda k: k.logger.error("child"))
        c.map([1], lambda k, *_: k.logger.debug("item"))

    invoke(handler)
    assert [text for text, _ in got] == ["root", "step", "child", "item"]
    assert got[1][1]["operationName"] == "s"
