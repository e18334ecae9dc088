"""Subcommand `three-mode serve`: an endpoint for models and agents, until SIGTERM or Ctrl-C.

Requests that run at that moment may finish.
"""

import argparse
import asyncio
import gc
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from msgspec.structs import replace
from rich.console import Console
from rich.markup import escape

from three_mode.cli.access_lines import access_lines
from three_mode.cli.console import open_console, tell
from three_mode.cli.joining import address_on, join
from three_mode.cli.load_flags import add_load_arguments, connection_options
from three_mode.cli.loaded import loaded_words
from three_mode.cli.serve_given import DEFAULTS, KEYS, Given, given_of, is_local
from three_mode.config import Sources
from three_mode.config.tables import fields_of
from three_mode.conversations import Conversations
from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.modes import CommunicationMode
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.serve.backend import Backend
from three_mode.serve.bus_verbs import BusVerbs
from three_mode.serve.conversations import ConversationBackend
from three_mode.serve.server import until_signalled
from three_mode.serve.settings import ServeTable
from three_mode.serve.system_events import tell_of_agents
from transports.bus import Bus

if TYPE_CHECKING:
    from three_mode.cli.workers.link import WorkerLink
    from three_mode.connection import LLMConnection

# Objects allocated between two runs of the garbage collector: 64 requests at once exceed Python's default of 700.
COLLECT_EVERY = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser. Each comes before the same setting of the config file."""
    parser.add_argument("--config", metavar="FILE", help="config file (default: as `three-mode config check` says)")
    parser.add_argument("--host", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, help=f"port to listen on (default: {DEFAULTS.port})")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes that answer, behind the one port; models are loaded once"
    )
    parser.add_argument(
        "--grpc", type=_port_or_path, metavar="PORT", help="a port beside for gRPC, or unix:PATH (--port takes it too)"
    )
    parser.add_argument("--certificate", type=Path, metavar="PEM", help="certificate chain: HTTP/2 over TLS")
    parser.add_argument("--key", type=Path, metavar="PEM", help="its private key")
    parser.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help=f"keys that clients may use, one a line (or ${KEYS})",
    )
    parser.add_argument("--bus", metavar="NAME", help="a running bus whose agents are served as agent:NAME")
    parser.add_argument("--provider", help="whose models are served (default: the first that is available)")
    parser.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible provider, or a server of gRPC")
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME[=ADDRESS]",
        help="a model that clients may ask, and no other then; with =, their name for a file, an agent or a "
        "provider's model: brain=gguf:PATH. May be repeated; a local one is loaded at once",
    )
    parser.add_argument(
        "--any-local-model",
        action="store_true",
        default=None,
        help="clients may name any model file of this computer: gguf:PATH, hf:PATH",
    )
    parser.add_argument(
        "--most-at-once",
        type=int,
        metavar="N",
        help=f"requests that are answered at once; more are told to come again (default: {DEFAULTS.max_in_flight})",
    )
    parser.add_argument(
        "--talks", type=Path, metavar="FILE", help="keep conversations there: /v1/conversations, and chats that go on"
    )
    parser.add_argument(
        "--mcp-models", action="store_true", default=None, help="offer the models as a tool of /mcp, too"
    )
    parser.add_argument(
        "--a2a", metavar="NAME", help="the agent whose card is at /.well-known/agent-card.json (default: the only one)"
    )
    parser.add_argument("--origin", action="append", metavar="URL", help="a web page that may use it")
    parser.add_argument(
        "--access-log",
        choices=get_args(fields_of(ServeTable)["access_log"]),
        help="a line for each request, on standard output (default: off)",
    )
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        default=None,
        help="a proxy that has TLS stands before it, and says in X-Forwarded-For who asks; keys are needed",
    )
    add_load_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    console = open_console(stderr=True)
    try:
        given = given_of(options)
        if given.table.workers in (None, 1):
            _run(_serve(given, console))
        else:
            from three_mode.cli.workers.parent import serve_in_workers

            _run(serve_in_workers(given, console))
    except (ThreeModeError, OSError) as error:
        console.print(f"[red]three-mode serve:[/red] {escape(str(error))}", soft_wrap=True)
        return 1
    return 0


def run_worker(options: argparse.Namespace, link: "WorkerLink") -> str | None:
    """Serves as one of several workers. Returns why it could not, or None at its end."""
    try:
        _run(_serve(given_of(options), open_console(stderr=True), link))
    except asyncio.CancelledError:  # nobody waits for what still runs
        return None
    except (ThreeModeError, OSError) as error:
        return str(error)
    return None


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


def _port_or_path(text: str) -> int | str:
    return int(text) if text.isdigit() else text


async def _serve(given: Given, console: Console, link: "WorkerLink | None" = None) -> None:
    from three_mode.connection import LLMConnection

    options, config, table, models, settings = given
    if link is not None:
        models |= link.order.models
        settings = replace(settings, reuse_port=True)
    async with AsyncExitStack() as stack:
        bus, shared = None, None  # of the agents that are served; of models that all workers share
        if table.bus:
            bus = await join(table.bus, "serve")
            stack.push_async_callback(bus.leave)
        elif link is not None and link.order.bus:
            shared = await join(link.order.bus, "worker")
            stack.push_async_callback(shared.leave)
        connection = LLMConnection(
            options.provider,
            base_url=options.base_url,
            mode=CommunicationMode.AUTO,  # the name of a client's model says it, and no setting makes a file of it
            options=connection_options(options),
            bus=bus or shared,
        )
        stack.push_async_callback(connection.close)
        for name, address in models.items():
            with console.status(f"loading {escape(name)}") if link is None else nullcontext():
                models[name] = await _prepared(connection, bus or shared, name, address, loads=link is None)
        connected = Connected(connection, bus, models)
        backend: Backend = connected
        if table.talks is not None:
            talks = await stack.enter_async_context(Conversations(table.talks, connection))
            backend = ConversationBackend(connected, talks)
        agents = None if bus is None else stack.enter_context(BusVerbs(bus))
        app = App(backend, settings, agents=agents)
        if bus is not None:
            stack.callback(tell_of_agents(bus, app.events).close)
        if settings.access_log != "off":
            stack.enter_context(access_lines())
        async with serve(app):
            lines = list(_what_is_served(settings, connection, table.bus, config))
            gc.freeze()  # loaded code lives as long as the process: the collector need not visit it
            gc.set_threshold(COLLECT_EVERY, 20, 20)
            if link is None:
                tell(console, [*lines, *loaded_words(await connection.figures())])
                await until_signalled()
                console.print("draining")
            else:
                link.say_ready(lines)
                await link.until_stopped()


async def _prepared(
    connection: "LLMConnection", bus: Bus | None, name: str, address: str, *, loads: bool = True
) -> str:
    """Loads a local model, and checks any other: what cannot work is an error before the endpoint listens. Returns the
    address, that of an agent with its scheme. `loads`: whether local models are this process's to load."""
    if address.startswith("agent:"):
        if bus is None:
            raise ConfigurationError(f"{name!r} is an agent, and no bus is named", hint="give --bus NAME")
        return address
    if name == address and bus is not None and (agent := address_on(bus, address)) is not None:
        return agent
    if not loads and is_local(connection, address):
        raise ConfigurationError(
            f"each worker would load {name!r}",
            hint="put it on the bus, once: `orc.model`, and --model NAME=agent:NAME; or leave --bus out",
        )
    if name == address and await connection.local_model(address) is not None:
        return address
    # Which provider's it is has to be said: a misspelt name would be asked of whichever is found.
    if name == address and connection.provider_of(address) is None and connection.provider_name is None:
        raise ConfigurationError(
            f"{name!r} is no local model",
            hint="`three-mode models` lists them; a provider's model is PROVIDER/MODEL, or give --provider",
        )
    await connection.prepare(address)
    return address


def _what_is_served(
    settings: ServeOptions, connection: "LLMConnection", bus: str | None, config: Sources
) -> Iterator[str]:
    """Lines that say where, and which models."""
    scheme = "https" if settings.tls else "http"
    yield f"serving on {scheme}://{settings.host}:{settings.port}/v1  (events on /events)"
    if settings.grpc is not None:
        yield f"and gRPC on {settings.grpc if isinstance(settings.grpc, str) else f'{settings.host}:{settings.grpc}'}"
    yield from _what_clients_may_ask(settings, connection, bus)
    if config.file is not None:
        yield f"settings of {config.file}"


def _what_clients_may_ask(settings: ServeOptions, connection: "LLMConnection", bus: str | None) -> Iterator[str]:
    """Lines that say it, without asking anybody."""
    if settings.any_local_model:
        yield "clients may name any model file of this computer"
    if settings.only_models is not None:
        yield f"models: {', '.join(sorted(settings.only_models))}"
    else:
        places = [f"the catalogue ({', '.join(connection.local_models()) or 'empty'})"]
        places += [] if bus is None else [f"agents of {bus}"]
        places.append(f"those of {connection.provider_name or 'the first provider that has a key'}")
        yield f"models: {'; '.join(places)}"
