"""The exceptions: families, wire names, rebuilding, and what must not be imported with them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import exceptions
from perdure.exceptions import (
    CallbackError,
    CallbackTimeoutError,
    CheckpointError,
    ChildContextError,
    DurableExecutionsError,
    DurableOperationError,
    ExecutionError,
    InvocationError,
    InvokeError,
    OrphanedChildException,
    RetryableSerDesError,
    SerDesError,
    StepError,
    SuspendExecution,
    TimedSuspendExecution,
    ValidationError,
    operation_error,
    register_operation_error,
    wire_error_fields,
    wire_error_type,
)
from support import imports

OFFICIAL = "aws_durable_execution_sdk_python.exceptions"


class Shop:
    class OutOfStock(Exception):  # noqa: N818
        pass


class Unprintable(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("control", [SuspendExecution, OrphanedChildException, exceptions.BackgroundThreadError])
def test_control_flow_is_not_an_ordinary_exception(control: type[BaseException]) -> None:
    assert not issubclass(control, Exception)


@pytest.mark.parametrize("error", [ValidationError, StepError, SerDesError, ExecutionError, InvocationError])
def test_everything_else_shares_one_root(error: type[Exception]) -> None:
    assert issubclass(error, DurableExecutionsError)


@pytest.mark.parametrize(
    ("error", "wire"),
    [
        (ValueError("x"), "ValueError"),
        (Shop.OutOfStock("x"), f"{__name__}.Shop.OutOfStock"),
        (StepError("x"), f"{OFFICIAL}.StepError"),
        (StepError("x", error_type="ValueError"), f"{OFFICIAL}.StepError"),
        (RetryableSerDesError("x"), f"{OFFICIAL}.RetryableSerDesError"),
        (type("Mine", (SerDesError,), {})("x"), f"{OFFICIAL}.SerDesError"),
        (type("Mine", (StepError,), {})("x"), f"{__name__}.Mine"),
    ],
)
def test_the_wire_type_is_the_official_name_for_our_own_classes(error: Exception, wire: str) -> None:
    assert wire_error_type(error) == wire


def test_the_default_error_type_is_what_replay_will_read() -> None:
    assert StepError("x").error_type == f"{OFFICIAL}.StepError"


@pytest.mark.parametrize("prefix", [OFFICIAL, "perdure.exceptions"])
@pytest.mark.parametrize("cls", [StepError, InvokeError, ChildContextError, CallbackTimeoutError])
def test_both_prefixes_are_rebuilt(prefix: str, cls: type[DurableOperationError]) -> None:
    rebuilt = DurableOperationError.from_error_fields(f"{prefix}.{cls.__name__}", "m", "d", ["s"])
    assert type(rebuilt) is cls
    assert (rebuilt.message, rebuilt.data, rebuilt.stack_trace) == ("m", "d", ["s"])


@pytest.mark.parametrize("name", [None, "", "ValueError", "shop.OutOfStock", f"{OFFICIAL}.ExecutionError"])
def test_other_names_give_the_base_class(name: str | None) -> None:
    assert type(StepError.from_error_fields(name, "m", None, None)) is DurableOperationError


@pytest.mark.parametrize("package", ["aws_durable_execution_sdk_python", "perdure"])
def test_a_batch_error_is_rebuilt_without_its_module_having_been_imported(package: str) -> None:
    script = (
        "from perdure.exceptions import DurableOperationError as E;"
        f"print(type(E.from_error_fields('{package}.concurrency.models.BatchCompletionError','m',None,None)).__name__)"
    )
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "BatchCompletionError"


def test_a_registered_class_is_rebuilt() -> None:
    class CustomError(DurableOperationError):
        pass

    register_operation_error(CustomError)
    assert type(DurableOperationError.from_error_fields(wire_error_type(CustomError()), "m", None, None)) is CustomError


def test_a_surfaced_error_has_the_rebuilt_inner_error_as_its_cause() -> None:
    error = operation_error(ChildContextError, f"{OFFICIAL}.StepError", "m", None, None)
    assert type(error) is ChildContextError
    assert type(error.__cause__) is StepError
    assert error.__suppress_context__


@pytest.mark.parametrize("prefix", [OFFICIAL, "perdure.exceptions"])
def test_a_serdes_error_surfaces_as_itself(prefix: str) -> None:
    error = operation_error(StepError, f"{prefix}.SerDesError", "m", None, None)
    assert type(error) is SerDesError


def test_an_error_that_cannot_be_printed_is_recorded_all_the_same() -> None:
    message, kind, data, stack = wire_error_fields(Unprintable())
    assert "RuntimeError" in (message or "")
    assert (kind, data, stack) == (f"{__name__}.Unprintable", None, None)


def test_only_operation_errors_record_data() -> None:
    assert wire_error_fields(StepError("m", "T", "d", ["s"]))[2:] == ("d", ["s"])
    assert wire_error_fields(ValueError("m")) == ("m", "ValueError", None, None)


def test_an_error_without_a_response_is_transient() -> None:
    assert CheckpointError.from_exception(ConnectionError("reset")).is_retryable()


@pytest.mark.parametrize(
    "response", [None, [], {"Error": {"Code": "X"}, "ResponseMetadata": {"HTTPStatusCode": "400"}}]
)
def test_an_odd_response_is_transient_and_does_not_raise(response: object) -> None:
    error = ValueError("x")
    error.response = response  # type: ignore[attr-defined]
    assert CheckpointError.from_exception(error).is_retryable()


def test_a_timed_suspension_knows_its_time() -> None:
    before = exceptions.time.time()
    assert TimedSuspendExecution.from_delay("m", 5).scheduled_timestamp == pytest.approx(before + 5, abs=1)


def test_callback_errors_are_caught_by_their_base() -> None:
    assert issubclass(CallbackTimeoutError, CallbackError)


@pytest.mark.parametrize("module", ["exceptions", "types", "logger"])
def test_the_hot_modules_import_nothing_heavy(module: str) -> None:
    alone = (
        "import sys, types; package = types.ModuleType('perdure'); package.__path__ = [sys.argv[1]];"
        "sys.modules['perdure'] = package;"
    )
    heavy = {"dataclasses", "inspect", "asyncio", "boto3", "decimal", "uuid", "random"}
    folder = exceptions.__file__.rpartition("/")[0]
    assert not heavy & imports.brought(f"{alone} import perdure.{module}", folder)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", "plain"),
        ("", ""),
        ("Grüße \U0001f600 \uffff\0", "Grüße \U0001f600 \uffff\0"),
        ("caf\udce9.txt", "caf\\udce9.txt"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ude00\ud83d", "\\ude00\\ud83d"),
        ("\ud83d\ud83d\ude00\ude00", "\\ud83d\U0001f600\\ude00"),
    ],
)
def test_what_is_written_of_an_error_is_text_that_utf_8_can_hold(text: str, written: str) -> None:
    assert wire_error_fields(ValueError(text))[0] == written
    odd = type("Odd", (StepError,), {"__module__": f"m{text}"})
    assert wire_error_fields(odd(message=text, data=text, stack_trace=[text])) == (
        written,
        f"m{written}.Odd",
        written,
        [written],
    )
    assert wire_error_fields(SerDesError(text))[0] == written


@given(st.text(st.characters(), max_size=20))
def test_no_text_of_an_error_is_without_utf_8(text: str) -> None:
    written = wire_error_fields(ValueError(text))[0]
    assert written is not None
    assert written.encode().decode() == written
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert written == text


def test_what_is_no_text_in_an_error_is_written_as_text() -> None:
    error: Any = StepError(message=cast("Any", 5), data=cast("Any", {"a": 1}), stack_trace=cast("Any", (1, "two")))
    assert wire_error_fields(error)[0::2] == ("5", "{'a': 1}")
    assert wire_error_fields(error)[3] == ["1", "two"]
    error.stack_trace = "all in one"
    assert wire_error_fields(error)[3] == ["all in one"]
    error.message = Unprintable()
    assert wire_error_fields(error)[0] == "(no message: str() of this exception raised RuntimeError)"
