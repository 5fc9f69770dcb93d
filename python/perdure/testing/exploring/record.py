"""What a run gives its handler, held against what the service has recorded of it.

Two runs that are wrong in the same way do not differ. So each is also held against its own record: a batch's result
against the branches, what a step or a context gives against its payload, and a body that begins against its status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._core import decode_extended, encode_extended
from perdure.identifier import OperationIdNamespace
from perdure.lambda_service import ErrorObject
from perdure.local.machine.validation import function_base_name
from perdure.testing.tree import shorten, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.concurrency.models import BatchItem, BatchResult
    from perdure.local import LocalService
    from perdure.local.machine.transitions import Operation

_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "STOPPED")


class Record:
    """Holds what a run gives against the record of its executions.

    Args:
        service: Who keeps the record.

    """

    def __init__(self, service: LocalService) -> None:
        self.contradictions: dict[str, None] = {}
        """In words, how the run contradicts its record."""
        self._service = service
        self._batches: dict[tuple[str, str], tuple[int, BatchResult[Any], bool]] = {}
        self._own_serdes: set[tuple[str, str]] = set()
        # What was given before it was recorded, where that is so: to be held against the record in the end.
        self._early: dict[tuple[str, str], Any] = {}

    def begin_body(self, arn: str, id_: str) -> None:
        """Take the begin of a function that is run to make an operation's outcome."""
        operation = self._operation(arn, id_)
        if operation is not None and operation["Status"] in _ENDED and not _is_run_again(operation):
            self._add(
                f"the function of {self._name(arn, id_)} ran again, although it is recorded as {_told(operation)}"
            )

    def note_serdes(self, arn: str, id_: str) -> None:
        """Note that an operation's values are written by a serdes of the user's, and cannot be read here."""
        self._own_serdes.add((arn, id_))

    def give_early(self, arn: str, id_: str, value: Any) -> None:
        """Take what an operation gives that need not be recorded yet; if that is lost, it gives once more."""
        self._early[arn, id_] = value

    def give(self, arn: str, id_: str, value: Any) -> None:
        """Take what an operation gives."""
        operation = self._operation(arn, id_)
        if operation is None or operation["Status"] != "SUCCEEDED":
            recorded = "not recorded" if operation is None else f"recorded as {_told(operation)}"
            self._add(f"{self._name(arn, id_)} gave {shorten(repr(value))}, and is {recorded}")
        elif (apart := self._apart(arn, operation, value)) is not None:
            self._add(f"{self._name(arn, id_)} gave {apart[1]}, and is recorded as SUCCEEDED with {apart[0]}")

    def fail(self, arn: str, id_: str, error: Exception) -> None:
        """Take the failure that an operation surfaces as."""
        operation = self._operation(arn, id_)
        if operation is not None and operation["Status"] == "SUCCEEDED" and not _is_run_again(operation):
            name = self._name(arn, id_)
            self._add(f"{name} raised {type(error).__name__}, although it is recorded as {_told(operation)}")

    def end_batch(
        self, arn: str, id_: str, total: int, limit: int | None, result: BatchResult[Any], *, is_early: bool = False
    ) -> None:
        """Take what a map or parallel gives.

        Args:
            arn: The execution.
            id_: The operation.
            total: How many branches there were to admit.
            limit: How many might be in flight.
            result: What it gives.
            is_early: Whether the ends of its branches need not be recorded yet.

        """
        self._batches[arn, id_] = total, result, is_early
        differences = [*_odd(total, limit, result), *self._omitted(arn, id_, total, result)]
        if not is_early:
            differences += self._other(arn, id_, result)
        for difference in differences:
            self._add(f"the result of {self._name(arn, id_)} {difference}")

    def close(self, runs: dict[tuple[str, str], int], *, is_whole: bool) -> list[str]:
        """Look at the whole record once the run is over; give all contradictions.

        Args:
            runs: How often the functions of steps and checks ran, where that is known to be once an attempt.
            is_whole: Whether no invocation was killed or cut short, so that all that was given is recorded.

        """
        for (arn, id_), (total, result, is_early) in self._batches.items():
            operation = self._operation(arn, id_)
            if operation is not None and operation["Status"] == "SUCCEEDED":  # it is what this result was recorded of
                late = self._other(arn, id_, result) if is_early else ()
                for difference in [*self._omitted(arn, id_, total, result), *late]:
                    self._add(f"the result of {self._name(arn, id_)} {difference}")
        for (arn, id_), value in self._early.items():
            operation = self._operation(arn, id_)
            # Where an invocation died, the code need not come to it again.
            if is_whole or (operation is not None and operation["Status"] == "SUCCEEDED"):
                self.give(arn, id_, value)
        for (arn, id_), times in runs.items():
            operation = self._operation(arn, id_)
            if operation is not None and operation["Type"] == "STEP" and operation["Status"] in _ENDED:
                attempts = operation["StepDetails"]["Attempt"]
                if times > attempts:
                    what = f"ran {_count(times, 'time')} in {_count(attempts, 'attempt')}"
                    self._add(f"the function of {self._name(arn, id_)} {what}")
        return list(self.contradictions)

    # -- a batch's result ------------------------------------------------------------------------------------------

    def _omitted(self, arn: str, id_: str, total: int, result: BatchResult[Any]) -> Iterator[str]:
        """Say which branches are recorded and yet not in the result."""
        known = {item.index for item in result.all}
        for index in range(total):
            if index in known:
                continue
            branch = OperationIdNamespace(id_).create_id_for_step(index)
            operation = self._operation(arn, branch)
            if operation is not None:
                yield f"omits {_called(operation)}, which is recorded as {_told(operation)}"
                continue
            # Of a branch of a FLAT batch its operations alone are recorded.
            inner = self._operation(arn, OperationIdNamespace(branch).create_id_for_step(1))
            if inner is not None:
                yield f"omits branch {index}, whose {_called(inner)} is recorded as {_told(inner)}"

    def _other(self, arn: str, id_: str, result: BatchResult[Any]) -> Iterator[str]:
        """Say which items of the result are not what is recorded of their branches."""
        for item in result.all:
            operation = self._operation(arn, OperationIdNamespace(id_).create_id_for_step(item.index))
            if operation is not None and (apart := self._unlike(arn, item, operation)) is not None:
                yield f"has {_called(operation)} as {apart}, and it is recorded as {_told(operation)}"

    def _unlike(self, arn: str, item: BatchItem[Any], operation: Operation) -> str | None:
        """Say what an item is, if it is not what is recorded."""
        status, recorded = item.status.value, operation["Status"]
        if status != (recorded if recorded in _ENDED else "STARTED"):
            return str(status)
        if recorded == "SUCCEEDED" and (apart := self._apart(arn, operation, item.result)) is not None:
            return f"SUCCEEDED with {apart[1]}"
        if recorded == "FAILED":
            error = _details(operation).get("Error") or {}
            message = None if item.error is None else item.error.message
            if message != error.get("ErrorMessage"):
                return f"FAILED with {shorten(repr(message))}"
        return None

    # -- reading the record ----------------------------------------------------------------------------------------

    def _apart(self, arn: str, operation: Operation, value: Any) -> tuple[str, str] | None:
        """Give the recorded value and another as text, if they differ and both can be read."""
        payload = _details(operation).get("Result")
        if (arn, operation["Id"]) in self._own_serdes or payload is None or _is_run_again(operation):
            return None
        try:
            recorded, given = encode_extended(decode_extended(payload)), encode_extended(value)
        except Exception:  # noqa: BLE001  whatever reading or writing raises: then it cannot be compared
            return None
        return None if recorded == given else (shorten(recorded), shorten(given))

    def _operation(self, arn: str, id_: str) -> Operation | None:
        with self._service.lock:
            handle = self._service.handles.get(arn)
            return None if handle is None else handle.machine.operations.get(id_)

    def _name(self, arn: str, id_: str) -> str:
        operation = self._operation(arn, id_)
        name = f"operation {id_[:8]}" if operation is None else _called(operation)
        with self._service.lock:
            handle = self._service.handles[arn]
            return name if handle.parent is None else f"{name} of {function_base_name(handle.machine.function_arn)}"

    def _add(self, contradiction: str) -> None:
        self.contradictions[contradiction] = None


def _odd(total: int, limit: int | None, result: BatchResult[Any]) -> Iterator[str]:
    """Say what cannot be so, whatever is recorded."""
    indexes = [item.index for item in result.all]
    ended = len(indexes) - result.started_count
    # One more is admitted with each that ends, but for the last, with which the batch does.
    admitted = total if limit is None else min(total, limit + ended - 1)
    if indexes != list(range(len(indexes))) or len(indexes) > total:
        yield f"has the items {indexes}, which are not the first {len(indexes)} of {total}"
    elif result.completion_reason.value == "ALL_COMPLETED" and ended < total:
        yield f"is said to be ALL_COMPLETED, and {ended} of {total} branches have ended"
    elif ended and len(indexes) < admitted:
        yield f"has {_count(len(indexes), 'item')}, and {admitted} of {total} branches were admitted before it ended"


def _is_run_again(operation: Operation) -> bool:
    """Tell whether replay runs a context again, for a result that is too large to be recorded."""
    return bool(_details(operation).get("ReplayChildren"))


def _details(operation: Operation) -> dict[str, Any]:
    return next((details for key, details in operation.items() if key.endswith("Details")), None) or {}


def _called(operation: Operation) -> str:
    kind = operation.get("SubType") or operation["Type"].title()
    return str(operation.get("Name") or f"{kind} {operation['Id'][:8]}")


def _told(operation: Operation) -> str:
    """Say how an operation is recorded: its status, and its result or error if it has one."""
    details = _details(operation)
    payload, error = details.get("Result"), details.get("Error")
    if operation["Status"] == "SUCCEEDED" and payload is not None:
        return f"SUCCEEDED {shorten(payload)}"
    return f"{operation['Status']} {told(ErrorObject.from_dict(error))}".rstrip() if error else str(operation["Status"])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s'[: number != 1]}"
