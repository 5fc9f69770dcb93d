"""An execution as a tree in the terminal: what each operation is, how it went, how long it took, what it weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from perdure.cli.drawing.columns import Columns, Heading, Row
from perdure.cli.drawing.text import (
    clean,
    clean_lines,
    clock,
    duration,
    line,
    moment,
    plural,
    pretty,
    size,
    style_of,
    told,
    told_whole,
    zone,
)
from perdure.local.machine.budget import Budget, Prices
from perdure.local.machine.execution import DEFAULT_RETENTION_DAYS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from perdure.history.tree import Node, Run

_RETRIED = 2
HEADINGS = (
    Heading("operation"),
    Heading("kind", always=True, worth=3),
    Heading("status", always=True, worth=5),
    Heading("attempts", number=True, worth=2),
    Heading("time", number=True, worth=4),
    Heading("in", number=True),
    Heading("out", number=True, worth=1),
)


def tree(run: Run, *, most: int | None = None, data: bool = True, prices: Prices | None = None) -> list[RenderableType]:
    """Draw an execution, part by part; only the last `most` operations where there is no room for all."""
    parts: list[RenderableType] = [_head(run), Text()]
    if run.nodes:
        parts += [*_operations(run, most), Text()]
    parts += _callbacks(run)
    parts.append(Text(_budget_line(run, prices, data=data), style="dim"))
    if (outcome := _outcome(run)) is not None:
        parts += [Text(), outcome]
    return parts


def budget_of(run: Run, prices: Prices | None = None) -> Budget:
    """Return what an execution has used, as far as its history tells."""
    days = (run.described.get("DurableConfig") or {}).get("RetentionPeriodInDays") or DEFAULT_RETENTION_DAYS
    return Budget(
        len(run.nodes),
        run.written_bytes,
        repeats=sum(max(0, node.attempt_count - 1) for node in run.nodes.values()),
        retention_days=days,
        prices=prices or Prices(),
        at_least=True,
    )


def branch(lasts: tuple[bool, ...]) -> str:
    """Draw the branches of a tree that lead to an operation."""
    return "".join("   " if last else "│  " for last in lasts[:-1]) + ("└─ " if lasts[-1] else "├─ ")


def below(lasts: tuple[bool, ...]) -> str:
    """Draw the branches of a tree that go on below an operation."""
    return "".join("   " if last else "│  " for last in lasts)


def _head(run: Run) -> Text:
    version = run.described.get("Version")
    head = Text.assemble(
        (clean(run.name), "bold"),
        f" of {clean(run.function)}{f', version {clean(version)}' if version else ''}\n",
        (clean(run.status), style_of(run.status)),
        f", {duration(run.lasted)} from {clock(run.started_at)} ({zone(run.started_at)})",
    )
    if run.invocations:
        head.append(f", {plural(len(run.invocations), 'invocation')}")
    if failure := _failure(run):
        head.append(f"\n{failure}", "red")
    pause = run.described.get("PauseDetails")
    if pause:
        head.append(f"\npaused at {clock(pause['PauseRequestTimestamp'], run.started_at)}", "yellow")
        if pause.get("Reason"):
            head.append(f": {line(pause['Reason'], 200)}", "yellow")
    head.append(f"\n{clean(run.arn)}", "dim")
    return head


def _failure(run: Run) -> str:
    """Tell that the last invocations failed, unless all went well in the end, or the outcome says the same."""
    if not run.failures or run.status == "SUCCEEDED":
        return ""
    which = "last invocation" if len(run.failures) == 1 else f"last {len(run.failures)} invocations"
    why = told(run.failures[-1])
    if run.ended and why and why == told(run.described.get("Error")):
        return ""
    again = "" if run.ended else ", and the function is invoked again"
    return f"the {which} failed{again}{f': {why}' if why else ''}"


def _operations(run: Run, most: int | None) -> list[RenderableType]:
    lines = list(run.walk())
    shown = lines if most is None else lines[max(0, len(lines) - most) :]
    rows = [
        Row(
            branch(lasts),
            below(lasts),
            clean(node.label),
            (
                Text(clean(node.kind)),
                Text(node.status, style=style_of(node.status)),
                Text(str(node.attempt_count) if node.attempt_count >= _RETRIED or node.status == "PENDING" else ""),
                Text(_time(node, run)),
                Text(_weight(node, node.input_bytes)),
                Text(_weight(node, node.result_bytes)),
            ),
            _remark(node, run),
        )
        for node, lasts in shown
    ]
    above = len(lines) - len(shown)
    parts: list[RenderableType] = []
    if above:
        parts.append(Text(f"… {plural(above, 'operation')} above these", style="dim"))
    if rows:
        parts.append(Columns(HEADINGS, rows))
    return parts


def _time(node: Node, run: Run) -> str:
    if node.duration is not None:
        return duration(node.duration)
    return "" if run.ended else f"{duration(run.now - node.started_at)}…"


def _weight(node: Node, count: int | None) -> str:
    return f"≥ {size(count)}" if count is not None and node.truncated else size(count)


def _remark(node: Node, run: Run) -> str:
    if run.ended or node.ended_at is not None:
        return told(node.error) or ("" if node.target is None else f"calls {clean(node.target)}")
    now, facts = run.now, []
    if node.failed_attempt:
        why = told(node.error)
        facts.append(f"attempt {node.failed_attempt} failed{f': {why}' if why else ''}")
    if node.due is not None:
        what = {"STEP": "again at", "CALLBACK": "answer until"}.get(node.type, "until")
        facts.append(f"{what} {moment(node.due, now)}")
    if (due := node.heartbeat_due(now)) is not None:
        facts.append(f"first heartbeat until {moment(due, now)}")
    elif node.heartbeat is not None:
        facts.append(f"a heartbeat every {duration(node.heartbeat)}")
    if node.target is not None:
        facts.append(f"calls {clean(node.target)}")
    return "; ".join(facts)


def _callbacks(run: Run) -> list[RenderableType]:
    waiting = [node for node in run.nodes.values() if node.callback_id and node.status == "STARTED"]
    if run.ended or not waiting:
        return []
    text = Text("waiting for an answer, by `perdure callback succeed ID --result JSON`:\n", style="yellow")
    for node in waiting:
        around = run.nodes.get(node.parent_id or "")  # what the user gave the name to
        named = around if around is not None and around.sub_type == "WaitForCallback" else node
        text.append(f"{clean(named.label)}: {clean(node.callback_id)}\n")
    return [text]


def _budget_line(run: Run, prices: Prices | None, *, data: bool) -> str:
    budget = budget_of(run, prices)
    if not data:
        limit = f"{plural(budget.operations, 'operation')} of {budget.operations_limit:,}"
        return f"Budget: {limit}; without --no-data also the bytes written, and the price"
    return f"Budget: {budget.use}\nPrice: {budget.cost}"


def _outcome(run: Run) -> Text | None:
    error, result = run.described.get("Error"), run.described.get("Result")
    if error:
        trace = "".join(f"\n{clean_lines(part)}" for part in error.get("StackTrace") or ())
        return Text.assemble((told_whole(error), "red"), trace)
    if result:
        return Text.assemble(("result ", "dim"), clean_lines(pretty(result)))
    return None
