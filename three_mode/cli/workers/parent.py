"""`three-mode serve --workers N`: keeps the port, puts local models on a bus, and runs the workers."""

from contextlib import AsyncExitStack

from rich.console import Console
from rich.markup import escape

from three_mode.agents import Orchestrator, OrchestratorOptions
from three_mode.agents.supervisor.hosts import HostOptions, search_path
from three_mode.cli.console import tell
from three_mode.cli.load_flags import connection_options
from three_mode.cli.serve_given import Given, is_local
from three_mode.cli.workers.order import WorkerOrder, written_options
from three_mode.cli.workers.team import Workers
from three_mode.connection import LLMConnection
from three_mode.errors import ConfigurationError
from three_mode.serve.ports import kept_ports
from three_mode.serve.server import until_signalled

MOST = 256
_STARTED = 120.0  # seconds that the process of a model has to start
_GRACE = 5.0  # seconds that a worker has to end, beyond those for requests that run


async def serve_in_workers(given: Given, console: Console) -> None:
    """Serves until SIGTERM or Ctrl-C; then each worker drains."""
    count, settings = given.table.workers, given.settings
    if count is None or not 1 <= count <= MOST:
        raise ConfigurationError(f"workers are between 1 and {MOST}, not {count}")
    if isinstance(settings.grpc, str):
        raise ConfigurationError("several workers do not share a Unix socket", hint="--grpc PORT, or one worker")
    async with AsyncExitStack() as stack:
        stack.enter_context(kept_ports(settings))
        bus, models = await _models_on_a_bus(given, console, stack)
        order = WorkerOrder(written_options(given.options), search_path(), bus, models)
        workers = Workers(count, order, settings.drain_within + _GRACE, lambda line: tell(console, [line]))
        stack.push_async_callback(workers.stop)
        tell(console, [*await workers.start(), f"{count} workers"])
        await until_signalled()
        console.print("draining")


async def _models_on_a_bus(given: Given, console: Console, stack: AsyncExitStack) -> tuple[str, dict[str, str]]:
    """Loads the local models, each once, in a process of its own. Returns the bus and their addresses there."""
    options = connection_options(given.options)
    async with LLMConnection(given.options.provider, base_url=given.options.base_url, options=options) as connection:
        local = {name: address for name, address in given.models.items() if is_local(connection, address)}
    if not local or given.table.bus:
        return "", {}
    patient = OrchestratorOptions(hosts=HostOptions(start_within=_STARTED))
    orc = await stack.enter_async_context(Orchestrator(hosts=0, llm=options, options=patient))
    addresses = {}
    for number, (name, address) in enumerate(local.items(), 1):
        with console.status(f"loading {escape(name)}"):
            await orc.model(address, name=f"model-{number}")
        addresses[name] = f"agent:model-{number}"
    return orc.name, addresses
