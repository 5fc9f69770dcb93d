"""What the recorded shapes hold and become, against the official SDK on the same input, which Hypothesis chooses."""

from __future__ import annotations

import datetime as dt
import json
import logging

import pytest
from aws_durable_execution_sdk_python import config as their_config
from aws_durable_execution_sdk_python import exceptions as their_exceptions
from aws_durable_execution_sdk_python import identifier as their_identifier
from aws_durable_execution_sdk_python import lambda_service as their_service
from aws_durable_execution_sdk_python.concurrency import models as their_models
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import config as our_config
from perdure import exceptions as our_exceptions
from perdure import identifier as our_identifier
from perdure import lambda_service as our_service
from perdure.concurrency import models as our_models

THEIR_PREFIX = "aws_durable_execution_sdk_python."

few = settings(max_examples=60, deadline=None)


def outcome(function, *args, **kwargs):
    """What a call gives: its value's repr, or the class of what it raises, either without the package's name."""
    try:
        return repr(function(*args, **kwargs))
    except Exception as error:  # noqa: BLE001  the comparison is the point
        return type(error).__name__


def fields(error):
    """All that an exception says, and the same of its cause."""
    if error is None:
        return None
    return (type(error).__name__, str(error), vars(error), fields(error.__cause__))


texts = st.one_of(st.none(), st.text(max_size=5))

# --- errors -------------------------------------------------------------------------------------------------------

operation_errors = [
    "StepError",
    "InvokeError",
    "ChildContextError",
    "WaitForConditionError",
    "CallbackError",
    "CallbackExternalError",
    "CallbackTimeoutError",
    "CallbackSubmitterError",
    "SerDesError",
]
recorded_types = st.one_of(
    texts,
    st.sampled_from(["ValueError", "shop.OutOfStock"]),
    st.sampled_from([*operation_errors, "ExecutionError", "DurableOperationError"]).map(
        lambda name: f"{THEIR_PREFIX}exceptions.{name}"
    ),
    st.just(f"{THEIR_PREFIX}concurrency.models.BatchCompletionError"),
)
stacks = st.one_of(st.none(), st.lists(st.text(max_size=3), max_size=2))


@few
@given(recorded_types, st.text(min_size=1, max_size=5), texts, stacks)  # without a message, a class may say its own
@pytest.mark.parametrize("surface", [*operation_errors[:-1], "DurableOperationError"])
def test_recorded_errors_surface_alike(surface, error_type, message, data, stack):
    def raised(service, exceptions):
        try:
            service.ErrorObject(message, error_type, data, stack).raise_as_operation_error(getattr(exceptions, surface))
        except (their_exceptions.DurableExecutionsError, our_exceptions.DurableExecutionsError) as error:
            return repr(fields(error)), error.__suppress_context__

    assert raised(our_service, our_exceptions) == raised(their_service, their_exceptions)


class Outer:
    class Inner(Exception):  # noqa: N818
        pass


class WithData(Exception):  # noqa: N818
    data = "data"
    stack_trace = ("line",)


ordinary = [
    ValueError("m"),
    ValueError(),
    ValueError("a", 1),
    KeyError("x"),
    Outer.Inner("q"),
    WithData("w"),
    OSError(2, "no"),
    json.JSONDecodeError("m", "doc", 0),
    KeyboardInterrupt(),
    SystemExit(3),
    ExceptionGroup("g", [ValueError("x")]),
]


@pytest.mark.parametrize("error", ordinary, ids=lambda error: type(error).__name__)
def test_ordinary_errors_are_recorded_alike(error):
    theirs = their_service.ErrorObject.from_exception(error)
    assert our_service.ErrorObject.from_exception(error).to_dict() == theirs.to_dict()


@few
@given(st.sampled_from([*operation_errors, "DurableOperationError"]), texts, texts, texts, stacks)
def test_operation_errors_are_recorded_alike(name, message, error_type, data, stack):
    def record(service, exceptions):
        return service.ErrorObject.from_exception(getattr(exceptions, name)(message, error_type, data, stack)).to_dict()

    assert record(our_service, our_exceptions) == record(their_service, their_exceptions)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("ValidationError", ("m",)),
        ("ExecutionError", ("m",)),
        ("InvocationError", ("m",)),
        ("NonDeterministicExecutionError", ("m", "id")),
        ("StepInterruptedError", ("m", "id")),
        ("RetryableSerDesError", ("m",)),
        ("CheckpointError", ("m",)),
        ("GetExecutionStateError", ("m",)),
        ("InvalidStateError", ("m",)),
        ("PluginLoadError", ("m",)),
        ("SuspendExecution", ("m",)),
        ("OrphanedChildException", ("m", "id")),
        ("BackgroundThreadError", ("m", None)),
        ("OrderedLockError", ("m",)),
        ("TimedSuspendExecution", ("m", 1.5)),
    ],
)
def test_sdk_errors_carry_the_same_fields_and_wire_type(name, args):
    theirs, ours = getattr(their_exceptions, name)(*args), getattr(our_exceptions, name)(*args)
    assert repr(vars(ours)) == repr(vars(theirs))
    assert str(ours) == str(theirs)
    assert our_service.ErrorObject.from_exception(ours).to_dict() == (
        their_service.ErrorObject.from_exception(theirs).to_dict()
    )


def test_subclasses_are_recorded_alike():
    def record(service, exceptions):
        classes = [
            type("MyStep", (exceptions.StepError,), {}),
            type("MySerDes", (exceptions.SerDesError,), {}),
            type("MyExecution", (exceptions.ExecutionError,), {}),
            type("MyRetryable", (exceptions.RetryableSerDesError,), {}),
        ]
        return [service.ErrorObject.from_exception(cls("m")).to_dict() for cls in classes]

    assert record(our_service, our_exceptions) == record(their_service, their_exceptions)


@few
@given(
    st.sampled_from(
        [
            "SomeException",
            "InvalidParameterValueException",
            "TooManyRequestsException",
            "KMSAccessDeniedException",
            "KMSDisabledException",
            "KMSInvalidStateException",
            "KMSNotFoundException",
            "KMSThrottlingException",
        ]
    ),
    st.sampled_from([None, 200, 399, 400, 404, 429, 499, 500, 502, 503]),
    st.sampled_from(["Invalid checkpoint token", "Invalid checkpoint token: x", "An invalid checkpoint token", ""]),
    st.booleans(),
)
def test_service_errors_are_classified_alike(code, status, message, bare):
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    raised = ClientError({} if bare else response, "CheckpointDurableExecution")
    for name in ("BotoClientError", "CheckpointError", "GetExecutionStateError"):
        theirs = getattr(their_exceptions, name).from_exception(raised)
        ours = getattr(our_exceptions, name).from_exception(raised)
        assert repr(vars(ours)) == repr(vars(theirs))
        assert ours.is_retryable() == ours.is_retriable() == theirs.is_retryable()
        assert ours.build_logger_extras() == theirs.build_logger_extras()
        assert str(ours) == str(theirs)


# --- operations and updates ---------------------------------------------------------------------------------------

moments = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001
error_dicts = st.fixed_dictionaries(
    {}, optional={"ErrorMessage": st.text(max_size=3), "ErrorType": st.text(max_size=3), "StackTrace": st.just(["s"])}
)
# An empty recorded result is kept by perdure and lost by the official SDK, so there is none here.
results = st.text(min_size=1, max_size=5)


def details(moment):
    """All details of an operation, with timestamps of the given kind."""
    return {
        "ParentId": st.text(max_size=3),
        "Name": st.text(max_size=3),
        "SubType": st.text(max_size=3),
        "StartTimestamp": moment,
        "EndTimestamp": moment,
        "ExecutionDetails": st.fixed_dictionaries({}, optional={"InputPayload": results}),
        "ContextDetails": st.fixed_dictionaries(
            {}, optional={"Result": results, "Error": error_dicts, "ReplayChildren": st.booleans()}
        ),
        "StepDetails": st.fixed_dictionaries(
            {},
            optional={
                "Attempt": st.integers(0, 5),
                "NextAttemptTimestamp": moment,
                "Result": results,
                "Error": error_dicts,
            },
        ),
        "WaitDetails": st.fixed_dictionaries({}, optional={"ScheduledEndTimestamp": moment}),
        "CallbackDetails": st.fixed_dictionaries(
            {"CallbackId": st.text(max_size=3)}, optional={"Result": results, "Error": error_dicts}
        ),
        "ChainedInvokeDetails": st.fixed_dictionaries({"Result": results}, optional={"Error": error_dicts}),
        "SomethingNew": st.integers(),
    }


def operations(moment):
    return st.fixed_dictionaries(
        {
            "Id": st.text(min_size=1, max_size=3),
            "Type": st.sampled_from([member.value for member in their_service.OperationType]),
            "Status": st.sampled_from([member.value for member in their_service.OperationStatus]),
        },
        optional=details(moment),
    )


@few
@given(operations(moments))
def test_operations_are_read_and_written_alike(data):
    theirs, ours = their_service.Operation.from_dict(data), our_service.Operation.from_dict(data)
    assert repr(ours) == repr(theirs)
    assert ours.to_dict() == theirs.to_dict()
    assert ours.to_json_dict() == theirs.to_json_dict()
    assert our_service.Operation.from_dict(ours.to_dict()).to_dict() == ours.to_dict()


@few
@given(operations(st.integers(1, 4_000_000_000_000)))
def test_operations_of_an_event_are_read_alike(data):
    theirs, ours = their_service.Operation.from_json_dict(data), our_service.Operation.from_json_dict(data)
    assert repr(ours) == repr(theirs)
    assert ours.to_json_dict() == theirs.to_json_dict()


@few
@given(st.one_of(st.none(), moments), st.one_of(st.none(), st.integers(-(10**12), 10**13)))
def test_timestamps_convert_alike(moment, millis):
    assert our_service.TimestampConverter.to_unix_millis(moment) == (
        their_service.TimestampConverter.to_unix_millis(moment)
    )
    assert our_service.TimestampConverter.from_unix_millis(millis) == (
        their_service.TimestampConverter.from_unix_millis(millis)
    )


@few
@given(texts, texts, texts, st.integers(0, 100))
def test_updates_are_made_alike(parent, name, payload, number):
    def updates(service, identifier):
        make = service.OperationUpdate
        place = identifier.OperationIdentifier("id", "Kind", parent, name, operation_type=service.OperationType.STEP)
        error = service.ErrorObject("m", "t", None, None)
        made = [
            make.create_callback(place, service.CallbackOptions(number, number)),
            make.create_context_start(place),
            make.create_context_succeed(place, payload, context_options=service.ContextOptions(bool(number))),
            make.create_context_fail(place, error),
            make.create_step_start(place),
            make.create_step_succeed(place, payload),
            make.create_step_fail(place, error),
            make.create_step_retry(place, error, number),
            make.create_invoke_start(place, payload, service.ChainedInvokeOptions("f", name, payload)),
            make.create_wait_for_condition_start(place),
            make.create_wait_for_condition_succeed(place, payload),
            make.create_wait_for_condition_retry(place, payload, number),
            make.create_wait_for_condition_fail(place, error),
            make.create_wait_start(place, service.WaitOptions(number)),
        ]
        dicts = [update.to_dict() for update in made]
        return dicts, [repr(make.from_dict(data)) for data in dicts]

    assert updates(our_service, our_identifier) == updates(their_service, their_identifier)


@few
@given(st.one_of(st.none(), st.text(max_size=5)), st.integers(0, 10**6))
def test_ids_are_made_alike(prefix, step):
    theirs = their_identifier.OperationIdNamespace(prefix).create_id_for_step(step)
    assert our_identifier.OperationIdNamespace(prefix).create_id_for_step(step) == theirs


@few
@given(*[st.tuples(st.sampled_from(["STEP", "WAIT"]), *[st.sampled_from([None, "", "a", "b"])] * 3)] * 2)
def test_recorded_operations_are_validated_alike(asked, recorded):
    type_a, sub_a, name_a, parent_a = asked
    type_b, sub_b, name_b, parent_b = recorded

    def validate(service, identifier):
        identifier.OperationIdentifier(
            "id", sub_a or "Kind", parent_a, name_a, operation_type=service.OperationType(type_a)
        ).validate_checkpoint(
            service.Operation(
                "id",
                service.OperationType(type_b),
                service.OperationStatus.STARTED,
                parent_id=parent_b,
                name=name_b,
                sub_type=sub_b or "Kind",
            )
        )

    theirs = outcome(validate, their_service, their_identifier)
    assert outcome(validate, our_service, our_identifier) == theirs


# --- batches ------------------------------------------------------------------------------------------------------

items = st.lists(
    st.fixed_dictionaries(
        {"index": st.integers(0, 9), "status": st.sampled_from(["SUCCEEDED", "FAILED", "STARTED"])},
        optional={"result": st.one_of(st.none(), st.integers()), "error": st.one_of(st.none(), error_dicts)},
    ),
    max_size=5,
)
reasons = st.one_of(st.none(), st.sampled_from([reason.value for reason in their_models.CompletionReason]))
thresholds = st.fixed_dictionaries(
    {},
    optional={
        "min_successful": st.integers(1, 5),
        "tolerated_failure_count": st.integers(0, 5),
        "tolerated_failure_percentage": st.one_of(st.integers(0, 100), st.floats(0, 100)),
    },
)


@few
@given(items, reasons, st.one_of(st.none(), thresholds))
def test_batch_results_are_read_and_answer_alike(all_, reason, options):
    def answers(models, config):
        batch = models.BatchResult.from_dict(
            {"all": all_, "completionReason": reason}, None if options is None else config.CompletionConfig(**options)
        )
        return [
            repr(batch),
            batch.to_dict(),
            repr([batch.succeeded(), batch.failed(), batch.started(), batch.get_results(), batch.get_errors()]),
            repr([batch.status, batch.has_failure]),
            [batch.success_count, batch.failure_count, batch.started_count, batch.total_count],
            outcome(batch.throw_if_error),
            models.CompletionRecord.summary_envelope(batch, "MapResult", None),
            models.envelope_summary_generator("ParallelResult", lambda result: str(result.total_count))(batch),
        ]

    logging.disable(logging.WARNING)
    try:
        assert answers(our_models, our_config) == answers(their_models, their_config)
    finally:
        logging.disable(logging.NOTSET)


@few
@given(
    st.integers(0, 6),
    thresholds,
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from([None, "continue", "SUCCEEDED", "FAILED"]),
)
def test_completion_policies_decide_alike(total, options, succeeded, failed, predicate):
    def decide(models, config):
        answers = {
            "continue": config.continue_batch,
            "SUCCEEDED": config.complete_batch,
            "FAILED": lambda: config.complete_batch(config.CompletionOutcome.FAILED),
        }
        should_complete = predicate and (lambda _status: answers[predicate]())
        policy = models.CompletionPolicy(total, should_complete=should_complete, **options)
        return [
            policy.has_criteria,
            policy.is_tolerance_exceeded(failed),
            policy.should_continue(failed),
            policy.is_complete(succeeded, failed),
            policy.reason(succeeded, failed).value,
            repr(policy.evaluate(succeeded, failed)),
        ]

    assert decide(our_models, our_config) == decide(their_models, their_config)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 9), st.floats(allow_nan=False), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)
records = st.fixed_dictionaries(
    {},
    optional={
        "totalCount": st.one_of(st.integers(-1, 6), json_values),
        "completionReason": st.one_of(st.just("ALL_COMPLETED"), json_values),
        "startedIndexes": st.one_of(st.lists(st.integers(-1, 6), max_size=3), json_values),
        "completedIndexes": st.one_of(st.lists(st.integers(-1, 6), max_size=3), json_values),
    },
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.none(), st.text(max_size=8), json_values.map(json.dumps), records.map(json.dumps)))
def test_completion_records_are_read_alike(payload):
    theirs = their_models.CompletionRecord.from_summary_payload(payload)
    assert repr(our_models.CompletionRecord.from_summary_payload(payload)) == repr(theirs)
