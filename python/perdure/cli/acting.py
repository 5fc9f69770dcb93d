"""`perdure invoke`, `stop`, `pause`, `resume`, `delete`, and `callback succeed|fail|heartbeat`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perdure.cli import document
from perdure.cli.app import app
from perdure.cli.arguments import error_object, read_json, read_text, resolve
from perdure.cli.codes import BLOCKED, FAILED, OK, USAGE, CommandError
from perdure.cli.command_context import CommandContext, command
from perdure.cli.drawing.text import iso, parsed, told_whole
from perdure.cli.faults import denied, explain, stopped, unanswered
from perdure.cli.follow import describe, looking, wait_for_end
from perdure.cli.usage import Group
from perdure.cli.viewing import Execution, Interval, Timeout  # noqa: TC001 - typer reads the annotations
from perdure.history.tree import has_ended

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACT = "Act on executions, on AWS or a local service"
callbacks = typer.Typer(cls=Group, no_args_is_help=True, help="Answer a callback.")
app.add_typer(callbacks, name="callback", rich_help_panel=_ACT)

CallbackId = Annotated[str, typer.Argument(metavar="CALLBACK_ID", help="As `show` and the handler's log tell it.")]
Reason = Annotated[str | None, typer.Option(help="Why; it is recorded in the history.")]
_TEXT = "A result that is no JSON on purpose goes with --text."


@command(app, panel=_ACT)
def invoke(
    ctx: CommandContext,
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="A name or ARN; NAME:VERSION is one, too.")],
    payload: Annotated[str | None, typer.Option(metavar="FILE|JSON", help="JSON, a file of it, or - .")] = None,
    name: Annotated[
        str | None, typer.Option(help="The name of the execution: a second start is the first one.")
    ] = None,
    event: Annotated[bool, typer.Option("--event", help="Start it, print its ARN, and do not wait.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Start it and look until it ends, however long.")] = False,
    qualifier: Annotated[str | None, typer.Option(help="The version or alias.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant id.")] = None,
    interval: Interval = None,
    timeout: Timeout = None,
) -> None:
    """Invoke a function and print its result; exit 1 if it failed. Without options a caller waits up to 15 minutes."""
    if event and wait:
        hint = "--event prints the ARN at once, --wait the result when there is one."
        raise CommandError("--event and --wait exclude each other.", USAGE, "Usage", hint)
    every, at_most = looking("--wait", interval, timeout, wanted=wait)
    asked: dict[str, Any] = {
        "FunctionName": function,
        "InvocationType": "Event" if event or wait else "RequestResponse",
        "DurableExecutionName": name,
        "Payload": None if payload is None else read_json(payload, "--payload").encode("utf-8", "surrogatepass"),
        "Qualifier": qualifier,
        "TenantId": tenant,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    client = ctx.client if event or wait else ctx.patient_client()
    with _unheard(ctx, function, name), ctx.progress(f"Invoking {function}…"):
        response = client.invoke(**given)
        body = response.pop("Payload", None)
        text = "" if body is None else body.read().decode("utf-8", "replace")
    arn = response.get("DurableExecutionArn")
    if wait:
        if not arn:
            message = (
                f"{function} was invoked, but it is no durable function: the end of the call cannot be waited for."
            )
            hint = "Leave --wait away to get the result of a plain function; that invokes it again."
            raise CommandError(message, USAGE, "NotDurable", hint)
        if not ctx.as_json:
            ctx.note(arn)
        with ctx.awaiting(arn):
            described = wait_for_end(ctx, client, arn, every, at_most)
        _finished(ctx, described)
    if event:
        _started(ctx, function, arn)
    _returned(ctx, response, function, text)


@contextmanager
def _unheard(ctx: CommandContext, function: str, name: str | None) -> Iterator[None]:
    """Tell how to find what was started, if its ARN does not come: after Ctrl-C, or when the service is gone."""
    started = _found_again(ctx, function, name)
    with (
        ctx.interruptible(started),
        ctx.adding(started, when=unanswered),
        ctx.adding(_asked_again(ctx, function, name), when=stopped),
    ):
        yield


def _found_again(ctx: CommandContext, function: str, name: str | None) -> str:
    """Tell how to find what was started before its ARN is known."""
    if name is not None:
        return f"If the execution was started, it runs on; {ctx.back(f'{function}/{name}')} gets back to it."
    return f"If an execution was started, it runs on; {ctx.written('list', function)} shows it."


def _asked_again(ctx: CommandContext, function: str, name: str | None) -> str:
    """Tell how to get the result from a local server that was stopped before it came."""
    goes_on = "The execution goes on with the next start of the server, unless it was started with --memory;"
    if name is None:
        return f"{goes_on} {ctx.written('list', function)} shows it then."
    return f"{goes_on} {ctx.written('invoke', function, '--name', name)} with the same payload waits for it then."


def _started(ctx: CommandContext, function: str, arn: str | None) -> None:
    if ctx.as_json:
        ctx.emit({"function": function, "arn": arn, "status": "STARTED", "result": None, "error": None})
    else:
        ctx.say(arn or f"{function} was invoked.")
    raise typer.Exit(OK)


def _finished(ctx: CommandContext, described: dict[str, Any]) -> None:
    status = described["Status"]
    if ctx.as_json:
        ctx.emit(document.outcome(described))
    else:
        ctx.note(status)
        if described.get("Result"):
            ctx.result(described["Result"])
        if described.get("Error"):
            ctx.failure(told_whole(described["Error"]))
    raise typer.Exit(OK if status == "SUCCEEDED" else FAILED)


def _returned(ctx: CommandContext, response: dict[str, Any], function: str, text: str) -> None:
    arn, failed = response.get("DurableExecutionArn"), bool(response.get("FunctionError"))
    status = "SUCCEEDED"
    if failed:  # or it has timed out, was stopped, or goes on; the answer itself does not say
        described = _described(ctx, arn) if arn else None
        status = "FAILED" if described is None else described["Status"] if has_ended(described) else "RUNNING"
    runs_on = status == "RUNNING"
    error = _error_of(parsed(text)) if failed else None
    if ctx.as_json:
        result = None if failed else parsed(text or None)
        facts = {"function": function, "arn": arn, "executedVersion": response.get("ExecutedVersion")}
        ctx.emit({**facts, "status": status, "result": result, "error": error})
    else:
        if arn:
            ctx.note(f"{arn}: {status}")
        if runs_on:
            ctx.note(f"The execution runs on; {ctx.back(str(arn))} waits for its end.")
        elif failed:
            ctx.failure(told_whole(error))
        elif text:
            ctx.result(text)
    raise typer.Exit(BLOCKED if runs_on else FAILED if failed else OK)


def _described(ctx: CommandContext, arn: str) -> dict[str, Any] | None:
    """Describe an execution, if that can be had: what is known already must not be lost for it."""
    try:
        return describe(ctx.client, arn, data=False)
    except Exception as problem:
        if explain(problem) is None:
            raise
        return None


def _error_of(body: Any) -> dict[str, Any]:
    """Read the payload of a failed invocation, whose members are spelled differently."""
    if not isinstance(body, dict):
        return {"ErrorMessage": str(body)}
    names = (("ErrorMessage", "errorMessage"), ("ErrorType", "errorType"), ("StackTrace", "stackTrace"))
    return {name: body[member] for name, member in names if member in body}


@command(app, panel=_ACT)
def stop(
    ctx: CommandContext,
    execution: Execution,
    error: Annotated[
        str | None, typer.Option(metavar="MESSAGE|JSON", help='Why: a message, or {"ErrorType": …, "ErrorMessage": …}.')
    ] = None,
) -> None:
    """Stop an execution for good; nothing of it is invoked again."""
    more = {} if error is None else {"Error": error_object(error)}
    arn = resolve(ctx.client, execution)
    before = _before(ctx, arn)
    ended = None if before is None else has_ended(before)
    if before is not None and ended:
        what, status, moment = (
            f"It had already ended ({before['Status']})",
            before["Status"],
            before.get("EndTimestamp"),
        )
    else:
        response = ctx.client.stop_durable_execution(DurableExecutionArn=arn, **more)
        what, status, moment = "Stopped", "STOPPED", response.get("StopTimestamp")
    _done(ctx, arn, what, {"status": status, "alreadyEnded": ended, "stoppedAt": iso(moment)})


def _before(ctx: CommandContext, arn: str) -> dict[str, Any] | None:
    """Describe an execution; None for who may stop it and not look at it."""
    try:
        return describe(ctx.client, arn, data=False)
    except Exception as problem:
        if denied(problem):
            return None
        raise


@command(app, panel=_ACT)
def pause(
    ctx: CommandContext,
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
    arn = resolve(ctx.client, execution)
    ctx.client.pause_durable_execution(DurableExecutionArn=arn, **more)
    _done(ctx, arn, "Asked to pause", {})


@command(app, panel=_ACT)
def resume(ctx: CommandContext, execution: Execution, reason: Reason = None) -> None:
    """Go on with a paused execution."""
    more = {} if reason is None else {"Reason": reason}
    arn = resolve(ctx.client, execution)
    ctx.client.resume_durable_execution(DurableExecutionArn=arn, **more)
    _done(ctx, arn, "Asked to resume", {})


@command(app, panel=_ACT)
def delete(
    ctx: CommandContext,
    execution: Execution,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask; nobody is asked where there is no terminal.")
    ] = False,
) -> None:
    """Delete an execution that has ended, with its history."""
    if not yes and ctx.interactive and ctx.as_json:
        message = "With --json nobody is asked, and nothing was deleted."
        raise CommandError(message, USAGE, "Usage", "Give --yes to delete without a question.")
    arn = resolve(ctx.client, execution)
    if not yes and ctx.interactive and not typer.confirm(f"Delete {arn}?", err=True):
        ctx.note("Nothing was deleted.")
        raise typer.Exit(FAILED)
    response = ctx.client.delete_durable_execution(DurableExecutionArn=arn)
    _done(ctx, arn, "Deleted", {"deletionRequestedAt": iso(response.get("DeletionRequestTimestamp"))})


@command(callbacks)
def succeed(
    ctx: CommandContext,
    callback_id: CallbackId,
    result: Annotated[
        str | None, typer.Option(metavar="JSON|FILE", help="The answer: JSON, a file of it, or - .")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="The answer is any text, sent as it is.")] = False,
    no_result: Annotated[bool, typer.Option("--no-result", help="Answer without a result.")] = False,
) -> None:
    """Answer a callback with a result."""
    if (result is None) is not no_result:
        message = "An answer has a --result." if result is None else "--result and --no-result exclude each other."
        hint = "Give --result JSON, or --no-result if the answer is that there is none."
        raise CommandError(message, USAGE, "Usage", hint)
    more: dict[str, Any] = {}
    if result is not None:
        answer = read_text(result, "--result") if text else read_json(result, "--result", _TEXT)
        more["Result"] = answer.encode("utf-8", "surrogatepass")
    ctx.client.send_durable_execution_callback_success(CallbackId=callback_id, **more)
    _answered(ctx, callback_id, "SUCCEEDED")


@command(callbacks)
def fail(
    ctx: CommandContext,
    callback_id: CallbackId,
    error_message: Annotated[str | None, typer.Option(help="What went wrong.")] = None,
    error_type: Annotated[str | None, typer.Option(help="The name of the error, such as PaymentRefused.")] = None,
    error_data: Annotated[str | None, typer.Option(help="More about it, for programs.")] = None,
) -> None:
    """Answer a callback with an error."""
    error = {"ErrorMessage": error_message, "ErrorType": error_type, "ErrorData": error_data}
    given = {key: value for key, value in error.items() if value is not None}
    ctx.client.send_durable_execution_callback_failure(CallbackId=callback_id, **({"Error": given} if given else {}))
    _answered(ctx, callback_id, "FAILED")


@command(callbacks)
def heartbeat(ctx: CommandContext, callback_id: CallbackId) -> None:
    """Tell that whoever will answer a callback is still at it."""
    ctx.client.send_durable_execution_callback_heartbeat(CallbackId=callback_id)
    _answered(ctx, callback_id, "STARTED")


def _answered(ctx: CommandContext, callback_id: str, status: str) -> None:
    if ctx.as_json:
        ctx.emit({"callbackId": callback_id, "status": status})
    else:
        ctx.note({"SUCCEEDED": "Answered.", "FAILED": "Failed, as asked."}.get(status, "The heartbeat was taken."))


def _done(ctx: CommandContext, arn: str, what: str, facts: dict[str, Any]) -> None:
    if ctx.as_json:
        ctx.emit({"arn": arn, **facts})
    else:
        ctx.note(f"{what}: {arn}")
