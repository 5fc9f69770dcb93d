"""A local service with a few executions, and the commands in front of it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import typer.rich_utils  # noqa: F401  it looks at the environment once, when imported: not at that of some test
from typer.testing import CliRunner

from perdure import DurableContext, durable_execution
from perdure.cli import acting, viewing
from perdure.cli.commands import app
from perdure.config import Duration, JitterStrategy, StepConfig
from perdure.local import LocalService, VirtualClock
from perdure.retries import RetryStrategyConfig, create_retry_strategy
from support.hostile import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

assert acting.app is viewing.app is app  # importing them adds the commands


@dataclass(frozen=True)
class Said:
    """What a command has printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def service(clock: VirtualClock) -> LocalService:
    service = LocalService(clock=clock)
    attempts: list[int] = []
    retry = create_retry_strategy(
        RetryStrategyConfig(
            max_attempts=3, initial_delay=Duration.from_seconds(10), jitter_strategy=JitterStrategy.NONE
        )
    )

    def charge(_: object) -> str:
        clock.advance(2)
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("nobody at the counter")
        return "receipt"

    @durable_execution
    def order(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
        context.step(charge, name="charge", config=StepConfig(retry_strategy=retry))
        context.wait(timedelta(days=2), name="cooling off")
        context.run_in_child_context(lambda child: child.step(lambda _: clock.advance(1), name="print"), name="label")
        return {"event": event}

    @durable_execution
    def ask(event: dict[str, Any], context: DurableContext) -> str:
        return context.wait_for_callback(lambda _id, _context: None, name="approval", timeout=timedelta(days=1))

    @durable_execution
    def bad(event: dict[str, Any], context: DurableContext) -> None:
        context.step(lambda _: 1, name=HOSTILE)
        raise ValueError(f"no {HOSTILE}")

    @durable_execution
    def stuck(event: dict[str, Any], context: DurableContext) -> None:
        context.create_callback().result()

    service.register("stuck", stuck)
    service.register("order", order).register("ask", ask).register("bad", bad)
    service.register("double", lambda event, _context: event * 2, durable=False)
    return service


@pytest.fixture
def cli(service: LocalService) -> Callable[..., Said]:
    """Run a command against the service, or against another client."""

    def run(*arguments: str, client: Any = None, given: str | None = None, env: dict[str, str] | None = None) -> Said:
        result = CliRunner().invoke(
            app,
            list(arguments),
            obj=client or service.client,
            input=given,
            env={"TZ": "UTC", "COLUMNS": "160", **(env or {})},
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def arn(service: LocalService) -> str:
    """An execution of `order` that has succeeded."""
    return service.run("order", event={"id": 7}, name="o-1").arn


@pytest.fixture
def asking(service: LocalService) -> str:
    """An execution of `ask` that waits for its callback."""
    return service.run("ask", event={}, name="a-1", stop_at_callback=True).arn


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stand in one time zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
