"""The timeline as SVG and HTML: well-formed, self-contained, and deaf to what names try to say."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from perdure.cli.drawing.picture import html, svg
from perdure.cli.drawing.text import clean
from perdure.history.tree import build
from support.hostile import HOSTILE
from support.story import Story

SVG = "{http://www.w3.org/2000/svg}"
NASTY = [
    HOSTILE,
    "</title></svg><script>alert(1)</script>",
    "</style><style>*{display:none}",
    '" onload="alert(1)',
    "&#0;&lt;",
    "\x1b[2J\x00\x07\x9b31m",
    "a\N{RIGHT-TO-LEFT OVERRIDE}b\N{ZERO WIDTH SPACE}",
    "\ud800",
    "]]>",
    "x" * 5000,
]


def document(text: str) -> ET.Element:
    return ET.fromstring(text.encode())  # noqa: S314  we wrote it


def texts(element: ET.Element) -> str:
    return "".join(element.itertext())


def nasty(name: str) -> Any:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    described = {
        "DurableExecutionArn": f"arn:aws:lambda:us-east-1:1:function:f:1/durable-execution/{name}/x",
        "DurableExecutionName": name,
        "FunctionArn": f"arn:aws:lambda:us-east-1:1:function:{name}",
        "Status": name,
        "StartTimestamp": moment,
        "Error": {"ErrorType": name, "ErrorMessage": name},
    }
    base = {"EventTimestamp": moment, "Id": name, "Name": name, "SubType": name}
    error = {"Error": {"Payload": {"ErrorMessage": name}}}
    events = [
        {**base, "EventId": 1, "EventType": "ContextStarted"},
        {**base, "EventId": 2, "EventType": "ContextFailed", "ContextFailedDetails": error},
    ]
    return build(described, events, moment)


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("draw", [svg, html])
def test_a_name_stays_a_name(draw, name):
    text = draw(nasty(name))
    root = document(text)
    expected = {"svg", "title", "style", "defs", "clipPath", "rect", "path", "g", "text", "tspan"}
    if draw is html:
        expected |= {"html", "head", "meta", "body", "main", "p", "div", "footer"}
        expected |= {"table", "thead", "tbody", "tr", "th", "td"}
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= expected
    assert not [key for element in root.iter() for key in element.keys() if key.startswith("on")]  # noqa: SIM118
    assert clean(name)[:30] in texts(root)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


@pytest.mark.parametrize("draw", [svg, html])
def test_nothing_is_loaded_from_anywhere(draw):
    text = draw(nasty("n"))
    for address in re.findall(r"\w+://[^\"'<\s]*", text):
        assert address in ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml")
    assert not re.search(r"url\((?!#)|@import|href|src=", text)


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("command", ["show", "timeline", "history"])
def test_the_terminal_obeys_no_name(cli, name, command):
    run = nasty(name)
    moment = run.started_at

    class Client:
        def get_durable_execution(self, **_asked: Any) -> Any:
            return run.described

        def get_durable_execution_history(self, **_asked: Any) -> Any:
            base = {"EventTimestamp": moment, "Id": name, "Name": name, "SubType": name}
            error = {"Error": {"Payload": {"ErrorMessage": name, "StackTrace": [name]}}}
            started = {**base, "EventId": 1, "EventType": "StepStarted"}
            return {"Events": [started, {**base, "EventId": 2, "EventType": "StepFailed", "StepFailedDetails": error}]}

    said = cli(command, "a:/durable-execution/n", *(["--data"] if command == "history" else []), client=Client())
    assert said.code == 0
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said.out)
    assert "[bold]" not in name or "[bold]" in said.out


def test_a_picture_has_a_line_and_a_bar_for_each_operation(cli, arn, tmp_path):
    file = tmp_path / "t.svg"
    said = cli("timeline", arn, "--svg", str(file))
    assert (said.code, said.out) == (0, "")
    assert str(file) in said.err.replace("\n", "")
    root = document(file.read_text())
    names = [texts(text) for text in root.iter(f"{SVG}text")]
    for name in ("o-1", "charge", "cooling off", "label", "print"):
        assert name in names
    assert "⇥ 2 d ⇤" in names
    classes = [rect.get("class") for rect in root.iter(f"{SVG}rect")]
    assert {"work", "failed", "waiting", "context", "fold"} <= set(classes)
    width = float(root.get("width", "0"))
    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x", "0")) + float(rect.get("width", "0")) <= width
        assert float(rect.get("width", "0")) > 0


@pytest.mark.parametrize("name", ["W" * 60, "the-begin-of-a-name-" * 4, "日本語の名前" * 8])
def test_a_name_without_room_is_cut_with_an_ellipsis(name):
    run = Story().tell(0, "StepStarted", Id="a", Name=name).run(now=1)
    (drawn,) = [texts(text) for text in document(svg(run)).iter(f"{SVG}text") if texts(text)[:1] == name[:1]]
    assert drawn.endswith("…")
    assert name.startswith(drawn[:-1])
    assert 15 < sum(1 + (unicodedata.east_asian_width(sign) == "W") for sign in drawn) < 40
    short = Story().tell(0, "StepStarted", Id="a", Name="reserve-stock-and-charge").run(now=1)
    assert "reserve-stock-and-charge" in [texts(text) for text in document(svg(short)).iter(f"{SVG}text")]


def test_the_legend_of_a_picture_has_what_is_drawn():
    story = Story().tell(0, "ContextStarted", Id="a", Name="a")
    words = [texts(text) for text in document(svg(story.run(now=1))).iter(f"{SVG}text")]
    assert {"work", "failed", "waiting", "context", "going on"} <= set(words)
    assert "paused" not in words
    story.tell(1, "ExecutionPaused")
    assert "paused" in [texts(text) for text in document(svg(story.run(now=2))).iter(f"{SVG}text")]


def test_a_table_breaks_no_word_and_scrolls():
    page = html(nasty("n"))
    assert ".scroll{overflow-x:auto}" in page
    assert '<div class="scroll"><table>' in page
    assert "vertical-align:top;white-space:nowrap}" in page


def test_a_page_has_the_picture_and_a_table(cli, service, tmp_path):
    arn = service.run("bad", event={}).arn
    file = tmp_path / "t.html"
    assert cli("timeline", arn, "--html", str(file)).code == 0
    root = document(file.read_text())
    assert root.find(f".//{SVG}svg") is not None
    cells = [texts(cell) for cell in root.iter("{http://www.w3.org/1999/xhtml}td")]
    assert cells[:3] == [HOSTILE, "Step", "SUCCEEDED"]
    assert f"ValueError: no {HOSTILE}" in texts(root)


def test_a_picture_can_go_to_standard_output(cli, arn):
    assert document(cli("timeline", arn, "--svg", "-").out).tag == f"{SVG}svg"


def test_a_picture_that_cannot_be_written_exits_2(cli, arn, tmp_path):
    said = cli("timeline", arn, "--svg", str(tmp_path / "no" / "t.svg"))
    assert said.code == 2
    assert "cannot be written" in said.err


def test_a_picture_of_what_still_runs_is_drawn_open(cli, asking):
    root = document(cli("timeline", asking, "--svg", "-").out)
    assert "waiting open" in [rect.get("class") for rect in root.iter(f"{SVG}rect")]
