"""`perdure invoke`, `stop`, `pause`, `resume`, `delete`, and `callback succeed|fail|heartbeat`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perdure.commands import document
from perdure.commands.arguments import error_object, read_json, read_text, resolve
from perdure.commands.codes import BLOCKED, FAILED, OK, USAGE, CommandError
from perdure.commands.desk import Desk, command
from perdure.commands.follow import describe, wait_for_end
from perdure.commands.model import has_ended
from perdure.commands.text import iso, parsed, told
from perdure.commands.viewing import Execution, Interval, Timeout  # noqa: TC001 - typer reads the annotations
from perdure.local.command import app

callbacks = typer.Typer(no_args_is_help=True, help="Answer a callback.")
app.add_typer(callbacks, name="callback")

CallbackId = Annotated[str, typer.Argument(metavar="CALLBACK_ID", help="As `show` and the handler's log tell it.")]
Reason = Annotated[str | None, typer.Option(help="Why; it is recorded in the history.")]
_TEXT = "A result that is no JSON on purpose goes with --text."


@command(app)
def invoke(
    desk: Desk,
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="A name or ARN; NAME:VERSION is one, too.")],
    payload: Annotated[str | None, typer.Option(metavar="FILE|JSON", help="JSON, a file of it, or - .")] = None,
    name: Annotated[
        str | None, typer.Option(help="The name of the execution: a second start is the first one.")
    ] = None,
    event: Annotated[bool, typer.Option("--event", help="Start it, print its ARN, and do not wait.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Start it and look until it ends, however long.")] = False,
    qualifier: Annotated[str | None, typer.Option(help="The version or alias.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant id.")] = None,
    interval: Interval = 1.0,
    timeout: Timeout = None,
) -> None:
    """Invoke a function and print its result; exit 1 if it failed. Without options a caller waits up to 15 minutes."""
    asked: dict[str, Any] = {
        "FunctionName": function,
        "InvocationType": "Event" if event or wait else "RequestResponse",
        "DurableExecutionName": name,
        "Payload": None if payload is None else read_json(payload, "--payload").encode("utf-8", "surrogatepass"),
        "Qualifier": qualifier,
        "TenantId": tenant,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    client = desk.client if event or wait else desk.patient_client()
    with desk.progress(f"Invoking {function}…"):
        response = client.invoke(**given)
        body = response.pop("Payload", None)
        text = "" if body is None else body.read().decode("utf-8", "replace")
    arn = response.get("DurableExecutionArn")
    if wait:
        if not arn:
            message = f"{function} is no durable function, and the end of its call cannot be waited for."
            raise CommandError(message, USAGE, "Usage", "Leave --wait away.")
        _finished(desk, wait_for_end(desk, client, arn, interval, timeout))
    if event:
        _started(desk, function, arn)
    _returned(desk, response, function, text)


def _started(desk: Desk, function: str, arn: str | None) -> None:
    if desk.as_json:
        desk.emit({"function": function, "arn": arn, "status": "STARTED", "result": None, "error": None})
    else:
        desk.say(arn or f"{function} was invoked.")
    raise typer.Exit(OK)


def _finished(desk: Desk, described: dict[str, Any]) -> None:
    status = described["Status"]
    if desk.as_json:
        desk.emit(document.outcome(described))
    else:
        desk.note(f"{described['DurableExecutionArn']}: {status}")
        if described.get("Result"):
            desk.result(described["Result"])
        if described.get("Error"):
            desk.failure(told(described["Error"]))
    raise typer.Exit(OK if status == "SUCCEEDED" else FAILED)


def _returned(desk: Desk, response: dict[str, Any], function: str, text: str) -> None:
    arn, failed = response.get("DurableExecutionArn"), bool(response.get("FunctionError"))
    runs_on = bool(failed and arn and not has_ended(describe(desk.client, arn, data=False)))
    status = "RUNNING" if runs_on else "FAILED" if failed else "SUCCEEDED"
    error = _error_of(parsed(text)) if failed else None
    if desk.as_json:
        result = None if failed else parsed(text or None)
        facts = {"function": function, "arn": arn, "executedVersion": response.get("ExecutedVersion")}
        desk.emit({**facts, "status": status, "result": result, "error": error})
    else:
        if arn:
            desk.note(f"{arn}: {status}")
        if runs_on:
            desk.note("The execution runs on; `perdure show --follow` waits for its end.")
        elif failed:
            desk.failure(told(error))
        elif text:
            desk.result(text)
    raise typer.Exit(BLOCKED if runs_on else FAILED if failed else OK)


def _error_of(body: Any) -> dict[str, Any]:
    """Read the payload of a failed invocation, whose members are spelled differently."""
    if not isinstance(body, dict):
        return {"ErrorMessage": str(body)}
    names = (("ErrorMessage", "errorMessage"), ("ErrorType", "errorType"), ("StackTrace", "stackTrace"))
    return {name: body[member] for name, member in names if member in body}


@command(app)
def stop(
    desk: Desk,
    execution: Execution,
    error: Annotated[
        str | None, typer.Option(metavar="MESSAGE|JSON", help='Why: a message, or {"ErrorType": …, "ErrorMessage": …}.')
    ] = None,
) -> None:
    """Stop an execution for good; nothing of it is invoked again."""
    more = {} if error is None else {"Error": error_object(error)}
    arn = resolve(desk.client, execution)
    response = desk.client.stop_durable_execution(DurableExecutionArn=arn, **more)
    _done(desk, arn, "Stopped", {"stoppedAt": iso(response.get("StopTimestamp"))})


@command(app)
def pause(
    desk: Desk,
    execution: Execution,
    reason: Reason = None,
    timeout_runs_on: Annotated[
        bool, typer.Option("--timeout-runs-on", help="Let the execution's timeout count on meanwhile.")
    ] = False,
) -> None:
    """Pause an execution: it is not invoked until `resume`; its waits and callbacks go on."""
    more: dict[str, Any] = {} if reason is None else {"Reason": reason}
    if timeout_runs_on:
        more["ExecutionTimeoutPaused"] = False
    arn = resolve(desk.client, execution)
    desk.client.pause_durable_execution(DurableExecutionArn=arn, **more)
    _done(desk, arn, "Asked to pause", {})


@command(app)
def resume(desk: Desk, execution: Execution, reason: Reason = None) -> None:
    """Go on with a paused execution."""
    more = {} if reason is None else {"Reason": reason}
    arn = resolve(desk.client, execution)
    desk.client.resume_durable_execution(DurableExecutionArn=arn, **more)
    _done(desk, arn, "Asked to resume", {})


@command(app)
def delete(
    desk: Desk,
    execution: Execution,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask; nobody is asked where there is no terminal.")
    ] = False,
) -> None:
    """Delete an execution that has ended, with its history."""
    arn = resolve(desk.client, execution)
    if not yes and desk.interactive and not typer.confirm(f"Delete {arn}?", err=True):
        desk.note("Nothing was deleted.")
        raise typer.Exit(FAILED)
    response = desk.client.delete_durable_execution(DurableExecutionArn=arn)
    _done(desk, arn, "Deleted", {"deletionRequestedAt": iso(response.get("DeletionRequestTimestamp"))})


@command(callbacks)
def succeed(
    desk: Desk,
    callback_id: CallbackId,
    result: Annotated[
        str | None, typer.Option(metavar="JSON|FILE", help="The answer: JSON, a file of it, or - .")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="The answer is any text, sent as it is.")] = False,
) -> None:
    """Answer a callback with a result."""
    more: dict[str, Any] = {}
    if result is not None:
        answer = read_text(result, "--result") if text else read_json(result, "--result", _TEXT)
        more["Result"] = answer.encode("utf-8", "surrogatepass")
    desk.client.send_durable_execution_callback_success(CallbackId=callback_id, **more)
    _answered(desk, callback_id, "SUCCEEDED")


@command(callbacks)
def fail(
    desk: Desk,
    callback_id: CallbackId,
    error_message: Annotated[str | None, typer.Option(help="What went wrong.")] = None,
    error_type: Annotated[str | None, typer.Option(help="The name of the error, such as PaymentRefused.")] = None,
    error_data: Annotated[str | None, typer.Option(help="More about it, for programs.")] = None,
) -> None:
    """Answer a callback with an error."""
    error = {"ErrorMessage": error_message, "ErrorType": error_type, "ErrorData": error_data}
    given = {key: value for key, value in error.items() if value is not None}
    desk.client.send_durable_execution_callback_failure(CallbackId=callback_id, **({"Error": given} if given else {}))
    _answered(desk, callback_id, "FAILED")


@command(callbacks)
def heartbeat(desk: Desk, callback_id: CallbackId) -> None:
    """Tell that whoever will answer a callback is still at it."""
    desk.client.send_durable_execution_callback_heartbeat(CallbackId=callback_id)
    _answered(desk, callback_id, "STARTED")


def _answered(desk: Desk, callback_id: str, status: str) -> None:
    if desk.as_json:
        desk.emit({"callbackId": callback_id, "status": status})
    else:
        desk.note({"SUCCEEDED": "Answered.", "FAILED": "Failed, as asked."}.get(status, "The heartbeat was taken."))


def _done(desk: Desk, arn: str, what: str, facts: dict[str, Any]) -> None:
    if desk.as_json:
        desk.emit({"arn": arn, **facts})
    else:
        desk.note(f"{what}: {arn}")
