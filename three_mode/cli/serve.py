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
from typing import Any

from rich.console import Console
from rich.markup import escape

from three_mode.cli.joining import join
from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.serve import App, Connected, ServeOptions, Tls, serve
from three_mode.serve.server import tls_context, until_signalled
from three_mode.serve.system_events import tell_of_agents, tell_of_providers

KEYS = "THREE_MODE_API_KEYS"
DEFAULTS = ServeOptions()
# Objects allocated between two runs of the garbage collector: 64 requests at once exceed Python's default of 700.
COLLECT_EVERY = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument("--host", default=DEFAULTS.host, help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=DEFAULTS.port, help=f"port to listen on (default: {DEFAULTS.port})")
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
    parser.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible provider")
    parser.add_argument("--model", metavar="NAME", help="a local model that is loaded before the first request")
    parser.add_argument(
        "--most-at-once",
        type=int,
        default=DEFAULTS.max_in_flight,
        metavar="N",
        help=f"requests that are answered at once; more are told to come again (default: {DEFAULTS.max_in_flight})",
    )
    parser.add_argument("--origin", action="append", default=[], metavar="URL", help="a web page that may use it")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    console = Console(stderr=True)
    try:
        _run(_serve(options, _settings(options), console))
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


def _settings(options: argparse.Namespace) -> ServeOptions:
    if (options.certificate is None) != (options.key is None):
        raise ConfigurationError("--certificate and --key go together")
    for path in (options.certificate, options.key, options.api_key_file):
        if path is not None and not path.is_file():
            raise ConfigurationError(f"no such file: {path}")
    if options.certificate is not None:
        tls_context(Tls(options.certificate, options.key))  # for its errors, before anything is started
    if options.base_url is not None and not options.base_url.startswith(("http://", "https://")):
        raise ConfigurationError(f"--base-url is a URL such as http://localhost:11434/v1, not {options.base_url!r}")
    return ServeOptions(
        host=options.host,
        port=options.port,
        tls=Tls(options.certificate, options.key) if options.certificate else None,
        api_keys=_keys(options.api_key_file),
        max_in_flight=options.most_at_once,
        allowed_origins=frozenset(options.origin),
    )


def _keys(path: Path | None) -> frozenset[str]:
    """Reads keys from a file or the environment. On the command line, the list of processes would show them."""
    text = path.read_text() if path is not None else os.environ.get(KEYS, "").replace(",", "\n")
    keys = frozenset(line.strip() for line in text.splitlines() if line.strip())
    if path is not None and not keys:  # an empty file must not open the endpoint
        raise ConfigurationError(f"no key is in {path}", hint="one a line")
    return keys


async def _serve(options: argparse.Namespace, settings: ServeOptions, console: Console) -> None:
    from three_mode.connection import LLMConnection

    async with AsyncExitStack() as stack:
        bus = None
        if options.bus:
            bus = await join(options.bus, "serve")
            stack.push_async_callback(bus.leave)
        connection = LLMConnection(options.provider, base_url=options.base_url, bus=bus)
        stack.push_async_callback(connection.close)
        if options.model:
            with console.status(f"loading {escape(options.model)}"):
                found = await connection.prepare(options.model)
            if not found:
                raise ConfigurationError(
                    f"{options.model!r} is no local model",
                    hint="`three-mode models` lists them; a provider's models need no --model",
                )
        app = App(Connected(connection, bus), settings)
        if bus is not None:
            stack.callback(tell_of_agents(bus, app.events).close)
        watching = asyncio.create_task(tell_of_providers(connection, app.events))
        stack.callback(watching.cancel)
        async with serve(app):
            scheme = "https" if settings.tls else "http"
            console.print(
                f"serving on {scheme}://{settings.host}:{settings.port}/v1  (events on /events)",
                soft_wrap=True,
            )
            sys.stderr.flush()
            gc.freeze()  # loaded code lives as long as the process: the collector need not visit it
            gc.set_threshold(COLLECT_EVERY, 20, 20)
            await until_signalled()
            console.print("draining")
