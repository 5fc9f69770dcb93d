"""The function under perdure."""

from perdure import durable_execution
from wire.functions.body import body

handler = durable_execution(body)
