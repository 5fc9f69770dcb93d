"""The page about testing is a test module: its blocks run under pytest with the plugin, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
BLOCK = re.compile(r"^```(?:python|py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_about_testing_passes_its_own_tests(pytester: pytest.Pytester) -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```py")
    source = "\n".join(blocks)
    pytester.makepyfile(source)
    result = pytester.runpytest_inprocess("-p", "no:perdure", "-p", "perdure.testing.plugin", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=source.count("\ndef test_"))
