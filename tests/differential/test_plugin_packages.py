"""The plugin packages that were made for the official SDK, from PyPI, unchanged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

DISCOVERED = """
import json, sys
from perdure.plugin_discovery import load_configured_plugins
factories = load_configured_plugins(None)
import perdure.plugin, aws_durable_execution_sdk_python.plugin as theirs
print(json.dumps([[type(one).__name__ for one in factories], theirs is perdure.plugin]))
"""
TOO_LATE = "import aws_durable_execution_sdk_python.plugin\n" + DISCOVERED
BY_HAND = """
import {first}
from aws_durable_execution_sdk_python_otel import EXECUTION_OTEL_PLUGIN_FACTORY
from perdure.plugin_discovery import load_configured_plugins
print(load_configured_plugins([EXECUTION_OTEL_PLUGIN_FACTORY]) == [EXECUTION_OTEL_PLUGIN_FACTORY])
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given: Any = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run([sys.executable, "-c", program], env=given, capture_output=True, text=True, check=False)


def test_a_package_that_the_environment_names_finds_perdures_modules() -> None:
    said = run(DISCOVERED, DURABLE_EXECUTION_PLUGINS="otel-execution")
    assert said.stdout, said.stderr
    assert json.loads(said.stdout) == [["ExecutionOtelPluginFactory"], True]


def test_its_two_plugins_exclude_each_other() -> None:
    said = run(DISCOVERED, DURABLE_EXECUTION_PLUGINS="otel-execution, otel-invocation")
    assert "exclude each other" in said.stderr


def test_it_is_refused_where_the_official_sdk_was_imported_before() -> None:
    said = run(TOO_LATE, DURABLE_EXECUTION_PLUGINS="otel-execution")
    assert "PluginLoadError" in said.stderr
    assert "perdure.compat" in said.stderr


@pytest.mark.parametrize(("first", "fits"), [("perdure.compat", True), ("perdure", False)])
def test_a_factory_given_by_hand_must_know_perdures_classes(first: str, fits: bool) -> None:
    said = run(BY_HAND.format(first=first))
    assert said.stdout == ("True\n" if fits else "")
    assert fits or "Import perdure.compat before it" in said.stderr


@pytest.mark.parametrize("package", ["otel", "telemetry_exporter", "insight"])
def test_each_package_imports(package: str) -> None:
    said = run(f"import perdure.compat, aws_durable_execution_sdk_python_{package}, perdure; print('fine')")
    assert said.stdout == "fine\n", said.stderr


def made(sdk: str, plugin: str) -> Any:
    said = subprocess.run(
        [sys.executable, "-m", "support.traced_program", sdk, plugin],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout, said.stderr
    return json.loads(said.stdout)


def tree(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give spans so that two executions' compare: each by its name and how many of that name have ended before."""
    count: Counter[str] = Counter()
    names = {}
    for span in spans:
        names[span["id"]] = f"{span['name']} #{count[span['name']]}"
        count[span["name"]] += 1
    return [
        {
            **span,
            "id": names[span["id"]],
            "parent": names.get(span["parent"], span["parent"]),
            "links": [names.get(link, link) for link in span["links"]],
        }
        for span in spans
    ]


@pytest.mark.parametrize("view", ["execution", "invocation"])
def test_one_trace_an_execution_with_the_spans_that_the_official_sdk_makes(view: str) -> None:
    theirs, ours = made("official", view), made("perdure", view)
    assert len({span["trace"] for span in ours["made"]}) == 1
    assert ours["invocations"] > 1
    assert tree(ours["made"]) == tree(theirs["made"])


def test_the_records_of_the_exporter_are_those_under_the_official_sdk() -> None:
    theirs, ours = made("official", "telemetry"), made("perdure", "telemetry")
    assert [settled(record) for record in ours["made"]] == [settled(record) for record in theirs["made"]]


def settled(record: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the exporter reads off the clock of the machine."""
    return {key: value for key, value in record.items() if key not in ("emittedAt", "endTime", "durationMs")}
