"""Look at a run of the explorer's, and take down what can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.lambda_service import Operation as SvcOperation
from perdure.local.machine.validation import function_base_name
from perdure.testing.exploring.mask import JsonText
from perdure.testing.exploring.observation import Observation
from perdure.testing.operations import tree_of
from perdure.testing.tree import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perdure.local import ExecutionHandle
    from perdure.testing.exploring.fault import Fault
    from perdure.testing.exploring.watchdog import StuckError
    from perdure.testing.exploring.world import Key

_PATIENCE = 1.0  # seconds to wait for the service of a run that is stuck
_EARLY = ("MIN_SUCCESSFUL_REACHED", "FAILURE_TOLERANCE_EXCEEDED", "CUSTOM_COMPLETION")


def look(handle: ExecutionHandle, fault: Fault, probed: Any, stuck: StuckError | None) -> Observation:
    """Take down what there is to see of a run.

    Args:
        handle: The execution.
        fault: What happened to it.
        probed: What the probe saw.
        stuck: Where the run was when it was given up.

    """
    wake = handle.service.wake
    held = wake.acquire(timeout=_PATIENCE)  # a run that is stuck may hold it, and may go on working
    try:
        return _look(handle, fault, probed, stuck)
    finally:
        if held:
            wake.release()


def _look(handle: ExecutionHandle, fault: Fault, probed: Any, stuck: StuckError | None) -> Observation:
    everything = list(handle.service.handles.values())
    executions = [handle, *(other for other in everything if other is not handle and other.terminal)]
    asked = _asked(executions)
    recorded: dict[Key, dict[str, Any]] = {}
    names: dict[Key, str] = {}
    for execution in executions:
        place = fault.place(execution.arn)
        suffix = f" of {function_base_name(execution.machine.function_arn)}" if place else ""
        for operation in execution.operations:
            key = place, operation["Id"]
            recorded[key] = _comparable(operation, asked.get((execution.arn, operation["Id"]), []))
            recorded[key]["Runs"] = fault.runs[key] - fault.lost[key]
            names[key] = (operation.get("Name") or f"{operation.get('SubType')} {operation['Id'][:8]}") + suffix
    operations = [SvcOperation.from_dict(operation) for operation in handle.operations]
    raced = {(fault.place(execution.arn), id_) for execution in executions for id_ in _raced(execution.operations)}
    raced |= fault.decided
    return Observation(
        status=handle.status,
        result=_json(handle.result),
        error=_without_trace(handle.error),
        operations=recorded,
        names=names,
        open_callbacks=_callbacks(everything, "STARTED"),
        unanswered=_callbacks(everything, "TIMED_OUT"),
        probe=probed,
        calls=fault.calls,
        choices=fault.choices,
        width=fault.width,
        calls_of_branches=fault.calls_of_branches,
        turns=list(fault.turns),
        own_threads=fault.own_threads,
        is_asynchronous=fault.is_asynchronous,
        invocations=len(handle.invocations),
        tree=f"{handle.status}\n{render(tree_of(operations))}",
        interrupted=any(_interrupted(execution) for execution in executions),
        raced=raced,
        decided=fault.decided,
        in_races=_below(raced, recorded),
        contradictions=_contradictions(executions, fault),
        struck=fault.struck,
        stuck=stuck,
        is_durable=fault.core is not None,
        is_run_again=bool(fault.lost),
        unknown_functions=_unknown(executions),
        seconds=fault.seconds,
    )


def _asked(executions: list[ExecutionHandle]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Give what was asked for with each operation: how long to wait, whom to call, with what."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for execution in executions:
        for update in execution.updates:
            options = {key: value for key, value in update.items() if key.endswith("Options") and value}
            if update["Type"] == "CHAINED_INVOKE":
                options["Payload"] = _json(update.get("Payload"))
            if options and "ContextOptions" not in options:
                found.setdefault((execution.arn, update["Id"]), []).append({update["Action"]: options})
    return found


def _comparable(operation: dict[str, Any], asked: list[dict[str, Any]]) -> dict[str, Any]:
    details = next((dict(value) for key, value in operation.items() if key.endswith("Details")), {})
    kept = {key: operation.get(key) for key in ("Type", "SubType", "Name", "ParentId", "Status")}
    kept |= {key: details.get(key) for key in ("Attempt", "ReplayChildren")}
    kept |= {"Result": _json(details.get("Result")), "Error": _without_trace(details.get("Error"))}
    kept |= {"Asked": asked or None}
    return {key: value for key, value in kept.items() if value is not None}


def _json(text: str | None) -> JsonText | None:
    return None if text is None else JsonText(text)


def _without_trace(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Leave out where an error was raised, which is elsewhere when it is raised again."""
    return None if error is None else {key: value for key, value in error.items() if key != "StackTrace"}


def _unknown(executions: list[ExecutionHandle]) -> list[str]:
    """Name the functions that were invoked, and that nobody stands for."""
    names = [
        function_base_name(update["ChainedInvokeOptions"]["FunctionName"])
        for execution in executions
        for update in execution.updates
        if update["Type"] == "CHAINED_INVOKE" and update["Action"] == "START"
    ]
    return [name for name in dict.fromkeys(names) if name not in executions[0].service.functions]


def _callbacks(executions: list[ExecutionHandle], status: str) -> list[str]:
    """Name the callbacks in a status, as one names them to answer them."""
    return [
        str(execution.names_of(operation)[0] or operation.get("Name"))
        for execution in executions
        for operation in execution.operations
        if operation["Type"] == "CALLBACK" and operation["Status"] == status
    ]


def _interrupted(execution: ExecutionHandle) -> bool:
    """Tell whether an at-most-once step was cut off."""
    return any(
        "StepInterruptedError" in str((update.get("Error") or {}).get("ErrorType")) for update in execution.updates
    )


def _raced(operations: list[dict[str, Any]]) -> set[str]:
    """Give the maps and parallels that ended before all of their branches had: then their order makes the result."""
    ended = {o["Id"]: o for o in operations if o.get("SubType") in ("Map", "Parallel") and o["Status"] != "STARTED"}
    early = {
        id_ for id_, o in ended.items() if any(reason in str(o["ContextDetails"].get("Result")) for reason in _EARLY)
    }
    still = {o.get("ParentId") for o in operations if o["Status"] not in ("SUCCEEDED", "FAILED")}
    return early | (ended.keys() & still)


def _below(above: set[Key], recorded: dict[Key, dict[str, Any]]) -> set[Key]:
    """Give the operations that lie below others, and those of the executions that were invoked there."""
    found: dict[Key, bool] = {}

    def is_below(key: Key) -> bool:
        if key not in found:
            place, _ = key
            found[key] = False  # should it go round
            parent = recorded.get(key, {}).get("ParentId")
            outer = (place, parent) if parent is not None else (place[:-1], place[-1]) if place else None
            found[key] = outer is not None and (outer in above or is_below(outer))
        return found[key]

    return {key for key in recorded if is_below(key)}


def _contradictions(executions: list[ExecutionHandle], fault: Fault) -> list[str]:
    """Say how what the run gave contradicts what is recorded; between two that go on at a time, there is no telling."""
    arns = {fault.place(execution.arn): execution.arn for execution in executions}
    runs = {(arns[place], id_): times for (place, id_), times in fault.runs.items() if place in arns}
    is_whole = fault.schedule.kind in ("undisturbed", "order") and not fault.own_threads
    told = fault.record.close(runs if is_whole else {}, is_whole=is_whole)
    return told if not fault.hands.held_up else []
