"""`WebRunner`: the local service on a port, its functions behind a Lambda endpoint, as the official web runner has it.

It is `perdure serve` for programs: the same service, the same API, and beside it the official runner's own doors, which
start an execution (``POST /start-durable-execution``), move the endpoint (``PUT /lambda-endpoint``) and tell that all
is well (``GET /health``). Users import it from `perdure.testing.runner`.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from perdure.local import Limits, LocalService, RealClock, VirtualClock
from perdure.local.functions import Function, Functions
from perdure.local.logs import FailureLog
from perdure.local.machine.errors import NOT_FOUND, Fault, refuse
from perdure.local.machine.execution import Origin
from perdure.local.machine.validation import EXECUTION_NAME, function_parts
from perdure.local.server.runtime import RemoteFunction
from perdure.testing._registry import Registry
from perdure.testing.exceptions import DurableFunctionsLocalRunnerError
from perdure.testing.invoker import DEFAULT_INVOCATION_TIMEOUT_SECONDS, INVOCATION_MARKER_HEADER
from perdure.testing.model import StartDurableExecutionInput
from perdure.testing.stores.base import StoreType
from perdure.testing.stores.filesystem import FileSystemExecutionStore
from perdure.testing.stores.memory import InMemoryExecutionStore
from perdure.testing.stores.sqlite import SQLiteExecutionStore

if TYPE_CHECKING:
    from perdure.local.server.http import LocalServer
    from perdure.local.store import Store
    from perdure.testing.child_dispatcher import FunctionConfigs
    from perdure.testing.web.server import WebServiceConfig

__all__ = ["WebRunner", "WebRunnerConfig"]

_OK, _CREATED = 200, 201
_TRACE = "X-Amzn-Trace-Id"


@dataclass(frozen=True)
class WebRunnerConfig:
    """What a `WebRunner` serves, and where.

    Args:
        web_service: Where it listens.
        lambda_endpoint: Where handlers are: ``…/2015-03-31/functions/NAME/invocations`` is called there, unsigned.
        local_runner_endpoint: Not used: handlers know by ``AWS_ENDPOINT_URL_LAMBDA`` where the service is.
        local_runner_region: Of the ARNs.
        local_runner_mode: Not used.
        store_type: Where executions are kept.
        store_path: The file or folder of the store, by default as the store has it.
        invocation_timeout_seconds: Of each invocation.
        skip_time: Let virtual time pass over waits.
        max_invocation_page_bytes: How large the event of an invocation may be; the rest of the history is paged.
        function_configs: The functions that durable functions invoke; without it, none can be.

    """

    web_service: WebServiceConfig
    lambda_endpoint: str = "http://127.0.0.1:3001"
    local_runner_endpoint: str = "http://0.0.0.0:5000"
    local_runner_region: str = "us-west-2"
    local_runner_mode: str = "local"
    store_type: StoreType = StoreType.MEMORY
    store_path: str | None = None
    invocation_timeout_seconds: int = DEFAULT_INVOCATION_TIMEOUT_SECONDS
    skip_time: bool = False
    max_invocation_page_bytes: int | None = None
    function_configs: FunctionConfigs | None = None


class WebRunner:
    """Serves the durable execution API for functions behind a Lambda endpoint. Needs the `local` extra.

        with WebRunner(WebRunnerConfig(WebServiceConfig(port=5000))) as runner:
            runner.serve_forever()

    Args:
        config: What, and where.

    """

    def __init__(self, config: WebRunnerConfig) -> None:
        self._config = config
        self._endpoint = config.lambda_endpoint
        self._server: LocalServer | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def url(self) -> str:
        """Where it is reached.

        Raises:
            DurableFunctionsLocalRunnerError: If it does not run.

        """
        return self._running().url

    def start(self) -> None:
        """Listen, and go on with what the store has.

        Raises:
            DurableFunctionsLocalRunnerError: If it runs already, or the `local` extra is missing.
            OSError: If the port is taken, or the address is not of this machine.

        """
        if self._server is not None:
            raise DurableFunctionsLocalRunnerError("The server runs already: stop() it first.")
        try:
            from perdure.local.server.http import LocalServer, listen  # noqa: PLC0415  slow to import, and needs the extra
        except ModuleNotFoundError as missing:
            raise DurableFunctionsLocalRunnerError(
                f"WebRunner needs {missing.name}: pip install 'perdure[local]'"
            ) from missing
        config, web = self._config, self._config.web_service
        logging.getLogger("perdure.local").setLevel(web.log_level)
        listening = listen(web.host, web.port)
        try:
            service = self._open()
            doors = {
                ("POST", "/start-durable-execution"): self._start_execution,
                ("PUT", "/lambda-endpoint"): self._move,
                ("GET", "/health"): lambda _: (_OK, {"status": "healthy"}),
                ("GET", "/metrics"): lambda _: (_OK, {"metrics": {}}),
            }
            self._server = LocalServer(service, web.host, listening=listening, doors=doors)
        except BaseException:
            listening.close()
            raise
        registry = Registry(service, config.invocation_timeout_seconds)
        for name, known in (config.function_configs.by_name if config.function_configs else {}).items():
            options: dict[str, Any] = {"durable": known.is_durable}
            if known.is_durable:
                options["execution_timeout"] = known.execution_timeout_seconds
                options["retention_days"] = known.retention_period_days
            registry.add(name, self._function(name, mark=known.is_durable), **options)
        for handle in list(service.handles.values()):
            self._register(service, function_parts(handle.machine.function_arn)[0])
        self._server.start()

    def serve_forever(self) -> None:
        """Wait until somebody stops it, or Ctrl-C.

        Raises:
            DurableFunctionsLocalRunnerError: If it does not run.

        """
        self._running().wait()

    def stop(self) -> None:
        """Stop listening and let go of the store; nothing, if it does not run."""
        server, self._server = self._server, None
        if server is not None:
            try:
                server.stop()
            finally:
                server.service.close()

    def _running(self) -> LocalServer:
        if self._server is None:
            raise DurableFunctionsLocalRunnerError("The server does not run: start() it first.")
        return self._server

    def _open(self) -> LocalService:
        config = self._config
        most = config.max_invocation_page_bytes
        return LocalService(
            store=_store(config),
            clock=VirtualClock() if config.skip_time else RealClock(),
            limits=Limits() if most is None else Limits(event_bytes=most),
            region=config.local_runner_region,
            record=False,
            failure_log=FailureLog(),
            functions=_Behind(),
        )

    def _register(self, service: LocalService, name: str, endpoint: str | None = None) -> None:
        """Make a durable function known that is behind the endpoint, or from now on behind another one."""
        if name not in service.functions or endpoint is not None:
            handler = self._function(name, mark=True, endpoint=endpoint)
            service.register(name, handler, timeout_seconds=self._config.invocation_timeout_seconds)

    def _function(self, name: str, *, mark: bool, endpoint: str | None = None) -> Any:
        """Make the handler of a function behind the endpoint, wherever that is when it is called."""
        headers = {INVOCATION_MARKER_HEADER: "true"} if mark else {}

        def handler(event: Any, context: Any) -> Any:
            place = (endpoint or self._endpoint).rstrip("/")
            return RemoteFunction(f"{place}/2015-03-31/functions/{quote(name)}/invocations", headers)(event, context)

        return handler

    # -- what is asked for beside the API ----------------------------------------------------------------------------

    def _start_execution(self, body: bytes) -> tuple[int, Any]:
        """Start an execution; a second one of the same name and event is the first, as on AWS."""
        service = self._running().service
        try:
            wanted = StartDurableExecutionInput.from_dict(_object(body))
        except KeyError as missing:
            refuse(f"The request lacks {missing.args[0]}.")
        try:
            self._register(service, function_parts(wanted.function_name)[0], wanted.lambda_endpoint)
        except ValueError as wrong:
            refuse(str(wrong))
        return _CREATED, {"ExecutionArn": _begun(service, wanted)}

    def _move(self, body: bytes) -> tuple[int, Any]:
        """Call handlers somewhere else from now on."""
        wanted = _object(body)
        place, region = wanted.get("EndpointUrl"), wanted.get("RegionName", self._config.local_runner_region)
        if region != self._config.local_runner_region:
            refuse(f"RegionName is {self._config.local_runner_region} here, not {region!r}.")
        try:
            RemoteFunction(str(place))
        except ValueError as wrong:
            refuse(f"EndpointUrl: {wrong}")
        self._endpoint = str(place)
        return _OK, {"message": "Handlers are called there from now on."}


class _Behind(Functions):
    """The functions behind the endpoint; those that are invoked must be told of."""

    def at(self, name: str, version: str) -> Function:
        """Return a function."""
        if name not in self:
            raise Fault(
                NOT_FOUND,
                f"Function not found: {name}. What durable functions invoke is to be told of in "
                "WebRunnerConfig(function_configs=...).",
            )
        return super().at(name, version)


def _store(config: WebRunnerConfig) -> Store:
    if config.store_type is StoreType.SQLITE:
        return SQLiteExecutionStore.create_and_initialize(config.store_path)
    if config.store_type is StoreType.FILESYSTEM:
        return FileSystemExecutionStore.create(None if config.store_path is None else Path(config.store_path))
    return InMemoryExecutionStore()


def _object(body: bytes) -> dict[str, Any]:
    try:
        read = json.loads(body)
    except ValueError:
        read = None
    if not isinstance(read, dict) or not read:
        refuse("The body of the request is to be a JSON object.")
    return read


def _begun(service: LocalService, wanted: StartDurableExecutionInput) -> str:
    """Begin what is wanted; give its ARN."""
    if EXECUTION_NAME.fullmatch(wanted.execution_name) is None:
        refuse(f"{wanted.execution_name!r} is no name of an execution: 1 to 64 letters, digits, - and _.")
    origin = Origin(None, wanted.tenant_id, (wanted.trace_fields or {}).get(_TRACE))
    with service.wake:
        function = service.functions.resolve(wanted.function_name, wanted.function_qualifier or None)
        function = replace(function, retention_days=wanted.execution_retention_period_days)
        seconds = float(wanted.execution_timeout_seconds)
        try:
            return service.executions.begin(function, wanted.input, wanted.execution_name, origin, seconds).arn
        finally:
            service.executions.commit()
