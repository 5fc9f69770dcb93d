"""map and parallel, whoever runs their branches.

The core schedules (`_core.Batch`) and says who is admitted. What is the same whichever driver runs the branches stands
here: the operation around them, their names, what comes of each, the predicate, the result, and how it is rebuilt. A
driver derives from `Branches` what runs them: `perdure.engine.batch` does, with threads.
"""

from __future__ import annotations

import contextvars
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from perdure._control import OutOfTime
from perdure._core import ASK, DONE, RUN, Batch, Operation, check_name, typed_of
from perdure._functions import check_arguments, check_function, drop, items_of, refuse_awaitable
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
from perdure.serdes import HandlerSerDes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure._core import Scope
    from perdure.config import MapConfig, ParallelConfig
    from perdure.engine.contexts import Context
    from perdure.engine.flows import Flow
    from perdure.serdes import SerDes

_SUCCEEDED, _FAILED, _STARTED = BatchItemStatus.SUCCEEDED, BatchItemStatus.FAILED, BatchItemStatus.STARTED

_RAISED: Final = RuntimeError("the error of this batch was raised already")
"""In the place of a batch's error: its traceback holds the frames of branches, and they the batch."""


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
        "error_mapper",
        "flat",
        "item_namer",
        "item_serdes",
        "max_concurrency",
        "returns",
        "serdes",
        "summary_generator",
        "typed",
        "whole",
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
        map_error: Callable[[Exception], Exception] | None = None,
        returns: Any = None,
    ) -> None:
        def either(given: Any, name: str) -> Any:
            """Give a keyword argument, which wins, or what the config object has."""
            return getattr(config, name, None) if given is None else given

        if config is not None and (isinstance(config, type) or not hasattr(config, "completion_config")):
            raise ValidationError(
                f"the config of a map or parallel is a MapConfig or ParallelConfig, not {config!r}: "
                f"give what else there is to say by its keyword, such as completion_config="
            )
        self.max_concurrency: int | None = either(max_concurrency, "max_concurrency")
        self.completion: CompletionConfig = either(completion_config, "completion_config") or CompletionConfig()
        self.serdes: SerDes[Any] | None = either(serdes, "serdes")
        # A serdes for the whole serves the items too, unless they have one of their own.
        self.item_serdes: SerDes[Any] | None = either(item_serdes, "item_serdes") or self.serdes
        self.summary_generator: Any = either(summary_generator, "summary_generator")
        self.flat = _is_flat(either(nesting_type, "nesting_type"))
        self.item_namer: Callable[[Any, int], str] | None = either(item_namer, "item_namer")
        self.error_mapper: Callable[[Exception], Exception] | None = either(map_error, "error_mapper")
        self.returns = returns
        # Gives what converts a branch's result, by its index; and what converts the whole.
        self.typed: Callable[[int], Any] | None = None
        self.whole: Any = None

    def find_types(self, functions: Sequence[Any]) -> None:
        """Find out the types of the branches' results.

        Args:
            functions: The branches', or the one of all of them.

        """
        if self.returns is not None:
            from perdure._typed import asked_for  # noqa: PLC0415  only for handlers that use it

            found = [asked_for(self.returns)]
        elif self.item_serdes is None or type(self.item_serdes) is HandlerSerDes:
            found = [typed_of(function) for function in functions]
        else:
            return  # what the user gives for an operation goes before annotations
        if not any(typed is not None for typed in found):
            return
        from perdure._typed import Batch as TypedBatch  # noqa: PLC0415  only for handlers that use it

        self.typed = found.__getitem__ if len(found) > 1 else lambda _index: found[0]
        self.whole = TypedBatch(self.typed)

    def serdes_of(self, index: int) -> SerDes[Any] | None:
        """Give what writes and reads the result of a branch."""
        return self.item_serdes if self.typed is None else _over(self.typed(index), self.item_serdes)

    def serdes_of_all(self) -> SerDes[Any] | None:
        """Give what writes and reads the whole."""
        if self.whole is None and self.serdes is None and self.item_serdes is not None:
            from perdure.concurrency._batch_serdes import BatchSerDes  # noqa: PLC0415  seldom needed

            return BatchSerDes()
        return _over(self.whole, self.serdes)

    def check(self, total: int) -> None:
        """Refuse what cannot be met."""
        self._count()
        enough = self.completion.min_successful
        if enough is not None and enough > total:
            raise ValidationError(
                f"min_successful is {enough}, but there are only {total} branches: it could never be reached. "
                f"Lower it, or check the number of branches before the call"
            )
        limit = self.max_concurrency
        if limit is not None and limit < 1:
            raise ValidationError(f"max_concurrency must be a whole number of at least 1, not {limit!r}")
        if self.error_mapper is not None:
            from perdure.engine.operations.error_mapping import check_mapper  # noqa: PLC0415  only for batches that use it

            check_mapper(self.error_mapper)

    def _count(self) -> None:
        """Take what counts for whole numbers: ``2.0``, or the ``Decimal("2")`` that a database gives."""
        limit, completion = self.max_concurrency, self.completion
        if limit is not None and type(limit) is not int:
            self.max_concurrency = _whole("max_concurrency", limit, " of at least 1")
        enough, failures = completion.min_successful, completion.tolerated_failure_count
        if type(enough) in _COUNTS and type(failures) in _COUNTS:
            return
        self.completion = CompletionConfig(
            min_successful=enough if enough is None else _whole("min_successful", enough),
            tolerated_failure_count=failures if failures is None else _whole("tolerated_failure_count", failures),
            tolerated_failure_percentage=completion.tolerated_failure_percentage,
        )


def _is_flat(nesting: Any) -> bool:
    if nesting is None or type(nesting) is NestingType:
        return nesting is NestingType.FLAT
    value = getattr(nesting, "value", nesting)  # the official SDK's has the same
    if value not in ("NESTED", "FLAT"):
        raise ValidationError(f"nesting_type must be NestingType.NESTED or NestingType.FLAT, not {nesting!r}")
    return bool(value == "FLAT")


_COUNTS = (int, type(None))


def _whole(what: str, number: Any, more: str = "") -> int:
    try:
        whole = int(number)
        if whole == number:
            return whole
    except (TypeError, ValueError, ArithmeticError):
        pass
    raise ValidationError(f"{what} must be a whole number{more}, not {number!r}")


def _over(typed: Any, serdes: SerDes[Any] | None) -> SerDes[Any] | None:
    """Give what writes values of a type by a serdes of the user's, as far as there are both."""
    if typed is None or serdes is None:
        return typed or serdes
    from perdure._typed import Over  # noqa: PLC0415  seldom needed

    return Over(typed, serdes)


class Plan(NamedTuple):
    """A map or parallel as it is asked for.

    Args:
        total: How many branches there are.
        body: What a branch does, given its context and its index.
        names: Gives the names of the branches; none if they have none of their own.
        check: Refuses what cannot be their functions; told whether they may be asynchronous.
        options: How they run.
        kind: What it is called.

    """

    total: int
    body: Callable[[Any, int], Any]
    names: Callable[[], list[str | None]]
    check: Callable[[bool], None]
    options: Options
    kind: Kind


def of_map(inputs: Sequence[Any], func: Callable[..., Any], options: Options, of: Any = None) -> Plan:
    """Plan a map: see `DurableContext.map`.

    Args:
        inputs: The items; not an iterator (`Invocation.listed`).
        func: What a branch does.
        options: How they run.
        of: The user's function, if ``func`` calls it.

    """
    options.find_types([func if of is None else of])
    items = items_of(inputs)
    namer = options.item_namer

    def names() -> list[str | None]:
        return [namer(item, index) for index, item in enumerate(items)] if namer else []

    def body(inner: Context, index: int) -> Any:
        return func(inner, items[index], index, inputs)

    def check(takes_async: bool) -> None:
        check_function(func, "map", _OF_MAP, takes_async)
        check_arguments(func, "map", _OF_MAP, 4)

    return Plan(len(items), body, names, check, options, MAP)


_OF_MAP = "a DurableContext, the item, its index and all items"


def of_parallel(functions: Sequence[Callable[[Any], Any] | ParallelBranch[Any]], options: Options) -> Plan:
    """Plan a parallel: see `DurableContext.parallel`."""
    if isinstance(functions, (set, frozenset)) or not hasattr(functions, "__iter__"):
        raise ValidationError(
            f"parallel takes a list of functions, whose order is the same on every replay, not {functions!r}"
        )
    branches = list(functions)
    options.find_types([branch.func if isinstance(branch, ParallelBranch) else branch for branch in branches])

    def names() -> list[str | None]:
        return [branch.name if isinstance(branch, ParallelBranch) else None for branch in branches]

    def body(inner: Context, index: int) -> Any:
        return branches[index](inner)

    def check(takes_async: bool) -> None:
        for branch in branches:
            function = branch.func if isinstance(branch, ParallelBranch) else branch
            check_function(function, "a branch of parallel", "a DurableContext", takes_async)
            check_arguments(function, "a branch of parallel", "a DurableContext", 1)

    return Plan(len(branches), body, names, check, options, PARALLEL)


def come(context: Context, name: str | None, plan: Plan) -> Any | Operation:
    """Come to a map or parallel: its recorded result, or the operation to `run`."""
    plan.options.check(plan.total)
    return context.scope.batch(name, plan.kind.sub_type, plan.options.serdes is not None, plan.options.whole)


def run(context: Context, operation: Operation, plan: Plan) -> Flow[Any]:
    """Carry out what the core decided for a map or parallel."""
    options = plan.options
    plan.check(context.takes_async)
    names: list[str | None] = []
    faults: list[Exception] = []
    if operation.decision == RUN:
        names = _names(operation, plan.names, faults)
        _check_names(names, plan.kind.sub_type, flat=options.flat)
        if operation.starts:
            operation.start()

    def work(inner: Context) -> Any:
        if faults:
            raise faults.pop()
        branches: Branches = inner.branches()(inner, operation, plan, names)
        return inner.drive(_work(inner, operation, plan, branches))

    own = options.summary_generator
    summary = envelope_summary_generator(plan.kind.result_type, own and partial(_summarised, own))
    return (yield from child.run(context, operation, work, options.serdes_of_all(), summary))


def _summarised(generator: Callable[[Any], Any], result: Any) -> Any:
    """Give the user's summary, which is no coroutine: its text would be recorded."""
    summary = generator(result)
    refuse_awaitable(summary, "the summary_generator of a map or parallel")
    return summary


def _work(inner: Context, operation: Operation, plan: Plan, branches: Branches) -> Flow[BatchResult[Any]]:
    """Have the branches run, or rebuild the result of a batch that is over."""
    record = None if operation.write else CompletionRecord.from_summary_payload(operation.payload)
    if record is None:
        result = yield branches.drive, (not operation.starts,)
    else:
        result = yield from branches.rebuild(record, recorded_failures(operation.payload))
    hooks = inner.invocation.hooks
    if hooks is not None:
        hooks.batch_ended(operation.id, plan.total, plan.options.max_concurrency, result)
    return result  # type: ignore[no-any-return]


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
            drop(name)
            whose = "item_namer must return the name of an item as" if kind == "Map" else "a ParallelBranch is named by"
            raise ValidationError(f"{whose} text, not {name!r}")
        if name and not flat:
            check_name(name)


class Branches:
    """The branches of one batch at work: what is known of them, and what the core is to hear.

    A driver's own runs them: `drive`, and `branch` for a single one.

    Args:
        context: Inside the batch's operation.
        operation: The batch's.
        plan: What is to be done.
        names: Of the branches.

    """

    __slots__ = (
        "_errors",
        "_fatal",
        "_names",
        "_operation",
        "_results",
        "context",
        "is_rebuilding",
        "is_tried",
        "loss",
        "plan",
        "schedule",
        "variables",
    )

    def __init__(self, context: Context, operation: Operation, plan: Plan, names: list[str | None]) -> None:
        options, completion = plan.options, plan.options.completion
        self.context = context
        self.plan = plan
        self._operation = operation
        self._names = names
        self._results: list[Any] = [None] * plan.total
        self._errors: dict[int, ErrorObject] = {}
        self._fatal: BaseException | None = None
        # What a thread has ended with, and left its branch behind; set by the core.
        self.loss: BaseException | None = None
        # Whether the branches of a finished batch run again, one after the other, for its result.
        self.is_rebuilding = False
        # Whether branches are tried before they go on.
        self.is_tried = False
        # Each branch runs in a copy of them.
        self.variables = contextvars.copy_context()
        caller_wakeup, timer_wakeup = self.wakeups()
        schedule = Batch(
            self.scope_of(context),
            plan.total,
            _at_most(plan.total, options.max_concurrency),
            completion.min_successful,
            _at_most(plan.total, completion.tolerated_failure_count),
            completion.tolerated_failure_percentage,
            completion.should_complete is not None,
            [] if options.flat else names,
            plan.kind.branch_prefix,
            None if options.flat else plan.kind.branch_sub_type,
            options.item_serdes is not None or options.typed is not None,
            caller_wakeup,
            timer_wakeup,
        )
        hooks = context.invocation.hooks
        self.schedule = schedule if hooks is None else hooks.batch(schedule)

    # ---- the driver's

    def scope_of(self, context: Context) -> Scope:
        """Give the scope of a context, as the core knows it."""
        return context.scope

    def wakeups(self) -> tuple[Any, Any]:
        """Give two held locks; each is released with every report, and when a hand ends."""
        raise NotImplementedError

    def drive(self, is_resumed: bool) -> Any:
        """Run the branches until the batch is done: `open`, what `Batch.next` says, `conclude`.

        Args:
            is_resumed: Whether the batch began in an earlier run, so that what is recorded of it counts first.

        """
        raise NotImplementedError

    def branch(self, index: int) -> Any:
        """Run a branch in a copy of `variables`: what is recorded of it, or else by its flow (`nested` or `flat`)."""
        raise NotImplementedError

    def report(self, change: Callable[[], int]) -> int:
        """Change the schedule; give what that calls for, when the predicate has been asked.

        A driver with several threads does so in one at a time; and it sees to STARTs that were queued (`STARTED`).
        """
        return self.answered(change)

    # ---- one branch

    def flat(self, index: int, gate: Callable[[], bool] | None) -> Flow[Any]:
        """Come to a branch that leaves no record, and give its flow."""
        inner = self.schedule.open_flat(index, gate)
        own = self._names[index] if self._names else None
        name = f"{self.plan.kind.branch_prefix}{index}" if own is None else own or None
        called = name, self.plan.kind.branch_sub_type
        serdes = self.plan.options.serdes_of(index)
        return child.run_virtual(self.context, inner, self._body(index), serdes, called, index)

    def nested(self, index: int, operation: Operation) -> Flow[Any]:
        """Give the flow of a branch that was come to by `Batch.come`."""
        return child.run(
            self.context, operation, self._body(index), self.plan.options.serdes_of(index), None, branch=True
        )

    def _body(self, index: int) -> Callable[[Context], Any]:
        branch, mapper = _Branch(self.plan.body, index), self.plan.options.error_mapper
        if mapper is None:
            return branch
        from perdure.engine.operations.error_mapping import mapped  # noqa: PLC0415  only for batches that use it

        return mapped(branch, mapper)

    def returned(self, index: int, result: Any) -> None:
        """Report a branch that has returned."""
        self._results[index] = result
        self.report(partial(self.schedule.finish, index, True))

    def raised(self, index: int, error: BaseException) -> None:
        """Report a branch by what it has raised."""
        if isinstance(error, SuspendExecution):
            moment = getattr(error, "scheduled_timestamp", None)
            self.suspended(index, None if moment is None else round(moment * 1000))
        elif isinstance(error, OrphanedChildException):
            if self.schedule.is_open:
                self._give_up(index, used_after_its_end(error))
            else:
                self.report(partial(self.schedule.suspend, index, None, 0))
        # A RecursionError is not the user's function's, whose own are the failure of its context: something in between
        # was cut short.
        elif not isinstance(error, Exception) or isinstance(error, RecursionError) or passes_through(error):
            self._give_up(index, error)
        else:  # whatever the user's function raises becomes the item's error
            self._errors[index] = _item_error(error)
            self.report(partial(self.schedule.finish, index, False))

    def suspended(self, index: int, until: int | None) -> None:
        """Report a branch that waits, until a moment or until there is news."""
        self.report(partial(self.schedule.suspend, index, until, self.now()))

    def _give_up(self, index: int, error: BaseException) -> None:
        if self._fatal is None:
            self._fatal = error
        self.schedule.abort(index, self._is_broken_off())

    def now(self) -> int:
        """Give the present moment, in milliseconds."""
        return int(self.context.invocation.clock.time() * 1000)

    # ---- the whole

    def open(self, is_resumed: bool) -> None:
        """Begin."""
        self.is_tried = is_resumed and self.plan.options.flat
        self.report(partial(self.schedule.open, is_resumed))

    def answered(self, change: Callable[[], int]) -> int:
        """Change the schedule, and ask the user's predicate about what that has changed."""
        calls = all_calls = change()
        while calls & ASK:
            try:
                # In a thread of ours, too, it sees what the handler has set, and may use no context.
                calls = self.schedule.decide(self.variables.copy().run(self._predicate_says))
            except BaseException as error:  # noqa: BLE001  the predicate's own failure fails the batch
                self._fatal = self._fatal or error
                self.schedule.stop(self._is_broken_off())
                break
            all_calls |= calls
        return all_calls

    def _predicate_says(self) -> bool | None:
        """Ask the user's predicate about the batch as it is now: None to go on, else whether it ends well."""
        statuses = self.schedule.statuses()
        succeeded, failed = statuses.count("SUCCEEDED"), statuses.count("FAILED")
        items = tuple(
            CompletionItemStatus(
                index,
                self._names[index] if self._names else None,
                None if status is None else BatchItemStatus(status),
            )
            for index, status in enumerate(statuses)
        )
        status = CompletionStatus(succeeded, failed, succeeded + failed, self.plan.total, items)
        decision = self.plan.options.completion.should_complete(status)  # type: ignore[misc]
        outcome = outcome_of(decision, self._operation.name or self._operation.id)
        return None if outcome is None else outcome is not CompletionOutcome.FAILED

    def conclude(self, code: int) -> BatchResult[Any]:
        """End the batch's context; give the result, or raise what the batch was aborted by.

        Args:
            code: What `Batch.next` says: `DONE` or `ABORT`.

        """
        if not isinstance(self._fatal, OutOfTime):  # else the steps that are at work may end, and are recorded
            self.context.scope.end()
        if code != DONE or self._is_broken_off():
            self._raise_fatal()
        return self._result()

    @property
    def is_aborted(self) -> bool:
        """Whether it only waits for those at work: whatever has it end so is noted."""
        return self._fatal is not None

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
                self.context.invocation.core.root().check()
            raise fatal  # type: ignore[misc]  # an abort has its error, and at its end the invocation refuses everything
        finally:
            del fatal  # whose traceback holds this frame

    def rebuild(self, record: CompletionRecord, failures: float) -> Flow[BatchResult[Any]]:
        """Give the result again that a finished batch had, whose items alone are recorded."""
        self.is_rebuilding = True
        items: list[BatchItem[Any]] = []
        failed = 0
        for index in range(record.started_total):
            if index in record.started_indexes:
                items.append(BatchItem(index, BatchItemStatus.STARTED))
                continue
            try:
                result = yield self.branch, (index,)
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

    def _result(self) -> BatchResult[Any]:
        results, errors = self._results, self._errors
        items: list[BatchItem[Any]] = []
        for index, status in enumerate(self.schedule.statuses()[: self.schedule.admitted]):
            if status == "SUCCEEDED":
                items.append(make_item(index, _SUCCEEDED, results[index], None))
            elif status == "FAILED":
                items.append(make_item(index, _FAILED, None, errors[index]))
            else:
                items.append(make_item(index, _STARTED, None, None))
        return BatchResult(items, CompletionReason(self.schedule.reason))


class _Branch:
    """The function of one branch; smaller than a closure, since thousands may wait."""

    __slots__ = ("_body", "_index")

    def __init__(self, body: Callable[[Any, int], Any], index: int) -> None:
        self._body = body
        self._index = index

    def __call__(self, inner: Context) -> Any:
        return self._body(inner, self._index)


def _at_most(total: int, limit: int | None) -> int | None:
    """Give a limit that lies beyond all branches as one that the core can hold."""
    return None if limit is None else min(limit, max(total, 1))


def _item_error(error: Exception) -> ErrorObject:
    """Give the error of a failed item: that of the branch's own failure, not of the context around it."""
    if isinstance(error, (DurableOperationError, SerDesError)):
        return ErrorObject(error.message, error.error_type, error.data, error.stack_trace)
    return ErrorObject.from_dict(wire_error(error))
