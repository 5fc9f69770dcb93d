"""Keys of dicts that are no text come back as text, as in the official SDK; the log says so once a process."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

BEGINNING = """
import json, logging, sys
from perdure import durable_execution
from perdure.local import LocalService
from perdure.serdes import JsonSerDes

logging.basicConfig(format="%(levelname)s %(name)s %(message)s", stream=sys.stdout)

def run(handler):
    service = LocalService()
    service.register("f", durable_execution(handler))
    print(json.dumps(["result", service.run("f", event={}).result]))
"""


def said(program: str, *options: str) -> tuple[list[str], list[Any]]:
    """Run a program in a process of its own; give the lines of its log, and the results of its executions."""
    done = subprocess.run(
        [sys.executable, *options, "-c", BEGINNING + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert not done.stderr
    lines = done.stdout.splitlines()
    results = [json.loads(json.loads(line)[1] or "null") for line in lines if line.startswith("[")]
    return [line for line in lines if not line.startswith("[")], results


def test_it_is_said_once_with_the_users_line() -> None:
    lines, results = said(
        """
        def handler(event, context):
            first = context.step(lambda _: {101: 5})
            context.wait(1)
            return [first, context.step(lambda _: {7: 1}), context.step(lambda _: [({None: {True: 1.5}},)])]
        run(handler)
        run(handler)
        """
    )
    assert results == [[{"101": 5}, {"7": 1}, [[{"null": {"true": 1.5}}]]]] * 2
    (line,) = lines
    assert line.startswith("WARNING perdure A value has keys of the type int:")
    assert "in handler)" in line
    assert f":{BEGINNING.count(chr(10)) + 3} in" in line


def test_lost_entries_are_said_too_whatever_was_said_before() -> None:
    lines, results = said(
        """
        def handler(event, context):
            context.step(lambda _: {101: 5, 102: 6})
            context.step(lambda _: {1: "a", "2": "b"})
            lost = context.step(lambda _: {1: "a", "1": "b", None: "c", "null": "d"})
            return [lost, context.step(lambda _: {1: "a", "1": "b"})]
        run(handler)
        """
    )
    assert results == [[{"1": "b", "null": "d"}, {"1": "b"}]]
    assert [line.split(":")[0] for line in lines] == [
        "WARNING perdure A value has keys of the type int",
        "WARNING perdure A value has keys that become the same text in a payload, such as 1 and '1'",
    ]
    assert "2 of 4 are lost" in lines[1]


@pytest.mark.parametrize(
    "body",
    [
        'return context.step(lambda _: {"101": 5})',
        "return {101: 5}",
        "return context.step(lambda _: {101: 5}, serdes=JsonSerDes())",
    ],
)
def test_nothing_is_said_of_text_nor_of_plain_json(body: str) -> None:
    lines, results = said(f"def handler(event, context): {body}\nrun(handler)")
    assert (lines, results) == ([], [{"101": 5}])


def test_the_reference_codec_says_it_too() -> None:
    lines, results = said(
        r"""
        def handler(event, context):
            return context.step(lambda _: {2: "\ud800", "2": 10 ** 30})
        run(handler)
        from perdure.serdes import encode_reference
        print(json.dumps(["result", encode_reference({1: 2})]))
        """
    )
    assert results[0] == {"2": 10**30}
    assert len(lines) == 2


def test_warnings_that_are_errors_do_not_fail_an_execution() -> None:
    lines, results = said(
        """
        def handler(event, context):
            return context.step(lambda _: {1: 2})
        run(handler)
        """,
        "-W",
        "error",
    )
    assert (len(lines), results) == (1, [{"1": 2}])


def test_a_log_that_fails_does_not_fail_an_execution() -> None:
    _, results = said(
        """
        class Broken(logging.Handler):
            def emit(self, record):
                raise OSError("full")
        logging.raiseExceptions = False
        logging.getLogger("perdure").addHandler(Broken())
        def handler(event, context):
            return context.step(lambda _: {1: 2})
        run(handler)
        """
    )
    assert results == [{"1": 2}]


def test_a_key_that_no_json_has_is_refused_as_ever() -> None:
    _, results = said(
        """
        def handler(event, context):
            try:
                return context.step(lambda _: {1: 2, b"x": 3}, retry=lambda *_: None)
            except Exception as error:
                return str(error)
        run(handler)
        """
    )
    assert "keys must be str, int, float, bool or None" in results[0]
