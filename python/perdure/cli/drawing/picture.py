"""A timeline as a picture: SVG, alone or in a page of HTML. Self-contained: no script, no font, nothing to be loaded.

Whatever comes from outside is escaped, and stripped of signs that XML does not allow.
"""

from __future__ import annotations

import unicodedata
from html import escape
from typing import TYPE_CHECKING

from perdure.cli.drawing import bars
from perdure.cli.drawing.scale import Scale
from perdure.cli.drawing.text import clean_lines, clock, duration, plural, size, stamp, told, zone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.cli.drawing.bars import Bar, Row
    from perdure.history.tree import Node, Run

_NAMES, _CHART, _LENGTHS, _EDGE = 270, 860, 100, 20
_WIDTH = _EDGE + _NAMES + _CHART + _LENGTHS + _EDGE
_LEFT = _EDGE + _NAMES
_TOP, _ROW, _FOOT = 104, 26, 46
_BAR, _LINE, _LEAST, _INDENT, _DEEPEST = 14, 4, 2.0, 14, 10
_LABEL_ROOM, _FOLD_ROOM = 76, 44
# Pixels of a sign at 13px, on the wide side: nobody knows the font that it will be drawn in.
_NARROW, _BROAD, _WIDE = 7.6, 10.5, 13.0
_BROAD_SIGNS = frozenset("mwMWQOG@%")
_KINDS = (
    (bars.WORK, "work"),
    (bars.FAILED, "failed"),
    (bars.WAITING, "waiting"),
    (bars.CONTEXT, "context"),
    (bars.PAUSED, "paused"),
    ("open", "going on"),
)
_STYLE = """
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;fill:#1f2937}
.paper{fill:#ffffff}.zebra{fill:#f5f7fa}.grid{stroke:#dde2e9;stroke-width:1}.branch{stroke:#c3cad5;fill:none}
.title{font-size:18px;font-weight:600}.dim{fill:#667085}.small{font-size:11px}.root{font-weight:600}
.work{fill:#2e9e6b}.failed{fill:#d6453d}.waiting{fill:#e9c46a}.context{fill:#a9b4c6}.paused{fill:#b79ad8}
.open{fill:#3b82d6}.waiting.open{fill:#f2dca6;stroke:#e0b64d;stroke-dasharray:4 3}.context.open{fill:#a9b4c6}
.fold{fill:#e8ecf2}.tear{stroke:#98a3b5;fill:none;stroke-dasharray:2 3}
.SUCCEEDED{fill:#23855a}.FAILED,.TIMED_OUT,.STOPPED{fill:#c2362f}
@media (prefers-color-scheme:dark){
text{fill:#e5e9f0}.paper{fill:#14181f}.zebra{fill:#1a2029}.grid{stroke:#2c3442}.branch{stroke:#465064}
.dim{fill:#97a3b6}.fold{fill:#222a36}.context,.context.open{fill:#55617a}.waiting.open{fill:#6b5a2a}
.SUCCEEDED{fill:#4cc38a}.FAILED,.TIMED_OUT,.STOPPED{fill:#f2766f}}
"""
_PAGE_STYLE = """
body{margin:0;background:#fff;color:#1f2937;font:14px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
main{max-width:1290px;margin:0 auto;padding:12px}svg{max-width:100%;height:auto}
table{border-collapse:collapse;width:100%;margin:16px 0}
.scroll{overflow-x:auto}th{font-weight:500;color:#667085}
th,td{padding:5px 10px;text-align:left;vertical-align:top;white-space:nowrap}td.number{text-align:right}
td.words{white-space:normal;overflow-wrap:anywhere;min-width:14em}tbody tr:nth-child(odd){background:#f5f7fa}
pre{white-space:pre-wrap;overflow-wrap:anywhere}footer{color:#667085;padding:8px 0 24px}
.SUCCEEDED{color:#23855a}.FAILED,.TIMED_OUT,.STOPPED{color:#c2362f}
@media (prefers-color-scheme:dark){body{background:#14181f;color:#e5e9f0}tbody tr:nth-child(odd){background:#1a2029}
th,footer{color:#97a3b6}.SUCCEEDED{color:#4cc38a}.FAILED,.TIMED_OUT,.STOPPED{color:#f2766f}}
"""


def svg(run: Run, *, fold: bool = True) -> str:
    """Draw an execution as a picture that stands alone."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_svg(run, fold=fold)}\n'


def html(run: Run, *, fold: bool = True) -> str:
    """Draw an execution as a page: the picture, and a table of the operations."""
    title = f"{_safe(run.name)} of {_safe(run.function)}"
    rows = "\n".join(_table_row(node, run) for node, _ in run.walk())
    headings = ("operation", "kind", "status", "attempts", "started", "time", "in", "out", "")
    columns = "".join(f"<th>{heading}</th>" for heading in headings)
    error = run.described.get("Error")
    return (
        "<!DOCTYPE html>\n"
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/>\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n"
        '<meta name="viewport" content="width=device-width"/><meta name="color-scheme" content="light dark"/>\n'
        f"<title>{title}: {_safe(run.status)}</title><style>{_PAGE_STYLE}</style></head>\n"
        f"<body><main>\n{_svg(run, fold=fold)}\n"
        + (f'<p class="{_class(run.status)}">{_safe(told(error))}</p>\n' if error else "")
        + f'<div class="scroll"><table><thead><tr>{columns}</tr></thead><tbody>\n{rows}\n</tbody></table></div>\n'
        f"<footer>{_safe(run.arn)}</footer></main></body></html>\n"
    )


def _svg(run: Run, *, fold: bool) -> str:
    lines = bars.rows(run)
    scale = Scale(run, fold=fold)
    height = _TOP + _ROW * len(lines) + _FOOT
    bottom = _TOP + _ROW * len(lines)
    box = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">',
        f"<title>{_safe(run.name)} of {_safe(run.function)}: {_safe(run.status)}</title>",
        f"<style>{_STYLE}</style>",
        f'<defs><clipPath id="names"><rect x="0" y="0" width="{_LEFT - 8}" height="{height}"/></clipPath></defs>',
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
        *_head(run),
        *(
            f'<rect class="zebra" x="0" y="{_TOP + _ROW * index}" width="{_WIDTH}" height="{_ROW}"/>'
            for index in range(0, len(lines), 2)
        ),
        *_axis(scale, bottom),
        *(part for index, row in enumerate(lines) for part in _row(row, _TOP + _ROW * index, scale, run)),
        *_legend(scale, lines, bottom + 28),
        "</svg>",
    ]
    return "\n".join(parts)


def _head(run: Run) -> Iterator[str]:
    yield f'<text class="title" x="{_EDGE}" y="34">{_safe(_short(run.name, 70))}</text>'
    calls = f" · {plural(len(run.invocations), 'invocation')}" if run.invocations else ""
    yield (
        f'<text x="{_EDGE}" y="57"><tspan class="{_class(run.status)} root">{_safe(run.status)}</tspan>'
        f'<tspan class="dim"> · {_safe(run.function)} · {duration(run.lasted)} from {clock(run.started_at)} '
        f"({zone(run.started_at)}) · {plural(len(run.nodes), 'operation')}{calls}</tspan></text>"
    )


def _axis(scale: Scale, bottom: int) -> Iterator[str]:
    for fold in scale.folds:
        left, right = _x(fold.start), _x(fold.end)
        yield (
            f'<g><title>{duration(fold.length)} in which nothing worked, folded</title><rect class="fold" '
            f'x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{bottom - _TOP}"/>'
            f'<path class="tear" d="M{left:.1f} {_TOP}V{bottom}M{right:.1f} {_TOP}V{bottom}"/>'
        )
        if right - left >= _FOLD_ROOM:
            middle = (left + right) / 2
            label = f'text-anchor="middle" x="{middle:.1f}" y="{_TOP - 24}">⇥ {duration(fold.length)} ⇤</text>'
            yield f'<text class="dim small" {label}'
        yield "</g>"
    for tick in scale.ticks(_CHART, _LABEL_ROOM):
        x = _x(tick.position)
        yield f'<path class="grid" d="M{x:.1f} {_TOP - 6}V{bottom}"/>'
        yield f'<text class="dim small" x="{x + 3:.1f}" y="{_TOP - 9}">{tick.label}</text>'


def _row(row: Row, top: int, scale: Scale, run: Run) -> Iterator[str]:
    middle = top + _ROW / 2
    node, baseline = row.node, top + _ROW / 2 + 4.5
    if node is None:
        name, about, length, style = run.name, run.status, duration(run.lasted), "root"
        depth = 0
    else:
        name, about, depth = node.label, _about(node), min(len(row.lasts), _DEEPEST)
        length, style = duration(node.duration) or node.status.lower(), ""
    x = _EDGE + depth * _INDENT
    yield f"<g><title>{_safe(name)}\n{_safe(about)}</title>"
    if depth:
        yield f'<path class="branch" d="M{x - 9} {top + 3}V{middle}H{x - 3}"/>'
    cut = _safe(_cut(name, _LEFT - 8 - x))
    yield f'<text class="{style}" x="{x}" y="{baseline}" clip-path="url(#names)">{cut}</text>'
    for bar in sorted(row.bars, key=lambda bar: bar.kind != bars.CONTEXT):
        yield _bar(bar, middle, scale)
    failing = node is not None and node.status in ("FAILED", "TIMED_OUT")
    colour = _class(node.status) if failing and node is not None else "dim"
    yield f'<text class="{colour}" x="{_LEFT + _CHART + 12}" y="{baseline}">{_safe(length)}</text></g>'


def _bar(bar: Bar, middle: float, scale: Scale) -> str:
    left, right = _x(scale.at(bar.start)), _x(scale.at(bar.end))
    thick = _LINE if bar.kind == bars.CONTEXT else _BAR
    left = min(left, _LEFT + _CHART - _LEAST)
    style = f"{bar.kind} open" if bar.open else bar.kind
    return (
        f'<rect class="{style}" x="{left:.1f}" y="{middle - thick / 2}" width="{max(_LEAST, right - left):.1f}" '
        f'height="{thick}" rx="2"><title>{bar.kind}, {duration(bar.end - bar.start)} from '
        f"{stamp(bar.start)}</title></rect>"
    )


def _legend(scale: Scale, lines: list[Row], y: int) -> Iterator[str]:
    x = _EDGE
    drawn = {bar.kind for row in lines for bar in row.bars}
    for kind, words in _KINDS:
        if kind == bars.PAUSED and kind not in drawn:
            continue
        thick = _LINE if kind == bars.CONTEXT else 12
        top = y - 4 - thick / 2
        yield f'<rect class="{kind}" x="{x}" y="{top:g}" width="12" height="{thick}" rx="2"/>'
        yield f'<text class="dim small" x="{x + 18}" y="{y}">{words}</text>'
        x += 34 + 7 * len(words)
    if scale.folds:
        yield f'<rect class="fold" x="{x}" y="{y - 10}" width="12" height="12"/>'
        yield f'<text class="dim small" x="{x + 18}" y="{y}">folded: nothing worked then</text>'


def _about(node: Node) -> str:
    facts = [node.kind, node.status]
    if node.attempt_count > 1:
        facts.append(f"{node.attempt_count} attempts")
    if node.duration is not None:
        facts.append(duration(node.duration))
    if node.error:
        facts.append(told(node.error))
    return " · ".join(facts)


def _table_row(node: Node, run: Run) -> str:
    attempts = str(node.attempt_count) if node.attempt_count > 1 else ""
    facts = (attempts, duration(node.started_at - run.started_at), duration(node.duration))
    numbers = (*facts, size(node.input_bytes), size(node.result_bytes))
    cells = "".join(f'<td class="number">{value}</td>' for value in numbers)
    return (
        f'<tr><td class="words">{_safe(node.label)}</td><td>{_safe(node.kind)}</td>'
        f'<td class="{_class(node.status)}">{_safe(node.status)}</td>{cells}'
        f'<td class="words">{_safe(told(node.error))}</td></tr>'
    )


def _x(position: float) -> float:
    return _LEFT + position * _CHART


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _cut(text: str, room: float) -> str:
    """Cut a text to a number of pixels, as far as one can tell."""
    text = clean_lines(text).replace("\n", " ")
    used, fits = 0.0, 0
    for number, sign in enumerate(text):
        used += _pixels(sign)
        if used > room:
            return f"{text[:fits].rstrip()}…"
        if used + _pixels("…") <= room:
            fits = number + 1
    return text


def _pixels(sign: str) -> float:
    if unicodedata.combining(sign):
        return 0.0
    if unicodedata.east_asian_width(sign) in "WF":
        return _WIDE
    return _BROAD if sign in _BROAD_SIGNS or sign.isupper() else _NARROW


def _safe(text: str) -> str:
    """Escape a foreign text for XML and HTML, attributes included."""
    return escape(clean_lines(text), quote=True)


def _class(status: str) -> str:
    """Name the class of a status, which comes from outside like everything else."""
    return status if status.replace("_", "").isalnum() and status.isascii() else "dim"
