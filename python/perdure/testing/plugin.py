"""The pytest plugin: the ``durable`` fixture and marker, and what executions did in the report of a test that fails.

It is found through its entry point; ``-p perdure.testing.plugin`` loads it by hand. With ``--perdure-compat``, or
``perdure_compat = true`` in the configuration, the official SDK's imports mean perdure; see `perdure.compat`.

    def test_by_hand(durable):
        with durable(handler) as runner:
            assert runner.run(event={"n": 1}).value == 2

    @pytest.mark.durable(handler=handler, execution_timeout=3600)
    def test_by_marker(durable):
        assert durable.run(event={"n": 1}).value == 2
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

import pytest

from perdure.testing import _recent

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from perdure.local import ExecutionHandle
    from perdure.testing._started import StartedExecution
    from perdure.testing.result import DurableFunctionTestResult
    from perdure.testing.runner import DurableFunctionTestRunner
    from perdure.types import DurableHandler

T = TypeVar("T")

SECTION = "durable executions"

_AROUND = ("functions", "mocks", "answers")
_MOST = 5


class Durable:
    """What the ``durable`` fixture gives: makes runners, and closes them when the test is over.

    Args:
        options: Those of each marker, the nearest last: the handler, functions to register by their names, durable ones
            as such, what mocks return by theirs, answers to callbacks by theirs, and arguments of the runner.

    """

    def __init__(self, *options: dict[str, Any]) -> None:
        self._options = options
        self._runners: list[DurableFunctionTestRunner[Any]] = []
        self._own: DurableFunctionTestRunner[Any] | None = None

    @overload
    def __call__(self, handler: DurableHandler[T], **options: Any) -> DurableFunctionTestRunner[T]: ...
    @overload
    def __call__(
        self, handler: Callable[[Any, Any], Any] | None = None, **options: Any
    ) -> DurableFunctionTestRunner[Any]: ...
    def __call__(
        self, handler: Callable[[Any, Any], Any] | None = None, **options: Any
    ) -> DurableFunctionTestRunner[Any]:
        """Make a runner, of the handler given here or by the marker; options here go before those of the marker."""
        __tracebackhide__ = True
        from perdure.testing._checks import is_durable  # noqa: PLC0415  only for tests that use it
        from perdure.testing.runner import DurableFunctionTestRunner  # noqa: PLC0415  only for tests that use it

        levels = [*self._options, options]
        _refuse_unknown(levels, DurableFunctionTestRunner)
        for level in levels:
            for key in _AROUND:
                if not isinstance(level.get(key) or {}, Mapping):
                    raise pytest.UsageError(
                        f"{key} of durable is a dict by name, such as {key}={{{'name'!r}: ...}}, not {level[key]!r}"
                    )
        merged = {key: value for level in levels for key, value in level.items() if key not in _AROUND}
        made_of = merged.pop("handler", None)
        if handler is None and made_of is None:
            raise pytest.UsageError(
                "durable needs a handler: call durable(handler), or mark the test with "
                "@pytest.mark.durable(handler=...)"
            )
        runner = DurableFunctionTestRunner(handler or made_of, **merged)
        self._runners.append(runner)
        for level in levels:
            for name, function in (level.get("functions") or {}).items():
                register = runner.register_durable_function if is_durable(function) else runner.register_function
                register(name, function)
            for name, returns in (level.get("mocks") or {}).items():
                runner.mock_invoke(name, returns=returns)
            for name, result in (level.get("answers") or {}).items():
                runner.answer_callback(name, result)
        return runner

    @property
    def runner(self) -> DurableFunctionTestRunner[Any]:
        """The test's own runner, of the marker's handler."""
        __tracebackhide__ = True
        if self._own is None:
            self._own = self()
        return self._own

    def run(self, *arguments: Any, **options: Any) -> DurableFunctionTestResult[Any]:
        """Run an execution on the test's own runner; see `DurableFunctionTestRunner.run`."""
        __tracebackhide__ = True
        return self.runner.run(*arguments, **options)

    def run_async(self, *arguments: Any, **options: Any) -> StartedExecution[DurableFunctionTestResult[Any]]:
        """Start an execution on the test's own runner, to be awaited; see `DurableFunctionTestRunner.run_async`."""
        __tracebackhide__ = True
        return self.runner.run_async(*arguments, **options)

    def close(self) -> None:
        """Close all runners."""
        for runner in self._runners:
            runner.close()

    def __getattr__(self, name: str) -> Any:
        __tracebackhide__ = True
        raise AttributeError(
            f"the durable fixture has no {name!r}: what a runner has, the test's own has as durable.runner.{name}",
            name=name,
            obj=self,
        )


def _refuse_unknown(levels: list[dict[str, Any]], runner: type) -> None:
    """Refuse options that nobody takes, such as misspelt ones."""
    __tracebackhide__ = True
    known = ["handler", *_AROUND, *list(inspect.signature(runner).parameters)[1:]]
    for name in (name for level in levels for name in level if name not in known):
        similar = difflib.get_close_matches(name, known, 1)
        meant = f"did you mean {similar[0]}?" if similar else f"it takes {', '.join(known)}"
        raise pytest.UsageError(f"durable has no option {name!r}: {meant}")


@pytest.fixture
def durable(request: pytest.FixtureRequest) -> Iterator[Durable]:
    """Make runners of durable functions, with the options of the ``durable`` marker, and close them in the end."""
    markers = list(request.node.iter_markers("durable"))[::-1]
    if any(marker.args for marker in markers):
        raise pytest.UsageError("the durable marker takes keyword arguments only: durable(handler=...)")
    made = Durable(*(marker.kwargs for marker in markers))
    yield made
    made.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option, and its twin in the configuration, by which the official SDK's imports mean perdure."""
    told = "let the official SDK's imports mean perdure, as `import perdure.compat` does"
    parser.getgroup("perdure").addoption("--perdure-compat", action="store_true", help=told)
    parser.addini("perdure_compat", told, type="bool", default=False)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Do what the option says before anything of the tests is imported."""
    if early_config.known_args_namespace.perdure_compat or early_config.getini("perdure_compat"):
        try:
            import perdure.compat  # noqa: F401, PLC0415  whose import is what it does
        except ImportError as too_late:
            raise pytest.UsageError(str(too_late)) from None


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "durable(*, handler, functions, mocks, answers, **options): what the durable fixture runs, and how",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget the executions of the test before; warn of a marker that does nothing."""
    _recent.watch()
    marked = any(marker.name == "durable" for marker in item.own_markers)  # a class's serves those that want it
    if marked and "durable" not in getattr(item, "fixturenames", ()):
        item.warn(pytest.PytestWarning(f"{item.name} has the durable marker, but does not ask for the durable fixture"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,  # noqa: ARG001  the hook's signature
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the executions of a failed test did."""
    report = yield
    if report.failed and _recent.started:
        told = "" if call.excinfo is None else call.excinfo.exconly()  # which no exception can spoil
        described = map(_describe, _recent.started[-_MOST:])
        trees = ["\n".join(filter(None, lines)) for lines in described if (lines[-1] or _outcome(lines[0])) not in told]
        if left_out := len(_recent.started[:-_MOST]):
            trees.insert(0, f"({left_out} earlier ones are not shown)")
        if trees:
            report.sections.append((SECTION, "\n\n".join(trees)))
    return report


def _describe(handle: ExecutionHandle) -> list[str]:
    """Give the line of an execution, which for one that has ended says how, where it failed, and its operations."""
    from perdure.testing._failures import places_of  # noqa: PLC0415  only for failures
    from perdure.testing._status_text import obstacle_of  # noqa: PLC0415  only for failures
    from perdure.testing.result import DurableFunctionTestResult, operations_of  # noqa: PLC0415  only for failures
    from perdure.testing.tree import render  # noqa: PLC0415  only for failures

    if handle.terminal:
        result = DurableFunctionTestResult[Any].create(handle)
        head, _, tree = result.tree().partition("\n")
        return [head, *places_of(result.failure), tree]
    return [f"{handle.name} is {handle.status}", *places_of(obstacle_of(handle)), render(operations_of(handle))]


def _outcome(head: str) -> str:
    """Give the part of an execution's line that stands in the message of an error, too."""
    return head.partition(" with ")[0]
