"""The shapes of the Lambda API, and the client."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from botocore.exceptions import ClientError

from perdure.exceptions import (
    CheckpointError,
    ChildContextError,
    GetExecutionStateError,
    NonDeterministicExecutionError,
)
from perdure.identifier import OperationIdentifier, OperationIdNamespace
from perdure.lambda_service import (
    DurableExecutionInvocationOutput,
    ErrorObject,
    InvocationStatus,
    LambdaClient,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
)

MINIMAL = {"Id": "i", "Type": "STEP", "Status": "STARTED"}
UPDATE = OperationUpdate("i", OperationType.STEP, OperationAction.START)


class Boto3:
    """Stands for a boto3 Lambda client."""

    def __init__(self, response: Any = None) -> None:
        self.requests: list[dict[str, Any]] = []
        self.response = response

    def checkpoint_durable_execution(self, **request: Any) -> Any:
        self.requests.append(request)
        if isinstance(self.response, BaseException):
            raise self.response
        return self.response

    get_durable_execution_state = checkpoint_durable_execution


def test_a_checkpoint_sends_the_updates_and_reads_the_news() -> None:
    boto3 = Boto3({"CheckpointToken": "next", "NewExecutionState": {"Operations": [MINIMAL], "NextMarker": "m"}})
    output = LambdaClient(boto3).checkpoint("arn", "token", [UPDATE], "once")
    assert boto3.requests == [
        {
            "DurableExecutionArn": "arn",
            "CheckpointToken": "token",
            "Updates": [{"Id": "i", "Type": "STEP", "Action": "START"}],
            "ClientToken": "once",
        }
    ]
    assert output.checkpoint_token == "next"  # noqa: S105
    assert [operation.operation_id for operation in output.new_execution_state.operations] == ["i"]
    assert output.new_execution_state.next_marker == "m"


def test_no_client_token_is_sent_when_there_is_none() -> None:
    boto3 = Boto3({})
    LambdaClient(boto3).checkpoint("arn", "token", [], None)
    assert "ClientToken" not in boto3.requests[0]


def test_a_page_of_the_history_is_read() -> None:
    boto3 = Boto3({"Operations": [MINIMAL], "NextMarker": ""})
    page = LambdaClient(boto3).get_execution_state("arn", "token", "marker", 5)
    request = {"DurableExecutionArn": "arn", "CheckpointToken": "token", "Marker": "marker", "MaxItems": 5}
    assert boto3.requests == [request]
    assert len(page.operations) == 1


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (429, True), (503, True)])
def test_a_failed_call_is_classified_with_its_cause(status: int, retryable: bool) -> None:
    raised = ClientError({"Error": {"Code": "X"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Operation")
    client = LambdaClient(Boto3(raised))
    with pytest.raises(CheckpointError) as checkpoint:
        client.checkpoint("arn", "token", [], None)
    with pytest.raises(GetExecutionStateError) as state:
        client.get_execution_state("arn", "token", "")
    assert checkpoint.value.is_retryable() is state.value.is_retryable() is retryable
    assert checkpoint.value.__cause__ is state.value.__cause__ is raised


def test_one_boto3_client_serves_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "k"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(LambdaClient, "_shared", None)
    one, other = LambdaClient.initialize_client(), LambdaClient.initialize_client()
    assert one.client is other.client
    assert one.client.meta.config.user_agent_extra.startswith("perdure/")
    monkeypatch.setattr(LambdaClient, "_shared", None)


def test_an_empty_recorded_result_survives_a_round_trip() -> None:
    data = {**MINIMAL, "StepDetails": {"Attempt": 1, "Result": ""}}
    assert Operation.from_dict(data).to_dict() == data


def test_an_event_may_carry_milliseconds_or_datetimes() -> None:
    moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    millis = int(moment.timestamp() * 1000)
    read = [Operation.from_json_dict({**MINIMAL, "StartTimestamp": value}) for value in (millis, moment)]
    assert [operation.start_timestamp for operation in read] == [moment, moment]
    assert Operation.from_json_dict({**MINIMAL, "EndTimestamp": 0}).end_timestamp == dt.datetime(
        1970, 1, 1, tzinfo=dt.UTC
    )


def test_reading_an_event_leaves_it_alone() -> None:
    data = {**MINIMAL, "StartTimestamp": 5, "WaitDetails": {"ScheduledEndTimestamp": 5}}
    before = repr(data)
    Operation.from_json_dict(data)
    assert repr(data) == before


@pytest.mark.parametrize("key", ["Type", "Status"])
def test_an_unknown_kind_of_operation_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="NEW"):
        Operation.from_dict({**MINIMAL, key: "NEW"})


def test_an_error_is_raised_as_the_operation_s() -> None:
    with pytest.raises(ChildContextError) as caught:
        ErrorObject("m", "shop.OutOfStock", "d", None).raise_as_operation_error(ChildContextError)
    assert (caught.value.error_type, caught.value.data) == ("shop.OutOfStock", "d")
    assert type(caught.value.__cause__).__name__ == "DurableOperationError"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (DurableExecutionInvocationOutput.create_succeeded(""), {"Status": "SUCCEEDED", "Result": ""}),
        (DurableExecutionInvocationOutput.create_pending(), {"Status": "PENDING"}),
        (
            DurableExecutionInvocationOutput(InvocationStatus.FAILED, error=ErrorObject.from_message("m")),
            {"Status": "FAILED", "Error": {"ErrorMessage": "m"}},
        ),
    ],
)
def test_what_an_invocation_returns(output: DurableExecutionInvocationOutput, expected: dict[str, Any]) -> None:
    assert output.to_dict() == expected
    assert DurableExecutionInvocationOutput.from_dict(expected) == output


def test_ids_depend_on_the_position() -> None:
    assert OperationIdNamespace().create_id_for_step(1).startswith("1ced8f5be2db23a6")
    assert OperationIdNamespace("abc").create_id_for_step(1).startswith("6b6d0a4aa3d44518")


def test_a_different_operation_is_named_on_both_sides() -> None:
    asked = OperationIdentifier("id", "Step", name="charge", operation_type=OperationType.STEP)
    asked.validate_checkpoint(None)
    recorded = Operation("id", OperationType.STEP, OperationStatus.STARTED, name="refund", sub_type="Step")
    with pytest.raises(NonDeterministicExecutionError, match=r"'refund'.*'charge'") as caught:
        asked.validate_checkpoint(recorded)
    assert caught.value.step_id == "id"
