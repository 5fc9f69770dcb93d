"""What is drawn fits: terminals small and narrow, outputs without the signs, zones, and outputs that are full."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console, Group
from rich.text import Text

from perdure import DurableContext, durable_execution
from perdure.cli.command_context import CommandContext
from perdure.cli.connection import Connection
from perdure.cli.drawing.chart import chart
from perdure.cli.drawing.columns import Columns
from perdure.cli.drawing.encodings import spelled
from perdure.cli.drawing.listing import listing
from perdure.cli.drawing.log import Log
from perdure.cli.drawing.picture import svg
from perdure.cli.drawing.tree import tree
from perdure.cli.follow import fitting
from perdure.local import LocalService
from support.story import Story, retry
from support.web import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.history.tree import Run

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
FULL = Path("/dev/full")


def terminal(width: int, height: int) -> Console:
    return Console(width=width, height=height, force_terminal=True, file=StringIO(), color_system=None)


def lines(console: Console, drawing: Any) -> list[str]:
    return ["".join(part.text for part in line) for line in console.render_lines(drawing, pad=False)]


def busy(operations: int = 60) -> Run:
    """Tell of an execution with long names, notes below their rows, and an open callback."""
    story = Story()
    for number in range(operations):
        name = f"operation-{number} {'with a long name ' * (number % 3)}"
        story.tell(number, "StepStarted", Id=str(number), Name=name)
        error = {"Payload": {"ErrorType": "ConnectionError", "ErrorMessage": "nobody answers, " * (number % 4 * 3)}}
        story.tell(number, "StepFailed", Id=str(number), Error=error, RetryDetails=retry(1, 5000))
    story.tell(operations, "CallbackStarted", Id="c", Name="approval", CallbackId="x" * 300)
    return story.run(now=operations + 1)


# -- frames ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 25), (160, 50), (60, 40), (200, 300)])
def test_a_frame_fits_and_has_the_end_of_the_drawing(width, height):
    console, run = terminal(width, height), busy()
    frame = lines(console, fitting(lambda run, most: Group(*tree(run, most=most)), run, console))
    assert len(frame) < height
    text = "\n".join(frame)
    assert "Budget: " in text
    assert "Price: " in text
    assert text.startswith("n of f")
    if height == 300:
        assert "operation-0 " in text
    else:
        assert " above these" in text
        # one operation more has no room: the longest takes a handful of lines
        assert len(frame) > height - 12


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 25), (40, 12)])
def test_a_frame_of_a_timeline_fits(width, height):
    console, run = terminal(width, height), busy()
    frame = lines(console, fitting(lambda run, most: chart(run, width, most=most), run, console))
    assert len(frame) == height - 1
    assert frame[0].startswith("n of f")
    assert "going on" in frame[-1] or "going on" in frame[-2]
    assert any("approval" in line for line in frame)


def slow_and_deep() -> Run:
    """Tell of an execution that takes minutes, with operations far below others."""
    story = Story().tell(0, "StepStarted", Id="a", Name="add_up").tell(1, "StepSucceeded", Id="a", Name="add_up")
    for number in range(7):
        around = {} if number == 0 else {"ParentId": str(number - 1)}
        story.tell(1, "ContextStarted", Id=str(number), Name=f"level-{number}", SubType="RunInChildContext", **around)
    error = {"Payload": {"ErrorType": "ConnectionError", "ErrorMessage": "nobody at the counter"}}
    story.tell(1, "StepStarted", Id="s", Name="a-step-with-a-long-name", ParentId="6")
    story.tell(2, "StepFailed", Id="s", ParentId="6", Error=error, RetryDetails=retry(1, 5000))
    story.tell(3, "StepSucceeded", Id="b", Name="sized", Result={"Payload": "x" * 5000})
    return story.run(now=239)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", range(12, 101, 4))
def test_a_timeline_tells_a_length_of_time_whole_or_not_at_all(width, encoding):
    drawing = [line.rstrip() for line in lines(terminal(width, 99), chart(slow_and_deep(), width, encoding=encoding))]
    root = next(line for line in drawing if line.startswith("n ") and " of f" not in line)
    behind = root.rpartition("▶")[2].strip()
    assert behind in ("3 min 59 s", "")
    assert bool(behind) is (width >= 28)
    assert all(len(line) <= width for line in drawing)
    if behind:
        assert sum(line.endswith(("started", " s", "pending")) for line in drawing) >= 10


@pytest.mark.parametrize("width", [30, 40, 50, 60, 70, 80, 100])
def test_a_narrow_tree_leaves_columns_out_and_keeps_every_status(width):
    console = terminal(width, 99)
    drawing = next(part for part in tree(slow_and_deep()) if isinstance(part, Columns))
    with console.capture() as drawn:
        console.print(drawing, soft_wrap=True)
    head, *rows = drawn.get().splitlines()
    assert all(len(row) <= width for row in (head, *rows))
    place = head.index("status")
    status = [row[place:].split()[0] for row in rows if row[place:] and row[place - 2 : place] == "  "]
    assert [word for word in status if word in ("SUCCEEDED", "STARTED", "PENDING")] == [
        "SUCCEEDED",
        *["STARTED"] * 7,
        "PENDING",
        "SUCCEEDED",
    ]
    kept = [word for word in ("kind", "attempts", "time", "out") if word in head.split()]
    assert kept == {
        30: [],
        40: [],
        50: ["time"],
        60: ["time"],
        70: ["kind", "time"],
        80: ["kind", "attempts", "time"],
    }.get(width, ["kind", "attempts", "time", "out"])


@pytest.mark.parametrize("height", [1, 2, 5])
def test_a_frame_fits_a_terminal_on_which_nothing_fits(height):
    console = terminal(40, height)
    frame = lines(console, fitting(lambda run, most: Group(*tree(run, most=most)), busy(), console))
    assert len(frame) <= max(1, height - 1)


def test_a_drawing_without_operations_says_how_many_there_are():
    for drawing in (Group(*tree(busy(), most=0)), chart(busy(), 80, most=0)):
        text = "\n".join(lines(terminal(80, 99), drawing))
        assert "… 61 operations above these" in text
        assert "operation-5" not in text


# -- narrow terminals --------------------------------------------------------------------------------------------------

NAME = "0880a872-72ce-4621-ae91-715104f6f91d"


def listed(status: str = "SUCCEEDED") -> dict[str, Any]:
    return {
        "DurableExecutionName": NAME,
        "FunctionArn": "arn:aws:lambda:us-east-1:1:function:payments:$LATEST",
        "Status": status,
        "StartTimestamp": Story.at(0),
        "EndTimestamp": Story.at(90_000),
    }


@pytest.mark.parametrize(
    ("width", "columns"),
    [(None, 5), (95, 5), (94, 4), (86, 4), (85, 3), (77, 3), (76, 2), (56, 2), (55, 1), (40, 1), (20, 1)],
)
@pytest.mark.usefixtures("utc")
def test_a_list_keeps_what_one_copies(width, columns):
    heading, row = (line.plain for line in listing([listed()], width))
    assert row.startswith(f"payments/{NAME}")
    assert heading.startswith("execution")
    assert len([word for word in ("execution", "version", "status", "started", "time") if word in heading]) == columns
    if columns > 1:
        assert width is None or len(row) <= width


@pytest.mark.parametrize("width", [40, 80])
def test_a_list_is_printed_in_one_piece(cli, service, width):
    service.register("a-function-with-a-name", service.functions["bad"].handler)
    service.run("a-function-with-a-name", event={}, name=NAME)
    out = cli("list", "a-function-with-a-name", env={"COLUMNS": str(width)}).out
    assert f"a-function-with-a-name/{NAME}" in out
    assert len(out.splitlines()) == 2


def test_a_pipe_has_room_for_everything(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert CommandContext(Connection()).room is None
    monkeypatch.setenv("COLUMNS", "70")
    assert CommandContext(Connection()).room == 70


def written(story: Story, width: int | None, *, data: bool = False) -> list[str]:
    log = Log(terminal(width or 80, 99), data=data, room=width)
    return [line.plain for line in log.lines(story.events)]


@pytest.mark.usefixtures("utc")
def test_details_without_room_stand_on_lines_of_their_own():
    story = Story().tell(1, "WaitStarted", Id="w", Name="nap", Duration=60, ScheduledEndTimestamp=Story.at(60))
    assert written(story, 80)[2:] == [
        "2  2026-01-01 00:00:01.000  WaitStarted       nap",
        "   Duration=60 ScheduledEndTimestamp=2026-01-01T00:01:00.000+00:00",
    ]
    for room in (200, None):
        (line,) = written(story, room)[2:]
        assert line.endswith("nap        Duration=60 ScheduledEndTimestamp=2026-01-01T00:01:00.000+00:00")


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_narrow_terminal_loses_nothing_of_a_history(cli, arn, width):
    wide, narrow = (
        cli("history", arn, "--data", env={"COLUMNS": str(columns)}).out.split() for columns in (500, width)
    )
    assert "".join(narrow) == "".join(wide)


def test_columns_get_wider_as_pages_come_and_never_narrower():
    log = Log(terminal(200, 99), data=False, room=None)
    page = Story().tell(0, "StepStarted", Id="a", Name="a").events[1:]
    later = Story().tell(0, "ChainedInvokeSucceeded", Id="a", Name="b" * 60).events[1:]
    texts = [line.plain for part in (page, later, page) for line in log.lines(part)]
    assert [line.index("  a") if line.endswith("  a") else 0 for line in texts[1:]] == [
        texts[1].index("  a"),
        0,
        texts[3].index("  a"),
    ]
    assert len(texts[3]) > len(texts[1])
    assert texts[2].endswith("b" * 60)


# -- signs -------------------------------------------------------------------------------------------------------------


def test_what_goes_on_is_told_without_colour():
    story = Story().tell(0, "StepStarted", Id="a", Name="ended").tell(5, "StepSucceeded", Id="a")
    story.tell(5, "StepStarted", Id="b", Name="begun").tell(5, "ContextStarted", Id="c", Name="around")
    title, _axis, root, ended, begun, around, legend = lines(terminal(100, 99), chart(story.run(now=9), 100))
    assert "▶" not in ended
    for line in (root, begun, around):
        assert line.count("▶") == 1
    assert "█▶" in begun
    for words in ("█ work", "▓ failed", "░ waiting", "─ context", "▶ going on"):
        assert words in legend
    assert "paused" not in legend
    story.tell(6, "ExecutionPaused")
    assert "· paused" in lines(terminal(100, 99), chart(story.run(now=9), 100))[-1]
    assert title.startswith("n of f: RUNNING")


def test_the_title_of_a_timeline_wraps():
    run = Story().run(now=1)
    run.described["DurableExecutionName"] = "name-" * 30 + "end"
    text = "".join(lines(terminal(80, 99), chart(run, 80)))
    assert "name-end of f: RUNNING" in text.replace(" ", "").replace("endoff:", "end of f: ")


def test_signs_that_an_output_lacks_are_spelled():
    assert spelled("├─ a…", "ascii") == "|- a..."
    assert spelled("≥ é", "latin-1") == ">= é"
    assert spelled("日𝄞", "ascii") == r"\u65e5\ud834\udd1e"
    assert spelled("日", "utf-8") == "日"


def perdure(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    script = "import sys; from perdure.cli import main; main()"
    environment = {**os.environ, "AWS_ENDPOINT_URL_LAMBDA": "", "COLUMNS": "100", **options.pop("env", {})}
    return subprocess.run([sys.executable, "-c", script, *arguments], check=False, env=environment, **options)


@durable_execution
def slow(event: Any, context: DurableContext) -> Any:
    context.step(lambda _: "日", name="a step with a name that is too long for the column of names")
    return context.create_callback(name="answer").result()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    service = LocalService().register("slow", slow)
    service.run("slow", event={"a": "é"}, name="s-1", stop_at_callback=True)
    with served(service) as (_service, server, _client):
        yield server.url


@pytest.mark.parametrize(
    "command",
    [
        ("show", "slow/s-1"),
        ("timeline", "slow/s-1"),
        ("history", "slow/s-1", "--data"),
        ("list", "slow"),
        ("stop", "--help"),
        ("callback", "fail", "--help"),
        ("show", "--nonsense"),
    ],
    ids=" ".join,
)
def test_an_ascii_terminal_gets_ascii(url, command):
    said = perdure(*command, "--endpoint", url, capture_output=True, env=ASCII)
    text = (said.stdout + said.stderr).decode("ascii")
    assert said.returncode == (2 if "--nonsense" in command else 0), text
    assert "Traceback" not in text
    assert "?" not in text
    assert text.strip()
    if command[0] == "show" and "slow/s-1" in command:
        assert "|- a step" in text
        assert re.search(r"\d (d|h|min|s)\.\.\.\n", text)  # how long it runs by now
    if command[0] == "timeline":
        (line,) = (line for line in text.splitlines() if "a step" in line)
        assert "... " in line
        assert all(len(line) <= 100 for line in text.splitlines())


UNSET = dict.fromkeys(("LC_ALL", "LC_CTYPE", "LANG", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONCOERCECLOCALE"), "")


@pytest.mark.parametrize(
    ("locale", "plain"),
    [
        ({"LC_ALL": "C"}, True),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, True),
        ({"LANG": "C"}, True),
        ({"LC_CTYPE": "C", "LANG": "C"}, True),
        ({}, False),
        ({"LC_ALL": "C.UTF-8"}, False),
        ({"LANG": "nowhere.UTF-8"}, False),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, False),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, False),
        ({"LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}, False),
    ],
    ids=str,
)
def test_a_locale_without_signs_that_was_asked_for_gets_ascii(locale, plain):
    said = perdure("stop", "--help", capture_output=True, env={**UNSET, **locale})
    assert (said.returncode, said.stdout.isascii()) == (0, plain)


def test_a_result_stays_json_on_an_ascii_terminal(cli, service, monkeypatch):
    service.register("echo", lambda event, _context: event, durable=False)
    from perdure.cli import command_context as desk  # noqa: PLC0415 - the module, whose console is replaced

    monkeypatch.setattr(desk.Writer, "encoding", "ascii")
    assert cli("invoke", "echo", "--payload", '"é…日"').out == '"\\u00e9\\u2026\\u65e5"\n'


def test_a_picture_is_printed_as_it_says_of_itself(url):
    said = perdure("timeline", "slow/s-1", "--svg", "-", "--endpoint", url, capture_output=True, env=ASCII)
    assert said.returncode == 0
    assert " · slow · " in said.stdout.decode("utf-8")


# -- outputs that are full, or closed ----------------------------------------------------------------------------------


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
@pytest.mark.parametrize(
    "command", [("show", "slow/s-1", "--json"), ("show", "slow/s-1"), ("history", "slow/s-1"), ("list", "slow")]
)
def test_an_output_that_is_full_is_told_and_exits_4(url, command):
    with FULL.open("wb") as full:
        said = perdure(*command, "--endpoint", url, stdout=full, stderr=subprocess.PIPE)
    assert said.returncode == 4
    assert said.stderr.decode() == "The output cannot be written: No space left on device\n"


def closed(*command: str, env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command of which nobody reads a word."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        return perdure(*command, stdout=pipe, stderr=subprocess.PIPE, env=env)


@pytest.mark.parametrize(
    "command",
    [
        ("show", "slow/s-1"),
        ("show", "slow/s-1", "--json"),
        ("show", "slow/s-2", "--json"),
        ("history", "slow/s-1"),
        ("timeline", "slow/s-1", "--svg", "-"),
        ("list", "slow"),
        ("show", "--help"),
        ("--help",),
        ("--version",),
    ],
    ids=" ".join,
)
def test_a_reader_who_has_had_enough_is_no_failure(url, command):
    said = closed(*command, env={"AWS_ENDPOINT_URL_LAMBDA": url, "PYTHONUNBUFFERED": ""})
    assert (said.returncode, said.stderr) == (0, b"")


@pytest.mark.parametrize("command", [("show", "slow/s-1"), ("show", "slow/s-1", "--json"), ("--version",)])
def test_a_reader_leaves_an_unbuffered_output_as_well(url, command):
    said = closed(*command, env={"AWS_ENDPOINT_URL_LAMBDA": url, "PYTHONUNBUFFERED": "1"})
    assert (said.returncode, said.stderr) == (0, b"")


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("command", ["--version", "--help"])
def test_help_that_cannot_be_written_is_told_as_well(command):
    with FULL.open("wb") as full:
        said = perdure(command, stdout=full, stderr=subprocess.PIPE)
    assert (said.returncode, said.stderr) == (4, b"The output cannot be written: No space left on device\n")


# -- zones -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_every_moment_is_local_and_its_zone_is_told(cli, arn):
    zone = {"TZ": "Europe/Berlin"}
    assert "from 2026-01-01 01:00:00 (UTC+01:00)" in cli("show", arn, env=zone).out
    assert "from 2026-01-01 01:00:00 (UTC+01:00)" in cli("timeline", arn, env=zone).out
    heading, row = cli("list", "order", env=zone).out.splitlines()
    assert "started (UTC+01:00)" in heading
    assert "2026-01-01 01:00:00" in row
    heading, row, *_ = cli("history", arn, env=zone).out.splitlines()
    assert "when (UTC+01:00)" in heading
    assert "2026-01-01 01:00:00.000" in row
    assert cli("history", arn, "--json", env=zone).json["events"][0]["EventTimestamp"] == "2026-01-01T00:00:00.000Z"


@pytest.mark.usefixtures("berlin")
def test_a_picture_tells_the_zone():
    text = svg(Story().tell(0, "StepStarted", Id="a").run(now=1))
    assert "from 2026-01-01 01:00:00 (UTC+01:00)" in text
    assert "from 2026-01-01T01:00:00.000+01:00" in text
    assert "000Z" not in text


@pytest.mark.usefixtures("berlin")
def test_a_moment_after_the_clocks_were_changed_tells_its_own_zone():
    summer = {**listed(), "StartTimestamp": Story.at(180 * 86_400)}
    heading, winter_row, summer_row = (line.plain for line in listing([listed(), summer], None))
    assert "started (UTC+01:00)" in heading
    assert "2026-01-01 01:00:00  " in winter_row
    assert "2026-06-30 02:00:00 +02:00" in summer_row
    due = Story().tell(0, "WaitStarted", Id="w", ScheduledEndTimestamp=summer["StartTimestamp"]).run(now=1)
    assert (
        "until 2026-06-30 02:00:00 +02:00 (in 1"
        in Text("\n").join([Text(line) for line in lines(terminal(200, 99), Group(*tree(due)))]).plain
    )
