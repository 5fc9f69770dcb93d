"""Versions of functions: executions stay on the one they began with, on the command line too."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from perdure import DurableContext, durable_execution
from perdure.cli.commands import app
from perdure.cli.serve import _register
from perdure.local import LocalService, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HANDLER = """
from perdure import durable_execution

@durable_execution
def handler(event, context):
    context.create_callback(name="answer").result()
    return "{}"
"""


def of(word: str) -> Callable[[Any, Any], Any]:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> str:
        context.wait(60)
        return word

    return handler


def test_an_execution_goes_on_with_its_version_when_a_newer_one_comes() -> None:
    service = LocalService().register("f", of("old"), version=1)
    first = service.start("f:1")
    service.register("f", of("new"), version=2).register("f", of("newest"))
    assert first.drive().value == "old"
    assert service.run("f:2").value == "new"
    assert service.run("f").value == "newest"
    assert service.functions.publish("f") == "3"
    assert service.functions.qualifiers("f") == ["1", "2", "3"]


def test_a_version_alone_is_the_latest_too() -> None:
    service = LocalService().register("f", of("seventh"), version=7)
    assert service.run("f").value == "seventh"
    with pytest.raises(LookupError, match="f:6 was not published"):
        service.start("f:6")


def test_a_version_may_be_given_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with LocalService(store=SqliteStore(path)) as service:
        arn = service.register("f", of("old"), version=2).start("f:2").arn
    with LocalService(store=SqliteStore(path)) as service:
        service.register("f", of("other")).register("f", of("other"), version=1)
        assert service.execution(arn).drive().status == "RUNNING"
        service.register("f", of("mended"), version=2)
        assert service.execution(arn).drive().value == "mended"


@pytest.mark.parametrize("version", ["0", "01", "-1", "1.5", "latest", "", 0, 10**18])
def test_what_is_no_version_is_refused(version: Any) -> None:
    with pytest.raises(ValueError, match="versions are whole numbers from 1"):
        LocalService().register("f", of("x"), version=version)


@pytest.mark.parametrize("alias", ["12", "", "a b", "$LATEST", "x" * 129])
def test_what_is_no_alias_is_refused(alias: str) -> None:
    service = LocalService().register("f", of("x"), version=1)
    with pytest.raises(ValueError, match="is no alias"):
        service.functions.alias("f", alias, "1")


# -- perdure serve -----------------------------------------------------------------------------------------------------


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for word in ("one", "two", "three"):
        (tmp_path / f"version_{word}.py").write_text(HANDLER.format(word))


def serving(functions: list[str], aliases: list[str], service: LocalService | None = None) -> LocalService:
    service = service or LocalService()
    _register(service, functions, (), aliases, {})
    return service


def answered(service: LocalService, name: str) -> Any:
    handle = service.run(name, stop_at_callback=True)
    service.client.send_durable_execution_callback_success(CallbackId=handle.callback_id("answer"), Result=b"")
    return handle.drive().value


@pytest.mark.usefixtures("modules")
def test_versions_and_aliases_are_served() -> None:
    functions = ["order:1=version_one:handler", "order:10=version_three:handler", "order:2=version_two:handler"]
    service = serving(functions, ["order:live=1"])
    assert [answered(service, f"order{q}") for q in (":1", ":2", ":10", ":live", "")] == [
        "one", "two", "three", "one", "three",
    ]  # fmt: skip
    assert service.functions.qualifiers("order") == ["1", "2", "10", "live = 1"]


@pytest.mark.usefixtures("modules")
def test_the_latest_may_be_one_of_its_own_and_comes_anew_with_the_versions() -> None:
    service = serving(["order:1=version_one:handler", "order=version_two:handler"], [])
    assert [answered(service, name) for name in ("order", "order:1")] == ["two", "one"]
    service = serving(["order:1=version_one:handler"], ["order:live=1"])
    serving(["order:1=version_two:handler"], ["order:live=1"], service)  # as after a change, with --reload
    assert [answered(service, name) for name in ("order", "order:1", "order:live")] == ["two"] * 3


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["order:new=version_one:handler"], "'new' is no version, which is a number"),
        (["order:0=version_one:handler"], "order:0 is no version"),
        (["order:1=version_one:handler", "order:1=version_two:handler"], "two handlers would be called order:1"),
        (["order:1=version_one:handler", "--alias", "live=1"], "'live=1' is not NAME:ALIAS=VERSION"),
        (["order:1=version_one:handler", "--alias", "order:live=2"], "order:2 was not published"),
        (["order:1=version_one:handler", "--alias", "odrer:live=1"], "Function not found: odrer"),
        (["order:1=version_one:handler", "--alias", "order:5=1"], "order:5 is no alias"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], said: str) -> None:
    import_module("perdure.cli.serve")  # adds itself to the commands
    done = CliRunner().invoke(app, ["serve", *arguments, "--memory", "--port", "0"])
    assert done.exit_code == 2
    assert said in " ".join(re.sub(r"[│╭╰─╮╯]", " ", done.output).split())


def test_an_execution_of_a_version_that_is_not_there_is_not_begun() -> None:
    service = LocalService().register("f", of("x"), version=1)
    with pytest.raises(ClientError, match="f:2 was not published"):
        service.client.invoke(FunctionName="f:2", InvocationType="Event")


def test_the_latest_published_version_is_the_newest_one() -> None:
    service = LocalService().register("f", of("old"), version=1).register("f", of("new"), version=2)
    service.register("f", of("newest"))
    assert service.run("f:$LATEST.PUBLISHED").value == "new"
    begun = service.client.invoke(FunctionName="f", Qualifier="$LATEST.PUBLISHED")
    assert (begun["ExecutedVersion"], begun["Payload"].read()) == ("2", b'"new"')
    listing = service.client.list_durable_executions_by_function
    listed = listing(FunctionName="f", Qualifier="$LATEST.PUBLISHED")["DurableExecutions"]
    assert {execution["FunctionArn"].rpartition(":")[2] for execution in listed} == {"2"}
    assert len(listed) == 2


def test_of_a_function_of_which_nothing_was_published_it_is_what_it_is_now() -> None:
    assert LocalService().register("f", of("only")).run("f:$LATEST.PUBLISHED").value == "only"
