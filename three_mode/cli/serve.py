"""Subcommand `three-mode serve`: an endpoint for models and agents, until SIGTERM or Ctrl-C.

Requests that run at that moment may finish.
"""

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from msgspec.structs import replace
from rich.console import Console
from rich.markup import escape

from three_mode.channels.grpc_options import SCHEMES as GRPC_SCHEMES
from three_mode.cli.access_lines import access_lines
from three_mode.cli.console import open_console
from three_mode.cli.joining import address_on, join
from three_mode.config import ConfigTable, Sources
from three_mode.config.tables import fields_of
from three_mode.conversations import Conversations
from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.modes import CommunicationMode, names_files
from three_mode.policies import Policies
from three_mode.serve import App, Connected, ServeOptions, Tls, serve
from three_mode.serve.backend import Backend
from three_mode.serve.bus_verbs import BusVerbs
from three_mode.serve.conversations import ConversationBackend
from three_mode.serve.server import tls_context, until_signalled
from three_mode.serve.settings import ServeTable, named_models
from three_mode.serve.system_events import tell_of_agents
from transports.bus import Bus

if TYPE_CHECKING:
    from three_mode.cli.workers.link import WorkerLink
    from three_mode.connection import LLMConnection

_FILES = ("certificate", "key", "api_key_file")
# Options that the table has under the same names.
_SAME = (
    "host",
    "port",
    "workers",
    "grpc",
    "bus",
    "a2a",
    "most_at_once",
    "talks",
    "any_local_model",
    "mcp_models",
    "access_log",
    "behind_proxy",
)
KEYS = "THREE_MODE_API_KEYS"
DEFAULTS = ServeOptions()
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


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    console = open_console(stderr=True)
    try:
        given = _given(options)
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
        _run(_serve(_given(options), open_console(stderr=True), link))
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


def _table(options: argparse.Namespace, config: ConfigTable) -> ServeTable:
    """What the config file says, and before it the command line."""
    table: ServeTable = config.options(ServeTable, "serve")
    paths = {
        name: config.path_of(str(path)) for name in (*_FILES, "talks") if (path := getattr(table, name)) is not None
    }
    given = {
        "models": None if options.model is None else tuple(options.model),
        "origins": None if options.origin is None else tuple(options.origin),
        **{name: getattr(options, name) for name in (*_SAME, *_FILES)},
    }
    said = {name: value for name, value in given.items() if value is not None}
    if "api_key_file" not in said and os.environ.get(table.api_keys_env or KEYS):
        paths.pop("api_key_file", None)  # the environment comes before the file
        said["api_key_file"] = None
    return replace(table, **(paths | said))


def _settings(options: argparse.Namespace, table: ServeTable, only: frozenset[str] | None) -> ServeOptions:
    certificate, key = table.certificate, table.key
    if (certificate is None) != (key is None):
        raise ConfigurationError("--certificate and --key go together")
    for path in (certificate, key, table.api_key_file):
        if path is not None and not path.is_file():
            raise ConfigurationError(f"no such file: {path}")
    tls = Tls(certificate, key) if certificate is not None and key is not None else None
    if tls is not None:
        tls_context(tls)  # for its errors, before anything is started
    if options.base_url is not None and not options.base_url.startswith(("http://", "https://", *GRPC_SCHEMES)):
        raise ConfigurationError(
            f"--base-url is a URL such as http://localhost:11434/v1 or grpc://localhost:50051, not {options.base_url!r}"
        )
    return ServeOptions(
        host=table.host or DEFAULTS.host,
        port=DEFAULTS.port if table.port is None else table.port,
        grpc=table.grpc,
        tls=tls,
        api_keys=_keys(table.api_key_file, table.api_keys_env or KEYS),
        max_in_flight=DEFAULTS.max_in_flight if table.most_at_once is None else table.most_at_once,
        mcp_models=table.mcp_models,
        a2a_default=table.a2a,
        allowed_origins=frozenset(table.origins),
        only_models=only,
        any_local_model=table.any_local_model,
        access_log=table.access_log,
        behind_proxy=table.behind_proxy,
        **table.limits(),
    )


def _only(models: Mapping[str, str], config: ConfigTable) -> frozenset[str] | None:
    """What clients may name: the models that are named, and those of the config file. None where none is: whatever the
    catalogue, the bus and the provider have."""
    if not models:
        return None
    file = config.settings
    routes: Policies = config.options(Policies, "policies")
    default = [] if file.default_model is None else [file.default_model]
    return frozenset((*models, *file.models, *(route.name for route in routes.routes), *default))


def _keys(path: Path | None, variable: str) -> frozenset[str]:
    """Reads keys from a file or the environment. On the command line, the list of processes would show them."""
    text = path.read_text() if path is not None else os.environ.get(variable, "").replace(",", "\n")
    keys = frozenset(line.strip() for line in text.splitlines() if line.strip())
    if path is not None and not keys:  # an empty file must not open the endpoint
        raise ConfigurationError(f"no key is in {path}", hint="one a line")
    if variable != KEYS and not keys:
        raise ConfigurationError(f"serve.api_keys_env names {variable}, which holds no key", hint=f"set {variable}")
    return keys


class Given(NamedTuple):
    """What the command line and the config file say, checked."""

    options: argparse.Namespace
    config: Sources
    table: ServeTable
    models: dict[str, str]
    """Name that clients use -> address."""
    settings: ServeOptions


def _given(options: argparse.Namespace) -> Given:
    config = Sources(options.config)
    table = _table(options, config.table)
    models = named_models(table.models)
    return Given(options, config, table, models, _settings(options, table, _only(models, config.table)))


async def _serve(given: Given, console: Console, link: "WorkerLink | None" = None) -> None:
    from three_mode.connection import ConnectionOptions, LLMConnection

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
            options=ConnectionOptions(config=options.config),
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
                tell(console, lines)
                await until_signalled()
                console.print("draining")
            else:
                link.say_ready(lines)
                await link.until_stopped()


def tell(console: Console, lines: Iterable[str]) -> None:
    """Prints lines as they are."""
    for line in lines:
        console.print(escape(line), soft_wrap=True, highlight=False)
    sys.stderr.flush()


def is_local(connection: "LLMConnection", address: str) -> bool:
    """Whether an address is that of a model of this computer. Opens nothing."""
    return names_files(address) or address in connection.local_models()


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
