"""Where perdure meets boto3: injected clients, the process's own client, and what an import does not bring along."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import ANY, Stubber

import perdure.engine.client
from perdure import DurableContext, durable_execution, run_durable_handler
from perdure.exceptions import (
    CheckpointError,
    DurableApiErrorCategory,
    GetExecutionStateError,
    PluginLoadError,
)
from perdure.execution import (
    DurableExecutionInvocationInput,
    DurableExecutionInvocationInputWithClient,
    InitialExecutionState,
)
from perdure.lambda_service import (
    CheckpointOutput,
    CheckpointUpdatedExecutionState,
    LambdaClient,
    Operation,
    OperationUpdate,
    StateOutput,
)
from perdure.local import LocalService, VirtualClock
from support import imports
from support.invocations import ARN, NOW, PENDING, LambdaContext, Recorder, event, op, op_id, succeeded

if TYPE_CHECKING:
    from collections.abc import Iterator


def double(given: Any, context: DurableContext) -> int:
    return context.step(lambda _: 2 * given["n"], "double")


# ---- a DurableServiceClient of a test tool


class HandWritten:
    """The smallest `DurableServiceClient`: in the models, not in dicts."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.updates: list[OperationUpdate] = []
        self.client_tokens: list[str | None] = []
        self.states: list[tuple[str, str, str, int]] = []

    def checkpoint(
        self,
        durable_execution_arn: str,
        checkpoint_token: str,
        updates: list[OperationUpdate],
        client_token: str | None,
    ) -> CheckpointOutput:
        assert durable_execution_arn == ARN
        if self.problem:
            raise self.problem
        self.updates += updates
        self.client_tokens.append(client_token)
        news = [
            Operation.from_dict({**op("CALLBACK", "STARTED", details={"CallbackId": "cb"}), "Id": update.operation_id})
            for update in updates
            if update.operation_type.value == "CALLBACK"
        ]
        return CheckpointOutput(checkpoint_token + "+", CheckpointUpdatedExecutionState(news, None))

    def get_execution_state(
        self, durable_execution_arn: str, checkpoint_token: str, next_marker: str, max_items: int = 1000
    ) -> StateOutput:
        if self.problem:
            raise self.problem
        self.states.append((durable_execution_arn, checkpoint_token, next_marker, max_items))
        return StateOutput([Operation.from_dict(op("STEP", "SUCCEEDED", Name="double", details={"Result": "7"}))], None)


def with_client(client: Any, **options: Any) -> DurableExecutionInvocationInputWithClient:
    plain = DurableExecutionInvocationInput.from_json_dict(event(payload='{"n": 21}', **options))
    return DurableExecutionInvocationInputWithClient.from_durable_execution_invocation_input(plain, client)


def test_an_input_may_bring_its_client() -> None:
    client = HandWritten()
    handler = durable_execution(double)
    assert handler(with_client(client), LambdaContext()) == succeeded("42")
    assert [(each.action.value, each.name, each.payload) for each in client.updates] == [
        ("START", "double", None),
        ("SUCCEED", "double", "42"),
    ]
    assert client.client_tokens[0]


def test_an_injected_client_serves_pages_too() -> None:
    client = HandWritten()
    assert durable_execution(double)(with_client(client, marker="m"), LambdaContext()) == succeeded("7")
    assert client.states == [(ARN, "token-0", "m", 1000)]


def test_an_injected_client_gives_callbacks() -> None:
    handler = durable_execution(lambda _, c: c.create_callback().callback_id)
    assert handler(with_client(HandWritten()), LambdaContext()) == succeeded('"cb"')


def test_an_input_without_a_client_uses_the_handlers() -> None:
    client = Recorder()
    plain = DurableExecutionInvocationInput.from_json_dict(event(payload='{"n": 4}'))
    assert durable_execution(double, boto3_client=client)(plain, LambdaContext()) == succeeded("8")
    assert len(client.calls) == 1


@pytest.mark.parametrize("paging", [False, True])
def test_what_an_injected_client_has_classified_stays_so(paging: bool) -> None:
    cls = GetExecutionStateError if paging else CheckpointError
    options: dict[str, Any] = {"marker": "m"} if paging else {}
    permanent = cls("no", DurableApiErrorCategory.EXECUTION)
    got = durable_execution(double)(with_client(HandWritten(permanent), **options), LambdaContext())
    assert got["Status"] == "FAILED"
    assert got["Error"]["ErrorMessage"] == "no"
    passing = cls("later", DurableApiErrorCategory.INVOCATION)
    with pytest.raises(cls, match="later"):
        durable_execution(double)(with_client(HandWritten(passing), **options), LambdaContext(1.0))


def test_inputs_read_and_write_both_kinds_of_dicts() -> None:
    given = event(op("STEP", "PENDING", details={"NextAttemptTimestamp": NOW, "Attempt": 1}))
    read = DurableExecutionInvocationInput.from_json_dict(given)
    assert isinstance(read.initial_execution_state, InitialExecutionState)
    assert read.initial_execution_state.operations[1].operation_id == op_id(1)
    again = DurableExecutionInvocationInput.from_dict(read.to_dict())
    assert again == read
    assert json.loads(json.dumps(read.to_json_dict()))["InitialExecutionState"]["Operations"][1]["StepDetails"] == {
        "Attempt": 1,
        "NextAttemptTimestamp": NOW,
    }


def test_an_event_may_be_subscripted_without_being_a_dict() -> None:
    class Mine(dict[str, Any]):
        """A mapping of a framework's."""

    assert run_durable_handler(
        Mine(event(payload='{"n": 1}')), LambdaContext(), double, boto3_client=Recorder()
    ) == succeeded("2")


def test_an_event_of_a_local_service_keeps_a_handlers_own_client_out() -> None:
    service = LocalService(clock=VirtualClock())
    service.register("f", durable_execution(lambda _, c: c.step(lambda _: 7), boto3_client=object()))
    assert service.run("f", event={}).value == 7


# ---- boto3


@pytest.fixture
def stubbed() -> Iterator[tuple[Any, Stubber]]:
    client = boto3.client(
        "lambda",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106
        config=Config(retries={"max_attempts": 1}),
    )
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def test_a_real_boto3_client_accepts_what_is_sent(stubbed: tuple[Any, Stubber]) -> None:
    """botocore checks each call, and each response, against the service model."""
    client, stubber = stubbed
    stubber.add_response(
        "checkpoint_durable_execution",
        {"CheckpointToken": "t1", "NewExecutionState": {"Operations": []}},
        {
            "DurableExecutionArn": ARN,
            "CheckpointToken": "token-0",
            "ClientToken": ANY,
            "Updates": [
                {
                    "Id": op_id(1),
                    "Type": "STEP",
                    "Action": "START",
                    "SubType": "Step",
                    "Name": "double",
                },
                {
                    "Id": op_id(1),
                    "Type": "STEP",
                    "Action": "SUCCEED",
                    "SubType": "Step",
                    "Name": "double",
                    "Payload": "42",
                },
            ],
        },
    )
    got = durable_execution(double, boto3_client=client)(event(payload='{"n": 21}'), LambdaContext())
    assert got == succeeded("42")


def everything(_given: Any, c: DurableContext) -> Any:
    def fail(*_: Any) -> None:
        raise ValueError("broken")

    c.run_in_child_context(lambda k: k.step(lambda _: 1))
    c.create_callback(timeout=9)
    c.map([1], fail)
    try:
        c.invoke("fn:1", {}, tenant_id="t")
    finally:
        c.wait(5)


def test_every_update_fits_the_service_model(stubbed: tuple[Any, Stubber]) -> None:
    client, stubber = stubbed
    callback = {
        "Id": op_id(2),
        "Type": "CALLBACK",
        "Status": "STARTED",
        "SubType": "Callback",
        "StartTimestamp": 1.0,
        "CallbackDetails": {"CallbackId": "cb"},
    }
    for n in range(6):
        operations = [callback] if n == 2 else []
        response = {"CheckpointToken": f"t{n}", "NewExecutionState": {"Operations": operations}}
        stubber.add_response("checkpoint_durable_execution", response)
    got = run_durable_handler(event(), LambdaContext(), everything, boto3_client=client)
    assert got == PENDING


def test_a_page_comes_through_boto3(stubbed: tuple[Any, Stubber]) -> None:
    client, stubber = stubbed
    recorded = {
        "Id": op_id(1),
        "Type": "STEP",
        "Name": "double",
        "SubType": "Step",
        "Status": "SUCCEEDED",
        "StartTimestamp": 1.0,
        "StepDetails": {"Result": "7"},
    }
    stubber.add_response(
        "get_durable_execution_state",
        {"Operations": [recorded]},
        {"DurableExecutionArn": ARN, "CheckpointToken": "token-0", "Marker": "m", "MaxItems": 1000},
    )
    assert run_durable_handler(event(marker="m"), LambdaContext(), double, boto3_client=client) == succeeded("7")


@pytest.mark.parametrize(
    ("code", "status", "message", "raises"),
    [
        ("InvalidParameterValueException", 400, "bad", False),
        ("InvalidParameterValueException", 400, "Invalid checkpoint token", True),
        ("KMSDisabledException", 502, "key", False),
        ("AccessDeniedException", 403, "no", False),
    ],
)
def test_errors_of_boto3_are_classified(
    stubbed: tuple[Any, Stubber], code: str, status: int, message: str, raises: bool
) -> None:
    client, stubber = stubbed
    stubber.add_client_error("checkpoint_durable_execution", code, message, status)
    handler = durable_execution(double, boto3_client=client)
    if raises:
        with pytest.raises(CheckpointError):
            handler(event(payload='{"n": 1}'), LambdaContext())
    else:
        got = handler(event(payload='{"n": 1}'), LambdaContext())
        assert got["Status"] == "FAILED"
        assert code in got["Error"]["ErrorMessage"]


@pytest.fixture
def own_client(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A process that has made no client yet, and boto3 that counts those it makes."""
    made: list[Any] = []

    def client(service: str, **options: Any) -> Recorder:
        made.append((service, options))
        return Recorder()

    monkeypatch.setenv("PERDURE_CLIENT", "boto3")
    monkeypatch.setattr(boto3, "client", client)
    monkeypatch.setattr(perdure.engine.client, "_default", None)
    monkeypatch.setattr(LambdaClient, "_shared", None)
    return made


def test_the_client_is_made_once_and_only_with_the_first_call(own_client: list[Any]) -> None:
    handler = durable_execution(double)
    assert durable_execution(lambda given, _: given)(event(), LambdaContext()) == succeeded("{}")
    replay = event(op("STEP", "SUCCEEDED", Name="double", details={"Result": "3"}))
    assert handler(replay, LambdaContext()) == succeeded("3")
    assert own_client == []
    for _ in range(3):
        assert handler(event(payload='{"n": 2}'), LambdaContext()) == succeeded("4")
    assert [service for service, _ in own_client] == ["lambda"]
    assert durable_execution(double)(event(payload='{"n": 2}'), LambdaContext()) == succeeded("4")
    assert len(own_client) == 1


def test_the_client_says_who_it_is(own_client: list[Any]) -> None:
    durable_execution(double)(event(payload='{"n": 2}'), LambdaContext())
    ((_, options),) = own_client
    assert options["config"].user_agent_extra == f"perdure/{version('perdure')}"


def test_what_is_no_plugin_factory_is_refused_at_decoration() -> None:
    nothing: Any = object()
    with pytest.raises(PluginLoadError, match=r"plugins\[0\] is an instance of builtins.object"):
        durable_execution(plugins=[nothing])(double)
    with pytest.raises(PluginLoadError, match=r"takes a list of plugin factories, not an instance of builtins.object"):
        durable_execution(plugins=nothing)(double)
    assert durable_execution(plugins=[])(double)
    with pytest.raises(PluginLoadError, match="must be a plugin factory"):
        run_durable_handler(event(), LambdaContext(), double, plugins=[nothing])  # type: ignore[arg-type]


def test_the_environment_names_plugins_for_handlers_decorated_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_EXECUTION_PLUGINS", "nobody-registers-this")
    with pytest.raises(PluginLoadError, match="nobody-registers-this"):
        durable_execution(double)
    with pytest.raises(PluginLoadError, match="nobody-registers-this"):
        run_durable_handler(event(), LambdaContext(), double)  # type: ignore[arg-type]


def test_the_decorated_handler_keeps_its_name_and_shows_the_signature_of_its_function() -> None:
    import inspect  # noqa: PLC0415  what perdure itself avoids

    @durable_execution
    def my_handler(given: Any, context: DurableContext) -> None:
        """Say what it does."""

    assert my_handler.__name__ == "my_handler"
    assert my_handler.__doc__ == "Say what it does."
    assert list(inspect.signature(my_handler).parameters) == ["given", "context"]


# ---- what an import costs

HEAVY = ["boto3", "botocore", "asyncio", "inspect", "dataclasses", "uuid", "importlib.metadata", "concurrent.futures"]


@pytest.mark.parametrize("statement", ["import perdure", "import perdure.execution, perdure.context"])
def test_an_import_brings_nothing_that_a_first_invocation_does_not_need(statement: str) -> None:
    brought = imports.brought(statement)
    assert "perdure._core" in brought
    assert not set(HEAVY) & brought
