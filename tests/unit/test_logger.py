"""The context logger on the standard library's."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from perdure.logger import Logger, LogInfo


class State:
    durable_execution_arn = "arn"


@pytest.fixture
def standard() -> logging.Logger:
    logger = logging.getLogger("perdure.test")
    logger.setLevel(logging.DEBUG)
    return logger


INFO = LogInfo(State(), "parent", "id", "charge", 2)


def test_lines_carry_where_they_were_written(standard: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    Logger.from_log_info(standard, INFO).info("paid %s", 5, extra={"currency": "EUR"})
    record: Any = caplog.records[0]
    assert record.getMessage() == "paid 5"
    assert (record.executionArn, record.parentId, record.operationId) == ("arn", "parent", "id")
    assert (record.operationName, record.attempt, record.currency) == ("charge", 2, "EUR")


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "exception"])
def test_a_record_points_at_the_user_s_line(
    level: str, standard: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    getattr(Logger.from_log_info(standard, INFO), level)("here")
    assert caplog.records[0].pathname == __file__
    assert caplog.records[0].funcName == "test_a_record_points_at_the_user_s_line"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "exception"])
def test_nothing_is_logged_while_replaying(
    level: str, standard: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    replaying = [True]
    logger = Logger.from_log_info(standard, INFO, lambda: replaying[0])
    getattr(logger, level)("silent")
    getattr(logger.with_log_info(INFO), level)("silent")
    assert not caplog.records
    replaying[0] = False
    getattr(logger, level)("loud")
    assert [record.message for record in caplog.records] == ["loud"]


@pytest.mark.parametrize(
    ("info", "keys"),
    [
        (LogInfo(State()), {"executionArn"}),
        (LogInfo(State(), parent_id="p"), {"executionArn", "parentId"}),
        (LogInfo(State(), operation_id="i", name="n"), {"executionArn", "operationId", "operationName"}),
        (LogInfo(State(), "", "", "", 0), {"executionArn", "attempt"}),
    ],
)
def test_what_is_not_known_is_left_out(info: LogInfo, keys: set[str]) -> None:
    assert set(info.extras()) == keys


def test_the_logger_behind_is_given_back(standard: logging.Logger) -> None:
    assert Logger(standard, {"a": 1}).with_is_replaying(lambda: True).get_logger() is standard
