"""Responses held against the service model of botocore: every member known, required, typed, sized and spelled."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from typing import Any

import botocore.session


@cache
def _service() -> Any:
    return botocore.session.get_session().get_service_model("lambda")


def operation_name(method: str) -> str:
    return "".join(part.capitalize() for part in method.split("_"))


def check_response(method: str, response: dict[str, Any]) -> None:
    """Fail unless a response has the shape that the model gives the operation."""
    shape = _service().operation_model(operation_name(method)).output_shape
    content = {key: value for key, value in response.items() if key != "ResponseMetadata"}
    if shape is None:
        assert content == {}
        return
    check(shape, content, method)


def check(shape: Any, value: Any, where: str) -> None:
    kind = shape.type_name
    if kind == "structure":
        assert isinstance(value, dict), where
        unknown, missing = value.keys() - shape.members.keys(), set(shape.required_members) - value.keys()
        assert not unknown, f"{where}: unknown members {unknown}"
        assert not missing, f"{where}: missing members {missing}"
        for key, item in value.items():
            check(shape.members[key], item, f"{where}.{key}")
    elif kind == "list":
        assert isinstance(value, list), where
        for index, item in enumerate(value):
            check(shape.member, item, f"{where}[{index}]")
    elif kind == "timestamp":
        assert isinstance(value, datetime), where
        assert value.tzinfo is not None, where
    elif kind == "blob":
        assert hasattr(value, "read"), where
    else:
        _scalar(shape, value, where)


def _scalar(shape: Any, value: Any, where: str) -> None:
    expected = {"string": str, "integer": int, "boolean": bool}[shape.type_name]
    assert type(value) is expected, f"{where}: {value!r}"
    limits = shape.metadata
    size = len(value) if isinstance(value, str) else value
    assert size >= limits.get("min", size), f"{where}: {value!r} is too small"
    assert size <= limits.get("max", size), f"{where}: {value!r} is too large"
    if "enum" in limits:
        assert value in limits["enum"], f"{where}: {value!r}"
    if "pattern" in limits:
        pattern = limits["pattern"].replace("[a-zA-Z0-9-_", "[a-zA-Z0-9\\-_")
        assert re.fullmatch(pattern, value), f"{where}: {value!r} does not match {pattern}"
