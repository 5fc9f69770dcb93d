"""What deployment tools make of a template, and whether that is a durable function which can be invoked.

`problems` takes a CloudFormation template, as SAM's transform and the CDK give it. What AWS accepts is taken from
botocore's model of the Lambda API, which is the newest description of it that there is here.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import botocore.session
import yaml
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLICY = ":iam::aws:policy/service-role/AWSLambdaBasicDurableExecutionRolePolicy"
DURABLE_RUNTIMES = {"python3.13", "python3.14"}


@functools.cache
def _shape(name: str) -> Any:
    return botocore.session.get_session().get_service_model("lambda").shape_for(name)


class _NoPolicies(ManagedPolicyLoader):
    """Managed policies are named by ARN, so that none need be looked up in an account."""

    def __init__(self) -> None:
        """Need no client of IAM."""

    def load(self) -> dict[str, str]:
        return {}


def of_sam(path: Path) -> dict[str, Any]:
    """Give what AWS makes of a SAM template, once `sam deploy` has put its files into a bucket and a registry."""
    template = yaml_parse(path.read_text(encoding="utf-8"))
    for resource in template["Resources"].values():
        properties = resource["Properties"]
        for name in {"CodeUri", "ContentUri"} & properties.keys():
            properties[name] = "s3://bucket/key"
        if properties.get("PackageType") == "Image":
            properties["ImageUri"] = "123456789012.dkr.ecr.us-east-1.amazonaws.com/orders:latest"
    result: dict[str, Any] = transform(template, {}, _NoPolicies())
    return result


def local_files(path: Path) -> Iterator[str]:
    """Give the paths in a SAM template that are on this machine."""
    for resource in yaml.load(path.read_text(encoding="utf-8"), Loader=_Loose)["Resources"].values():  # noqa: S506 - safe, see there
        found = resource["Properties"] | resource.get("Metadata", {})
        yield from (found[name] for name in ("CodeUri", "ContentUri", "DockerContext") if name in found)


class _Loose(yaml.SafeLoader):
    """A loader to which CloudFormation's tags are nothing."""


_Loose.add_multi_constructor("!", lambda *_: None)


def durable_config_problems(config: dict[str, Any]) -> list[str]:
    """Hold a `DurableConfig` against the API's."""
    shape = _shape("DurableConfig")
    unknown = [f"DurableConfig has no {name}" for name in config.keys() - shape.members.keys()]
    missing = [f"{name} is missing" for name in {"ExecutionTimeout", "RetentionPeriodInDays"} - config.keys()]
    limits = {name: shape.members[name].metadata for name in config.keys() & shape.members.keys()}
    wrong = [
        f"{name} is {config[name]!r}"
        for name, limit in limits.items()
        if type(config[name]) is not int or not limit["min"] <= config[name] <= limit["max"]
    ]
    return unknown + missing + wrong


def problems(template: dict[str, Any]) -> list[str]:
    """Tell what keeps a CloudFormation template from being one durable function with an alias to invoke it by."""
    functions = _resources(template, "AWS::Lambda::Function")
    if len(functions) != 1:
        return [f"{len(functions)} functions"]
    ((name, function),) = functions.items()
    return [
        *durable_config_problems(function.get("DurableConfig", {})),
        *_runtime_problems(function),
        *_role_problems(template, function),
        *_alias_problems(template, name),
    ]


def _resources(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] == kind}


def _runtime_problems(function: dict[str, Any]) -> list[str]:
    found = []
    if function.get("PackageType") != "Image" and function.get("Runtime") not in DURABLE_RUNTIMES & {
        *_shape("Runtime").enum
    }:
        found.append(f"the runtime is {function.get('Runtime')}")
    if function.get("Architectures") not in [[architecture] for architecture in _shape("Architecture").enum]:
        found.append(f"the architectures are {function.get('Architectures')}")
    if not 1 <= function.get("Timeout", 0) <= 900:
        found.append(f"the timeout is {function.get('Timeout')}")
    return found


def _role_problems(template: dict[str, Any], function: dict[str, Any]) -> list[str]:
    role = template["Resources"][function["Role"]["Fn::GetAtt"][0]]["Properties"]
    policies = [json.dumps(policy) for policy in role["ManagedPolicyArns"]]
    return [] if len([policy for policy in policies if POLICY in policy]) == 1 else [f"the policies are {policies}"]


def _alias_problems(template: dict[str, Any], function: str) -> list[str]:
    versions = _resources(template, "AWS::Lambda::Version")
    aliases = _resources(template, "AWS::Lambda::Alias")
    named = {
        name
        for name, alias in aliases.items()
        if alias["FunctionName"] == {"Ref": function}
        and (version := alias["FunctionVersion"].get("Fn::GetAtt", [""])[0]) in versions
        and versions[version]["FunctionName"] == {"Ref": function}
    }
    outputs = {output["Value"].get("Ref") for output in template.get("Outputs", {}).values()}
    return [] if named & outputs else ["no output gives an alias on a version"]
