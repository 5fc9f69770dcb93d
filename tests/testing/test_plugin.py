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


def test_a_failed_test_names_the_line_where_a_handler_raised(run):
    result = run(
        """
    @durable_execution
    def broken(event, context):
        return context.invoke("other", event, name="call")

    def other(event, context):
        return event["sku"]

    @pytest.mark.durable(handler=broken, functions={"other": other})
    def test_looking(durable):
        result = durable.run(event={})
        assert result.status.value == "SUCCEEDED"

    @pytest.mark.durable(handler=broken, functions={"other": other})
    def test_asking(durable):
        durable.run(event={}).value
    """
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*_ test_looking _*",
            "*durable executions*",
            "execution-name FAILED after 0 ms in 2 invocations with InvokeError: 'sku'",
            "raised at *test_a_failed_test_names_the_line_where_a_handler_raised.py:*in broken",
            "because of KeyError, raised at *.py:* in other",
            "└─ call *",
            "*_ test_asking _*",
            '>*return event?"sku"?',
            "E *KeyError: 'sku'",
            '>*return context.invoke("other", event, name="call")',
            ">*durable.run(event={}).value",
            "E *DurableFunctionsTestError: the execution has no value, it FAILED: InvokeError: 'sku'",
        ]
    )
    asking = result.stdout.str().partition("_ test_asking _")[2]
    assert "perdure/testing" not in asking
    assert "perdure/operations" not in asking
    assert "durable executions" not in asking


def test_a_test_that_times_out_shows_what_keeps_failing(run):
    result = run(
        """
    from perdure.exceptions import InvocationError

    @durable_execution
    def sick(event, context):
        raise InvocationError("the service is sick")

    def test_it(durable):
        durable(sick, skip_time=False).run(timeout=timedelta(seconds=0.2))
    """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['>*raise InvocationError("the service is sick")', "*TimeoutError: The execution did*"])
    assert "perdure/testing" not in result.stdout.str()
    assert "durable executions" not in result.stdout.str()


def test_an_exception_without_words_spoils_no_report(run):
    result = run(
        """
    class Silent(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    def test_of_its_own(durable):
        durable(durable_execution(lambda event, context: 1)).run()
        raise Silent

    def test_of_the_handler(durable):
        @durable_execution
        def silent(event, context):
            raise Silent

        durable(silent).run().value
    """
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["execution-name SUCCEEDED *", "E *FAILED: Silent: *", "E *raised at *in silent"])


def test_the_marker_takes_lengths_of_time_and_durable_functions(run):
    result = run(
        """
    from perdure.config import Duration

    @durable_execution
    def child(event, context):
        context.wait(event)
        return "waited"

    @durable_execution
    def parent(event, context):
        return context.invoke("child", event)

    pytestmark = pytest.mark.durable(handler=parent, functions={"child": child}, patience=timedelta(seconds=1))

    @pytest.mark.durable(execution_timeout=timedelta(hours=1), invocation_timeout=Duration.from_minutes(1))
    def test_it(durable):
        assert durable.run(event=60).value == "waited"
        assert durable.run(event=7200).execution_status.value == "TIMED_OUT"

    @pytest.mark.durable(execution_timeout="1h")
    def test_refused(durable):
        with pytest.raises(TypeError, match="execution_timeout must be a Duration"):
            durable.run(event=60)
    """
    )
    result.assert_outcomes(passed=2)


def test_an_option_that_is_misspelt_is_refused(run):
    result = run(
        """
    @pytest.mark.durable(handler=handler, execution_timout=5)
    def test_of_the_marker(durable):
        durable.run()

    def test_of_the_call(durable):
        durable(handler, mock={"pricing": 1})

    def test_of_none(durable):
        durable(handler, colour="red")
    """
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "*UsageError: durable has no option 'execution_timout': did you mean execution_timeout?",
            "*UsageError: durable has no option 'mock': did you mean mocks?",
            "*UsageError: durable has no option 'colour': it takes handler, functions, mocks, answers, *",
        ]
    )


def test_what_a_runner_has_is_asked_of_the_runner(run):
    result = run(
        """
    def test_it(durable):
        with pytest.raises(AttributeError, match="as durable.runner.mock_invoke"):
            durable.mock_invoke("pricing", returns=1)
        assert not hasattr(durable, "advance")
    """
    )
    result.assert_outcomes(passed=1)


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
