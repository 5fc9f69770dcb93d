"""The life of an execution: invocations, retries, strikes, ends, chained invokes, and the hooks of tests."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from perdure.local import (
    InvocationCut,
    Limits,
    LocalEvent,
    LocalService,
    RealClock,
    client_error,
    current_service,
)
from perdure.local.machine.clock import DEFAULT_START
from perdure.local.service import backoff
from support.raw import ERROR, RETRY, callback, execution, invoke, step, wait

DONE = {"Status": "SUCCEEDED", "Result": "1"}
PENDING = {"Status": "PENDING"}


class Script:
    """A handler that does one thing an invocation: sends updates, then returns or raises."""

    def __init__(self, *acts: tuple[list[dict[str, Any]], Any]) -> None:
        self.acts = list(acts)
        self.events: list[LocalEvent] = []
        self.contexts: list[Any] = []

    def __call__(self, event: LocalEvent, context: Any) -> Any:
        self.events.append(event)
        self.contexts.append(context)
        updates, outcome = self.acts[min(len(self.events), len(self.acts)) - 1]
        if updates:
            event.client.checkpoint_durable_execution(
                DurableExecutionArn=event["DurableExecutionArn"],
                CheckpointToken=event["CheckpointToken"],
                Updates=updates,
            )
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def service_of(*acts: tuple[list[dict[str, Any]], Any], **options: Any) -> tuple[LocalService, Script]:
    script = Script(*acts)
    return LocalService(**options).register("f", script), script


def outcomes(handle: Any) -> list[str]:
    return [invocation.outcome for invocation in handle.invocations]


def test_an_execution_ends_with_what_the_handler_returns() -> None:
    service, script = service_of(([], DONE))
    handle = service.start("f", event={"a": 1}, name="mine")
    running = service.client.get_durable_execution(DurableExecutionArn=handle.arn)
    assert running["ExpectedExecutionTimeoutTimestamp"] == DEFAULT_START + timedelta(days=366)
    handle.drive()
    assert (handle.status, handle.result, handle.value, handle.error) == ("SUCCEEDED", "1", 1, None)
    assert handle.arn.startswith("arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST/durable-execution/mine/")
    root = script.events[0]["InitialExecutionState"]["Operations"][0]
    assert root["ExecutionDetails"] == {"InputPayload": '{"a": 1}'}
    described = service.client.get_durable_execution(DurableExecutionArn=handle.arn)
    assert described["Status"] == "SUCCEEDED"
    assert described["EndTimestamp"] == DEFAULT_START
    assert "ExpectedExecutionTimeoutTimestamp" not in described


def test_an_execution_fails_with_what_the_handler_returns() -> None:
    service, _ = service_of(([], {"Status": "FAILED", "Error": ERROR}))
    handle = service.run("f")
    assert (handle.status, handle.error) == ("FAILED", ERROR)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (None, "not NoneType"),
        ("text", "not str"),
        ({}, "None is not a valid status. Is the handler decorated with @durable_execution?"),
        ({"total": 3}, "None is not a valid status. Is the handler decorated with @durable_execution?"),
        ({"Status": "DONE"}, "'DONE' is not a valid status. Is the handler decorated with @durable_execution?"),
        ({"Status": "FAILED", "Result": "1"}, "Cannot provide a Result for FAILED"),
        ({"Status": "PENDING", "Result": "1"}, "Cannot provide a Result for PENDING"),
        ({"Status": "SUCCEEDED", "Error": ERROR}, "Cannot provide an Error for SUCCEEDED"),
        ({"Status": "SUCCEEDED", "Result": {"a": 1}}, "Result must be a string"),
        ({"Status": "FAILED", "Error": "broken"}, "Error must be an object"),
        ({"Status": "SUCCEEDED", "Result": "x" * (6 * 1024**2 + 1)}, "Result exceeds"),
    ],
)
def test_an_output_that_is_no_envelope_fails_the_execution(output: Any, words: str) -> None:
    service, _ = service_of(([], output))
    handle = service.run("f")
    assert handle.status == "FAILED"
    assert handle.error is not None
    assert handle.error["ErrorType"] == "InvalidParameterValueException"
    assert words in handle.error["ErrorMessage"]


def test_a_wait_brings_a_second_invocation_at_its_end() -> None:
    service, script = service_of(([wait("w", 60)], PENDING), ([], DONE))
    handle = service.run("f")
    assert outcomes(handle) == ["PENDING", "SUCCEEDED"]
    assert handle.invocations[1].started_at - handle.invocations[0].started_at == timedelta(seconds=60)
    assert script.events[1]["UpdatedOperationIds"] == ["w"]


def test_timers_due_together_bring_one_invocation() -> None:
    service, _ = service_of(([wait("a", 60), wait("b", 60)], PENDING), ([], DONE))
    assert len(service.run("f").invocations) == 2


def test_timers_due_apart_bring_one_invocation_each() -> None:
    service, script = service_of(([wait("a", 60), wait("b", 90)], PENDING), ([], PENDING), ([], DONE))
    assert len(service.run("f").invocations) == 3
    assert [event["UpdatedOperationIds"] for event in script.events] == [[], ["a"], ["b"]]


def test_a_retried_step_brings_an_invocation_when_it_is_ready() -> None:
    retried = [step("a", "START"), step("a", "RETRY", Error=ERROR, **RETRY)]
    service, script = service_of((retried, PENDING), ([], DONE))
    service.run("f")
    assert script.events[1]["InitialExecutionState"]["Operations"][1]["Status"] == "READY"


def test_news_nobody_has_told_bring_an_invocation_at_once() -> None:
    service = LocalService()

    def handler(event: LocalEvent, _context: Any) -> Any:
        if len(handle.invocations) > 1:
            return DONE
        response = event.client.checkpoint_durable_execution(
            DurableExecutionArn=event["DurableExecutionArn"],
            CheckpointToken=event["CheckpointToken"],
            Updates=[callback("cb"), wait("w", 3600)],
        )
        identifier = response["NewExecutionState"]["Operations"][0]["CallbackDetails"]["CallbackId"]
        event.client.send_durable_execution_callback_success(CallbackId=identifier, Result=b"1")
        return PENDING

    handle = service.register("f", handler).start("f")
    service.drive(handle)
    assert outcomes(handle) == ["PENDING", "SUCCEEDED"]
    assert handle.invocations[1].started_at == DEFAULT_START


def test_pending_with_nothing_pending_fails_the_third_time() -> None:
    service, _ = service_of(([], PENDING))
    handle = service.run("f")
    assert outcomes(handle) == ["PENDING"] * 3
    assert handle.error == {
        "ErrorMessage": "Cannot return PENDING status with no pending operations.",
        "ErrorType": "InvalidParameterValueException",
    }


def test_a_started_step_is_nothing_pending() -> None:
    service, _ = service_of(([step("a", "START")], PENDING), ([], PENDING))
    assert service.run("f").status == "FAILED"


def test_five_failures_in_a_row_fail_the_execution() -> None:
    service, _ = service_of(([], ZeroDivisionError("nothing left")))
    handle = service.run("f")
    assert outcomes(handle) == ["RAISED"] * 5
    assert handle.error == {"ErrorMessage": "nothing left", "ErrorType": "ZeroDivisionError"}
    assert service.clock.now() == DEFAULT_START + timedelta(seconds=15)


def test_the_delay_between_failures_is_the_callers() -> None:
    service, _ = service_of(([], ZeroDivisionError()), retry_delay=lambda failures: 2.0**failures)
    service.run("f")
    assert service.clock.now() == DEFAULT_START + timedelta(seconds=2 + 4 + 8 + 16)


def test_failed_invocations_are_repeated_ever_later() -> None:
    service, _ = service_of(([], ZeroDivisionError()))
    service.run("f")
    assert service.clock.now() == DEFAULT_START + timedelta(seconds=1 + 2 + 4 + 8)
    assert (backoff(6), backoff(7), backoff(500)) == (32.0, 60.0, 60.0)


def test_failures_that_are_not_in_a_row_are_forgiven() -> None:
    raised: tuple[list[dict[str, Any]], Any] = ([], OSError("lost"))
    service, _ = service_of(*[raised] * 4, ([wait("w", 5)], PENDING), *[raised] * 4, ([], DONE))
    assert service.run("f").status == "SUCCEEDED"


def test_an_exit_of_the_process_is_a_failed_invocation() -> None:
    service, _ = service_of(([], SystemExit(1)), ([], DONE))
    handle = service.run("f")
    assert outcomes(handle) == ["RAISED", "SUCCEEDED"]


def test_an_interrupt_of_the_user_goes_through() -> None:
    service, _ = service_of(([], KeyboardInterrupt()), ([], DONE))
    handle = service.start("f")
    with pytest.raises(KeyboardInterrupt):
        service.drive(handle)
    assert service.drive(handle).status == "SUCCEEDED"


def test_a_large_result_comes_by_checkpoint() -> None:
    service, _ = service_of(([execution("SUCCEED", Payload='"large"')], {"Status": "SUCCEEDED", "Result": ""}))
    handle = service.run("f")
    assert (handle.status, handle.value) == ("SUCCEEDED", "large")


def test_a_stopped_execution_is_not_invoked_again() -> None:
    service, script = service_of(([wait("w", 60)], PENDING), ([], DONE))
    handle = service.start("f")
    service.client.stop_durable_execution(DurableExecutionArn=handle.arn, Error=ERROR)
    service.drive(handle)
    assert (handle.status, handle.error, script.events) == ("STOPPED", ERROR, [])
    again = service.client.stop_durable_execution(DurableExecutionArn=handle.arn)
    assert (again["StopTimestamp"], handle.error) == (DEFAULT_START, ERROR)


@pytest.mark.parametrize("where", ["start", "register"])
def test_an_execution_times_out(where: str) -> None:
    service, script = service_of(([wait("w", 600)], PENDING))
    if where == "register":
        service.register("f", script, execution_timeout=300)
        handle = service.run("f")
    else:
        handle = service.run("f", execution_timeout=300)
    assert handle.status == "TIMED_OUT"
    assert service.clock.now() == DEFAULT_START + timedelta(seconds=300)


def test_an_execution_lasts_at_most_366_days() -> None:
    year = 366 * 86_400
    service, _ = service_of(([wait("w", year)], PENDING), ([], DONE))
    assert service.run("f").status == "TIMED_OUT"


def test_a_name_is_started_once() -> None:
    service, _ = service_of(([], DONE))
    first = service.start("f", "{}", "mine")
    assert service.start("f", "{}", "mine") is first
    with pytest.raises(ClientError) as caught:
        service.start("f", "[]", "mine")
    assert caught.value.response["Error"]["Code"] == "DurableExecutionAlreadyStartedException"
    assert caught.value.operation_name == "Invoke"


def test_an_unknown_function_cannot_be_started() -> None:
    with pytest.raises(LookupError, match="register"):
        LocalService().start("f")


# -- callbacks and the outside -----------------------------------------------------------------------------------------


def test_a_callback_blocks_until_it_is_answered() -> None:
    service, _ = service_of(([callback("cb", Name="ok")], PENDING), ([], DONE))
    handle = service.run("f")
    assert handle.status == "RUNNING"
    service.client.send_durable_execution_callback_success(CallbackId=handle.callback_id("ok"), Result=b"1")
    assert handle.drive().status == "SUCCEEDED"


def test_a_callback_timeout_comes_or_is_left_to_the_outside() -> None:
    service, _ = service_of(([callback("cb", 60)], PENDING), ([], DONE))
    handle = service.run("f", stop_at_callback=True)
    assert (handle.status, len(handle.open_callbacks)) == ("RUNNING", 1)
    assert handle.drive().status == "SUCCEEDED"
    assert handle.operations[0]["Status"] == "TIMED_OUT"


def test_time_passes_before_a_callback_is_left_to_the_outside() -> None:
    service, _ = service_of(([callback("cb", 600), wait("w", 60)], PENDING), ([], PENDING))
    handle = service.run("f", stop_at_callback=True)
    assert outcomes(handle) == ["PENDING", "PENDING"]
    assert service.clock.now() == DEFAULT_START + timedelta(seconds=60)


def test_callbacks_may_be_answered_by_a_hook() -> None:
    def answer(operation: Any, client: Any) -> None:
        client.send_durable_execution_callback_success(CallbackId=operation["CallbackDetails"]["CallbackId"])

    service, _ = service_of(([callback("cb", 60)], PENDING), ([], DONE), on_callback=answer)
    assert service.run("f").operations[0]["Status"] == "SUCCEEDED"


def test_a_callback_from_another_thread_wakes_the_driver() -> None:
    service, _ = service_of(([callback("cb")], PENDING), ([], DONE), clock=RealClock())
    handle = service.run("f")
    identifier = handle.callback_id()
    answer = threading.Timer(
        0.01, service.client.send_durable_execution_callback_success, kwargs={"CallbackId": identifier}
    )
    answer.start()
    assert handle.drive(wait=30).status == "SUCCEEDED"
    answer.join()


def test_a_real_clock_sleeps_until_the_next_moment() -> None:
    service, _ = service_of(([], OSError("lost")), ([], DONE), clock=RealClock(), retry_delay=lambda _: 0.02)
    handle = service.run("f")
    assert handle.invocations[1].started_at - handle.invocations[0].started_at >= timedelta(milliseconds=20)


def test_two_threads_drive_one_service() -> None:
    service, _ = service_of(([wait("w", 60)], PENDING), ([], DONE))
    script = Script(([wait("w", 60)], PENDING), ([], DONE))
    service.register("g", script)
    handles = [service.start("f"), service.start("g")]
    threads = [threading.Thread(target=handle.drive) for handle in handles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [handle.status for handle in handles] == ["SUCCEEDED"] * 2
    assert [len(handle.invocations) for handle in handles] == [2, 2]


# -- chained invokes ---------------------------------------------------------------------------------------------------


def invoked(service: LocalService, function: str, payload: str | None = "1") -> dict[str, Any]:
    service.register("f", Script(([invoke("i", function, payload)], PENDING), ([], DONE)))
    handle = service.run("f")
    assert handle.status == "SUCCEEDED"
    return handle.operations[0]


@pytest.mark.parametrize(
    "reference",
    ["plain", "plain:$LATEST", "arn:aws:lambda:us-east-1:123456789012:function:plain:3", "123456789012:function:plain"],
)
def test_a_plain_function_gets_the_payload_and_gives_the_result(reference: str) -> None:
    service = LocalService().register("plain", lambda event, context: [event, context.function_name], durable=False)
    operation = invoked(service, reference, '{"a": 1}')
    assert operation["Status"] == "SUCCEEDED"
    assert operation["ChainedInvokeDetails"] == {"Result": '[{"a": 1}, "plain"]'}


def test_an_invoke_without_payload_gives_an_empty_event() -> None:
    service = LocalService().register("plain", lambda event, _context: event, durable=False)
    assert invoked(service, "plain", None)["ChainedInvokeDetails"] == {"Result": "{}"}


@pytest.mark.parametrize(
    ("payload", "kind"),
    [("1", "ValueError"), ('"type"', "TypeError"), ("no json", "json.decoder.JSONDecodeError")],
)
def test_a_plain_function_that_raises_fails_the_invoke(payload: str, kind: str) -> None:
    def plain(event: Any, _context: Any) -> Any:
        if event == "type":
            return object()
        raise ValueError(event)

    operation = invoked(LocalService().register("plain", plain, durable=False), "plain", payload)
    assert operation["Status"] == "FAILED"
    assert operation["ChainedInvokeDetails"]["Error"]["ErrorType"] == kind


@pytest.mark.parametrize(
    ("acts", "status", "details"),
    [
        ([([wait("w", 5)], PENDING), ([], DONE)], "SUCCEEDED", {"Result": "1"}),
        ([([], {"Status": "FAILED", "Error": ERROR})], "FAILED", {"Error": ERROR}),
        (
            [([wait("w", 5000)], PENDING)],
            "TIMED_OUT",
            {"Error": {"ErrorMessage": "Execution timed out", "ErrorType": "Execution.Timeout"}},
        ),
    ],
)
def test_a_durable_function_runs_as_an_execution_of_its_own(
    acts: list[Any], status: str, details: dict[str, Any]
) -> None:
    service = LocalService().register("child", Script(*acts), execution_timeout=100)
    operation = invoked(service, "child")
    assert (operation["Status"], operation["ChainedInvokeDetails"]) == (status, details)
    child = next(handle for handle in service.handles.values() if handle.parent is not None)
    assert child.machine.payload == "1"


def test_a_stopped_child_stops_the_invoke() -> None:
    service = LocalService().register("child", Script(([callback("cb")], PENDING)))
    service.register("f", Script(([invoke("i", "child")], PENDING), ([], DONE)))
    handle = service.run("f")
    assert handle.status == "RUNNING"
    child = next(other for other in service.handles.values() if other.parent is not None)
    service.client.stop_durable_execution(DurableExecutionArn=child.arn, Error=ERROR)
    assert handle.drive().operations[0]["Status"] == "STOPPED"


# -- hooks of tests ----------------------------------------------------------------------------------------------------


def test_a_hook_sees_every_call_before_and_after() -> None:
    seen: list[tuple[str, list[str], str]] = []
    service, _ = service_of(
        ([step("a", "START")], DONE),
        on_api_call=lambda name, arguments, phase: seen.append((name, sorted(arguments), phase)),
    )
    service.run("f")
    keys = ["CheckpointToken", "DurableExecutionArn", "Updates"]
    assert seen == [("checkpoint_durable_execution", keys, phase) for phase in ("before", "after")]
    assert service.calls == {"checkpoint_durable_execution": 1}


@pytest.mark.parametrize(("phase", "applied"), [("before", 0), ("after", 1)])
def test_a_hook_may_lose_a_call_or_its_response(phase: str, applied: int) -> None:
    def lose(name: str, _arguments: Any, when: str) -> None:
        if when == phase and service.calls[name] == applied:
            raise client_error("TooManyRequestsException", "slow down", "CheckpointDurableExecution")

    service, _ = service_of(([step("a", "START")], DONE), ([], DONE), on_api_call=lose)
    handle = service.run("f")
    assert outcomes(handle) == ["RAISED", "SUCCEEDED"]
    assert len(handle.updates) == applied
    error: Any = handle.invocations[0].exception
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_a_cut_invocation_is_over_whatever_it_returns() -> None:
    def cut(_name: str, _arguments: Any, phase: str) -> None:
        if phase == "after" and len(handle.invocations) == 1:
            raise InvocationCut

    def handler(event: LocalEvent, _context: Any) -> Any:
        for _ in range(2):
            try:
                event.client.get_durable_execution(DurableExecutionArn=event["DurableExecutionArn"])
            except ClientError as error:
                refusals.append(error.response["Error"]["Message"])
        return DONE

    refusals: list[str] = []
    service = LocalService(on_api_call=cut)
    handle = service.register("f", handler).start("f")
    service.drive(handle)
    assert outcomes(handle) == ["CUT", "SUCCEEDED"]
    assert refusals == ["Invalid checkpoint token"] * 2
    assert service.calls["get_durable_execution"] == 3


def test_every_update_is_recorded_in_order() -> None:
    service, _ = service_of(([step("a", "START"), step("a", "SUCCEED")], PENDING), ([wait("w")], DONE))
    handle = service.run("f")
    assert [(u["Id"], u["Action"]) for u in handle.updates] == [("a", "START"), ("a", "SUCCEED"), ("w", "START")]
    assert [len(batch) for batch in handle.batches] == [2, 1]


def test_the_record_can_be_switched_off() -> None:
    service, _ = service_of(([step("a", "START")], DONE), record=False)
    assert service.run("f").updates == []


def test_the_context_is_that_of_lambda() -> None:
    service, script = service_of(([], DONE))
    service.run("f")
    (context,) = script.contexts
    assert context.function_name == "f"
    assert context.invoked_function_arn.endswith(":function:f:$LATEST")
    assert context.memory_limit_in_mb == "128"
    assert context.tenant_id is None
    assert context.log_group_name == "/aws/lambda/f"
    assert len(context.aws_request_id) == 36
    assert 0 < context.get_remaining_time_in_millis() <= 900_000


def test_the_running_service_can_be_found() -> None:
    found = []
    service = LocalService().register("f", lambda _event, _context: found.append(current_service()) or DONE)
    service.run("f")
    assert found == [service]


def test_calls_from_many_threads_are_taken_one_at_a_time() -> None:
    service = LocalService(limits=Limits.off())

    def handler(event: LocalEvent, _context: Any) -> Any:
        lock = threading.Lock()
        token = event["CheckpointToken"]

        def work(number: int) -> None:
            nonlocal token
            for i in range(20):
                with lock:
                    response = event.client.checkpoint_durable_execution(
                        DurableExecutionArn=event["DurableExecutionArn"],
                        CheckpointToken=token,
                        Updates=[step(f"{number}-{i}", "START")],
                    )
                    token = response["CheckpointToken"]
                event.client.get_durable_execution_state(
                    DurableExecutionArn=event["DurableExecutionArn"], CheckpointToken=token, MaxItems=1000
                )

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return DONE

    handle = service.register("f", handler).run("f")
    assert handle.status == "SUCCEEDED"
    assert len(handle.operations) == 160
