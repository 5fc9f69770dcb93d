"""What must not take the service down: what handlers return and raise, and settings that make no sense."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.local import LocalService, SqliteStore
from support.handlers import good

if TYPE_CHECKING:
    from pathlib import Path


def never_tells() -> Exception:
    class Silent(Exception):  # noqa: N818 - a user's
        def __str__(self) -> str:
            raise RuntimeError("no words")

    return Silent()


@pytest.mark.parametrize(
    "error",
    [
        {"ErrorMessage": "m", "StartTimestamp": "now"},
        {"ErrorMessage": 5},
        {"ErrorMessage": {1, 2}},
        {"ErrorType": "T", "StackTrace": "no list"},
        ["no object"],
        {"ErrorMessage": "x" * 7_000_000},
    ],
)
def test_an_output_that_is_none_fails_its_execution_and_no_other(tmp_path: Path, error: Any) -> None:
    with LocalService(store=SqliteStore(tmp_path / "x.db")) as service:
        service.register("bad", lambda _event, _context: {"Status": "FAILED", "Error": error})
        service.register("good", good)
        failed = service.run("bad")
        assert failed.status == "FAILED"
        assert failed.error is not None
        assert failed.error["ErrorType"] == "InvalidParameterValueException"
        assert service.run("good").value == 1


@pytest.mark.parametrize("problem", [SystemExit(3), never_tells(), GeneratorExit()])
def test_whatever_a_plain_function_raises_is_the_error_of_its_call(problem: BaseException) -> None:
    def raises(_event: Any, _context: Any) -> None:
        raise problem

    def parent(_event: Any, ctx: DurableContext) -> str:
        try:
            return str(ctx.invoke("plain", 1))
        except Exception as error:  # noqa: BLE001 - whatever it is
            return type(error).__name__

    service = LocalService().register("plain", raises, durable=False).register("parent", durable_execution(parent))
    assert service.client.invoke(FunctionName="plain")["FunctionError"] == "Unhandled"
    assert service.run("parent").value == "InvokeError"


def test_a_handler_that_raises_what_cannot_be_told_fails_its_invocation() -> None:
    def raises(_event: Any, _context: Any) -> None:
        raise never_tells()

    handle = LocalService().register("f", raises).run("f")
    assert handle.status == "FAILED"
    assert "cannot be told: RuntimeError" in (handle.error or {})["ErrorMessage"]


def test_a_plain_function_that_returns_too_much_has_failed() -> None:
    service = LocalService().register("plain", lambda _event, _context: "x" * 6_291_456, durable=False)
    answer = service.client.invoke(FunctionName="plain")
    assert answer["FunctionError"] == "Unhandled"
    assert b"Function.ResponseSizeTooLarge" in answer["Payload"].read()


@pytest.mark.parametrize(
    "wrong",
    [
        {"execution_timeout": -5},
        {"execution_timeout": 1e12},
        {"execution_timeout": timedelta(days=-1)},
        {"retention_days": 0},
        {"retention_days": 91},
        {"timeout_seconds": 0},
        {"timeout_seconds": 901},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LocalService().register("f", good, **wrong)


@pytest.mark.parametrize("wrong", ["60", True, [60]])
def test_a_timeout_that_is_no_length_of_time_is_refused(wrong: Any) -> None:
    service = LocalService().register("f", good)
    for call in (service.start, service.run):
        with pytest.raises(TypeError, match=r"execution_timeout must be a Duration, a datetime\.timedelta or a number"):
            call("f", execution_timeout=wrong)
    assert not service.handles


@pytest.mark.parametrize("name", ["", "a/b", "not a name", "x" * 65])
def test_a_name_that_lambda_would_not_take_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of an execution"):
        LocalService().register("f", good).start("f", name=name)
