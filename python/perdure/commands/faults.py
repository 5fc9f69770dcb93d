"""What botocore and the service raise, told to the user of a command: what happened, and what to do next."""

from __future__ import annotations

from typing import Any

from perdure.commands.codes import BLOCKED, REFUSED, USAGE, CommandError

_NOT_FOUND = frozenset({"ResourceNotFoundException"})
_THROTTLED = frozenset({"TooManyRequestsException", "ThrottlingException", "Throttling", "RequestLimitExceeded"})
_HINTS = {
    "AccessDeniedException": "The credentials in use lack the permission for this action; see the message.",
    "UnrecognizedClientException": "The credentials in use are not known to AWS; check the profile and the region.",
    "ExpiredTokenException": "The credentials have expired; sign in again.",
    "InvalidSignatureException": "Check the credentials, and the clock of this machine.",
    "DurableExecutionAlreadyStartedException": "An execution's name belongs to one payload; give another --name.",
    "CallbackTimeoutException": "The callback has been answered, or has timed out.",
    "ResourceConflictException": "`perdure show` tells the status that the execution has now.",
}
_CREDENTIALS = "Set AWS_PROFILE, give --profile, or sign in; a local service takes --endpoint URL and no credentials."
_SLOW = "Use --event to start an execution without waiting, then `perdure show --follow`."
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


def throttled(problem: BaseException) -> bool:
    """Tell whether the service asks for patience."""
    return _code(problem) in _THROTTLED


def explain(problem: Exception) -> CommandError | None:
    """Turn what a client raised into the end of a command; None for what is nobody's but ours."""
    if isinstance(problem, CommandError):
        return problem
    code = _code(problem)
    if code is not None:
        return _refusal(code, problem)
    return _failure(problem)


def _code(problem: BaseException) -> str | None:
    response: Any = getattr(problem, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return None if code is None else str(code)


def _refusal(code: str, problem: Exception) -> CommandError:
    response: Any = getattr(problem, "response", {})
    message = str(response["Error"].get("Message") or response.get("message") or response.get("Message") or problem)
    if code in _NOT_FOUND:
        return CommandError(f"Not found: {message}", BLOCKED, code)
    if code in _THROTTLED:
        hint = "Wait a little, then try again; with --follow, a longer --interval asks less often."
        return CommandError(f"The service throttles: {message}", REFUSED, code, hint)
    return CommandError(f"The service refused the request ({code}): {message}", REFUSED, code, _HINTS.get(code, ""))


def _failure(problem: Exception) -> CommandError | None:
    from botocore import exceptions  # type: ignore[import-untyped]  # noqa: PLC0415 - slow to import

    name, text = type(problem).__name__, str(problem)
    if name in _NO_CREDENTIALS:
        return CommandError(f"No credentials for AWS: {text}", USAGE, "NoCredentials", _CREDENTIALS)
    told: tuple[tuple[Any, str, int, str, str], ...] = (
        (exceptions.NoRegionError, "No AWS region is set.", USAGE, "NoRegion", "Give --region, or set AWS_REGION."),
        (exceptions.ParamValidationError, text, USAGE, "ParamValidation", ""),
        (exceptions.ReadTimeoutError, f"The service did not answer in time: {text}", REFUSED, "ReadTimeout", _SLOW),
        (exceptions.HTTPClientError, f"The service cannot be reached: {text}", REFUSED, "NotReachable", _AWAY),
        (exceptions.ConnectionError, f"The service cannot be reached: {text}", REFUSED, "NotReachable", _AWAY),
        (exceptions.BotoCoreError, text, REFUSED, name, ""),
    )
    found = next((entry for entry in told if isinstance(problem, entry[0])), None)
    return None if found is None else CommandError(*found[1:])
