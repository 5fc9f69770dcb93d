"""The function under the official SDK."""

from aws_durable_execution_sdk_python import durable_execution

from wire.functions.body import body

handler = durable_execution(body)
