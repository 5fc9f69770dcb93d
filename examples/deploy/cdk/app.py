"""A durable function with the CDK: `cdk deploy` in this folder."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

app = cdk.App()
stack = cdk.Stack(app, "Orders")
function = lambda_.Function(
    stack,
    "Orders",
    function_name="orders",
    code=lambda_.Code.from_asset(str(Path(__file__).parents[1] / "build")),
    handler="app.handler",
    runtime=lambda_.Runtime.PYTHON_3_13,
    architecture=lambda_.Architecture.X86_64,
    memory_size=512,
    timeout=cdk.Duration.seconds(60),  # of one invocation
    durable_config=lambda_.DurableConfig(  # the CDK gives the role AWSLambdaBasicDurableExecutionRolePolicy for it
        execution_timeout=cdk.Duration.days(1),  # of a whole execution with its waits
        retention_period=cdk.Duration.days(14),
    ),
)
alias = function.add_alias("live")  # on a version that is published with each deployment
cdk.CfnOutput(stack, "Invoke", value=alias.function_arn)
app.synth()
