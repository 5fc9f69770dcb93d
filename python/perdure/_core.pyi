"""The replay engine, bound to Python: what every durable operation does next, and the codec of payloads.

Nothing here talks to a service, starts a thread or runs a user's function; the modules around it do. Errors come as
the classes of `perdure.exceptions` and `perdure._control`. Objects may be used from any thread; none of them calls
Python code while it holds its lock.

Moments are Unix milliseconds, tickets are counted from 1, and an operation or update is the dict that the API has
for it.
"""

from collections.abc import Callable, Generator, Iterable
from contextvars import Context
from datetime import datetime
from typing import Any, Final, Generic, Literal, Self, TypeAlias, TypeVar, final

from typing_extensions import disjoint_base

_T = TypeVar("_T")
_Wire: TypeAlias = dict[str, Any]
_Ending: TypeAlias = Literal[
    "succeed",
    "fail",
    "fail as refused",
    "pending",
    "revoked",
    "repeat",
    "late",
    "refused",
    "too deep",
    "broken",
    "raise",
]

__all__ = [
    "ABORT",
    "ASK",
    "DONE",
    "FAILED",
    "HELD",
    "INTERRUPTED",
    "MAX_CONTEXT_RESULT",
    "MAX_ERROR",
    "MAX_NAME",
    "MAX_OPERATIONS",
    "MAX_PAYLOAD",
    "MAX_RESPONSE",
    "MAX_SUB_TYPE",
    "MAX_THREADS",
    "MAX_WAIT",
    "MAX_WRITTEN",
    "PASS",
    "PENDING",
    "RECORDED",
    "RUN",
    "RUN_BRANCH",
    "START",
    "STARTED",
    "SUSPEND",
    "WAIT",
    "YIELD",
    "Answer",
    "Batch",
    "Drive",
    "Errand",
    "Execution",
    "Listeners",
    "NativeClient",
    "Operation",
    "OperationFields",
    "Ready",
    "Scope",
    "Teller",
    "Told",
    "Updates",
    "__version__",
    "at_work",
    "at_work_in",
    "check_name",
    "check_sub_type",
    "decode_extended",
    "decode_json",
    "encode_extended",
    "encode_json",
    "exponential_delay",
    "hands_at_work",
    "info_at_work",
    "info_recorded",
    "jittered_delay",
    "linear_delay",
    "moment",
    "operation_end_info",
    "operation_start_info",
    "start_thread",
    "typed_of",
    "while_held",
    "whole_seconds",
]

# ---- what an operation calls for: the values of `Operation.decision`

RUN: Final[int]
"""Do the work now."""

START: Final[int]
"""Wait until START is durable (`Operation.start_invoke` queues that of an invoke), then look `Operation.again`."""

INTERRUPTED: Final[int]
"""An earlier invocation began this attempt and never reported back: not to be run, the retry strategy decides."""

RECORDED: Final[int]
"""It has ended well; `Operation.payload` is what was recorded."""

FAILED: Final[int]
"""It has ended otherwise; `Operation.error` and `Operation.status` say how."""

PENDING: Final[int]
"""Nothing can be done before the moment `Operation.until`, or, without one, before the service has news."""

# ---- what a worker of a batch does next: the first value of what `Batch.next` gives

RUN_BRANCH: Final[int]
"""Run the branch with the index given."""

WAIT: Final[int]
"""Nothing now: something is due at the moment given, or when another worker reports."""

SUSPEND: Final[int]
"""All branches that may run are suspended, and so the batch is: until the moment given, or until there is news."""

DONE: Final[int]
"""The batch is done; `Batch.reason` says why."""

ABORT: Final[int]
"""A branch, or the predicate, ended in what is no item: that is to be raised now that nothing runs any more."""

# ---- what a change of a batch calls for: flags

ASK: Final[int]
"""Ask the predicate, and report to `Batch.decide`."""

STARTED: Final[int]
"""See to it that the STARTs leave that were queued."""

# ---- what a branch that is tried does at a new operation: what `Batch.held` gives

PASS: Final[int]
"""Begin it."""

HELD: Final[int]
"""Wait until all branches have been counted, and ask again."""

YIELD: Final[int]
"""Unwind, as if suspended."""

# ---- limits: the service's, and our own

MAX_NAME: Final[int]
"""Characters of the longest name of an operation."""

MAX_SUB_TYPE: Final[int]
"""Characters of the longest subtype."""

MAX_WAIT: Final[int]
"""Seconds of the longest wait or delay: 366 days."""

MAX_PAYLOAD: Final[int]
"""Bytes of the largest payload that a checkpoint carries."""

MAX_RESPONSE: Final[int]
"""Bytes of the largest response of an invocation."""

MAX_ERROR: Final[int]
"""Bytes of the largest error object, as JSON."""

MAX_CONTEXT_RESULT: Final[int]
"""Characters of a context's result above which only a summary is recorded, and replay runs the context again."""

MAX_OPERATIONS: Final[int]
"""Operations that an execution may have."""

MAX_WRITTEN: Final[int]
"""Bytes that an execution may write."""

MAX_THREADS: Final[int]
"""Threads for branches that a process runs at one time, well below Lambda's 1,024."""

# ---- the engine

__version__: str
"""The version of the package, which the extension knows without its metadata."""

@final
class Execution:
    """One invocation of an execution: its history, its contexts, and what is still to be sent.

    Args:
        token: The checkpoint token for the first call.

    """

    def __new__(cls, token: str) -> Execution: ...
    def load(self, operations: list[_Wire], source: str = "the event") -> None:
        """Add recorded operations to the history.

        Args:
            operations: As the wire has them.
            source: Where they come from, for the error.

        Raises:
            ExecutionError: For an operation that cannot be read. A type or a status that is not known is none.

        """

    def load_pages(self, pages: list[list[_Wire] | Answer]) -> None:
        """Add the operations of further pages to the history; else as `load`."""

    def input(self) -> tuple[bool, str | None]:
        """Tell whether the execution itself is in the history, and give its input payload."""

    def root(self) -> Scope:
        """Give the context of the handler."""

    def here(self) -> Scope:
        """Give the context in whose function, or beside it, this thread of control is: the handler's if none is known.

        `Scope.enter` and `Operation.enter` mark the thread of control, by a context variable.
        """

    def share_thread(self, cut: Callable[[], Iterable[object]]) -> None:
        """Say that all code of the invocation is run by tasks, in the calling thread: operations come from no other.

        Args:
            cut: Called if the function of a context has ended without coming to what is recorded: gives the marks of
                the tasks that were cut short, which excuse it (`excuse`).

        """

    def excuse(self, mark: object) -> None:
        """Refuse no code any more for what it has not come to, since a task was cut short.

        Args:
            mark: Of the task, as `at_work_in` gives it. That of a function of an operation's excuses nothing.

        """

    def leave_at_work(self, mark: object) -> None:
        """Hear that the handler has ended beside a task: what the context holds that it is in is not missed.

        Args:
            mark: Of the task, as `at_work_in` gives it.

        """

    def is_durable(self, ticket: int) -> bool:
        """Whether the update with a ticket is durable."""

    def observe(self, observer: Callable[[Operation], object] | Teller) -> None:
        """Have each operation shown that code comes to and that is not simply replayed, before it is given.

        So are callbacks whose answer is asked for, once it is there. What the observer raises, whoever came raises.
        A `Teller` tells by itself of operations of which nothing is recorded, and is asked for its `operation_found` of
        others.
        """

    def set_deadline(self, seconds: float) -> None:
        """Begin no work once so many seconds have passed, provided that something new was recorded before.

        An operation then raises `perdure._control.OutOfTime`; so do all that follow.
        """

    def set_end(self, seconds: float) -> None:
        """Let nobody wait for another thread's call any longer than so many seconds from now."""

    def wait(self, ticket: int, driver: Any) -> None:
        """Return once an update is durable; send it, with all that is queued before, unless somebody sends already.

        This is one call, so that no interrupt can come between being told to send and doing so: whatever ``driver``
        raises, and whatever else goes wrong on the way, those who rely on this caller are woken.

        Args:
            ticket: Of the update.
            driver: Has ``send(token, updates, number)``, which makes a call to the service and gives ``(next token,
                lists of changed operations, present moment, moment in seconds at which it asked, seconds that the call
                took)``; and ``failure``, which is set to what was raised first.

        Raises:
            SuspendExecution: If the service has revoked the checkpoint token.
            CheckpointsBroken: If this call or an earlier one has failed, or outlasted the time that `set_end` gave.
            RecursionError: If the stack ended on the way; somebody else is to send then.
            ExecutionError: If this thread is waiting already, or making a call, and would wait for itself.

        """

    def run(self, flow: Generator[Any, Any, _T], driver: Any) -> _T:
        """Run the flow of an operation (`perdure.engine.flows`) to its end in this thread, which may block.

        This is one call, so that no interrupt can come between a request and its answer: the flow hears of whatever is
        raised, where it stands. Where its operation is to wait it is closed, and the code unwinds (`Scope.suspend`).

        Args:
            flow: Gives requests, and returns a result.
            driver: As for `wait`; and has ``watch()``, which sees to it that what is queued leaves though nobody waits.

        """

    def hear(self, since: float, driver: Any) -> None:
        """Return once the service has answered a call that was made after a moment; make one, if nobody does.

        Args:
            since: The moment, in seconds.
            driver: As for `wait`, and so is what is raised.

        """

    def enter(self) -> None:
        """Count one more hand at work: a branch's thread, or one that waits no longer."""

    def leave(self) -> None:
        """Count one hand less at work; a leader that waits for the others may have waited for it."""

    def watch(self) -> bool:
        """Tell whether the caller is to see to it that somebody looks after updates without a waiter, if any."""

    def unwatch(self) -> None:
        """Say that nobody looks after them."""

    def look(self, driver: Any) -> bool:
        """Look after updates without a waiter: send what has lain here since the last look.

        Args:
            driver: As for `wait`, and so is what is raised.

        Returns:
            Whether to look again.

        Raises:
            ExecutionError: For an operation that cannot be read; then nothing is acknowledged.

        """

    def close(self, watcher: Any) -> None:
        """End every context and stop every batch; nobody looks after updates without a waiter from now on.

        Args:
            watcher: A lock that is released if it is held.

        """

    def set_checkpointing(self, name: str) -> None:
        """Set when updates leave, before there are any.

        Args:
            name: The name of a `Checkpointing`.

        Raises:
            ValueError: For any other.

        """

    @property
    def is_optimistic(self) -> bool:
        """Whether results are handed on before they are recorded."""

    def before_function(self) -> int:
        """Give the ticket that is to become durable before a function is called (0: none)."""

    def outstanding(self) -> int:
        """Give the ticket that is to become durable before the invocation ends (0: none).

        That is the latest, if anything waits to be sent; else that of the latest outcome which was handed on, if
        somebody is still sending that.
        """

    def backlog(self) -> tuple[int, int]:
        """Give the oldest ticket that waits to be sent (0: none), and the latest ticket of all."""

    def write_outcome(self, now: int, payload: str | None, error: _Wire | None) -> int:
        """Queue the outcome of the execution itself: success, or with an error failure. Gives the ticket.

        Args:
            now: The present moment, which goes into the update's id.
            payload: The handler's result.
            error: An error object.

        """

    @property
    def is_stopped(self) -> bool:
        """Whether the invocation ends by what happened to it, whatever the handler returns or raises."""

    @property
    def is_late(self) -> bool:
        """Whether operations were stopped since time is about to be up: what is at work may end, and is recorded."""

    def ending(
        self, handler: Literal["returned", "suspended", "passing", "refused", "failed", "broken off"], now: int
    ) -> tuple[_Ending, bool]:
        """Say how the invocation ends, and whether what is queued is sent before.

        Args:
            handler: What the handler did: it returned, or raised a suspension, trouble that passes, a refusal of the
                engine's, another error, or what is no error.
            now: The present moment, in milliseconds.

        """

    def check(self) -> None:
        """Raise what stopped the invocation, if something did.

        Raises:
            NonDeterministicExecutionError: If an operation differed from the history.
            WrongContextError: If an operation was called on a context that was not the caller's to use.
            RecursionError: If an operation was cut short by the end of the stack.
            SuspendExecution: If the service has revoked the checkpoint token.
            CheckpointsBroken: If a call has failed.
            OutOfTime: If the deadline has passed.

        """

    def conclude(self) -> list[str]:
        """Say that the handler has ended; describe the operations that are over and that it has not come to.

        Raises:
            NonDeterministicExecutionError: If it has not come to an operation that is not over.

        """

@disjoint_base
class Drive:
    """Runs the flow of an operation where it is awaited, by one; passes for a coroutine.

    A class derived from it has three methods. ``call(function, args)`` gives an iterator that calls a function which is
    no context's, and awaits what comes of it. ``cut(at, cancelled)`` says what becomes of the flow when its
    task is cancelled: the error to raise in it, or None to close it. ``ended(result, error)`` is told what came of it,
    and says whether an error need be raised by nobody.

    Args:
        conductor: Leads the tasks of the invocation: `perdure.aio.conductor.Conductor`.
        flow: What to run.
        *_rest: For those who derive from it.

    """

    def __new__(cls, conductor: Any, flow: Generator[Any, Any, Any], *_rest: Any) -> Self: ...
    @property
    def conductor(self) -> Any:
        """Who leads its task."""

    @property
    def cr_await(self) -> Any:
        """What it awaits; None while it does not."""

    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, error: object, *_rest: object) -> Any: ...
    def close(self) -> None: ...

@final
class Ready(Generic[_T]):
    """An operation that is over, for those who await: its value, at once.

    It may be awaited any number of times, and passes for a coroutine.

    Args:
        value: Its value.

    """

    def __new__(cls, value: _T) -> Ready[_T]: ...
    @property
    def value(self) -> _T:
        """Its value."""

    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> None: ...
    def send(self, _value: object) -> None: ...
    def throw(self, error: object, *_rest: object) -> None: ...
    def close(self) -> None: ...

@final
class Scope:
    """A context's position in the history: the root, a child context, or a branch.

    The methods `step` to `child` come to the context's next operation. Each gives either what was recorded as its
    result (read by the default codec, unless ``raw`` says otherwise), or an `Operation` with what is to be done. Each
    raises the following, and so does every other method that says so.

    Raises:
        SerDesError: If what was recorded as its result cannot be read.
        ExecutionError: If what is recorded is of a type or status that is not known.
        SuspendExecution: If the context was told to suspend before. `TimedSuspendExecution`, which is one, if it is
            known until when.
        NonDeterministicExecutionError: If the history holds something else; from then on every operation does.
        WrongContextError: If the context is not the caller's to use, which sticks likewise: in the function of an
            operation it may use the context that it was handed, and no other; and two threads may not use one context
            at a time, unless their operations differ in type, subtype or name and neither comes out of the other's.
        OrphanedChildException: If the context, or one around it, has ended.
        OutOfTime: If work is to be begun and the deadline has passed.
        CheckpointsBroken: If a call to the service has failed.
        ValidationError: If the service would refuse a name or a number of seconds.

    """

    @property
    def operation_id(self) -> str | None:
        """The id of the context's operation; None at the root."""

    @property
    def parent_id(self) -> str | None:
        """The id of the recorded context that its operations are in; None at the root."""

    @property
    def latest_id(self) -> str:
        """The id of the operation that the context has come to last."""

    @property
    def position(self) -> int:
        """How many positions of the context are taken."""

    def step(
        self,
        name: str | None,
        of: Any = None,
        sub_type: str = "Step",
        at_most_once: bool = False,
        raw: bool = False,
        /,
    ) -> Any | Operation:
        """Come to a step.

        Args:
            name: Of the operation; None or empty for none.
            of: The function, or whatever else `typed_of` takes: a value that is given is of its results' type.
            sub_type: Of the operation.
            at_most_once: Whether an attempt must not run unless its START is known to be durable.
            raw: Whether to give an `Operation` with the payload in place of the recorded value.

        """

    def condition(self, name: str | None, raw: bool, of: Any = None, /) -> Any | Operation:
        """Come to a condition that is polled for. `Operation.payload` is the state of the last check.

        Args:
            name: Of the operation.
            raw: As for `step`.
            of: As for `step`.

        """

    def wait(self, name: str | None, seconds: int) -> Operation | None:
        """Come to a wait.

        Args:
            name: Of the operation.
            seconds: 1 to 31,622,400.

        """

    def callback(self, name: str | None, sub_type: str, timeout: int, heartbeat: int) -> Operation:
        """Come to a callback, whose outcome `callback_result` gives. `Operation.payload` is its id for the outside.

        Args:
            name: Of the operation.
            sub_type: Of the operation.
            timeout: Seconds until it fails; 0 for never.
            heartbeat: Seconds between signs of life until it fails; 0 for never.

        """

    def callback_result(self, id: str, /, counts: bool = True) -> Operation:  # noqa: A002  its name in the binding
        """Look at the outcome of a callback that this context or another has come to.

        Args:
            id: Of its operation.
            counts: Whether an outcome that is there counts for what is now from here on: else `answered` says so.

        """

    def answered(self, id: str) -> None:  # noqa: A002  its name in the binding
        """Let the outcome of a callback count for what is now.

        Args:
            id: Of its operation.

        """

    def invoke(self, name: str | None, raw: bool, of: Any = None, /) -> Any | Operation:
        """Come to an invoke of another function, whose result is read as plain JSON unless ``raw``.

        Args:
            name: Of the operation.
            raw: As for `step`.
            of: As for `step`.

        """

    def child(self, name: str | None, sub_type: str, raw: bool, of: Any = None, /) -> Any | Operation:
        """Come to a child context.

        Args:
            name: Of the operation.
            sub_type: Of the operation.
            raw: As for `step`.
            of: As for `step`.

        """

    def batch(self, name: str | None, sub_type: str, raw: bool, of: Any = None, /) -> Any | Operation:
        """Come to a map or parallel. If `Operation.starts`, its START is left to the caller.

        Args:
            name: Of the operation.
            sub_type: Of the operation.
            raw: As for `step`.
            of: As for `step`.

        """

    def open_virtual(self) -> Scope:
        """Come to a context of which nothing is recorded, and open it."""

    def draw(self, execution: str) -> bytes:
        """Draw 32 bytes that are the same whenever code of this execution (its ARN) comes to this place.

        Raises:
            WrongContextError: If the context is not for the caller to use. And as all operations do.

        """

    def now(self) -> tuple[str, str | None, str | None]:
        """Tell which recorded moment is now: which of its timestamps, of which operation, and a callback's end.

        Returns:
            ``"EndTimestamp"`` or ``"StartTimestamp"``, the operation (None for the execution), and the callback whose
            answer was asked for last, if any: the later of the two counts.

        Raises:
            WrongContextError: If the context is not for the caller to use. And as all operations do.

        """

    def enter(self) -> None:
        """Say that the function which this context was handed to begins to run in this thread of control."""

    def leave(self) -> None:
        """Say that it has ended, or take back that it would begin."""

    def expects_next(self) -> bool:
        """Tell whether something is recorded of the context's next position."""

    def is_replaying(self) -> bool:
        """Tell whether the next operation is recorded, and none before it was new."""

    def settle(self) -> None:
        """Raise what the context's code must not swallow: a suspension, and whatever stops the context around it."""

    def due_before_suspending(self) -> int:
        """Give the ticket that is to be durable before the context suspends, if the invocation does with it; else 0.

        The answer may have the news that it waits for.
        """

    def suspend(self, until: int | None) -> None:
        """Suspend the context, and those around it up to the next branch.

        Args:
            until: A moment; None until there is news.

        Raises:
            SuspendExecution: Always, unless there is something worse.

        """

    def check(self) -> None:
        """Raise what keeps the context's code from going on, if something does."""

    def is_alive(self) -> bool:
        """Tell whether the context's code may go on."""

    @property
    def is_exhausted(self) -> bool:
        """Whether an operation of the invocation was cut short by the end of the stack. Then none goes on.

        It is told so by an assignment, which is no call and needs no room on the stack.
        """

    @is_exhausted.setter
    def is_exhausted(self, exhausted: bool) -> None: ...
    def end(self) -> None:
        """End the context: what still runs inside is an orphan, and its next operation raises."""
    def pass_by(self, last: str | None, /) -> None:
        """Let an operation count as the last for what is now, and no other that has begun.

        Args:
            last: Its id. None for the one that counts without the latest, which is to be waited for later.

        """

    def break_off(self) -> None:
        """End the context, whose function will not come to its end: what it has not come to is not missed."""

@final
class Errand:
    """A function of an operation in a thread of its own, for which the operation need not wait to the end."""

    def carry(self) -> None:
        """Mark this thread of control as the function's."""

    def give_up(self) -> None:
        """Say that the operation waits for it no more: from now on every operation that it calls is refused.

        With an `OrphanedChildException`, and of nobody else.
        """

@final
class Operation:
    """An operation that is not simply replayed, until its outcome is queued. `Scope` makes them.

    The methods that queue an update give its ticket, for `Execution.wait`. They raise as `Scope.check` does.
    """

    @property
    def id(self) -> str:
        """The operation's id."""

    @property
    def name(self) -> str | None:
        """Its name; None for none."""

    def facts(self) -> tuple[str, str, str, str | None, str | None]:
        """Give its id, the service's kind, its subtype, its name, and the id of the recorded context that it is in."""

    @property
    def kind(self) -> str:
        """The service's kind, as the wire spells it."""

    @property
    def sub_type(self) -> str:
        """Its subtype."""

    @property
    def parent_id(self) -> str | None:
        """The recorded context that it is in; None at the root."""

    @property
    def decision(self) -> int:
        """What to do: `RUN`, `START`, `INTERRUPTED`, `RECORDED`, `FAILED` or `PENDING`."""

    @property
    def attempt(self) -> int:
        """Which attempt this is, counted from 1; 0 where there are no attempts."""

    @property
    def ticket(self) -> int:
        """The ticket of the START that was queued; 0 if none was."""

    @property
    def starts(self) -> bool:
        """Whether nothing is recorded of the operation, or of the attempt that begins: its START is due."""

    @property
    def write(self) -> bool:
        """Whether the outcome is to be recorded; not where a finished context only runs again for its large result."""

    @property
    def payload(self) -> Any:
        """The recorded result, a condition's state or a callback's id, as text; None without one."""

    @property
    def error(self) -> Any:
        """The recorded error object, a dict; None without one."""

    @property
    def status(self) -> str | None:
        """The recorded status of what did not end well; else None."""

    @property
    def timed_out(self) -> bool:
        """Whether that is for want of an answer in time."""

    @property
    def until(self) -> int | None:
        """The moment before which nothing can be done; None if that is not known."""

    def enter(self) -> None:
        """Say that functions which the operation was given begin to run in this thread of control.

        Until `leave`, they may use no context, but for one that is handed to them.
        """

    def leave(self) -> None:
        """Say that they have ended, or take back that they would begin."""

    def errand(self) -> Errand:
        """Give what marks the thread of a function that runs in one of its own, after `enter`."""

    def again(self) -> Operation:
        """Look once more, after the START or RETRY that was queued has become durable. Raises as `Scope.check` does."""

    def resume(self) -> Operation:
        """Come once more to an operation that was `PENDING`, as if it were called now. Raises as `Scope.check` does.

        For drivers that keep its code waiting. Where another attempt is due, its START is queued (`ticket`).
        """

    def is_pending(self) -> bool:
        """Whether an operation that could not go on still cannot, for all that the service has told."""

    def open(self, branch: bool) -> Scope:
        """Open the context of this operation, whose function begins to run with it in this thread of control.

        As after `enter`, what the operation was given may use no other context, until `leave`.

        Args:
            branch: Whether a suspension inside is the batch's business, and leaves the surroundings alone.

        """

    def returned(self, value: Any) -> tuple[str, Any] | None:
        """Say that the function of the open context has returned.

        Args:
            value: What it returned.

        Returns:
            The payload, by the default serdes, and the value that it holds; None if the serdes does not take the value.

        Raises:
            SuspendExecution: If the code inside was told to suspend, and went on. Anything else as `Scope.check` does.

        """

    def close(self) -> None:
        """Say that the function of the open context has ended, and that other functions of the operation follow."""

    def start(self) -> int:
        """Queue START."""

    def start_invoke(self, payload: str | None, function: str, tenant: str | None, trace: str | None) -> int:
        """Queue START of an invoke.

        Args:
            payload: For the function.
            function: Its name or ARN.
            tenant: On whose behalf it runs.
            trace: The trace header that it gets.

        """

    def succeed_value(self, value: _T) -> tuple[int, _T]:
        """Queue SUCCEED with a value written by the default codec; give the ticket, and the value as it reads back.

        Raises:
            SerDesError: If the value cannot be written; then nothing was queued.

        """

    def succeed(self, payload: str | None) -> int:
        """Queue SUCCEED."""

    def succeed_context(self, inner: Scope, payload: str | None, replay_children: bool) -> int:
        """End a context and queue its SUCCEED.

        Raises `NonDeterministicExecutionError` if it has not come to an operation inside that is not over.

        Args:
            inner: The context.
            payload: Its result, or the summary of a large one.
            replay_children: Whether the payload is a summary, so that replay runs the context again.

        """

    def fail_context(self, inner: Scope, error: _Wire) -> int:
        """End a context and queue its FAIL. Raises as `succeed_context`."""

    def fail(self, error: _Wire) -> int:
        """Queue FAIL with an error object."""

    def retry(self, delay: int, error: _Wire | None, payload: str | None) -> int:
        """Queue RETRY.

        Args:
            delay: Seconds until the next attempt; less than 1 counts as 1, more than 366 days as that.
            error: That of a failed attempt.
            payload: The state that a condition's check left.

        """

@final
class Batch:
    """The schedule of a map or parallel: who is admitted, which branch runs next, when it is done. Others run them.

    What changes the schedule gives what that calls for, as flags: `ASK` (the predicate is to be asked about the state
    as it is now, and its answer reported with `decide`) and `STARTED` (STARTs of admitted branches were queued).
    Reports raise `InvalidStateError` for a branch that is not at work.

    Args:
        scope: The batch's own context.
        total: How many branches there are.
        limit: How many may be in flight; None for all.
        min_successful: Done with so many successes.
        tolerated_failures: Done when more than so many have failed.
        tolerated_percentage: The same in percent of all branches.
        custom: Whether a predicate decides instead (see `decide`).
        names: Those of the branches that have their own; empty if none has.
        prefix: What the others are called: this, and the index.
        sub_type: Of the branches' operations; None if they are none.
        raw: As for `Scope.step`, of the branches.
        bell: A lock that is released, if it is held, with each report and when a hand ends.
        alarm: Another such lock.

    """

    def __new__(
        cls,
        scope: Scope,
        total: int,
        limit: int | None,
        min_successful: int | None,
        tolerated_failures: int | None,
        tolerated_percentage: float | None,
        custom: bool,
        names: list[str | None],
        prefix: str,
        sub_type: str | None,
        raw: bool,
        bell: Any,
        alarm: Any,
    ) -> Batch: ...
    @property
    def due(self) -> int | None:
        """When the first of the branches that are suspended until a moment is due."""

    @property
    def is_settling(self) -> bool:
        """Whether what is recorded of the branches is still being counted."""

    @property
    def is_open(self) -> bool:
        """Whether what runs in the branches may go on: the batch has not ended, nor has it all outcomes that count."""

    @property
    def reason(self) -> str | None:
        """Why the batch is done, as the wire spells it; None while it is not."""

    @property
    def admitted(self) -> int:
        """How many branches were admitted: those with the indexes below."""

    def open(self, resumed: bool) -> int:
        """Begin.

        Args:
            resumed: Whether the batch began in an earlier run, so that what is recorded of it counts first.

        """

    def next(self, now: int) -> tuple[int, int, int | None]:
        """Say what a worker is to do: `RUN_BRANCH`, `WAIT`, `SUSPEND`, `DONE` or `ABORT`, an index, and a moment.

        The moment that comes with `RUN_BRANCH` is the one until which the branch was suspended: what the service says
        must be newer than that.
        """

    def hire(self, run: Any, most: int, start: Callable[[Callable[[], None]], None]) -> bool:
        """Take one more hand; False if the process, or the system, has as many threads as it may.

        Args:
            run: What it does: ``run.work()``. What that raises is left behind as ``run.loss``, and nothing new starts.
            most: How many hands the process may have.
            start: Starts a thread that calls what it is given. Raises `RuntimeError` if there is none to be had.

        """

    def has_more(self, now: int) -> bool:
        """Tell whether one more worker would find a branch to run."""

    def come(self, index: int) -> Any | Operation:
        """Come to the operation of a branch, whose START is queued when it is admitted; raises as `Scope` does."""

    def open_flat(self, index: int, gate: Callable[[], bool] | None) -> Scope:
        """Open the context of a branch that is no operation.

        Args:
            index: Of the branch.
            gate: Called when the branch comes to a new operation while `is_settling`: gives True when that may begin,
                or False if the branch is to unwind, as if suspended.

        """

    def finish(self, index: int, succeeded: bool) -> int:
        """Report a branch that returned or raised."""

    def suspend(self, index: int, until: int | None, now: int) -> int:
        """Report a branch that was suspended, until a moment or until there is news."""

    def abort(self, index: int, at_once: bool) -> None:
        """Report a branch that ended in something that is no item; else as `stop`."""

    def stop(self, at_once: bool) -> None:
        """Say that nothing new starts, unless the batch is done; and wake all who wait.

        Args:
            at_once: Whether nobody is to wait for what still runs: `ABORT` is next, whatever else would be.

        """

    def decide(self, succeeded: bool | None) -> int:
        """Report what the predicate said: done, and how, or None to go on."""

    def keep(self, index: int) -> None:
        """Report a branch that was reported as suspended, and counted, as at work again: its code was kept."""

    def hold(self, index: int) -> int:
        """Report a branch that has come to a new operation while `is_settling`."""

    def held(self, index: int) -> int:
        """Say what such a branch is to do: `PASS` (go on), `HELD` (wait and ask again) or `YIELD` (unwind)."""

    def give_way(self, index: int) -> int:
        """Report that such a branch unwinds, since its hand is needed. Says `YIELD`, or `PASS` if it need not."""

    def queue(self, waiter: Any) -> None:
        """Register a held lock with which one is about to `wait`."""

    def wait(self, waiter: Any) -> bool:
        """Wait until a registered lock is released, since all branches are counted or a hand has gone.

        False if there would be no hand left to try the others.
        """

    def statuses(self) -> list[str | None]:
        """Give the status of each branch as the wire spells it; None for one that was not admitted."""

# ---- the client

@final
class Updates:
    """What one call to the service is to record. It is empty once the call is over, and as it is made from Python."""

    def __new__(cls) -> Updates: ...
    def dicts(self) -> list[_Wire]:
        """Give the updates as the API takes them, made anew each time."""

    def sizes(self) -> tuple[int, int]:
        """Tell how many operations begin with them, and how many characters the payloads of the others have."""

    def __len__(self) -> int: ...

@final
class Answer:
    """What the service has answered, read by the core from its bytes. It goes to the engine as it is, once.

    Its length is that of the list of operations in it.
    """

    @staticmethod
    def of_checkpoint(body: bytes) -> Answer | None:
        """Read the answer to a checkpoint; None if it is not usual, which says nothing against it."""

    @staticmethod
    def of_page(body: bytes) -> Answer | None:
        """Read a page of recorded operations, likewise."""

    @property
    def token(self) -> str | None:
        """The next checkpoint token; None where it was revoked, and in a page."""

    @property
    def marker(self) -> str | None:
        """Where the next page of operations begins, if there is one."""

    @property
    def written(self) -> int:
        """How many characters the results of the operations have."""

    @property
    def json(self) -> str:
        """The list of operations as it was received; empty without one."""

    def __len__(self) -> int: ...

_Raw: TypeAlias = tuple[int, bytes, list[tuple[str, str]]]

@final
class NativeClient:
    """The two calls that the engine makes, over HTTP/1.1 and TLS, signed; one for the life of a process.

    It keeps a connection open between calls. One that has ended unnoticed, as in a sandbox that was frozen, is replaced
    without a failure. Credentials are read at each call. The GIL is let go while a call lasts.
    """

    @staticmethod
    def find(user_agent: str) -> tuple[NativeClient | None, str | None]:
        """Make a client of what the environment says; or say what of it is left to boto3.

        Args:
            user_agent: What calls say of the caller.

        Raises:
            OSError: If the certificates that ``AWS_CA_BUNDLE`` or ``SSL_CERT_FILE`` names cannot be read.

        """

    def checkpoint(
        self, arn: str, token: str, updates: Updates, client_token: str, seconds: float | None
    ) -> Answer | _Raw:
        """Call ``CheckpointDurableExecution``.

        Args:
            arn: The execution.
            token: The checkpoint token.
            updates: What is to be recorded.
            client_token: The same where a call is repeated.
            seconds: How long the call may take in all; None for 15 minutes.

        Returns:
            What was answered. If that is a refusal, or anything unusual, as it was received: the HTTP status, the body,
            and the headers, whose names are in lower case.

        Raises:
            TimeoutError: If there is no answer in time.
            ConnectionError: If there is none that can be relied on, and another call may well get one.
            OSError: If the credentials cannot be had.

        """

    def state(self, arn: str, token: str, marker: str, page: int, seconds: float | None) -> Answer | _Raw:
        """Call ``GetDurableExecutionState`` for a page of at most ``page`` operations; else as `checkpoint`."""

    def prepare(self, seconds: float | None) -> bool:
        """Begin to connect, in a thread without the GIL, unless a connection is open; tell whether it began."""

    def withdraw(self) -> None:
        """Return when that thread has ended; a connection that is not open by then is given up."""

    @property
    def endpoint(self) -> str:
        """The address that calls go to."""

    @property
    def max_attempts(self) -> int | None:
        """How often a call may be made, by ``AWS_MAX_ATTEMPTS``."""

# ---- checks and backoff

def check_name(name: str) -> None:
    """Check the name of an operation; none at all is empty.

    Raises:
        ValidationError: If the service would refuse it.

    """

def check_sub_type(text: str) -> None:
    """Check a user's subtype.

    Raises:
        ValidationError: If the service would refuse it.

    """

def exponential_delay(attempt: int, initial: float, rate: float, cap: float) -> float:
    """Give ``initial * rate ** (attempt - 1)``, at most ``cap``, in seconds."""

def linear_delay(attempt: int, initial: float, increment: float, cap: float) -> float:
    """Give ``initial + increment * (attempt - 1)``, at most ``cap``, in seconds."""

def jittered_delay(delay: float, jitter: str, random: float) -> float:
    """Spread a delay.

    Args:
        delay: Seconds.
        jitter: ``"NONE"``, ``"FULL"`` (anything up to the delay) or ``"HALF"`` (from half the delay on).
        random: A random number, from 0 to below 1.

    Raises:
        ValueError: For another jitter.

    """

def whole_seconds(delay: float) -> int:
    """Round a delay up to whole seconds, at least 1."""

# ---- threads

def at_work() -> object:
    """Give whose function is at work in this thread of control, as the last `enter` or `open` marked it."""

def at_work_in(context: Context) -> object:
    """Give the same for another thread of control, which has these context variables."""

def hands_at_work() -> int:
    """Tell how many hands the process has; see `Batch.hire`."""

def while_held(lock: Any, function: Callable[..., _T], *args: Any) -> _T:
    """Call a function while a lock is held, which is released whatever the function does.

    Args:
        lock: Is waited for.
        function: What to call.
        *args: What to call it with.

    """

def typed_of(function: Any, /) -> Any:
    """Give what converts the results of a function to the type of its return annotation.

    Args:
        function: A function, a method, a partial, what can be called, or what converts; None for nothing.

    Returns:
        A serdes that writes and reads them; None if they need none.

    """

def start_thread(threads: list[Any], forget: Callable[[], None], function: Callable[..., None], *args: Any) -> None:
    """Run a function in a thread of its own, which nothing can come between.

    Args:
        threads: Gets a lock that is released when the thread has ended, however it ends; it is there before the thread
            is.
        forget: Called in the thread after that, however it ends.
        function: What to run.
        *args: What to call it with.

    Raises:
        RuntimeError: If the system has no more threads; then ``threads`` is as before.

    """

# ---- plugins

@final
class Listeners:
    """The hooks of plugins, each with the methods that are called one after the other.

    What a method raises is logged, and harms nobody; what is no `Exception` is raised, and nobody after that is called.

    Args:
        methods: Of each hook, by its name.
        log: Called with a hook, a method of it and what that raised.

    """

    def __new__(cls, methods: dict[str, list[Any]], log: Callable[[str, Any, BaseException], None]) -> Listeners: ...
    def any_of(self, *hooks: str) -> bool:
        """Tell whether somebody listens to one of these hooks."""

    def is_within(self) -> bool:
        """Tell whether this thread is in a hook."""

    def tell(self, name: str, info: Any) -> None:
        """Call a hook."""

    def ask(self, name: str, info: Any) -> list[Any]:
        """Call a hook; give what each plugin answers, None where it failed."""

    def tell_all(self, name: str, info: Any) -> BaseException | None:
        """Call a hook of every plugin, whatever those before it raise; give the last that is no `Exception`."""

@final
class Told:
    """What the service has told of operations, part after part; it grows while the invocation runs.

    Of types and statuses that there are no names for, nothing is kept.

    Args:
        parts: The operations of the event and of its further pages, which others add those of answers to.
        as_dicts: Gives a part that is no list as one.

    """

    def __new__(cls, parts: list[Any], as_dicts: Callable[[Any], list[_Wire]]) -> Told: ...
    @property
    def at_first(self) -> int:
        """How many parts there were when the invocation began."""

    def size(self) -> int:
        """Give how many parts there are, read or not."""

    def read(self) -> int:
        """Read what has come; give how many parts there are."""

    def execution(self) -> _Wire | None:
        """Give the operation that is the execution itself, as it was at first; None if there is none."""

    def latest(self, key: str) -> _Wire | None:
        """Give the latest that was read of an operation; None if nothing was."""

    def at(self, key: str, parts: int) -> _Wire | None:
        """Give what so many parts tell of an operation; None if they tell nothing."""

    def info(self, key: str, parts: int) -> Any:
        """Give the same as an `OperationInfo`."""

    def count(self, parts: int) -> int:
        """Give how many operations so many parts tell of."""

    def ids(self, parts: int) -> list[str]:
        """Give the operations that so many parts tell of, in the order in which they were first told of."""

    def changed(self, since: int, parts: int) -> dict[str, None]:
        """Give the operations whose status the parts from ``since`` on have changed, in the order of that."""

    def expect(self, keys: list[str]) -> None:
        """Note that those of these operations that have ended are new, and somebody may be told so."""

    def ended(self) -> list[tuple[str, _Wire]]:
        """Give the operations that have ended in this invocation, in that order, until somebody takes them out."""

    @property
    def has_unread(self) -> bool:
        """Whether of any of those that were expected nobody was told yet."""

    def take(self, key: str) -> _Wire | None:
        """Take out the end of an operation; None if it has none that is new, or somebody else has taken it."""

@disjoint_base
class Teller:
    """Tells plugins of an invocation's operations: what happens with nearly every one.

    What derives from it has methods for the rest: ``operation_found(operation)`` for those of which something is
    recorded, ``tell_end(key, raw)`` for ends that need care, ``tell_again(operation, error)`` for contexts that ran
    again for their result, ``gave_early(operation)`` and ``tell_late()`` for what is recorded after it has given its
    result, ``function_failed(known, error)``, ``operation_failed(operation, error)``, and
    ``first_heard()``, which gives the lock to release when an answer comes. The others are those of
    `perdure.engine.hooks.Hooks`.

    Args:
        told: What the service tells.
        listeners: Who is told.
        time: Gives the time, in Unix seconds.
        is_optimistic: Whether results are handed on before they are recorded.

    """

    def __new__(cls, told: Told, listeners: Listeners, time: Callable[[], float], is_optimistic: bool) -> Self: ...
    @property
    def steers(self) -> bool:
        """Whether plugins steer what happens: they only hear of it."""

    @property
    def told(self) -> Told:
        """What the service tells."""

    @property
    def listeners(self) -> Listeners:
        """Who is told."""

    @property
    def within(self) -> dict[str, Any]:
        """Operations whose ends are being told, each with a lock that is held meanwhile."""

    def now(self) -> datetime:
        """Give the time."""

    def was_begun(self, operation: Operation) -> bool:
        """Tell whether this invocation has come to an operation before, and nothing was recorded of it then."""

    def begin_operation(self, operation: Operation) -> None:
        """Tell of an operation of which nothing is recorded."""

    def before_operation(self, method: str) -> None:
        """Do nothing."""

    def after_operation(self, scope: Scope) -> None:
        """Tell of the end of the operation that a context has come to last."""

    def heard(self) -> None:
        """Say that an answer has come."""

    def followed(self, operation: Operation, flow: Generator[Any, Any, _T], serdes: Any) -> Generator[Any, Any, _T]:
        """Give the flow of an operation, and tell of the end when it has one."""

    def watches_operations(self) -> bool:
        """Tell whether contexts are to say what their code comes to."""

    def function(self, kind: Literal["step", "condition", "context"], operation: Operation, function: Any) -> Any:
        """Give a function that tells of its beginning and its end."""

    def telling(self, known: dict[str, Any], function: Any) -> Callable[..., Any]:
        """Give such a function, of what is known of it but the time."""

    def end_function(self, known: OperationFields, outcome: Any, error: Any) -> None:
        """Tell of a function that has ended, of what is known of it but the time."""

    def operation_gave(self, operation: Operation, value: Any, *, by_default: bool) -> None:
        """Tell of the end of a step, a condition or a context."""

    def operation_raised(self, operation: Operation, error: Exception, *, by_default: bool) -> None:
        """Tell of the end of a step, a condition or a context, that has failed."""

    def tell_recorded_end(self, raw: _Wire) -> None:
        """Tell of the end of an operation, as it is recorded."""

@disjoint_base
class OperationFields:
    """What an `OperationInfo` of `perdure.plugin` keeps its fields in; made without any, whatever it is called with."""

    operation_id: Any
    operation_type: Any
    sub_type: Any
    name: Any
    parent_id: Any
    start_time: Any
    is_replayed: Any
    status: Any
    end_time: Any
    result: Any
    error: Any
    attempt: Any
    is_replay_children: Any
    outcome: Any

    def __new__(cls, *given: Any, **named: Any) -> Self: ...

def info_at_work(operation: Operation) -> dict[str, Any]:
    """Give the fields of an `OperationInfo` of an operation that is at work."""

def info_recorded(raw: _Wire) -> dict[str, Any]:
    """Give the fields of an `OperationInfo` of a recorded operation."""

def operation_start_info(fields: dict[str, Any]) -> Any:
    """Make an `OperationStartInfo` of its fields."""

def operation_end_info(fields: dict[str, Any]) -> Any:
    """Make an `OperationEndInfo` of its fields."""

def moment(value: Any) -> datetime | None:
    """Give a moment as the wire has it, in Unix milliseconds or as a datetime; None for none, or for an odd one."""

# ---- the codec

def encode_extended(value: Any, /) -> str:
    """Write a value for the record: plain JSON where that says it all, else an envelope of types and values.

    Raises:
        SerDesError: If there is a value of a type that the envelope does not know.

    """

def decode_extended(text: str, /) -> Any:
    """Read what `encode_extended` wrote.

    Raises:
        ValueError: If the text is no JSON.
        SerDesError: If it is no envelope that this version knows.

    """

def encode_json(value: Any, /) -> str:
    """Write what ``json.dumps(value)`` writes, and raise what it raises."""

def decode_json(text: str | bytes | bytearray, /) -> Any:
    """Read what ``json.loads(text)`` reads, and raise what it raises."""
