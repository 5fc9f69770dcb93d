"""The context logger on the standard library's."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock, create_autospec, patch

import pytest

from perdure import DurableContext, StepContext, durable_execution
from perdure.local import LocalService
from perdure.logger import Logger, LogInfo
from perdure.retries import RetryPresets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (("failed", ValueError("no")), "failed no"),
        (("failed", 1, "b"), "failed 1 b"),
        (("failed", {}), "failed {}"),
        (("failed", {"a": 1}), "failed {'a': 1}"),
        (("failed %s", 1), "failed 1"),
        (("failed %(a)s", {"a": 1}), "failed 1"),
        (("failed",), "failed"),
    ],
)
def test_arguments_that_a_message_has_no_place_for_come_after_it(
    given: tuple[Any, ...], shown: str, standard: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    Logger.from_log_info(standard, INFO).error(*given)
    assert caplog.records[0].getMessage() == shown


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


@pytest.mark.parametrize("made", [Mock, create_autospec])
@pytest.mark.parametrize("kind", [logging.Logger, logging.LoggerAdapter])
def test_a_mock_of_a_logger_is_called_with_what_the_user_knows_of(made: Any, kind: type) -> None:
    """As a test compares it."""
    mock = made(spec=kind) if made is Mock else made(kind, instance=True)
    Logger.from_log_info(mock, INFO).info("sent %s", 1, extra={"more": 2})
    mock.info.assert_called_once_with("sent %s", 1, extra={**INFO.extras(), "more": 2})


def test_so_is_a_method_that_a_test_has_replaced(standard: logging.Logger) -> None:
    with patch.object(standard, "info") as mock:
        Logger.from_log_info(standard, INFO).info("sent")
    mock.assert_called_once_with("sent", extra=INFO.extras())


# ---- further keywords


def test_a_standard_logger_gets_its_own_keywords_and_the_rest_as_fields(
    standard: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    logger = Logger.from_log_info(standard, INFO)
    try:
        {}["lost"]
    except LookupError:
        logger.error("one", exc_info=True, customer=1)  # noqa: G201 - what is tested
    logger.warning("two", stack_info=True, extra={"a": 1}, b=2)
    logger.exception("three", exc_info=ValueError("given"))  # noqa: LOG004 - what is tested
    one, two, three = (vars(record) for record in caplog.records)
    assert (one["exc_info"][0], one["customer"], one["executionArn"]) == (KeyError, 1, "arn")
    assert (bool(two["stack_info"]), two["a"], two["b"]) == (True, 1, 2)
    assert str(three["exc_info"][1]) == "given"
    assert {record["funcName"] for record in (one, two, three)} == {
        "test_a_standard_logger_gets_its_own_keywords_and_the_rest_as_fields"
    }


def test_a_stacklevel_counts_from_the_caller(standard: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    def helper() -> None:
        Logger.from_log_info(standard, INFO).info("here", stacklevel=2)

    helper()
    assert caplog.records[0].funcName == "test_a_stacklevel_counts_from_the_caller"


def test_an_adapter_of_the_standard_library_takes_any_keyword(caplog: pytest.LogCaptureFixture) -> None:
    class Kept(logging.LoggerAdapter[logging.Logger]):
        def process(self, msg: Any, kwargs: Any) -> Any:
            return msg, kwargs

    Logger.from_log_info(Kept(logging.getLogger("perdure.test"), {}), INFO).error("x", exc_info=True, customer=1)
    record: Any = caplog.records[0]
    assert (record.customer, record.funcName) == (1, "test_an_adapter_of_the_standard_library_takes_any_keyword")


@pytest.mark.parametrize("field", ["name", "message", "args", "levelname"])
def test_a_field_that_a_record_has_itself_is_renamed(
    field: str, standard: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    Logger.from_log_info(standard, INFO).info("hello", extra={field: "mine", "other": 1})
    record = vars(caplog.records[0])
    assert (record[f"{field}_"], record["other"], record["message"]) == ("mine", 1, "hello")


class LikePowertools:
    """Takes what the logger of Powertools takes: any keyword, as a field of the line."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def error(
        self,
        msg: object,
        *args: object,
        exc_info: Any = None,
        stack_info: bool = False,
        stacklevel: int = 2,
        extra: Any = None,
        **kwargs: object,
    ) -> None:
        self.lines.append((msg, args, exc_info, stack_info, stacklevel, extra["operationName"], kwargs))

    debug = info = warning = exception = error


class Plain:
    """Takes what the official interface asks for, and no more."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def error(self, msg: object, *args: object, extra: Any = None) -> None:
        self.lines.append((msg, args, {key: extra[key] for key in extra.keys() - INFO.extras().keys()}))

    debug = info = warning = exception = error


def test_a_logger_that_takes_more_is_given_more() -> None:
    target = LikePowertools()
    Logger.from_log_info(target, INFO).error("x", 1, exc_info=True, customer=1)
    assert target.lines == [("x", (1,), True, False, 4, "charge", {"customer": 1})]


def test_a_logger_that_takes_no_more_gets_fields() -> None:
    target = Plain()
    Logger.from_log_info(target, INFO).error("x", 1, exc_info=True, customer=1)
    assert target.lines == [("x", (1,), {"exc_info": True, "customer": 1})]


# ---- what goes wrong in a log goes no further


class Broken(logging.Handler):
    """Raises where it should write."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError(f"cannot write {record.msg}")


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


@pytest.fixture
def broken() -> Iterator[None]:
    handler, root = Broken(), logging.getLogger()
    level, own = root.level, logging.getLogger("perdure").level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("perdure").setLevel(logging.DEBUG)
    yield
    root.removeHandler(handler)
    root.setLevel(level)
    logging.getLogger("perdure").setLevel(own)


def filtered(context: DurableContext) -> None:
    def refuse(_record: logging.LogRecord) -> bool:
        raise RuntimeError("cannot judge")

    root = logging.getLogger()
    root.addFilter(refuse)
    try:
        context.logger.warning("hello")
    finally:
        root.removeFilter(refuse)


def set_and_log(target: Any) -> Callable[[DurableContext], None]:
    def log(context: DurableContext) -> None:
        context.set_logger(target)
        context.logger.info("hello")

    return log


def in_a_step(context: DurableContext) -> None:
    def body(step: StepContext) -> None:
        step.logger.error("%d", "x", exc_info=True, customer=Unprintable())  # noqa: LOG014 - what is tested

    context.step(body)


LINES: dict[str, Callable[[DurableContext], None]] = {
    "arguments": lambda context: context.logger.error("%d and %s", "x"),  # noqa: PLE1206 - what is tested
    "no string": lambda context: context.logger.error(Unprintable()),
    "extra": lambda context: context.logger.error("x", extra=["no mapping"]),  # type: ignore[arg-type]
    "filter": filtered,
    "no logger": set_and_log(object()),
    "raises": set_and_log(type("Raises", (), {"info": lambda *_, **__: 1 // 0})()),
    "in a step": in_a_step,
}


def run(handler: Callable[[Any, DurableContext], Any]) -> Any:
    handle = LocalService().register("f", durable_execution(handler)).run("f", event={})
    assert handle.status == "SUCCEEDED", handle.error
    return handle.value


@pytest.mark.parametrize("line", LINES)
def test_logging_never_fails_an_execution(line: str, broken: None, capsys: pytest.CaptureFixture[str]) -> None:
    def handler(_event: Any, context: DurableContext) -> str:
        LINES[line](context)
        return "on it goes"

    assert run(handler) == "on it goes"
    assert "--- Logging error ---" in capsys.readouterr().err


def test_what_could_not_be_logged_is_told_with_the_reason(broken: None, capsys: pytest.CaptureFixture[str]) -> None:
    run(lambda _event, context: context.logger.info("paid %d", 5))
    told = capsys.readouterr().err
    assert "This line could not be logged: 'paid %d'" in told
    assert "RuntimeError: cannot write paid %d" in told


def test_what_perdure_logs_itself_fails_no_execution_either(broken: None, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: Any) -> None:
        raise LookupError("lost")

    def handler(_event: Any, context: DurableContext) -> list[str]:
        seen = []
        for operation in (
            lambda: context.step(fail, retry=RetryPresets.none()),
            lambda: context.run_in_child_context(fail),
            lambda: context.run_in_child_context(fail, is_virtual=True),
            lambda: context.map([1], fail).throw_if_error(),
        ):
            try:
                operation()
            except Exception as error:  # noqa: BLE001 - its name is looked at
                seen.append(type(error).__name__)
        return seen

    assert run(handler) == ["StepError", "ChildContextError", "ChildContextError", "ChildContextError"]
    assert "cannot write context %s failed" in capsys.readouterr().err


def test_nothing_is_told_where_the_standard_library_would_not(
    broken: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for quiet in (lambda: monkeypatch.setattr(logging, "raiseExceptions", False), lambda: None):
        quiet()
        run(lambda _event, context: context.logger.info("hello"))
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr("sys.stderr", None)
    run(lambda _event, context: context.logger.info("hello"))
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    run(lambda _event, context: context.logger.info("hello"))
    assert capsys.readouterr().err == ""
