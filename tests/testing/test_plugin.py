"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

HANDLER = """
    import pytest
    from datetime import timedelta
    from perdure import durable_execution

    @durable_execution
    def handler(event, context):
        taken = context.step(lambda step: event["n"] + 1, name="take")
        context.wait(timedelta(days=1), name="sleep")
        priced = context.invoke("pricing", taken, name="price")
        return [priced, context.wait_for_callback(lambda callback_id, context: None, name="ask")]
"""


@pytest.fixture
def run(pytester: pytest.Pytester):
    def run(body: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(HANDLER + body)
        plugin = ("-p", "no:perdure", "-p", "perdure.testing.plugin")
        return pytester.runpytest_inprocess(*plugin, "-p", "no:cacheprovider", *arguments)

    return run


def test_the_fixture_makes_a_runner_of_a_handler_in_a_process_of_its_own(pytester):
    pytester.makepyfile(
        HANDLER
        + """
    def test_it(durable):
        with durable(handler) as runner:
            mocked = runner.mock_invoke("pricing", returns=lambda payload: payload * 10)
            runner.answer_callback("ask", "yes")
            assert runner.run(event={"n": 1}).value == [20, "yes"]
            assert mocked.calls == [2]

    def test_without_a_handler(durable):
        with pytest.raises(pytest.UsageError, match="needs a handler"):
            durable()
    """
    )
    result = pytester.runpytest_subprocess("-p", "no:perdure", "-p", "perdure.testing.plugin")
    result.assert_outcomes(passed=2)


def test_the_marker_says_what_to_run_and_what_is_around_it(run):
    result = run(
        """
    pytestmark = pytest.mark.durable(handler=handler, mocks={"pricing": 1}, answers={"ask": "no"})

    def test_it(durable):
        assert durable.run(event={"n": 1}).value == [1, "no"]
        assert durable.run(event={"n": 2}).facts.name == "execution-name-2"

    @pytest.mark.durable(mocks={"pricing": 5}, execution_timeout=7200)
    def test_the_nearer_marker_wins(durable):
        assert durable.run(event={"n": 1}).execution_status.value == "TIMED_OUT"

    @pytest.mark.durable(functions={"pricing": lambda payload, context: context.function_name})
    def test_a_function(durable):
        assert durable.run(event={"n": 1}).value[0] == "pricing"
    """,
        "--strict-markers",
    )
    result.assert_outcomes(passed=3)


def test_a_marker_with_a_positional_argument_is_refused(run):
    result = run(
        """
    @pytest.mark.durable("handler")
    def test_it(durable):
        pass
    """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*takes keyword arguments only*"])


def test_a_failed_test_shows_what_its_executions_did(run):
    result = run(
        """
    @pytest.mark.durable(handler=handler, mocks={"pricing": 3}, answers={"ask": "yes"})
    def test_it(durable):
        assert durable.run(event={"n": 1}).value == [4, "yes"]

    @pytest.mark.durable(handler=handler)
    def test_failing(durable):
        assert durable.run(event={"n": 1}).value

    @pytest.mark.durable(handler=handler, mocks={"pricing": 3})
    def test_stuck(durable):
        durable.run(event={"n": 1})

    def test_other(durable):
        assert False
    """
    )
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        [
            "*durable executions*",
            "execution-name SUCCEEDED after 1 d in 4 invocations",
            "├─ take *Step *SUCCEEDED*",
            "├─ sleep *Wait *SUCCEEDED  1 d",
            "├─ price *ChainedInvoke *",
            "*└─ ask submitter *",
            "*DurableFunctionsTestError: the execution has no value, it FAILED: *Function not found: pricing*",
            "*TimeoutError: The execution did not come to its end. execution-name is RUNNING. *the callback ask. *",
            "*_ test_other _*",
        ]
    )
    report = result.stdout.str()
    assert (
        report.count("── durable executions ──".replace("─", "-")) == 1
    )  # the messages of the others show their trees
    assert "durable executions" not in report.partition("_ test_failing _")[2]
    failing = report.partition("_ test_failing _")[2].partition("_ test_stuck _")[0]
    assert failing.count("└─ price") == 1


def test_of_very_many_executions_the_last_are_shown(run):
    result = run(
        """
    def test_it(durable):
        runner = durable(durable_execution(lambda event, context: context.step(lambda _: event, name=f"step-{event}")))
        for number in range(12):
            runner.run(event=number)
        assert False

    def test_few(durable):
        runner = durable(durable_execution(lambda event, context: context.step(lambda _: event, name=f"step-{event}")))
        for number in range(5):
            runner.run(event=number)
        assert False
    """
    )
    first, _, second = result.stdout.str().partition("_ test_few _")
    assert [number for number in range(12) if f"└─ step-{number} " in first] == [7, 8, 9, 10, 11]
    assert "(7 earlier ones are not shown)" in first
    assert [number for number in range(12) if f"└─ step-{number} " in second] == [0, 1, 2, 3, 4]
    assert "earlier ones" not in second


def test_exceptions_among_mocks_and_answers_fail_what_they_stand_for(run):
    result = run(
        """
    import perdure

    @durable_execution
    def failing(event, context):
        try:
            context.invoke("f", 1)
        except perdure.InvokeError as error:
            told = [error.error_type, error.message]
        try:
            context.wait_for_callback(lambda callback_id, context: None, name="ask")
        except perdure.CallbackError as error:
            return [*told, error.message]

    @pytest.mark.durable(handler=failing, mocks={"f": LookupError("lost")}, answers={"ask": ValueError("no")})
    def test_it(durable):
        assert durable.run().value == ["LookupError", "lost", "no"]
        fixed = durable(mocks={"f": KeyError("k")}).run().value
        assert fixed == ["KeyError", "'k'", "no"]
    """
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("key", ["mocks", "answers", "functions"])
def test_what_stands_around_is_given_by_name(run, key):
    result = run(
        f"""
    @pytest.mark.durable(handler=handler, {key}=["dep"])
    def test_it(durable):
        durable.run()
    """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*UsageError: {key} of durable is a dict by name, *, not ?'dep'?*"])


def test_a_marker_without_the_fixture_warns(run):
    result = run(
        """
    @pytest.mark.durable(handler=handler)
    def test_it():
        pass

    @pytest.mark.durable(handler=handler)
    class TestOfAClass:
        def test_it(self):
            pass
    """,
        "-Wdefault",
    )
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*test_it has the durable marker, but does not ask for the durable fixture*"])


def test_a_test_that_passes_shows_nothing(run):
    result = run(
        """
    @pytest.mark.durable(handler=handler, mocks={"pricing": 3}, answers={"ask": "yes"})
    def test_it(durable):
        durable.run(event={"n": 1})
    """,
        "-rA",
    )
    result.assert_outcomes(passed=1)
    assert "durable executions" not in result.stdout.str()
