"""map and parallel: branches, run by the caller and by as many threads as they can use.

The core schedules (`_core.Batch`) and says who is admitted; here are the hands, which bound only how many branches run
at one moment. The caller is one of them, so a batch of concurrency 1 needs no thread, and a thread that waits for an
inner batch runs that batch's branches, so nesting cannot deadlock. A suspended branch holds no thread: its code
unwinds, and it is run again when it is due.

Branches that leave no record of their own (FLAT) are tried when their batch goes on with a record: each runs over what
is recorded, up to its end or to its first new operation. What is new must not begin before all have been tried and the
policy has judged, so they wait for that at a gate, each with its thread.

Whatever is raised here, between whichever bytecodes, nobody waits for ever: what must not fail (a thread's place given
back, those who wait woken) is done by the core, and a thread that ends with an error leaves it behind as the `loss`.
"""

from __future__ import annotations

import contextvars
from _thread import allocate_lock
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from perdure._core import (
    ASK,
    DONE,
    HELD,
    MAX_THREADS,
    PASS,
    RUN,
    RUN_BRANCH,
    STARTED,
    SUSPEND,
    WAIT,
    Batch,
    Operation,
    check_name,
    while_held,
)
from perdure._functions import check_function
from perdure.concurrency._policy import outcome_of
from perdure.concurrency.models import (
    BatchItem,
    BatchItemStatus,
    BatchResult,
    CompletionReason,
    CompletionRecord,
    envelope_summary_generator,
    make_item,
    recorded_failures,
)
from perdure.config import (
    CompletionConfig,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionStatus,
    NestingType,
    ParallelBranch,
)
from perdure.engine import threads as _threads
from perdure.engine.operations import child
from perdure.engine.operations.common import REFUSALS, passes_through, used_after_its_end, wire_error
from perdure.exceptions import (
    DurableOperationError,
    OrphanedChildException,
    SerDesError,
    SuspendExecution,
    ValidationError,
)
from perdure.lambda_service import ErrorObject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.config import MapConfig, ParallelConfig
    from perdure.engine.contexts import Context
    from perdure.serdes import SerDes

_SUCCEEDED, _FAILED, _STARTED = BatchItemStatus.SUCCEEDED, BatchItemStatus.FAILED, BatchItemStatus.STARTED

_RAISED: Final = RuntimeError("the error of this batch was raised already")
"""In the place of a batch's error: its traceback holds the frames of branches, and they the batch."""

Body = "Callable[[Any, int], Any]"


class Kind(NamedTuple):
    """What a map and a parallel are called.

    Args:
        sub_type: Of the whole.
        branch_sub_type: Of a branch.
        result_type: Of the summary of a large result.
        branch_prefix: Before a branch's index, in the name of one that is given none.

    """

    sub_type: str
    branch_sub_type: str
    result_type: str
    branch_prefix: str


MAP = Kind("Map", "MapIteration", "MapResult", "map-item-")
PARALLEL = Kind("Parallel", "ParallelBranch", "ParallelResult", "parallel-branch-")


class Options:
    """A batch's configuration, from its config object and its keyword arguments."""

    __slots__ = (
        "completion",
        "flat",
        "item_namer",
        "item_serdes",
        "max_concurrency",
        "serdes",
        "summary_generator",
    )

    def __init__(
        self,
        config: MapConfig[Any] | ParallelConfig | None,
        *,
        max_concurrency: int | None,
        completion_config: CompletionConfig | None,
        serdes: SerDes[Any] | None,
        item_serdes: SerDes[Any] | None,
        summary_generator: Callable[[Any], str] | None,
        nesting_type: NestingType | None,
        item_namer: Callable[[Any, int], str] | None = None,
    ) -> None:
        def either(given: Any, name: str) -> Any:
            """Give a keyword argument, which wins, or what the config object has."""
            return getattr(config, name, None) if given is None else given

        self.max_concurrency: int | None = either(max_concurrency, "max_concurrency")
        self.completion: CompletionConfig = either(completion_config, "completion_config") or CompletionConfig()
        self.serdes: SerDes[Any] | None = either(serdes, "serdes")
        # A serdes for the whole serves the items too, unless they have one of their own.
        self.item_serdes: SerDes[Any] | None = either(item_serdes, "item_serdes") or self.serdes
        self.summary_generator: Any = either(summary_generator, "summary_generator")
        self.flat = either(nesting_type, "nesting_type") is NestingType.FLAT
        self.item_namer: Callable[[Any, int], str] | None = either(item_namer, "item_namer")

    def check(self, total: int) -> None:
        """Refuse what cannot be met."""
        enough = self.completion.min_successful
        if enough is not None and enough > total:
            raise ValidationError(
                f"min_successful is {enough}, but there are only {total} branches: it could never be reached. "
                f"Lower it, or check the number of branches before the call"
            )
        failures = self.completion.tolerated_failure_count
        for what, number in (("min_successful", enough), ("tolerated_failure_count", failures)):
            if number is not None and not isinstance(number, int):
                raise ValidationError(f"{what} must be a whole number, not {number!r}")
        limit = self.max_concurrency
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise ValidationError(f"max_concurrency must be a whole number of at least 1, not {limit!r}")


def run_map(
    context: Context, inputs: Sequence[Any], func: Callable[..., Any], name: str | None, options: Options
) -> Any:
    """Run a map: see `DurableContext.map`."""
    if isinstance(inputs, (dict, set, frozenset)) or not hasattr(inputs, "__len__"):
        raise ValidationError(
            f"map needs a sequence, whose order is the same on every replay, not a {type(inputs).__name__}: "
            f"pass a list, for example sorted(…) or list(….items())"
        )
    namer = options.item_namer

    def names() -> list[str | None]:
        return [namer(item, index) for index, item in enumerate(inputs)] if namer else []

    def body(inner: Context, index: int) -> Any:
        return func(inner, inputs[index], index, inputs)

    def check() -> None:
        check_function(func, "map", "a DurableContext, the item, its index and all items")

    return _run(context, len(inputs), body, names, name, options, MAP, check)


def run_parallel(
    context: Context,
    functions: Sequence[Callable[[Any], Any] | ParallelBranch[Any]],
    name: str | None,
    options: Options,
) -> Any:
    """Run a parallel: see `DurableContext.parallel`."""
    if not hasattr(functions, "__iter__"):
        raise ValidationError(f"parallel takes a list of functions, not {functions!r}")
    branches = list(functions)

    def names() -> list[str | None]:
        return [branch.name if isinstance(branch, ParallelBranch) else None for branch in branches]

    def body(inner: Context, index: int) -> Any:
        return branches[index](inner)

    def check() -> None:
        for branch in branches:
            function = branch.func if isinstance(branch, ParallelBranch) else branch
            check_function(function, "a branch of parallel", "a DurableContext")

    return _run(context, len(branches), body, names, name, options, PARALLEL, check)


def _run(
    context: Context,
    total: int,
    body: Callable[[Any, int], Any],
    names: Callable[[], list[str | None]],
    name: str | None,
    options: Options,
    kind: Kind,
    check: Callable[[], None],
) -> Any:
    options.check(total)
    found = context.scope.batch(name, kind.sub_type, options.serdes is not None)
    if type(found) is not Operation:
        return found
    check()
    given: list[str | None] = []
    faults: list[Exception] = []
    if found.decision == RUN:
        given = _names(found, names, faults)
        _check_names(given, kind.sub_type, flat=options.flat)
        if found.starts:
            found.start()
            context.invocation.checkpoints.watch()

    def work(inner: Context) -> Any:
        if faults:
            raise faults.pop()
        run = _BatchRun(inner, found, total, body, given, options, kind)
        record = None if found.write else CompletionRecord.from_summary_payload(found.payload)
        if record is None:
            result = run.drive(is_resumed=not found.starts)
        else:
            result = run.rebuild(record, recorded_failures(found.payload))
        hooks = context.invocation.hooks
        if hooks is not None:
            hooks.batch_ended(found.id, total, options.max_concurrency, result)
        return result

    summary = envelope_summary_generator(kind.result_type, options.summary_generator)
    serdes = options.serdes
    if serdes is None and options.item_serdes is not None:
        from perdure.concurrency._batch_serdes import BatchSerDes  # noqa: PLC0415  seldom needed

        serdes = BatchSerDes()
    return child.run(context, found, work, serdes, summary)


def _names(found: Operation, names: Callable[[], list[str | None]], faults: list[Exception]) -> list[str | None]:
    """Ask for the names of the branches. What that raises is noted: the batch fails of it, as of its branches' code."""
    try:
        found.enter()
        return names()
    except REFUSALS:
        raise
    except Exception as error:  # noqa: BLE001  noted
        faults.append(error)
        return []
    finally:
        found.leave()


def _check_names(names: list[str | None], kind: str, *, flat: bool) -> None:
    """Refuse what the service would, before anything is sent; it hears nothing of the names of FLAT branches."""
    for name in names:
        if name is not None and not isinstance(name, str):
            whose = "item_namer must return the name of an item as" if kind == "Map" else "a ParallelBranch is named by"
            raise ValidationError(f"{whose} text, not {name!r}")
        if name and not flat:
            check_name(name)


class _BatchRun:
    """The branches of one batch at work."""

    __slots__ = (
        "_batch",
        "_body",
        "_caller_wakeup",
        "_context",
        "_errors",
        "_fatal",
        "_invocation",
        "_is_rebuilding",
        "_is_tried",
        "_judge",
        "_lock",
        "_names",
        "_operation",
        "_options",
        "_results",
        "_timer_wakeup",
        "_total",
        "_variables",
        "_watch",
        "loss",
    )

    def __init__(
        self,
        context: Context,
        operation: Operation,
        total: int,
        body: Callable[[Any, int], Any],
        names: list[str | None],
        options: Options,
        kind: Kind,
    ) -> None:
        completion = options.completion
        hooks = context.invocation.hooks
        self._lock = lock = allocate_lock if hooks is None else hooks.lock
        self._context = context
        self._operation = operation
        self._invocation = context.invocation
        self._total = total
        self._body = body
        self._names = names
        self._options = options
        self._results: list[Any] = [None] * total
        self._errors: dict[int, ErrorObject] = {}
        self._fatal: BaseException | None = None
        # What a thread has ended with, and left its branch behind; set by the core.
        self.loss: BaseException | None = None
        self._is_rebuilding = False
        self._variables = contextvars.copy_context()
        # Rung when the caller, if it waits, should look again: a binary semaphore, silent at first.
        self._caller_wakeup = lock()
        self._caller_wakeup.acquire()
        # Rung for the thread that waits for the next timer while the caller is busy, and held by that thread.
        self._timer_wakeup = lock()
        self._timer_wakeup.acquire()
        self._watch = lock()
        self._judge = lock() if completion.should_complete else None
        # Whether branches are tried before they go on.
        self._is_tried = False
        batch = Batch(
            context.scope,
            total,
            options.max_concurrency,
            completion.min_successful,
            completion.tolerated_failure_count,
            completion.tolerated_failure_percentage,
            completion.should_complete is not None,
            [] if options.flat else names,
            kind.branch_prefix,
            None if options.flat else kind.branch_sub_type,
            options.item_serdes is not None,
            self._caller_wakeup,
            self._timer_wakeup,
        )
        self._batch = batch if hooks is None else hooks.batch(batch)

    def drive(self, *, is_resumed: bool) -> BatchResult[Any]:
        """Run the batch until it is done; raises when it suspends instead.

        Args:
            is_resumed: Whether the batch began in an earlier run, so that what is recorded of it counts first.

        """
        self._is_tried = is_resumed and self._options.flat
        try:
            self._report(partial(self._batch.open, is_resumed))
            code, moment = self._work_as_caller()
        except BaseException:
            self._batch.stop(False)
            raise
        scope = self._context.scope
        if code == SUSPEND:
            scope.suspend(moment)
        scope.end()
        if code != DONE or self._is_broken_off():
            self._raise_fatal()
        return self._result()

    def _is_broken_off(self) -> bool:
        """Whether the batch ends at once: out of time, cut off from the service, or with a branch left behind."""
        return self.loss is not None or not (self._fatal is None or isinstance(self._fatal, Exception))

    def _raise_fatal(self) -> NoReturn:
        """Raise what aborted the batch, and keep neither it nor what a branch that still runs may yet end with."""
        fatal = self.loss
        if fatal is None or isinstance(fatal, Exception):
            fatal = self._fatal or fatal
        self._fatal = self.loss = _RAISED
        try:
            if fatal is None:  # it was stopped from outside
                self._invocation.core.root().check()
            raise fatal  # type: ignore[misc]  # an abort has its error, and at its end the invocation refuses everything
        finally:
            del fatal  # whose traceback holds this frame

    def rebuild(self, record: CompletionRecord, failures: float) -> BatchResult[Any]:
        """Give the result again that a finished batch had, whose items alone are recorded."""
        self._is_rebuilding = True
        items: list[BatchItem[Any]] = []
        failed = 0
        for index in range(record.started_total):
            if index in record.started_indexes:
                items.append(BatchItem(index, BatchItemStatus.STARTED))
                continue
            try:
                result = self._variables.copy().run(self._branch, index)
            except Exception as error:
                failed += 1
                if isinstance(error, RecursionError):  # no failure of the item's, which would be that of its context
                    raise
                # An item that had succeeded, and cannot be read or rebuilt now, is not one that had failed.
                if passes_through(error) or (isinstance(error, SerDesError) and failed > failures):
                    raise
                items.append(BatchItem(index, BatchItemStatus.FAILED, error=_item_error(error)))
            else:
                items.append(BatchItem(index, BatchItemStatus.SUCCEEDED, result))
        return BatchResult(items, record.completion_reason)

    # ---- the hands

    def _now(self) -> int:
        return int(self._invocation.clock.time() * 1000)

    def _work_as_caller(self) -> tuple[int, int | None]:
        next_ = self._batch.next
        clock, core = self._invocation.clock, self._invocation.core
        while True:
            code, index, moment = next_(self._now())
            if code == RUN_BRANCH:
                self._run_branch(index, moment)
            elif code == WAIT:
                timeout = None if moment is None else clock.timeout(moment / 1000)
                core.leave()
                try:
                    self._caller_wakeup.acquire(timeout=-1 if timeout is None else timeout)
                finally:
                    core.enter()
            else:
                return code, moment

    def work(self) -> None:
        """Run branches in a thread of its own; called by the core."""
        while True:
            code, index, moment = self._batch.next(self._now())
            if code == RUN_BRANCH:
                self._run_branch(index, moment)
            elif code != WAIT or moment is None or not self._keep_time(moment):
                break

    def _keep_time(self, moment: int) -> bool:
        """Wait until a timer is due or there are reports; False if another thread does so, or if the clock stands."""
        timeout = self._invocation.clock.timeout(moment / 1000)
        if timeout is None or not self._watch.acquire(blocking=False):
            return False
        core = self._invocation.core
        core.leave()
        try:
            self._timer_wakeup.acquire(timeout=timeout)
        finally:
            core.enter()
            self._watch.release()
        return True

    def _needs_hand(self) -> bool:
        """Whether one more thread would find something to do, if only to wait for the next timer."""
        if self._batch.has_more(self._now()):
            return True
        due = self._batch.due
        return due is not None and not self._watch.locked() and self._invocation.clock.timeout(due / 1000) is not None

    def _start_worker(self) -> bool:
        """Start a thread, if it would be of use and the process may have one more; tell whether one was started."""
        if self._is_rebuilding or not self._needs_hand():
            return False
        hooks = self._invocation.hooks
        start = _threads.start if hooks is None else hooks.start_thread
        return self._batch.hire(self, MAX_THREADS, partial(start, self._invocation.threads))

    def _hold(self, index: int) -> bool:
        """Keep a branch that is tried from going on until all are counted. False if it is to unwind instead."""
        batch = self._batch
        if not self._is_tried:
            return True
        while True:
            waiter = self._lock()
            waiter.acquire()
            batch.queue(waiter)
            self._report(partial(batch.hold, index))
            code = batch.held(index)
            if code != HELD:
                self._start_worker()
                return code == PASS
            if batch.has_more(self._now()) and not self._start_worker():
                return batch.give_way(index) == PASS
            if not batch.wait(waiter):
                return batch.give_way(index) == PASS

    # ---- one branch

    def _run_branch(self, index: int, since: int | None) -> None:
        """Run a branch and report what came of it. Never raises."""
        try:
            if since is not None:
                self._catch_up(since)
            result = self._variables.copy().run(self._branch, index)
        except SuspendExecution as suspension:
            moment = getattr(suspension, "scheduled_timestamp", None)
            until = None if moment is None else round(moment * 1000)
            self._report(partial(self._batch.suspend, index, until, self._now()))
        except OrphanedChildException as orphaned:
            if self._batch.is_open:
                self._give_up(index, used_after_its_end(orphaned))
            else:
                self._report(partial(self._batch.suspend, index, None, 0))
        except RecursionError as error:
            # Not of the user's function, whose own are the failure of its context: something in between was cut short.
            self._context.scope.is_exhausted = True
            self._give_up(index, error)
        except Exception as error:  # noqa: BLE001  whatever the user's function raises becomes the item's error
            if passes_through(error):
                self._give_up(index, error)
            else:
                self._errors[index] = _item_error(error)
                self._report(partial(self._batch.finish, index, False))
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            self._give_up(index, error)
        else:
            self._results[index] = result
            self._report(partial(self._batch.finish, index, True))

    def _catch_up(self, since: int) -> None:
        """Hear from the service after a moment, and know what it knows: no START of the branch is on its way twice."""
        checkpoints = self._invocation.checkpoints
        checkpoints.ask_for_news(since / 1000)
        checkpoints.wait(self._invocation.core.backlog()[1])

    def _branch(self, index: int) -> Any:
        context, options = self._context, self._options

        def body(inner: Context) -> Any:
            return self._body(inner, index)

        if options.flat:
            self._start_worker()
            gate = partial(self._hold, index) if self._is_tried else None
            inner = self._batch.open_flat(index, gate)
            return child.run_virtual(context, inner, body, options.item_serdes, index)
        found = self._batch.come(index)
        if type(found) is not Operation:
            return found
        if found.decision == RUN:
            self._start_worker()
        return child.run(context, found, body, options.item_serdes, None, branch=True)

    def _give_up(self, index: int, error: BaseException) -> None:
        if self._fatal is None:
            self._fatal = error
        self._batch.abort(index, self._is_broken_off())

    # ---- reports, and what they call for

    def _report(self, change: Callable[[], int]) -> None:
        calls = change() if self._judge is None else while_held(self._judge, self._answered, change)
        if calls & STARTED:
            self._invocation.checkpoints.watch()

    def _answered(self, change: Callable[[], int]) -> int:
        """Change the schedule, and ask the user's predicate about what that has changed."""
        calls = all_calls = change()
        while calls & ASK:
            try:
                # In a thread of ours, too, it sees what the handler has set, and may use no context.
                calls = self._batch.decide(self._variables.copy().run(self._predicate_says))
            except BaseException as error:  # noqa: BLE001  the predicate's own failure fails the batch
                self._fatal = self._fatal or error
                self._batch.stop(self._is_broken_off())
                break
            all_calls |= calls
        return all_calls

    def _predicate_says(self) -> bool | None:
        """Ask the user's predicate about the batch as it is now: None to go on, else whether it ends well."""
        statuses = self._batch.statuses()
        succeeded, failed = statuses.count("SUCCEEDED"), statuses.count("FAILED")
        items = tuple(
            CompletionItemStatus(
                index,
                self._names[index] if self._names else None,
                None if status is None else BatchItemStatus(status),
            )
            for index, status in enumerate(statuses)
        )
        status = CompletionStatus(succeeded, failed, succeeded + failed, self._total, items)
        decision = self._options.completion.should_complete(status)  # type: ignore[misc]
        outcome = outcome_of(decision, self._operation.name or self._operation.id)
        return None if outcome is None else outcome is not CompletionOutcome.FAILED

    def _result(self) -> BatchResult[Any]:
        results, errors = self._results, self._errors
        items: list[BatchItem[Any]] = []
        for index, status in enumerate(self._batch.statuses()[: self._batch.admitted]):
            if status == "SUCCEEDED":
                items.append(make_item(index, _SUCCEEDED, results[index], None))
            elif status == "FAILED":
                items.append(make_item(index, _FAILED, None, errors[index]))
            else:
                items.append(make_item(index, _STARTED, None, None))
        return BatchResult(items, CompletionReason(self._batch.reason))


def _item_error(error: Exception) -> ErrorObject:
    """Give the error of a failed item: that of the branch's own failure, not of the context around it."""
    if isinstance(error, (DurableOperationError, SerDesError)):
        return ErrorObject(error.message, error.error_type, error.data, error.stack_trace)
    return ErrorObject.from_dict(wire_error(error))
