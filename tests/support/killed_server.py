"""Functions for a server that is killed: what their code does is told to a file that outlives the process.

Each line is written by one call of `os.write`, so that what was told is there after a kill: a JSON list of what was
done, by which process, in which execution, and more:

    enter, leave                             an invocation of the handler
    ran   STEP ATTEMPT TOKEN SEMANTICS       the body of a step, which returns the token (or raises it)
    saw   STEP VALUE                         the handler was given the value of a step, first run or replay
    call  PAYLOAD                            a call of the plain function
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from perdure import CallbackError, CallbackTimeoutError, DurableContext, StepError, durable_execution
from perdure.config import StepSemantics
from perdure.retries import RetryDecision

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.types import StepContext, WaitForCallbackContext

TOLD = "PERDURE_TEST_TOLD"
"""The environment variable that names the file."""
INTERRUPTED = "interrupted"
"""The value of a step that was begun at most once, and not ended."""
SHAKY = 2
"""How many attempts of a shaky step are needed."""
ONCE, AGAIN = "once", "again"
BEAT_SECONDS = 2
ANSWER_SECONDS = 3_600
"""How long an answer may take where none is to come too late: longer than any run of the test, on whatever machine."""
STEP_SECONDS, CALL_SECONDS = 0.01, 0.1
"""How long bodies take, so that kills hit them."""

_file = os.open(os.environ[TOLD], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if TOLD in os.environ else -1
if _file >= 0:
    os.write(_file, b"\n")  # whatever a kill has severed ends here


def tell(what: str, arn: str, *more: Any) -> None:
    os.write(_file, (json.dumps([what, os.getpid(), arn, *more]) + "\n").encode())


def observed(handler: Callable[[Any, DurableContext], Any]) -> Callable[[Any, Any], Any]:
    """Make a durable function that tells of its invocations."""
    durable = durable_execution(handler)

    def invocation(event: Any, context: Any) -> Any:
        tell("enter", event["DurableExecutionArn"])
        try:
            return durable(event, context)
        finally:
            tell("leave", event["DurableExecutionArn"])

    return invocation


class Steps:
    """The steps of an execution, each under a name of its own."""

    def __init__(self, context: DurableContext) -> None:
        self.arn = context.execution_context.durable_execution_arn

    def run(
        self, context: DurableContext, name: str, *, once: bool = False, attempts: int = 1, shaky: bool = False
    ) -> dict[str, str]:
        """Run a step, and give its value under its name; to be interrupted fails an attempt that may only run once."""

        def body(step: StepContext) -> str:
            token = os.urandom(6).hex()
            tell("ran", self.arn, name, step.attempt, token, ONCE if once else AGAIN)
            time.sleep(STEP_SECONDS)
            if shaky and step.attempt < SHAKY:
                raise RuntimeError(token)
            return token

        def retry(_error: Exception, attempt: int) -> RetryDecision:
            return RetryDecision.retry(1) if attempt < attempts else RetryDecision.no_retry()

        semantics = StepSemantics.AT_MOST_ONCE_PER_RETRY if once else StepSemantics.AT_LEAST_ONCE_PER_RETRY
        try:
            value = context.step(body, name, retry=retry, step_semantics=semantics)
        except StepError as error:
            value = INTERRUPTED if (error.error_type or "").endswith("StepInterruptedError") else repr(error)
        return self.given(name, value)

    def given(self, name: str, value: Any) -> dict[str, Any]:
        """Tell of the value that an operation gave, and give it under its name."""
        tell("saw", self.arn, name, value)
        return {name: value}


@observed
def work(event: Any, context: DurableContext) -> Any:
    """Run every kind of operation that needs nobody outside; return the value of each step."""
    steps = Steps(context)

    def inner(child: DurableContext) -> dict[str, Any]:
        return steps.run(child, "inner-once", once=True) | steps.run(child, "inner")

    def item(branch: DurableContext, _item: int, index: int, _items: Any) -> dict[str, Any]:
        values = steps.run(branch, f"item-{index}-once", once=True)
        if index == 1:
            branch.wait(1)
        return values | steps.run(branch, f"item-{index}")

    def shaky(branch: DurableContext) -> dict[str, Any]:
        return steps.run(branch, "shaky", attempts=SHAKY, shaky=True)

    def stubborn(branch: DurableContext) -> dict[str, Any]:
        return steps.run(branch, "stubborn", once=True, attempts=5)

    def invokes(branch: DurableContext) -> dict[str, Any]:
        values = steps.given("part", branch.invoke("part:$LATEST", {"of": steps.arn}, "part"))
        doubled = branch.invoke("plain", {"of": steps.arn, "number": event["number"]}, "plain")
        return values | steps.given("plain", doubled)

    values = steps.run(context, "first", once=True) | steps.run(context, "second")
    values |= context.run_in_child_context(inner, "child")
    for mapped in context.map(range(ITEMS), item, "map", max_concurrency=3).get_results():
        values |= mapped
    for branch in context.parallel([shaky, stubborn, invokes], "parallel").get_results():
        values |= branch
    context.wait(1)
    return values | steps.run(context, "last", once=True)


ITEMS = 4
WORK = frozenset(
    {"first", "second", "inner-once", "inner", "shaky", "stubborn", "part", "plain", "last"}
    | {f"item-{index}{suffix}" for index in range(ITEMS) for suffix in ("", "-once")}
)
"""The names under which `work` returns values."""


@observed
def part(_event: Any, context: DurableContext) -> Any:
    """Run two steps; others invoke it."""
    steps = Steps(context)
    return steps.run(context, "part-once", once=True) | steps.run(context, "part")


@observed
def ask(event: Any, context: DurableContext) -> Any:
    """Wait for an answer, in the way that the event tells."""
    steps, plan = Steps(context), event["plan"]
    values: dict[str, Any] = {}
    try:
        if plan == "submit":

            def submit(_callback_id: str, _context: WaitForCallbackContext) -> None:
                tell("ran", steps.arn, "submitter", 1, None, AGAIN)

            answer = context.wait_for_callback(submit, "answer", timeout=ANSWER_SECONDS)
        else:
            timeout = 1 if plan == "expire" else ANSWER_SECONDS
            beat = BEAT_SECONDS if plan == "beat" else 0
            callback = context.create_callback("answer", timeout=timeout, heartbeat_timeout=beat)
            values |= steps.run(context, "before", once=True)
            answer = callback.result()
    except CallbackTimeoutError:
        answer = "nobody"
    except CallbackError as error:
        answer = f"no: {error}"
    return values | steps.given("answer", answer) | steps.run(context, "after")


@observed
def idle(event: Any, context: DurableContext) -> Any:
    """Do little for a number of rounds."""
    steps = Steps(context)
    values: dict[str, Any] = {}
    for number in range(event["rounds"]):
        values |= steps.run(context, f"round-{number}", once=number % 2 == 1)
        context.wait(1)
    return values


@observed
def quick(_event: Any, context: DurableContext) -> Any:
    """Run a few steps; callers wait for it."""
    steps = Steps(context)
    values: dict[str, Any] = {}
    for number in range(4):
        values |= steps.run(context, f"step-{number}", once=number % 2 == 1)
    return values


def plain(event: Any, _context: Any) -> int:
    """Be no durable function."""
    tell("call", event["of"], event["number"])
    time.sleep(CALL_SECONDS)
    return int(event["number"]) * 2
