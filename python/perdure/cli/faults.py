"""What botocore and the service raise, told to the user of a command: what happened, and what to do next."""

from __future__ import annotations

import re
from typing import Any

from perdure.cli.codes import BLOCKED, REFUSED, USAGE, CommandError

_NOT_FOUND = frozenset({"ResourceNotFoundException"})
_THROTTLED = frozenset({"TooManyRequestsException", "ThrottlingException", "Throttling", "RequestLimitExceeded"})
_HINTS = {
    "AccessDeniedException": "The credentials in use lack the permission for this action; see the message.",
    "UnrecognizedClientException": "The credentials in use are not known to AWS; check the profile and the region.",
    "ExpiredTokenException": "The credentials have expired; sign in again.",
    "InvalidSignatureException": "Check the credentials, and the clock of this machine.",
    "DurableExecutionAlreadyStartedException": "An execution's name belongs to one payload; give another --name.",
    "CallbackTimeoutException": "The callback has been answered, or has timed out.",
    "ResourceConflictException": "`perdure show EXECUTION` tells the status that the execution has now.",
}
_CREDENTIALS = "Set AWS_PROFILE, give --profile, or sign in; a local service takes --endpoint URL and no credentials."
_SLOW = "Use --event to start an execution without waiting, then `perdure show --follow`."
_SILENT = "Is it a Lambda endpoint, or `perdure serve`? Check --endpoint and the network, or try again."
_NO_REGION = "Give --region, or set AWS_REGION; a local service takes --endpoint http://127.0.0.1:9000 and no region."
_AWAY = "Is `perdure serve` running there? Else check --endpoint and the network."
_NO_CREDENTIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "NoAuthTokenError",
        "TokenRetrievalError",
        "SSOTokenLoadError",
        "UnauthorizedSSOTokenError",
        "LoginRefreshRequired",
        "ProfileNotFound",
        "ConfigNotFound",
    }
)
_FUNCTION = "`perdure serve` tells the functions of a local service; on AWS, check the name, --region and --profile."
_EXECUTION = "`perdure list FUNCTION` shows the executions of a function; those that ended are kept for a while only."
_CALLBACK = "`perdure show EXECUTION` tells the ids of callbacks that wait for an answer."
_MISSING = {"Invoke": _FUNCTION, "ListDurableExecutionsByFunction": _FUNCTION}
# What AWS and the local service say of a value that does not match a pattern; nobody wants to read the pattern.
_MISMATCH = re.compile(
    r"'(?P<value>[^']*)' at '?(?P<member>\w+)'? (?:must match|failed to satisfy constraint: Member must satisfy reg)"
)
_FORMS = {
    "functionname": ("a function", "Give NAME, NAME:VERSION, or the ARN of a function."),
    "durableexecutionarn": (
        "the ARN of a durable execution",
        "FUNCTION/NAME stands for the ARN; `perdure list FUNCTION` prints it for each.",
    ),
    "durableexecutionname": ("the name of an execution", "A name has letters, digits, - and _."),
    "qualifier": ("a version or an alias", "A version is a number or $LATEST; an alias has letters, digits, - and _."),
    "callbackid": ("the id of a callback", _CALLBACK),
}
_PATH = re.compile(r"(https?://[^/\s\"]+)/[^\s\"]*")


def throttled(problem: BaseException) -> bool:
    """Tell whether the service asks for patience."""
    return _code(problem) in _THROTTLED


def denied(problem: BaseException) -> bool:
    """Tell whether the service says that one may not do this."""
    return _code(problem) == "AccessDeniedException"


def stopped(problem: BaseException) -> bool:
    """Tell whether a local service was stopped while somebody waited for its answer."""
    return _code(problem) == "ServiceException" and "local service was stopped" in str(problem)


def unanswered(problem: BaseException) -> bool:
    """Tell whether a request was sent that may have been carried out, since nobody knows what came of it."""
    from botocore import exceptions  # type: ignore[import-untyped]  # noqa: PLC0415 - slow to import

    broken_off = (exceptions.ReadTimeoutError, exceptions.ConnectionClosedError)
    return isinstance(problem, broken_off) or (_code(problem) == "ServiceException" and not stopped(problem))


def not_lambda(status: int, kind: str) -> CommandError:
    """Say that somebody else has answered."""
    message = f"What answered (HTTP {status}, {kind or 'without a type'}) is no Lambda endpoint."
    return CommandError(message, REFUSED, "NotLambda", "Check --endpoint, or AWS_ENDPOINT_URL_LAMBDA, and the port.")


def explain(problem: Exception, *, patient: bool = False) -> CommandError | None:
    """Turn what a client raised into the end of a command; None for what is nobody's but ours.

    Args:
        problem: What it raised.
        patient: The command has waited for the end of an invocation.

    """
    if isinstance(problem, CommandError):
        return problem
    code = _code(problem)
    if code is not None:
        return _refusal(code, problem)
    return _failure(problem, patient=patient)


def _code(problem: BaseException) -> str | None:
    response: Any = getattr(problem, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return None if code is None else str(code)


def _refusal(code: str, problem: Exception) -> CommandError:
    response: Any = getattr(problem, "response", {})
    message = str(response["Error"].get("Message") or response.get("message") or response.get("Message") or problem)
    if code.isdigit():  # every error of Lambda has a name
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return not_lambda(int(code), str(headers.get("content-type", "")).partition(";")[0])
    if code in _NOT_FOUND:
        told = message if "not found" in message.lower() else f"Not found: {message}"
        callback = "callback" in message.lower()
        hint = _MISSING.get(getattr(problem, "operation_name", ""), _CALLBACK if callback else _EXECUTION)
        return CommandError(told, BLOCKED, code, hint)
    if code in _THROTTLED:
        hint = "Wait a little, then try again; with --follow, a longer --interval asks less often."
        return CommandError(f"The service throttles: {message}", REFUSED, code, hint)
    hint = _HINTS.get(code, "")
    if mismatch := _MISMATCH.search(message):
        words, hint = _FORMS.get(mismatch["member"].lower(), (mismatch["member"], hint))
        message = f"{mismatch['value']!r} is not {words}."
    return CommandError(f"The service refused the request ({code}): {message}", REFUSED, code, hint)


def _failure(problem: Exception, *, patient: bool) -> CommandError | None:
    from botocore import exceptions  # noqa: PLC0415 - slow to import

    name, text = type(problem).__name__, _PATH.sub(r"\1", str(problem))
    if name in _NO_CREDENTIALS:
        return CommandError(f"No credentials for AWS: {text}", USAGE, "NoCredentials", _CREDENTIALS)
    slow = _SLOW if patient else _SILENT
    told: tuple[tuple[Any, str, int, str, str], ...] = (
        (exceptions.NoRegionError, "No AWS region is set.", USAGE, "NoRegion", _NO_REGION),
        (exceptions.ParamValidationError, text, USAGE, "ParamValidation", ""),
        (exceptions.ReadTimeoutError, f"The service did not answer in time: {text}", REFUSED, "ReadTimeout", slow),
        (exceptions.HTTPClientError, f"The service cannot be reached: {text}", REFUSED, "NotReachable", _AWAY),
        (exceptions.ConnectionError, f"The service cannot be reached: {text}", REFUSED, "NotReachable", _AWAY),
        (exceptions.BotoCoreError, text, REFUSED, name, ""),
    )
    found = next((entry for entry in told if isinstance(problem, entry[0])), None)
    return None if found is None else CommandError(*found[1:])
