"""The official SDK's imports mean perdure: for programs of which no line is to change.

    import perdure.compat  # before anything that imports the official SDK

From then on ``aws_durable_execution_sdk_python`` is `perdure`, and ``aws_durable_execution_sdk_python_testing`` is
`perdure.testing`, with all that is below them, whether the official SDK is installed or not. They are the same modules,
so that classes, enums and exceptions are the same, too.

Where there is no line to write: ``PERDURE_COMPAT=1`` in the environment has every Python do this at its start in whose
site-packages perdure is installed; pytest has ``--perdure-compat``. On Lambda, where packages lie beside the program,
``perdure.compat.handler`` as the function's handler does it, and goes on with the one that ``PERDURE_HANDLER`` names.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from perdure._aliases import CompatError, install, is_installed, uninstall

__all__ = ["CompatError", "install", "is_installed", "uninstall"]


def __getattr__(name: str) -> Any:
    """Give the ``handler`` of a Lambda function whose own is named by ``PERDURE_HANDLER``."""
    if name != "handler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    wanted = os.environ.get("PERDURE_HANDLER", "")
    module, dot, function = wanted.rpartition(".")
    if not dot:
        raise AttributeError(
            f"perdure.compat.handler needs PERDURE_HANDLER in the environment: the program's own handler, such as "
            f"order.handler, not {wanted!r}"
        )
    return getattr(import_module(module.replace("/", ".")), function)


install()
