"""Subcommand `three-mode serve`: an OpenAI-compatible endpoint, until SIGTERM or Ctrl-C.

Requests that run at that moment may finish.
"""

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from rich.console import Console
from rich.markup import escape

from three_mode.channels.grpc_options import SCHEMES as GRPC_SCHEMES
from three_mode.cli.console import open_console
from three_mode.cli.joining import join
from three_mode.config import ConfigTable, Sources
from three_mode.conversations import Conversations
from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.modes import CommunicationMode
from three_mode.serve import App, Connected, ServeOptions, Tls, serve
from three_mode.serve.backend import Backend
from three_mode.serve.bus_verbs import BusVerbs
from three_mode.serve.conversations import ConversationBackend
from three_mode.serve.server import tls_context, until_signalled
from three_mode.serve.settings import ServeTable, named_models
from three_mode.serve.system_events import tell_of_agents
from transports.bus import Bus

if TYPE_CHECKING:
    from three_mode.connection import LLMConnection

_FILES = ("certificate", "key", "api_key_file")
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
        help="a local model that is loaded before the first request; with =, a name for a file, an agent or a "
        "provider's model: brain=gguf:PATH. May be repeated",
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
        "--a2a", metavar="NAME", help="the agent whose card is at /.well-known/agent-card.json (default: the only one)"
    )
    parser.add_argument("--origin", action="append", metavar="URL", help="a web page that may use it")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    console = open_console(stderr=True)
    try:
        _run(_serve(options, console))
    except (ThreeModeError, OSError) as error:
        console.print(f"[red]three-mode serve:[/red] {escape(str(error))}", soft_wrap=True)
        return 1
    return 0


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
        **{
            name: getattr(options, name)
            for name in ("host", "port", "grpc", "bus", "a2a", "most_at_once", "talks", *_FILES)
        },
    }
    said = {name: value for name, value in given.items() if value is not None}
    if "api_key_file" not in said and os.environ.get(KEYS):
        paths.pop("api_key_file", None)  # the environment comes before the file
        said["api_key_file"] = None
    return replace(table, **(paths | said))


def _settings(options: argparse.Namespace, table: ServeTable) -> ServeOptions:
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
        api_keys=_keys(table.api_key_file),
        max_in_flight=DEFAULTS.max_in_flight if table.most_at_once is None else table.most_at_once,
        a2a_default=table.a2a,
        allowed_origins=frozenset(table.origins),
        **table.limits(),
    )


def _keys(path: Path | None) -> frozenset[str]:
    """Reads keys from a file or the environment. On the command line, the list of processes would show them."""
    text = path.read_text() if path is not None else os.environ.get(KEYS, "").replace(",", "\n")
    keys = frozenset(line.strip() for line in text.splitlines() if line.strip())
    if path is not None and not keys:  # an empty file must not open the endpoint
        raise ConfigurationError(f"no key is in {path}", hint="one a line")
    return keys


async def _serve(options: argparse.Namespace, console: Console) -> None:
    from three_mode.connection import ConnectionOptions, LLMConnection

    config = Sources(options.config)
    table = _table(options, config.table)
    settings, models = _settings(options, table), named_models(table.models)
    async with AsyncExitStack() as stack:
        bus = None
        if table.bus:
            bus = await join(table.bus, "serve")
            stack.push_async_callback(bus.leave)
        connection = LLMConnection(
            options.provider,
            base_url=options.base_url,
            mode=CommunicationMode.AUTO,  # the name of a client's model says it, and no setting makes a file of it
            options=ConnectionOptions(config=options.config),
            bus=bus,
        )
        stack.push_async_callback(connection.close)
        for name, address in models.items():
            with console.status(f"loading {escape(name)}"):
                await _prepare(connection, bus, name, address)
        connected = Connected(connection, bus, models)
        backend: Backend = connected
        if table.talks is not None:
            talks = await stack.enter_async_context(Conversations(table.talks, connection))
            backend = ConversationBackend(connected, talks)
        agents = None if bus is None else stack.enter_context(BusVerbs(bus))
        app = App(backend, settings, agents=agents)
        if bus is not None:
            stack.callback(tell_of_agents(bus, app.events).close)
        async with serve(app):
            scheme = "https" if settings.tls else "http"
            console.print(
                f"serving on {scheme}://{settings.host}:{settings.port}/v1  (events on /events)",
                soft_wrap=True,
            )
            if settings.grpc is not None:
                place = settings.grpc if isinstance(settings.grpc, str) else f"{settings.host}:{settings.grpc}"
                console.print(f"and gRPC on {escape(place)}", soft_wrap=True)
            if config.file is not None:
                console.print(f"settings of {escape(config.file)}", soft_wrap=True, highlight=False)
            sys.stderr.flush()
            gc.freeze()  # loaded code lives as long as the process: the collector need not visit it
            gc.set_threshold(COLLECT_EVERY, 20, 20)
            await until_signalled()
            console.print("draining")


async def _prepare(connection: "LLMConnection", bus: Bus | None, name: str, address: str) -> None:
    """Loads a local model, and checks any other: what cannot work is an error before the endpoint listens."""
    if address.startswith("agent:"):
        if bus is None:
            raise ConfigurationError(f"{name!r} is an agent, and no bus is named", hint="give --bus NAME")
    elif name == address and await connection.local_model(address) is None:
        raise ConfigurationError(
            f"{name!r} is no local model",
            hint="`three-mode models` lists them; a provider's models need no --model",
        )
    else:
        await connection.prepare(address)
