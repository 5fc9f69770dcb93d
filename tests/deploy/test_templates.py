"""The templates of examples/deploy, under the tools that people deploy with, as far as those go without an account."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Any

import hcl2
import pytest
from cfnlint.api import lint, lint_file

from perdure.cli.new import template
from support.deployed import durable_config_problems, local_files, of_sam, problems

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "examples/deploy"
SAM = sorted(DEPLOY.glob("*/template.yaml"))
MADE_BEFORE = {DEPLOY / "build", ROOT / "dist/perdure-layer-python3.13-x86_64.zip"}
"""What docs/deploy.md has one make before a template is used."""

SPOILT = [
    ("RetentionPeriodInDays: 14", "RetentionInDays: 14", "DurableConfig has no RetentionInDays"),
    ("RetentionPeriodInDays: 14", "RetentionPeriodInDays: 91", "RetentionPeriodInDays is 91"),
    ("ExecutionTimeout: 86400", "ExecutionTimeout: 31622401", "ExecutionTimeout is 31622401"),
    ("ExecutionTimeout: 86400", "ExecutionTimeout: '86400'", "ExecutionTimeout is '86400'"),
    ("Runtime: python3.13", "Runtime: python3.12", "the runtime is python3.12"),
    ("[x86_64]", "[x86]", "the architectures are ['x86']"),
    ("Timeout: 60", "Timeout: 901", "the timeout is 901"),
    (
        "Handler: app.handler",
        "Handler: app.handler\n      Policies: []\n      Role: !GetAtt Other.Arn",
        "the policies are",
    ),
    ("AutoPublishAlias: live", "Description: none", "no output gives an alias on a version"),
]


def named(path: Path) -> str:
    return path.parent.name


def test_there_are_templates() -> None:
    assert [named(path) for path in SAM] == ["container", "layer", "sam"]


@pytest.mark.parametrize("path", SAM, ids=named)
def test_cfn_lint_finds_nothing_in_a_template(path: Path) -> None:
    assert [str(match) for match in lint_file(path)] == []


def test_the_template_of_a_new_project_is_one_of_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    path = tmp_path / "template.yaml"
    path.write_text(template("template.yaml", "orders"), encoding="utf-8")
    assert [str(match) for match in lint_file(path)] == []
    assert problems(of_sam(path)) == []
    assert [line for line in settings(path) if line not in settings(DEPLOY / "sam/template.yaml")] == [
        "CodeUri: build/"
    ]


def settings(path: Path) -> list[str]:
    """Give what a template says of its function, line by line."""
    _, _, text = path.read_text(encoding="utf-8").partition("Properties:\n")
    return [line.strip() for line in text.partition("\n\n")[0].splitlines()]


def test_cfn_lint_knows_durable_config() -> None:
    text = (DEPLOY / "sam/template.yaml").read_text(encoding="utf-8")
    (match,) = lint(text.replace("RetentionPeriodInDays", "RetentionInDays"))
    assert "'RetentionInDays' was unexpected" in str(match)


@pytest.mark.parametrize("path", SAM, ids=named)
def test_sam_makes_a_durable_function_with_an_alias_of_a_template(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert problems(of_sam(path)) == []


@pytest.mark.parametrize(("line", "spoilt", "problem"), SPOILT, ids=[spoilt for _, spoilt, _ in SPOILT])
def test_what_is_wrong_with_a_template_is_found(
    line: str, spoilt: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    text = (DEPLOY / "sam/template.yaml").read_text(encoding="utf-8")
    assert line in text
    text = text.replace(line, spoilt)
    if "AutoPublishAlias" in line:
        text = text.replace("!Ref Orders.Alias", "!Ref Orders")
    if "Other.Arn" in spoilt:
        role = "{Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {}, ManagedPolicyArns: []}}"
        text = text.replace("Resources:\n", f"Resources:\n  Other: {role}\n")
    (tmp_path / "template.yaml").write_text(text, encoding="utf-8")
    found = problems(of_sam(tmp_path / "template.yaml"))
    assert [each for each in found if each.startswith(problem)]


@pytest.mark.parametrize("path", SAM, ids=named)
def test_a_template_points_at_files_that_are_there(path: Path) -> None:
    for target in local_files(path):
        place = (path.parent / target).resolve()
        assert place.exists() or place in MADE_BEFORE, target


def block(body: dict[str, Any], *names: str) -> dict[str, Any]:
    """Give the one block of a name, of those that `hcl2` gives as lists."""
    for name in names:
        body = body[name] if name in body else body[f'"{name}"']
        body = body[0] if isinstance(body, list) else body
    return body


def resources(template: dict[str, Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    kinds = [each for each in template["resource"] if kind in {key.strip('"') for key in each}]
    return [(name.strip('"'), body) for each in kinds for name, body in block(each, kind).items() if "__" not in name]


def test_the_terraform_configuration_is_of_a_durable_function_with_an_alias() -> None:
    text = (DEPLOY / "terraform/main.tf").read_text(encoding="utf-8")
    template = hcl2.loads(text)
    ((name, function),) = resources(template, "aws_lambda_function")
    config = block(function, "durable_config")
    # The names are the provider's, which has them from version 6.25 on.
    assert {key for key in config if "__" not in key} == {"execution_timeout", "retention_period"}
    assert (
        durable_config_problems(
            {"ExecutionTimeout": config["execution_timeout"], "RetentionPeriodInDays": config["retention_period"]}
        )
        == []
    )
    version = str(block(template, "terraform", "required_providers", "aws")["version"])
    assert tuple(map(int, re.findall(r"\d+", version))) >= (6, 25)
    assert str(function["runtime"]).strip('"') == "python3.13"
    assert function["publish"] is True
    ((_, alias),) = resources(template, "aws_lambda_alias")
    assert f"aws_lambda_function.{name}.version" in str(alias["function_version"])
    ((_, attached),) = resources(template, "aws_iam_role_policy_attachment")
    assert "policy/service-role/AWSLambdaBasicDurableExecutionRolePolicy" in str(attached["policy_arn"])


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_cdk_makes_a_durable_function_with_an_alias(tmp_path: Path) -> None:
    """As its users have it: in an environment with what its requirements name, which takes a package registry."""
    if shutil.which("node") is None:
        pytest.skip("the CDK needs Node.js")
    deploy = tmp_path / "deploy"
    shutil.copytree(DEPLOY / "cdk", deploy / "cdk")
    shutil.copytree(DEPLOY / "function", deploy / "build")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", deploy / "cdk/requirements.txt"], check=True)
    subprocess.run(
        [python, "app.py"],
        check=True,
        cwd=deploy / "cdk",
        env={**os.environ, "CDK_OUTDIR": str(tmp_path / "out"), "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1"},
    )
    template = json.loads((tmp_path / "out/Orders.template.json").read_text(encoding="utf-8"))
    assert problems(template) == []


def test_the_requirements_of_the_cdk_are_for_a_version_that_knows_durable_functions() -> None:
    """Version 2.232 brought `DurableConfig`."""
    text = (DEPLOY / "cdk/requirements.txt").read_text(encoding="utf-8")
    assert re.search(r"^aws-cdk-lib>=2\.232,<3$", text, re.MULTILINE)
    assert json.loads((DEPLOY / "cdk/cdk.json").read_text(encoding="utf-8"))["app"] == "python3 app.py"
