"""The contenders: perdure, the official SDK as it is, the official SDK without its waits, and bare loops.

The unmodified official SDK is what users have. Its return from an invocation waits for up to 100 ms, and a caller
blocked on a checkpoint looks every 1 ms; so that nobody has to take those waits for the whole story, it also runs with
both shortened to 0.1 ms. Both are module constants; nothing else of it is touched.
"""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from peers.service import LambdaContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OFFICIAL_PACKAGE = "aws_durable_execution_sdk_python"
OTEL_PACKAGE = "aws_durable_execution_sdk_python_otel"
WAITS = ("_STOP_SIGNAL_POLL_SECONDS", "_BLOCKED_CALLER_WAIT_SECONDS")
PATCHED_SECONDS = 0.0001


LAMBDA_CONTEXT = LambdaContext()


@dataclass(frozen=True)
class Sdk:
    """One SDK, maybe with other waits.

    Attributes:
        name: In tables and results.
        package: What it is imported as.
        seconds: What its waits are set to; None leaves them alone.
        checkpointing: When it sends updates, if that can be chosen.

    """

    name: str
    package: str
    seconds: float | None = None
    checkpointing: str | None = None

    def module(self, name: str) -> Any:
        """Import one of its modules: both have them under the same names."""
        return importlib.import_module(f"{self.package}.{name}")

    def durable(
        self, body: Callable[[Any, Any], Any], client: Any, plugins: list[Any] | None = None
    ) -> Callable[[Any, Any], Any]:
        """Make a durable handler that talks to ``client``."""
        decorate = self.module("execution").durable_execution
        options: dict[str, Any] = {}
        if self.checkpointing is not None:
            options["checkpointing"] = self.module("config").Checkpointing(self.checkpointing)
        return decorate(boto3_client=client, plugins=plugins, **options)(body)  # type: ignore[no-any-return]

    def plugin(self, *, overrides: bool) -> Any:
        """Make a factory of plugins that do nothing, and override every hook or none."""
        base = self.module("plugin").DurableInstrumentationPlugin
        hooks = [name for name in vars(base) if not name.startswith("_")] if overrides else []
        plugin = type("Idle", (base,), dict.fromkeys(hooks, lambda _self, _info: None))
        return type("Factory", (), {"create_plugin": lambda _self, _info: plugin()})()

    def tracing(self) -> tuple[Any, Any]:
        """Make a factory of AWS's plugins for OpenTelemetry, and the exporter in memory that gets their spans.

        The package is imported once for each SDK: its imports of the official one mean the SDK that it is to run under.
        """
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  only for works with traces
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415

        with self._meant():
            package = importlib.import_module(OTEL_PACKAGE)
        exporter = InMemorySpanExporter()
        provider = TracerProvider(id_generator=package.DeterministicIdGenerator())
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return package.ExecutionOtelPluginFactory(package.OtelPluginConfig(tracer_provider=provider)), exporter

    @contextmanager
    def _meant(self) -> Iterator[None]:
        """Have the official SDK's names mean this SDK for what is imported meanwhile, which is forgotten again."""
        ours = self.package != OFFICIAL_PACKAGE
        names = (OFFICIAL_PACKAGE, OTEL_PACKAGE) if ours else (OTEL_PACKAGE,)

        def taken() -> dict[str, Any]:
            found = [
                name for name in sys.modules if name.startswith(tuple(f"{one}." for one in names)) or name in names
            ]
            return {name: sys.modules.pop(name) for name in found}

        kept = taken()
        try:
            if ours:
                importlib.import_module("perdure.compat").install()
            yield
        finally:
            if ours:
                importlib.import_module("perdure.compat").uninstall()
            taken()
            sys.modules.update(kept)

    def map_config(self, concurrency: int | None) -> Any:
        """Give the configuration of a map."""
        return self.module("config").MapConfig(max_concurrency=concurrency)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Set its waits while it runs."""
        if self.seconds is None:
            yield
            return
        state = self.module("state")
        before = {name: getattr(state, name) for name in WAITS}
        for name in WAITS:
            setattr(state, name, self.seconds)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(state, name, value)


PERDURE = Sdk("perdure", "perdure")
OFFICIAL = Sdk("official", OFFICIAL_PACKAGE)
PATCHED = Sdk("patched", OFFICIAL_PACKAGE, PATCHED_SECONDS)
SDKS = (PERDURE, OFFICIAL, PATCHED)
OPTIMISTIC = Sdk("perdure-optimistic", "perdure", checkpointing="OPTIMISTIC")


@dataclass(frozen=True)
class Bare:
    """A plain loop: no durability, no engine, only what cannot be left out."""

    name: str
    loads: Callable[[str], Any]
    dumps: Callable[[Any], str]

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Need nothing."""
        yield


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _orjson_text(value: Any) -> str:
    return orjson.dumps(value).decode()


JSON = Bare("json", json.loads, _compact)
ORJSON = Bare("orjson", orjson.loads, _orjson_text)
BARE = (JSON, ORJSON)
