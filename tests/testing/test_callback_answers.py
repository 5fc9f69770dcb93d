"""Text or JSON: each way to answer a callback, as the guide's table says, meets both kinds of handlers."""

from __future__ import annotations

import importlib
import json
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from perdure import DurableContext, durable_execution
from perdure.cli import acting
from perdure.cli.commands import app
from perdure.cli.live import Display
from perdure.cli.run import _prompt
from perdure.local import LocalService
from perdure.serdes import DEFAULT_JSON_SERDES
from perdure.testing import DurableFunctionTestRunner

if TYPE_CHECKING:
    from collections.abc import Callable

assert acting.app is app  # importing it adds the commands


@durable_execution
def reads_text(_event: Any, context: DurableContext) -> Any:
    return context.wait_for_callback(lambda *_: None, name="ask")


@durable_execution
def reads_json(_event: Any, context: DurableContext) -> Any:
    return context.wait_for_callback(lambda *_: None, name="ask", serdes=DEFAULT_JSON_SERDES)


@durable_execution
def reads_json_itself(_event: Any, context: DurableContext) -> Any:
    return context.create_callback(name="ask", serdes=DEFAULT_JSON_SERDES).result()


def by_command(*options: str) -> Callable[[LocalService, str], None]:
    def answer(service: LocalService, callback_id: str) -> None:
        said = CliRunner().invoke(app, ["callback", "succeed", callback_id, *options], obj=service.client)
        assert said.exit_code == 0, said.output

    return answer


def by_boto3(result: bytes) -> Callable[[LocalService, str], None]:
    def answer(service: LocalService, callback_id: str) -> None:
        service.client.send_durable_execution_callback_success(CallbackId=callback_id, Result=result)

    return answer


def by_prompt(typed: str) -> Callable[[LocalService, str], None]:
    def answer(service: LocalService, _callback_id: str) -> None:
        console = Console(force_terminal=True, file=StringIO())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Console, "input", lambda *_: typed)
            patch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda _: True})())
            assert _prompt(service, Display(console, quiet=False))

    return answer


TEXT = {"command": by_command("--result", "yes", "--text"), "boto3": by_boto3(b"yes")}
JSON = {"command": by_command("--result", '"yes"'), "boto3": by_boto3(b'"yes"'), "prompt": by_prompt('"yes"')}


def answered(handler: Any, answer: Callable[[LocalService, str], None]) -> Any:
    service = LocalService().register("f", handler)
    handle = service.run("f", stop_at_callback=True)
    answer(service, handle.callback_id("ask"))
    assert handle.drive().status == "SUCCEEDED", handle.error
    return handle.value


@pytest.mark.parametrize("how", TEXT)
def test_text_reaches_a_handler_that_reads_text(how: str) -> None:
    assert answered(reads_text, TEXT[how]) == "yes"


@pytest.mark.parametrize("how", JSON)
@pytest.mark.parametrize("handler", [reads_json, reads_json_itself])
def test_json_reaches_one_that_reads_json(how: str, handler: Any) -> None:
    assert answered(handler, JSON[how]) == "yes"


def test_without_a_serdes_nobody_reads_json() -> None:
    assert answered(reads_text, JSON["command"]) == '"yes"'


def test_text_that_is_no_json_is_told_to_a_handler_that_reads_json() -> None:
    service = LocalService().register("f", reads_json)
    handle = service.run("f", stop_at_callback=True)
    TEXT["command"](service, handle.callback_id("ask"))
    assert handle.drive().status == "FAILED"
    assert handle.error is not None
    assert handle.error["ErrorType"].endswith("SerDesError")


@pytest.mark.parametrize(
    ("handler", "sent", "read"),
    [
        (reads_text, "yes", "yes"),
        (reads_text, b"yes", "yes"),
        (reads_text, {"a": 1}, '{"a": 1}'),
        (reads_json, '"yes"', "yes"),
        (reads_json, {"a": 1}, {"a": 1}),
        (reads_json, 5, 5),
    ],
)
@pytest.mark.parametrize("how", ["send", "answer"])
def test_a_runner_sends_text_as_it_is_and_all_else_as_json(handler: Any, sent: Any, read: Any, how: str) -> None:
    with DurableFunctionTestRunner(handler) as runner:
        if how == "send":
            arn = runner.run_async(event={})
            runner.send_callback_success(runner.wait_for_callback(arn, "ask"), sent)
            result = runner.wait_for_result(arn)
        else:
            runner.answer_callback("ask", sent)
            result = runner.run(event={})
    assert result.value == read


def test_the_example_takes_what_the_guide_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    handler = importlib.import_module("approval").handler
    for answer in JSON.values():
        service = LocalService().register("f", handler)
        handle = service.run("f", "{}", stop_at_callback=True)
        answer(service, handle.callback_id("ask-Grace"))
        assert json.loads(handle.drive().result or "") == {"approved": True, "by": "Grace"}
